//! LAUNCH: which tasks are started, and which are refused.

use super::Master;
use super::accept::Batch;
use crate::engine::agent::Agent;
use crate::engine::agent::task::plain;
use crate::engine::effects::{Effects, ExecutorKey};
use crate::engine::ids::check_id;
use crate::engine::operations::check_container_path;
use crate::resources::Resources;
use crate::v1::{CommandInfo, ExecutorInfo, ExecutorType, FrameworkId, Reason, Resource, TaskInfo, TaskState};

/// Why a task is not started.
struct Fault {
    state: TaskState,
    reason: Reason,
    message: String,
}

impl From<String> for Fault {
    fn from(message: String) -> Self {
        Fault { state: TaskState::Error, reason: Reason::TaskInvalid, message }
    }
}

impl From<&str> for Fault {
    fn from(message: &str) -> Self {
        Fault::from(message.to_owned())
    }
}

impl Master {
    pub(super) fn launch(
        &mut self,
        id: &FrameworkId,
        mut task: TaskInfo,
        batch: &mut Batch,
        agent: &mut Agent,
        effects: &mut Effects,
    ) {
        let Some(framework) = self.info_of(id).cloned() else { return };
        match self.check_task(id, &mut task, batch, agent) {
            Ok(executor) => {
                let role = batch.role.clone();
                allocate(&mut task.resources, &role);
                agent.launch(&framework, &role, task, executor, effects);
            }
            Err(fault) => {
                let Fault { state, reason, message } = fault;
                self.refuse_task(id, &task, state, reason, &message, effects);
            }
        }
    }

    /// Checks a task and takes what it needs. Returns its executor, complete.
    fn check_task(
        &self,
        id: &FrameworkId,
        task: &mut TaskInfo,
        batch: &mut Batch,
        agent: &Agent,
    ) -> Result<ExecutorInfo, Fault> {
        let task_id = task.task_id.as_str();
        check_id(task_id).map_err(|fault| format!("Task ID '{task_id}' {fault}"))?;
        if agent.task(id, &task.task_id).is_some() {
            return Err(format!("Task has duplicate ID: {task_id}").into());
        }
        if task.agent_id != self.config.agent_id {
            let (given, own) = (&task.agent_id, &self.config.agent_id);
            return Err(format!("Task uses invalid agent {given} while agent {own} is expected").into());
        }
        let executor = match (&task.executor, &task.command) {
            (Some(executor), None) => executor.clone(),
            (None, Some(_)) => return Err("Tasks without an executor of their framework are not run here".into()),
            _ => {
                return Err(
                    "Task should have at least one (but not both) of CommandInfo or ExecutorInfo present".into()
                );
            }
        };
        check_volumes(&task.resources)?;
        let executor = self.check_executor(id, executor, &batch.role)?;
        task.executor = Some(executor.clone());
        let key = ExecutorKey { framework_id: id.clone(), executor_id: executor.executor_id.clone() };
        let running = agent.executor(&key);
        let mut needed = plain(&task.resources);
        match running {
            None => needed.add_all(&plain(&executor.resources)),
            Some(running) if running.takes_tasks() => {
                same_executor(&running.record.info, &executor)?;
            }
            Some(_) => {
                return Err(Fault {
                    state: self.lost_or(id, TaskState::Dropped),
                    reason: Reason::ExecutorTerminated,
                    message: "The executor is being ended".to_owned(),
                });
            }
        }
        if plain(&task.resources).is_empty() {
            return Err("Task uses no resources".into());
        }
        let taken = batch.left.subtract_all(&needed);
        taken.map_err(|fault| format!("Task uses more resources {needed} than available {}: {fault}", batch.left))?;
        Ok(executor)
    }

    /// Completes what a framework says of its executor.
    fn check_executor(&self, id: &FrameworkId, mut executor: ExecutorInfo, role: &str) -> Result<ExecutorInfo, Fault> {
        let executor_id = executor.executor_id.as_str();
        check_id(executor_id).map_err(|fault| format!("Executor ID '{executor_id}' {fault}"))?;
        if executor.r#type() == ExecutorType::Default {
            return Err("The default executor is not here; 'ExecutorInfo.type' must be CUSTOM".into());
        }
        executor.r#type = Some(ExecutorType::Custom as i32);
        let command = executor.command.as_ref();
        check_command(command.ok_or("'ExecutorInfo.command' must be set for 'CUSTOM' executor")?)?;
        match &executor.framework_id {
            Some(other) if other != id => {
                return Err(
                    format!("ExecutorInfo has an invalid FrameworkID (Actual: {other} vs Expected: {id})").into()
                );
            }
            _ => executor.framework_id = Some(id.clone()),
        }
        check_volumes(&executor.resources)?;
        allocate(&mut executor.resources, role);
        Ok(executor)
    }
}

fn check_command(command: &CommandInfo) -> Result<(), Fault> {
    if command.value.as_deref().unwrap_or("").is_empty() {
        return Err("'CommandInfo.value' must be set".into());
    }
    if !command.uris.is_empty() {
        return Err("'CommandInfo.uris' are not fetched here".into());
    }
    Ok(())
}

/// A new task may only name an executor as it runs.
fn same_executor(running: &ExecutorInfo, given: &ExecutorInfo) -> Result<(), Fault> {
    let comparable = |info: &ExecutorInfo| ExecutorInfo { resources: plain(&info.resources).to_vec(), ..info.clone() };
    match comparable(running) == comparable(given) {
        true => Ok(()),
        false => Err("ExecutorInfo is not compatible with existing ExecutorInfo with the same ExecutorID".into()),
    }
}

fn check_volumes(resources: &[Resource]) -> Result<(), Fault> {
    let paths: Vec<&str> = resources.iter().filter_map(Resource::container_path).collect();
    for (index, path) in paths.iter().enumerate() {
        check_container_path(path)?;
        if paths[..index].contains(path) {
            return Err(format!("Two volumes have the container path '{path}'").into());
        }
    }
    let negative = |resource: &&Resource| resource.amount() < 0.0 || !resource.amount().is_finite();
    match resources.iter().find(negative) {
        Some(resource) => Err(format!("Invalid scalar resource: {resource}").into()),
        None => Ok(()),
    }
}

fn allocate(resources: &mut Vec<Resource>, role: &str) {
    *resources = Resources::from(&resources[..]).allocated_to(Some(role)).to_vec();
}
