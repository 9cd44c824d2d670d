//! The engine's state for people, as JSON. No data of tasks, no environment, no token.

use serde_json::{Value, json};

use super::agent::executor::{Executor, Phase};
use super::agent::task::Task;
use super::core::Core;
use super::effects::Now;
use super::master::framework::Framework;
use crate::v1::FrameworkId;

/// What there is and what it does.
pub(crate) fn describe(core: &Core, now: Now) -> Value {
    let agent = &core.agent;
    let info = agent.info();
    json!({
        "agent": {
            "id": info.id.map(|id| id.value),
            "hostname": info.hostname,
            "attributes": info.attributes.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "resources": agent.pool.total().to_string(),
            "free": agent.pool.free().to_string(),
        },
        "uptime_seconds": now.elapsed.as_secs(),
        "frameworks": core.master.frameworks().map(|(id, one)| framework(core, id, one)).collect::<Vec<_>>(),
        "executors": agent.executors().map(executor).collect::<Vec<_>>(),
        "tasks": agent.tasks().map(task).collect::<Vec<_>>(),
    })
}

fn framework(core: &Core, id: &FrameworkId, framework: &Framework) -> Value {
    let own = core.agent.tasks().filter(|task| task.framework_id() == id && !task.state().is_terminal());
    json!({
        "id": id.as_str(),
        "name": framework.info.name,
        "roles": framework.info.all_roles(),
        "suppressed": framework.suppressed,
        "connected": framework.connection().is_some(),
        "checkpoint": framework.info.checkpoint(),
        "tasks": own.map(task).collect::<Vec<_>>(),
    })
}

fn executor(executor: &Executor) -> Value {
    let phase = match executor.phase {
        Phase::Starting { .. } => "starting",
        Phase::Recovered { .. } => "recovered",
        Phase::Running { connection: Some(_) } => "running",
        Phase::Running { connection: None } => "disconnected",
        Phase::Stopping { .. } => "stopping",
        Phase::Ended { .. } => "ended",
    };
    json!({
        "id": executor.record.info.executor_id.as_str(),
        "framework": executor.record.framework_id.as_str(),
        "container": executor.record.container_id,
        "pid": executor.record.process.map(|process| process.pid),
        "phase": phase,
    })
}

fn task(task: &Task) -> Value {
    json!({
        "id": task.info().task_id.as_str(),
        "name": task.info().name,
        "framework": task.framework_id().as_str(),
        "executor": task.executor_id().as_str(),
        "state": task.state().as_str(),
        "unacknowledged": task.record().updates.len(),
        "resources": task.resources().to_string(),
        "labels": labels(task),
    })
}

/// As Mesos writes them.
fn labels(task: &Task) -> Vec<Value> {
    let labels = task.info().labels.iter().flat_map(|labels| &labels.labels);
    labels.map(|label| json!({"key": label.key, "value": label.value})).collect()
}
