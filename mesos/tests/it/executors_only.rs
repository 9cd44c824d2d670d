//! What only the engine promises of executors: each has a token of its own, and one that somebody has stopped ends.

use std::time::{Duration, Instant};

use bigdata_mesos::PROTOBUF;
use bigdata_mesos::call::executor::Caller;
use bigdata_mesos::call::scheduler as call;
use bigdata_mesos::v1::executor::Call;
use bigdata_mesos::v1::{TaskState, TaskStatus};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use prost::Message;
use reqwest::RequestBuilder;
use reqwest::header::{CONTENT_TYPE, WWW_AUTHENTICATE};

use crate::support::cluster::{Cluster, EngineCluster};
use crate::support::framework::{Framework, PRINCIPAL, SECRET, info};
use crate::support::{is_alive, until};

const TOKEN: &str = "MESOS_EXECUTOR_AUTHENTICATION_TOKEN=";

/// The token in the environment of an executor's process.
fn token(pid: i32) -> String {
    let environment = std::fs::read_to_string(format!("/proc/{pid}/environ")).unwrap();
    environment.split('\0').find_map(|variable| variable.strip_prefix(TOKEN)).unwrap().to_owned()
}

/// The status of the answer to an executor's call.
async fn answer(cluster: &Cluster, call: &Call, token: Option<&str>) -> u16 {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = client.post(format!("{}/api/v1/executor", cluster.url())).header(CONTENT_TYPE, PROTOBUF);
    let request = token.into_iter().fold(request, RequestBuilder::bearer_auth);
    let answer = request.body(call.encode_to_vec()).send().await.unwrap();
    let status = answer.status().as_u16();
    let challenge = answer.headers().get(WWW_AUTHENTICATE).map(|value| value.to_str().unwrap());
    assert_eq!(challenge, (status == 401).then_some("Bearer realm=\"mesos-agent-executor\""));
    status
}

#[tokio::test]
async fn an_executor_is_believed_by_its_own_token_alone() {
    let mut cluster = Cluster::engine().await;
    let mut framework = Framework::subscribe(&cluster, info("tokens")).await;
    let (status, one) = framework.run("one", "").await;
    let (_, other) = framework.run("other", "").await;
    let (own, others) = (token(one), token(other));
    assert_ne!(own, others);
    let caller = Caller { executor_id: status.executor_id.unwrap(), framework_id: framework.id.clone() };
    let update = TaskStatus {
        uuid: Some(uuid::Uuid::new_v4().into_bytes().to_vec()),
        ..TaskStatus::new("one", TaskState::Finished)
    };
    let calls = [caller.subscribe(Vec::new(), Vec::new()), caller.message(b"x".to_vec()), caller.update(update)];
    for again in [false, true] {
        for call in &calls {
            for token in [None, Some(""), Some("x"), Some(&*others), Some(&own[1..]), Some(SECRET)] {
                assert_eq!(answer(&cluster, call, token).await, 401, "{token:?} {call:?}");
            }
        }
        if !again {
            cluster.kill_agent().await;
            cluster.start_agent().await;
            framework.connected().await;
        }
    }
    // It is itself by its token, which the engine has kept.
    until("the executor is back", || async { answer(&cluster, &calls[1], Some(&own)).await == 202 }).await;
    assert_eq!(answer(&cluster, &calls[2], Some(&own)).await, 202);
    framework.acknowledged("one", TaskState::Finished).await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let state = client.get(format!("{}/state", cluster.url())).basic_auth(PRINCIPAL, Some(SECRET));
    let state = state.send().await.unwrap().text().await.unwrap();
    assert!(!state.contains(&own) && !state.contains(SECRET), "{state}");
}

/// A cluster whose executors have long to end.
async fn patient() -> Cluster {
    let started = EngineCluster::start(|settings| {
        settings.timing.executor_shutdown_grace = Duration::from_secs(600);
    });
    Cluster::Engine(Box::new(started.await))
}

#[tokio::test]
async fn an_executor_that_somebody_stopped_is_shut_down() {
    let cluster = patient().await;
    let mut framework = Framework::subscribe(&cluster, info("stopped")).await;
    let (running, pid) = framework.run("t", "").await;
    kill(Pid::from_raw(pid), Signal::SIGSTOP).unwrap();
    let began = Instant::now();
    framework.call(call::shutdown(running.executor_id.unwrap(), running.agent_id.unwrap())).await;
    let status = framework.acknowledged("t", TaskState::Killed).await;
    assert_eq!(status.source(), bigdata_mesos::v1::Source::Executor);
    framework.failure("executor-of-t").await;
    assert!(!is_alive(pid) && began.elapsed() < Duration::from_secs(120), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_task_of_an_executor_that_somebody_stopped_is_killed() {
    let cluster = patient().await;
    let mut framework = Framework::subscribe(&cluster, info("stopped")).await;
    let (running, pid) = framework.run("t", "").await;
    kill(Pid::from_raw(pid), Signal::SIGSTOP).unwrap();
    framework.call(call::kill("t".into(), running.agent_id, None)).await;
    framework.acknowledged("t", TaskState::Killed).await;
}
