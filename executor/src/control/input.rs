//! A command's standard input: a file where it came whole, a pipe where it comes as a stream.

use super::frames::Frames;
use crate::environment::Surroundings;
use crate::folder::Confined;
use crate::node::Fixture;
use crate::runtime::Input as Sender;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::stat::Mode;
use nix::unistd::{Gid, Uid, chown, mkfifo};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::unix::pipe;

/// How often it is looked whether the command has opened its pipe, which it does at once.
const OPEN_PAUSE: Duration = Duration::from_millis(1);
/// What a pipe holds, in bytes: the most that a user may ask for where nothing else is set (pipe(7)).
const PIPE_BYTES: i32 = 1 << 20;

/// What a command reads.
pub(super) enum Input {
    /// Nothing.
    None,
    /// This.
    Whole(Vec<u8>),
    /// What is still to come.
    Frames(Frames),
}

/// A file that is removed when this is dropped.
pub(super) struct InputFile(Confined);

impl InputFile {
    pub(super) fn write(node: &Surroundings, bytes: &[u8]) -> Result<Self, String> {
        let path = node.folder.tmp().join(name());
        let place = node.folder.locate(&path.display().to_string()).map_err(|error| error.to_string())?;
        place.write(bytes, 0o600, node.owner).map_err(|error| error.to_string())?;
        Ok(Self(place))
    }

    pub(super) fn path(&self) -> PathBuf {
        self.0.path()
    }
}

impl Drop for InputFile {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(self.0.path()) {
            tracing::warn!(%error, "the input of a command stays");
        }
    }
}

/// A pipe in the file system, and what goes into it. Its name is removed when this is dropped.
pub(super) struct InputPipe {
    path: PathBuf,
    frames: Frames,
}

impl InputPipe {
    /// Makes it where the node's user can open it, and cannot put another one in its place.
    pub(super) fn make(node: &Surroundings, frames: Frames) -> Result<Self, String> {
        let path = node.folder.root.join(name());
        let failed = |error: Errno| format!("the command's input cannot be made: {error}");
        mkfifo(&path, Mode::from_bits_truncate(0o600)).map_err(failed)?;
        let pipe = Self { path, frames };
        if let Some(owner) = node.owner {
            let (uid, gid) = (Uid::from_raw(owner.uid), Gid::from_raw(owner.gid));
            chown(&pipe.path, Some(uid), Some(gid)).map_err(failed)?;
        }
        Ok(pipe)
    }

    pub(super) fn path(&self) -> PathBuf {
        self.path.clone()
    }

    /// Where to write once the command has opened it.
    async fn open(&self) -> io::Result<Sender> {
        let sender = open(&self.path).await?;
        // A pipe of the usual size does as well.
        let _ = fcntl(&sender, FcntlArg::F_SETPIPE_SZ(PIPE_BYTES));
        Ok(Box::pin(sender))
    }
}

/// How a command gets its input: by a name in the file system, or as a stream that the runtime takes.
pub(super) enum Feed {
    None,
    File(InputFile),
    Pipe(InputPipe),
    Bytes(Vec<u8>),
    Frames(Frames),
}

impl Feed {
    pub(super) fn of(input: Input, fixture: &Fixture) -> Result<Self, String> {
        let is_streamed = fixture.runtime.takes_input();
        Ok(match input {
            Input::None => Self::None,
            Input::Whole(bytes) if is_streamed => Self::Bytes(bytes),
            Input::Frames(frames) if is_streamed => Self::Frames(frames),
            Input::Whole(bytes) => Self::File(InputFile::write(&fixture.surroundings, &bytes)?),
            Input::Frames(frames) => Self::Pipe(InputPipe::make(&fixture.surroundings, frames)?),
        })
    }

    /// What the command is to open as its standard input.
    pub(super) fn path(&self) -> Option<PathBuf> {
        match self {
            Self::File(file) => Some(file.path()),
            Self::Pipe(pipe) => Some(pipe.path()),
            Self::None | Self::Bytes(_) | Self::Frames(_) => None,
        }
    }

    /// Whether the runtime is to take it.
    pub(super) fn is_streamed(&self) -> bool {
        matches!(self, Self::Bytes(_) | Self::Frames(_))
    }

    /// Passes the stream on until its end, or until the command wants no more of it. `sender` is the runtime's.
    ///
    /// # Errors
    /// Where the stream was broken off: the command must not take its part for the whole.
    pub(super) async fn feed(&mut self, sender: Option<Sender>) -> Result<(), Broken> {
        let failed = |error: io::Error| Broken { reason: error.to_string(), _open: None };
        match (self, sender) {
            (Self::Pipe(pipe), _) => {
                let sender = pipe.open().await.map_err(failed)?;
                pass(&mut pipe.frames, sender).await
            }
            (Self::Frames(frames), Some(sender)) => pass(frames, sender).await,
            (Self::Bytes(bytes), Some(mut sender)) => {
                // A command that reads no further wants no more.
                let _ = sender.write_all(bytes).await;
                let _ = sender.shutdown().await;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Takes the rest of the stream, of which nobody wants more: a caller that is cut off while it sends may lose the reply.
    pub(super) async fn drain(&mut self) {
        if let Self::Pipe(InputPipe { frames, .. }) | Self::Frames(frames) = self {
            while let Ok(Some(_)) = frames.input().await {}
        }
    }
}

async fn pass(frames: &mut Frames, mut sender: Sender) -> Result<(), Broken> {
    let reason = loop {
        match frames.input().await {
            Ok(None) => {
                let _ = sender.shutdown().await;
                return Ok(());
            }
            Err(failure) => break failure.detail(),
            Ok(Some(piece)) => match sender.write_all(&piece).await {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                Err(error) => break error.to_string(),
            },
        }
    };
    Err(Broken { reason, _open: Some(sender) })
}

/// A stream that was broken off. It stays open until this is dropped: its end would look like the stream's.
pub(super) struct Broken {
    pub(super) reason: String,
    _open: Option<Sender>,
}

impl Drop for InputPipe {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(%error, "the pipe of a command stays");
        }
    }
}

/// Opens the pipe for writing once the command has opened it for reading.
async fn open(path: &Path) -> io::Result<pipe::Sender> {
    loop {
        match pipe::OpenOptions::new().open_sender(path) {
            Err(error) if error.raw_os_error() == Some(Errno::ENXIO as i32) => tokio::time::sleep(OPEN_PAUSE).await,
            opened => return opened,
        }
    }
}

fn name() -> String {
    format!(".input-{}", uuid::Uuid::new_v4().simple())
}
