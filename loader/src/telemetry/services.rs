//! What is served and sent while the loader serves: services of the supervisor that the settings ask for.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use registry_schema::ErrorKind;
use tokio::task::JoinHandle;

use super::listener::{MetricsServer, Ready, Shown};
use crate::context::Context;
use crate::error::Error;
use crate::loader::Loader;
use crate::supervisor::{Boxed, Declared, Leaving, Run, Running, Service, Settings, Status, Supervisor};

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

/// Metrics that are served, until it is dropped.
pub(crate) struct Served {
    shown: Shown,
    serving: JoinHandle<()>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Metrics {
    /// What says whether the loader is ready; it is also until its services have been tried if `before`.
    fn ready(&self, before: bool) -> Box<Ready> {
        let (status, tried) = (Arc::clone(&self.status), AtomicBool::new(!before));
        Box::new(move || {
            let Some(status) = status.get() else { return before };
            if status.is_tried() {
                tried.store(true, Ordering::Relaxed);
            }
            status.is_ready() || !tried.load(Ordering::Relaxed)
        })
    }

    async fn listen(&self) -> Result<Served, Error> {
        let server = MetricsServer::bind(self.loader.clone(), &self.address, self.ready(false)).await;
        let server = server.map_err(|error| {
            let message = format!("metrics can't be served on `{}`: {error}", self.address);
            Error::new(ErrorKind::Unavailable, message).retryable()
        })?;
        if let Ok(address) = server.address() {
            tracing::info!("metrics are served on http://{address}/metrics");
        }
        let shown = server.shown();
        // It ends when it is dropped: nothing of it has to be finished.
        let serving = tokio::spawn(server.serve(std::future::pending()));
        Ok(Served { shown, serving })
    }
}

impl Service for Metrics {
    fn start(&self, mut run: Run) -> Boxed<'_, Result<Running, Error>> {
        Box::pin(async move {
            let all = self.loader.inner().listeners.metrics.clone();
            let lease = all.take_over("prometheus", &self.address, (), |served: &Served, ()| {
                let before = served.shown.is_ready();
                served.shown.replace(self.loader.clone(), self.ready(before));
            });
            let lease = match lease {
                Ok(lease) => lease,
                Err(()) => all.keep("prometheus", &self.address, self.listen().await?),
            };
            let running: Running = Box::pin(async move {
                let mut superseded = run.stop.clone();
                tokio::select! {
                    () = run.stop.requested() => {}
                    // Those of the next bundle have its address by now, or are not to be served.
                    () = superseded.superseded() => {}
                }
                drop(lease);
                Ok(())
            });
            Ok(running)
        })
    }

    fn leaves(&self) -> Leaving {
        Leaving::Last
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

    fn leaves(&self) -> Leaving {
        Leaving::Last
    }
}
