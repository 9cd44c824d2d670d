//! The scheduler's client at masters that do not lead, or fall silent.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bigdata_mesos::client::scheduler::Event;
use bigdata_mesos::recordio;
use bigdata_mesos::v1::scheduler::{Event as WireEvent, EventType, Subscribed};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::cluster::Cluster;
use crate::support::framework::{Framework, info, settings};

/// Answers every connection's first request with `answer`, and then says nothing.
async fn silent_server(answer: Vec<u8>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut open: Vec<TcpStream> = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4096];
            if stream.read(&mut request).await.is_ok() {
                let _ = stream.write_all(&answer).await;
            }
            open.push(stream);
        }
    });
    address
}

fn disconnected(event: &Event) -> Option<String> {
    match event {
        Event::Disconnected { reason } => Some(reason.clone()),
        _ => None,
    }
}

#[tokio::test]
async fn the_leader_is_followed_to() {
    let cluster = Cluster::engine().await;
    let leader = cluster.url();
    let location = leader.strip_prefix("http:").unwrap();
    let answer = format!(
        "HTTP/1.1 307 Temporary Redirect\r\nLocation: {location}/api/v1/scheduler\r\nContent-Length: 0\r\n\r\n"
    );
    let follower = silent_server(answer.into_bytes()).await;
    let mut framework = Framework::with(settings(vec![format!("http://{follower}")], info("follows")));
    assert_eq!(framework.handle.silent_for(), None, "nobody has spoken yet");
    framework.connected().await;
    assert!(framework.handle.silent_for().is_some());
    framework.run("t", "").await;
}

#[tokio::test]
async fn a_master_that_is_down_is_passed_over() {
    let cluster = Cluster::engine().await;
    let unused = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let no_leader =
        silent_server(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 9\r\n\r\nno leader".to_vec()).await;
    let masters = vec![format!("http://{unused}"), format!("http://{no_leader}"), cluster.url()];
    let mut framework = Framework::with(settings(masters, info("passes over")));
    framework.connected().await;
    let first = framework.wait("a reason", disconnected).await;
    assert!(first.contains(&unused.to_string()), "{first}");
    let second = framework.wait("a reason", disconnected).await;
    assert!(second.contains("no leader"), "{second}");
}

#[tokio::test]
async fn a_master_that_falls_silent_is_left() {
    let subscribed = WireEvent {
        r#type: Some(EventType::Subscribed as i32),
        subscribed: Some(Subscribed {
            framework_id: "f".into(),
            heartbeat_interval_seconds: Some(0.1),
            master_info: None,
        }),
        ..WireEvent::default()
    };
    let record = recordio::encode_message(&subscribed);
    let head = "HTTP/1.1 200 OK\r\nMesos-Stream-Id: s\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut answer = head.as_bytes().to_vec();
    answer.extend(format!("{:x}\r\n", record.len()).into_bytes());
    answer.extend_from_slice(&record);
    answer.extend_from_slice(b"\r\n");
    let master = silent_server(answer).await;
    let mut framework = Framework::with(settings(vec![format!("http://{master}")], info("silence")));
    framework.connected().await;
    let began = Instant::now();
    let reason = framework.wait("a reason", disconnected).await;
    assert!(reason.contains("no heartbeat"), "{reason}");
    assert!(began.elapsed() < Duration::from_secs(30), "it took {:?}", began.elapsed());
    assert_eq!((framework.handle.framework_id(), framework.handle.silent_for()), (None, None));
}
