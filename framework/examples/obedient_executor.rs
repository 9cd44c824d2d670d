//! A small executor for the tests of this crate: it enrols, tells that its node runs, and ends when it is told to.
//!
//! The node's command steers it: `fail` ends the attempt at once; `repeat` runs and says so again and again; `count` notes on
//! the disk `data` that it was there, and says how often somebody was; anything else runs.

use base64::Engine;
use bigdata_chassis::Clock;
use bigdata_chassis::http::InternalClient;
use bigdata_chassis::secret::Token;
use bigdata_common::blueprint::Command;
use bigdata_common::internal::{EnrolRequest, NodeReport, NodeSpecification, Peers, TaskData, volume_path};
use bigdata_mesos::client::executor::{Event, ExecutorClient, ExecutorEnvironment, Handle};
use bigdata_mesos::event::ExecutorEvent;
use bigdata_mesos::v1::{TaskId, TaskInfo, TaskState, TaskStatus};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use std::time::Duration;

/// How often what is known is said again.
const REPEAT: Duration = Duration::from_millis(100);

type Done<T = ()> = Result<T, Box<dyn std::error::Error>>;

pub(crate) fn main() -> Done {
    let environment = ExecutorEnvironment::from_process()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(run(environment))
}

async fn run(environment: ExecutorEnvironment) -> Done {
    let (handle, mut events) = ExecutorClient::start(environment);
    let mut running: Option<TaskId> = None;
    let mut repeated: Option<NodeReport> = None;
    loop {
        let event = tokio::select! {
            event = events.next() => event,
            () = tokio::time::sleep(REPEAT), if repeated.is_some() => {
                if let (Some(task), Some(report)) = (&running, &repeated) {
                    let report = NodeReport { checked_at: Some(Clock::system().now()), ..report.clone() };
                    tell(&handle, task, TaskState::Running, report).await?;
                }
                continue;
            }
        };
        let Some(event) = event else { break };
        match event {
            Event::Received(ExecutorEvent::Launch(tasks)) => {
                for task in tasks {
                    let (runs, report) = launch(&handle, &task).await?;
                    if !runs {
                        handle.settled(Duration::from_secs(10)).await;
                        return Ok(());
                    }
                    running = Some(task.task_id);
                    repeated = report;
                }
            }
            Event::Received(ExecutorEvent::Kill { .. } | ExecutorEvent::Shutdown) | Event::GivenUp { .. } => break,
            Event::Received(_) | Event::Connected { .. } | Event::Disconnected { .. } => {}
        }
    }
    if let Some(task) = running {
        tell(&handle, &task, TaskState::Killed, NodeReport::default()).await?;
    }
    handle.settled(Duration::from_secs(10)).await;
    Ok(())
}

/// Whether the node runs, and what is to be said again of it.
async fn launch(handle: &Handle, task: &TaskInfo) -> Done<(bool, Option<NodeReport>)> {
    let node = enrol(task).await?;
    // The test reads here what the executor was told.
    let mut told = vec![node.address.clone(), node.peers.len().to_string()];
    told.extend(node.secrets.0.keys().cloned());
    if node.blueprint.command == Some(Command::Shell("count".to_owned())) {
        told.push(count()?.to_string());
        told.push(peers(task, &node).await?.peers.len().to_string());
    }
    let report = NodeReport { passing: Some(true), started: true, last_lines: told, ..NodeReport::default() };
    if node.blueprint.command == Some(Command::Shell("fail".to_owned())) {
        let reason = Some("it was told to fail".to_owned());
        tell(handle, &task.task_id, TaskState::Failed, NodeReport { passing: None, reason, ..report }).await?;
        return Ok((false, None));
    }
    let repeats = node.blueprint.command == Some(Command::Shell("repeat".to_owned()));
    tell(handle, &task.task_id, TaskState::Running, report.clone()).await?;
    Ok((true, repeats.then_some(report)))
}

/// How many attempts have come to this disk.
fn count() -> Done<usize> {
    use std::io::Write;
    let path = std::path::Path::new(&volume_path("data")).join("attempts");
    writeln!(std::fs::OpenOptions::new().create(true).append(true).open(&path)?, "one")?;
    Ok(std::fs::read_to_string(path)?.lines().count())
}

/// The peers as they are now, with a token that the control key makes.
async fn peers(task: &TaskInfo, node: &NodeSpecification) -> Done<Peers> {
    let data: TaskData = serde_json::from_slice(task.data.as_deref().unwrap_or_default())?;
    let key = base64::engine::general_purpose::STANDARD.decode(&node.control_key)?;
    let claims = format!("{}.{}.executor", data.attempt, Clock::system().now().plus_millis(10_000).as_millis());
    let mut mac = Hmac::<Sha256>::new_from_slice(&key)?;
    mac.update(claims.as_bytes());
    let signature: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let client = InternalClient::new(data.framework, Token::from_text(&format!("{claims}.{signature}")))?;
    Ok(client.get("/internal/v1/nodes/peers").await?)
}

async fn enrol(task: &TaskInfo) -> Done<NodeSpecification> {
    let data: TaskData = serde_json::from_slice(task.data.as_deref().unwrap_or_default())?;
    let client = InternalClient::new(data.framework, Token::from_text("none"))?;
    let request = EnrolRequest {
        attempt: data.attempt,
        token: data.token,
        fingerprint: "ab".repeat(32),
        control: "127.0.0.1:1".to_owned(),
        isolation: "none".to_owned(),
    };
    Ok(client.post("/internal/v1/nodes/enrol", &request).await?)
}

async fn tell(handle: &Handle, task: &TaskId, state: TaskState, report: NodeReport) -> Done {
    let mut status = TaskStatus::new(task.clone(), state);
    status.healthy = report.passing;
    status.data = Some(serde_json::to_vec(&report)?);
    Ok(handle.update(status).await?)
}
