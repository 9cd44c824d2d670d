//! A master and its agents for the simulation: keeps the truth, answers calls, and is unkind by a seed.

use super::world::{offer, resources};
use crate::core::output::{Call, Input};
use bigdata_mesos::resources::Resources;
use bigdata_mesos::v1::{
    Offer, Operation, OperationState, OperationStatus, OperationType, Reason, Resource, Source, TaskInfo, TaskState,
    TaskStatus,
};
use rand::Rng;
use rand::rngs::SmallRng;
use rand::seq::IteratorRandom;
use std::collections::{BTreeMap, BTreeSet};

pub(super) struct Master {
    pub random: SmallRng,
    agents: BTreeMap<String, Agent>,
    offers: BTreeMap<String, (String, Vec<Resource>)>,
    /// Offers that were rescinded: whoever answers them may not know that yet.
    rescinded: BTreeSet<String>,
    pub tasks: BTreeMap<String, Running>,
    /// On their way to the framework.
    pub mail: Vec<Input>,
    suppressed: bool,
    number: u32,
    pub kind: bool,
}

struct Agent {
    free: Resources,
    reachable: bool,
}

pub(super) struct Running {
    pub info: TaskInfo,
    pub state: TaskState,
}

impl Master {
    pub(super) fn new(random: SmallRng, agents: usize) -> Self {
        let agent = || Agent { free: resources(4.0, 1024.0, 1024.0).iter().collect(), reachable: true };
        Self {
            random,
            agents: (0..agents).map(|number| (format!("a{number}"), agent())).collect(),
            offers: BTreeMap::new(),
            rescinded: BTreeSet::new(),
            tasks: BTreeMap::new(),
            mail: Vec::new(),
            suppressed: false,
            number: 0,
            kind: false,
        }
    }

    /// A new subscription takes the offers of the old one back.
    pub(super) fn subscribed(&mut self) {
        for id in self.offers.keys().cloned().collect::<Vec<_>>() {
            self.take_back(&id);
        }
        self.mail.retain(|input| !matches!(input, Input::Offers(_)));
        self.suppressed = false;
    }

    fn take_back(&mut self, id: &str) -> bool {
        let Some((agent, offered)) = self.offers.remove(id) else { return false };
        self.agents.get_mut(&agent).unwrap().free.add_all(&offered);
        true
    }

    pub(super) fn call(&mut self, call: Call) {
        match call {
            Call::Accept { offers, operations, .. } => {
                let offers: Vec<String> = offers.into_iter().map(|offer| offer.value).collect();
                self.accept(&offers, operations);
            }
            Call::Decline { offers, .. } => {
                for offer in offers {
                    let known = self.take_back(offer.as_str());
                    assert!(known || self.rescinded.contains(offer.as_str()), "{offer} was answered twice");
                }
            }
            Call::Revive => self.suppressed = false,
            Call::Suppress => self.suppressed = true,
            Call::Kill { task, .. } => self.kill(task.as_str()),
            Call::Shutdown { executor, .. } => self.kill(executor.as_str()),
            Call::Reconcile(tasks) if tasks.is_empty() => {
                for id in self.tasks.keys().cloned().collect::<Vec<_>>() {
                    self.answer(&id);
                }
            }
            Call::Reconcile(tasks) => {
                for (id, agent) in tasks {
                    let agent = agent.map(|agent| agent.value).unwrap_or_default();
                    if self.tasks.contains_key(id.as_str()) {
                        self.answer(id.as_str());
                    } else if self.agents[&agent].reachable {
                        self.tell(id.as_str(), &agent, TaskState::Gone, Source::Master);
                    } else {
                        self.tell(id.as_str(), &agent, TaskState::Unknown, Source::Master);
                    }
                }
            }
            Call::Acknowledge(_) | Call::AcknowledgeOperation(_) | Call::AcceptInverse(_) | Call::DeclineInverse(_) => {
            }
        }
    }

    fn answer(&mut self, id: &str) {
        let task = &self.tasks[id];
        let agent = task.info.agent_id.value.clone();
        let state = if self.agents[&agent].reachable { task.state } else { TaskState::Unreachable };
        self.tell(id, &agent, state, Source::Master);
    }

    fn tell(&mut self, id: &str, agent: &str, state: TaskState, source: Source) {
        let mut status = TaskStatus::new(id, state);
        status.agent_id = Some(agent.into());
        status.source = Some(source as i32);
        status.reason = (source == Source::Master).then_some(Reason::Reconciliation as i32);
        status.uuid = (source == Source::Executor).then(|| vec![1; 16]);
        self.mail.push(Input::Update(status));
    }

    fn kill(&mut self, id: &str) {
        let Some(task) = self.tasks.get(id) else { return };
        let agent = task.info.agent_id.value.clone();
        if self.agents[&agent].reachable {
            self.end(id, TaskState::Killed);
        }
    }

    fn end(&mut self, id: &str, state: TaskState) {
        let Some(task) = self.tasks.remove(id) else { return };
        let agent = task.info.agent_id.value.clone();
        let executor = task.info.executor.map(|executor| executor.resources).unwrap_or_default();
        let free = &mut self.agents.get_mut(&agent).unwrap().free;
        free.add_all(&task.info.resources);
        free.add_all(&executor);
        self.tell(id, &agent, state, Source::Executor);
    }

    fn accept(&mut self, offers: &[String], operations: Vec<Operation>) {
        let mut pool = Resources::new();
        let mut agents = BTreeSet::new();
        let mut void = false;
        for id in offers {
            match self.offers.remove(id) {
                Some((agent, offered)) => {
                    pool.add_all(&offered);
                    agents.insert(agent);
                }
                None => {
                    assert!(self.rescinded.contains(id), "{id} was answered twice");
                    void = true;
                }
            }
        }
        assert!(agents.len() <= 1, "an ACCEPT is about one agent");
        for operation in operations {
            if void {
                self.drop_operation(&operation);
            } else {
                self.operate(&mut pool, operation);
            }
        }
        if let Some(agent) = agents.first() {
            self.agents.get_mut(agent).unwrap().free.add_all(&pool);
        }
    }

    fn drop_operation(&mut self, operation: &Operation) {
        for task in operation.launch.iter().flat_map(|launch| &launch.task_infos) {
            self.tell(task.task_id.as_str(), task.agent_id.as_str(), TaskState::Dropped, Source::Master);
        }
        if let Some(id) = &operation.id {
            let status = OperationStatus {
                operation_id: Some(id.clone()),
                state: OperationState::Dropped as i32,
                ..OperationStatus::default()
            };
            self.mail.push(Input::OperationUpdate(status));
        }
    }

    /// Every operation must be covered by what was offered: that is what "no oversubscription" means.
    fn operate(&mut self, pool: &mut Resources, operation: Operation) {
        let convert = |pool: &mut Resources, from: Vec<Resource>, to: Vec<Resource>| {
            pool.subtract_all(&from).unwrap_or_else(|error| panic!("{error}"));
            pool.add_all(&to);
        };
        let without = |entries: &[Resource]| -> Vec<Resource> {
            entries.iter().cloned().filter_map(Resource::unreserved_once).collect()
        };
        let plain =
            |entries: &[Resource]| -> Vec<Resource> { entries.iter().cloned().map(Resource::not_persistent).collect() };
        match operation.r#type() {
            OperationType::Reserve => {
                let to = operation.reserve.unwrap().resources;
                convert(pool, without(&to), to);
            }
            OperationType::Unreserve => {
                let from = operation.unreserve.unwrap().resources;
                let to = without(&from);
                convert(pool, from, to);
            }
            OperationType::Create => {
                let to = operation.create.unwrap().volumes;
                convert(pool, plain(&to), to);
            }
            OperationType::Destroy => {
                let from = operation.destroy.unwrap().volumes;
                let to = plain(&from);
                convert(pool, from, to);
                let status = OperationStatus {
                    operation_id: operation.id,
                    state: OperationState::Finished as i32,
                    ..OperationStatus::default()
                };
                self.mail.push(Input::OperationUpdate(status));
            }
            OperationType::Launch => {
                for info in operation.launch.unwrap().task_infos {
                    let executor = info.executor.clone().unwrap().resources;
                    pool.subtract_all(info.resources.iter().chain(&executor)).unwrap_or_else(|error| panic!("{error}"));
                    self.start(info);
                }
            }
            other => panic!("{other} is not one of the framework's operations"),
        }
    }

    fn start(&mut self, info: TaskInfo) {
        let id = info.task_id.value.clone();
        assert!(self.tasks.insert(id, Running { info, state: TaskState::Staging }).is_none());
    }

    /// Something happens.
    pub(super) fn happen(&mut self) {
        match self.random.random_range(0..if self.kind { 6 } else { 10 }) {
            0..=2 => self.make_offer(),
            3..=5 => {
                let staging = self.tasks.iter().filter(|(_, task)| task.state == TaskState::Staging);
                let staging = staging.map(|(id, _)| id.clone()).choose(&mut self.random);
                if let Some(id) = staging {
                    let task = self.tasks.get_mut(&id).unwrap();
                    task.state = TaskState::Running;
                    let agent = task.info.agent_id.value.clone();
                    self.tell(&id, &agent, TaskState::Running, Source::Executor);
                }
            }
            6 => {
                let id = self.offers.keys().cloned().choose(&mut self.random);
                if let Some(id) = id {
                    self.take_back(&id);
                    self.rescinded.insert(id.clone());
                    self.mail.push(Input::Rescinded(id.into()));
                }
            }
            7 => {
                let id = self.tasks.keys().cloned().choose(&mut self.random);
                let reachable = |id: &String| self.agents[&self.tasks[id].info.agent_id.value].reachable;
                if let Some(id) = id.filter(reachable) {
                    self.end(&id, TaskState::Failed);
                }
            }
            8 => self.split(),
            _ => {
                // A message comes twice.
                let again = self.mail.iter().filter(|input| matches!(input, Input::Update(_))).cloned();
                let again = again.choose(&mut self.random);
                self.mail.extend(again);
            }
        }
    }

    /// An agent goes away, or comes back.
    fn split(&mut self) {
        let id = self.agents.keys().cloned().choose(&mut self.random).unwrap();
        let agent = self.agents.get_mut(&id).unwrap();
        agent.reachable = !agent.reachable;
        let tasks: Vec<String> =
            self.tasks.iter().filter(|(_, task)| task.info.agent_id.value == id).map(|(id, _)| id.clone()).collect();
        for task in tasks {
            self.answer(&task);
        }
    }

    pub(super) fn heal(&mut self) {
        for agent in self.agents.values_mut() {
            agent.reachable = true;
        }
        self.kind = true;
    }

    pub(super) fn make_offer(&mut self) {
        let free = self.agents.iter().filter(|(_, agent)| agent.reachable && !agent.free.is_empty());
        let Some(id) = free.map(|(id, _)| id.clone()).choose(&mut self.random) else { return };
        if self.suppressed {
            return;
        }
        self.number += 1;
        let offered = std::mem::take(&mut self.agents.get_mut(&id).unwrap().free).to_vec();
        let offer: Offer = offer(&format!("o{}", self.number), &id, offered.clone());
        self.offers.insert(offer.id.value.clone(), (id, offered));
        self.mail.push(Input::Offers(vec![offer]));
    }

    /// The next message; now and then one that overtakes updates.
    pub(super) fn deliver(&mut self) -> Option<Input> {
        if self.mail.is_empty() {
            return None;
        }
        let updates = self.mail.iter().take_while(|input| matches!(input, Input::Update(_))).count();
        let late = !self.kind && self.random.random_ratio(1, 3);
        let index = if late { self.random.random_range(0..=updates.min(self.mail.len() - 1)) } else { 0 };
        Some(self.mail.remove(index))
    }

    /// What is reserved or made for the framework.
    pub(super) fn reserved(&self) -> Vec<String> {
        let free = self.agents.values().flat_map(|agent| agent.free.iter());
        let offered = self.offers.values().flat_map(|(_, offered)| offered);
        free.chain(offered).filter(|entry| entry.reserved_role().is_some()).map(ToString::to_string).collect()
    }
}
