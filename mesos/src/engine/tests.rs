//! The core by itself: a random life with deaths in between, and what must hold all the while.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;

use super::Timing;
use super::core::{Core, Step};
use super::effects::{Config, Connection, Input, Now, Output};
use super::records::{ExecutorRecord, IdentityRecord, Process};
use crate::call;
use crate::call::executor::Caller;
use crate::resources::Resources;
use crate::v1::{
    CapabilityType, CommandInfo, ExecutorInfo, Filters, FrameworkId, FrameworkInfo, Offer, OfferId, Operation,
    ReservationInfo, Resource, TaskId, TaskInfo, TaskState, TaskStatus, executor, scheduler,
};

const ROLE: &str = "role";

/// Everything around the core: one scheduler, the processes, and what is stored.
struct World {
    core: Core,
    stored: BTreeMap<String, Vec<u8>>,
    elapsed: Duration,
    framework: Option<FrameworkId>,
    connection: Option<Connection>,
    connections: u64,
    offers: BTreeMap<OfferId, Offer>,
    /// Unacknowledged statuses, as the scheduler has heard them.
    heard: Vec<TaskStatus>,
    ended: BTreeSet<TaskId>,
    executors: BTreeMap<String, Running>,
    tasks: u32,
    volumes: BTreeSet<String>,
}

/// An executor's process.
struct Running {
    record: ExecutorRecord,
    connection: Option<Connection>,
    tasks: BTreeSet<TaskId>,
    unacknowledged: Vec<TaskStatus>,
}

/// What happens next; numbers choose among what there is.
#[derive(Clone, Debug)]
enum Event {
    Subscribe,
    CloseScheduler,
    Launch { offer: usize, volume: bool },
    Decline(usize),
    Revive,
    Acknowledge,
    Kill(usize),
    ExecutorSubscribes(usize),
    Tell { executor: usize, state: TaskState },
    ExecutorDies(usize),
    TimePasses(u64),
    EngineDies,
}

fn event() -> impl Strategy<Value = Event> {
    let index = 0usize..8;
    let state = prop_oneof![Just(TaskState::Running), Just(TaskState::Finished), Just(TaskState::Failed)];
    prop_oneof![
        2 => Just(Event::Subscribe),
        1 => Just(Event::CloseScheduler),
        6 => (index.clone(), any::<bool>()).prop_map(|(offer, volume)| Event::Launch { offer, volume }),
        1 => index.clone().prop_map(Event::Decline),
        2 => Just(Event::Revive),
        6 => Just(Event::Acknowledge),
        2 => index.clone().prop_map(Event::Kill),
        6 => index.clone().prop_map(Event::ExecutorSubscribes),
        8 => (index.clone(), state).prop_map(|(executor, state)| Event::Tell { executor, state }),
        2 => index.prop_map(Event::ExecutorDies),
        2 => (0u64..30).prop_map(Event::TimePasses),
        1 => Just(Event::EngineDies),
    ]
}

fn given() -> Resources {
    let given = [Resource::scalar("cpus", 4.0), Resource::scalar("mem", 4096.0), Resource::scalar("disk", 1000.0)];
    given.iter().collect()
}

fn reserved_disk() -> Resource {
    Resource::scalar("disk", 10.0).reserved(ReservationInfo::dynamic(ROLE, None, None))
}

fn recover(stored: &BTreeMap<String, Vec<u8>>, alive: &BTreeMap<String, Running>, elapsed: Duration) -> (Core, Step) {
    let config = Config {
        agent_id: "agent".into(),
        master_id: "master".to_owned(),
        hostname: "host".to_owned(),
        address: "127.0.0.1:5050".parse().unwrap(),
        attributes: Vec::new(),
        principal: None,
        timing: Timing::default(),
    };
    let identity = IdentityRecord {
        master_id: "master".to_owned(),
        agent_id: "agent".to_owned(),
        // Grows with each start; the clock stands in for it.
        starts: elapsed.as_millis() as u64,
        frameworks_named: 1,
    };
    let find = |record: &ExecutorRecord| {
        alive.contains_key(&record.container_id).then_some(Process { pid: 1, started: 1, boot: 1 })
    };
    Core::recover(config, identity, &given(), stored, find, now(elapsed)).unwrap()
}

fn now(elapsed: Duration) -> Now {
    Now { elapsed, unix: Duration::from_secs(1_700_000_000) + elapsed }
}

impl World {
    fn new() -> Self {
        let stored = BTreeMap::new();
        let (core, first) = recover(&stored, &BTreeMap::new(), Duration::ZERO);
        let mut world = World {
            core,
            stored,
            elapsed: Duration::ZERO,
            framework: None,
            connection: None,
            connections: 0,
            offers: BTreeMap::new(),
            heard: Vec::new(),
            ended: BTreeSet::new(),
            executors: BTreeMap::new(),
            tasks: 0,
            volumes: BTreeSet::new(),
        };
        world.perform(first);
        world
    }

    fn input(&mut self, input: Input) -> bool {
        let (answer, step) = self.core.step(input, now(self.elapsed));
        self.perform(step);
        answer.is_ok()
    }

    fn perform(&mut self, step: Step) {
        for change in step.changes {
            match change.value {
                Some(value) => drop(self.stored.insert(change.key, value)),
                None => drop(self.stored.remove(&change.key)),
            }
        }
        for output in step.outputs {
            self.output(output);
        }
    }

    fn output(&mut self, output: Output) {
        match output {
            Output::ToScheduler(connection, event) if Some(connection) == self.connection => {
                self.scheduler_hears(*event);
            }
            Output::Close(connection) if Some(connection) == self.connection => self.connection = None,
            Output::ToExecutor(connection, event) => self.executor_hears(connection, *event),
            Output::Deliver { connection, event, .. } => self.executor_hears(connection, *event),
            Output::Launch(record) => {
                let container_id = record.container_id.clone();
                let running =
                    Running { record: *record, connection: None, tasks: BTreeSet::new(), unacknowledged: Vec::new() };
                assert!(self.executors.insert(container_id.clone(), running).is_none());
                let process = Process { pid: 1, started: 1, boot: 1 };
                self.input(Input::Started { container_id, process });
            }
            Output::CreateVolume { id, .. } => assert!(self.volumes.insert(id)),
            Output::RemoveVolume { role, id } => {
                self.volumes.remove(&id);
                self.input(Input::VolumeRemoved { role, id });
            }
            _ => {}
        }
    }

    fn scheduler_hears(&mut self, event: scheduler::Event) {
        if let Some(subscribed) = event.subscribed {
            self.framework = Some(subscribed.framework_id);
        }
        for offer in event.offers.unwrap_or_default().offers {
            assert!(self.offers.insert(offer.id.clone(), offer).is_none(), "an offer's id came twice");
        }
        if let Some(update) = event.update
            && update.status.uuid.is_some()
        {
            assert!(!self.ended.contains(&update.status.task_id), "a status after the end: {update:?}");
            if !self.heard.iter().any(|known| known.uuid == update.status.uuid) {
                self.heard.push(update.status);
            }
        }
    }

    fn executor_hears(&mut self, connection: Connection, event: executor::Event) {
        let mut executors = self.executors.values_mut();
        let Some(executor) = executors.find(|one| one.connection == Some(connection)) else { return };
        if let Some(launch) = event.launch {
            assert!(executor.tasks.insert(launch.task.task_id.clone()), "a task came twice");
        }
        if let Some(acknowledged) = event.acknowledged {
            executor.unacknowledged.retain(|status| status.uuid.as_ref() != Some(&acknowledged.uuid));
        }
    }

    fn call(&mut self, mut call: scheduler::Call) {
        call.framework_id = self.framework.clone();
        let stream_id = Some("stream".to_owned());
        if self.connection.is_some() {
            assert!(self.input(Input::Call { stream_id, call: Box::new(call) }));
        }
    }

    fn next_connection(&mut self) -> Connection {
        self.connections += 1;
        Connection(self.connections)
    }

    fn happen(&mut self, event: Event) {
        self.elapsed += Duration::from_millis(1);
        match event {
            Event::Subscribe => self.subscribe(),
            Event::CloseScheduler => {
                if let Some(connection) = self.connection.take() {
                    self.offers.clear();
                    self.input(Input::Closed(connection));
                }
            }
            Event::Launch { offer, volume } => self.launch(offer, volume),
            Event::Decline(index) => {
                if let Some(id) = self.offers.keys().nth(index).cloned() {
                    self.offers.remove(&id);
                    self.call(call::scheduler::decline(vec![id], None));
                }
            }
            Event::Revive => self.call(call::scheduler::revive(Vec::new())),
            Event::Acknowledge => self.acknowledge(),
            Event::Kill(index) => {
                let tasks: Vec<TaskId> = self.core.agent.tasks().map(|task| task.info().task_id.clone()).collect();
                if let Some(task) = tasks.get(index) {
                    self.call(call::scheduler::kill(task.clone(), None, None));
                }
            }
            Event::ExecutorSubscribes(index) => self.executor_subscribes(index),
            Event::Tell { executor, state } => self.tell(executor, state),
            Event::ExecutorDies(index) => {
                if let Some(container_id) = self.executors.keys().nth(index).cloned() {
                    self.executors.remove(&container_id);
                    self.input(Input::Ended { container_id, status: Some(9) });
                }
            }
            Event::TimePasses(seconds) => {
                self.elapsed += Duration::from_secs(seconds);
                self.input(Input::Tick);
            }
            Event::EngineDies => {
                let (core, first) = recover(&self.stored, &self.executors, self.elapsed);
                self.core = core;
                self.connection = None;
                self.offers.clear();
                for executor in self.executors.values_mut() {
                    executor.connection = None;
                }
                self.perform(first);
            }
        }
    }

    fn subscribe(&mut self) {
        let info = FrameworkInfo {
            user: "user".to_owned(),
            name: "name".to_owned(),
            id: self.framework.clone(),
            roles: vec![ROLE.to_owned()],
            checkpoint: Some(true),
            failover_timeout: Some(1e6),
            ..FrameworkInfo::default()
        };
        let capabilities = [CapabilityType::MultiRole, CapabilityType::ReservationRefinement];
        let call = call::scheduler::subscribe(info.with_capabilities(&capabilities), Vec::new());
        let connection = self.next_connection();
        self.offers.clear();
        self.connection = Some(connection);
        let subscribed =
            self.input(Input::Subscribe { connection, stream_id: "stream".to_owned(), call: Box::new(call) });
        assert!(subscribed);
    }

    fn launch(&mut self, index: usize, volume: bool) {
        let Some(offer) = self.offers.keys().nth(index).cloned() else { return };
        self.offers.remove(&offer);
        self.tasks += 1;
        let id = self.tasks.to_string();
        let mut resources = vec![Resource::scalar("cpus", 0.5)];
        let mut operations = Vec::new();
        if volume {
            let volume = reserved_disk().persistent(&id, None, "data");
            operations.push(Operation::reserve(vec![reserved_disk()]));
            operations.push(Operation::create(vec![volume.clone()]));
            resources.push(volume);
        }
        operations.push(Operation::launch(vec![TaskInfo {
            task_id: id.as_str().into(),
            agent_id: "agent".into(),
            resources,
            executor: Some(ExecutorInfo {
                executor_id: format!("e{}", self.tasks % 3).into(),
                command: Some(CommandInfo::program("x", [""; 0])),
                resources: vec![Resource::scalar("mem", 32.0)],
                ..ExecutorInfo::default()
            }),
            ..TaskInfo::default()
        }]));
        let filters = Some(Filters { refuse_seconds: Some(0.0) });
        self.call(call::scheduler::accept(vec![offer], operations, filters));
    }

    fn acknowledge(&mut self) {
        if self.heard.is_empty() || self.connection.is_none() {
            return;
        }
        let status = self.heard.remove(0);
        if status.state().is_terminal() {
            self.ended.insert(status.task_id.clone());
        }
        self.call(call::scheduler::acknowledge(&status).unwrap());
    }

    fn executor_subscribes(&mut self, index: usize) {
        let connection = self.next_connection();
        let Some(executor) = self.executors.values_mut().nth(index) else { return };
        executor.connection = Some(connection);
        let tasks = executor.tasks.iter().map(|task| TaskInfo {
            task_id: task.clone(),
            agent_id: "agent".into(),
            ..TaskInfo::default()
        });
        let call = caller(&executor.record).subscribe(tasks.collect(), executor.unacknowledged.clone());
        let token = Some(executor.record.token.clone());
        self.input(Input::ExecutorSubscribe { connection, token, call: Box::new(call) });
    }

    fn tell(&mut self, index: usize, state: TaskState) {
        let Some(executor) = self.executors.values_mut().nth(index) else { return };
        let Some(task) = executor.tasks.first().cloned() else { return };
        if state.is_terminal() {
            executor.tasks.remove(&task);
        }
        let status =
            TaskStatus { uuid: Some(uuid::Uuid::new_v4().into_bytes().to_vec()), ..TaskStatus::new(task, state) };
        executor.unacknowledged.push(status.clone());
        if executor.connection.is_some() {
            let call = Box::new(caller(&executor.record).update(status));
            let token = Some(executor.record.token.clone());
            self.input(Input::ExecutorCall { token, call });
        }
    }

    /// What must hold whatever has happened.
    fn check(&self) {
        let mut sum = self.core.agent.pool.free().clone();
        for offer in self.offers.values() {
            sum.add_all(&Resources::from(&offer.resources[..]).allocated_to(None));
        }
        if let Some(framework) = &self.framework {
            sum.add_all(&self.core.agent.used_by(framework));
        }
        let total = self.core.agent.pool.total();
        assert!(sum.contains(total) && total.contains(&sum), "free, offered and used are {sum}, but there is {total}");
        let known: BTreeSet<String> = total.iter().filter_map(|one| Some(one.persistence_id()?.to_owned())).collect();
        assert_eq!(known, self.volumes);

        for executor in self.core.agent.executors() {
            let found = self.core.agent.executor(&executor.key()).map(|found| &found.record.container_id);
            assert_eq!(found, Some(&executor.record.container_id), "a living executor is found by its name");
        }

        // A core that were started now would know the same tasks, in the same states.
        let (again, _) = recover(&self.stored, &self.executors, self.elapsed);
        let states = |core: &Core| -> BTreeMap<TaskId, (TaskState, usize)> {
            let tasks = core.agent.tasks();
            let one = |task: &super::agent::task::Task| (task.state(), task.record().updates.len());
            tasks.map(|task| (task.info().task_id.clone(), one(task))).collect()
        };
        assert_eq!(states(&again), states(&self.core));
    }
}

fn caller(record: &ExecutorRecord) -> Caller {
    Caller { executor_id: record.info.executor_id.clone(), framework_id: record.framework_id.clone() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn resources_add_up_and_nothing_is_forgotten(events in proptest::collection::vec(event(), 1..120)) {
        let mut world = World::new();
        for event in events {
            world.happen(event);
            world.check();
        }
    }
}
