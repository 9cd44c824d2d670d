//! What only a broker does: parking, the delivery limit, queues that vanish, silence, TLS.

use crate::bus::{done, next, on_a_broker, publish};
use crate::proxy::{self, Proxy};
use crate::{PATIENCE, envelope, envelope_of, eventually};
use bigdata_chassis::bus::rabbitmq::{BusSettings, RabbitBus};
use bigdata_chassis::bus::{Bus, BusError, BusState};
use bigdata_chassis::{Tasks, testing};
use bigdata_common::event::Event;
use lapin::message::BasicGetMessage;
use lapin::options::{BasicGetOptions, BasicPublishOptions, QueueDeleteOptions};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use std::sync::Arc;
use std::time::{Duration, Instant};

const REGISTERED: &[&str] = &["cluster.registered.v1"];
/// Within this time something is over that was given less than a second for it, also on a busy machine; where nothing is
/// given it takes five.
const SOON: Duration = Duration::from_secs(4);

/// A bus with these settings, and its tasks.
pub(crate) fn connect(settings: &BusSettings) -> (Arc<dyn Bus>, Tasks) {
    let tasks = Tasks::new();
    (Arc::new(RabbitBus::connect(settings, &tasks).unwrap()), tasks)
}

/// An operator's own channel to the broker; it lives as long as the connection beside it.
async fn operator(url: &str) -> (Connection, Channel) {
    let connection = Connection::connect(url, ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    (connection, channel)
}

/// What stands first in the parked queue, once there is something.
async fn parked(channel: &Channel, prefix: &str) -> BasicGetMessage {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let name = format!("{prefix}.queue.parked.v1");
        if let Some(message) = channel.basic_get(name.into(), BasicGetOptions { no_ack: true }).await.unwrap() {
            return message;
        }
        assert!(Instant::now() < deadline, "nothing is parked");
    }
}

fn header(message: &BasicGetMessage, name: &str) -> String {
    let headers = message.properties.headers().clone().unwrap();
    let value = headers.inner().get(name).unwrap_or_else(|| panic!("{name} is missing: {headers:?}"));
    value.as_long_string().map(|text| String::from_utf8_lossy(text.as_bytes()).into_owned()).unwrap()
}

/// Settings by which a queue is there when it was subscribed to, however slow the broker is.
fn patient() -> Option<BusSettings> {
    Some(BusSettings { connect_limit_ms: 60_000, ..testing::rabbitmq()? })
}

#[tokio::test]
async fn what_is_no_event_is_parked_with_its_reason_and_stops_nothing() {
    let Some(settings) = patient() else { return };
    let (bus, tasks) = connect(&settings);
    let mut queue = bus.subscribe("queue", REGISTERED).await.unwrap();
    let (_connection, channel) = operator(&settings.url).await;
    let exchange = format!("{}.events", settings.prefix);
    let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
    let sent = channel.basic_publish(exchange.into(), REGISTERED[0].into(), options, b"{\"id\": 7}", properties).await;
    sent.unwrap().await.unwrap();
    let event = Arc::new(envelope());
    let published = publish(&bus, &event);
    let delivery = next(&mut queue).await;
    assert_eq!(delivery.envelope().id, event.id);
    delivery.ack().await;
    done(published).await;
    let message = parked(&channel, &settings.prefix).await;
    assert_eq!(message.data, b"{\"id\": 7}");
    assert!(header(&message, "x-bigdata-reason").starts_with("it is not an event: "));
    assert!(tasks.shut_down(crate::PATIENCE).await);
}

#[tokio::test]
async fn what_comes_back_too_often_is_parked_with_its_reason() {
    let Some(settings) = patient() else { return };
    let settings = BusSettings { delivery_limit: 3, ..settings };
    let (bus, tasks) = connect(&settings);
    let mut queue = bus.subscribe("queue", REGISTERED).await.unwrap();
    let event = Arc::new(envelope());
    done(publish(&bus, &event)).await;
    for _ in 0..4 {
        let delivery = next(&mut queue).await;
        assert_eq!(delivery.envelope().id, event.id);
        delivery.nack().await;
    }
    let (_connection, channel) = operator(&settings.url).await;
    let message = parked(&channel, &settings.prefix).await;
    assert_eq!(header(&message, "x-first-death-reason"), "delivery_limit");
    assert_eq!(message.properties.message_id().clone().unwrap().as_str(), event.id.to_string());
    let after = Arc::new(envelope());
    done(publish(&bus, &after)).await;
    let delivery = next(&mut queue).await;
    assert_eq!(delivery.envelope().id, after.id, "the queue goes on");
    delivery.ack().await;
    assert!(tasks.shut_down(crate::PATIENCE).await);
}

#[tokio::test]
async fn a_queue_that_somebody_deleted_is_made_again() {
    let Some(settings) = patient() else { return };
    let (bus, tasks) = connect(&settings);
    let mut queue = bus.subscribe("queue", REGISTERED).await.unwrap();
    let (_connection, channel) = operator(&settings.url).await;
    let name = format!("{}.queue.v1", settings.prefix);
    channel.queue_delete(name.into(), QueueDeleteOptions::default()).await.unwrap();
    let event = Arc::new(envelope());
    let published = publish(&bus, &event);
    let delivery = next(&mut queue).await;
    assert_eq!(delivery.envelope().id, event.id);
    delivery.ack().await;
    done(published).await;
    eventually("the bus works", async || bus.state() == BusState::Connected).await;
    assert!(tasks.shut_down(crate::PATIENCE).await);
}

#[tokio::test]
async fn an_event_that_no_queue_is_bound_to_waits_for_its_consumer() {
    let Some((bus, tasks)) = on_a_broker().await else { return };
    let event = Arc::new(envelope_of(Event::ClusterChanged {}));
    let unrouted = bus.publish(Arc::clone(&event)).await.unwrap().wait().await.unwrap_err();
    assert!(matches!(&unrouted, BusError::Unrouted(kind) if kind == "cluster.changed.v1"), "{unrouted}");
    let mut queue = bus.subscribe("queue", &["cluster.changed.v1"]).await.unwrap();
    done(publish(&bus, &event)).await;
    next(&mut queue).await.ack().await;
    assert!(tasks.shut_down(crate::PATIENCE).await);
}

#[tokio::test]
async fn a_broker_that_falls_silent_holds_nobody_up() {
    let Some(settings) = testing::rabbitmq() else { return };
    let proxy = Proxy::start(&settings.url, None).await;
    let limits = BusSettings { confirm_limit_ms: 400, connect_limit_ms: 2_000, ..settings };
    let (bus, tasks) = connect(&BusSettings { url: proxy.url("amqp", "127.0.0.1"), ..limits });
    let mut queue = bus.subscribe("queue", REGISTERED).await.unwrap();
    // What publishes has a connection of its own.
    eventually("the bus is connected", async || bus.state() == BusState::Connected).await;
    proxy.set_silent(true);
    let event = Arc::new(envelope());
    let begun = Instant::now();
    let confirmation = bus.publish(Arc::clone(&event)).await.unwrap();
    assert!(matches!(confirmation.wait().await, Err(BusError::Unconfirmed)));
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    eventually("it is told", async || matches!(bus.state(), BusState::Waiting { .. })).await;
    assert!(matches!(bus.publish(Arc::clone(&event)).await, Err(BusError::Unavailable(_))));
    assert!(tasks.readiness().awaited()["bus"].contains("publisher"), "{:?}", tasks.readiness());
    proxy.set_silent(false);
    let published = publish(&bus, &event);
    let delivery = next(&mut queue).await;
    assert_eq!(delivery.envelope().id, event.id);
    delivery.ack().await;
    done(published).await;
    assert!(tasks.shut_down(crate::PATIENCE).await);
}

#[tokio::test]
async fn tls_is_spoken_with_whom_the_settings_trust() {
    let Some(settings) = testing::rabbitmq() else { return };
    let (acceptor, authority) = proxy::tls();
    let proxy = Proxy::start(&settings.url, Some(acceptor)).await;
    let folder = tempfile::tempdir().unwrap();
    let ca_file = folder.path().join("ca.pem");
    std::fs::write(&ca_file, authority).unwrap();
    let trusting = BusSettings { url: proxy.url("amqps", "localhost"), ca_file: Some(ca_file.clone()), ..settings };
    let (bus, tasks) = connect(&trusting);
    eventually("the bus is connected", async || bus.state() == BusState::Connected).await;
    assert!(tasks.shut_down(crate::PATIENCE).await);
    // Another authority than the one that the broker is signed by.
    std::fs::write(&ca_file, proxy::tls().1).unwrap();
    let (bus, tasks) = connect(&trusting);
    let refused = || matches!(bus.state(), BusState::Waiting { reason } if reason.contains("certificate"));
    eventually("the certificate is refused", async || refused()).await;
    assert!(tasks.shut_down(crate::PATIENCE).await);
}

#[tokio::test]
async fn a_bus_without_a_broker_starts_and_says_what_it_waits_for() {
    // Bound and not listened on: nobody else is given the port meanwhile.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let port = socket.local_addr().unwrap().port();
    let url = format!("amqp://service:s3cret@127.0.0.1:{port}/%2f");
    let (bus, tasks) = connect(&BusSettings { url, connect_limit_ms: 200, ..BusSettings::default() });
    let begun = Instant::now();
    let subscription = bus.subscribe("queue", REGISTERED).await.unwrap();
    let error = bus.publish(Arc::new(envelope())).await.unwrap_err();
    assert!(matches!(error, BusError::Unavailable(_)), "{error}");
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    let refused = |reason: &str| reason.contains("refused") && !reason.contains("s3cret");
    eventually("it says why", async || matches!(bus.state(), BusState::Waiting { reason } if refused(&reason))).await;
    drop(subscription);
    assert!(tasks.shut_down(crate::PATIENCE).await);
}

#[test]
fn a_url_of_another_kind_is_refused_without_its_password() {
    let url = "http://service:s3cret@127.0.0.1/%2f".to_owned();
    let settings = BusSettings { url, ..BusSettings::default() };
    let error = RabbitBus::connect(&settings, &Tasks::new()).map(drop).unwrap_err().to_string();
    assert!(error.contains("http://…@127.0.0.1/%2f") && !error.contains("s3cret"), "{error}");
}
