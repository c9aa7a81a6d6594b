//! What an entry's `pool` says, defaults filled in.

#[cfg(feature = "lua")]
use registry_schema::authored::lua::{LuaPool, LuaPoolType};
use registry_schema::authored::scalar::{FromScalar, Templated};
use registry_schema::authored::wasm::{Pool, PoolType};
use registry_schema::{ErrorKind, Namespace};

use crate::config::{
    POOL_BUFFER_PER_SLOT, POOL_SLOTS_IMPLICIT, POOL_SLOTS_MAX, POOL_SLOTS_STATIC, POOL_USES_MAX,
};
use crate::environment::Environment;
use crate::error::Error;

/// How a pool's slots come and go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolKind {
    /// Each call starts at once.
    Inline,
    /// Slots are made when they are needed and go when they were idle for long.
    Lazy,
    /// So many slots, always.
    Static,
    /// One slot at first; more come while calls wait, and go when they were idle for long.
    Adaptive,
}

/// A pool's numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) kind: PoolKind,
    /// Most slots; `None` for [`PoolKind::Inline`].
    pub(crate) slots_max: Option<usize>,
    /// Places of its queue; a call beyond waits for one of these.
    pub(crate) buffer: usize,
    /// Most calls that one instance serves; 1 unless instances are kept.
    pub(crate) uses_max: u32,
    /// Whether instances are made at boot, for what that leaves loaded, linked and mapped.
    pub(crate) warm_start: bool,
    /// The threads that calls run on, where they have some of their own: as many as there are slots.
    pub(crate) worker_class: Option<String>,
}

impl Shape {
    /// Slots that there always are.
    pub(crate) fn reserved(&self) -> usize {
        match self.kind {
            PoolKind::Inline | PoolKind::Lazy => 0,
            PoolKind::Static => self.slots_max.unwrap_or(0),
            PoolKind::Adaptive => 1,
        }
    }
}

/// The fields that entries of all kinds have.
#[derive(Default)]
struct Fields {
    kind: Option<PoolKind>,
    workers: Option<usize>,
    size: Option<usize>,
    buffer: Option<usize>,
    max_size: Option<usize>,
}

impl Fields {
    fn shape(&self) -> Shape {
        let sized = self.workers.or(self.size);
        let slots_or = |default| Some(self.max_size.unwrap_or(default));
        let (kind, slots_max) = match (self.kind, sized) {
            (Some(PoolKind::Inline), _) => (PoolKind::Inline, None),
            (Some(PoolKind::Static), None) => (PoolKind::Static, Some(POOL_SLOTS_STATIC)),
            (Some(PoolKind::Static) | None, Some(sized)) => (PoolKind::Static, Some(sized)),
            (None, None) => (PoolKind::Lazy, slots_or(POOL_SLOTS_IMPLICIT)),
            (Some(kind), _) => (kind, slots_or(POOL_SLOTS_MAX)),
        };
        let buffer = slots_max.unwrap_or(0).saturating_mul(POOL_BUFFER_PER_SLOT);
        Shape {
            kind,
            slots_max,
            buffer: self.buffer.unwrap_or(buffer),
            uses_max: 1,
            warm_start: false,
            worker_class: None,
        }
    }
}

/// Most slots of a WebAssembly function's pool; `None` without a limit, or where a placeholder decides.
pub(crate) fn slots_max(pool: Option<&Pool>) -> Option<usize> {
    let Some(pool) = pool else { return Fields::default().shape().slots_max };
    if pool.worker_class.is_some() && pool.workers.is_none() {
        return None;
    }
    let given = [&pool.workers, &pool.size, &pool.max_size];
    if given.iter().any(|field| field.as_ref().is_some_and(Templated::is_template)) {
        return None;
    }
    let [workers, size, max_size] =
        given.map(|field| field.as_ref().and_then(Templated::value).map(|slots| *slots as usize));
    let kind = pool.kind.map(PoolKind::from);
    Fields { kind, workers, size, max_size, buffer: None }.shape().slots_max
}

impl From<PoolType> for PoolKind {
    fn from(kind: PoolType) -> Self {
        match kind {
            PoolType::Inline => Self::Inline,
            PoolType::Lazy => Self::Lazy,
            PoolType::Static => Self::Static,
            PoolType::Adaptive => Self::Adaptive,
        }
    }
}

/// Resolves the fields of one entry's `pool`.
pub(crate) struct Reader<'a> {
    pub(crate) environment: &'a Environment<'a>,
    pub(crate) namespace: &'a Namespace,
}

impl Reader<'_> {
    /// The pool of a WebAssembly function; `workers` are those of a worker class that has no number of its own.
    ///
    /// # Errors
    /// A field that can't be resolved, or a number below 1 where one slot, worker or use is the least.
    pub(crate) fn of_wasm(&self, pool: Option<&Pool>, workers: usize) -> Result<Shape, Error> {
        let default = Pool::default();
        let pool = pool.unwrap_or(&default);
        let kind = pool.kind.map(PoolKind::from);
        let mut fields = self.fields(kind, [&pool.workers, &pool.size, &pool.buffer, &pool.max_size])?;
        let worker_class = self.resolved("pool.worker_class", pool.worker_class.as_ref())?;
        if worker_class.is_some() {
            fields.kind = Some(PoolKind::Static);
            fields.workers.get_or_insert(workers);
        }
        let uses_max = match self.resolved("pool.reuse", pool.reuse.as_ref())? {
            Some(true) => self.at_least_one("pool.max_uses", &pool.max_uses)?.unwrap_or(POOL_USES_MAX),
            _ => 1,
        };
        let warm_start = self.resolved("pool.warm_start", pool.warm_start.as_ref())?.unwrap_or(false);
        let shape = fields.shape();
        // An inline pool has no slots that could keep an instance.
        let uses_max = if shape.slots_max.is_none() { 1 } else { uses_max };
        Ok(Shape { uses_max, warm_start, worker_class, ..shape })
    }

    /// The pool of a Lua function.
    ///
    /// # Errors
    /// Those of [`Self::of_wasm`].
    #[cfg(feature = "lua")]
    pub(crate) fn of_lua(&self, pool: Option<&LuaPool>) -> Result<Shape, Error> {
        let default = LuaPool::default();
        let pool = pool.unwrap_or(&default);
        let kind = self.resolved("pool.type", pool.pool_type.as_ref())?.map(|kind| match kind {
            LuaPoolType::Inline => PoolKind::Inline,
            LuaPoolType::Lazy => PoolKind::Lazy,
            LuaPoolType::Static => PoolKind::Static,
            LuaPoolType::Adaptive => PoolKind::Adaptive,
        });
        let fields = self.fields(kind, [&pool.workers, &pool.size, &pool.buffer, &pool.max_size])?;
        Ok(fields.shape())
    }

    fn fields(
        &self,
        kind: Option<PoolKind>,
        [workers, size, buffer, max_size]: [&Option<Templated<u32>>; 4],
    ) -> Result<Fields, Error> {
        let slots = |field, value| Ok::<_, Error>(self.at_least_one(field, value)?.map(|n| n as usize));
        Ok(Fields {
            kind,
            workers: slots("pool.workers", workers)?,
            size: slots("pool.size", size)?,
            buffer: self.resolved("pool.buffer", buffer.as_ref())?.map(|places| places as usize),
            max_size: slots("pool.max_size", max_size)?,
        })
    }

    fn resolved<T: FromScalar + Clone>(
        &self,
        field: &str,
        value: Option<&Templated<T>>,
    ) -> Result<Option<T>, Error> {
        value.map(|value| self.environment.resolve(self.namespace, field, value)).transpose()
    }

    fn at_least_one(&self, field: &str, value: &Option<Templated<u32>>) -> Result<Option<u32>, Error> {
        match self.resolved(field, value.as_ref())? {
            Some(0) => Err(Error::new(ErrorKind::Invalid, format!("`{field}` is 0, expected 1 or more"))),
            number => Ok(number),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(fields: &Fields) -> (PoolKind, Option<usize>, usize) {
        let shape = fields.shape();
        (shape.kind, shape.slots_max, shape.buffer)
    }

    #[test]
    fn what_is_left_out_decides_the_kind() {
        let sized = |workers, size| Fields { workers, size, ..Fields::default() };
        assert_eq!(numbers(&Fields::default()), (PoolKind::Lazy, Some(100), 6_400));
        assert_eq!(numbers(&sized(Some(3), None)), (PoolKind::Static, Some(3), 192));
        assert_eq!(numbers(&sized(None, Some(4))), (PoolKind::Static, Some(4), 256));
        assert_eq!(numbers(&sized(Some(2), Some(4))), (PoolKind::Static, Some(2), 128));
        let bounded = Fields { max_size: Some(7), ..Fields::default() };
        assert_eq!(numbers(&bounded), (PoolKind::Lazy, Some(7), 448));
    }

    #[test]
    fn each_kind_has_its_own_default_size() {
        let of = |kind| Fields { kind: Some(kind), ..Fields::default() };
        assert_eq!(numbers(&of(PoolKind::Inline)), (PoolKind::Inline, None, 0));
        assert_eq!(numbers(&of(PoolKind::Lazy)), (PoolKind::Lazy, Some(16), 1_024));
        assert_eq!(numbers(&of(PoolKind::Static)), (PoolKind::Static, Some(8), 512));
        assert_eq!(numbers(&of(PoolKind::Adaptive)), (PoolKind::Adaptive, Some(16), 1_024));
        let buffered = Fields { buffer: Some(16), ..of(PoolKind::Static) };
        assert_eq!(numbers(&buffered), (PoolKind::Static, Some(8), 16));
        // `size` and `workers` are those of a static pool.
        let other = Fields { workers: Some(2), max_size: Some(5), ..of(PoolKind::Lazy) };
        assert_eq!(numbers(&other), (PoolKind::Lazy, Some(5), 320));
    }
}
