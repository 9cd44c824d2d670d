//! From held offers to tasks: one decision per cluster, one ACCEPT per agent.

use super::facts::Kind;
use super::model::{Cluster, Fate, Refused, Standing, Task, TaskStage, Volume};
use super::output::{Call, LeaseKind, Write};
use super::{Core, OPEN};
use crate::placement::take::{LABEL_CLUSTER, LABEL_NODE, LABEL_REGISTRY};
use crate::placement::{Board, Candidate, Neighbour, Outcome, Request, Slot, words};
use bigdata_chassis::secret::Token;
use bigdata_common::api::explain::{Capacity, NodeExplanation};
use bigdata_common::blueprint::Blueprint;
use bigdata_common::event::Event;
use bigdata_common::internal::{NodeReport, Specification, TaskData};
use bigdata_common::status::NodeStatus;
use bigdata_common::{AttemptId, ClusterId, Name, Timestamp};
use bigdata_mesos::resources::Resources;
use bigdata_mesos::v1::{
    ExecutorInfo, ExecutorType, FrameworkId, KillPolicy, Labels, OfferId, Operation, Resource, TaskInfo,
};
use rand::RngCore;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Between KILL and force: the executor's own stop, and a little.
const KILL_GRACE: Duration = Duration::from_secs(10);
/// After it the rest of an accepted offer comes again.
const REFUSE_REST: f64 = 1.0;
/// Waiting is told at most this often.
const TELL_EVERY_MS: u64 = 2_000;
/// With so few agents a search costs nothing, and one is made whenever anything has changed.
const FEW: usize = 64;
/// With more, a search that will find nothing is made at most this often, to count the reasons anew.
const RENEW_EVERY_MS: u64 = 100;

/// What one ACCEPT is to hold.
#[derive(Default)]
struct Bundle {
    reserve: Vec<Resource>,
    create: Vec<Resource>,
    tasks: Vec<TaskInfo>,
    ids: Vec<AttemptId>,
}

impl Core {
    /// Looks for places for the nodes that are due, if anything has changed since.
    pub(super) fn place(&mut self, now: Timestamp) {
        let due: Vec<(ClusterId, Vec<Name>)> = self.due(now);
        let is_new = |(id, names): &(ClusterId, Vec<Name>)| {
            names.iter().any(|name| !self.demand.due.contains(&(id.clone(), name.clone())))
        };
        let new = due.iter().any(is_new);
        if new {
            self.demand.revive = true;
            // A launch does not wait for the time between two revivals: it is asked for by somebody who waits.
            self.demand.revived_at = None;
        }
        if new || (self.changed && !due.is_empty()) {
            match self.why_not_placing() {
                None => self.place_all(due, now),
                Some(words) => self.wait_for_all(&words, &due),
            }
        }
        self.changed = false;
        self.state.clusters.settle(OPEN, Cluster::is_open);
        let due = self.due(now);
        self.demand.due =
            due.iter().flat_map(|(id, names)| names.iter().map(|name| (id.clone(), name.clone()))).collect();
        for (id, _) in due {
            self.tell_waiting(&id, now);
        }
    }

    /// Who waits longest comes first.
    fn due(&self, now: Timestamp) -> Vec<(ClusterId, Vec<Name>)> {
        let mut due: Vec<(Option<Timestamp>, ClusterId, Vec<Name>)> = self
            .state
            .clusters
            .noted(OPEN)
            .map(|cluster| (cluster.waiting_since, cluster.id.clone(), cluster.due(now)))
            .filter(|(_, _, names)| !names.is_empty())
            .collect();
        due.sort();
        due.into_iter().map(|(_, id, names)| (id, names)).collect()
    }

    fn wait_for_all(&mut self, words: &str, due: &[(ClusterId, Vec<Name>)]) {
        for (id, names) in due {
            let Some(cluster) = self.state.clusters.get_mut(id) else { continue };
            let Some(specification) = cluster.specification.clone() else { continue };
            let explain = |name: &Name| {
                let node = specification.blueprint.nodes.get(name)?;
                Some(NodeExplanation {
                    node: name.clone(),
                    needs: words::needs(node),
                    refusals: vec![words::no_agents(words)],
                })
            };
            cluster.waiting.nodes = names.iter().filter_map(explain).collect();
        }
    }

    fn place_all(&mut self, due: Vec<(ClusterId, Vec<Name>)>, now: Timestamp) {
        self.refresh_board();
        let mut board = std::mem::take(&mut self.board);
        let mut bundles: BTreeMap<usize, Bundle> = BTreeMap::new();
        for (id, names) in due {
            if self.is_refused_still(&board, &id, &names, now) {
                continue;
            }
            match self.look_for(&mut board, &id, &names) {
                None => {}
                Some(Outcome::Refused(nodes)) => {
                    if let Some(cluster) = self.state.clusters.get_mut(&id) {
                        cluster.waiting_since.get_or_insert(now);
                        cluster.waiting.nodes = nodes;
                        let nodes = (cluster.generation, cluster.revision, names);
                        cluster.waiting.refused = Some(Refused { version: board.version(), at: now, nodes });
                    }
                }
                Some(Outcome::Placed(slots)) => {
                    for (name, slot) in names.iter().zip(slots) {
                        let agent = board.candidate(slot.candidate).agent.clone();
                        let bundle = bundles.entry(slot.candidate).or_default();
                        self.launch(&id, name, &agent, slot, bundle, now);
                    }
                    if let Some(cluster) = self.state.clusters.get_mut(&id) {
                        cluster.waiting_since = None;
                        cluster.waiting.nodes.clear();
                        cluster.waiting.told.clear();
                        cluster.waiting.refused = None;
                    }
                    self.store_cluster(&id);
                }
            }
        }
        for (candidate, bundle) in bundles {
            let Candidate { agent, free, .. } = board.candidate(candidate);
            self.accept(agent, free.clone(), bundle, now);
        }
        self.board = board;
    }

    /// Whether a search would find no more than the last one did. Now and then one is made all the same, so that what is
    /// told of it stays true.
    fn is_refused_still(&mut self, board: &Board, id: &ClusterId, names: &[Name], now: Timestamp) -> bool {
        let Some(cluster) = self.state.clusters.get(id) else { return false };
        let (Some(refused), Some(specification)) = (&cluster.waiting.refused, &cluster.specification) else {
            return false;
        };
        let same =
            (cluster.generation, cluster.revision) == (refused.nodes.0, refused.nodes.1) && names == refused.nodes.2;
        if !same || board.len() <= FEW {
            return false;
        }
        let is_old = now.millis_since(refused.at) >= TELL_EVERY_MS;
        if is_old && self.demand.renewed_at.is_none_or(|at| now.millis_since(at) >= RENEW_EVERY_MS) {
            self.demand.renewed_at = Some(now);
            return false;
        }
        let requests = self.requests(cluster, &specification.blueprint, names);
        requests.is_some_and(|requests| !board.may_place(id, &requests, refused.version))
    }

    fn look_for(&self, board: &mut Board, id: &ClusterId, names: &[Name]) -> Option<Outcome> {
        let cluster = self.state.clusters.get(id)?;
        let specification = cluster.specification.clone()?;
        let blueprint = &specification.blueprint;
        let requests = self.requests(cluster, blueprint, names)?;
        let neighbours: Vec<Neighbour<'_>> = self
            .state
            .tasks
            .of_cluster(id)
            .filter_map(|task| Some(Neighbour { node: blueprint.nodes.get(&task.node)?, agent: task.agent.clone() }))
            .collect();
        Some(board.place(id, &requests, &neighbours))
    }

    fn requests<'a>(
        &'a self,
        cluster: &'a Cluster,
        blueprint: &'a Blueprint,
        names: &'a [Name],
    ) -> Option<Vec<Request<'a>>> {
        let mut requests = Vec::with_capacity(names.len());
        for name in names {
            let node = cluster.nodes.get(name)?;
            requests.push(Request {
                name,
                node: blueprint.nodes.get(name)?,
                attempt: node.attempts + 1,
                volumes: self
                    .state
                    .volumes
                    .of_cluster(&cluster.id)
                    .filter(|volume| volume.node == *name && volume.fate != Fate::Doomed)
                    .collect(),
                last_agent: node.agent.as_deref(),
                last_address: node.pool.as_deref().zip(node.address.as_deref()),
            });
        }
        Some(requests)
    }

    fn launch(&mut self, id: &ClusterId, name: &Name, agent: &str, slot: Slot, bundle: &mut Bundle, now: Timestamp) {
        let Some(agent) = self.state.agents.get(agent).cloned() else { return };
        let Some(cluster) = self.state.clusters.get_mut(id) else { return };
        let Some(specification) = cluster.specification.clone() else { return };
        let (attempt, token) = (self.random_attempt(), self.random_token());
        let Some(cluster) = self.state.clusters.get_mut(id) else { return };
        let Some(node) = cluster.nodes.get_mut(name) else { return };
        let moved = node.address.as_ref().is_some_and(|address| *address != slot.address);
        node.attempts += 1;
        node.task = Some(attempt);
        node.agent = Some(agent.id.clone());
        node.pool.clone_from(&slot.pool);
        node.address = Some(slot.address.clone());
        node.not_before = None;
        let number = node.attempts;
        let uid = self.lease_uid(id, &agent.machine());
        let task = Task {
            id: attempt,
            number,
            cluster: id.clone(),
            node: name.clone(),
            agent: agent.id.clone(),
            host: agent.host.clone(),
            pool: slot.pool.clone(),
            address: slot.address.clone(),
            ports: slot.ports.clone(),
            agent_ports: slot.agent_ports.clone(),
            used: self.capacity(&specification, name),
            uid,
            launched_at: now,
            token_hash: token.hash(),
            enrolled: None,
            state: TaskStage::Launching,
            was_running: false,
            running_since: None,
            newest: 0.0,
            report: NodeReport::default(),
            forgotten: false,
            unreachable_since: None,
            standing: Standing::Kept,
            killed_at: None,
            kills: 0,
            killed_since: None,
            heard_at: None,
            repeated: None,
        };
        self.lease(&task);
        self.keep_volumes(&task, &slot);
        let observation = task.observation(NodeStatus::Launching, now);
        bundle.tasks.push(self.task_info(&task, &token, &slot));
        bundle.ids.push(attempt);
        bundle.reserve.extend(slot.reserve);
        bundle.create.extend(slot.create);
        self.state.tasks.insert(attempt, task);
        self.is_sound_from_now();
        self.observe(id, name, Kind::Launching, observation, now);
        if moved {
            self.renew_peers(id, now);
        }
    }

    fn lease(&mut self, task: &Task) {
        self.persist(Write::Task(Box::new(task.clone())));
        if let Some(pool) = &task.pool {
            self.persist(Write::Lease {
                kind: LeaseKind::Address,
                scope: pool.clone(),
                value: task.address.clone(),
                task: task.id,
            });
        }
        for port in &task.agent_ports {
            self.persist(Write::Lease {
                kind: LeaseKind::Port,
                scope: task.agent.clone(),
                value: port.to_string(),
                task: task.id,
            });
        }
    }

    fn keep_volumes(&mut self, task: &Task, slot: &Slot) {
        self.doom_unused(task, slot, task.launched_at);
        for (disk, volume, size) in &slot.volumes {
            let known = self.state.volumes.get(volume);
            let volume = Volume {
                id: volume.clone(),
                cluster: task.cluster.clone(),
                node: task.node.clone(),
                disk: disk.clone(),
                agent: task.agent.clone(),
                host: task.host.clone(),
                size: *size,
                seen: known.is_some_and(|known| known.seen),
                fate: Fate::Used,
                doomed_at: None,
                destroy_sent: None,
            };
            if known != Some(&volume) {
                self.persist(Write::Volume(Box::new(volume.clone())));
                self.state.volumes.insert(volume.id.clone(), volume);
            }
        }
    }

    /// Volumes of earlier attempts that nobody has seen: should they exist after all, they hold no data.
    fn doom_unused(&mut self, task: &Task, slot: &Slot, now: Timestamp) {
        let used: Vec<&String> = slot.volumes.iter().map(|(_, id, _)| id).collect();
        let is_unused = |volume: &Volume| {
            volume.node == task.node && !volume.seen && volume.fate != Fate::Doomed && !used.contains(&&volume.id)
        };
        let unused = self.state.volumes.change(&task.cluster, is_unused, |volume| {
            (volume.fate, volume.doomed_at) = (Fate::Doomed, Some(now));
        });
        for volume in unused {
            self.persist(Write::Volume(Box::new(volume)));
        }
    }

    fn capacity(&self, specification: &Arc<Specification>, name: &Name) -> Capacity {
        let rules = &self.policy.rules;
        let Some(node) = specification.blueprint.nodes.get(name) else { return Capacity::default() };
        #[expect(clippy::cast_precision_loss, reason = "MiB are far below 2^53")]
        let (mem, disk) = (node.mem as f64, node.disks.values().map(|disk| disk.size as f64).sum());
        Capacity { cpus: node.cpu + rules.executor_cpus, mem: mem + rules.executor_mem, disk }
    }

    /// The uid of a cluster on a machine, leased where there is none yet.
    fn lease_uid(&mut self, cluster: &ClusterId, machine: &str) -> Option<u32> {
        let (first, last) = self.policy.uid_pool?;
        let of_machine = || self.state.uids.range((machine.to_owned(), 0)..=(machine.to_owned(), u32::MAX));
        if let Some(((_, uid), _)) = of_machine().find(|(_, owner)| *owner == cluster) {
            return Some(*uid);
        }
        let taken: BTreeSet<u32> = of_machine().map(|((_, uid), _)| *uid).collect();
        let uid = (first..=last).find(|uid| !taken.contains(uid))?;
        self.state.uids.insert((machine.to_owned(), uid), cluster.clone());
        self.persist(Write::Uid { machine: machine.to_owned(), uid, cluster: cluster.clone() });
        Some(uid)
    }

    pub(super) fn random_attempt(&mut self) -> AttemptId {
        let mut bytes = [0; 16];
        self.random.fill_bytes(&mut bytes);
        AttemptId(uuid::Builder::from_random_bytes(bytes).into_uuid())
    }

    fn random_token(&mut self) -> Token {
        let mut bytes = [0; 32];
        self.random.fill_bytes(&mut bytes);
        let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        Token::from_text(&text)
    }

    fn task_info(&self, task: &Task, token: &Token, slot: &Slot) -> TaskInfo {
        let policy = &self.policy;
        let command = super::command::executor(policy);
        let labels = Labels::from_iter([
            (LABEL_CLUSTER, task.cluster.to_string()),
            (LABEL_NODE, task.node.to_string()),
            (LABEL_REGISTRY, policy.rules.registry.clone()),
        ]);
        let data = TaskData { framework: policy.url.clone(), attempt: task.id, token: token.expose().to_owned() };
        TaskInfo {
            name: task.node.to_string(),
            task_id: task.id.to_string().into(),
            agent_id: task.agent.as_str().into(),
            resources: slot.resources.clone(),
            executor: Some(ExecutorInfo {
                r#type: Some(ExecutorType::Custom as i32),
                executor_id: task.id.to_string().into(),
                framework_id: self.state.framework.as_deref().map(FrameworkId::from),
                command: Some(command),
                resources: slot.executor.clone(),
                name: Some(format!("{} of {}", task.node, task.cluster.dn())),
                source: Some("bigdata".to_owned()),
                shutdown_grace_period: Some((KILL_GRACE + Duration::from_secs(5)).into()),
                labels: Some(labels.clone()),
                ..ExecutorInfo::default()
            }),
            kill_policy: Some(KillPolicy { grace_period: Some(KILL_GRACE.into()) }),
            data: Some(serde_json::to_vec(&data).expect("strings and ids become JSON")),
            labels: Some(labels),
            ..TaskInfo::default()
        }
    }

    fn accept(&mut self, agent: &str, free: Resources, bundle: Bundle, now: Timestamp) {
        let offers: Vec<OfferId> = self.held_of(agent).map(|held| held.offer.id.clone()).collect();
        for offer in &offers {
            self.offers.remove(offer.as_str());
        }
        self.answered(agent, now);
        if let Some(agent) = self.state.agents.get_mut(agent) {
            agent.free = free;
        }
        let mut operations = Vec::new();
        if !bundle.reserve.is_empty() {
            operations.push(Operation::reserve(bundle.reserve));
        }
        if !bundle.create.is_empty() {
            operations.push(Operation::create(bundle.create));
        }
        operations.push(Operation::launch(bundle.tasks));
        self.call(Call::Accept { offers, operations, refuse_seconds: REFUSE_REST, tasks: bundle.ids });
    }

    /// Tells why a cluster waits, when the words have changed, and not too often.
    fn tell_waiting(&mut self, id: &ClusterId, now: Timestamp) {
        let Some(cluster) = self.state.clusters.get_mut(id) else { return };
        let last = cluster.waiting.told_at.or(cluster.waiting_since);
        if last.is_some_and(|at| now.millis_since(at) < TELL_EVERY_MS) {
            return;
        }
        let reasons = words::lines(&cluster.waiting.nodes);
        if reasons.is_empty() || reasons == cluster.waiting.told {
            return;
        }
        cluster.waiting.told.clone_from(&reasons);
        cluster.waiting.told_at = Some(now);
        let generation = cluster.generation;
        self.emit(id, Event::PlacementWaiting { generation, reasons });
    }
}
