//! What listens passes from a service of one bundle to a service of the next, without ever being closed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What listens for the services of a loader, and then for those of the loader that succeeds it.
#[derive(Clone, Default)]
pub(crate) struct Listeners {
    #[cfg(feature = "lua")]
    pub(crate) servers: Handover<crate::http::Server>,
    #[cfg(feature = "telemetry")]
    pub(crate) metrics: Handover<crate::telemetry::Served>,
}

/// All that listens, of one kind. Clones are the same.
pub(crate) struct Handover<T>(Arc<Mutex<Listening<T>>>);

struct Listening<T> {
    next: u64,
    held: Vec<Held<T>>,
}

struct Held<T> {
    /// That of its lease.
    number: u64,
    service: String,
    address: String,
    what: T,
}

/// A service's right to what it listens with, until another takes that over. Dropping it closes it.
pub(crate) struct Lease<T> {
    all: Handover<T>,
    number: u64,
}

impl<T> Clone for Handover<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Default for Handover<T> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Listening { next: 0, held: Vec::new() })))
    }
}

impl<T> Handover<T> {
    fn listening(&self) -> MutexGuard<'_, Listening<T>> {
        // Each change is one push or one removal: whole after any panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps `what`, which `service` listens with on `address`.
    pub(crate) fn keep(&self, service: &str, address: &str, what: T) -> Lease<T> {
        let mut all = self.listening();
        let number = all.lease();
        all.held.push(Held { number, service: service.to_owned(), address: address.to_owned(), what });
        Lease { all: self.clone(), number }
    }

    /// Gives what listens on `address` already to `service`, which passes it `next`: its own if it has one,
    /// else another service's, which may have been renamed.
    ///
    /// # Errors
    /// `next`, when nothing listens there.
    pub(crate) fn take_over<N>(
        &self,
        service: &str,
        address: &str,
        next: N,
        pass: impl FnOnce(&T, N),
    ) -> Result<Lease<T>, N> {
        let mut all = self.listening();
        // Port 0 is another one for each service.
        let is_fixed = !address.ends_with(":0");
        let own = all.held.iter().position(|held| held.service == service && held.address == address);
        let same = || all.held.iter().position(|held| is_fixed && held.address == address);
        let Some(index) = own.or_else(same) else { return Err(next) };
        let number = all.lease();
        let held = &mut all.held[index];
        held.number = number;
        held.service = service.to_owned();
        pass(&held.what, next);
        Ok(Lease { all: self.clone(), number })
    }
}

impl<T> Listening<T> {
    fn lease(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

impl<T> Lease<T> {
    /// What its service listened with, unless another has taken that over.
    #[cfg(any(feature = "lua", test))]
    pub(crate) fn end(self) -> Option<T> {
        self.remove()
    }

    fn remove(&self) -> Option<T> {
        let mut all = self.all.listening();
        let index = all.held.iter().position(|held| held.number == self.number)?;
        Some(all.held.swap_remove(index).what)
    }
}

impl<T> Drop for Lease<T> {
    fn drop(&mut self) {
        // Dropped outside of the lock.
        drop(self.remove());
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn an_address_goes_to_its_service_or_to_whoever_has_it_next() {
        let all = Handover::<Cell<u8>>::default();
        let one = all.keep("one", ":1", Cell::new(1));
        let two = all.keep("two", ":2", Cell::new(2));
        let set = |held: &Cell<u8>, next: u8| held.set(next);
        // They change places.
        let next_one = all.take_over("one", ":2", 10, set).ok().unwrap();
        let next_two = all.take_over("two", ":1", 20, set).ok().unwrap();
        assert_eq!(all.take_over("three", ":3", 30, set).err(), Some(30));
        // What was taken over is not the first service's any more.
        assert!(one.end().is_none());
        drop(two);
        assert_eq!(next_one.end().map(Cell::into_inner), Some(10));
        assert_eq!(next_two.end().map(Cell::into_inner), Some(20));
        assert!(all.listening().held.is_empty());
    }

    #[test]
    fn a_port_of_the_systems_choice_stays_its_services() {
        let all = Handover::<()>::default();
        let lease = all.keep("one", "127.0.0.1:0", ());
        assert!(all.take_over("two", "127.0.0.1:0", (), |(), ()| {}).is_err());
        assert!(all.take_over("one", "127.0.0.1:0", (), |(), ()| {}).is_ok());
        assert!(lease.end().is_none());
    }
}
