//! `GET /v1/stats` and `GET /v1/health`: what the node uses, and what is reported of it.

use super::answer::{Answer, Failure, json};
use super::figures::Figures;
use crate::node::{Fixture, Handle, Observation, Processes};
use bigdata_common::internal::NodeReport;
use bigdata_sandbox::{Cgroup, disk_usage};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::rc::Rc;

/// What a node uses.
#[derive(Debug, Serialize)]
struct Stats {
    /// Whether the workload runs.
    started: bool,
    /// Milliseconds since the workload's last start.
    uptime_ms: Option<u64>,
    /// How often it was started again in place.
    restarts: u32,
    /// Living processes of the workload.
    processes: usize,
    /// Resident memory of its processes, in bytes.
    rss_bytes: u64,
    /// CPU time of its processes, in milliseconds.
    cpu_ms: u64,
    /// Bytes of storage in each of the node's folders: `work`, `tmp`, `logs`, `disks/NAME`.
    disk_bytes: BTreeMap<String, u64>,
    /// What bounds the workload, in words.
    isolation: String,
    /// What this machine did not allow.
    not_applied: Vec<String>,
    /// What the workload says of itself, where the node declares a command for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    workload: Option<Value>,
    /// Why it says nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    workload_error: Option<String>,
}

/// The report with the workload's process id.
#[derive(Debug, Serialize)]
struct Health {
    #[serde(flatten)]
    report: NodeReport,
    pid: Option<i32>,
}

/// Tells how the node is.
pub(super) fn health(node: &Handle) -> Answer {
    let Observation { report, processes, .. } = node.observed().borrow().clone();
    json(&Health { report, pid: processes.map(|processes| processes.pid) })
}

/// Tells what the node uses.
pub(super) async fn stats(fixture: &Rc<Fixture>, node: &Handle, figures: &Figures) -> Answer {
    let (workload, workload_error) = match figures.of(fixture).await {
        Some(Ok(workload)) => (Some(workload), None),
        Some(Err(reason)) => (None, Some(reason)),
        None => (None, None),
    };
    let Observation { report, processes, .. } = node.observed().borrow().clone();
    let folder = &fixture.surroundings.folder;
    let mut folders =
        vec![("work".to_owned(), folder.work()), ("tmp".to_owned(), folder.tmp()), ("logs".to_owned(), folder.logs())];
    folders.extend(folder.disks.iter().map(|(name, path)| (format!("disks/{name}"), path.clone())));
    let isolation = fixture.isolation.clone();
    let collected = tokio::task::spawn_blocking(move || {
        let usage = processes.as_ref().map(usage).unwrap_or_default();
        Stats {
            started: report.started,
            uptime_ms: processes
                .as_ref()
                .and_then(|processes| u64::try_from(processes.since.elapsed().as_millis()).ok()),
            restarts: report.restarts,
            processes: usage.processes,
            rss_bytes: usage.rss_bytes,
            cpu_ms: usage.cpu_ms,
            disk_bytes: folders.into_iter().map(|(name, path)| (name, disk_usage(&[path], u64::MAX).bytes)).collect(),
            isolation,
            not_applied: processes.map(|processes| processes.not_applied).unwrap_or_default(),
            workload,
            workload_error,
        }
    });
    let stats = collected.await.map_err(|error| Failure::internal(error.to_string()))?;
    json(&stats)
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Usage {
    processes: usize,
    rss_bytes: u64,
    cpu_ms: u64,
}

/// From `/proc`, and the CPU time of processes that have ended too from the control group where there is one.
fn usage(processes: &Processes) -> Usage {
    let supervisor = processes.supervisor.and_then(|pid| i32::try_from(pid).ok());
    let tree = supervisor.and_then(|pid| bigdata_sandbox::descendants(pid).ok()).unwrap_or_default();
    let mut usage = Usage { processes: tree.len(), ..Usage::default() };
    for process in &tree {
        usage.rss_bytes += rss_bytes(process.pid).unwrap_or(0);
        usage.cpu_ms += cpu_ms(process.pid).unwrap_or(0);
    }
    let group = (!processes.group.is_empty()).then(|| Cgroup::from_directories(processes.group.clone()));
    if let Some(micros) = group.and_then(|group| group.usage().ok()?.cpu_microseconds) {
        usage.cpu_ms = micros / 1000;
    }
    usage
}

/// `VmRSS` of proc_pid_status(5), which is given in KiB whatever the page size.
fn rss_bytes(pid: i32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let kib: u64 =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1024)
}

/// User and system time of proc_pid_stat(5), fields 14 and 15, in ticks of 10 ms (`USER_HZ` is 100 on Linux).
fn cpu_ms(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let ticks = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some((ticks(11)? + ticks(12)?) * 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_usage_is_there() {
        let pid = i32::try_from(std::process::id()).unwrap();
        assert!(rss_bytes(pid).unwrap() > 100_000);
        assert!(cpu_ms(pid).is_some());
        assert_eq!(rss_bytes(-1), None);
    }
}
