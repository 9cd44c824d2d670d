//! The bus of a fleet: RabbitMQ.
//!
//! Every service has one durable quorum queue, which its replicas share, and beside it a parked queue for what was
//! delivered too often and for what is no event. Publishing and consuming go over a connection each: an alarm of the
//! broker blocks those that publish, and must not keep the others from acknowledging. Both come back by themselves
//! ([`link`]). What is published while the broker is away fails at once; the outbox keeps it. An event that no queue is
//! bound to yet is not confirmed, either, so that it waits for the service that consumes it.

mod link;
mod publisher;
mod session;
mod settings;
mod socket;
mod subscriber;
mod topology;
mod waits;

pub use settings::BusSettings;

use super::{Bus, BusError, BusState, Confirmation, Subscription};
use crate::Tasks;
use bigdata_common::event::Envelope;
use lapin::uri::{AMQPScheme, AMQPUri};
use link::Link;
use publisher::Publisher;
use session::Target;
use std::sync::Arc;
use subscriber::Subscriber;
use tokio::sync::{mpsc, watch};
use topology::Topology;
use waits::Waits;

/// Why a bus cannot be made of these settings. A broker that is away is no reason.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SettingsError {
    /// The URL is none of RabbitMQ's.
    #[error("the bus's url {url} cannot be used: {reason}; it is written amqp://user:password@host:5672/vhost")]
    Url {
        /// The URL, masked.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// What TLS needs is not there.
    #[error("the bus cannot use TLS: {0}")]
    Tls(String),
}

/// See the [module](self).
pub struct RabbitBus {
    target: Arc<Target>,
    publisher: Publisher,
    consumers: Link,
    waits: Arc<Waits>,
    tasks: Tasks,
}

impl RabbitBus {
    /// A bus that begins to connect, and goes on with that until `tasks` end. It is returned at once, whether the broker
    /// is there or not; [`Bus::state`] and the readiness of `tasks` (as `bus`) tell.
    ///
    /// # Errors
    /// When the settings themselves are wrong.
    pub fn connect(settings: &BusSettings, tasks: &Tasks) -> Result<Self, SettingsError> {
        let unusable = |reason| SettingsError::Url { url: settings::masked(&settings.url), reason };
        let uri: AMQPUri = settings.url.parse().map_err(unusable)?;
        let tls = match uri.scheme {
            AMQPScheme::AMQP => None,
            AMQPScheme::AMQPS => Some(socket::tls(settings).map_err(SettingsError::Tls)?),
        };
        let topology = Topology::new(settings);
        let target = Arc::new(Target { settings: settings.clone(), uri, tls, topology: topology.clone() });
        let waits = Arc::new(Waits::new(tasks.readiness().clone()));
        let link = |part| Link::spawn(Arc::clone(&target), part, Arc::clone(&waits), tasks);
        let publisher = Publisher { link: link("publisher"), topology, limit: settings.confirm_limit() };
        let consumers = link("consumer");
        Ok(Self { target, publisher, consumers, waits, tasks: tasks.clone() })
    }
}

#[async_trait::async_trait]
impl Bus for RabbitBus {
    async fn publish(&self, envelope: Arc<Envelope>) -> Result<Confirmation, BusError> {
        self.publisher.publish(&envelope).await
    }

    /// Returns when the queue is bound, or after the settings' limit for connections: while the broker is away the
    /// subscription waits for it.
    async fn subscribe(&self, queue: &'static str, kinds: &'static [&'static str]) -> Result<Subscription, BusError> {
        let settings = &self.target.settings;
        let (deliveries, receiver) = mpsc::channel(usize::from(settings.prefetch()));
        let (bound, mut is_bound) = watch::channel(false);
        let subscriber = Subscriber {
            queue,
            kinds,
            link: self.consumers.clone(),
            publisher: self.publisher.clone(),
            waits: Arc::clone(&self.waits),
            prefetch: settings.prefetch(),
            limit: settings.connect_limit(),
            deliveries,
            bound,
            token: self.tasks.token(),
        };
        self.tasks.spawn("bus subscription", subscriber.run());
        let binding = is_bound.wait_for(|bound| *bound);
        if tokio::time::timeout(settings.connect_limit(), binding).await.is_err() {
            tracing::warn!(queue, "the queue is not bound yet; it waits for the broker");
        }
        Ok(Subscription(receiver))
    }

    fn lanes(&self) -> usize {
        self.target.settings.lanes()
    }

    fn state(&self) -> BusState {
        self.waits.state()
    }
}
