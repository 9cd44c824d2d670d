//! Who may call.

use bigdata_mesos::PROTOBUF;
use bigdata_mesos::call::scheduler as call;
use bigdata_mesos::client::scheduler::Event;
use bigdata_mesos::v1::FrameworkInfo;
use prost::Message;
use reqwest::header::{ACCEPT, CONTENT_TYPE, WWW_AUTHENTICATE};
use reqwest::{Client, RequestBuilder};

use crate::support::cluster::Cluster;
use crate::support::framework::{Framework, PRINCIPAL, SECRET, info, settings};

fn client() -> Client {
    // The scheduler's client sees to it that there is a TLS provider; nothing here needs one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder().no_proxy().build().unwrap()
}

/// A subscription as this framework, by nobody yet.
fn subscribe(cluster: &Cluster, info: FrameworkInfo) -> RequestBuilder {
    let call = call::subscribe(info, Vec::new());
    let request = client().post(format!("{}/api/v1/scheduler", cluster.url()));
    request.header(CONTENT_TYPE, PROTOBUF).header(ACCEPT, PROTOBUF).body(call.encode_to_vec())
}

fn disconnected(event: &Event) -> Option<String> {
    match event {
        Event::Disconnected { reason } => Some(reason.clone()),
        _ => None,
    }
}

pub(crate) async fn who_proves_nothing_is_told_nothing(cluster: &mut Cluster) {
    let state = client().get(format!("{}/master/state", cluster.url()));
    let by_get = client().get(format!("{}/api/v1/scheduler", cluster.url()));
    for (request, realm) in [
        (state, "mesos-master-readonly"),
        (subscribe(cluster, info("nobody")), "mesos-master-scheduler"),
        (by_get, "mesos-master-scheduler"),
    ] {
        let again = || request.try_clone().unwrap();
        let wrong = [
            again(),
            again().basic_auth(PRINCIPAL, Some("another secret")),
            again().basic_auth("another", Some(SECRET)),
            again().basic_auth(PRINCIPAL, None::<&str>),
            again().bearer_auth(SECRET),
        ];
        for request in wrong {
            let refused = request.send().await.unwrap();
            assert_eq!(refused.status(), 401);
            assert_eq!(refused.headers()[WWW_AUTHENTICATE], format!("Basic realm=\"{realm}\"").as_str());
        }
    }
    let state = client().get(format!("{}/master/state", cluster.url())).basic_auth(PRINCIPAL, Some(SECRET));
    assert_eq!(state.send().await.unwrap().status(), 200);

    let mut stranger = settings(vec![cluster.url()], info("stranger"));
    stranger.credential.as_mut().unwrap().secret = "another secret".to_owned();
    let reason = Framework::with(stranger).wait("a refusal", disconnected).await;
    assert!(reason.contains("401"), "{reason}");
}

pub(crate) async fn a_framework_is_who_its_scheduler_proved_to_be(cluster: &mut Cluster) {
    let another = FrameworkInfo { principal: Some("another".to_owned()), ..info("another") };
    let refused = subscribe(cluster, another).basic_auth(PRINCIPAL, Some(SECRET)).send().await.unwrap();
    let status = refused.status().as_u16();
    let text = refused.text().await.unwrap();
    assert_eq!(status, 400, "{text}");
    assert!(text.contains("Authenticated principal 'tester' does not match principal 'another'"), "{text}");
    // Who does not say so is it none the less.
    let mut unnamed = Framework::subscribe(cluster, FrameworkInfo { principal: None, ..info("unnamed") }).await;
    unnamed.run("t", "").await;
}
