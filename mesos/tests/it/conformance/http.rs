//! The HTTP below the calls.

use bigdata_mesos::call::scheduler as call;
use bigdata_mesos::recordio::Decoder;
use bigdata_mesos::v1::scheduler::{Call, Event, EventType};
use bigdata_mesos::{PROTOBUF, STREAM_ID};
use prost::Message;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{RequestBuilder, Response};

use crate::support::PATIENCE;
use crate::support::cluster::Cluster;
use crate::support::framework::{PRINCIPAL, SECRET, info};

fn request(cluster: &Cluster) -> RequestBuilder {
    // The scheduler's client sees to it that there is a TLS provider; nothing here needs one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    client.post(format!("{}/api/v1/scheduler", cluster.url())).basic_auth(PRINCIPAL, Some(SECRET))
}

fn post(cluster: &Cluster, call: &Call) -> RequestBuilder {
    let request = request(cluster).header(CONTENT_TYPE, PROTOBUF).header(ACCEPT, PROTOBUF);
    request.body(call.encode_to_vec())
}

async fn refused(request: RequestBuilder, status: u16, words: &str) {
    let response = request.send().await.unwrap();
    let found = response.status().as_u16();
    let text = response.text().await.unwrap();
    assert_eq!(found, status, "{text}");
    assert!(text.contains(words), "{text:?} does not say {words:?}");
}

async fn first_events(response: &mut Response, count: usize) -> Vec<Event> {
    let mut decoder = Decoder::new(1 << 20);
    let mut events = Vec::new();
    while events.len() < count {
        let chunk = tokio::time::timeout(PATIENCE, response.chunk()).await.unwrap();
        decoder.push(&chunk.unwrap().unwrap());
        while let Some(event) = decoder.next_message().unwrap() {
            events.push(event);
        }
    }
    events
}

pub(crate) async fn requests_that_are_not_calls_are_refused(cluster: &mut Cluster) {
    let subscribe = call::subscribe(info("http"), Vec::new());
    let body = subscribe.encode_to_vec();
    refused(request(cluster).body(body.clone()), 400, "Content-Type").await;
    let text = request(cluster).header(CONTENT_TYPE, "text/plain").body(body.clone());
    refused(text, 415, "Content-Type").await;
    let json_wanted = request(cluster).header(CONTENT_TYPE, PROTOBUF).header(ACCEPT, "text/html");
    refused(json_wanted.body(body), 406, "Accept").await;
    let nonsense = request(cluster).header(CONTENT_TYPE, PROTOBUF).body("nonsense");
    refused(nonsense, 400, "").await;
    let get = reqwest::Client::builder().no_proxy().build().unwrap();
    let get = get.get(format!("{}/api/v1/scheduler", cluster.url())).basic_auth(PRINCIPAL, Some(SECRET));
    refused(get, 405, "").await;
    let with_stream = post(cluster, &subscribe).header(STREAM_ID, "some");
    refused(with_stream, 400, "Mesos-Stream-Id").await;
    let mut other_id = call::subscribe(info("http"), Vec::new());
    other_id.framework_id = Some("one".into());
    refused(post(cluster, &other_id), 400, "framework_id").await;
}

pub(crate) async fn calls_are_bound_to_the_subscription(cluster: &mut Cluster) {
    let subscribe = call::subscribe(info("http"), Vec::new());
    let mut stream = post(cluster, &subscribe).send().await.unwrap();
    assert_eq!(stream.status(), 200);
    assert_eq!(stream.headers()[CONTENT_TYPE], PROTOBUF);
    let stream_id = stream.headers()[STREAM_ID].to_str().unwrap().to_owned();
    let events = first_events(&mut stream, 2).await;
    assert_eq!(events[0].r#type(), EventType::Subscribed);
    let subscribed = events[0].subscribed.clone().unwrap();
    assert_eq!(subscribed.heartbeat_interval_seconds, Some(15.0));
    assert!(subscribed.master_info.is_some_and(|master| !master.id.is_empty()));
    assert_eq!(events[1].r#type(), EventType::Heartbeat);

    let mut revive = call::revive(Vec::new());
    refused(post(cluster, &revive).header(STREAM_ID, &stream_id), 400, "framework_id").await;
    revive.framework_id = Some("unknown".into());
    refused(post(cluster, &revive).header(STREAM_ID, &stream_id), 400, "Framework cannot be found").await;
    revive.framework_id = Some(subscribed.framework_id);
    refused(post(cluster, &revive), 400, "Mesos-Stream-Id").await;
    refused(post(cluster, &revive).header(STREAM_ID, "another"), 400, "stream ID").await;
    let taken = post(cluster, &revive).header(STREAM_ID, &stream_id).send().await.unwrap();
    assert_eq!(taken.status(), 202);

    drop(stream);
    crate::support::until("the framework is known to be away", || async {
        let late = post(cluster, &revive).header(STREAM_ID, &stream_id).send().await.unwrap();
        late.status() == 403
    })
    .await;
}
