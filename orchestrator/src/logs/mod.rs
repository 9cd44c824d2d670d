//! The clusters' and operations' logs as clients read them: pages, text, and a stream that follows.

mod follow;
mod routes;

pub(crate) use follow::Signals;
pub(crate) use routes::{show, show_operation};
