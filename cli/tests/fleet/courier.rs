//! Events that are late: what the services publish goes to a queue of the test's, and reaches them half an hour later.
//!
//! Who reads the truth on a timer (framework, orchestrator) hears nothing meanwhile. The registry hears what is told again,
//! and of everything the first word late: facts about a cluster come from nowhere else.

use crate::fleet::{Fleet, until};
use crate::sweep::number;
use bigdata_common::event::subscriptions;
use futures_util::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, QueueBindOptions,
    QueueDeclareOptions,
};
use lapin::types::{FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer};
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

const EVENTS: &str = "bigdata.events";
const REGISTRY: &str = "bigdata.registry.v1";
/// The services' queues, with what each is bound to.
const QUEUES: [(&str, &[&str]); 3] = [
    (REGISTRY, subscriptions::REGISTRY),
    ("bigdata.framework.v1", subscriptions::FRAMEWORK),
    ("bigdata.orchestrator.v1", subscriptions::ORCHESTRATOR),
];
/// What ends the way through the courier's own queue.
const LAST: &[u8] = b"the last one";

/// An event on its way to a queue.
struct Held {
    queue: ShortString,
    payload: Vec<u8>,
    properties: BasicProperties,
}

/// Has the events until it delivers them.
pub(crate) struct Courier {
    runtime: Runtime,
    _connection: Connection,
    channel: Channel,
    own: ShortString,
    carrying: Option<JoinHandle<Vec<Held>>>,
    since: Instant,
}

/// That of the sweep's fault.
static COURIER: Mutex<Option<Courier>> = Mutex::new(None);

/// How late events are: `BIGDATA_FLEET_LATE_SECONDS`; half an hour in the whole sweep.
fn lateness() -> Duration {
    let whole = number("BIGDATA_FLEET_ROUNDS") == Some(0);
    Duration::from_secs(number("BIGDATA_FLEET_LATE_SECONDS").unwrap_or(if whole { 1800 } else { 10 }))
}

impl Courier {
    /// The sweep's fault begins.
    pub(crate) fn come(fleet: &Fleet) {
        *COURIER.lock().unwrap_or_else(PoisonError::into_inner) = Some(Self::start(fleet));
    }

    /// And ends, when the events are late enough.
    pub(crate) fn leave(fleet: &Fleet) {
        let courier = COURIER.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut courier = courier.unwrap();
        courier.wait();
        let late = courier.deliver(fleet);
        eprintln!("{late} events were late");
    }

    /// From now on events do not arrive.
    pub(crate) fn start(fleet: &Fleet) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let url = fleet.address("FLEET_RABBITMQ");
        let (connection, channel, own, carrying) = runtime.block_on(async {
            let connection = Connection::connect(url, ConnectionProperties::default()).await.unwrap();
            let channel = connection.create_channel().await.unwrap();
            channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
            let exclusive = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
            let queue = channel.queue_declare("".into(), exclusive, FieldTable::default()).await.unwrap();
            let own = queue.name().clone();
            let options = QueueBindOptions::default();
            // No event is without a queue: whoever publishes it is told that it has arrived.
            channel.queue_bind(own.clone(), EVENTS.into(), "#".into(), options, FieldTable::default()).await.unwrap();
            for (queue, kind) in bindings() {
                channel.queue_unbind(queue.into(), EVENTS.into(), kind.into(), FieldTable::default()).await.unwrap();
            }
            let (name, consume) = (own.clone(), BasicConsumeOptions::default());
            let consumer = channel.basic_consume(name, "".into(), consume, FieldTable::default()).await.unwrap();
            let carrying = tokio::spawn(carry(channel.clone(), consumer));
            (connection, channel, own, carrying)
        });
        Self { runtime, _connection: connection, channel, own, carrying: Some(carrying), since: Instant::now() }
    }

    /// Until the events are late enough; this wait is the fault itself.
    pub(crate) fn wait(&self) {
        while let Some(rest) = lateness().checked_sub(self.since.elapsed()).filter(|rest| !rest.is_zero()) {
            std::thread::park_timeout(rest);
        }
    }

    /// Lets what was held arrive as it was, the last one first, each twice, and new events at once; how many were held, when
    /// all of them were handled.
    pub(crate) fn deliver(&mut self, fleet: &Fleet) -> usize {
        let carrying = self.carrying.take().unwrap();
        let (channel, own) = (&self.channel, &self.own);
        let held = self.runtime.block_on(async {
            bind(channel).await.unwrap();
            channel.queue_unbind(own.clone(), EVENTS.into(), "#".into(), FieldTable::default()).await.unwrap();
            let last = Held { queue: own.clone(), payload: LAST.to_vec(), properties: BasicProperties::default() };
            send(channel, &last).await;
            let held = carrying.await.unwrap();
            for late in held.iter().rev() {
                send(channel, late).await;
                send(channel, late).await;
            }
            held
        });
        self.are_handled(fleet, &held);
        held.len()
    }

    fn are_handled(&self, fleet: &Fleet, held: &[Held]) {
        let to_registry = held.iter().filter(|late| late.queue.as_str() == REGISTRY);
        let ids: BTreeSet<String> =
            to_registry.map(|late| read(&late.payload)["id"].to_string().replace('"', "'")).collect();
        let ids: Vec<String> = ids.into_iter().collect();
        until("the registry has handled what was late", || {
            let known = format!("SELECT count(*) FROM registry.inbox WHERE event_id IN ({})", ids.join(","));
            (ids.is_empty() || fleet.value(&known) == ids.len().to_string()).then_some(())
        });
        until("the services have taken what was late", || {
            let waiting = self.runtime.block_on(async {
                let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
                let mut waiting = 0;
                for (queue, _) in QUEUES {
                    let queue = self.channel.queue_declare(queue.into(), passive, FieldTable::default()).await.unwrap();
                    waiting += queue.message_count();
                }
                waiting
            });
            (waiting == 0).then_some(())
        });
    }
}

fn bindings() -> impl Iterator<Item = (&'static str, &'static str)> {
    QUEUES.into_iter().flat_map(|(queue, kinds)| kinds.iter().map(move |kind| (queue, *kind)))
}

async fn bind(channel: &Channel) -> lapin::Result<()> {
    for (queue, kind) in bindings() {
        let options = QueueBindOptions::default();
        channel.queue_bind(queue.into(), EVENTS.into(), kind.into(), options, FieldTable::default()).await?;
    }
    Ok(())
}

/// Holds what comes, and passes on what the registry is told again.
async fn carry(channel: Channel, mut consumer: Consumer) -> Vec<Held> {
    let (mut held, mut told) = (Vec::new(), BTreeSet::new());
    loop {
        let message = consumer.next().await.unwrap().unwrap();
        if message.data == LAST {
            return held;
        }
        let event = read(&message.data);
        let is_bound = |kinds: &[&str]| kinds.iter().any(|kind| event["type"] == *kind);
        for (queue, _) in QUEUES.into_iter().filter(|(_, kinds)| is_bound(kinds)) {
            let one =
                Held { queue: queue.into(), payload: message.data.clone(), properties: message.properties.clone() };
            if queue == REGISTRY && !told.insert(subject(&event)) {
                send(&channel, &one).await;
            } else {
                held.push(one);
            }
        }
        message.acker.ack(BasicAckOptions::default()).await.unwrap();
    }
}

fn read(payload: &[u8]) -> Value {
    serde_json::from_slice(payload).unwrap()
}

/// What an event is about; another one about it says it again, or says what came of it.
fn subject(event: &Value) -> String {
    let data = &event["data"];
    let parts = [&event["type"], &event["cluster_id"], &data["node"], &data["operation"], &data["output"]["key"]];
    parts.map(Value::to_string).join(" ")
}

/// Puts an event into a queue; returns when it is safe there.
async fn send(channel: &Channel, event: &Held) {
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let sent =
        channel.basic_publish("".into(), event.queue.clone(), options, &event.payload, event.properties.clone()).await;
    let confirmation = sent.unwrap().await.unwrap();
    assert!(matches!(confirmation, Confirmation::Ack(None)), "{}: {confirmation:?}", event.queue);
}
