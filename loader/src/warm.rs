//! Warm starts (`pool.warm_start`): what the first calls would have to wait for, done at boot.

use std::sync::Arc;

use registry_schema::EntryId;

use crate::call;
use crate::error::Error;
use crate::loader::{Callable, Loader};
use crate::task;

impl Loader {
    /// Loads and links the functions whose `pool.warm_start` is true, and makes as many instances of each at the
    /// same time as its pool has slots reserved, one at least. With `pool.reuse` they are kept, as after a call
    /// without actor and scope; else they go, and the memory that they lay in is mapped for the next ones. Start
    /// functions run, within the entry's limits. Which functions could not be warmed, with why: their calls are tried
    /// all the same.
    ///
    /// `loader run` does so before it starts services.
    ///
    /// # Errors
    /// `INTERNAL` when a record of the manifest is malformed.
    pub async fn warm_up(&self) -> Result<Vec<(EntryId, Error)>, Error> {
        let inner = self.inner();
        let mut cold = Vec::new();
        for entry in self.bundle().manifest().entries() {
            let entry = entry?;
            let pool = entry.wasm.as_ref().and_then(|wasm| wasm.pool.as_ref());
            if pool.is_none_or(|pool| pool.warm_start.is_none()) || inner.unavailable(&entry).is_some() {
                continue;
            }
            if let Err(error) = self.warm_entry(&entry.id).await {
                cold.push((entry.id, error));
            }
        }
        Ok(cold)
    }

    async fn warm_entry(&self, id: &EntryId) -> Result<(), Error> {
        let inner = self.inner();
        match inner.callable(&id.to_string())? {
            Callable::Wasm(function) if function.pool.shape().warm_start => {
                let warming = call::warm(Arc::clone(inner), function);
                task::run(id, &inner.ticker, warming).await
            }
            _ => Ok(()),
        }
    }
}
