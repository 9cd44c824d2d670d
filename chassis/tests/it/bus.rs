//! What every bus keeps to; the bodies are written once and run on each.

use crate::envelope;
use bigdata_chassis::bus::Bus;
use bigdata_chassis::bus::embedded::EmbeddedBus;
use std::sync::Arc;

const REGISTERED: &[&str] = &["cluster.registered.v1"];
const DESTROYING: &[&str] = &["cluster.destroying.v1"];

async fn every_bound_queue_gets_the_event_and_no_other(bus: Arc<dyn Bus>) {
    let mut first = bus.subscribe("first", REGISTERED).await.unwrap();
    let mut second = bus.subscribe("second", REGISTERED).await.unwrap();
    let mut other = bus.subscribe("other", DESTROYING).await.unwrap();
    let event = Arc::new(envelope());
    let confirmation = bus.publish(Arc::clone(&event)).await.unwrap();
    for queue in [&mut first, &mut second] {
        let delivery = queue.next().await.unwrap();
        assert_eq!(delivery.envelope().id, event.id);
        delivery.ack().await;
    }
    confirmation.wait().await.unwrap();
    let nothing = tokio::time::timeout(std::time::Duration::from_millis(20), other.next()).await;
    assert!(nothing.is_err(), "a queue got an event that it is not bound to");
}

async fn an_event_given_back_is_not_confirmed(bus: Arc<dyn Bus>) {
    let mut queue = bus.subscribe("queue", REGISTERED).await.unwrap();
    let confirmation = bus.publish(Arc::new(envelope())).await.unwrap();
    queue.next().await.unwrap().nack().await;
    assert!(confirmation.wait().await.is_err());
    let confirmation = bus.publish(Arc::new(envelope())).await.unwrap();
    drop(queue.next().await.unwrap());
    assert!(confirmation.wait().await.is_err(), "a delivery that was dropped counts as handled");
}

#[tokio::test]
async fn the_embedded_bus_conforms() {
    every_bound_queue_gets_the_event_and_no_other(Arc::new(EmbeddedBus::new())).await;
    an_event_given_back_is_not_confirmed(Arc::new(EmbeddedBus::new())).await;
}
