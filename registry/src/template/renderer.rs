//! Our side of the child: starts it, bounds it, and says what became of it.

use super::{Context, Language, OUTPUT_MAX, RenderReply, RenderRequest, SOURCE_MAX};
use serde_json::Value;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::sync::Semaphore;

/// The argument that makes the program a renderer.
const SUBCOMMAND: &str = "__render";
/// The longest that a child lives.
const WALL_CLOCK: Duration = Duration::from_secs(3);
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
    /// Too many are rendered now.
    #[error("too many templates are being rendered")]
    Busy,
    /// The child could not be started or talked to.
    #[error("the program that renders templates does not work")]
    Child(#[source] std::io::Error),
}

/// Renders templates in children.
#[derive(Debug)]
pub struct Renderer {
    program: PathBuf,
    permits: Semaphore,
}

impl Renderer {
    /// A renderer that runs `program`, at most so many at a time.
    pub fn new(program: PathBuf, concurrency: usize) -> Self {
        Self { program, permits: Semaphore::new(concurrency.max(1)) }
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
        let permit = tokio::time::timeout(QUEUE_TIMEOUT, self.permits.acquire()).await;
        let _permit = permit.ok().and_then(Result::ok).ok_or(RenderError::Busy)?;
        let bytes = serde_json::to_vec(&request).map_err(|error| RenderError::Child(error.into()))?;
        let child = self.start().map_err(RenderError::Child)?;
        // A child that is dropped is killed.
        match tokio::time::timeout(WALL_CLOCK, converse(child, &bytes)).await {
            Ok(answered) => read(answered.map_err(RenderError::Child)?),
            Err(_) => Err(RenderError::Template(format!("it takes longer than {} s", WALL_CLOCK.as_secs()))),
        }
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
}

struct Answered {
    status: ExitStatus,
    reply: Vec<u8>,
    complaint: String,
}

async fn converse(mut child: Child, request: &[u8]) -> std::io::Result<Answered> {
    let gone = || std::io::Error::other("the child has no pipes");
    let mut stdin = child.stdin.take().ok_or_else(gone)?;
    let mut stdout = child.stdout.take().ok_or_else(gone)?.take(REPLY_MAX);
    let mut stderr = child.stderr.take().ok_or_else(gone)?.take(COMPLAINT_MAX);
    let (mut reply, mut complaint) = (Vec::new(), Vec::new());
    let write = async {
        // A child that dies early does not read to the end; its status says why.
        let _ = stdin.write_all(request).await;
        drop(stdin);
    };
    let ((), read, complained) =
        tokio::join!(write, stdout.read_to_end(&mut reply), stderr.read_to_end(&mut complaint));
    read.and(complained)?;
    let status = child.wait().await?;
    Ok(Answered { status, reply, complaint: String::from_utf8_lossy(&complaint).trim().to_owned() })
}

fn read(answered: Answered) -> Result<(Value, Vec<String>), RenderError> {
    if answered.status.success() {
        return match serde_json::from_slice(&answered.reply) {
            Ok(RenderReply::Rendered { document, warnings }) => Ok((document, warnings)),
            Ok(RenderReply::Refused(words)) => Err(RenderError::Template(words)),
            Err(error) => Err(RenderError::Child(error.into())),
        };
    }
    let complaint = answered.complaint;
    if answered.status.signal().is_none() {
        return Err(RenderError::Child(std::io::Error::other(complaint)));
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
