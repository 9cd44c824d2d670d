//! Our side of the child: starts it, bounds it, and says what became of it.

use super::{Context, Language, OUTPUT_MAX, RenderReply, RenderRequest, SOURCE_MAX};
use serde_json::Value;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

/// The argument that makes the program a renderer.
const SUBCOMMAND: &str = "__render";
/// The longest that a rendering takes. A template can wait for nothing, and a second of computing is all that it may have:
/// one that is not done by then was kept from it by others. With the time in the queue, a caller still awaits the answer.
const WALL_CLOCK: Duration = Duration::from_secs(15);
/// The signal that nobody survives, SIGKILL.
const KILL: i32 = 9;
/// How long after a rendering the next child is started: whoever asked goes on at once, and needs the processor.
const RESTOCK_PAUSE: Duration = Duration::from_millis(20);
/// The longest that a request waits for other renderings.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest reply: escapes make the document longer than its text.
const REPLY_MAX: u64 = 8 * OUTPUT_MAX as u64;
/// What is read of a child's complaint.
const COMPLAINT_MAX: u64 = 4096;

/// Why there is no document.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// The template is wrong, or does too much; in words for its author.
    #[error("{0}")]
    Template(String),
    /// Too many are rendered now, or too much else is done.
    #[error("the machine has no time for templates now")]
    Busy,
    /// The child could not be started or talked to.
    #[error("the program that renders templates does not work")]
    Child(#[source] std::io::Error),
}

/// Renders templates in children, each of which lives for one template.
#[derive(Debug)]
pub struct Renderer {
    permits: Arc<Semaphore>,
    children: Arc<Children>,
    /// Where children are talked to: callers' own runtimes may end before theirs.
    runtime: Handle,
}

/// Starts children, some of them ahead: that takes longer than most renderings.
#[derive(Debug)]
struct Children {
    program: PathBuf,
    /// Children that have given up everything but computing, and wait for their requests.
    spares: Mutex<Vec<Child>>,
    most: usize,
}

impl Renderer {
    /// A renderer that runs `program`, at most so many at a time, in the present runtime.
    pub fn new(program: PathBuf, concurrency: usize) -> Self {
        let most = concurrency.max(1);
        let children = Arc::new(Children { program, spares: Mutex::default(), most });
        Self { permits: Arc::new(Semaphore::new(most)), children, runtime: Handle::current() }
    }

    /// Parses a template.
    ///
    /// # Errors
    /// See [`RenderError`].
    pub async fn check(&self, source: &str, language: Language) -> Result<(), RenderError> {
        self.ask(RenderRequest { source: source.to_owned(), language, strict: false, context: None }).await.map(drop)
    }

    /// Renders a template; the document, and what may not have been meant.
    ///
    /// # Errors
    /// See [`RenderError`].
    pub async fn render(
        &self,
        source: &str,
        language: Language,
        strict: bool,
        context: Context,
    ) -> Result<(Value, Vec<String>), RenderError> {
        self.ask(RenderRequest { source: source.to_owned(), language, strict, context: Some(context) }).await
    }

    async fn ask(&self, request: RenderRequest) -> Result<(Value, Vec<String>), RenderError> {
        if request.source.len() > SOURCE_MAX {
            return Err(RenderError::Template(format!("a template has at most {SOURCE_MAX} bytes")));
        }
        let permit = tokio::time::timeout(QUEUE_TIMEOUT, Arc::clone(&self.permits).acquire_owned()).await;
        let permit = permit.ok().and_then(Result::ok).ok_or(RenderError::Busy)?;
        let bytes = serde_json::to_vec(&request).map_err(|error| RenderError::Child(error.into()))?;
        let children = Arc::clone(&self.children);
        let answered = self.runtime.spawn(async move {
            let _permit = permit;
            let answered = tokio::time::timeout(WALL_CLOCK, children.answer(&bytes)).await.ok().transpose();
            tokio::spawn(children.restock());
            answered
        });
        match answered.await {
            Ok(Ok(Some(answered))) => read(answered),
            Ok(Ok(None)) => Err(RenderError::Busy),
            Ok(Err(error)) => Err(RenderError::Child(error)),
            Err(error) => Err(RenderError::Child(error.into())),
        }
    }
}

impl Children {
    async fn answer(&self, request: &[u8]) -> std::io::Result<Answered> {
        match converse(self.take()?, request).await? {
            // Its own limits end a child by other signals: somebody else has killed it, perhaps while it waited.
            Answered::Nothing { status, .. } if status.signal() == Some(KILL) => converse(self.start()?, request).await,
            answered => Ok(answered),
        }
    }

    fn take(&self) -> std::io::Result<Child> {
        while let Some(mut child) = { self.spares().pop() } {
            if matches!(child.try_wait(), Ok(None)) {
                return Ok(child);
            }
        }
        self.start()
    }

    /// Starts another for the one that was taken, or was missing. Where that cannot be done, the next rendering tries, and
    /// tells.
    async fn restock(self: Arc<Self>) {
        tokio::time::sleep(RESTOCK_PAUSE).await;
        let started = tokio::task::spawn_blocking(move || {
            if self.spares().len() >= self.most {
                return;
            }
            let Ok(child) = self.start() else { return };
            let mut spares = self.spares();
            if spares.len() < self.most {
                spares.push(child);
            }
        });
        let _ = started.await;
    }

    fn start(&self) -> std::io::Result<Child> {
        Command::new(&self.program)
            .arg(SUBCOMMAND)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
    }

    fn spares(&self) -> MutexGuard<'_, Vec<Child>> {
        self.spares.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How a child has ended.
enum Answered {
    /// With a reply.
    Reply(Vec<u8>),
    /// Without.
    Nothing { status: ExitStatus, complaint: String },
}

/// Asks a child; one that is dropped is killed.
async fn converse(mut child: Child, request: &[u8]) -> std::io::Result<Answered> {
    let gone = || std::io::Error::other("the child has no pipes");
    let mut stdin = child.stdin.take().ok_or_else(gone)?;
    let mut stdout = BufReader::new(child.stdout.take().ok_or_else(gone)?.take(REPLY_MAX));
    let mut reply = Vec::new();
    let write = async {
        // A child that dies early does not read to the end; its status says why.
        let _ = stdin.write_all(request).await;
        drop(stdin);
    };
    let ((), read) = tokio::join!(write, stdout.read_until(b'\n', &mut reply));
    read?;
    if reply.last() == Some(&b'\n') {
        // Nobody waits for the end of a child that has said all.
        return Ok(Answered::Reply(reply));
    }
    let (mut stderr, mut complaint) = (child.stderr.take().ok_or_else(gone)?.take(COMPLAINT_MAX), Vec::new());
    stderr.read_to_end(&mut complaint).await?;
    let status = child.wait().await?;
    Ok(Answered::Nothing { status, complaint: String::from_utf8_lossy(&complaint).trim().to_owned() })
}

fn read(answered: Answered) -> Result<(Value, Vec<String>), RenderError> {
    let (status, complaint) = match answered {
        Answered::Reply(reply) => {
            return match serde_json::from_slice(&reply) {
                Ok(RenderReply::Rendered { document, warnings }) => Ok((document, warnings)),
                Ok(RenderReply::Refused(words)) => Err(RenderError::Template(words)),
                Err(error) => Err(RenderError::Child(error.into())),
            };
        }
        Answered::Nothing { status, complaint } => (status, complaint),
    };
    match status.signal() {
        None => return Err(RenderError::Child(std::io::Error::other(complaint))),
        Some(KILL) => return Err(RenderError::Busy),
        Some(_) => {}
    }
    let words = if complaint.contains("memory allocation") || complaint.contains("out of memory") {
        "it needs more memory than a template may have"
    } else if complaint.contains("stack") {
        "it is nested too deeply"
    } else {
        "it takes more time or memory than a template may have"
    };
    Err(RenderError::Template(words.to_owned()))
}
