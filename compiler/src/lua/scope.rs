//! What names mean: functions, blocks, local variables, labels and gotos, as `lparser.c` of Lua 5.4 keeps
//! them, so that the same sources are refused.

use std::collections::{BTreeSet, HashMap};

use super::mistake::Mistake;
use super::token::shortened;
use super::types::Type;
use super::value::Value;

/// Most local variables of a function.
const LOCALS_MAX: usize = 200;
/// Most variables of enclosing functions that a function may use.
const UPVALUES_MAX: usize = 255;
/// Most labels, and most gotos whose label is not known yet.
const LABELS_MAX: usize = 32_767;
/// Most registers of a function, for locals and what is being evaluated.
const REGISTERS_MAX: usize = 250;

/// How a local variable was declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attribute {
    /// Without attribute.
    Regular,
    /// `<const>` or `<close>`.
    Fixed,
    /// `<const>` with a literal: it needs no register and is captured by nobody.
    Literal,
}

/// What a name stands for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Meaning {
    /// A local variable of this function or of one around it, by its index.
    Local(usize),
    /// A field of the environment.
    Global,
}

#[derive(Debug)]
struct Variable<'s> {
    name: &'s str,
    attribute: Attribute,
    value: Value,
    /// Its type, if it says one.
    ty: Option<Type>,
}

#[derive(Debug)]
struct Function<'s> {
    first_variable: usize,
    /// Variables whose scope has begun.
    active: usize,
    first_label: usize,
    blocks: Vec<Block>,
    upvalues: BTreeSet<&'s str>,
    is_vararg: bool,
    /// Registers of what is being evaluated.
    pending: usize,
}

#[derive(Debug)]
struct Block {
    is_loop: bool,
    active: usize,
    first_label: usize,
    first_goto: usize,
}

#[derive(Debug)]
struct Label<'s> {
    name: &'s str,
    at: usize,
    active: usize,
}

/// Whether a block is the body of a loop, so that `break` leads behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BlockKind {
    /// A loop.
    Loop,
    /// Any other block.
    Plain,
}

/// All that is visible at a place of the source.
#[derive(Debug, Default)]
pub(crate) struct Scope<'s> {
    variables: Vec<Variable<'s>>,
    /// Indices of the active variables of a name, the innermost last.
    visible: HashMap<&'s str, Vec<usize>>,
    functions: Vec<Function<'s>>,
    labels: Vec<Label<'s>>,
    gotos: Vec<Label<'s>>,
}

impl<'s> Scope<'s> {
    /// Begins a function.
    pub(crate) fn open_function(&mut self) {
        self.functions.push(Function {
            first_variable: self.variables.len(),
            active: 0,
            first_label: self.labels.len(),
            blocks: Vec::new(),
            upvalues: BTreeSet::new(),
            is_vararg: false,
            pending: 0,
        });
        self.open_block(BlockKind::Plain);
    }

    /// Ends a function.
    ///
    /// # Errors
    /// When a goto has no label.
    pub(crate) fn close_function(&mut self) -> Result<(), Mistake> {
        self.close_block()?;
        self.functions.pop();
        Ok(())
    }

    fn function(&mut self) -> &mut Function<'s> {
        self.functions.last_mut().expect("the chunk is a function that is open while it is read")
    }

    /// Lets `...` be used in the innermost function.
    pub(crate) fn set_vararg(&mut self) {
        self.function().is_vararg = true;
    }

    /// Whether `...` may be used.
    pub(crate) fn is_vararg(&self) -> bool {
        self.functions.last().is_some_and(|function| function.is_vararg)
    }

    /// Begins a block.
    pub(crate) fn open_block(&mut self, kind: BlockKind) {
        let (first_label, first_goto) = (self.labels.len(), self.gotos.len());
        let function = self.function();
        let active = function.active;
        function.blocks.push(Block { is_loop: kind == BlockKind::Loop, active, first_label, first_goto });
    }

    /// Ends a block: its variables and labels are gone, its pending gotos are those of the block around it.
    ///
    /// # Errors
    /// When it is the block of a function and gotos are left.
    pub(crate) fn close_block(&mut self) -> Result<(), Mistake> {
        let Some(block) = self.function().blocks.pop() else { return Ok(()) };
        self.remove_variables(block.active);
        if block.is_loop {
            self.gotos.retain_from(block.first_goto, |goto| goto.name != "break");
        }
        self.labels.truncate(block.first_label);
        if !self.function().blocks.is_empty() {
            for goto in &mut self.gotos[block.first_goto..] {
                goto.active = block.active;
            }
            return Ok(());
        }
        let Some(goto) = self.gotos.get(block.first_goto) else { return Ok(()) };
        Err(if goto.name == "break" {
            Mistake::syntax(goto.at, "`break` is in no loop")
        } else {
            let message = format!("there is no visible label `{}`", shortened(goto.name));
            Mistake::syntax(goto.at, message).help("a goto leads to a label of its own or an enclosing block")
        })
    }

    fn remove_variables(&mut self, active: usize) {
        let function = self.function();
        let first = function.first_variable + active;
        function.active = active;
        for variable in self.variables.drain(first..) {
            if let Some(indices) = self.visible.get_mut(variable.name)
                && indices.last().is_some_and(|index| *index >= first)
            {
                indices.pop();
            }
        }
    }

    /// Declares a variable; its scope begins with [`Self::activate`].
    ///
    /// # Errors
    /// When there are too many.
    pub(crate) fn declare(&mut self, name: &'s str, at: usize) -> Result<usize, Mistake> {
        let first = self.function().first_variable;
        if self.variables.len() - first >= LOCALS_MAX {
            let message = format!("more than {LOCALS_MAX} local variables in one function");
            let help = "put some of them into a table or into a block `do … end`";
            return Err(Mistake::limit(at, message).help(help));
        }
        self.variables.push(Variable {
            name,
            attribute: Attribute::Regular,
            value: Value::Unknown,
            ty: None,
        });
        Ok(self.variables.len() - 1)
    }

    /// Says what is known of a declared variable.
    pub(crate) fn define(&mut self, index: usize, attribute: Attribute, value: Value) {
        if let Some(variable) = self.variables.get_mut(index) {
            variable.attribute = attribute;
            variable.value = value;
        }
    }

    /// Says the type of a declared variable.
    pub(crate) fn annotate(&mut self, index: usize, ty: Option<Type>) {
        if let Some(variable) = self.variables.get_mut(index) {
            variable.ty = ty;
        }
    }

    /// The type of the local variable `name`, if it says one.
    pub(crate) fn ty(&self, name: &str) -> Option<&Type> {
        self.visible(name)?.ty.as_ref()
    }

    /// What is known of the local variable `name`, which is not used here.
    pub(crate) fn known(&self, name: &str) -> Option<&Value> {
        Some(&self.visible(name)?.value)
    }

    fn visible(&self, name: &str) -> Option<&Variable<'s>> {
        self.variables.get(*self.visible.get(name)?.last()?)
    }

    /// Begins the scope of all declared variables.
    pub(crate) fn activate(&mut self) {
        let function = self.function();
        let first = function.first_variable + function.active;
        let count = self.variables.len() - first;
        self.function().active += count;
        for (index, variable) in self.variables.iter().enumerate().skip(first) {
            self.visible.entry(variable.name).or_default().push(index);
        }
    }

    /// What `name` means here; a variable of an enclosing function is captured by those between.
    ///
    /// # Errors
    /// When a function captures too many.
    pub(crate) fn find(&mut self, name: &'s str, at: usize) -> Result<Meaning, Mistake> {
        let found = self.visible.get(name).and_then(|indices| indices.last().copied());
        match found {
            Some(index) => {
                self.capture(name, index, at)?;
                Ok(Meaning::Local(index))
            }
            None => {
                // A global is a field of `_ENV`, which is a local of the chunk.
                if let Some(environment) = self.visible.get("_ENV").and_then(|all| all.last().copied()) {
                    self.capture("_ENV", environment, at)?;
                }
                Ok(Meaning::Global)
            }
        }
    }

    fn capture(&mut self, name: &'s str, index: usize, at: usize) -> Result<(), Mistake> {
        if self.variables[index].attribute == Attribute::Literal {
            return Ok(());
        }
        for function in self.functions.iter_mut().rev().take_while(|it| it.first_variable > index) {
            // Those further out have it already.
            if !function.upvalues.insert(name) {
                break;
            }
            if function.upvalues.len() > UPVALUES_MAX {
                let message = format!("more than {UPVALUES_MAX} variables of enclosing functions are used");
                return Err(Mistake::limit(at, message).help("put some of them into a table"));
            }
        }
        Ok(())
    }

    /// What is known of a variable.
    pub(crate) fn value(&self, index: usize) -> &Value {
        &self.variables[index].value
    }

    /// Notes that a variable has another value from here on.
    ///
    /// # Errors
    /// When it is constant.
    pub(crate) fn assign(&mut self, index: usize, at: usize) -> Result<(), Mistake> {
        let variable = &mut self.variables[index];
        variable.value = Value::Unknown;
        match variable.attribute {
            Attribute::Regular => Ok(()),
            Attribute::Fixed | Attribute::Literal => {
                let message = format!("`{}` is constant and can't be assigned to", shortened(variable.name));
                Err(Mistake::syntax(at, message).help("declare it without `<const>` or `<close>`"))
            }
        }
    }

    /// Notes a `goto`, or a `break` under that name.
    ///
    /// # Errors
    /// When too many are pending.
    pub(crate) fn goto(&mut self, name: &'s str, at: usize) -> Result<(), Mistake> {
        let first = self.function().first_label;
        if name != "break" && self.labels[first..].iter().any(|label| label.name == name) {
            return Ok(());
        }
        let active = self.function().active;
        self.gotos.push(Label { name, at, active });
        check_labels(&self.gotos, at)
    }

    /// Creates a label at `place` in its block.
    ///
    /// # Errors
    /// When it is there already, or a goto would jump into the scope of a variable.
    pub(crate) fn label(&mut self, name: &'s str, at: usize, place: LabelPlace) -> Result<(), Mistake> {
        let function = self.functions.last().expect("the chunk is a function that is open while it is read");
        if self.labels[function.first_label..].iter().any(|label| label.name == name) {
            return Err(Mistake::syntax(at, format!("the label `{}` is already there", shortened(name))));
        }
        let block = function.blocks.last();
        // Behind the last statement the variables of the block are out of scope.
        let active = match place {
            LabelPlace::EndOfBlock => block.map_or(0, |block| block.active),
            LabelPlace::Within => function.active,
        };
        let first_goto = block.map_or(0, |block| block.first_goto);
        let entered = self.gotos[first_goto..].iter().find(|goto| goto.name == name && goto.active < active);
        if let Some(goto) = entered {
            let variable = self.variables.get(function.first_variable + goto.active);
            let variable = variable.map_or("", |variable| variable.name);
            let message = format!("this goto jumps into the scope of the local variable `{variable}`");
            let help = "declare the variable before the goto, or end its scope with `do … end`";
            return Err(Mistake::syntax(goto.at, message).help(help));
        }
        self.gotos.retain_from(first_goto, |goto| goto.name != name);
        self.labels.push(Label { name, at, active });
        check_labels(&self.labels, at)
    }

    /// Takes `count` registers for what is being evaluated.
    ///
    /// # Errors
    /// When the function has no more.
    pub(crate) fn take(&mut self, count: usize, at: usize) -> Result<(), Mistake> {
        let function = self.function();
        function.pending += count;
        if function.active + function.pending > REGISTERS_MAX {
            let message =
                format!("more than {REGISTERS_MAX} local variables and intermediate values at once");
            return Err(Mistake::limit(at, message).help("split the expression or the list"));
        }
        Ok(())
    }

    /// Registers that are taken.
    pub(crate) fn taken(&mut self) -> usize {
        self.function().pending
    }

    /// Gives back all registers but `count`.
    pub(crate) fn give_back(&mut self, count: usize) {
        self.function().pending = count;
    }
}

/// Where a label stands in its block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LabelPlace {
    /// Nothing but labels and `;` follow.
    EndOfBlock,
    /// Statements follow.
    Within,
}

fn check_labels(labels: &[Label<'_>], at: usize) -> Result<(), Mistake> {
    match labels.len() > LABELS_MAX {
        true => Err(Mistake::limit(at, format!("more than {LABELS_MAX} labels or gotos"))),
        false => Ok(()),
    }
}

/// `retain` for the end of a list.
trait RetainFrom<T> {
    fn retain_from(&mut self, first: usize, keep: impl FnMut(&T) -> bool);
}

impl<T> RetainFrom<T> for Vec<T> {
    fn retain_from(&mut self, first: usize, mut keep: impl FnMut(&T) -> bool) {
        let tail = self.split_off(first);
        self.extend(tail.into_iter().filter(|item| keep(item)));
    }
}
