//! Events that are neither lost nor handled twice: outbox, relay, inbox, consumer.
//!
//! A service changes its tables and enqueues its events in one transaction ([`outbox`], the only way to emit).
//! The [`relay::Relay`] publishes them in order and deletes each when the bus has confirmed it. A [`consumer`] hands each
//! delivery to the service's handler until it is handled or parked with its reason ([`parked`]).

pub mod consumer;
pub mod inbox;
pub mod outbox;
pub mod parked;
pub mod relay;
mod turns;
