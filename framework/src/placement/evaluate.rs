//! Whether one agent is a place for one node, and what the node would take there.

use super::board::Room;
use super::take::{self, Claim, LABEL_CLUSTER, LABEL_NODE, LABEL_REGISTRY};
use super::words::amount;
use super::{Board, Candidate, Miss, Neighbour, Network, Request, Slot};
use bigdata_chassis::secret::sha256_hex;
use bigdata_common::blueprint::{Constraint, DiskKind, Node};
use bigdata_common::{ClusterId, Name};
use bigdata_mesos::v1::{Labels, ReservationInfo, Resource};
use indexmap::IndexMap;
use std::collections::HashSet;
use take::Ports;

/// The agent's attribute that says that a container engine answers there.
pub(crate) const DOCKER_ATTRIBUTE: &str = "bigdata_docker";

/// One question to the board.
pub(super) struct Question<'a> {
    pub board: &'a Board,
    pub cluster: &'a ClusterId,
    pub request: &'a Request<'a>,
    pub neighbours: &'a [Neighbour<'a>],
}

/// Attributes that a node must be alone with, and the values that its neighbours have of them.
pub(super) struct Taken(Vec<(String, HashSet<Option<String>>)>);

fn lacks_engine(candidate: &Candidate, node: &Node) -> bool {
    let needs_engine = node.docker_image.is_some() && node.command.is_none();
    needs_engine && candidate.attributes.get(DOCKER_ATTRIBUTE).is_none_or(|value| value == "false")
}

fn miss(reason: &'static str, distance: f64, words: String) -> Miss {
    Miss { reason, distance, words }
}

fn scalar_miss(candidate: &Candidate, reason: &'static str, lacks: f64, of: f64, what: &str) -> Miss {
    miss(reason, lacks / of.max(lacks), format!("agent {} lacks {} {what}", candidate.host, amount(lacks)))
}

impl Question<'_> {
    /// The slot on this agent.
    ///
    /// # Errors
    /// The first thing that stands against it: what cannot change first, then amounts, then the offer.
    pub(super) fn ask(&self, index: usize) -> Result<Slot, Miss> {
        let candidate = self.board.candidate(index);
        self.check_runtime(candidate)?;
        self.check_constraints(candidate)?;
        self.check_volumes(candidate)?;
        if !candidate.fresh {
            let words = format!("agent {} has made no offer since the service started", candidate.host);
            return Err(miss("offer", 0.9, words));
        }
        if let Some(leaving) = &candidate.leaving {
            return Err(miss("offer", 1.0, format!("agent {} is to be away {leaving}", candidate.host)));
        }
        let cluster = self.cluster.to_string();
        let rules = &self.board.rules;
        let claim =
            Claim { role: &rules.role, registry: &rules.registry, cluster: &cluster, node: self.request.name.as_str() };
        let mut slot = Slot {
            candidate: index,
            resources: Vec::new(),
            executor: Vec::new(),
            reserve: Vec::new(),
            create: Vec::new(),
            volumes: Vec::new(),
            pool: None,
            address: candidate.address.clone(),
            ports: IndexMap::new(),
            agent_ports: Vec::new(),
            free: candidate.free.clone(),
        };
        self.take_scalars(candidate, claim, &mut slot)?;
        self.take_disks(candidate, claim, &mut slot)?;
        self.take_ports(candidate, claim, &mut slot)?;
        self.take_address(candidate, &mut slot)?;
        if !candidate.offered {
            let words = format!("agent {} has room by what it offered last, and makes no offer now", candidate.host);
            return Err(miss("offer", 0.0, words));
        }
        Ok(slot)
    }

    fn check_runtime(&self, candidate: &Candidate) -> Result<(), Miss> {
        if !lacks_engine(candidate, self.request.node) {
            return Ok(());
        }
        let words = format!(
            "agent {} has no container engine (attribute {DOCKER_ATTRIBUTE}), and the node has an image and no command",
            candidate.host
        );
        Err(miss("runtime", 2.0, words))
    }

    fn check_constraints(&self, candidate: &Candidate) -> Result<(), Miss> {
        for constraint in &self.request.node.constraints {
            let refusal = match constraint {
                Constraint::Equals { attribute, value } => {
                    let found = value_of(candidate, attribute);
                    (found != Some(value.as_str()))
                        .then(|| format!("has {attribute} {} where {value} is wanted", found.unwrap_or("unset")))
                }
                Constraint::NotEquals { attribute, value } => (value_of(candidate, attribute) == Some(value.as_str()))
                    .then(|| format!("has {attribute} {value}, which is not wanted")),
                Constraint::Unique { attribute } => {
                    let found = value_of(candidate, attribute);
                    let taken = self.neighbours.iter().any(|neighbour| {
                        neighbour.node.constraints.contains(constraint)
                            && self.candidate(&neighbour.agent).is_some_and(|other| value_of(other, attribute) == found)
                    });
                    taken.then(|| {
                        format!("has {attribute} {}, where another node of the cluster is", found.unwrap_or("unset"))
                    })
                }
            };
            if let Some(words) = refusal {
                return Err(miss("attribute", 1.5, format!("agent {} {words}", candidate.host)));
            }
        }
        Ok(())
    }

    fn candidate(&self, agent: &str) -> Option<&Candidate> {
        Some(self.board.candidate(self.board.find(agent)?))
    }

    /// The values that neighbours have of each attribute that the node must be alone with.
    pub(super) fn taken(&self) -> Taken {
        let unique = |constraint: &Constraint| match constraint {
            Constraint::Unique { attribute } => {
                let bearers =
                    self.neighbours.iter().filter(|neighbour| neighbour.node.constraints.contains(constraint));
                let agents = bearers.filter_map(|neighbour| self.candidate(&neighbour.agent));
                Some((attribute.clone(), agents.map(|other| value_of(other, attribute).map(str::to_owned)).collect()))
            }
            Constraint::Equals { .. } | Constraint::NotEquals { .. } => None,
        };
        Taken(self.request.node.constraints.iter().filter_map(unique).collect())
    }

    /// What [`Question::ask`] would refuse this agent for, where that is to be seen at a glance: the reason, and how far
    /// it is off.
    pub(super) fn glance(&self, index: usize, taken: &Taken) -> Option<(&'static str, f64)> {
        let (candidate, room) = (self.board.candidate(index), self.board.room(index));
        let node = self.request.node;
        if lacks_engine(candidate, node) {
            return Some(("runtime", 2.0));
        }
        let refused = |constraint: &Constraint| match constraint {
            Constraint::Equals { attribute, value } => value_of(candidate, attribute) != Some(value.as_str()),
            Constraint::NotEquals { attribute, value } => value_of(candidate, attribute) == Some(value.as_str()),
            Constraint::Unique { .. } => false,
        };
        let is_taken = |(attribute, values): &(String, HashSet<Option<String>>)| {
            !values.is_empty() && values.contains(&value_of(candidate, attribute).map(str::to_owned))
        };
        if node.constraints.iter().any(refused) || taken.0.iter().any(is_taken) {
            return Some(("attribute", 1.5));
        }
        if self.request.volumes.iter().any(|volume| volume.seen && volume.agent != candidate.agent) {
            return Some(("disk", 3.0));
        }
        if !candidate.fresh {
            return Some(("offer", 0.9));
        }
        if candidate.leaving.is_some() {
            return Some(("offer", 1.0));
        }
        let wanted = self.wanted();
        let lacks = |has: i64, wanted: i64| {
            #[expect(clippy::cast_precision_loss, reason = "amounts are far below 2^53")]
            let part = (wanted - has) as f64 / wanted as f64;
            (has < wanted).then_some(part)
        };
        lacks(room.cpus, wanted.cpus)
            .map(|part| ("cpu", part))
            .or_else(|| lacks(room.mem, wanted.mem).map(|part| ("mem", part)))
    }

    /// What the node takes of an agent's CPUs and memory, its executor included.
    pub(super) fn wanted(&self) -> Room {
        let (node, rules) = (self.request.node, &self.board.rules);
        #[expect(clippy::cast_precision_loss, reason = "MiB are far below 2^53")]
        let mem = node.mem as f64 + rules.executor_mem;
        Room { cpus: take::thousandths(node.cpu + rules.executor_cpus), mem: take::thousandths(mem) }
    }

    /// Data binds a node to the agent that has it.
    fn check_volumes(&self, candidate: &Candidate) -> Result<(), Miss> {
        match self.request.volumes.iter().find(|volume| volume.seen && volume.agent != candidate.agent) {
            None => Ok(()),
            Some(volume) => {
                let words = format!(
                    "agent {} does not have the node's volume for disk {}, which is on {}",
                    candidate.host, volume.disk, volume.host
                );
                Err(miss("disk", 3.0, words))
            }
        }
    }

    fn take_scalars(&self, candidate: &Candidate, claim: Claim<'_>, slot: &mut Slot) -> Result<(), Miss> {
        let (node, rules) = (self.request.node, &self.board.rules);
        #[expect(clippy::cast_precision_loss, reason = "MiB are far below 2^53")]
        let mem = node.mem as f64;
        for (name, own, overhead, what) in
            [("cpus", node.cpu, rules.executor_cpus, "CPUs"), ("mem", mem, rules.executor_mem, "MiB of memory")]
        {
            let reason = if name == "cpus" { "cpu" } else { "mem" };
            if let Some(lacks) = take::lacking(&slot.free, claim, name, own + overhead) {
                return Err(scalar_miss(candidate, reason, lacks, own + overhead, what));
            }
            for (amount, into) in [(own, &mut slot.resources), (overhead, &mut slot.executor)] {
                let parts = take::scalar(&mut slot.free, claim, name, amount)
                    .map_err(|lacks| scalar_miss(candidate, reason, lacks, own + overhead, what))?;
                into.extend(parts);
            }
        }
        Ok(())
    }

    fn take_disks(&self, candidate: &Candidate, claim: Claim<'_>, slot: &mut Slot) -> Result<(), Miss> {
        for (name, disk) in &self.request.node.disks {
            #[expect(clippy::cast_precision_loss, reason = "MiB are far below 2^53")]
            let size = disk.size as f64;
            if disk.persistent {
                let known = self.request.volumes.iter().filter(|volume| volume.disk == *name);
                let mut here = known.filter(|volume| volume.agent == candidate.agent);
                if let Some((volume, id)) =
                    here.clone().find_map(|known| Some((take::volume(&mut slot.free, &known.id)?, &known.id)))
                {
                    slot.volumes.push((name.clone(), id.clone(), disk.size));
                    slot.resources.push(volume);
                    continue;
                }
                if let Some(volume) = here.find(|volume| volume.seen) {
                    let words = format!("agent {} does not offer the node's volume {} now", candidate.host, volume.id);
                    return Err(miss("disk", 0.5, words));
                }
            }
            let whole = || {
                let words = format!("agent {} has no whole disk of {} MiB free", candidate.host, disk.size);
                miss("disk", 1.0, words)
            };
            let lacking = |lacks: f64| scalar_miss(candidate, "disk", lacks, size, "MiB of disk");
            match (disk.kind, disk.persistent) {
                (DiskKind::Volume, false) => {
                    slot.resources.extend(take::scalar(&mut slot.free, claim, "disk", size).map_err(lacking)?);
                }
                (DiskKind::Whole, false) => {
                    slot.resources.push(take::whole_disk(&mut slot.free, claim, size).ok_or_else(whole)?);
                }
                (kind, true) => {
                    let piece = match kind {
                        DiskKind::Volume => take::piece(&mut slot.free, claim, "disk", size).map_err(lacking)?,
                        DiskKind::Whole => take::whole_disk(&mut slot.free, claim, size).ok_or_else(whole)?,
                    };
                    let id = self.volume_id(candidate, name);
                    self.make_volume(name, &id, piece, slot);
                    slot.volumes.push((name.clone(), id, disk.size));
                }
            }
        }
        Ok(())
    }

    /// A volume of `piece`, which is reserved with the node's labels where it is not reserved yet.
    fn make_volume(&self, disk: &Name, id: &str, piece: Resource, slot: &mut Slot) {
        let rules = &self.board.rules;
        let reserved = if piece.reserved_role().is_some() {
            piece
        } else {
            let labels = Labels::from_iter([
                (LABEL_REGISTRY, rules.registry.clone()),
                (LABEL_CLUSTER, self.cluster.to_string()),
                (LABEL_NODE, self.request.name.to_string()),
            ]);
            let reservation = ReservationInfo::dynamic(&rules.role, rules.principal.as_deref(), Some(labels));
            let reserved = piece.reserved(reservation);
            slot.reserve.push(reserved.clone());
            reserved
        };
        let volume = reserved.persistent(id, rules.principal.as_deref(), &format!("disks/{disk}"));
        slot.create.push(volume.clone());
        slot.resources.push(volume);
    }

    /// The id of a new volume: unique, so that what became of an earlier attempt's does not matter.
    fn volume_id(&self, candidate: &Candidate, disk: &Name) -> String {
        let (cluster, node, attempt) = (self.cluster, self.request.name, self.request.attempt);
        let hash = sha256_hex(format!("{cluster}/{node}/{disk}/{}/{attempt}", candidate.agent).as_bytes());
        format!("bigdata-{}", &hash[..32])
    }

    fn take_ports(&self, candidate: &Candidate, claim: Claim<'_>, slot: &mut Slot) -> Result<(), Miss> {
        let mut offered = Ports::new(&slot.free, claim, candidate.leased_ports.clone());
        let declared = &self.request.node.ports;
        if candidate.network != Network::Host {
            slot.ports = declared.iter().map(|(name, port)| (name.clone(), port.port)).collect();
            slot.agent_ports.extend(offered.first(|_| true));
        } else {
            if let Some(control) = offered.first(|port| declared.values().all(|other| other.port != port)) {
                offered.remove(control);
                slot.agent_ports.push(control);
            }
            slot.ports = choose_ports(candidate, self.request.node, offered)?;
            slot.agent_ports.extend(slot.ports.values().copied());
        }
        let taken = take::ports(&mut slot.free, claim, &slot.agent_ports);
        slot.resources.splice(0..0, taken);
        Ok(())
    }

    fn take_address(&self, candidate: &Candidate, slot: &mut Slot) -> Result<(), Miss> {
        let fixed = self.request.node.networks.values().find_map(|network| network.address.as_deref());
        let refuse = |words: String| Err(miss("address", 1.0, format!("agent {} {words}", candidate.host)));
        if let Network::Unknown(text) = &candidate.network {
            return refuse(format!("has an attribute bigdata_net that is not understood: {text:?}"));
        }
        let Some((pool, range)) = candidate.network.pool() else {
            return match fixed {
                Some(address) if address != candidate.address => {
                    refuse(format!("has no pool of addresses, and the node wants {address}"))
                }
                _ => Ok(()),
            };
        };
        let free = |address: &str| self.board.is_free(&pool, address, self.cluster, self.request.name);
        let address = match fixed {
            Some(address) => {
                if !address.parse().is_ok_and(|address| range.holds(address)) {
                    return refuse(format!("has the addresses {range}, and {address} is none that nodes may have"));
                }
                if !free(address) {
                    return refuse(format!("has given the address {address} to another node"));
                }
                address.to_owned()
            }
            None => {
                let last = self.request.last_address.filter(|(last, _)| *last == pool).map(|(_, address)| address);
                let last =
                    last.filter(|address| address.parse().is_ok_and(|address| range.holds(address)) && free(address));
                let found = last
                    .map(str::to_owned)
                    .or_else(|| range.addresses().map(|address| address.to_string()).find(|address| free(address)));
                let Some(address) = found else {
                    return refuse(format!("has no free address in {range}"));
                };
                address
            }
        };
        slot.pool = Some(pool);
        slot.address = address;
        Ok(())
    }
}

/// Ports from the offer: fixed ones have their numbers, others theirs where it is free.
fn choose_ports(candidate: &Candidate, node: &Node, mut offered: Ports<'_>) -> Result<IndexMap<Name, u16>, Miss> {
    let mut chosen: IndexMap<Name, u16> = IndexMap::new();
    for (name, port) in node.ports.iter().filter(|(_, port)| port.fixed) {
        if !offered.remove(port.port) {
            let words = format!("agent {} does not offer port {} ({name}), which is fixed", candidate.host, port.port);
            return Err(miss("port", 1.0, words));
        }
        chosen.insert(name.clone(), port.port);
    }
    for (name, port) in node.ports.iter().filter(|(_, port)| !port.fixed) {
        let number = if offered.has(port.port) { Some(port.port) } else { offered.first(|_| true) };
        let Some(number) = number else {
            return Err(miss("port", 0.5, format!("agent {} offers no port for {name}", candidate.host)));
        };
        offered.remove(number);
        chosen.insert(name.clone(), number);
    }
    // In the order of the declaration.
    Ok(node.ports.keys().filter_map(|name| Some((name.clone(), *chosen.get(name)?))).collect())
}

/// An attribute's value; `hostname` is the agent's name.
fn value_of<'a>(candidate: &'a Candidate, attribute: &str) -> Option<&'a str> {
    match attribute {
        "hostname" => Some(&candidate.host),
        other => candidate.attributes.get(other).map(String::as_str),
    }
}
