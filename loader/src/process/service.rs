//! `process.host` and `process.service` entries as services (`en/guides/supervision.md`).

use std::sync::Arc;

use registry_schema::ErrorKind;
use registry_schema::authored::lifecycle::LifecycleSecurity;
use registry_schema::authored::process;
use registry_schema::manifest::Entry;
use serde::Deserialize;

use super::host::Host;
use super::run::Arguments;
use super::{Process, Spawn};
use crate::data::Data;
use crate::error::Error;
use crate::loader::{Inner, Loader};
use crate::supervisor::{Boxed, Leaving, Run, Running, Service};

/// A host: when it stops, its processes are asked to end.
struct HostService {
    inner: Arc<Inner>,
    host: Arc<Host>,
}

/// The service of a `process.host`.
pub(crate) fn host_service(loader: &Loader, entry: &Entry) -> Result<Arc<dyn Service>, Error> {
    let inner = Arc::clone(loader.inner());
    let host = inner.process_host(&entry.id)?;
    Ok(Arc::new(HostService { inner, host }))
}

/// Ends the processes of a host that are left when it is dropped.
struct Closing(Arc<Inner>, Arc<Host>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.processes.of_host(&self.1.id).iter().for_each(|process| process.terminate());
    }
}

impl Service for HostService {
    fn start(&self, mut run: Run) -> Boxed<'_, Result<Running, Error>> {
        Box::pin(async move {
            let Self { inner, host } = self;
            host.open();
            let closing = Closing(Arc::clone(inner), Arc::clone(host));
            Ok(Box::pin(async move {
                let Closing(inner, host) = &closing;
                let mut superseded = run.stop.clone();
                tokio::select! {
                    biased;
                    () = run.stop.requested() => {}
                    // Code of its bundle that still runs may start further ones.
                    () = async { superseded.superseded().await; host.emptied().await } => return Ok(()),
                }
                host.close();
                for process in inner.processes.of_host(&host.id) {
                    process.ask_to_end("its host stops");
                }
                host.emptied().await;
                Ok(())
            }) as Running)
        })
    }

    fn leaves(&self) -> Leaving {
        Leaving::Done
    }
}

/// A supervised process.
struct ProcessService {
    inner: Arc<Inner>,
    entry: Arc<Entry>,
    service: process::ProcessService,
    /// What the process's own entry says of its identity, for a service that says nothing.
    has_security: bool,
}

/// The service of a `process.service`.
pub(crate) fn process_service(loader: &Loader, entry: &Entry) -> Result<Arc<dyn Service>, Error> {
    let service = process::ProcessService::deserialize(&entry.data).map_err(|problem| {
        Error::new(ErrorKind::Unavailable, format!("its fields can't be read: {problem}"))
    })?;
    let security = service.lifecycle.as_ref().and_then(|lifecycle| lifecycle.security.as_ref());
    let has_security = security.is_some();
    Ok(Arc::new(ProcessService {
        inner: Arc::clone(loader.inner()),
        entry: Arc::new(entry.clone()),
        service,
        has_security,
    }))
}

/// The service that a `process.lua` is which starts on its own. Its host is the one of the application: it has no
/// field for it.
pub(crate) fn own_service(loader: &Loader, entry: &Entry) -> Result<Arc<dyn Service>, Error> {
    let Some(host) = entry.data.get("host") else {
        let message = "a process with `lifecycle.auto_start` starts in the only `process.host` that there is: with \
                       several, or none, run it by a `process.service`";
        return Err(Error::new(ErrorKind::Unavailable, message));
    };
    let fields = serde_json::json!({"process": entry.id, "host": host});
    let service = process::ProcessService::deserialize(&fields).map_err(|problem| {
        Error::new(ErrorKind::Unavailable, format!("its fields can't be read: {problem}"))
    })?;
    Ok(Arc::new(ProcessService {
        inner: Arc::clone(loader.inner()),
        entry: Arc::new(entry.clone()),
        service,
        // Its own is that of the run.
        has_security: true,
    }))
}

/// Ends a process with the run of its service.
struct Ending(Arc<Process>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.terminate();
    }
}

impl ProcessService {
    fn spawn(&self, run: &Run) -> Result<Arc<Process>, Error> {
        let own = self.entry.id.namespace();
        let environment = self.inner.environment();
        let args = self
            .service
            .input
            .iter()
            .enumerate()
            .map(|(index, value)| environment.resolve_data(own, &format!("input[{index}]"), value));
        let args: Vec<Data> = args.collect::<Result<_, _>>()?;
        let id = self.service.process.resolve(own);
        let mut context = run.context.clone();
        if !self.has_security
            && let Some(security) = self.own_security(&id)?
        {
            context = self.inner.security.initial_context(&self.inner, id.namespace(), &security)?;
        }
        let host = self.service.host.resolve(own);
        self.inner.spawn(Spawn::new(id, host, Arguments::Data(args), context))
    }

    /// `lifecycle.security` of the process's own entry.
    fn own_security(&self, id: &registry_schema::EntryId) -> Result<Option<LifecycleSecurity>, Error> {
        let Some(entry) = self.inner.bundle.manifest().entry(id)? else { return Ok(None) };
        let security = entry.data.get("lifecycle").and_then(|lifecycle| lifecycle.get("security"));
        let Some(security) = security else { return Ok(None) };
        LifecycleSecurity::deserialize(security).map(Some).map_err(|problem| {
            Error::new(ErrorKind::Unavailable, format!("`{id}`: `lifecycle.security`: {problem}"))
        })
    }
}

impl Service for ProcessService {
    fn warm(&self) -> Result<(), Error> {
        let own = self.entry.id.namespace();
        self.inner.program(&self.service.process.resolve(own))?;
        self.inner.process_host(&self.service.host.resolve(own)).map(|_| ())
    }

    fn start(&self, mut run: Run) -> Boxed<'_, Result<Running, Error>> {
        Box::pin(async move {
            let ending = Ending(self.spawn(&run)?);
            Ok(Box::pin(async move {
                let process = &ending.0;
                let exit = tokio::select! {
                    biased;
                    exit = process.exited() => exit,
                    () = run.stop.requested() => {
                        process.ask_to_end("its service stops");
                        process.exited().await
                    }
                };
                match &*exit {
                    Ok(_) => Ok(()),
                    Err(error) => Err(error.clone()),
                }
            }) as Running)
        })
    }
}
