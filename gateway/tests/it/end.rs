//! A gateway that is ended: what is under way is brought to its end, what would go on by itself ends well.

use crate::platform::{Platform, eventually};
use crate::sample::CLUSTER;
use crate::upstream::Upstream;
use bigdata_chassis::Tasks;
use bigdata_chassis::secret::Token;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const API: &str = "/bigdata/api/v1";
/// Longer than a server that is ended abruptly waits.
const UNDER_WAY: Duration = Duration::from_secs(4);

#[tokio::test]
async fn a_slow_request_is_answered_and_waits_and_streams_end_early() {
    let (token, tasks) = (Token::random(), Tasks::new());
    let upstream = Upstream::start(&token, &tasks);
    let platform = Platform::start_as(token, |settings, _| settings.registry = upstream.address.into()).await;
    let slow = tokio::spawn(platform.get(&format!("{API}/products/slow")).send());
    let wait = tokio::spawn(platform.get(&format!("{API}/products/slow?wait=ready&timeout=60")).send());
    let events = platform.get(&format!("{API}/{CLUSTER}/events")).header("accept", "text/event-stream");
    let mut stream = events.send().await.unwrap();
    upstream.publish("data: {}\n\n");
    assert_eq!(stream.chunk().await.unwrap().unwrap(), "data: {}\n\n".as_bytes());
    eventually("both requests are under way", || async { upstream.held() == 2 }).await;

    let asked = Instant::now();
    let ended = tokio::spawn(platform.end());
    let waited = wait.await.unwrap().unwrap();
    assert_eq!((waited.status().as_u16(), &waited.headers()["x-bigdata-wait"]), (200, &"timeout".parse().unwrap()));
    assert_eq!(waited.json::<Value>().await.unwrap(), json!({"slow": false}), "where it stands, before it is there");
    assert_eq!(stream.chunk().await.unwrap(), None, "the stream is whole as far as it went");
    eventually("the request takes its time", || async { asked.elapsed() > UNDER_WAY }).await;
    assert!(!ended.is_finished(), "the gateway waits for the request");
    upstream.let_go();
    let answer = slow.await.unwrap().unwrap();
    assert_eq!((answer.status().as_u16(), answer.json::<Value>().await.unwrap()), (200, json!({"slow": true})));
    assert!(ended.await.unwrap(), "nothing was cut");
    assert!(tasks.shut_down(Duration::from_secs(20)).await);
}
