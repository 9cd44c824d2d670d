//! The core against a kind master with a large fleet. Only the core's steps are timed.

use super::world;
use crate::core::output::{Call, Input, Output};
use crate::core::{Core, Policy, State};
use crate::placement::Rules;
use bigdata_common::internal::ClusterState;
use bigdata_common::status::ClusterStatus;
use bigdata_common::{ClusterId, Timestamp};
use bigdata_mesos::resources::Resources;
use bigdata_mesos::v1::{
    Attribute, Offer, Operation, OperationType, Resource, Source, TaskInfo, TaskState, TaskStatus,
};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Between two rounds of the simulated master's allocation, as Mesos has it by default.
const ALLOCATION_MS: i64 = 1_000;

/// Allocations until offers that nobody could use come again: they are held, and then refused for a while.
const SETTLING: usize = 7;

/// What is simulated.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// Agents in the fleet.
    pub agents: usize,
    /// Nodes to be placed.
    pub nodes: usize,
    /// Nodes that are asked for between two allocations.
    pub per_round: usize,
    /// Of everything that is left to chance.
    pub seed: u64,
}

/// What came of it.
#[derive(Debug, Clone, Default)]
pub struct Placed {
    /// Clusters that were placed.
    pub clusters: usize,
    /// Their nodes.
    pub nodes: usize,
    /// Nodes of clusters that wait, but for the one that waits by design.
    pub waiting: usize,
    /// Offers that were taken in.
    pub offers: usize,
    /// All steps of the core: processor time of the one thread, as all here but the decisions.
    pub core: Duration,
    /// The same by the clock on the wall.
    pub waited: Duration,
    /// The steps that took offers in.
    pub core_offers: Duration,
    /// The steps that took updates in.
    pub core_updates: Duration,
    /// Of each cluster that found its place with offers at hand: from what the registry says to the ACCEPTs, by the clock
    /// on the wall, in order of size.
    pub decisions: Vec<Duration>,
}

struct Agent {
    free: Resources,
    attributes: Vec<Attribute>,
    offered: bool,
    filtered_until: i64,
}

/// The processor time of a thread: what others do on the machine meanwhile does not count.
struct ProcessorTime(File);

impl ProcessorTime {
    fn of_this_thread() -> Self {
        Self(File::open("/proc/thread-self/schedstat").expect("Linux counts the processor time of threads"))
    }

    fn now(&self) -> Duration {
        let mut text = [0; 64];
        let length = self.0.read_at(&mut text, 0).unwrap_or(0);
        let first = text[..length].split(|byte| *byte == b' ').next().and_then(|digits| str::from_utf8(digits).ok());
        Duration::from_nanos(first.and_then(|digits| digits.parse().ok()).expect("nanoseconds come first"))
    }
}

/// The core and its simulated master. Lives on the thread that made it.
pub struct Fleet {
    core: Core,
    now: Timestamp,
    random: SmallRng,
    agents: Vec<Agent>,
    /// By offer: the agent, and what it offered.
    offers: BTreeMap<String, (usize, Vec<Resource>)>,
    updates: Vec<TaskStatus>,
    suppressed: bool,
    number: u64,
    clusters: u64,
    /// Nodes that were asked for by cluster, until they run.
    asked: BTreeMap<ClusterId, usize>,
    placed: Placed,
    clock: ProcessorTime,
    /// What the core has written, where that is kept.
    writes: Option<Vec<Output>>,
}

pub(super) fn policy() -> Policy {
    Policy {
        rules: Rules {
            role: "bigdata".to_owned(),
            registry: "11111111-2222-4333-8444-555555555555".to_owned(),
            principal: None,
            executor_cpus: 0.1,
            executor_mem: 32.0,
            pools: Arc::default(),
        },
        url: "http://127.0.0.1:1".to_owned(),
        executor_command: vec!["/bin/executor".to_owned()],
        executor_fetched: None,
        executor_path: "/bin".to_owned(),
        uid_pool: Some((70_000, 79_999)),
        attempts: 3,
        hold_ms: 2_000,
        release_limit_ms: 30_000,
        adopt_nothing: true,
        unreachable_launch_ms: 30_000,
        replace_pause_ms: 10_000,
        replace_away_percent: 33,
        tell_again_ms: 10_000,
    }
}

impl Fleet {
    /// A fleet whose agents have not made an offer yet.
    #[must_use]
    pub fn new(shape: Shape) -> Self {
        let mut random = SmallRng::seed_from_u64(shape.seed);
        let agents = (0..shape.agents).map(|number| {
            let (resources, attributes) = world::agent(number, &mut random);
            Agent { free: resources.iter().collect(), attributes, offered: false, filtered_until: 0 }
        });
        Self {
            agents: agents.collect(),
            core: Core::new(policy(), State::default(), [7; 32]),
            now: Timestamp::from_millis(1_000_000),
            random,
            offers: BTreeMap::new(),
            updates: Vec::new(),
            suppressed: false,
            number: 0,
            clusters: 0,
            asked: BTreeMap::new(),
            placed: Placed::default(),
            clock: ProcessorTime::of_this_thread(),
            writes: None,
        }
    }

    /// A fleet that has subscribed, and keeps what its core writes.
    pub(super) fn recording(shape: Shape) -> Self {
        let mut fleet = Self { writes: Some(Vec::new()), ..Self::new(shape) };
        fleet.step(Input::Subscribed { framework: "framework".to_owned() });
        fleet.allocate();
        fleet
    }

    /// What the core has written since this was asked last.
    pub(super) fn take_writes(&mut self) -> Vec<Output> {
        self.writes.as_mut().map(std::mem::take).unwrap_or_default()
    }

    pub(super) fn state(&self) -> &State {
        &self.core.state
    }

    /// Whether every cluster that was asked for is placed.
    pub(super) fn is_settled(&self) -> bool {
        self.asked.is_empty() && self.updates.is_empty()
    }

    /// Subscribes, and lets every agent make an offer. A cluster that no agent has room for waits from now on, so that
    /// offers are held.
    pub fn begin(&mut self) {
        self.step(Input::Subscribed { framework: "framework".to_owned() });
        self.want(&json!({"n": {"cpu": 1000.0, "mem": 100, "command": "serve"}}));
        self.allocate();
    }

    /// Lets every offer be declined, and come again: after this the process has the memory that messages as large as the
    /// fleet take for a moment.
    pub fn settle(&mut self) {
        for _ in 0..SETTLING {
            self.round();
        }
    }

    /// Places what the shape says, round by round.
    pub fn run(&mut self, shape: Shape) -> Placed {
        self.placed = Placed::default();
        let (mut asked, mut in_round) = (0, 0);
        while asked < shape.nodes {
            let size = world::size(&mut self.random);
            let nodes = world::nodes(size, &mut self.random);
            let (before, begun) = (self.placed.nodes, self.placed.waited);
            let id = self.want(&nodes);
            if self.placed.nodes == before + size {
                self.placed.decisions.push(self.placed.waited - begun);
                self.placed.clusters += 1;
            } else {
                self.asked.insert(id, size);
            }
            asked += size;
            in_round += size;
            if in_round >= shape.per_round {
                in_round = 0;
                self.round();
            }
        }
        for _ in 0..10 {
            self.round();
        }
        self.placed.waiting = self.asked.values().sum();
        self.placed.decisions.sort_unstable();
        self.placed.clone()
    }

    /// The invariants that the core finds broken, in words.
    #[must_use]
    pub fn violations(&self) -> Vec<String> {
        self.core.invariants().violations.iter().map(|violation| format!("{violation:?}")).collect()
    }

    pub(super) fn round(&mut self) {
        let begun = self.placed.core;
        for update in std::mem::take(&mut self.updates) {
            self.step(Input::Update(update));
        }
        self.placed.core_updates += self.placed.core - begun;
        for _ in 0..4 {
            self.now = self.now.plus_millis(ALLOCATION_MS / 4);
            self.step(Input::Tick);
        }
        self.allocate();
    }

    /// Asks for a cluster of that many nodes that fit anywhere.
    pub(super) fn want_plain(&mut self, nodes: usize) {
        let plain = json!({"cpu": 0.5, "mem": 256, "command": "serve"});
        let nodes: serde_json::Map<String, Value> =
            (0..nodes).map(|number| (format!("n{number}"), plain.clone())).collect();
        let (before, size) = (self.placed.nodes, nodes.len());
        let id = self.want(&Value::Object(nodes));
        if self.placed.nodes < before + size {
            self.asked.insert(id, size);
        }
    }

    /// Says what the registry says of a cluster now.
    pub(super) fn say(&mut self, state: ClusterState) {
        self.step(Input::Wanted { state: Box::new(state), specifications: Vec::new(), hinted: false });
    }

    /// Asks for a cluster, as the registry does.
    fn want(&mut self, nodes: &Value) -> ClusterId {
        self.clusters += 1;
        let id = world::cluster_id(self.clusters);
        let state = Box::new(world::cluster_state(&id, ClusterStatus::Registered));
        let specifications = vec![Arc::new(world::specification(&id, nodes))];
        self.step(Input::Wanted { state, specifications, hinted: true });
        id
    }

    /// Offers of every agent that has none out and is not filtered, as one message.
    fn allocate(&mut self) {
        if self.suppressed {
            return;
        }
        let mut offers = Vec::new();
        for (index, agent) in self.agents.iter_mut().enumerate() {
            if agent.offered || agent.filtered_until > self.now.as_millis() || agent.free.is_empty() {
                continue;
            }
            agent.offered = true;
            self.number += 1;
            let (id, host) = (format!("o{}", self.number), format!("agent-{index}"));
            let resources = agent.free.to_vec();
            self.offers.insert(id.clone(), (index, resources.clone()));
            offers.push(Offer {
                id: id.as_str().into(),
                framework_id: "framework".into(),
                agent_id: host.as_str().into(),
                hostname: host,
                resources,
                attributes: agent.attributes.clone(),
                ..Offer::default()
            });
        }
        if !offers.is_empty() {
            self.placed.offers += offers.len();
            let begun = self.placed.core;
            self.step(Input::Offers(offers));
            self.placed.core_offers += self.placed.core - begun;
        }
    }

    fn step(&mut self, input: Input) {
        let (begun, at) = (self.clock.now(), Instant::now());
        let outputs = self.core.step(input, self.now);
        self.placed.waited += at.elapsed();
        self.placed.core += self.clock.now() - begun;
        for output in outputs {
            match output {
                Output::Call(Call::Accept { offers, operations, .. }) => {
                    let offers = offers.iter().filter_map(|offer| self.offers.remove(offer.as_str()));
                    let agents: Vec<usize> = offers.map(|(agent, _)| agent).collect();
                    self.accept(&agents, operations);
                }
                Output::Call(Call::Decline { offers, refuse_seconds }) => {
                    for (agent, _) in offers.iter().filter_map(|offer| self.offers.remove(offer.as_str())) {
                        #[expect(clippy::cast_possible_truncation, reason = "an hour at the most")]
                        let refused = (refuse_seconds * 1000.0) as i64;
                        let agent = &mut self.agents[agent];
                        (agent.offered, agent.filtered_until) = (false, self.now.as_millis() + refused);
                    }
                }
                Output::Call(Call::Revive) => {
                    self.suppressed = false;
                    self.agents.iter_mut().for_each(|agent| agent.filtered_until = 0);
                }
                Output::Call(Call::Suppress) => self.suppressed = true,
                output @ Output::Persist(_) => self.writes.iter_mut().for_each(|writes| writes.push(output.clone())),
                Output::Call(_) | Output::Emit { .. } => {}
            }
        }
    }

    /// Takes what the operations say out of the agent: whatever is not there is a fault of the core.
    fn accept(&mut self, agents: &[usize], operations: Vec<Operation>) {
        let Some(agent) = agents.first() else { panic!("an ACCEPT of offers that are not out") };
        let free = &mut self.agents[*agent].free;
        let mut launched: Vec<TaskInfo> = Vec::new();
        for operation in operations {
            match operation.r#type() {
                OperationType::Reserve => {
                    let reserved = operation.reserve.map(|reserve| reserve.resources).unwrap_or_default();
                    let plain: Vec<Resource> = reserved.iter().cloned().filter_map(Resource::unreserved_once).collect();
                    free.subtract_all(&plain).expect("what is reserved was offered");
                    free.add_all(&reserved);
                }
                OperationType::Create => {
                    let volumes = operation.create.map(|create| create.volumes).unwrap_or_default();
                    let plain: Vec<Resource> = volumes.iter().cloned().map(Resource::not_persistent).collect();
                    free.subtract_all(&plain).expect("what becomes a volume was reserved");
                    free.add_all(&volumes);
                }
                _ => launched.extend(operation.launch.map(|launch| launch.task_infos).unwrap_or_default()),
            }
        }
        for task in &launched {
            let executor = task.executor.iter().flat_map(|executor| &executor.resources);
            free.subtract_all(task.resources.iter().chain(executor)).expect("what a task takes was offered");
        }
        self.agents[*agent].offered = false;
        for task in launched {
            self.launched(&task);
        }
    }

    fn launched(&mut self, task: &TaskInfo) {
        self.placed.nodes += 1;
        let cluster = task.labels.as_ref().and_then(|labels| labels.get("bigdata_cluster"));
        let cluster: Option<ClusterId> = cluster.and_then(|text| text.parse().ok());
        if let Some(left) = cluster.as_ref().and_then(|id| self.asked.get_mut(id)) {
            *left -= 1;
            if *left == 0 {
                self.placed.clusters += 1;
                cluster.map(|id| self.asked.remove(&id));
            }
        }
        let mut status = TaskStatus::new(task.task_id.clone(), TaskState::Running);
        status.agent_id = Some(task.agent_id.clone());
        status.source = Some(Source::Executor as i32);
        status.uuid = Some(vec![1; 16]);
        #[expect(clippy::cast_precision_loss, reason = "milliseconds are far below 2^53")]
        let seconds = self.now.as_millis() as f64 / 1000.0;
        status.timestamp = Some(seconds);
        self.updates.push(status);
    }
}
