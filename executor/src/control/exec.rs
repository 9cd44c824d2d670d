//! `POST /v1/exec`: a command in the node's surroundings, its output as a stream of JSON lines; or, as frames, its input as a
//! stream of any length, too.

use super::answer::{Answer, Failure, respond, streamed};
use super::attempts::{Caller, OVERTAKEN};
use super::files::collect;
use super::frames::{self, Frames};
use super::input::{Broken, Feed, Input};
use crate::identity::{decode, encode};
use crate::node::{Fixture, Observation};
use crate::process::StartError;
use crate::runtime::{Commanded, Errand, Job, Output};
use bigdata_common::api::problem::ProblemCode;
use bigdata_common::frames::{Frame, MEDIA_TYPE, PIECE};
use bigdata_common::internal::{ExecFrame, ExecRequest};
use bigdata_sandbox::{Ending, Report};
use bytes::Bytes;
use futures_util::stream;
use hyper::body::Incoming;
use hyper::http::request::Parts;
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::{Instant, sleep, timeout};

/// Commands at a time of people, whose sessions may last, and as many of scripts, which shall not wait for these.
const EXECS_MAX: usize = 16;
/// The longest request that is no stream: standard input among it.
const REQUEST_BYTES_MAX: usize = 32 << 20;
/// How long the end of a command may take beyond its time limit.
const END_LIMIT: Duration = Duration::from_secs(15);
/// How long a workload may take to come back before a command that is to run beside it is refused.
const RETURN_LIMIT: Duration = Duration::from_mins(1);
/// What its caller is told then.
const STAYS_DOWN: &str =
    "the node's container does not run, and did not come back in time: `bigdata cluster nodes` tells the node's reason";
/// The pause before that is tried again.
const RETURN_PAUSE: Duration = Duration::from_millis(500);
/// How long a caller may still send once its command has ended.
const DRAIN_LIMIT: Duration = Duration::from_secs(10);
/// Pieces that may wait for a slow caller; the command waits beyond that.
const FRAMES_MAX: usize = 8;
/// The most of an output that one line holds.
const LINE_BYTES_MAX: usize = 8 << 10;

/// The exit codes of shells for a command that is not there, and for one that cannot be executed.
const MISSING: i32 = 127;
const NOT_EXECUTABLE: i32 = 126;

thread_local! {
    static NUMBER: Cell<u64> = const { Cell::new(0) };
}

/// Places for commands.
pub(super) struct Execs {
    people: Arc<Semaphore>,
    scripts: Arc<Semaphore>,
}

impl Execs {
    pub(super) fn new() -> Self {
        let places = || Arc::new(Semaphore::new(EXECS_MAX));
        Self { people: places(), scripts: places() }
    }

    fn admit(&self, caller: &Caller) -> Result<OwnedSemaphorePermit, Failure> {
        let (places, whose) = if caller.is_script() { (&self.scripts, "scripts") } else { (&self.people, "people") };
        let too_many = || {
            let detail =
                format!("{EXECS_MAX} commands of {whose} run in this node already; try again when one has ended");
            Failure::new(ProblemCode::TooManyRequests, detail)
        };
        Arc::clone(places).try_acquire_owned().map_err(|_| too_many())
    }
}

/// Runs the command; the reply begins at once.
pub(super) async fn exec(
    fixture: &Rc<Fixture>,
    observed: watch::Receiver<Observation>,
    execs: &Execs,
    caller: Caller,
    head: &Parts,
    body: &mut Option<Incoming>,
) -> Answer {
    let permit = execs.admit(&caller)?;
    let is_framed = frames::are_in(head);
    let (request, input) = if is_framed { framed(body).await? } else { plain(body).await? };
    if request.command.first().is_none_or(String::is_empty) {
        return Err(Failure::new(ProblemCode::InvalidField, "command: a program is wanted"));
    }
    let number = NUMBER.replace(NUMBER.get() + 1);
    let run = Run::new(fixture, request, input, number, caller)?;
    let (frames, receiver) = mpsc::channel(FRAMES_MAX);
    let piece = if is_framed { PIECE } else { LINE_BYTES_MAX };
    tokio::task::spawn_local(run.run(Rc::clone(fixture), observed, Sink { frames, piece }, permit));
    let pieces = stream::unfold(receiver, move |mut receiver| async move {
        let frame: Frame = receiver.recv().await?;
        Some((if is_framed { frame.encode().into() } else { line(frame)? }, receiver))
    });
    Ok(respond(200, if is_framed { MEDIA_TYPE } else { "application/jsonl" }, streamed(pieces)))
}

/// A request that is whole, with its input.
async fn plain(body: &mut Option<Incoming>) -> Result<(ExecRequest, Input), Failure> {
    let malformed = |detail: String| Failure::new(ProblemCode::MalformedBody, detail);
    let body = collect(body, REQUEST_BYTES_MAX).await?;
    let request: ExecRequest = serde_json::from_slice(&body).map_err(|error| malformed(error.to_string()))?;
    let input =
        request.stdin.as_deref().map(decode).transpose().map_err(|error| malformed(format!("stdin: {error}")))?;
    Ok((request, input.map_or(Input::None, Input::Whole)))
}

/// The request at the head of a stream, and the stream.
async fn framed(body: &mut Option<Incoming>) -> Result<(ExecRequest, Input), Failure> {
    let malformed = |detail: String| Failure::new(ProblemCode::MalformedBody, detail);
    let mut frames = Frames::of(body.take().ok_or_else(|| Failure::internal("the body is read already"))?);
    let Frame::Request(request) = frames.next().await? else {
        return Err(malformed("the first frame is the request".to_owned()));
    };
    let request = serde_json::from_slice(&request).map_err(|error| malformed(error.to_string()))?;
    Ok((request, if frames.is_at_end() { Input::None } else { Input::Frames(frames) }))
}

/// A frame as a line of JSON; None: the caller's form has none for it.
fn line(frame: Frame) -> Option<Bytes> {
    let frame = match frame {
        Frame::Stdout(piece) => ExecFrame::Stdout(encode(&piece)),
        Frame::Stderr(piece) => ExecFrame::Stderr(encode(&piece)),
        Frame::Exit(code) => ExecFrame::Exit(code),
        Frame::Error(reason) => ExecFrame::Error(reason),
        Frame::Request(_) | Frame::Input(_) | Frame::End => return None,
    };
    let mut line = serde_json::to_vec(&frame).ok()?;
    line.push(b'\n');
    Some(line.into())
}

/// Where the output goes, and how much of it at a time.
struct Sink {
    frames: mpsc::Sender<Frame>,
    piece: usize,
}

struct Run {
    arguments: Vec<String>,
    group: String,
    limit: Duration,
    caller: Caller,
    feed: Feed,
}

impl Run {
    fn new(
        fixture: &Fixture,
        request: ExecRequest,
        input: Input,
        number: u64,
        caller: Caller,
    ) -> Result<Self, Failure> {
        let limit = request.limit().map_err(|detail| Failure::new(ProblemCode::InvalidField, detail))?;
        let mut arguments = request.command;
        let feed = Feed::of(input, fixture).map_err(Failure::internal)?;
        if let Some(path) = feed.path() {
            // A sandbox gives its command an empty standard input: the shell puts this in its place.
            let shell = ["/bin/sh", "-c", "exec \"$@\" < \"$0\"", &path.display().to_string()].map(str::to_owned);
            arguments.splice(0..0, shell);
        }
        Ok(Self { arguments, group: format!("exec-{number}"), limit, caller, feed })
    }

    async fn run(
        mut self,
        fixture: Rc<Fixture>,
        observed: watch::Receiver<Observation>,
        sink: Sink,
        permit: OwnedSemaphorePermit,
    ) {
        let last = match self.begin(&fixture, observed, &sink).await {
            Err(error) => self::refused(error, &sink.frames).await,
            Ok((mut job, output)) => match self.attend(&mut *job, output, &sink).await {
                Ended::Overtaken => Frame::Error(format!("ended: {OVERTAKEN}")),
                Ended::InputBroken(broken) => {
                    Frame::Error(format!("ended, since its input is not whole: {}", broken.reason))
                }
                Ended::Itself(Some(report)) => last_frame(&report, self.limit),
                Ended::Itself(None) => Frame::Error("the command's sandbox was killed".to_owned()),
            },
        };
        // The caller may be gone; then nobody waits for this.
        let _ = sink.frames.send(last).await;
        // The reply is complete with this.
        drop((sink, permit));
        let _ = timeout(DRAIN_LIMIT, self.feed.drain()).await;
    }

    /// Starts the command. A workload that is just coming back is waited for, within the command's own time: what stands in for
    /// it has other files.
    async fn begin(&mut self, fixture: &Fixture, observed: watch::Receiver<Observation>, sink: &Sink) -> Commanded {
        let (begun, limit) = (Instant::now(), self.limit);
        loop {
            let errand = Errand {
                arguments: self.arguments.clone(),
                group: self.group.clone(),
                limit: limit.saturating_sub(begun.elapsed()).max(RETURN_PAUSE),
                reads: self.feed.is_streamed(),
                beside_workload: observed.borrow().is_wanted,
            };
            match fixture.runtime.command(&fixture.surroundings, errand).await {
                Err(StartError::Down) if begun.elapsed() < limit.min(RETURN_LIMIT) => tokio::select! {
                    () = sleep(RETURN_PAUSE) => {}
                    () = sink.frames.closed() => return Err(StartError::Down),
                    () = self.caller.overtaken() => return Err(StartError::Setup(OVERTAKEN.to_owned())),
                },
                Err(StartError::Down) => return Err(StartError::Setup(STAYS_DOWN.to_owned())),
                commanded => return commanded,
            }
        }
    }

    /// Passes input and output on until the command's end, which comes at once when the caller goes away.
    async fn attend(&mut self, job: &mut dyn Job, output: Output, sink: &Sink) -> Ended {
        let copied = async {
            tokio::join!(copy(output.stdout, sink, Frame::Stdout), copy(output.stderr, sink, Frame::Stderr));
        };
        let feeding = self.feed.feed(job.input());
        tokio::pin!(copied, feeding);
        let (mut is_copying, mut is_feeding) = (true, true);
        let ended = loop {
            let ended = tokio::select! {
                report = job.ended() => break Ended::Itself(report),
                () = &mut copied, if is_copying => {
                    is_copying = false;
                    continue;
                }
                fed = &mut feeding, if is_feeding => {
                    is_feeding = false;
                    let Err(broken) = fed else { continue };
                    Ended::InputBroken(broken)
                }
                () = sink.frames.closed() => Ended::Itself(None),
                () = self.caller.overtaken() => Ended::Overtaken,
            };
            job.kill().await;
            let report = timeout(END_LIMIT, job.ended()).await.ok().flatten();
            break match ended {
                Ended::Itself(_) => Ended::Itself(report),
                other => other,
            };
        };
        if is_copying {
            // What was written before the end is still in the pipes; a slow caller may take its time for it.
            let _ = timeout(self.limit.max(END_LIMIT), copied).await;
        }
        ended
    }
}

/// What became of a command.
enum Ended {
    /// It came to its end, or its caller went away; None: its sandbox was killed.
    Itself(Option<Report>),
    /// Its caller's place was taken.
    Overtaken,
    /// Its input did not come to its end.
    InputBroken(Broken),
}

/// The last frame where the command was not started: as a shell has it, where that is the command's fault.
async fn refused(error: StartError, frames: &mpsc::Sender<Frame>) -> Frame {
    let code = match &error {
        StartError::Missing(_) => MISSING,
        StartError::NotExecutable(_) => NOT_EXECUTABLE,
        StartError::Setup(_) | StartError::Down | StartError::Sandbox(_) | StartError::Late => {
            return Frame::Error(error.to_string());
        }
    };
    let _ = frames.send(Frame::Stderr(format!("{error}\n").into_bytes())).await;
    Frame::Exit(code)
}

async fn copy(mut pipe: impl AsyncRead + Unpin, sink: &Sink, frame: fn(Vec<u8>) -> Frame) {
    let mut buffer = vec![0; sink.piece];
    while let Ok(count @ 1..) = pipe.read(&mut buffer).await {
        if sink.frames.send(frame(buffer[..count].to_vec())).await.is_err() {
            return;
        }
    }
}

fn last_frame(report: &Report, limit: Duration) -> Frame {
    match &report.ending {
        Ending::Exited { .. } | Ending::Signaled { .. } => Frame::Exit(report.ending.exit_code()),
        Ending::TimedOut => Frame::Error(format!("ended after its time limit of {} ms", limit.as_millis())),
        Ending::MemoryExhausted => Frame::Error("ended at the node's memory limit".to_owned()),
        ending @ Ending::SetupFailed { .. } => Frame::Error(ending.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::attempts::Attempts;
    use bigdata_common::internal::RUN_ATTEMPT_HEADER;
    use hyper::HeaderMap;

    #[test]
    fn people_take_no_places_of_scripts() {
        let root = tempfile::tempdir().unwrap();
        let attempts = Attempts::load(root.path()).unwrap();
        let person = attempts.admit(&HeaderMap::new()).ok().unwrap();
        let value = format!("{}.1", uuid::Uuid::from_u128(1)).parse().unwrap();
        let headers = HeaderMap::from_iter([(RUN_ATTEMPT_HEADER.parse().unwrap(), value)]);
        let script = attempts.admit(&headers).ok().unwrap();
        let execs = Execs::new();
        let sessions: Vec<_> = (0..EXECS_MAX).map(|_| execs.admit(&person).ok().unwrap()).collect();
        let refused = execs.admit(&person).unwrap_err().detail();
        assert!(refused.contains("16 commands of people"), "{refused}");
        assert!(execs.admit(&script).is_ok());
        drop(sessions);
        assert!(execs.admit(&person).is_ok());
    }
}
