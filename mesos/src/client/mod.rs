//! The two clients of the API: a framework's scheduler, and its executors.
//!
//! Each is a task that keeps one subscription alive, a cheap handle to call with, and a stream of events. Dropping the
//! events ends the task and with it the subscription.

mod backoff;
pub mod executor;
pub mod scheduler;

pub use backoff::Backoff;

/// An error with what lies under it, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        source = inner.source();
    }
    text
}
