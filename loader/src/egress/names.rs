//! Look-ups of names, for HTTP and for sockets.
//!
//! The system's look-up holds a thread until it answers, whoever still waits for it: few of them at once, so that
//! files can still be read. Further look-ups wait for their turn, within the time of who asks.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::config::EGRESS_LOOKUPS_MAX;

/// Asks the system for the addresses of a name.
type Resolve = Arc<dyn Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync>;

/// Looks names up. Cheap to clone; clones share their number at once.
#[derive(Clone)]
pub(crate) struct Names {
    turns: Arc<Semaphore>,
    resolve: Resolve,
}

impl Names {
    pub(crate) fn new() -> Self {
        Self::by(Arc::new(|host: &str| Ok((host, 0).to_socket_addrs()?.collect())))
    }

    pub(super) fn by(resolve: Resolve) -> Self {
        Self { turns: Arc::new(Semaphore::new(EGRESS_LOOKUPS_MAX)), resolve }
    }

    /// Addresses of `host`, without a port, in the order of the system.
    ///
    /// # Errors
    /// Those of the system's look-up.
    pub(super) async fn look_up(&self, host: &str) -> io::Result<Vec<SocketAddr>> {
        // The semaphore is never closed.
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(io::Error::other)?;
        let (resolve, host) = (Arc::clone(&self.resolve), host.to_owned());
        let looking = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            resolve(&host)
        });
        looking.await.map_err(io::Error::other)?
    }
}
