//! wasmtime without the loader, with the same options and a reservation for instances.

use std::time::{Duration, Instant};

use loader::Val;
use loader::registry_schema::Profile;
use loader::registry_schema::engine::EngineOptions;
use wasmtime::component::{Component, ComponentNamedList, Func, Instance, InstancePre, Lift, Linker, Lower};
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store};

use crate::support::Built;

/// Instances that room is reserved for.
const INSTANCES: u32 = 100;

/// A component, and an instance of it that is kept.
pub(crate) struct Plain {
    store: Store<()>,
    pub(crate) pre: InstancePre<()>,
    instance: Instance,
}

impl Plain {
    /// The component of the entry `app:NAME` of `built`.
    pub(crate) async fn new(built: &Built, name: &str) -> Self {
        let mut config = Config::new();
        EngineOptions::new(Profile::Sync).apply(&mut config).unwrap();
        let mut pooling = PoolingAllocationConfig::new();
        pooling.total_core_instances(INSTANCES).total_component_instances(INSTANCES);
        pooling.total_memories(INSTANCES).total_tables(INSTANCES).total_stacks(INSTANCES);
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pooling));
        let engine = Engine::new(&config).unwrap();
        let bytes = std::fs::read(built.join(&built.artifact(name).path())).unwrap();
        // SAFETY: the compiler has just written it.
        #[allow(unsafe_code, reason = "the loader's own mapping is not what is measured")]
        let component = unsafe { Component::deserialize(&engine, bytes) }.unwrap();
        let pre = Linker::new(&engine).instantiate_pre(&component).unwrap();
        let mut store = store(&engine);
        let instance = pre.instantiate_async(&mut store).await.unwrap();
        Self { store, pre, instance }
    }

    fn function(&mut self, name: &str) -> Func {
        self.instance.get_func(&mut self.store, name).unwrap()
    }

    /// Calls by dynamic values, on the kept instance.
    pub(crate) async fn dynamic(&mut self, name: &str, args: &[Val], calls: u32) -> Duration {
        let function = self.function(name);
        let start = Instant::now();
        for _ in 0..calls {
            let mut results = [Val::Bool(false)];
            function.call_async(&mut self.store, args, &mut results).await.unwrap();
        }
        start.elapsed()
    }

    /// The same with an instance for each call.
    pub(crate) async fn fresh(&self, name: &str, args: &[Val], calls: u32) -> Duration {
        let start = Instant::now();
        for _ in 0..calls {
            call_fresh(&self.pre, name, args).await;
        }
        start.elapsed()
    }

    /// Calls by types, on the kept instance.
    pub(crate) async fn typed<P, R>(&mut self, name: &str, args: P, calls: u32) -> Duration
    where
        P: ComponentNamedList + Lower + Clone + Send + Sync + 'static,
        R: ComponentNamedList + Lift + Send + Sync + 'static,
    {
        let function = self.function(name).typed::<P, R>(&self.store).unwrap();
        let start = Instant::now();
        for _ in 0..calls {
            function.call_async(&mut self.store, args.clone()).await.unwrap();
        }
        start.elapsed()
    }
}

/// One call in an instance of its own.
pub(crate) async fn call_fresh(pre: &InstancePre<()>, name: &str, args: &[Val]) {
    let mut store = store(pre.engine());
    let instance = pre.instantiate_async(&mut store).await.unwrap();
    let function = instance.get_func(&mut store, name).unwrap();
    let mut results = [Val::Bool(false)];
    function.call_async(&mut store, args, &mut results).await.unwrap();
}

fn store(engine: &Engine) -> Store<()> {
    let mut store = Store::new(engine, ());
    store.set_epoch_deadline(u64::MAX / 2);
    store
}
