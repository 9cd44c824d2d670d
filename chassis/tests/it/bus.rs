//! What every bus keeps to; the bodies are written once and run on each.

use crate::{PATIENCE, envelope, envelope_of};
use bigdata_chassis::bus::embedded::EmbeddedBus;
use bigdata_chassis::bus::rabbitmq::{BusSettings, RabbitBus};
use bigdata_chassis::bus::{Bus, BusState, Delivery, Subscription};
use bigdata_chassis::{Tasks, testing};
use bigdata_common::EventId;
use bigdata_common::event::{Envelope, Event};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const REGISTERED: &[&str] = &["cluster.registered.v1"];
const DESTROYING: &[&str] = &["cluster.destroying.v1"];

/// Publishes as the relay does: again and again, until the event is safe.
pub(crate) fn publish(bus: &Arc<dyn Bus>, envelope: &Arc<Envelope>) -> tokio::task::JoinHandle<()> {
    let (bus, envelope) = (Arc::clone(bus), Arc::clone(envelope));
    tokio::spawn(async move {
        loop {
            if let Ok(confirmation) = bus.publish(Arc::clone(&envelope)).await
                && confirmation.wait().await.is_ok()
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
}

/// The next delivery; fails the test after [`PATIENCE`].
pub(crate) async fn next(queue: &mut Subscription) -> Delivery {
    tokio::time::timeout(PATIENCE, queue.next()).await.expect("a delivery comes").expect("the subscription goes on")
}

/// Waits for something that the test began; fails the test after [`PATIENCE`].
pub(crate) async fn done(task: tokio::task::JoinHandle<()>) {
    tokio::time::timeout(PATIENCE, task).await.expect("it comes to its end").unwrap();
}

/// Acknowledges whatever comes: a hostile bus confirms the last of several copies.
fn acknowledge(mut queue: Subscription) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        while let Some(delivery) = queue.next().await {
            delivery.ack().await;
        }
    })
}

async fn every_bound_queue_gets_an_event_and_no_other(bus: Arc<dyn Bus>) {
    let mut first = bus.subscribe("first", REGISTERED).await.unwrap();
    let mut second = bus.subscribe("second", REGISTERED).await.unwrap();
    let mut other = bus.subscribe("other", DESTROYING).await.unwrap();
    let event = Arc::new(envelope());
    let published = publish(&bus, &event);
    for queue in [&mut first, &mut second] {
        let delivery = next(queue).await;
        assert_eq!(*delivery.envelope(), *event, "an event arrives as it was sent");
        delivery.ack().await;
    }
    done(published).await;
    let destroying = Arc::new(envelope_of(Event::ClusterDestroying {}));
    let published = publish(&bus, &destroying);
    let delivery = next(&mut other).await;
    assert_eq!(delivery.envelope().id, destroying.id, "a queue got an event that it is not bound to");
    delivery.ack().await;
    done(published).await;
}

async fn what_is_given_back_or_dropped_comes_again(bus: Arc<dyn Bus>) {
    let mut queue = bus.subscribe("queue", REGISTERED).await.unwrap();
    let event = Arc::new(envelope());
    let published = publish(&bus, &event);
    next(&mut queue).await.nack().await;
    drop(next(&mut queue).await);
    let delivery = next(&mut queue).await;
    assert_eq!(delivery.envelope().id, event.id);
    delivery.ack().await;
    done(published).await;
}

async fn what_a_dying_consumer_held_goes_to_the_next(bus: Arc<dyn Bus>) {
    let mut queue = bus.subscribe("queue", REGISTERED).await.unwrap();
    let event = Arc::new(envelope());
    let published = publish(&bus, &event);
    let held = next(&mut queue).await;
    drop(queue);
    drop(held);
    let mut queue = bus.subscribe("queue", REGISTERED).await.unwrap();
    let delivery = next(&mut queue).await;
    assert_eq!(delivery.envelope().id, event.id);
    delivery.ack().await;
    let duplicates = acknowledge(queue);
    done(published).await;
    duplicates.abort();
}

async fn a_queue_without_a_consumer_loses_nothing(bus: Arc<dyn Bus>) {
    drop(bus.subscribe("queue", REGISTERED).await.unwrap());
    let events: Vec<_> = (0..20).map(|_| Arc::new(envelope())).collect();
    let published: Vec<_> = events.iter().map(|event| publish(&bus, event)).collect();
    // Whatever the bus keeps by itself and whatever it leaves with the sender: the consumer gets it.
    let mut queue = bus.subscribe("queue", REGISTERED).await.unwrap();
    let mut missing: BTreeSet<EventId> = events.iter().map(|event| event.id).collect();
    while !missing.is_empty() {
        let delivery = next(&mut queue).await;
        missing.remove(&delivery.envelope().id);
        delivery.ack().await;
    }
    let duplicates = acknowledge(queue);
    for published in published {
        done(published).await;
    }
    duplicates.abort();
}

async fn consumers_of_one_queue_share_its_events(bus: Arc<dyn Bus>) {
    let seen: Arc<Mutex<Vec<BTreeSet<EventId>>>> = Arc::new(Mutex::new(vec![BTreeSet::new(), BTreeSet::new()]));
    let mut consumers = Vec::new();
    for index in 0..2 {
        let mut queue = bus.subscribe("queue", REGISTERED).await.unwrap();
        let seen = Arc::clone(&seen);
        consumers.push(tokio::spawn(async move {
            while let Some(delivery) = queue.next().await {
                seen.lock().unwrap()[index].insert(delivery.envelope().id);
                delivery.ack().await;
            }
        }));
    }
    let events: Vec<_> = (0..60).map(|_| Arc::new(envelope())).collect();
    for published in events.iter().map(|event| publish(&bus, event)).collect::<Vec<_>>() {
        done(published).await;
    }
    let all: BTreeSet<EventId> = events.iter().map(|event| event.id).collect();
    let united = || seen.lock().unwrap().iter().flatten().copied().collect::<BTreeSet<EventId>>();
    crate::eventually("every event is seen", async || united() == all).await;
    let seen = seen.lock().unwrap();
    assert!(seen.iter().all(|ids| !ids.is_empty()), "one consumer got everything");
    assert!(seen.iter().any(|ids| ids.len() < all.len()), "each consumer got everything");
    consumers.iter().for_each(tokio::task::JoinHandle::abort);
}

async fn an_event_is_confirmed_while_another_is_in_hand(bus: Arc<dyn Bus>) {
    let mut slow = bus.subscribe("slow", DESTROYING).await.unwrap();
    let mut queue = bus.subscribe("queue", REGISTERED).await.unwrap();
    let held = Arc::new(envelope_of(Event::ClusterDestroying {}));
    let holding = publish(&bus, &held);
    let in_hand = next(&mut slow).await;
    let event = Arc::new(envelope());
    let published = publish(&bus, &event);
    next(&mut queue).await.ack().await;
    done(published).await;
    in_hand.ack().await;
    done(holding).await;
}

/// Runs each body on every bus.
macro_rules! conformance {
    ($($body:ident),* $(,)?) => {$(
        mod $body {
            #[tokio::test]
            async fn on_the_embedded_bus() {
                super::$body(std::sync::Arc::new(super::EmbeddedBus::new())).await;
            }

            #[tokio::test]
            async fn on_rabbitmq() {
                let Some((bus, tasks)) = super::on_a_broker().await else { return };
                super::$body(bus).await;
                assert!(tasks.shut_down(crate::PATIENCE).await, "a task of the bus did not end");
            }
        }
    )*};
}

conformance!(
    every_bound_queue_gets_an_event_and_no_other,
    what_is_given_back_or_dropped_comes_again,
    what_a_dying_consumer_held_goes_to_the_next,
    a_queue_without_a_consumer_loses_nothing,
    consumers_of_one_queue_share_its_events,
    an_event_is_confirmed_while_another_is_in_hand,
);

/// The hostile mode promises no more than any broker does; these bodies ask for no more.
#[tokio::test]
async fn the_hostile_bus_loses_nothing() {
    let seed = rand::random();
    eprintln!("seed {seed}");
    a_queue_without_a_consumer_loses_nothing(Arc::new(EmbeddedBus::hostile(seed))).await;
    consumers_of_one_queue_share_its_events(Arc::new(EmbeddedBus::hostile(seed))).await;
    what_a_dying_consumer_held_goes_to_the_next(Arc::new(EmbeddedBus::hostile(seed))).await;
}

/// A bus on the test's broker, connected. A queue is bound when `subscribe` returns, however slow the broker is.
pub(crate) async fn on_a_broker() -> Option<(Arc<dyn Bus>, Tasks)> {
    let settings = BusSettings { connect_limit_ms: 60_000, ..testing::rabbitmq()? };
    let tasks = Tasks::new();
    let bus: Arc<dyn Bus> = Arc::new(RabbitBus::connect(&settings, &tasks).unwrap());
    crate::eventually("the bus is connected", async || bus.state() == BusState::Connected).await;
    Some((bus, tasks))
}

#[tokio::test]
async fn the_embedded_bus_confirms_nothing_that_was_given_back() {
    let bus = EmbeddedBus::new();
    let mut queue = bus.subscribe("queue", REGISTERED).await.unwrap();
    let confirmation = bus.publish(Arc::new(envelope())).await.unwrap();
    queue.next().await.unwrap().nack().await;
    assert!(confirmation.wait().await.is_err());
    let confirmation = bus.publish(Arc::new(envelope())).await.unwrap();
    drop(queue.next().await.unwrap());
    assert!(confirmation.wait().await.is_err(), "a delivery that was dropped counts as handled");
}
