//! A script's process: started through the sandbox, read, and ended with its whole tree.

use super::lines::{LastLine, LineSplitter, shortened};
use super::log::Log;
use bigdata_sandbox::{Event, Mask, Report, Request, Spec};
use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::{ChildStderr, ChildStdout, Command};

/// Bytes read at a time.
const PIECE: usize = 64 << 10;
/// What is kept of a line beyond its limit, so that a secret is known even where the line is cut.
const BEYOND_LIMIT: usize = 8 << 10;
/// The pause after each piece once output is dropped: a flood must not keep a processor busy.
const DROPPING_PAUSE: Duration = Duration::from_millis(2);

/// A script that runs. Dropping it ends its tree.
pub(crate) struct Child {
    process: tokio::process::Child,
    events: Lines<BufReader<OwnedReadHalf>>,
    requests: OwnedWriteHalf,
    /// What it writes, to be read by [`read`].
    pub(crate) stdout: ChildStdout,
    /// What it writes, to be read by [`read`].
    pub(crate) stderr: ChildStderr,
}

impl Child {
    /// Starts a script.
    pub(crate) fn start(spec: &Spec, program: &Path) -> io::Result<Self> {
        let (command, control) = spec.command(program).map_err(io::Error::other)?;
        // Not killed on drop: the supervisor ends the tree when its socket closes, and must live for that.
        let mut command = Command::from(command);
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        // The command holds the other end of the socket.
        drop(command);
        let stream = control.into_stream();
        stream.set_nonblocking(true)?;
        let (events, requests) = UnixStream::from_std(stream)?.into_split();
        let missing = || io::Error::other("a pipe is missing");
        let stdout = process.stdout.take().ok_or_else(missing)?;
        let stderr = process.stderr.take().ok_or_else(missing)?;
        Ok(Self { process, events: BufReader::new(events).lines(), requests, stdout, stderr })
    }

    /// The supervisor's process id.
    pub(crate) fn id(&self) -> Option<u32> {
        self.process.id()
    }

    /// Ends the whole tree at once; [`Ending::ended`] tells when it is gone.
    pub(crate) fn split(self) -> (Ending, ChildStdout, ChildStderr) {
        let Self { process, events, requests, stdout, stderr } = self;
        (Ending { process, events, requests }, stdout, stderr)
    }
}

/// A script's end.
pub(crate) struct Ending {
    process: tokio::process::Child,
    events: Lines<BufReader<OwnedReadHalf>>,
    requests: OwnedWriteHalf,
}

impl Ending {
    /// The report on the end, once the whole tree is gone; None where the supervisor ended without one. Cancel-safe.
    pub(crate) async fn ended(&mut self) -> Option<Report> {
        while let Ok(Some(line)) = self.events.next_line().await {
            match Event::parse(line.as_bytes()) {
                Ok(Event::Ended(report)) => return Some(report),
                Ok(Event::Started(started)) if !started.not_applied.is_empty() => {
                    tracing::debug!(not_applied = started.not_applied.join("; "), "a script runs with fewer bounds");
                }
                Ok(Event::Started(_)) => {}
                Err(error) => tracing::warn!(%error, "a sandbox said something that is not understood"),
            }
        }
        None
    }

    /// Asks for the end of the whole tree, at once.
    pub(crate) async fn kill(&mut self) {
        // A supervisor that cannot be asked has ended, or ends since its socket is closed.
        let _ = self.requests.write_all(&Request::Kill.line()).await;
    }

    /// Says that this process still answers for the tree: its sandbox ends it when that is not said again in time, as
    /// when this process is stopped.
    pub(crate) async fn keep_alive(&mut self, limit: Duration) {
        let _ = self.requests.write_all(&Request::KeepAlive { limit }.line()).await;
    }

    /// Collects the supervisor, which has nothing left to do.
    pub(crate) async fn collect(mut self, limit: Duration) {
        drop((self.events, self.requests));
        let _ = tokio::time::timeout(limit, self.process.wait()).await;
    }
}

/// Reads a script's output to its end into the log; the last line that says something.
pub(crate) async fn read(
    mut output: impl AsyncRead + Unpin,
    stream: &'static str,
    line_bytes: usize,
    mask: &Mask,
    log: &Log,
) -> Option<String> {
    let mut splitter = LineSplitter::new(line_bytes + BEYOND_LIMIT);
    let mut piece = vec![0; PIECE];
    let mut last_line = LastLine::default();
    loop {
        // An error is an end, too: nobody writes there any more.
        let count = output.read(&mut piece).await.unwrap_or(0);
        let mut lines = splitter.push(&piece[..count]);
        if count == 0 {
            lines.extend(splitter.finish());
        }
        let mut dropping = false;
        for line in lines {
            let masked = if line.is_cut { mask.cut_text(&line.text) } else { mask.text(&line.text) };
            let text = shortened(&masked, line_bytes);
            last_line.see(text);
            dropping |= !log.script_line(stream, text.to_owned()).await;
        }
        if count == 0 {
            return last_line.into_text();
        }
        if dropping {
            tokio::time::sleep(DROPPING_PAUSE).await;
        }
    }
}
