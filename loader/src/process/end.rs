//! How a process is made to end.

use tokio::sync::watch;
use tokio::time::Instant;

use registry_schema::ErrorKind;

use crate::error::Error;

/// What was ordered of a process.
#[derive(Debug, Clone, Default)]
enum Order {
    #[default]
    None,
    /// To end by itself, if there is a time, until then.
    Cancel { until: Option<Instant>, error: Error },
    /// To end now.
    End(Error),
}

/// Orders for one process to end.
#[derive(Debug)]
pub(super) struct Orders(watch::Sender<Order>);

impl Default for Orders {
    fn default() -> Self {
        Self(watch::channel(Order::None).0)
    }
}

impl Orders {
    /// Lets the process end by itself until `until`, and ends it then. Neither a later cancellation nor a
    /// later one of the same kind gives it more time.
    pub(super) fn cancel(&self, until: Option<Instant>, reason: Option<&str>) {
        let why = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
        let error = Error::new(ErrorKind::Canceled, format!("the process was cancelled{why}"));
        self.0.send_if_modified(|order| {
            let earlier = match order {
                Order::None => true,
                Order::Cancel { until: earlier, .. } => match (until, earlier) {
                    (Some(until), Some(earlier)) => until < *earlier,
                    (Some(_), None) => true,
                    (None, _) => false,
                },
                Order::End(_) => false,
            };
            if earlier {
                *order = Order::Cancel { until, error };
            }
            earlier
        });
    }

    /// Ends the process with `error`.
    pub(super) fn end(&self, error: Error) {
        self.0.send_if_modified(|order| {
            let first = !matches!(order, Order::End(_));
            if first {
                *order = Order::End(error);
            }
            first
        });
    }

    /// Waits until the process has to end; with what.
    pub(super) async fn due(&self) -> Error {
        let mut orders = self.0.subscribe();
        loop {
            let order = orders.borrow_and_update().clone();
            let changed = orders.changed();
            // The sender is ours: a change always comes.
            match order {
                Order::None | Order::Cancel { until: None, .. } => drop(changed.await),
                Order::Cancel { until: Some(until), error } => {
                    match tokio::time::timeout_at(until, changed).await {
                        Ok(_) => {}
                        Err(_) => return error,
                    }
                }
                Order::End(error) => return error,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_cancelled_process_has_until_the_first_date() {
        let orders = Orders::default();
        let start = Instant::now();
        let after = |seconds| Some(start + Duration::from_secs(seconds));
        orders.cancel(None, None);
        orders.cancel(after(5), Some("enough"));
        orders.cancel(after(50), Some("later"));
        assert_eq!(orders.due().await.message(), "the process was cancelled: enough");
        assert_eq!(start.elapsed(), Duration::from_secs(5));
        orders.end(Error::new(ErrorKind::Internal, "first"));
        orders.end(Error::new(ErrorKind::Internal, "second"));
        assert_eq!(orders.due().await.message(), "first");
    }
}
