//! What a node takes of an agent's CPUs, memory and disks.

use super::evaluate::{Question, miss};
use super::take::{self, Claim, LABEL_CLUSTER, LABEL_NODE, LABEL_REGISTRY};
use super::withheld::{self, ROLE};
use super::words::amount;
use super::{Candidate, Miss, Slot};
use bigdata_chassis::secret::sha256_hex;
use bigdata_common::Name;
use bigdata_common::blueprint::DiskKind;
use bigdata_common::internal::volume_path;
use bigdata_mesos::v1::{Labels, ReservationInfo, Resource};
use std::sync::Arc;

/// A kind of resource: what refusals call it, what Mesos calls it, and what it is for people.
type Kind = (&'static str, &'static str, &'static str);

const CPUS: Kind = ("cpu", "cpus", "CPUs");
const MEMORY: Kind = ("mem", "mem", "MiB of memory");
const DISK: Kind = ("disk", "disk", "MiB of disk");

/// What is lacking of a kind, and of how much; where others have it reserved, that is the reason.
fn scalar_miss(candidate: &Candidate, claim: Claim<'_>, (reason, name, what): Kind, lacks: f64, of: f64) -> Miss {
    let words = format!("agent {} lacks {} {what}", candidate.host, amount(lacks));
    let distance = lacks / of.max(lacks);
    match withheld::scalar(&candidate.free, claim, lacks, |entry| take::is_plain(entry, name)) {
        Some(owners) => miss(ROLE, distance, format!("{words}, and has reserved {owners}")),
        None => miss(reason, distance, words),
    }
}

fn whole_disk_miss(candidate: &Candidate, claim: Claim<'_>, size: f64) -> Miss {
    let words = format!("agent {} has no whole disk of {} MiB free", candidate.host, amount(size));
    match withheld::scalar(&candidate.free, claim, size, |entry| take::is_whole(entry, size)) {
        Some(owners) => miss(ROLE, 1.0, format!("{words}; it has reserved {owners}")),
        None => miss(DISK.0, 1.0, words),
    }
}

impl Question<'_> {
    pub(super) fn take_scalars(&self, candidate: &Candidate, claim: Claim<'_>, slot: &mut Slot) -> Result<(), Miss> {
        let (node, rules) = (self.request.node, &self.board.rules);
        #[expect(clippy::cast_precision_loss, reason = "MiB are far below 2^53")]
        let mem = node.mem as f64;
        for (kind, own, overhead) in [(CPUS, node.cpu, rules.executor_cpus), (MEMORY, mem, rules.executor_mem)] {
            let (_, name, _) = kind;
            if let Some(lacks) = take::lacking(&slot.free, claim, name, own + overhead) {
                return Err(scalar_miss(candidate, claim, kind, lacks, own + overhead));
            }
            for (amount, into) in [(own, &mut slot.resources), (overhead, &mut slot.executor)] {
                let parts = take::scalar(Arc::make_mut(&mut slot.free), claim, name, amount)
                    .map_err(|lacks| scalar_miss(candidate, claim, kind, lacks, own + overhead))?;
                into.extend(parts);
            }
        }
        Ok(())
    }

    pub(super) fn take_disks(&self, candidate: &Candidate, claim: Claim<'_>, slot: &mut Slot) -> Result<(), Miss> {
        for (name, disk) in &self.request.node.disks {
            #[expect(clippy::cast_precision_loss, reason = "MiB are far below 2^53")]
            let size = disk.size as f64;
            if disk.is_volume_of_agent() {
                let known = self.request.volumes.iter().filter(|volume| volume.disk == *name);
                let mut here = known.filter(|volume| volume.agent == candidate.agent);
                if let Some((volume, id)) = here
                    .clone()
                    .find_map(|known| Some((take::volume(Arc::make_mut(&mut slot.free), &known.id)?, &known.id)))
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
            let whole = || whole_disk_miss(candidate, claim, size);
            let lacking = |lacks: f64| scalar_miss(candidate, claim, DISK, lacks, size);
            let free = Arc::make_mut(&mut slot.free);
            if !disk.is_volume_of_agent() {
                slot.resources.extend(take::scalar(free, claim, "disk", size).map_err(lacking)?);
                continue;
            }
            let piece = match disk.kind {
                DiskKind::Volume => take::piece(free, claim, "disk", size).map_err(lacking)?,
                DiskKind::Whole => take::whole_disk(free, claim, size).ok_or_else(whole)?,
            };
            let id = self.volume_id(candidate, name);
            self.make_volume(name, &id, piece, slot);
            slot.volumes.push((name.clone(), id, disk.size));
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
        let volume = reserved.persistent(id, rules.principal.as_deref(), &volume_path(disk.as_str()));
        slot.create.push(volume.clone());
        slot.resources.push(volume);
    }

    /// The id of a new volume: unique, so that what became of an earlier attempt's, or is another registry's, does not matter.
    fn volume_id(&self, candidate: &Candidate, disk: &Name) -> String {
        let (cluster, node, attempt) = (self.cluster, self.request.name, self.request.attempt);
        let (registry, agent) = (&self.board.rules.registry, &candidate.agent);
        let hash = sha256_hex(format!("{registry}/{cluster}/{node}/{disk}/{agent}/{attempt}").as_bytes());
        format!("bigdata-{}", &hash[..32])
    }
}
