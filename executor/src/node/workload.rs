//! Workloads that are processes: files written, the command started in its sandbox, its output kept.

use super::leftovers::{end_marked, end_sandboxes};
use super::{Fixture, Processes};
use crate::container::{ArchiveError, Contained};
use crate::environment::Surroundings;
use crate::folder::write_hosts;
use crate::process::{Process, StartError, in_words};
use crate::runtime::{Commanded, Errand, Exit, Job, Output, Runtime, Workload};
use bigdata_sandbox::{Limits, Mask};
use futures_util::future::LocalBoxFuture;
use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

/// How many of the last lines help.
const LAST_LINES: usize = 20;
/// How long output may still be read after the workload's end: somebody beyond the tree may hold the pipe.
const DRAIN_LIMIT: Duration = Duration::from_secs(1);

const NO_COMMAND: &str = "the node has no command to run as a process: give it one beside its image";

const OVER: &str = "the node has ended: nothing is started for it any more";

/// Runs processes, each in a sandbox of its own.
pub struct Processing {
    /// The program that is re-executed as a sandbox.
    program: PathBuf,
    /// Nothing more comes into being.
    is_over: Cell<bool>,
}

impl Processing {
    /// With the program that is re-executed as a sandbox.
    pub fn new(program: PathBuf) -> Self {
        Self { program, is_over: Cell::new(false) }
    }
}

impl Runtime for Processing {
    fn prepare<'a>(
        &'a self,
        _: &'a Fixture,
        _: &'a watch::Sender<Option<String>>,
    ) -> LocalBoxFuture<'a, Result<(), String>> {
        Box::pin(async { Ok(()) })
    }

    fn start<'a>(&'a self, fixture: &'a Rc<Fixture>) -> LocalBoxFuture<'a, Result<Box<dyn Workload>, String>> {
        Box::pin(async move {
            let workload = ProcessWorkload::start(fixture, self).await?;
            Ok(Box::new(workload) as Box<dyn Workload>)
        })
    }

    fn command<'a>(&'a self, node: &'a Surroundings, errand: Errand) -> LocalBoxFuture<'a, Commanded> {
        Box::pin(async move {
            if self.is_over.get() {
                return Err(StartError::Setup(OVER.to_owned()));
            }
            let spec = node.short_process(errand.arguments, &errand.group, errand.limit);
            let spec = spec.map_err(|error| StartError::Setup(error.to_string()))?;
            let (process, output) = Process::start(&spec, &self.program).await?;
            Ok((Box::new(process) as Box<dyn Job>, output))
        })
    }

    fn get<'a>(&'a self, _: &'a Surroundings, _: &'a str) -> LocalBoxFuture<'a, Result<Contained, ArchiveError>> {
        Box::pin(async { Err(ArchiveError::Outside) })
    }

    fn put<'a>(
        &'a self,
        _: &'a Surroundings,
        _: &'a str,
        _: u32,
        _: &'a Path,
    ) -> LocalBoxFuture<'a, Result<(), ArchiveError>> {
        Box::pin(async { Err(ArchiveError::Outside) })
    }

    fn takes_input(&self) -> bool {
        false
    }

    /// The workload of the former executor has its grace, and this one shall not meet it.
    fn resume<'a>(&'a self, fixture: &'a Fixture) -> LocalBoxFuture<'a, bool> {
        Box::pin(async move {
            let _ = end_marked(&fixture.surroundings).await;
            false
        })
    }

    fn clear<'a>(
        &'a self,
        fixture: &'a Fixture,
        _: &'a watch::Sender<Option<String>>,
    ) -> LocalBoxFuture<'a, Result<(), String>> {
        self.is_over.set(true);
        Box::pin(end_sandboxes(&fixture.surroundings))
    }
}

/// A workload that is a process.
struct ProcessWorkload {
    process: Process,
    capture: JoinHandle<()>,
    fixture: Rc<Fixture>,
    limits: Limits,
    since: Instant,
    /// Where its output begins in the streams.
    begins: (u64, u64),
    exit: Option<(String, Option<String>)>,
}

impl ProcessWorkload {
    async fn start(fixture: &Rc<Fixture>, runtime: &Processing) -> Result<Self, String> {
        let surroundings = &fixture.surroundings;
        refresh_peers(surroundings).await?;
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
        let (process, output) = Process::start(&spec, &runtime.program).await.map_err(|error| error.to_string())?;
        let capture = tokio::task::spawn_local(capture(Rc::clone(fixture), output));
        let (fixture, limits) = (Rc::clone(fixture), spec.limits);
        Ok(Self { process, capture, fixture, limits, since: Instant::now(), begins, exit: None })
    }
}

impl Workload for ProcessWorkload {
    fn processes(&self) -> Processes {
        let started = self.process.started();
        Processes {
            pid: started.pid,
            supervisor: self.process.supervisor(),
            group: started.cgroup_directories.clone(),
            not_applied: started.not_applied.clone(),
            since: self.since,
        }
    }

    fn stop(&mut self, grace: Duration) -> LocalBoxFuture<'_, ()> {
        Box::pin(self.process.stop(grace))
    }

    fn ended(&mut self) -> LocalBoxFuture<'_, Exit> {
        Box::pin(self.end())
    }
}

impl ProcessWorkload {
    async fn end(&mut self) -> Exit {
        if self.exit.is_none() {
            let report = self.process.ended().await;
            let left = match &report {
                // Without its sandbox the tree has come apart; a new start must not find parts of it.
                None => end_marked(&self.fixture.surroundings).await.err(),
                Some(report) if report.survivors.is_empty() => None,
                Some(report) => Some(format!("the processes {:?} cannot be ended", report.survivors)),
            };
            if let Some(left) = &left {
                tracing::error!(left, "something of the workload is left");
            }
            self.exit = Some((in_words(report.as_ref(), &self.limits), left));
        }
        let _ = timeout(DRAIN_LIMIT, &mut self.capture).await;
        self.capture.abort();
        let (words, left) = self.exit.clone().unwrap_or_default();
        Exit { words, last_lines: last_lines(&self.fixture, self.begins), left }
    }
}

/// Asks for the addresses of the cluster's nodes as they are now, and writes them where the node looks names up.
///
/// # Errors
/// When they cannot be written.
pub(crate) async fn refresh_peers(node: &Surroundings) -> Result<(), String> {
    node.peers.refresh().await;
    write_hosts(&node.folder, &node.node.dnsname, &node.peers.now()).map_err(|error| crate::chain(&error))
}

/// The last lines of standard error from where it `begins`, filled up with those of standard output.
pub(crate) fn last_lines(fixture: &Fixture, begins: (u64, u64)) -> Vec<String> {
    let mask = Mask::of(fixture.surroundings.node.secrets.0.values().map(String::as_str));
    let errors = fixture.stderr.last_lines(LAST_LINES, begins.1, &mask);
    let mut lines = fixture.stdout.last_lines(LAST_LINES - errors.len(), begins.0, &mask);
    lines.extend(errors);
    lines
}

async fn capture(fixture: Rc<Fixture>, output: Output) {
    tokio::join!(fixture.stdout.capture(output.stdout), fixture.stderr.capture(output.stderr));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{specification, surroundings};

    #[tokio::test(flavor = "current_thread")]
    async fn nothing_is_started_once_the_node_has_ended() {
        let (runtime, node) = (Processing::new("/bin/true".into()), surroundings(specification()));
        let arguments = vec!["true".to_owned()];
        let limit = Duration::from_secs(1);
        let errand = Errand { arguments, group: "exec-1".to_owned(), limit, reads: false, beside_workload: false };
        runtime.is_over.set(true);
        let refused = runtime.command(&node, errand).await.err().unwrap();
        assert_eq!(refused.to_string(), OVER);
    }
}
