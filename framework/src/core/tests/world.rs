//! What scenarios and simulation share: a core over a database in memory, with a time that is moved by hand.

use super::memory::Memory;
use crate::core::output::{Call, Input, Output};
use crate::core::{Core, Policy};
use crate::placement::Rules;
use bigdata_common::event::{Event, NodeFact};
use bigdata_common::internal::{ClusterState, Desired, Specification};
use bigdata_common::status::{ClusterStatus, Termination};
use bigdata_common::{ClusterId, Name, Timestamp};
use bigdata_mesos::v1::{Attribute, Offer, Resource};
use indexmap::IndexMap;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

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
        uid_pool: Some((70_000, 70_099)),
        attempts: 2,
        hold_ms: 2_000,
        release_limit_ms: 30_000,
        unreachable_launch_ms: 15_000,
        replace_pause_ms: 10_000,
        replace_away_percent: 33,
        adopt_nothing: true,
        tell_again_ms: 10_000,
    }
}

pub(super) fn cluster_id(number: u64) -> ClusterId {
    ClusterId::parse_any(&format!("clusters/alice/demo/1.0/{number}")).unwrap()
}

pub(super) fn specification(id: &ClusterId, nodes: Value) -> Specification {
    Specification {
        cluster: id.clone(),
        revision: 1,
        product: id.dn().product.clone(),
        product_revision: "1".to_owned(),
        blueprint: serde_json::from_value(json!({"dnsname": "test", "nodes": nodes, "services": {}})).unwrap(),
        options: Map::new(),
        orchestrator: String::new(),
        reach_network: false,
        run_deadline_ms: 1000,
    }
}

pub(super) fn cluster_state(id: &ClusterId) -> ClusterState {
    ClusterState {
        cluster: id.clone(),
        revision: 1,
        generation: 1,
        status: ClusterStatus::Registered,
        desired: Desired::Run,
        termination: Termination::Wipe,
        force: false,
        placement_deadline: None,
        origin: None,
        side_runs: Vec::new(),
        nodes: Default::default(),
        leaving: Vec::new(),
        run: None,
        observed: IndexMap::new(),
    }
}

pub(super) fn offer(id: &str, agent: &str, resources: Vec<Resource>) -> Offer {
    Offer {
        id: id.into(),
        framework_id: "framework".into(),
        agent_id: agent.into(),
        hostname: agent.to_owned(),
        resources,
        attributes: vec![Attribute::text("bigdata_net", "loopback:machine:127.64.0.0/24")],
        ..Offer::default()
    }
}

pub(super) fn resources(cpus: f64, mem: f64, disk: f64) -> Vec<Resource> {
    vec![
        Resource::scalar("cpus", cpus),
        Resource::scalar("mem", mem),
        Resource::scalar("disk", disk),
        Resource::ports([(31000, 31099)]),
    ]
}

/// A core, its database and its time.
pub(super) struct World {
    pub core: Core,
    pub policy: Policy,
    pub memory: Memory,
    pub now: Timestamp,
    pub calls: Vec<Call>,
    pub events: Vec<(ClusterId, Event)>,
    /// The highest sequence told of each node.
    sequences: BTreeMap<(ClusterId, Name), u64>,
    seed: u8,
}

impl World {
    pub(super) fn new() -> Self {
        Self {
            core: Core::new(policy(), Memory::default().load(), [0; 32]),
            policy: policy(),
            memory: Memory::default(),
            now: Timestamp::from_millis(1_000_000),
            calls: Vec::new(),
            events: Vec::new(),
            sequences: BTreeMap::new(),
            seed: 0,
        }
    }

    pub(super) fn subscribed() -> Self {
        let mut world = Self::new();
        world.send(Input::Subscribed { framework: "framework".to_owned() });
        world
    }

    /// Takes an input in and performs what comes out: writes, events, then calls.
    pub(super) fn send(&mut self, input: Input) {
        let outputs = self.core.step(input, self.now);
        self.commit(&outputs);
        self.calls.extend(outputs.into_iter().filter_map(|output| match output {
            Output::Call(call) => Some(call),
            _ => None,
        }));
    }

    /// As after a crash: what was stored is there, what was asked of the master may not have left.
    pub(super) fn send_and_crash(&mut self, input: Input, stored: bool) {
        let outputs = self.core.step(input, self.now);
        if stored {
            self.commit(&outputs);
        }
        self.restart();
    }

    fn commit(&mut self, outputs: &[Output]) {
        for output in outputs {
            match output {
                Output::Persist(write) => self.memory.apply(write),
                Output::Emit { cluster, event, .. } => {
                    self.check_sequence(cluster, event);
                    self.events.push((cluster.clone(), event.clone()));
                }
                Output::Call(_) => {}
            }
        }
    }

    fn check_sequence(&mut self, cluster: &ClusterId, event: &Event) {
        if let Some(fact) = fact_of(event) {
            let last = self.sequences.insert((cluster.clone(), fact.node.clone()), fact.sequence);
            assert!(last.is_none_or(|last| last < fact.sequence), "{cluster} {}: {last:?} again", fact.node);
        }
    }

    pub(super) fn restart(&mut self) {
        self.seed += 1;
        self.core = Core::new(self.policy.clone(), self.memory.load(), [self.seed; 32]);
    }

    pub(super) fn pass(&mut self, millis: i64) {
        self.now = self.now.plus_millis(millis);
        self.send(Input::Tick);
    }

    pub(super) fn want(&mut self, state: ClusterState, nodes: Option<Value>) {
        let specifications = nodes.map(|nodes| Arc::new(specification(&state.cluster, nodes))).into_iter().collect();
        self.send(Input::Wanted { state: Box::new(state), specifications, hinted: true });
    }

    pub(super) fn take_calls(&mut self) -> Vec<Call> {
        std::mem::take(&mut self.calls)
    }

    pub(super) fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events).into_iter().map(|(_, event)| event).collect()
    }
}

pub(super) fn fact_of(event: &Event) -> Option<&NodeFact> {
    match event {
        Event::NodeLaunching(fact)
        | Event::NodeRunning(fact)
        | Event::NodeHealth(fact)
        | Event::NodeUnreachable(fact)
        | Event::NodeEnded(fact) => Some(fact),
        _ => None,
    }
}
