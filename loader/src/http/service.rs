//! `http.service` under a supervisor.

use std::sync::Arc;

use registry_schema::manifest::Entry;
use registry_schema::{EntryId, ErrorKind};

use super::{Server, Site};
use crate::error::Error;
use crate::guest_log::Stream;
use crate::loader::{Loader, WeakLoader};
use crate::supervisor::{Boxed, Run, Running, Service};

/// A service that listens. It does not keep its loader open between two runs.
struct Listening {
    loader: WeakLoader,
    id: EntryId,
}

/// The service of the `http.service` that `entry` is.
///
/// # Errors
/// What is wrong with it, its routers or its endpoints.
pub(crate) fn service(loader: &Loader, entry: &Entry) -> Result<Arc<dyn Service>, Error> {
    // Here as well, so that a fault is known before anything runs.
    Site::new(loader, &entry.id)?;
    Ok(Arc::new(Listening { loader: loader.downgrade(), id: entry.id.clone() }))
}

impl Listening {
    fn loader(&self) -> Result<Loader, Error> {
        self.loader.upgrade().ok_or_else(|| Error::new(ErrorKind::Canceled, "the loader has gone"))
    }
}

impl Service for Listening {
    fn start(&self, run: Run) -> Boxed<'_, Result<Running, Error>> {
        Box::pin(async move {
            let loader = self.loader()?;
            let site = Site::new(&loader, &self.id)?;
            let servers = loader.inner().listeners.servers.clone();
            let (name, address) = (self.id.to_string(), site.address().to_owned());
            let lease = match servers.take_over(&name, &address, site, Server::replace) {
                Ok(lease) => lease,
                Err(site) => {
                    let server = Server::start(site).await?;
                    let text = format!("listens on {}", server.local_addr());
                    loader.inner().log.line(&self.id, Stream::Stderr, &text);
                    servers.keep(&name, &address, server)
                }
            };
            let mut stop = run.stop;
            let running: Running = Box::pin(async move {
                stop.requested().await;
                // Another bundle's service may have it by now.
                if let Some(server) = lease.end() {
                    server.stop(None).await;
                }
                Ok(())
            });
            Ok(running)
        })
    }

    fn warm(&self) -> Result<(), Error> {
        Site::new(&self.loader()?, &self.id)?.warm()
    }
}
