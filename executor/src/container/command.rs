//! Commands inside a running container.

use super::create::WORK;
use super::engine::{Engine, in_words};
use super::workload::{KILLED, report};
use crate::process::StartError;
use crate::runtime::{Errand, Input, Job, Output};
use bigdata_sandbox::{Ending, Report};
use bollard::container::LogOutput;
use bollard::errors::Error::DockerResponseServerError;
use bollard::exec::{CreateExecOptions, StartExecOptions, StartExecResults};
use futures_util::StreamExt;
use futures_util::future::LocalBoxFuture;
use std::time::Duration;
use tokio::io::{AsyncWriteExt, duplex};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use uuid::Uuid;

/// Marks the processes of one command: an engine ends none by itself.
const VARIABLE: &str = "BIGDATA_COMMAND";
/// Output that may wait for its reader.
const PIPE_BYTES: usize = 64 << 10;
/// How long the end of a command's processes may take.
const KILL_LIMIT: Duration = Duration::from_secs(10);
/// How long an engine may need to say with what a command has exited.
const CODE_LIMIT: Duration = Duration::from_secs(5);
const CODE_PAUSE: Duration = Duration::from_millis(20);

/// A command that runs in a container.
pub(super) struct ContainerCommand {
    engine: Engine,
    id: String,
    mark: String,
    input: Option<Input>,
    output: JoinHandle<()>,
    deadline: Instant,
    killed: bool,
    is_late: bool,
    end: Option<Report>,
}

impl ContainerCommand {
    /// None: the container does not run.
    pub(super) async fn start(
        engine: &Engine,
        container: &str,
        errand: &Errand,
    ) -> Result<Option<(Self, Output)>, StartError> {
        let mark = Uuid::new_v4().to_string();
        let options = CreateExecOptions {
            attach_stdin: Some(errand.reads),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            env: Some(vec![format!("{VARIABLE}={mark}")]),
            cmd: Some(errand.arguments.clone()),
            working_dir: Some(WORK.to_owned()),
            ..CreateExecOptions::default()
        };
        let failed = |error: bollard::errors::Error| refusal(in_words(&error));
        let id = match engine.docker.create_exec(container, options).await {
            Ok(created) => created.id,
            Err(error) if is_not_running(&error) => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let started = StartExecOptions { output_capacity: Some(PIPE_BYTES), ..StartExecOptions::default() };
        let StartExecResults::Attached { output: mut pieces, input } =
            engine.docker.start_exec(&id, Some(started)).await.map_err(failed)?
        else {
            return Err(StartError::Sandbox("the engine did not attach to the command".to_owned()));
        };
        let (mut stdout, stdout_reader) = duplex(PIPE_BYTES);
        let (mut stderr, stderr_reader) = duplex(PIPE_BYTES);
        let output = tokio::task::spawn_local(async move {
            while let Some(Ok(piece)) = pieces.next().await {
                // A reader that has gone wants no more of it, and the command must not wait for it.
                let _ = match piece {
                    LogOutput::StdErr { message } => stderr.write_all(&message).await,
                    LogOutput::StdOut { message } | LogOutput::Console { message } => stdout.write_all(&message).await,
                    LogOutput::StdIn { .. } => Ok(()),
                };
            }
        });
        let deadline = Instant::now() + errand.limit;
        let input = errand.reads.then_some(input as Input);
        let command = Self {
            engine: engine.clone(),
            id,
            mark,
            input,
            output,
            deadline,
            killed: false,
            is_late: false,
            end: None,
        };
        Ok(Some((command, Output { stdout: Box::new(stdout_reader), stderr: Box::new(stderr_reader) })))
    }

    async fn end(&mut self) -> Option<Report> {
        if self.end.is_none() {
            if !self.output.is_finished() && timeout_at(self.deadline, &mut self.output).await.is_err() {
                self.is_late = true;
                self.kill_all().await;
                self.output.abort();
            }
            // A busy engine may not know the code of what was killed for being late, which says nothing new.
            let code = self.code().await.or_else(|| self.is_late.then_some(KILLED));
            let mut report = report(code?, false);
            report.requested = self.killed;
            if self.is_late {
                report.ending = Ending::TimedOut;
            }
            // What it has left behind in the background ends with it, as with a command that is a process.
            report.leftovers_ended = self.kill_all().await;
            self.end = Some(report);
        }
        self.end.clone()
    }

    /// Its exit code. The output may end a moment before the engine knows it.
    async fn code(&self) -> Option<i64> {
        let asking = async {
            loop {
                let seen = self.engine.docker.inspect_exec(&self.id).await.ok()?;
                if let (Some(false), Some(code)) = (seen.running, seen.exit_code) {
                    return Some(code);
                }
                sleep(CODE_PAUSE).await;
            }
        };
        timeout(CODE_LIMIT, asking).await.ok().flatten()
    }

    /// Ends every process that carries the command's mark, and counts them.
    async fn kill_all(&self) -> u32 {
        let mark = self.mark.clone();
        let find = move || bigdata_sandbox::processes_with_environment(VARIABLE, &mark);
        match tokio::task::spawn_blocking(move || bigdata_sandbox::kill_all(find, KILL_LIMIT)).await {
            Ok(Ok(count)) => u32::try_from(count).unwrap_or(u32::MAX),
            Ok(Err(error)) => {
                tracing::error!(%error, "processes of a command are left");
                0
            }
            Err(_) => 0,
        }
    }
}

impl Job for ContainerCommand {
    fn input(&mut self) -> Option<Input> {
        self.input.take()
    }

    fn ended(&mut self) -> LocalBoxFuture<'_, Option<Report>> {
        Box::pin(self.end())
    }

    fn kill(&mut self) -> LocalBoxFuture<'_, ()> {
        Box::pin(async {
            self.killed = true;
            self.kill_all().await;
        })
    }
}

impl Drop for ContainerCommand {
    fn drop(&mut self) {
        self.output.abort();
        if self.end.is_none() {
            let mark = self.mark.clone();
            tokio::task::spawn_blocking(move || {
                let find = || bigdata_sandbox::processes_with_environment(VARIABLE, &mark);
                if let Err(error) = bigdata_sandbox::kill_all(find, KILL_LIMIT) {
                    tracing::error!(%error, "processes of a command are left");
                }
            });
        }
    }
}

/// Whether the engine says that there is no such container, or that it does not run. Podman says the latter in words alone.
pub(super) fn is_not_running(error: &bollard::errors::Error) -> bool {
    let DockerResponseServerError { status_code, message } = error else { return false };
    matches!(status_code, 404 | 409) || message.contains("container state improper")
}

/// Why an engine did not start a command: some say by an error what others say by an exit code.
fn refusal(words: String) -> StartError {
    let lower = words.to_ascii_lowercase();
    let says = |parts: &[&str]| parts.iter().any(|part| lower.contains(part));
    if says(&["executable file not found", "no such file or directory", "command not found", "was not found"]) {
        StartError::Missing(words)
    } else if says(&["permission denied", "exec format error", "cannot be invoked"]) {
        StartError::NotExecutable(words)
    } else {
        StartError::Setup(words)
    }
}
