//! Events once they are checked: an enum each for schedulers and executors, whose variants hold what they must.

use std::time::Duration;

use crate::v1::{
    AgentId, AgentInfo, ContainerId, ExecutorId, ExecutorInfo, FrameworkId, FrameworkInfo, InverseOffer, KillPolicy,
    MasterInfo, Offer, OfferId, OperationStatus, TaskId, TaskInfo, TaskStatus, executor, scheduler,
};
use crate::validate::{Invalid, Validate, some};

/// From the master.
#[derive(Clone, Debug, PartialEq)]
pub enum SchedulerEvent {
    /// The first event of a subscription.
    Subscribed {
        /// To be stored, and given at the next subscription.
        framework_id: FrameworkId,
        /// How often the master shows that it lives; `None` if it does not say.
        heartbeat: Option<Duration>,
        /// The leading master.
        master: Option<MasterInfo>,
    },
    /// Resources that may be used.
    Offers(Vec<Offer>),
    /// Resources that are wanted back.
    InverseOffers(Vec<InverseOffer>),
    /// The offer is void.
    Rescind(OfferId),
    /// The inverse offer is void.
    RescindInverseOffer(OfferId),
    /// A task's status; to be acknowledged if it has a uuid.
    Update(TaskStatus),
    /// An operation's status; to be acknowledged if it has a uuid.
    OperationUpdate(OperationStatus),
    /// From an executor; at most once.
    Message {
        /// The executor's agent.
        agent_id: AgentId,
        /// Who says it.
        executor_id: ExecutorId,
        /// What it says.
        data: Vec<u8>,
    },
    /// An executor ended or, without an executor's id, an agent was removed.
    Failure {
        /// The agent.
        agent_id: Option<AgentId>,
        /// The executor.
        executor_id: Option<ExecutorId>,
        /// As `wait(2)` gives it.
        status: Option<i32>,
    },
    /// The subscription is over for good.
    Error(String),
    /// The master lives.
    Heartbeat,
    /// Of a type that this crate does not know.
    Other(i32),
}

impl TryFrom<scheduler::Event> for SchedulerEvent {
    type Error = Invalid;

    fn try_from(event: scheduler::Event) -> Result<Self, Invalid> {
        use scheduler::EventType;
        let number = event.r#type.unwrap_or_default();
        let Ok(r#type) = EventType::try_from(number) else {
            return Ok(SchedulerEvent::Other(number));
        };
        Ok(match r#type {
            EventType::Unknown => SchedulerEvent::Other(number),
            EventType::Heartbeat => SchedulerEvent::Heartbeat,
            EventType::Subscribed => subscribed(some(event.subscribed, "subscribed")?)?,
            EventType::Offers => {
                let offers = some(event.offers, "offers")?.offers;
                offers.validate()?;
                SchedulerEvent::Offers(offers)
            }
            EventType::InverseOffers => {
                let offers = some(event.inverse_offers, "inverse_offers")?.inverse_offers;
                offers.validate()?;
                SchedulerEvent::InverseOffers(offers)
            }
            EventType::Rescind => SchedulerEvent::Rescind(checked(some(event.rescind, "rescind")?.offer_id)?),
            EventType::RescindInverseOffer => {
                let rescind = some(event.rescind_inverse_offer, "rescind_inverse_offer")?;
                SchedulerEvent::RescindInverseOffer(checked(rescind.offer_id)?)
            }
            EventType::Update => SchedulerEvent::Update(checked(some(event.update, "update")?.status)?),
            EventType::UpdateOperationStatus => {
                let update = some(event.update_operation_status, "update_operation_status")?;
                SchedulerEvent::OperationUpdate(checked(update.status)?)
            }
            EventType::Message => {
                let message = some(event.message, "message")?;
                SchedulerEvent::Message {
                    agent_id: checked(message.agent_id)?,
                    executor_id: checked(message.executor_id)?,
                    data: message.data,
                }
            }
            EventType::Failure => {
                let failure = some(event.failure, "failure")?;
                SchedulerEvent::Failure {
                    agent_id: failure.agent_id,
                    executor_id: failure.executor_id,
                    status: failure.status,
                }
            }
            EventType::Error => SchedulerEvent::Error(some(event.error, "error")?.message),
        })
    }
}

fn checked<T: Validate>(value: T) -> Result<T, Invalid> {
    value.validate()?;
    Ok(value)
}

fn subscribed(event: scheduler::Subscribed) -> Result<SchedulerEvent, Invalid> {
    let seconds = event.heartbeat_interval_seconds.filter(|seconds| *seconds > 0.0);
    Ok(SchedulerEvent::Subscribed {
        framework_id: checked(event.framework_id)?,
        heartbeat: seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
        master: event.master_info,
    })
}

/// From the agent.
#[derive(Clone, Debug, PartialEq)]
pub enum ExecutorEvent {
    /// The first event of a subscription.
    Subscribed {
        /// The executor itself.
        executor: Box<ExecutorInfo>,
        /// Whose executor it is.
        framework: Box<FrameworkInfo>,
        /// Where it runs.
        agent: Box<AgentInfo>,
        /// This life of the executor.
        container_id: Option<ContainerId>,
    },
    /// Tasks to be started, together.
    Launch(Vec<TaskInfo>),
    /// A task to be ended.
    Kill {
        /// Which.
        task_id: TaskId,
        /// Overrides the task's own.
        kill_policy: Option<KillPolicy>,
    },
    /// The agent has stored the update.
    Acknowledged {
        /// The update's task.
        task_id: TaskId,
        /// The update.
        uuid: Vec<u8>,
    },
    /// From the scheduler; at most once.
    Message(Vec<u8>),
    /// End all tasks, then yourself.
    Shutdown,
    /// The subscription is over for good.
    Error(String),
    /// The agent lives.
    Heartbeat,
    /// Of a type that this crate does not know.
    Other(i32),
}

impl TryFrom<executor::Event> for ExecutorEvent {
    type Error = Invalid;

    fn try_from(event: executor::Event) -> Result<Self, Invalid> {
        use executor::EventType;
        let number = event.r#type.unwrap_or_default();
        let Ok(r#type) = EventType::try_from(number) else {
            return Ok(ExecutorEvent::Other(number));
        };
        Ok(match r#type {
            EventType::Unknown => ExecutorEvent::Other(number),
            EventType::Heartbeat => ExecutorEvent::Heartbeat,
            EventType::Shutdown => ExecutorEvent::Shutdown,
            EventType::Subscribed => {
                let subscribed = some(event.subscribed, "subscribed")?;
                subscribed.executor_info.executor_id.validate()?;
                ExecutorEvent::Subscribed {
                    executor: Box::new(subscribed.executor_info),
                    framework: Box::new(subscribed.framework_info),
                    agent: Box::new(subscribed.agent_info),
                    container_id: subscribed.container_id,
                }
            }
            EventType::Launch => ExecutorEvent::Launch(vec![checked(some(event.launch, "launch")?.task)?]),
            EventType::LaunchGroup => {
                let tasks = some(event.launch_group, "launch_group")?.task_group.tasks;
                tasks.validate()?;
                ExecutorEvent::Launch(tasks)
            }
            EventType::Kill => {
                let kill = some(event.kill, "kill")?;
                ExecutorEvent::Kill { task_id: checked(kill.task_id)?, kill_policy: kill.kill_policy }
            }
            EventType::Acknowledged => {
                let acknowledged = some(event.acknowledged, "acknowledged")?;
                ExecutorEvent::Acknowledged { task_id: checked(acknowledged.task_id)?, uuid: acknowledged.uuid }
            }
            EventType::Message => ExecutorEvent::Message(some(event.message, "message")?.data),
            EventType::Error => ExecutorEvent::Error(some(event.error, "error")?.message),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_without_its_body_or_with_an_empty_id_is_refused() {
        let event = |r#type| scheduler::Event { r#type: Some(r#type), ..scheduler::Event::default() };
        let error = SchedulerEvent::try_from(event(2)).unwrap_err();
        assert_eq!(error, Invalid::Missing("offers"));
        let mut subscribed = event(1);
        subscribed.subscribed = Some(scheduler::Subscribed::default());
        let error = SchedulerEvent::try_from(subscribed).unwrap_err();
        assert_eq!(error, Invalid::Missing("framework_id"));
        assert_eq!(SchedulerEvent::try_from(event(8)), Ok(SchedulerEvent::Heartbeat));
        assert_eq!(SchedulerEvent::try_from(event(77)), Ok(SchedulerEvent::Other(77)));
    }

    #[test]
    fn a_senseless_heartbeat_is_none() {
        for seconds in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let event = scheduler::Subscribed {
                framework_id: "f".into(),
                heartbeat_interval_seconds: Some(seconds),
                master_info: None,
            };
            let expected = SchedulerEvent::Subscribed { framework_id: "f".into(), heartbeat: None, master: None };
            assert_eq!(subscribed(event), Ok(expected), "{seconds}");
        }
    }
}
