//! The calling side: a command to spawn, and the socket that steers it.

use std::{
    io::{ErrorKind, Read, Write},
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use crate::{
    Ending, Error, Event, Report, Request, SUBCOMMAND, Spec, Started,
    protocol::{line, take_line},
    setup::Setup,
};

/// The greatest specification, in encoded bytes: what a Unix socket is sure to buffer before anyone reads it.
const SPEC_BYTES_LIMIT: usize = 128 << 10;

/// The longest line that a supervisor sends.
const EVENT_BYTES_LIMIT: usize = 1 << 20;

/// The caller's end of the control socket. Dropping it ends the child's tree.
#[derive(Debug)]
pub struct Control {
    stream: UnixStream,
    received: Vec<u8>,
}

impl Spec {
    /// The command `PROGRAM __sandbox`, where `program` is an executable that calls
    /// [`main_if_requested`](crate::main_if_requested), and the socket that steers it. Set its standard output and error,
    /// spawn it, and drop the command: while it is alive the end of the child cannot be seen on the socket.
    ///
    /// The child's standard input is `/dev/null`; that of the supervisor is the socket.
    pub fn command(&self, program: &Path) -> Result<(Command, Control), Error> {
        self.check()?;
        let bytes = line(self)?;
        if bytes.len() > SPEC_BYTES_LIMIT {
            return Err(Error::TooLarge { bytes: bytes.len(), limit: SPEC_BYTES_LIMIT });
        }
        let (mut ours, theirs) =
            UnixStream::pair().map_err(|error| Error::system("cannot make a control socket", error))?;
        // Nobody reads yet: with a full buffer this must fail, not wait.
        ours.set_nonblocking(true)
            .and_then(|()| ours.write_all(&bytes))
            .and_then(|()| ours.set_nonblocking(false))
            .map_err(|error| Error::system("cannot send the sandbox specification", error))?;
        let mut command = Command::new(program);
        command.arg(SUBCOMMAND);
        if !self.label.is_empty() {
            command.args(["--", &self.label]);
        }
        // The supervisor's environment can be read by the user's other processes; it needs none.
        command.env_clear().stdin(Stdio::from(OwnedFd::from(theirs)));
        Ok((command, Control { stream: ours, received: Vec::new() }))
    }

    /// Runs the command to its end with inherited output, for callers that may block. At most `limit`, then its tree is
    /// killed and [`Error::Late`] is returned.
    pub fn run(&self, program: &Path, limit: Duration) -> Result<Report, Error> {
        let (mut command, mut control) = self.command(program)?;
        let mut child =
            command.spawn().map_err(|error| Error::system(format!("cannot start {}", program.display()), error))?;
        drop(command);
        let report = control.wait(limit);
        drop(control);
        child.wait().map_err(|error| Error::system("cannot await the sandbox", error))?;
        report
    }
}

impl Control {
    /// Asks for a graceful stop within `grace`, or within the specification's.
    pub fn stop(&self, grace: Option<Duration>) -> Result<(), Error> {
        self.send(&Request::Stop { grace })
    }

    /// Asks for the immediate end of the whole tree.
    pub fn kill(&self) -> Result<(), Error> {
        self.send(&Request::Kill)
    }

    /// Sends a signal to the command, or to its whole tree.
    pub fn signal(&self, signal: i32, whole_tree: bool) -> Result<(), Error> {
        self.send(&Request::Signal { signal, whole_tree })
    }

    fn send(&self, request: &Request) -> Result<(), Error> {
        match (&self.stream).write_all(&request.line()) {
            Ok(()) => Ok(()),
            Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {
                Err(Error::Vanished)
            }
            Err(error) => Err(Error::system("cannot write to the sandbox", error)),
        }
    }

    /// The next event, waiting at most `limit` for it.
    pub fn next_event(&mut self, limit: Duration) -> Result<Event, Error> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(line) = take_line(&mut self.received) {
                return Event::parse(&line);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Error::Late);
            }
            self.read_some(left)?;
        }
    }

    /// Waits at most `limit` until the command runs; its end where it never does or is quicker than that.
    pub fn started(&mut self, limit: Duration) -> Result<Result<Started, Report>, Error> {
        match self.next_event(limit)? {
            Event::Started(started) => Ok(Ok(started)),
            Event::Ended(report) => Ok(Err(report)),
        }
    }

    /// Waits at most `limit` for the end. [`Error::Vanished`] means that the supervisor was killed: find and end
    /// its tree by control group, uid or environment.
    pub fn wait(&mut self, limit: Duration) -> Result<Report, Error> {
        let deadline = Instant::now() + limit;
        loop {
            if let Event::Ended(report) = self.next_event(deadline.saturating_duration_since(Instant::now()))? {
                return Ok(report);
            }
        }
    }

    /// The socket itself, for an asynchronous caller: it writes [`Request::line`]s and gives the lines that it reads to
    /// [`Event::parse`]. End of file without an [`Event::Ended`] is what [`Error::Vanished`] is here.
    pub fn into_stream(self) -> UnixStream {
        self.stream
    }

    fn read_some(&mut self, limit: Duration) -> Result<(), Error> {
        let failed = |error| Error::system("cannot read from the sandbox", error);
        let mut chunk = [0; 4096];
        self.stream.set_read_timeout(Some(limit)).map_err(failed)?;
        match self.stream.read(&mut chunk) {
            Ok(0) => Err(Error::Vanished),
            Ok(_) if self.received.len() > EVENT_BYTES_LIMIT => Err(Error::Refused("an event without an end".into())),
            Ok(count) => {
                self.received.extend_from_slice(&chunk[..count]);
                Ok(())
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut => Err(Error::Late),
                ErrorKind::Interrupted => Ok(()),
                ErrorKind::ConnectionReset => Err(Error::Vanished),
                _ => Err(failed(error)),
            },
        }
    }
}

impl Report {
    /// The report of a command that was never started.
    pub(crate) fn setup_failed(setup: Setup) -> Self {
        let Setup { what, command_missing, not_executable } = setup;
        Self {
            ending: Ending::SetupFailed { what, command_missing, not_executable },
            requested: false,
            leftovers_ended: 0,
            survivors: Vec::new(),
            out_of_memory_kills: 0,
            process_limit_hits: 0,
        }
    }
}
