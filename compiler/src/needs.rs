//! What one instance of a component needs of a pool, counted from its bytes.
//!
//! Core modules and components are instantiated inside a component by index; this walks the index
//! spaces once per component and multiplies. Where nested components call each other the engine
//! generates modules of its own: at most one for each core instance that such a call may have to wait
//! for, and one per nested instance. That many are added, so that the sum is never too small. Where a
//! module comes in from outside, the largest module of the component stands for it.

use registry_schema::manifest::Needs;
use wasmparser::{
    BinaryReaderError, ComponentAlias, ComponentInstance, ComponentOuterAliasKind, ComponentTypeRef,
    Instance, Parser, Payload,
};

use crate::minimum::Minimum;

/// Size of a page of linear memory, in bytes.
const PAGE_BYTES: u64 = 64 << 10;

/// What was counted in a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Counted {
    /// Enough for every instance.
    pub(crate) needs: Needs,
    /// Too much for none.
    pub(crate) minimum: Minimum,
    /// Core modules that it embeds.
    pub(crate) core_modules: u32,
}

/// Counts in a component.
///
/// # Errors
/// When `bytes` can't be parsed; validation comes first.
pub(crate) fn needs(bytes: &[u8]) -> Result<Counted, BinaryReaderError> {
    let mut stack: Vec<Scope> = Vec::new();
    let mut counted = Counted::default();
    let totals = &mut counted.needs;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload? {
            Payload::Version { encoding, .. } => stack.push(Scope::new(encoding)),
            Payload::End(_) => {
                let Some(done) = stack.pop() else { continue };
                let Some(parent) = stack.last_mut() else {
                    totals.core_instances = done.own.with_generated();
                    totals.memories = done.own.memories;
                    totals.tables = done.own.tables;
                    counted.minimum = done.own.sure;
                    continue;
                };
                match done.encoding {
                    wasmparser::Encoding::Module => {
                        counted.core_modules = counted.core_modules.saturating_add(1);
                        parent.modules.push(done.own);
                    }
                    wasmparser::Encoding::Component => parent.components.push(done.own),
                }
            }
            Payload::MemorySection(section) => {
                for memory in section {
                    let bytes = memory?.initial.saturating_mul(PAGE_BYTES);
                    totals.memory_bytes_min = totals.memory_bytes_min.max(bytes);
                    count(&mut stack, |own| {
                        own.memories += 1;
                        own.sure.memories += 1;
                        own.sure.memory_bytes = own.sure.memory_bytes.saturating_add(bytes);
                    });
                }
            }
            Payload::TableSection(section) => {
                for table in section {
                    let elements = table?.ty.initial;
                    totals.table_elements_min = totals.table_elements_min.max(elements);
                    count(&mut stack, |own| {
                        own.tables += 1;
                        own.sure.tables += 1;
                        own.sure.table_elements = own.sure.table_elements.saturating_add(elements);
                    });
                }
            }
            Payload::InstanceSection(section) => {
                for instance in section {
                    if let Instance::Instantiate { module_index, .. } = instance? {
                        instantiate_module(&mut stack, module_index);
                    }
                }
            }
            Payload::ComponentInstanceSection(section) => {
                for instance in section {
                    if let ComponentInstance::Instantiate { component_index, .. } = instance? {
                        instantiate_component(&mut stack, component_index);
                    }
                }
            }
            Payload::ComponentAliasSection(section) => {
                for alias in section {
                    alias_item(&mut stack, &alias?);
                }
            }
            Payload::ComponentImportSection(section) => {
                for import in section {
                    external(&mut stack, import?.ty);
                }
            }
            Payload::ComponentExportSection(section) => {
                for export in section {
                    let export = export?;
                    re_export(&mut stack, export.kind, export.index);
                }
            }
            _ => {}
        }
    }
    Ok(counted)
}

/// What one instantiation costs.
#[derive(Debug, Clone, Copy, Default)]
struct Cost {
    core_instances: u32,
    component_instances: u32,
    memories: u32,
    tables: u32,
    /// What it costs for sure: nothing of a module that is not known.
    sure: Minimum,
}

impl Cost {
    fn add(&mut self, other: Self) {
        self.core_instances = self.core_instances.saturating_add(other.core_instances);
        self.component_instances = self.component_instances.saturating_add(other.component_instances);
        self.memories = self.memories.saturating_add(other.memories);
        self.tables = self.tables.saturating_add(other.tables);
        let (sure, other) = (&mut self.sure, other.sure);
        sure.core_instances = sure.core_instances.saturating_add(other.core_instances);
        sure.memories = sure.memories.saturating_add(other.memories);
        sure.memory_bytes = sure.memory_bytes.saturating_add(other.memory_bytes);
        sure.tables = sure.tables.saturating_add(other.tables);
        sure.table_elements = sure.table_elements.saturating_add(other.table_elements);
    }

    /// Core instances, those of modules that the engine generates included.
    fn with_generated(self) -> u32 {
        let generated = match self.component_instances {
            0 => 0,
            nested => self.core_instances.saturating_add(nested),
        };
        self.core_instances.saturating_add(generated)
    }

    /// Component-wise largest, for a module that is not known.
    fn largest(costs: &[Self]) -> Self {
        costs.iter().fold(Self { core_instances: 1, ..Self::default() }, |largest, cost| Self {
            core_instances: largest.core_instances.max(cost.core_instances),
            component_instances: largest.component_instances.max(cost.component_instances),
            memories: largest.memories.max(cost.memories),
            tables: largest.tables.max(cost.tables),
            sure: Minimum { core_instances: 1, ..Minimum::default() },
        })
    }
}

/// A module or component that is being read, with the index spaces that matter here.
#[derive(Debug)]
struct Scope {
    encoding: wasmparser::Encoding,
    own: Cost,
    modules: Vec<Cost>,
    components: Vec<Cost>,
}

impl Scope {
    fn new(encoding: wasmparser::Encoding) -> Self {
        let core_instances = u32::from(encoding == wasmparser::Encoding::Module);
        let own = Cost {
            core_instances,
            sure: Minimum { core_instances, ..Minimum::default() },
            ..Cost::default()
        };
        Self { encoding, own, modules: Vec::new(), components: Vec::new() }
    }
}

fn count(stack: &mut [Scope], change: impl FnOnce(&mut Cost)) {
    if let Some(scope) = stack.last_mut() {
        change(&mut scope.own);
    }
}

fn instantiate_module(stack: &mut [Scope], index: u32) {
    if let Some(scope) = stack.last_mut() {
        let cost = scope.modules.get(index as usize).copied();
        scope.own.add(cost.unwrap_or_else(|| Cost::largest(&scope.modules)));
    }
}

fn instantiate_component(stack: &mut [Scope], index: u32) {
    if let Some(scope) = stack.last_mut() {
        let mut cost = scope.components.get(index as usize).copied().unwrap_or_default();
        // Without code of its own a component only gives names to types and functions.
        if cost.core_instances > 0 {
            cost.component_instances = cost.component_instances.saturating_add(1);
        }
        scope.own.add(cost);
    }
}

fn alias_item(stack: &mut [Scope], alias: &ComponentAlias<'_>) {
    let (is_module, cost) = match alias {
        ComponentAlias::Outer { kind, count, index } => {
            let outer = stack.len().checked_sub(1 + *count as usize).and_then(|at| stack.get(at));
            let Some(outer) = outer else { return };
            match kind {
                ComponentOuterAliasKind::CoreModule => (true, outer.modules.get(*index as usize).copied()),
                ComponentOuterAliasKind::Component => (false, outer.components.get(*index as usize).copied()),
                _ => return,
            }
        }
        ComponentAlias::InstanceExport { kind: wasmparser::ComponentExternalKind::Module, .. } => {
            (true, None)
        }
        ComponentAlias::InstanceExport { kind: wasmparser::ComponentExternalKind::Component, .. } => {
            (false, None)
        }
        _ => return,
    };
    push(stack, is_module, cost);
}

fn external(stack: &mut [Scope], ty: ComponentTypeRef) {
    match ty {
        ComponentTypeRef::Module(_) => push(stack, true, None),
        ComponentTypeRef::Component(_) => push(stack, false, None),
        _ => {}
    }
}

fn re_export(stack: &mut [Scope], kind: wasmparser::ComponentExternalKind, index: u32) {
    let Some(scope) = stack.last() else { return };
    let (is_module, cost) = match kind {
        wasmparser::ComponentExternalKind::Module => (true, scope.modules.get(index as usize).copied()),
        wasmparser::ComponentExternalKind::Component => {
            (false, scope.components.get(index as usize).copied())
        }
        _ => return,
    };
    push(stack, is_module, cost);
}

fn push(stack: &mut [Scope], is_module: bool, cost: Option<Cost>) {
    let Some(scope) = stack.last_mut() else { return };
    if is_module {
        let cost = cost.unwrap_or_else(|| Cost::largest(&scope.modules));
        scope.modules.push(cost);
    } else {
        let cost = cost.unwrap_or_else(|| Cost::largest(&scope.components));
        scope.components.push(cost);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Counted {
        needs(&wat::parse_str(text).unwrap()).unwrap()
    }

    #[test]
    fn instances_are_counted_by_instantiation() {
        let Counted { needs, minimum, core_modules } = of(r#"(component
            (core module $m (memory 3) (table 7 funcref) (table 2 funcref))
            (core module $unused (memory 1))
            (core instance (instantiate $m))
            (core instance (instantiate $m)))"#);
        let expected = Needs {
            core_instances: 2,
            memories: 2,
            tables: 4,
            memory_bytes_min: 3 * PAGE_BYTES,
            table_elements_min: 7,
        };
        assert_eq!((needs, core_modules), (expected, 2));
        let expected = Minimum {
            core_instances: 2,
            memories: 2,
            memory_bytes: 6 * PAGE_BYTES,
            tables: 4,
            table_elements: 18,
        };
        assert_eq!(minimum, expected);
    }

    #[test]
    fn nested_components_count_with_a_margin() {
        let Counted { needs, minimum, core_modules } = of(r#"(component
            (core module $m (memory 1))
            (component $inner
                (alias outer 1 $m (core module $n))
                (core instance (instantiate $n)))
            (instance (instantiate $inner))
            (instance (instantiate $inner)))"#);
        assert_eq!((needs.core_instances, needs.memories, core_modules), (6, 2, 1));
        assert_eq!((minimum.core_instances, minimum.memory_bytes), (2, 2 * PAGE_BYTES));
        assert_eq!(of("(component)"), Counted::default());
    }

    /// What the engine says that the component requires is what was counted.
    fn agrees_with_the_engine(bytes: &[u8]) {
        let Counted { needs, .. } = needs(bytes).unwrap();
        let component = wasmtime::component::Component::new(&wasmtime::Engine::default(), bytes).unwrap();
        let required = component.resources_required().unwrap();
        let counted =
            (needs.memories, Some(needs.memory_bytes_min), needs.tables, Some(needs.table_elements_min));
        let pages = required.max_initial_memory_size.map(|pages| pages * PAGE_BYTES);
        assert_eq!(
            (required.num_memories, pages, required.num_tables, required.max_initial_table_size),
            counted
        );
    }

    #[test]
    fn the_engine_counts_the_same() {
        let calls_between = r#"(component
            (component $a
                (core module $m (memory (export "m") 2)
                    (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 0)
                    (func (export "f") (param i32 i32) (result i32) local.get 1))
                (core instance $i (instantiate $m))
                (func (export "f") (param "s" string) (result u32) (canon lift (core func $i "f")
                    (memory $i "m") (realloc (func $i "realloc")))))
            (component $b
                (import "f" (func $f (param "s" string) (result u32)))
                (core module $mem (memory (export "m") 1) (table 5 funcref))
                (core instance $mem (instantiate $mem))
                (core func $lowered (canon lower (func $f) (memory $mem "m")))
                (core module $m (import "" "f" (func $f (param i32 i32) (result i32)))
                    (func (export "g") (result i32) (call $f (i32.const 0) (i32.const 3))))
                (core instance $i (instantiate $m (with "" (instance (export "f" (func $lowered))))))
                (func (export "g") (result u32) (canon lift (core func $i "g"))))
            (instance $a (instantiate $a))
            (instance $b (instantiate $b (with "f" (func $a "f"))))
            (export "g" (func $b "g")))"#;
        agrees_with_the_engine(&wat::parse_str(calls_between).unwrap());
        for name in ["shared/calc.wasm", "users/users.wasm"] {
            let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../samples").join(name);
            let bytes = std::fs::read(path).unwrap();
            agrees_with_the_engine(&bytes);
            assert_eq!(needs(&bytes).unwrap().needs.core_instances, 1, "{name}");
        }
    }
}
