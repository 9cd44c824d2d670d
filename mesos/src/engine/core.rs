//! The whole engine as a function: `step(input, now)` gives an answer, changes to be stored, and things to be done.
//!
//! The shell ([`super::shell`]) stores the changes durably before it answers or does anything.

use std::collections::BTreeMap;
use std::time::Duration;

use prost::Message;

use super::agent::Agent;
use super::effects::{Answer, Config, Effects, Input, Now, Output};
use super::master::Master;
use super::pool::Pool;
use super::records::{
    Change, DoomedRecord, ExecutorRecord, FrameworkRecord, IdentityRecord, OperationRecord, Process, ResourcesRecord,
    TaskRecord, doomed_key, kind,
};
use crate::resources::Resources;

/// While much happens deadlines are looked at so often: each look goes through all executors and tasks.
const LOOK_EVERY: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) master: Master,
    pub(crate) agent: Agent,
    /// When deadlines were looked at last.
    looked_at: Duration,
}

/// What a step brings about.
#[derive(Debug)]
pub(crate) struct Step {
    /// To be durable before the answer is given and before the outputs are performed.
    pub(crate) changes: Vec<Change>,
    pub(crate) outputs: Vec<Output>,
}

impl Core {
    /// The core as an earlier one left it. `alive` finds an executor's process, if it lives.
    pub(crate) fn recover(
        config: Config,
        identity: IdentityRecord,
        given: &Resources,
        stored: &BTreeMap<String, Vec<u8>>,
        alive: impl Fn(&ExecutorRecord) -> Option<Process>,
        now: Now,
    ) -> Result<(Core, Step), prost::DecodeError> {
        let stored = Stored::read(stored)?;
        let mut effects = Effects::new(now);
        effects.put(kind::IDENTITY.to_owned(), &identity);
        let pool = Pool::new(given, &stored.converted);
        let mut core = Core {
            master: Master::new(config.clone(), identity),
            agent: Agent::new(config, pool),
            looked_at: now.elapsed,
        };
        for id in stored.gone {
            core.master.recover_gone(id.as_str().into());
        }
        for record in stored.frameworks {
            let id = record.info.id.clone().unwrap_or_default();
            core.agent.framework_known(&id, &record.info);
            core.master.recover_framework(record, now.elapsed);
        }
        for record in stored.tasks {
            core.agent.recover_task(record);
        }
        for record in stored.operations {
            core.agent.recover_operation(record);
        }
        for record in stored.executors {
            let process = alive(&record).filter(|_| !record.ended);
            core.agent.recover_executor(record, process, &mut effects);
        }
        core.agent.end_abandoned_tasks(&mut effects);
        for DoomedRecord { role, id } in stored.doomed {
            effects.emit(Output::RemoveVolume { role, id });
        }
        Ok((core, effects.finish()))
    }

    /// Deals with one input.
    pub(crate) fn step(&mut self, input: Input, now: Now) -> (Answer, Step) {
        let mut effects = Effects::new(now);
        let due = matches!(input, Input::Tick) || now.elapsed.saturating_sub(self.looked_at) >= LOOK_EVERY;
        let answer = self.take(input, &mut effects);
        if due {
            self.looked_at = now.elapsed;
            self.agent.expire(&mut effects);
            self.master.expire(&mut self.agent, &mut effects);
        }
        for notice in std::mem::take(&mut effects.notices) {
            self.master.notice(notice, &mut effects);
        }
        self.master.allocate(&mut self.agent, &mut effects);
        (answer, effects.finish())
    }

    fn take(&mut self, input: Input, effects: &mut Effects) -> Answer {
        let Core { master, agent, .. } = self;
        match input {
            Input::Subscribe { connection, stream_id, call } => {
                return master.subscribe(connection, stream_id, *call, agent, effects);
            }
            Input::Call { stream_id, call } => {
                return master.call(stream_id.as_deref(), *call, agent, effects);
            }
            Input::ExecutorSubscribe { connection, token, call } => {
                return agent.subscribe(connection, *call, token.as_deref(), effects);
            }
            Input::ExecutorCall { token, call } => {
                return agent.executor_call(*call, token.as_deref(), effects);
            }
            Input::Closed(connection) => {
                if !master.closed(connection, agent, effects) {
                    agent.closed(connection);
                }
            }
            Input::Started { container_id, process } => agent.started(&container_id, process, effects),
            Input::LaunchFailed { container_id, reason } => {
                agent.launch_failed(&container_id, &reason, effects);
            }
            Input::VolumeFailed { container_id, reason } => {
                agent.volume_failed(&container_id, &reason, effects);
            }
            Input::Ended { container_id, status } => agent.ended(&container_id, status, effects),
            Input::VolumeRemoved { role, id } => effects.delete(doomed_key(&role, &id)),
            Input::StopExecutors => agent.stop_all(effects),
            Input::Tick => {}
        }
        Ok(())
    }

    /// When a [`Input::Tick`] is due; `None` if nothing waits for time to pass.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        let (master, agent) = (self.master.deadline(), self.agent.deadline());
        master.into_iter().chain(agent).min()
    }
}

impl Effects {
    fn finish(self) -> Step {
        Step { changes: self.changes, outputs: self.outputs }
    }
}

/// What is stored, sorted by kind.
#[derive(Default)]
struct Stored {
    converted: Vec<crate::v1::Resource>,
    gone: Vec<String>,
    frameworks: Vec<FrameworkRecord>,
    executors: Vec<ExecutorRecord>,
    tasks: Vec<TaskRecord>,
    operations: Vec<OperationRecord>,
    doomed: Vec<DoomedRecord>,
}

impl Stored {
    fn read(entries: &BTreeMap<String, Vec<u8>>) -> Result<Self, prost::DecodeError> {
        let mut stored = Stored::default();
        for (key, value) in entries {
            let (kind, rest) = key.split_once('/').unwrap_or((key, ""));
            let value = value.as_slice();
            match kind {
                kind::RESOURCES => stored.converted = ResourcesRecord::decode(value)?.converted,
                kind::GONE => stored.gone.push(rest.to_owned()),
                kind::FRAMEWORK => stored.frameworks.push(FrameworkRecord::decode(value)?),
                kind::EXECUTOR => stored.executors.push(ExecutorRecord::decode(value)?),
                kind::TASK => stored.tasks.push(TaskRecord::decode(value)?),
                kind::OPERATION => stored.operations.push(OperationRecord::decode(value)?),
                kind::DOOMED => stored.doomed.push(DoomedRecord::decode(value)?),
                // The identity is read before; what a later version may have written is left alone.
                _ => {}
            }
        }
        Ok(stored)
    }
}
