//! The control group of a run's tree. Only root makes groups here: elsewhere a tree is found by its environment alone.

use bigdata_common::RunId;
use bigdata_sandbox::{Cgroup, Error, Report, remove_empty_groups, size_in_words};
use std::time::Duration;
use uuid::Uuid;

use crate::settings::Limits;

/// What the groups' names begin with; the run follows.
const PREFIX: &str = "bigdata-run-";
/// An empty group that is younger may be one that is just being made.
const LEFTOVER_AGE: Duration = Duration::from_mins(1);

/// The name of a run's group.
pub(super) fn name(run: RunId) -> String {
    format!("{PREFIX}{run}")
}

/// Ends what is left in a run's group, whatever its processes have made of their environment.
pub(super) fn end(run: RunId, limit: Duration) -> Result<(), Error> {
    let Some(group) = Cgroup::find(&name(run))? else { return Ok(()) };
    group.kill_all(limit)?;
    group.remove()
}

/// Removes the empty groups of runs whose sandbox was killed.
pub(crate) fn remove_leftovers() {
    let is_of_a_run = |name: &str| name.strip_prefix(PREFIX).is_some_and(|run| Uuid::try_parse(run).is_ok());
    let count = remove_empty_groups(is_of_a_run, LEFTOVER_AGE);
    if count > 0 {
        tracing::info!(count, "empty control groups that were left behind are removed");
    }
}

/// Which limits a tree has reached, in words.
pub(super) fn reached(report: &Report, limits: &Limits) -> Option<String> {
    let memory = || format!("its processes reached the memory limit of {}", size_in_words(limits.memory_bytes));
    let processes = || format!("its processes reached the limit of {}", limits.processes);
    let words = [(report.out_of_memory_kills > 0).then(memory), (report.process_limit_hits > 0).then(processes)];
    let words: Vec<String> = words.into_iter().flatten().collect();
    (!words.is_empty()).then(|| words.join("; "))
}
