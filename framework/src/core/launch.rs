//! From held offers to tasks: one decision per cluster, one ACCEPT per agent.

use super::Core;
use super::facts::Kind;
use super::model::{Cluster, Fate, Standing, Task, TaskStage, Volume};
use super::output::{Call, LeaseKind, Write};
use crate::placement::take::{LABEL_CLUSTER, LABEL_NODE, LABEL_REGISTRY};
use crate::placement::{Board, Neighbour, Request, Slot};
use bigdata_chassis::secret::Token;
use bigdata_common::api::explain::{Capacity, NodeExplanation};
use bigdata_common::blueprint::Blueprint;
use bigdata_common::internal::{NodeReport, Specification, TaskData};
use bigdata_common::status::NodeStatus;
use bigdata_common::{AttemptId, ClusterId, Name, Timestamp};
use bigdata_mesos::resources::Resources;
use bigdata_mesos::v1::{ExecutorInfo, ExecutorType, FrameworkId, KillPolicy, Labels, Operation, Resource, TaskInfo};
use rand::RngCore;
use std::sync::Arc;
use std::time::Duration;

/// Between KILL and force: the executor's own stop, and a little.
const KILL_GRACE: Duration = Duration::from_secs(10);
/// After it the rest of an accepted offer comes again.
const REFUSE_REST: f64 = 1.0;
/// What one ACCEPT is to hold.
#[derive(Default)]
pub(super) struct Bundle {
    reserve: Vec<Resource>,
    create: Vec<Resource>,
    tasks: Vec<TaskInfo>,
    ids: Vec<AttemptId>,
}

impl Core {
    /// Places for these nodes of a cluster, or else, where `counts`, why there are none.
    pub(super) fn look_for(
        &self,
        board: &mut Board,
        id: &ClusterId,
        names: &[Name],
        counts: bool,
    ) -> Option<Result<Vec<Slot>, Option<Vec<NodeExplanation>>>> {
        let cluster = self.state.clusters.get(id)?;
        let specification = cluster.specification.clone()?;
        let blueprint = &specification.blueprint;
        let requests = self.requests(cluster, blueprint, names)?;
        let neighbours: Vec<Neighbour<'_>> = self
            .state
            .tasks
            .of_cluster(id)
            .filter_map(|task| Some(Neighbour { node: blueprint.nodes.get(&task.node)?, agent: &task.agent }))
            .collect();
        let found = board.find_places(id, &requests, &neighbours);
        Some(found.ok_or_else(|| counts.then(|| board.count_refusals(id, &requests, &neighbours))))
    }

    pub(super) fn requests<'a>(
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
                    .filter(|volume| volume.node == *name && volume.fate != Fate::Doomed && !volume.left)
                    .collect(),
                last_agent: node.agent.as_deref(),
                last_address: node.pool.as_deref().zip(node.address.as_deref()),
            });
        }
        Some(requests)
    }

    pub(super) fn launch(
        &mut self,
        id: &ClusterId,
        name: &Name,
        agent: &str,
        slot: Slot,
        bundle: &mut Bundle,
        now: Timestamp,
    ) {
        let Some(agent) = self.state.agents.get(agent) else { return };
        let (agent, host, machine) = (agent.id.clone(), agent.host.clone(), agent.machine());
        let Some(cluster) = self.state.clusters.get_mut(id) else { return };
        let Some(specification) = cluster.specification.clone() else { return };
        let (attempt, token) = (self.random_attempt(), self.random_token());
        let Some(cluster) = self.state.clusters.get_mut(id) else { return };
        let Some(node) = cluster.nodes.get_mut(name) else { return };
        let moved = node.address.as_ref().is_some_and(|address| *address != slot.address);
        node.attempts += 1;
        node.task = Some(attempt);
        node.agent = Some(agent.clone());
        node.pool.clone_from(&slot.pool);
        node.address = Some(slot.address.clone());
        node.interfaces.clone_from(&slot.interfaces);
        (node.not_before, node.idle_since) = (None, None);
        let (number, wish, loss) = (node.attempts, node.wish, node.loss.take());
        let uid = self.lease_uid(id, &machine);
        let task = Task {
            id: attempt,
            number,
            incarnation: wish.map_or(0, |wish| wish.incarnation),
            revision: wish.map_or(specification.revision, |wish| wish.revision),
            cluster: id.clone(),
            node: name.clone(),
            agent,
            host,
            pool: slot.pool.clone(),
            address: slot.address.clone(),
            interfaces: slot.interfaces.clone(),
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
            report: NodeReport { reason: loss, ..NodeReport::default() },
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
        self.demand.placed_at = Some(now);
        self.observe(id, name, Kind::Launching, observation, now);
        if moved {
            self.renew_peers(id, now);
        }
    }

    fn lease(&mut self, task: &Task) {
        self.persist(Write::Task(Box::new(task.clone())));
        for (scope, value) in task.leases() {
            let (scope, value) = (scope.to_owned(), value.into_owned());
            self.persist(Write::Lease { kind: LeaseKind::Address, scope, value, task: task.id });
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
                size: known.map_or(*size, |known| known.size),
                left: false,
                seen: known.is_some_and(|known| known.seen),
                fate: Fate::Used,
                doomed_at: None,
                lost_at: None,
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
            let is_spared = volume.fate == Fate::Doomed || volume.left || used.contains(&&volume.id);
            volume.node == task.node && !volume.seen && !is_spared
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
        // In ascending order.
        let mut taken = Vec::new();
        for ((of, uid), owner) in self.state.uids.range((machine.to_owned(), 0)..) {
            if of != machine {
                break;
            }
            if owner == cluster {
                return Some(*uid);
            }
            taken.push(*uid);
        }
        let uid = (first..=last).find(|uid| taken.binary_search(uid).is_err())?;
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
        let mut half = || {
            let mut bytes = [0; 16];
            self.random.fill_bytes(&mut bytes);
            u128::from_be_bytes(bytes)
        };
        Token::from_text(&format!("{:032x}{:032x}", half(), half()))
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

    pub(super) fn accept(&mut self, agent: &str, free: Arc<Resources>, bundle: Bundle, now: Timestamp) {
        let Some(number) = self.state.agents.find(agent) else { return };
        let offers = self.offers.remove_of(number);
        if let Some(agent) = self.state.agents.lend(number) {
            (agent.answered_at, agent.free) = (Some(now), free);
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
}
