//! A run's cluster as the older system's registry had it: one key with a text per fact, in the form of Consul's key-value
//! interface. Pure; `reach` serves it.
//!
//! **Invariant:** a run's keys are made of its own cluster and its own product alone, so that nothing else can be asked for.

mod answer;
mod flatten;
mod indexed;
mod query;
mod writing;

pub(crate) use answer::{Answer, answer, index_of};
pub(crate) use flatten::keys;
pub(crate) use indexed::Indexed;
pub(crate) use query::{Query, decoded};
pub(crate) use writing::{Refused, Write, writing};
