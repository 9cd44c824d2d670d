//! One bounded process of the node, steered through its sandbox's socket.

use crate::chain;
use crate::node::bounds::at_process_limit;
use crate::runtime::{Input, Job, Output};
use bigdata_sandbox::{Cgroup, Control, Ending, Event, Limits, Report, Request, Spec, Started};
use futures_util::future::LocalBoxFuture;
use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// How long a sandbox may take to start its command.
const START_LIMIT: Duration = Duration::from_secs(30);
/// How long a sandbox may take to exit once it has reported.
const REAP_LIMIT: Duration = Duration::from_secs(5);
/// How long the end of what a lost sandbox left behind may take.
const KILL_LIMIT: Duration = Duration::from_secs(10);

/// A process that runs. Dropping it ends its tree.
#[derive(Debug)]
pub struct Process {
    events: Lines<BufReader<OwnedReadHalf>>,
    requests: OwnedWriteHalf,
    supervisor: Child,
    started: Started,
    end: Option<End>,
}

/// How a process came to its end.
#[derive(Debug, Clone)]
enum End {
    Reported(Report),
    Lost,
}

/// Why a process was not started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The program to run is not there.
    #[error("{0}")]
    Missing(String),
    /// It is there, and the system refuses to execute it.
    #[error("{0}")]
    NotExecutable(String),
    /// The sandbox could not set it up.
    #[error("{0}")]
    Setup(String),
    /// It is to run beside the workload, which does not run.
    #[error("the node's container does not run")]
    Down,
    /// The sandbox itself could not be made.
    #[error("the sandbox cannot be made: {0}")]
    Sandbox(String),
    /// It did not say anything in time.
    #[error("the sandbox did not answer within 30 s")]
    Late,
}

impl StartError {
    fn system(error: &io::Error) -> Self {
        Self::Sandbox(error.to_string())
    }
}

impl Process {
    /// Starts a process and waits until its command runs.
    ///
    /// # Errors
    /// When it does not come to run, and why.
    pub async fn start(spec: &Spec, program: &Path) -> Result<(Self, Output), StartError> {
        let (command, control) = spec.command(program).map_err(|error| StartError::Sandbox(chain(&error)))?;
        let mut command = Command::from(command);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut supervisor = command.spawn().map_err(|error| StartError::system(&error))?;
        // Its copy of the socket must go, or the sandbox's end would not be seen.
        drop(command);
        let output = match (supervisor.stdout.take(), supervisor.stderr.take()) {
            (Some(stdout), Some(stderr)) => Output { stdout: Box::new(stdout), stderr: Box::new(stderr) },
            _ => return Err(StartError::Sandbox("its output is not piped".to_owned())),
        };
        let (events, requests) = connect(control).map_err(|error| StartError::system(&error))?;
        let mut process = Self { events, requests, supervisor, started: Started::default(), end: None };
        match timeout(START_LIMIT, process.next_event()).await {
            Err(_) => Err(StartError::Late),
            Ok(Some(Event::Started(started))) => {
                for missing in &started.not_applied {
                    tracing::info!(missing, "a bound is not applied");
                }
                process.started = started;
                Ok((process, output))
            }
            Ok(Some(Event::Ended(report))) => {
                process.reap().await;
                Err(match report.ending {
                    Ending::SetupFailed { what, command_missing: true, .. } => StartError::Missing(what),
                    Ending::SetupFailed { what, not_executable: true, .. } => StartError::NotExecutable(what),
                    ending => StartError::Setup(ending.to_string()),
                })
            }
            Ok(None) => Err(StartError::Sandbox("it ended without a report".to_owned())),
        }
    }

    /// What the sandbox said of it.
    pub fn started(&self) -> &Started {
        &self.started
    }

    /// The process id of the sandbox, whose descendants are the node's processes.
    pub fn supervisor(&self) -> Option<u32> {
        self.supervisor.id()
    }

    /// Waits until the whole tree is gone. None: the sandbox was lost, and what it left behind is dead by now.
    ///
    /// Dropping the future and calling again is harmless.
    pub async fn ended(&mut self) -> Option<Report> {
        while self.end.is_none() {
            match self.next_event().await {
                Some(Event::Ended(report)) => self.end = Some(End::Reported(report)),
                Some(Event::Started(_)) => {}
                None => self.end = Some(End::Lost),
            }
        }
        let report = match &self.end {
            Some(End::Reported(report)) => Some(report.clone()),
            Some(End::Lost) | None => {
                self.kill_group().await;
                None
            }
        };
        self.reap().await;
        report
    }

    /// Asks for a graceful end within `grace`.
    pub async fn stop(&mut self, grace: Duration) {
        self.ask(&Request::Stop { grace: Some(grace) }).await;
    }

    /// Asks for the end at once.
    pub async fn kill(&mut self) {
        self.ask(&Request::Kill).await;
    }

    async fn ask(&mut self, request: &Request) {
        // A sandbox that is gone already needs no asking: its end is on the other half of the socket.
        let _ = self.requests.write_all(&request.line()).await;
    }

    async fn next_event(&mut self) -> Option<Event> {
        let line = self.events.next_line().await.ok().flatten()?;
        Event::parse(line.as_bytes()).inspect_err(|error| tracing::warn!(%error, "a sandbox's event")).ok()
    }

    async fn reap(&mut self) {
        if timeout(REAP_LIMIT, self.supervisor.wait()).await.is_err() {
            let _ = self.supervisor.start_kill();
        }
    }

    async fn kill_group(&mut self) {
        let directories = std::mem::take(&mut self.started.cgroup_directories);
        if directories.is_empty() {
            return;
        }
        let ended = tokio::task::spawn_blocking(move || {
            let group = Cgroup::from_directories(directories);
            group.kill_all(KILL_LIMIT).and_then(|count| group.remove().map(|()| count))
        });
        match ended.await {
            Ok(Ok(count)) => tracing::warn!(count, "a sandbox was lost; its processes are ended"),
            Ok(Err(error)) => tracing::error!(%error, "a sandbox was lost, and its processes cannot be ended"),
            Err(error) => tracing::error!(%error, "ending processes failed"),
        }
    }
}

impl Job for Process {
    fn input(&mut self) -> Option<Input> {
        None
    }

    fn ended(&mut self) -> LocalBoxFuture<'_, Option<Report>> {
        Box::pin(Self::ended(self))
    }

    fn kill(&mut self) -> LocalBoxFuture<'_, ()> {
        Box::pin(Self::kill(self))
    }
}

fn connect(control: Control) -> io::Result<(Lines<BufReader<OwnedReadHalf>>, OwnedWriteHalf)> {
    let stream = control.into_stream();
    stream.set_nonblocking(true)?;
    let (events, requests) = UnixStream::from_std(stream)?.into_split();
    Ok((BufReader::with_capacity(1024, events).lines(), requests))
}

/// The end of a process that had these limits, as people read it.
pub fn in_words(report: Option<&Report>, limits: &Limits) -> String {
    let Some(report) = report else { return "its sandbox was killed".to_owned() };
    let memory = || format!("memory limit of {} MiB reached", limits.memory_bytes.unwrap_or_default() >> 20);
    let mut words = match &report.ending {
        Ending::Exited { code } => format!("exited with code {code}"),
        Ending::Signaled { signal } => format!("killed by signal {signal}"),
        Ending::MemoryExhausted => memory(),
        ending @ (Ending::TimedOut | Ending::SetupFailed { .. }) => ending.to_string(),
    };
    // Not the command itself was killed but something that it had started.
    if report.out_of_memory_kills > 0 && report.ending != Ending::MemoryExhausted {
        words = format!("{words}; {}", memory());
    }
    match limits.processes {
        Some(limit) if report.process_limit_hits > 0 => format!("{words}; {}", at_process_limit(limit)),
        _ => words,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_in_words() {
        let report = |ending, (out_of_memory_kills, process_limit_hits)| Report {
            ending,
            requested: false,
            leftovers_ended: 0,
            survivors: Vec::new(),
            out_of_memory_kills,
            process_limit_hits,
        };
        let limits = Limits { memory_bytes: Some(256 << 20), processes: Some(601), ..Limits::default() };
        let exited = || Ending::Exited { code: 3 };
        for (ending, hits, words) in [
            (exited(), (0, 0), "exited with code 3"),
            (exited(), (1, 0), "exited with code 3; memory limit of 256 MiB reached"),
            (exited(), (0, 9), "exited with code 3; its processes reached the limit of 601"),
            (Ending::Signaled { signal: 9 }, (0, 0), "killed by signal 9"),
            (Ending::MemoryExhausted, (2, 0), "memory limit of 256 MiB reached"),
        ] {
            assert_eq!(in_words(Some(&report(ending, hits)), &limits), words);
        }
        assert_eq!(in_words(None, &limits), "its sandbox was killed");
    }
}
