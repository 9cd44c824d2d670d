//! What a node takes beyond what it was promised: storage, which no quota bounds, and processes.
//!
//! It is looked at when the node is awake anyway, for its check, and from time to time otherwise.

use crate::environment::Surroundings;
use bigdata_common::blueprint::DiskKind;
use bigdata_sandbox::{Cgroup, DiskUsage, disk_usage, size_in_words};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// How often storage is measured.
const INTERVAL: Duration = Duration::from_secs(30);
/// How soon it is measured at first, and again while it grows by a tenth of what was promised.
const SOON: Duration = Duration::from_secs(10);
/// How long a measurement that is due waits for another reason to wake.
const SLACK: Duration = Duration::from_secs(10);
/// Measuring may take one part in so many of the time.
const SHARE: u32 = 100;
/// What a node may keep outside its disks: in its working directory and its temporary one.
const FOLDER_BYTES: u64 = 10 << 30;
/// So much more than promised is told at any rate, and ends a node at any rate: less would be petty with small disks.
const TOLD_BYTES: u64 = 16 << 20;
const ENDS_BYTES: u64 = 64 << 20;

/// A part of the node's storage.
#[derive(Debug)]
struct Place {
    /// In words.
    name: String,
    directories: Vec<PathBuf>,
    /// In bytes.
    promised: u64,
}

/// The bounds of one node.
pub(super) struct Bounds {
    places: Arc<[Place]>,
    process_limit: u64,
    /// When storage is to be measured next, from the node's beginning.
    due: Duration,
    measuring: Option<JoinHandle<(Vec<DiskUsage>, Duration)>>,
    begun: Duration,
    used: Vec<u64>,
    storage: Option<String>,
    processes: Option<String>,
}

/// What a measurement says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Finding {
    /// What is beyond its promise.
    words: Option<String>,
    /// It is so much that the node is ended.
    ends: bool,
    /// It grows quickly.
    grows: bool,
}

impl Bounds {
    pub(super) fn new(node: &Surroundings) -> Self {
        let folder = &node.folder;
        let own = [folder.work(), folder.tmp()].to_vec();
        let mut places = vec![Place { name: "its folder".to_owned(), directories: own, promised: FOLDER_BYTES }];
        for (name, path) in &folder.disks {
            // A whole disk is its own bound.
            let disk = node.node.blueprint.disks.get(name).filter(|disk| disk.kind == DiskKind::Volume);
            places.extend(disk.map(|disk| Place {
                name: format!("disk {name}"),
                directories: vec![path.clone()],
                promised: disk.size.saturating_mul(1 << 20),
            }));
        }
        Self {
            used: vec![0; places.len()],
            places: places.into(),
            process_limit: node.process_limit(),
            due: SOON,
            measuring: None,
            begun: Duration::ZERO,
            storage: None,
            processes: None,
        }
    }

    /// When it is to be looked at though nothing else happens; None: only when something happens.
    pub(super) fn wake(&self) -> Option<Duration> {
        self.measuring.is_none().then(|| self.due + SLACK)
    }

    /// Looks at a node that is awake; `group` are the directories of its workload's control group.
    pub(super) fn look(&mut self, now: Duration, group: Option<Vec<PathBuf>>) {
        let hits = group.map_or(0, |directories| Cgroup::from_directories(directories).process_limit_hits());
        self.processes = (hits > 0).then(|| at_process_limit(self.process_limit));
        if now >= self.due && self.measuring.is_none() {
            let places = Arc::clone(&self.places);
            self.begun = now;
            self.measuring = Some(tokio::task::spawn_blocking(move || {
                let begun = Instant::now();
                let measure = |place: &Place| disk_usage(&place.directories, ends_above(place.promised));
                (places.iter().map(measure).collect(), begun.elapsed())
            }));
        }
    }

    /// Waits for a measurement under way, and for ever where there is none; why the node is to end, where it is.
    ///
    /// Dropping the future and calling again is harmless.
    pub(super) async fn measured(&mut self) -> Option<String> {
        let measuring = match &mut self.measuring {
            Some(measuring) => measuring.await,
            None => std::future::pending().await,
        };
        self.measuring = None;
        self.due = self.begun + INTERVAL;
        let (usage, took) = measuring.inspect_err(|error| tracing::error!(%error, "storage is not measured")).ok()?;
        let finding = judge(&self.places, &self.used, &usage);
        let interval = if finding.grows { SOON } else { INTERVAL };
        self.due = self.begun + interval.max(took.saturating_mul(SHARE));
        self.used = usage.iter().map(|usage| usage.bytes).collect();
        self.storage.clone_from(&finding.words);
        finding.words.filter(|_| finding.ends)
    }

    /// What is beyond its bounds now, in words.
    pub(super) fn words(&self) -> Option<String> {
        let words: Vec<&str> = [&self.processes, &self.storage].into_iter().flatten().map(String::as_str).collect();
        (!words.is_empty()).then(|| words.join("; "))
    }
}

/// That a workload has reached its limit on processes, in words.
pub(crate) fn at_process_limit(limit: u64) -> String {
    format!("its processes reached the limit of {limit}")
}

fn told_above(promised: u64) -> u64 {
    promised.saturating_add(TOLD_BYTES.max(promised / 10))
}

fn ends_above(promised: u64) -> u64 {
    promised.saturating_add(ENDS_BYTES.max(promised))
}

fn judge(places: &[Place], before: &[u64], usage: &[DiskUsage]) -> Finding {
    let mut beyond = Vec::new();
    let mut finding = Finding::default();
    for ((place, before), usage) in places.iter().zip(before).zip(usage) {
        finding.grows |= usage.bytes.saturating_sub(*before) > place.promised / 10;
        finding.ends |= usage.bytes > ends_above(place.promised);
        if usage.bytes > told_above(place.promised) {
            let (used, promised) = (size_in_words(usage.bytes), size_in_words(place.promised));
            // It was not looked at to its end.
            let some = if usage.is_whole { "" } else { "at least " };
            beyond.push(format!("{} uses {some}{used} of {promised}", place.name));
        }
    }
    finding.words = (!beyond.is_empty()).then(|| beyond.join("; "));
    finding
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn disk(promised: u64) -> Vec<Place> {
        vec![Place { name: "disk data".into(), directories: Vec::new(), promised }]
    }

    fn of(promised: u64, before: u64, bytes: u64) -> Finding {
        judge(&disk(promised), &[before], &[DiskUsage { bytes, is_whole: true }])
    }

    #[test]
    fn a_tenth_more_is_told_and_twice_as_much_ends() {
        assert_eq!(of(GIB, GIB, GIB + GIB / 10), Finding::default());
        let told = of(GIB, GIB + GIB / 3, GIB + GIB * 2 / 5);
        assert_eq!(told, Finding { words: Some("disk data uses 1.3 GiB of 1 GiB".into()), ends: false, grows: false });
        assert!(!of(GIB, 2 * GIB, 2 * GIB).ends);
        assert!(of(GIB, 2 * GIB, 2 * GIB + 1).ends);
    }

    #[test]
    fn small_disks_have_some_room() {
        const MIB: u64 = 1 << 20;
        assert_eq!(of(MIB, 17 * MIB, 17 * MIB).words, None);
        let told = of(MIB, 60 * MIB, 60 * MIB);
        assert_eq!((told.words.as_deref(), told.ends), (Some("disk data uses 60 MiB of 1 MiB"), false));
        assert!(of(MIB, 66 * MIB, 66 * MIB).ends);
    }

    #[test]
    fn what_grows_quickly_is_measured_soon() {
        assert!(of(GIB, 0, GIB / 5).grows);
        assert!(!of(GIB, GIB / 5, GIB / 4).grows);
        assert!(!of(GIB, GIB, 0).grows);
    }
}
