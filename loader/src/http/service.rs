//! `http.service` under a supervisor.

use std::sync::Arc;

use registry_schema::EntryId;
use registry_schema::manifest::Entry;

use super::{Server, Site};
use crate::error::Error;
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

impl Service for Listening {
    fn start(&self, run: Run) -> Boxed<'_, Result<Running, Error>> {
        Box::pin(async move {
            let gone = || Error::new(registry_schema::ErrorKind::Canceled, "the loader has gone");
            let loader = self.loader.upgrade().ok_or_else(gone)?;
            let server = Server::start(Site::new(&loader, &self.id)?).await?;
            let mut stop = run.stop;
            let running: Running = Box::pin(async move {
                stop.requested().await;
                server.stop(None).await;
                Ok(())
            });
            Ok(running)
        })
    }
}
