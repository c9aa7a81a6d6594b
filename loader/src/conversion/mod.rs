//! WIT values from and to the values of dynamic engines: Lua's, and [`Data`].
//!
//! A [`Plan`] is made once per signature. What a value may be and what is said of one that does not fit is
//! decided here for all engines (`lower.rs`, `lift.rs`); an engine says how its values are read
//! ([`World`]) and made ([`Sink`]).
//!
//! Beyond what `en/wasm/overview.md` says of them:
//! - Enum indices, and bits of a mask of flags, count from 0 in the order of the WIT; all others from 1.
//! - Cases and flags may be named in snake case as well.
//! - An option is nil or its value. An option in an option is `{some = value}` or `{none = true}`. Where nil
//!   can't stand, in lists and payloads, none is `{none = true}`, and some the value, which may be marked;
//!   it must be, and is, where its type has a field, case or flag `some` or `none`.

mod data;
mod lift;
mod lower;
mod scalars;
mod text;
mod types;
mod world;

use std::sync::atomic::{AtomicU64, Ordering};

use registry_schema::ErrorKind;
use registry_schema::authored::wasm::Results;
use tokio::time::Instant;
use wasmtime::component::{Type, Val};

pub(crate) use lift::{Hyphens, Plain, Sink};
pub(crate) use types::{Name, Names, Record};
pub(crate) use world::{Problem, View, World, no_array};

use crate::bulk::{TypedCall, Value};
use crate::config::VALUE_BYTES_MAX;
use crate::error::Error;
use crate::meter::Meter;
use crate::values::describe;
use types::{Node, Place, Sides};

/// How the arguments and the result of one signature are converted.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Distinct in the process: engines keep what they prepare by it.
    id: u64,
    names: Names,
    params: Vec<(String, Node)>,
    /// Arguments that can't be left out.
    required: usize,
    returned: Returned,
    /// Whether it is called by its types, which take lists as one whole. As dynamic values these would be many times as
    /// large as what was counted.
    is_typed: bool,
    /// For messages.
    signature: String,
}

/// What a function returns.
#[derive(Debug)]
enum Returned {
    Nothing,
    Value(Node),
    /// A result whose `err` is an error to the caller.
    Pair(Sides),
}

impl Plan {
    /// Prepares a signature.
    pub(crate) fn new(params: &[(String, Type)], result: Option<&Type>, results: Results) -> Self {
        let is_typed = TypedCall::find(params, result).is_some();
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let mut names = Names::new();
        let signature = signature(params, result);
        let mut free = |ty: &Type| types::node(&mut names, ty, Place::Free);
        let params: Vec<_> = params.iter().map(|(name, ty)| (name.clone(), free(ty))).collect();
        let returned = match (result, results) {
            (None, _) => Returned::Nothing,
            (Some(Type::Result(result)), Results::Pair) => Returned::Pair(Sides {
                ok: result.ok().as_ref().map(&mut free),
                err: result.err().as_ref().map(free),
            }),
            (Some(ty), _) => Returned::Value(free(ty)),
        };
        let required = params.iter().rposition(|(_, node)| !node.is_omissible()).map_or(0, |last| last + 1);
        Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            names,
            params,
            required,
            returned,
            is_typed,
            signature,
        }
    }

    /// Distinct in the process.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Every name of the signature.
    pub(crate) fn names(&self) -> &Names {
        &self.names
    }

    /// `args` as values of `world`, as far as `meter` allows so many bytes.
    ///
    /// # Errors
    /// `INVALID`: a wrong number of arguments, or the path of the part that does not fit or is too large;
    /// `TIMEOUT` when the deadline is past meanwhile.
    pub(crate) fn lower_from<W: World>(
        &self,
        world: &W,
        args: &[W::Value],
        meter: &Meter,
    ) -> Result<Vec<Value>, Error> {
        self.check_arity(world, args)?;
        let lowering = lower::Lowering { world, names: &self.names, meter };
        let lower = if self.is_typed { lower::Lowering::whole } else { lower::Lowering::argument };
        let arg = |(index, (name, node)): (usize, &(String, Node))| match args.get(index) {
            Some(arg) => lower(&lowering, node, arg).map_err(|problem| problem.of_parameter(name)),
            None => Ok(Value::Val(Val::Option(None))),
        };
        self.params.iter().enumerate().map(arg).collect()
    }

    /// What the copies of all arguments of one call may take.
    pub(crate) fn meter(deadline: Option<Instant>) -> Meter {
        Meter::new(VALUE_BYTES_MAX as u64, deadline)
    }

    fn check_arity<W: World>(&self, world: &W, args: &[W::Value]) -> Result<(), Error> {
        let most = self.params.len();
        let too_many = args.iter().skip(most).any(|arg| !world.is_nil(arg));
        if args.len() >= self.required && !too_many {
            return Ok(());
        }
        let expected = match (self.required, most) {
            (1, 1) => "1 argument".to_owned(),
            (least, most) if least == most => format!("{most} arguments"),
            (least, most) => format!("{least} to {most} arguments"),
        };
        let message = format!("expected {expected}, got {}: {}", args.len(), self.signature);
        Err(Error::new(ErrorKind::Invalid, message))
    }

    /// What was returned, made in `sink`. The inner `Err` is the guest's own error.
    ///
    /// # Errors
    /// Those of `sink`; `INTERNAL` for a value of another type.
    pub(crate) fn lift_into<S: Sink>(
        &self,
        sink: &S,
        value: Option<&Value>,
    ) -> Result<Result<S::Value, Error>, S::Error> {
        match (&self.returned, value) {
            (Returned::Nothing, None) => Ok(Ok(sink.nil())),
            (Returned::Value(node), Some(value)) => lift::returned(sink, &self.names, node, value).map(Ok),
            (Returned::Pair(sides), Some(value)) => lift::pair(sink, &self.names, sides, value),
            _ => Err(S::failed(lift::mismatch("result"))),
        }
    }
}

/// The signature as WIT would spell it.
fn signature(params: &[(String, Type)], result: Option<&Type>) -> String {
    let params: Vec<String> = params.iter().map(|(name, ty)| format!("{name}: {}", describe(ty))).collect();
    let result = result.map(|ty| format!(" -> {}", describe(ty))).unwrap_or_default();
    format!("func({}){result}", params.join(", "))
}
