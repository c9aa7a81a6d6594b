//! What is served and sent while the loader serves: services of the supervisor that the settings ask for.

use std::sync::{Arc, OnceLock};

use registry_schema::ErrorKind;

use super::listener::MetricsServer;
use crate::context::Context;
use crate::error::Error;
use crate::loader::Loader;
use crate::supervisor::{Boxed, Declared, Run, Running, Service, Settings, Status, Supervisor};

impl Loader {
    /// Adds to `supervisor` the service of `prometheus`, and that of `otel`, where they are enabled.
    pub(crate) fn add_observers(&self, supervisor: &mut Supervisor) {
        let prometheus = &self.settings().prometheus;
        match (prometheus.enabled, &prometheus.address) {
            (true, Some(address)) => {
                let status = supervisor.status_later();
                let metrics = Metrics { loader: self.clone(), address: address.clone(), status };
                supervisor.add(declared("prometheus", Arc::new(metrics)));
            }
            (true, None) => tracing::warn!("metrics are not served: `prometheus.address` is not set"),
            (false, _) => {}
        }
        #[cfg(feature = "otel")]
        if self.settings().otel.enabled {
            supervisor.add(declared("otel", Arc::new(Spans { loader: self.clone() })));
        }
        #[cfg(not(feature = "otel"))]
        if self.settings().otel.enabled {
            tracing::warn!("spans are not exported: this needs a loader built with the feature `otel`");
        }
    }
}

fn declared(name: &str, service: Arc<dyn Service>) -> Declared {
    let settings = Settings { auto_start: true, ..Settings::default() };
    Declared { name: name.to_owned(), settings, requires: Vec::new(), context: Context::default(), service }
}

/// Serves metrics.
struct Metrics {
    loader: Loader,
    address: String,
    status: Arc<OnceLock<Status>>,
}

impl Service for Metrics {
    fn start(&self, mut run: Run) -> Boxed<'_, Result<Running, Error>> {
        Box::pin(async move {
            let status = Arc::clone(&self.status);
            let ready = move || status.get().is_some_and(Status::is_ready);
            let server = MetricsServer::bind(self.loader.clone(), &self.address, ready).await;
            let server = server.map_err(|error| {
                let message = format!("metrics can't be served on `{}`: {error}", self.address);
                Error::new(ErrorKind::Unavailable, message).retryable()
            })?;
            if let Ok(address) = server.address() {
                tracing::info!("metrics are served on http://{address}/metrics");
            }
            let running: Running = Box::pin(async move {
                server.serve(async move { run.stop.requested().await }).await;
                Ok(())
            });
            Ok(running)
        })
    }
}

/// Sends spans.
#[cfg(feature = "otel")]
struct Spans {
    loader: Loader,
}

#[cfg(feature = "otel")]
impl Service for Spans {
    fn start(&self, mut run: Run) -> Boxed<'_, Result<Running, Error>> {
        let loader = self.loader.clone();
        Box::pin(async move {
            let running: Running = Box::pin(async move {
                loader.export_spans(async move { run.stop.requested().await }).await;
                Ok(())
            });
            Ok(running)
        })
    }
}
