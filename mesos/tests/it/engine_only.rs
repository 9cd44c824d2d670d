//! What only the engine promises.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bigdata_mesos::call::scheduler as call;
use bigdata_mesos::client::scheduler::{Event, Settings};
use bigdata_mesos::engine::{Engine, EngineError, Shutdown, Timing};
use bigdata_mesos::event::SchedulerEvent;
use bigdata_mesos::v1::{CommandInfo, Operation, Reason, Resource, TaskState};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::cluster::{Cluster, EngineCluster};
use crate::support::framework::{Framework, PRINCIPAL, SECRET, again_at_once, info, reserved, task};
use crate::support::mesos::kill_those_in;
use crate::support::{example, is_alive, until};

async fn start(change: impl FnOnce(&mut Timing)) -> Cluster {
    let cluster = EngineCluster::start(|settings| change(&mut settings.timing)).await;
    Cluster::Engine(Box::new(cluster))
}

fn engine_of(cluster: &mut Cluster) -> &mut EngineCluster {
    match cluster {
        Cluster::Engine(engine) => engine,
        Cluster::Mesos(_) => unreachable!("these tests start engines only"),
    }
}

/// An engine in a process of its own, which can be killed.
struct Separate {
    child: Child,
    address: String,
}

impl Separate {
    fn start(address: &str, work_dir: &Path) -> Self {
        let mut command = Command::new(example("mesos_engine"));
        command.arg(address).arg(work_dir).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        let output = child.stdout.take().unwrap();
        BufReader::new(output).read_line(&mut line).unwrap();
        let address = line.trim().to_owned();
        Separate { child, address }
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn settings(&self) -> Settings {
        Settings::new(vec![format!("http://{}", self.address)], info("separate"))
    }
}

impl Drop for Separate {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_found_again_after_kill_9() {
    let directory = tempfile::tempdir().unwrap();
    let work_dir = directory.path().join("work");
    let mut engine = Separate::start("127.0.0.1:0", &work_dir);
    let mut framework = Framework::with(engine.settings());
    framework.connected().await;
    let offer = framework.offer().await;
    let disk = reserved(Resource::scalar("disk", 64.0));
    let volume = disk.clone().persistent("v", Some(PRINCIPAL), "data");
    let mut kept = task(&offer, "kept", "write data/file kept");
    kept.resources.push(volume.clone());
    let operations = vec![
        Operation::reserve(vec![disk]),
        Operation::create(vec![volume]),
        Operation::launch(vec![kept, task(&offer, "lost", "")]),
    ];
    framework.accept(std::slice::from_ref(&offer), operations, again_at_once()).await;
    // One status is left unacknowledged.
    let running = framework.status("kept").await;
    let lost = framework.acknowledged("lost", TaskState::Running).await;
    let lost_pid: i32 = lost.message().strip_prefix("pid ").unwrap().parse().unwrap();

    engine.kill();
    kill(Pid::from_raw(lost_pid), Signal::SIGKILL).unwrap();
    let _again = Separate::start(&engine.address, &work_dir);
    framework.connected().await;
    let repeated = framework.acknowledged("kept", TaskState::Running).await;
    assert_eq!((repeated.uuid, repeated.message), (running.uuid, running.message));
    let failed = framework.acknowledged("lost", TaskState::Failed).await;
    assert_eq!(failed.known_reason(), Some(Reason::ExecutorTerminated));
    assert_eq!(failed.agent_id.as_ref(), Some(&offer.agent_id));
    framework.call(call::kill("kept".into(), None, None)).await;
    framework.acknowledged("kept", TaskState::Killed).await;
    let kept = std::fs::read_to_string(work_dir.join("volumes/roles/bigdata/v/file"));
    assert_eq!(kept.unwrap(), "kept");
    kill_those_in(&work_dir);
}

#[tokio::test]
async fn executors_end_with_the_engine_if_they_are_to() {
    let mut cluster = start(|_| {}).await;
    let mut framework = Framework::subscribe(&cluster, info("stop")).await;
    let (_, pid) = framework.run("t", "").await;
    engine_of(&mut cluster).shutdown(Shutdown::StopExecutors).await;
    assert!(!is_alive(pid));
    engine_of(&mut cluster).start_again().await;
    framework.connected().await;
    let status = framework.acknowledged("t", TaskState::Killed).await;
    assert!(status.uuid.is_some());
}

#[tokio::test]
async fn an_executors_end_has_its_true_status() {
    let cluster = start(|_| {}).await;
    let mut framework = Framework::subscribe(&cluster, info("status")).await;
    let (_, pid) = framework.run("killed", "").await;
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    let status = framework.acknowledged("killed", TaskState::Failed).await;
    assert_eq!(status.message(), "Executor was terminated by signal 9");
    assert_eq!(framework.failure("executor-of-killed").await, Some(9));
    let (running, _) = framework.run("exited", "").await;
    let (agent, executor) = (running.agent_id.unwrap(), running.executor_id.unwrap());
    framework.call(call::message(agent.clone(), executor, b"exit 3".to_vec())).await;
    assert_eq!(framework.failure("executor-of-exited").await, Some(3 << 8));
    let (_, _) = framework.run("shut", "").await;
    framework.call(call::shutdown("executor-of-shut".into(), agent)).await;
    assert_eq!(framework.failure("executor-of-shut").await, Some(0));
}

#[tokio::test]
async fn an_executor_that_never_subscribes_is_ended() {
    let cluster = start(|timing| timing.executor_registration = Duration::from_millis(300)).await;
    let mut framework = Framework::subscribe(&cluster, info("silent")).await;
    let offer = framework.offer().await;
    let mut task = task(&offer, "t", "");
    let command = CommandInfo::program("sleep", ["1000"]);
    task.executor.as_mut().unwrap().command = Some(command);
    framework.accept(&[offer], vec![Operation::launch(vec![task])], again_at_once()).await;
    let status = framework.acknowledged("t", TaskState::Failed).await;
    assert_eq!(status.known_reason(), Some(Reason::ExecutorRegistrationTimeout));
    assert_eq!(framework.failure("executor-of-t").await, Some(9));
}

#[tokio::test]
async fn a_status_is_told_again_until_it_is_acknowledged() {
    let cluster = start(|timing| timing.status_retry = Duration::from_millis(100)).await;
    let mut framework = Framework::subscribe(&cluster, info("again")).await;
    let offer = framework.offer().await;
    let launch = Operation::launch(vec![task(&offer, "t", "")]);
    framework.accept(&[offer], vec![launch], again_at_once()).await;
    let first = framework.status("t").await;
    for _ in 0..2 {
        assert_eq!(framework.status("t").await.uuid, first.uuid);
    }
}

#[tokio::test]
async fn an_offer_that_nobody_answers_is_rescinded_and_goes_to_others() {
    let cluster = start(|timing| timing.offer_timeout = Some(Duration::from_millis(300))).await;
    let mut first = Framework::subscribe(&cluster, info("first")).await;
    let offer = first.offer().await;
    let mut second = Framework::subscribe(&cluster, info("second")).await;
    let rescinded = |event: &Event| match event {
        Event::Received(SchedulerEvent::Rescind(id)) => Some(id.clone()),
        _ => None,
    };
    assert_eq!(first.wait("a rescission", rescinded).await, offer.id);
    second.offer().await;
}

#[tokio::test]
async fn sandboxes_go_and_volumes_stay() {
    let mut cluster = start(|timing| timing.sandbox_retention = Duration::ZERO).await;
    let mut framework = Framework::subscribe(&cluster, info("sandboxes")).await;
    let work_dir = engine_of(&mut cluster).work_dir();
    let offer = framework.offer().await;
    let disk = reserved(Resource::scalar("disk", 64.0));
    let volume = disk.clone().persistent("v", Some(PRINCIPAL), "data");
    let mut task = task(&offer, "t", "write data/file kept\nwrite file gone");
    task.resources.push(volume.clone());
    let operations =
        vec![Operation::reserve(vec![disk]), Operation::create(vec![volume]), Operation::launch(vec![task])];
    framework.accept(std::slice::from_ref(&offer), operations, again_at_once()).await;
    framework.acknowledged("t", TaskState::Running).await;
    let sandboxes = work_dir.join("sandboxes");
    assert!(sandboxes.join(framework.id.as_str()).exists());
    framework.call(call::shutdown("executor-of-t".into(), offer.agent_id)).await;
    framework.failure("executor-of-t").await;
    // Kept as long as the end is not acknowledged.
    assert!(sandboxes.join(framework.id.as_str()).exists());
    framework.acknowledged("t", TaskState::Killed).await;
    until("the sandbox is removed", || async { !sandboxes.join(framework.id.as_str()).exists() }).await;
    let kept = std::fs::read_to_string(work_dir.join("volumes/roles/bigdata/v/file"));
    assert_eq!(kept.unwrap(), "kept");
}

#[tokio::test]
async fn a_work_directory_has_one_engine() {
    let mut cluster = start(|_| {}).await;
    let mut settings = engine_of(&mut cluster).settings.clone();
    settings.listen = "127.0.0.1:0".parse().unwrap();
    let second = Engine::start(settings).await;
    assert!(matches!(second, Err(EngineError::InUse(_))), "{second:?}");
}

#[tokio::test]
async fn the_state_is_shown_to_people_without_secrets() {
    let cluster = start(|_| {}).await;
    let mut framework = Framework::subscribe(&cluster, info("state")).await;
    framework.run("t", "write file very-secret").await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let state = client.get(format!("{}/state", cluster.url())).basic_auth(PRINCIPAL, Some(SECRET));
    let state = state.send().await.unwrap();
    let text = state.text().await.unwrap();
    let state: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(state["tasks"][0]["state"], "TASK_RUNNING");
    assert_eq!(state["executors"][0]["phase"], "running");
    assert!(!text.contains("very-secret"), "{text}");
    let foreign = client.get(format!("{}/state", cluster.url())).header("Host", "evil.example");
    assert_eq!(foreign.send().await.unwrap().status(), 403);
    let health = client.get(format!("{}/health", cluster.url())).send().await.unwrap();
    assert_eq!(health.status(), 200);
}
