//! A door before the engine's socket, at which requests are held up or turned away for as long as a test wants.

use crate::engine::Engine;
use crate::harness::DEADLINE;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// What becomes of a request that a test means, while the door is closed.
#[derive(Clone, Copy)]
pub(crate) enum Closed {
    /// The engine gets it when the door is opened, even if whoever asked has gone.
    Waits,
    /// The engine never gets it: it is answered in its place.
    Refused,
}

/// What Podman and Docker answer while they have begun to remove a container otherwise.
const REFUSAL: &[u8] = b"HTTP/1.1 409 Conflict\r\nContent-Type: application/json\r\nContent-Length: 45\r\n\r\n\
{\"message\":\"removal is already in progress\"} ";
/// The longest piece that is passed on at once: the head of a request is in its first one.
const PIECE_BYTES: usize = 64 << 10;

/// Stands before the engine until it is dropped.
pub(crate) struct Door {
    /// Where an executor finds the engine behind it.
    pub(crate) socket: PathBuf,
    is_open: watch::Sender<bool>,
    came: watch::Sender<usize>,
    cuts: watch::Sender<()>,
    _folder: TempDir,
    _passages: JoinSet<()>,
}

struct Keeper {
    means: fn(&str) -> bool,
    closed: Closed,
    is_open: watch::Receiver<bool>,
    came: watch::Sender<usize>,
    cuts: watch::Receiver<()>,
}

impl Door {
    /// A closed door; `means` looks at a request's first line.
    pub(crate) fn new(engine: &Engine, closed: Closed, means: fn(&str) -> bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("engine.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let (is_open, came, cuts) = (watch::Sender::new(false), watch::Sender::new(0), watch::Sender::new(()));
        let (opened, cut) = (is_open.subscribe(), cuts.subscribe());
        let keeper = Arc::new(Keeper { means, closed, is_open: opened, came: came.clone(), cuts: cut });
        let behind = engine.socket.clone();
        let mut passages = JoinSet::new();
        passages.spawn(async move {
            let mut passing = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                passing.spawn(pass(client, behind.clone(), Arc::clone(&keeper)));
            }
        });
        Self { socket, is_open, came, cuts, _folder: folder, _passages: passages }
    }

    /// Waits until a request that is meant has come.
    pub(crate) async fn has_come(&self) {
        let mut came = self.came.subscribe();
        timeout(DEADLINE, came.wait_for(|count| *count > 0)).await.expect("no such request comes").unwrap();
    }

    pub(crate) fn open(&self) {
        self.is_open.send_replace(true);
    }

    /// Breaks off what is under way, as an engine does that is started again.
    pub(crate) fn cut(&self) {
        self.cuts.send_replace(());
    }

    pub(crate) fn close(&self) {
        self.is_open.send_replace(false);
    }
}

async fn pass(client: UnixStream, engine: impl AsRef<Path>, keeper: Arc<Keeper>) {
    let (requests, answers) = client.into_split();
    let (from_engine, to_engine) = UnixStream::connect(engine).await.unwrap().into_split();
    let answers = Mutex::new(answers);
    let mut cuts = keeper.cuts.clone();
    cuts.mark_unchanged();
    tokio::select! {
        _ = cuts.changed() => {}
        () = ask(requests, to_engine, &answers, &keeper) => {}
        () = answer(from_engine, &answers) => {}
    }
}

async fn ask(
    mut requests: OwnedReadHalf,
    mut engine: OwnedWriteHalf,
    answers: &Mutex<OwnedWriteHalf>,
    keeper: &Keeper,
) {
    let mut piece = vec![0; PIECE_BYTES];
    while let Ok(length @ 1..) = requests.read(&mut piece).await {
        let first = piece[..length].split(|byte| *byte == b'\r').next().unwrap_or_default();
        let is_open = *keeper.is_open.borrow();
        if !is_open && (keeper.means)(&String::from_utf8_lossy(first)) {
            keeper.came.send_modify(|count| *count += 1);
            match keeper.closed {
                Closed::Waits => drop(keeper.is_open.clone().wait_for(|is_open| *is_open).await),
                Closed::Refused => {
                    let _ = answers.lock().await.write_all(REFUSAL).await;
                    continue;
                }
            }
        }
        if engine.write_all(&piece[..length]).await.is_err() {
            return;
        }
    }
    // An engine that has begun does not stop because whoever asked has gone.
    std::future::pending::<()>().await;
}

async fn answer(mut engine: OwnedReadHalf, answers: &Mutex<OwnedWriteHalf>) {
    let mut piece = vec![0; PIECE_BYTES];
    while let Ok(length @ 1..) = engine.read(&mut piece).await {
        // Whoever asked may have gone.
        let _ = answers.lock().await.write_all(&piece[..length]).await;
    }
}
