//! The workload of a node: its files written, its command started, its output kept.

use super::{Fixture, Processes};
use crate::environment::ATTEMPT_VARIABLE;
use crate::process::{Output, Process, in_words};
use bigdata_sandbox::Limits;
use std::rc::Rc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

/// How many of the last lines help.
const LAST_LINES: usize = 20;
/// How long output may still be read after the workload's end: somebody beyond the tree may hold the pipe.
const DRAIN_LIMIT: Duration = Duration::from_secs(1);
/// How long the end of processes that escaped the workload's tree may take.
const KILL_LIMIT: Duration = Duration::from_secs(10);

const NO_COMMAND: &str = "the node has no command to run as a process: give it one beside its image";

/// A workload that runs.
pub struct Workload {
    process: Process,
    capture: JoinHandle<()>,
    fixture: Rc<Fixture>,
    limits: Limits,
    since: Instant,
    /// Where its output begins in the streams.
    begins: (u64, u64),
    exit: Option<String>,
}

/// How a workload ended.
pub struct Exit {
    /// In words for people.
    pub words: String,
    /// The last lines that it wrote.
    pub last_lines: Vec<String>,
}

impl Workload {
    /// Fills in late values, writes the node's files and starts its command.
    ///
    /// # Errors
    /// Why it cannot be started, for people.
    pub async fn start(fixture: &Rc<Fixture>) -> Result<Self, String> {
        let surroundings = &fixture.surroundings;
        let blueprint = &surroundings.node.blueprint;
        let command = blueprint.command.as_ref().ok_or(NO_COMMAND)?;
        let arguments = surroundings.arguments(command).map_err(|error| error.to_string())?;
        let values = surroundings.values();
        for (path, file) in &blueprint.files {
            let fault = |error: &dyn std::fmt::Display| format!("the file {path:?}: {error}");
            let path = values.fill(path).map_err(|error| fault(&error))?;
            let content = values.fill(&file.content).map_err(|error| fault(&error))?;
            let place = surroundings.folder.locate(&path).map_err(|error| fault(&error))?;
            place.write(content.as_bytes(), file.mode, surroundings.owner).map_err(|error| fault(&error))?;
        }
        let spec = surroundings.process(arguments, "workload").map_err(|error| error.to_string())?;
        let begins = (fixture.stdout.end(), fixture.stderr.end());
        let (process, output) = Process::start(&spec, &fixture.program).await.map_err(|error| error.to_string())?;
        let capture = tokio::task::spawn_local(capture(Rc::clone(fixture), output));
        let (fixture, limits) = (Rc::clone(fixture), spec.limits);
        Ok(Self { process, capture, fixture, limits, since: Instant::now(), begins, exit: None })
    }

    /// Where its processes are found.
    pub fn processes(&self) -> Processes {
        let started = self.process.started();
        Processes {
            pid: started.pid,
            supervisor: self.process.supervisor(),
            group: started.cgroup_directories.clone(),
            not_applied: started.not_applied.clone(),
            since: self.since,
        }
    }

    /// Asks for a graceful end within `grace`; what is left then is killed.
    pub async fn stop(&mut self, grace: Duration) {
        self.process.stop(grace).await;
    }

    /// Waits until nothing of the workload is left.
    ///
    /// Dropping the future and calling again is harmless.
    pub async fn ended(&mut self) -> Exit {
        if self.exit.is_none() {
            let report = self.process.ended().await;
            if report.is_none() {
                // Without its sandbox the tree has come apart; a new start must not find parts of it.
                end_marked(&self.fixture).await;
            }
            if let Some(survivors) = report.as_ref().map(|report| &report.survivors).filter(|pids| !pids.is_empty()) {
                tracing::error!(?survivors, "processes of the workload cannot be ended");
            }
            self.exit = Some(in_words(report.as_ref(), &self.limits));
        }
        let _ = timeout(DRAIN_LIMIT, &mut self.capture).await;
        self.capture.abort();
        Exit { words: self.exit.clone().unwrap_or_default(), last_lines: self.last_lines() }
    }

    /// The last lines of standard error, filled up with those of standard output.
    fn last_lines(&self) -> Vec<String> {
        let errors = self.fixture.stderr.last_lines(LAST_LINES, self.begins.1);
        let mut lines = self.fixture.stdout.last_lines(LAST_LINES - errors.len(), self.begins.0);
        lines.extend(errors);
        lines
    }
}

async fn capture(fixture: Rc<Fixture>, output: Output) {
    tokio::join!(fixture.stdout.capture(output.stdout), fixture.stderr.capture(output.stderr));
}

/// Ends whatever still carries the attempt's mark: before a node is reported as ended, and where a sandbox or a former
/// executor of the attempt was lost.
///
/// Processes of other nodes of the cluster share its uid on this machine, so the mark alone decides.
pub async fn end_marked(fixture: &Fixture) {
    let attempt = fixture.surroundings.node.attempt.id.to_string();
    let find = move || bigdata_sandbox::processes_with_environment(ATTEMPT_VARIABLE, &attempt);
    match tokio::task::spawn_blocking(move || bigdata_sandbox::kill_all(find, KILL_LIMIT)).await {
        Ok(Ok(0)) => {}
        Ok(Ok(count)) => tracing::warn!(count, "processes outside the workload's tree are ended"),
        Ok(Err(error)) => tracing::error!(%error, "processes of the node are left"),
        Err(error) => tracing::error!(%error, "looking for processes failed"),
    }
}
