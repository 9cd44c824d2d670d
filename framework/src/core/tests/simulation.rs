//! A random life against an unkind master: what must hold, holds after every step.

use super::master::Master;
use super::world::{World, cluster_id, cluster_state, fact_of};
use crate::core::model::{Fate, Phase};
use crate::core::output::Input;
use bigdata_common::event::Event;
use bigdata_common::internal::{ClusterState, Desired};
use bigdata_common::status::{ClusterStatus, NodeStatus, Termination};
use bigdata_common::{AttemptId, ClusterId};
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use std::collections::BTreeSet;

struct Simulation {
    world: World,
    master: Master,
    random: SmallRng,
    wanted: Vec<(ClusterState, Value)>,
    ended: BTreeSet<AttemptId>,
    superseded: BTreeSet<AttemptId>,
    left_behind: BTreeSet<AttemptId>,
    events_seen: usize,
}

fn blueprint(random: &mut SmallRng) -> Value {
    let mut nodes = serde_json::Map::new();
    for number in 0..random.random_range(1..4) {
        let mut node = json!({"cpu": 0.5, "mem": random.random_range(32..300), "command": "run"});
        if random.random_ratio(1, 2) {
            let disk =
                json!({"destination": "/d", "size": random.random_range(1..200), "persistent": true, "type": "volume"});
            node["disks"] = json!({"data": disk});
        }
        if random.random_ratio(1, 4) {
            node["constraints"] = json!([{"operator": "unique", "attribute": "hostname"}]);
        }
        nodes.insert(format!("n{number}"), node);
    }
    Value::Object(nodes)
}

impl Simulation {
    fn new(seed: u64) -> Self {
        let mut random = SmallRng::seed_from_u64(seed);
        let master = Master::new(SmallRng::seed_from_u64(seed ^ 0xabc), random.random_range(1..4));
        let mut simulation = Self {
            world: World::new(),
            master,
            random,
            wanted: Vec::new(),
            ended: BTreeSet::new(),
            superseded: BTreeSet::new(),
            left_behind: BTreeSet::new(),
            events_seen: 0,
        };
        // Agents are away for seconds here.
        simulation.world.policy.unreachable_launch_ms = 500;
        simulation.world.policy.release_limit_ms = 1_500;
        simulation.world.restart();
        simulation.subscribe();
        simulation
    }

    fn subscribe(&mut self) {
        self.master.subscribed();
        self.send(Input::Subscribed { framework: "framework".to_owned() });
    }

    /// One input, and what comes of it; or a crash in the middle.
    fn send(&mut self, input: Input) {
        if !self.master.kind && self.random.random_ratio(1, 60) {
            let stored = self.random.random_ratio(2, 3);
            self.world.send_and_crash(input, stored);
            self.check();
            self.subscribe();
            return;
        }
        self.world.send(input);
        for call in self.world.take_calls() {
            self.master.call(call);
        }
        self.check();
    }

    fn check(&mut self) {
        for (_, event) in &self.world.events[self.events_seen..] {
            let Some(fact) = fact_of(event) else { continue };
            let over = matches!(fact.observation.status, NodeStatus::Stopped | NodeStatus::Failed);
            let attempt = fact.observation.attempt.id;
            assert!(over || !self.ended.contains(&attempt), "{attempt} was over, and is {}", fact.observation.status);
            if over {
                self.ended.insert(attempt);
            }
        }
        self.events_seen = self.world.events.len();
        assert_eq!(self.world.core.invariants().violations, []);
        self.world.core.refresh_board();
        assert_eq!(self.world.core.board.picture(), self.world.core.board().picture());
        let (mut addresses, mut nodes) = (BTreeSet::new(), BTreeSet::new());
        for (id, task) in &self.master.tasks {
            let known = self.world.memory.tasks.get(&id.parse::<AttemptId>().unwrap());
            let known = known.unwrap_or_else(|| panic!("{} runs and is not known", task.info.name));
            assert!(addresses.insert(known.address.clone()), "{} is used twice", known.address);
            if known.is_current() {
                let node = (known.cluster.clone(), known.node.clone());
                assert!(nodes.insert(node), "a second live task for {} of {}", known.node, known.cluster);
            } else if known.forgotten {
                self.left_behind.insert(known.id);
            } else {
                self.superseded.insert(known.id);
            }
        }
        for task in self.world.memory.tasks.values() {
            let lease = ("address", task.pool.clone().unwrap(), task.address.clone());
            assert_eq!(self.world.memory.leases.get(&lease), Some(&task.id));
        }
    }

    fn act(&mut self) {
        match self.random.random_range(0..20) {
            0 if self.wanted.len() < 6 => {
                let number = u64::try_from(self.wanted.len()).unwrap() + 1;
                let mut state = cluster_state(&cluster_id(number));
                if self.random.random_ratio(1, 4) {
                    state.termination = Termination::KeepData;
                }
                let nodes = blueprint(&mut self.random);
                self.wanted.push((state, nodes));
                self.tell_wanted(self.wanted.len() - 1);
            }
            1 if !self.wanted.is_empty() => {
                let index = self.random.random_range(0..self.wanted.len());
                let state = &mut self.wanted[index].0;
                if state.desired == Desired::Run {
                    let next = [ClusterStatus::Ready, ClusterStatus::Failed, ClusterStatus::Destroying];
                    state.status = *next.choose(&mut self.random).unwrap();
                    if state.status != ClusterStatus::Ready && self.random.random_ratio(1, 2) {
                        state.desired = Desired::Release;
                    }
                }
                self.tell_wanted(index);
            }
            2 if !self.wanted.is_empty() => {
                let index = self.random.random_range(0..self.wanted.len());
                let state = &mut self.wanted[index].0;
                if state.status == ClusterStatus::Failed {
                    state.generation += 1;
                    state.desired = Desired::Run;
                    state.status = ClusterStatus::Scheduling;
                }
                self.tell_wanted(index);
            }
            3 => self.subscribe(),
            4..=7 => self.pass(),
            8..=12 => self.master.happen(),
            _ => {
                if let Some(input) = self.master.deliver() {
                    self.send(input);
                }
            }
        }
    }

    fn pass(&mut self) {
        self.world.now = self.world.now.plus_millis(self.random.random_range(0..2_000));
        self.send(Input::Tick);
    }

    fn tell_wanted(&mut self, index: usize) {
        let (state, nodes) = self.wanted[index].clone();
        let specification = std::sync::Arc::new(super::world::specification(&state.cluster, nodes));
        self.send(Input::Wanted { state: Box::new(state), specification: Some(specification), hinted: false });
    }

    /// Everything is released, and the master is kind from now on.
    fn release_all(&mut self) {
        self.master.heal();
        for index in 0..self.wanted.len() {
            let state = &mut self.wanted[index].0;
            (state.status, state.desired) = (ClusterStatus::Destroying, Desired::Release);
            self.tell_wanted(index);
        }
        self.subscribe();
        for _ in 0..3_000 {
            self.pass();
            self.master.happen();
            self.master.make_offer();
            while let Some(input) = self.master.deliver() {
                self.send(input);
            }
            if self.is_over() {
                return;
            }
        }
        panic!("not everything was released: {:?} {:?}", self.world.memory.tasks, self.world.memory.volumes);
    }

    fn is_over(&self) -> bool {
        let over = |id: &ClusterId| {
            self.world.memory.clusters.get(id).is_some_and(|cluster| matches!(cluster.phase, Phase::Released { .. }))
        };
        let memory = &self.world.memory;
        // Volumes that could not be destroyed in time were listed; they are destroyed all the same.
        let doomed = memory.volumes.values().any(|volume| volume.fate != Fate::Kept);
        self.wanted.iter().all(|(state, _)| over(&state.cluster)) && memory.tasks.is_empty() && !doomed
    }
}

#[test]
fn a_random_life_leaves_nothing_behind() {
    let runs = std::env::var("BIGDATA_SIMULATIONS").ok().and_then(|text| text.parse().ok()).unwrap_or(100);
    let first = std::env::var("BIGDATA_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let (mut launched, mut released, mut superseded, mut left_behind) = (0, 0, 0, 0);
    for seed in first..first + runs {
        eprintln!("seed {seed}");
        let mut simulation = Simulation::new(seed);
        for _ in 0..600 {
            simulation.act();
        }
        simulation.release_all();
        let memory = &simulation.world.memory;
        assert!(memory.leases.is_empty() && memory.uids.is_empty(), "{:?} {:?}", memory.leases, memory.uids);
        assert!(simulation.master.tasks.is_empty());
        let keeps = simulation.wanted.iter().any(|(state, _)| state.termination != Termination::Wipe);
        assert!(keeps || simulation.master.reserved().is_empty(), "{:?}", simulation.master.reserved());
        launched += simulation.ended.len();
        superseded += simulation.superseded.len();
        left_behind += simulation.left_behind.len();
        let is_release = |event: &Event| matches!(event, Event::ClusterReleased { .. });
        released += simulation.world.events.iter().filter(|(_, event)| is_release(event)).count();
    }
    eprintln!("{launched} attempts, {superseded} superseded, {left_behind} left behind, {released} releases");
    assert!(launched > 100 && released > 100, "{launched} attempts and {released} releases are too few to tell");
    assert!(superseded > 20, "{superseded} superseded attempts are too few to tell");
    assert!(left_behind > 20, "{left_behind} attempts that were left behind are too few to tell");
}
