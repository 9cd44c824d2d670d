//! `POST /v1/exec`: a command in the node's surroundings, its output as a stream of JSON lines.

use super::answer::{Answer, Failure, respond, streamed};
use super::attempts::{Caller, OVERTAKEN};
use super::files::collect;
use crate::environment::Surroundings;
use crate::folder::Confined;
use crate::identity::{decode, encode};
use crate::node::Fixture;
use crate::process::{Output, Process, StartError};
use bigdata_common::api::problem::ProblemCode;
use bigdata_common::internal::{ExecFrame, ExecRequest};
use bigdata_sandbox::{Ending, Report, Spec};
use bytes::Bytes;
use futures_util::stream;
use hyper::body::Incoming;
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;

/// Commands at a time.
pub(super) const EXECS_MAX: usize = 16;
/// The longest request: standard input among it.
const REQUEST_BYTES_MAX: usize = 32 << 20;
/// The longest run.
const TIMEOUT_MAX: Duration = Duration::from_hours(1);
/// How long the end of a command may take beyond its time limit.
const END_LIMIT: Duration = Duration::from_secs(15);
/// Lines that may wait for a slow caller; the command waits beyond that.
const FRAMES_MAX: usize = 8;
/// The most of an output that one line holds.
const PIECE_BYTES_MAX: usize = 8 << 10;

/// The exit codes of shells for a command that is not there, and for one that cannot be executed.
const MISSING: i32 = 127;
const NOT_EXECUTABLE: i32 = 126;

thread_local! {
    static NUMBER: Cell<u64> = const { Cell::new(0) };
}

/// Runs the command; the reply begins at once.
pub(super) async fn exec(fixture: &Rc<Fixture>, execs: &Arc<Semaphore>, caller: Caller, body: &mut Incoming) -> Answer {
    let too_many =
        || Failure::new(ProblemCode::TooManyRequests, format!("{EXECS_MAX} commands run in this node already"));
    let permit = Arc::clone(execs).try_acquire_owned().map_err(|_| too_many())?;
    let body = collect(body, REQUEST_BYTES_MAX).await?;
    let malformed = |detail: String| Failure::new(ProblemCode::MalformedBody, detail);
    let request: ExecRequest = serde_json::from_slice(&body).map_err(|error| malformed(error.to_string()))?;
    let input =
        request.stdin.as_deref().map(decode).transpose().map_err(|error| malformed(format!("stdin: {error}")))?;
    if request.command.first().is_none_or(String::is_empty) {
        return Err(Failure::new(ProblemCode::InvalidField, "command: a program is wanted"));
    }
    let number = NUMBER.replace(NUMBER.get() + 1);
    let run = Run::new(&fixture.surroundings, request, input, number, caller).map_err(Failure::internal)?;
    let (frames, receiver) = mpsc::channel(FRAMES_MAX);
    tokio::task::spawn_local(run.run(Rc::clone(fixture), frames, permit));
    let lines = stream::unfold(receiver, |mut receiver| async {
        let frame: ExecFrame = receiver.recv().await?;
        let mut line = serde_json::to_vec(&frame).ok()?;
        line.push(b'\n');
        Some((Bytes::from(line), receiver))
    });
    Ok(respond(200, "application/jsonl", streamed(lines)))
}

struct Run {
    spec: Spec,
    limit: Duration,
    caller: Caller,
    /// The file that is the command's standard input: removed when this is dropped.
    _input: Option<InputFile>,
}

struct InputFile(Confined);

impl Drop for InputFile {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(self.0.path()) {
            tracing::warn!(%error, "the input of a command stays");
        }
    }
}

impl Run {
    fn new(
        node: &Surroundings,
        request: ExecRequest,
        input: Option<Vec<u8>>,
        number: u64,
        caller: Caller,
    ) -> Result<Self, String> {
        let limit = Duration::from_millis(request.timeout_ms).min(TIMEOUT_MAX);
        let mut arguments = request.command;
        let input = input.map(|bytes| {
            let path = node.folder.tmp().join(format!(".input-{}", uuid::Uuid::new_v4().simple()));
            let place = node.folder.locate(&path.display().to_string()).map_err(|error| error.to_string())?;
            place.write(&bytes, 0o600, node.owner).map_err(|error| error.to_string())?;
            // A sandbox gives its command an empty standard input: the shell puts the file in its place.
            let shell = ["/bin/sh", "-c", "exec \"$@\" < \"$0\"", &path.display().to_string()].map(str::to_owned);
            arguments.splice(0..0, shell);
            Ok::<_, String>(InputFile(place))
        });
        let spec =
            node.short_process(arguments, &format!("exec-{number}"), limit).map_err(|error| error.to_string())?;
        Ok(Self { spec, limit, caller, _input: input.transpose()? })
    }

    async fn run(mut self, fixture: Rc<Fixture>, frames: mpsc::Sender<ExecFrame>, permit: OwnedSemaphorePermit) {
        let last = match Process::start(&self.spec, &fixture.program).await {
            Err(error) => self::refused(error, &frames).await,
            Ok((mut process, output)) => match self.attend(&mut process, output, &frames).await {
                Ended::Overtaken => ExecFrame::Error(format!("ended: {OVERTAKEN}")),
                Ended::Itself(Some(report)) => last_frame(&report, self.limit),
                Ended::Itself(None) => ExecFrame::Error("the command's sandbox was killed".to_owned()),
            },
        };
        // The caller may be gone; then nobody waits for this.
        let _ = frames.send(last).await;
        drop(permit);
    }

    /// Passes output on until the command's end, which comes at once when the caller goes away.
    async fn attend(&mut self, process: &mut Process, output: Output, frames: &mpsc::Sender<ExecFrame>) -> Ended {
        let copied = async {
            tokio::join!(
                copy(output.stdout, frames, ExecFrame::Stdout),
                copy(output.stderr, frames, ExecFrame::Stderr)
            );
        };
        tokio::pin!(copied);
        let mut copying = true;
        let report = loop {
            tokio::select! {
                report = process.ended() => break Ended::Itself(report),
                () = &mut copied, if copying => copying = false,
                () = frames.closed() => {
                    process.kill().await;
                    break Ended::Itself(timeout(END_LIMIT, process.ended()).await.ok().flatten());
                }
                () = self.caller.overtaken() => {
                    process.kill().await;
                    let _ = timeout(END_LIMIT, process.ended()).await;
                    break Ended::Overtaken;
                }
            }
        };
        if copying {
            // What was written before the end is still in the pipes; a slow caller may take its time for it.
            let _ = timeout(self.limit.max(END_LIMIT), copied).await;
        }
        report
    }
}

/// What became of a command.
enum Ended {
    /// It came to its end, or its caller went away; None: its sandbox was killed.
    Itself(Option<Report>),
    /// Its caller's place was taken.
    Overtaken,
}

/// The last frame where the command was not started: as a shell has it, where that is the command's fault.
async fn refused(error: StartError, frames: &mpsc::Sender<ExecFrame>) -> ExecFrame {
    let code = match &error {
        StartError::Missing(_) => MISSING,
        StartError::NotExecutable(_) => NOT_EXECUTABLE,
        StartError::Setup(_) | StartError::Sandbox(_) | StartError::Late => return ExecFrame::Error(error.to_string()),
    };
    let _ = frames.send(ExecFrame::Stderr(encode(format!("{error}\n").as_bytes()))).await;
    ExecFrame::Exit(code)
}

async fn copy(mut pipe: impl AsyncRead + Unpin, frames: &mpsc::Sender<ExecFrame>, frame: fn(String) -> ExecFrame) {
    let mut buffer = vec![0; PIECE_BYTES_MAX];
    while let Ok(count @ 1..) = pipe.read(&mut buffer).await {
        if frames.send(frame(encode(&buffer[..count]))).await.is_err() {
            return;
        }
    }
}

fn last_frame(report: &Report, limit: Duration) -> ExecFrame {
    match &report.ending {
        Ending::Exited { .. } | Ending::Signaled { .. } => ExecFrame::Exit(report.ending.exit_code()),
        Ending::TimedOut => ExecFrame::Error(format!("ended after its time limit of {} ms", limit.as_millis())),
        Ending::MemoryExhausted => ExecFrame::Error("ended at the node's memory limit".to_owned()),
        ending @ Ending::SetupFailed { .. } => ExecFrame::Error(ending.to_string()),
    }
}
