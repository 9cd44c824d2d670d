//! A random life against an unkind master: what must hold, holds after every step.

use super::master::Master;
use super::world::{World, cluster_id, cluster_state, fact_of};
use crate::core::model::{Fate, Phase, Standing, Task};
use crate::core::output::Input;
use bigdata_common::event::Event;
use bigdata_common::internal::{ClusterState, Desired, NodeWish, Specification};
use bigdata_common::status::{ClusterStatus, NodeStatus, Termination};
use bigdata_common::{AttemptId, ClusterId, Name};
use rand::rngs::SmallRng;
use rand::seq::{IndexedRandom, IteratorRandom};
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use std::collections::BTreeSet;

struct Simulation {
    world: World,
    master: Master,
    random: SmallRng,
    wanted: Vec<Wanted>,
    ended: BTreeSet<AttemptId>,
    superseded: BTreeSet<AttemptId>,
    left_behind: BTreeSet<AttemptId>,
    leaving: BTreeSet<AttemptId>,
    /// Nodes that were told to be released by themselves, and attempts of later incarnations.
    nodes_released: usize,
    renewed: BTreeSet<AttemptId>,
    events_seen: usize,
}

/// What the registry has of a cluster.
struct Wanted {
    state: ClusterState,
    /// The nodes of each revision, from 1.
    revisions: Vec<serde_json::Map<String, Value>>,
}

fn blueprint(random: &mut SmallRng) -> serde_json::Map<String, Value> {
    (0..random.random_range(1..4)).map(|number| (format!("n{number}"), described(random))).collect()
}

fn described(random: &mut SmallRng) -> Value {
    let mut node = json!({"cpu": 0.5, "mem": random.random_range(32..300), "command": "run"});
    if random.random_ratio(1, 2) {
        let disk =
            json!({"destination": "/d", "size": random.random_range(1..200), "persistent": true, "type": "volume"});
        node["disks"] = json!({"data": disk});
    }
    if random.random_ratio(1, 4) {
        node["constraints"] = json!([{"operator": "unique", "attribute": "hostname"}]);
    }
    if random.random_ratio(1, 3) {
        node["replace"] = json!({"elsewhere": {"after_ms": random.random_range(200..3_000)}});
    }
    node
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
            leaving: BTreeSet::new(),
            nodes_released: 0,
            renewed: BTreeSet::new(),
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
        self.check_what_is_kept();
    }

    /// What is kept from step to step is what a look at every cluster would find.
    fn check_what_is_kept(&self) {
        let core = &self.world.core;
        for cluster in core.state.clusters.values() {
            assert_eq!(core.seekers.names(&cluster.id), cluster.due(self.world.now), "{} looks for places", cluster.id);
            assert!(!cluster.is_releasing() || core.releasing.contains(&cluster.id), "{} is released", cluster.id);
            let is_departing = cluster.departing().next().is_some();
            assert!(!is_departing || core.departing.contains(&cluster.id), "nodes of {} are released", cluster.id);
        }
    }

    fn check(&mut self) {
        for (id, event) in &self.world.events[self.events_seen..] {
            if let Event::NodeReleased { node, .. } = event {
                let wanted = self.wanted.iter_mut().find(|wanted| wanted.state.cluster == *id).unwrap();
                wanted.state.leaving.retain(|name| name != node);
                self.nodes_released += 1;
            }
            let Some(fact) = fact_of(event) else { continue };
            let over = matches!(fact.observation.status, NodeStatus::Stopped | NodeStatus::Failed);
            let attempt = fact.observation.attempt.id;
            if fact.observation.incarnation > 0 {
                self.renewed.insert(attempt);
            }
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
            } else if known.standing == Standing::Leaving {
                self.leaving.insert(known.id);
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
        match self.random.random_range(0..26) {
            20..=25 if !self.wanted.is_empty() => {
                let index = self.random.random_range(0..self.wanted.len());
                let wanted = &mut self.wanted[index];
                // What has a task is of more interest than what has none.
                let has_task = |task: &&Task| task.cluster == wanted.state.cluster && task.standing == Standing::Kept;
                let task = self.world.memory.tasks.values().filter(has_task).choose(&mut self.random);
                let name = task.map(|task| task.node.clone()).filter(|name| wanted.state.nodes.contains_key(name));
                wanted.change(name, &mut self.random);
                self.tell_wanted(index);
            }
            0 if self.wanted.len() < 6 => {
                let number = u64::try_from(self.wanted.len()).unwrap() + 1;
                let mut state = cluster_state(&cluster_id(number));
                if self.random.random_ratio(1, 4) {
                    state.termination = Termination::KeepData;
                }
                let nodes = blueprint(&mut self.random);
                if self.random.random_ratio(3, 4) {
                    let wish = NodeWish { revision: 1, incarnation: 0, elsewhere: false };
                    state.nodes = nodes.keys().map(|name| (name.parse().unwrap(), wish)).collect();
                }
                self.wanted.push(Wanted { state, revisions: vec![nodes] });
                self.tell_wanted(self.wanted.len() - 1);
            }
            1 if !self.wanted.is_empty() => {
                let index = self.random.random_range(0..self.wanted.len());
                let state = &mut self.wanted[index].state;
                if state.desired == Desired::Run {
                    use ClusterStatus::{Destroying, Failed, Ready};
                    let next = [Ready, Ready, Ready, Failed, Destroying];
                    state.status = *next.choose(&mut self.random).unwrap();
                    if state.status != ClusterStatus::Ready && self.random.random_ratio(1, 2) {
                        state.desired = Desired::Release;
                    }
                }
                self.tell_wanted(index);
            }
            2 if !self.wanted.is_empty() => {
                let index = self.random.random_range(0..self.wanted.len());
                let state = &mut self.wanted[index].state;
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
        let state = self.wanted[index].state.clone();
        let read = self.world.core.revisions_wanted(&state).into_iter().map(|revision| {
            let nodes = self.wanted[index].revisions[revision as usize - 1].clone();
            let specification = super::world::specification(&state.cluster, Value::Object(nodes));
            std::sync::Arc::new(Specification { revision, ..specification })
        });
        let specifications = read.collect();
        self.send(Input::Wanted { state: Box::new(state), specifications, hinted: false });
    }

    /// Whether every node is of its wished incarnation, or has no attempt, and every node that is not wanted was released.
    fn is_settled(&self) -> bool {
        let wanted = self.wanted.iter().filter(|wanted| !wanted.state.nodes.is_empty());
        let mut running = wanted
            .filter(|wanted| wanted.state.desired == Desired::Run && wanted.state.status != ClusterStatus::Failed);
        running.all(|Wanted { state, .. }| {
            let cluster = &self.world.core.state.clusters[&state.cluster];
            if !cluster.is_placed() {
                // What was said to be over stays so in one generation.
                return true;
            }
            let is_there = |(name, wish): (&Name, &NodeWish)| {
                let task = cluster.nodes[name].task.map(|task| &self.world.memory.tasks[&task]);
                task.is_none_or(|task| task.incarnation == wish.incarnation)
            };
            let same = state.nodes.len() == cluster.nodes.len()
                && state.nodes.keys().all(|name| cluster.nodes.contains_key(name));
            state.leaving.is_empty() && same && state.nodes.iter().all(is_there)
        })
    }

    /// The master is kind from now on, and what is wanted stays as it is: then it is so.
    fn settle(&mut self) {
        self.master.heal();
        self.subscribe();
        for _ in 0..1_000 {
            self.go_on();
            for index in 0..self.wanted.len() {
                self.tell_wanted(index);
            }
            if self.is_settled() {
                return;
            }
        }
        let states: Vec<&ClusterState> = self.wanted.iter().map(|wanted| &wanted.state).collect();
        panic!("it is not as it is wanted: {states:?} {:?} {:?}", self.world.memory.clusters, self.world.memory.tasks);
    }

    fn go_on(&mut self) {
        self.pass();
        self.master.happen();
        self.master.make_offer();
        while let Some(input) = self.master.deliver() {
            self.send(input);
        }
    }

    /// Everything is released, and the master is kind from now on.
    fn release_all(&mut self) {
        self.master.heal();
        for index in 0..self.wanted.len() {
            let state = &mut self.wanted[index].state;
            (state.status, state.desired) = (ClusterStatus::Destroying, Desired::Release);
            self.tell_wanted(index);
        }
        self.subscribe();
        for _ in 0..3_000 {
            self.go_on();
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
        self.wanted.iter().all(|wanted| over(&wanted.state.cluster)) && memory.tasks.is_empty() && !doomed
    }
}

impl Wanted {
    /// Something else is wanted of one of the nodes, or of one more.
    fn change(&mut self, name: Option<Name>, random: &mut SmallRng) {
        let changes = self.state.desired == Desired::Run && self.state.status == ClusterStatus::Ready;
        if !changes || self.state.nodes.is_empty() {
            return;
        }
        let newest = self.revisions.len() as u32;
        let names: Vec<Name> = self.state.nodes.keys().cloned().collect();
        let name = name.unwrap_or_else(|| names.choose(random).unwrap().clone());
        match random.random_range(0..3) {
            0 => {
                let added: Name = format!("n{}", random.random_range(0..6)).parse().unwrap();
                if self.state.nodes.contains_key(&added) || self.state.leaving.contains(&added) {
                    return;
                }
                self.revise(&added, random);
                let wish = NodeWish { revision: newest + 1, incarnation: 0, elsewhere: false };
                self.state.nodes.insert(added, wish);
            }
            1 if names.len() > 1 => {
                self.state.nodes.shift_remove(&name);
                self.state.leaving.push(name);
            }
            _ => {
                let revised = random.random_ratio(1, 2);
                if revised {
                    self.revise(&name, random);
                }
                let wish = self.state.nodes.get_mut(&name).unwrap();
                wish.incarnation += 1;
                wish.elsewhere = random.random_ratio(1, 3);
                wish.revision = if revised { newest + 1 } else { wish.revision };
            }
        }
    }

    fn revise(&mut self, name: &Name, random: &mut SmallRng) {
        let mut nodes = self.revisions.last().unwrap().clone();
        nodes.insert(name.to_string(), described(random));
        self.revisions.push(nodes);
        self.state.revision += 1;
    }
}

#[test]
fn a_random_life_leaves_nothing_behind() {
    let runs = std::env::var("BIGDATA_SIMULATIONS").ok().and_then(|text| text.parse().ok()).unwrap_or(100);
    let first = std::env::var("BIGDATA_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let (mut launched, mut released, mut superseded, mut left_behind) = (0, 0, 0, 0);
    let (mut nodes_released, mut leaving, mut renewed) = (0, 0, 0);
    for seed in first..first + runs {
        eprintln!("seed {seed}");
        let mut simulation = Simulation::new(seed);
        for _ in 0..600 {
            simulation.act();
        }
        simulation.settle();
        simulation.release_all();
        let memory = &simulation.world.memory;
        assert!(memory.leases.is_empty() && memory.uids.is_empty(), "{:?} {:?}", memory.leases, memory.uids);
        assert!(simulation.master.tasks.is_empty());
        let keeps = simulation.wanted.iter().any(|wanted| wanted.state.termination != Termination::Wipe);
        assert!(keeps || simulation.master.reserved().is_empty(), "{:?}", simulation.master.reserved());
        launched += simulation.ended.len();
        superseded += simulation.superseded.len();
        left_behind += simulation.left_behind.len();
        nodes_released += simulation.nodes_released;
        leaving += simulation.leaving.len();
        renewed += simulation.renewed.len();
        let is_release = |event: &Event| matches!(event, Event::ClusterReleased { .. });
        released += simulation.world.events.iter().filter(|(_, event)| is_release(event)).count();
    }
    eprintln!("{launched} attempts, {superseded} superseded, {left_behind} left behind, {released} releases");
    eprintln!("{nodes_released} nodes released, {leaving} attempts of them, {renewed} attempts begun anew");
    assert!(nodes_released > 100 && leaving > 15 && renewed > 100, "that is too little to tell");
    assert!(launched > 100 && released > 100, "{launched} attempts and {released} releases are too few to tell");
    assert!(superseded > 20, "{superseded} superseded attempts are too few to tell");
    assert!(left_behind > 20, "{left_behind} attempts that were left behind are too few to tell");
}
