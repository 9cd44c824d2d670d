//! What runs a node's workload and the commands beside it, behind one trait: processes of this machine
//! ([`crate::node::workload`]), or a container ([`crate::container`]).

use crate::container::{ArchiveError, Contained};
use crate::environment::Surroundings;
use crate::node::{Fixture, Processes};
use crate::process::StartError;
use bigdata_sandbox::Report;
use futures_util::future::LocalBoxFuture;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;

/// A command that runs and its output, or why it does not.
pub type Commanded = Result<(Box<dyn Job>, Output), StartError>;
/// What a command reads as its standard input.
pub type Input = Pin<Box<dyn AsyncWrite>>;

/// Runs one node's workload, and commands in its surroundings.
pub trait Runtime {
    /// Does what may take long before the workload can start, and tells how far it is. It may be given up at any point.
    ///
    /// # Errors
    /// Why the workload cannot be started, for people.
    fn prepare<'a>(
        &'a self,
        fixture: &'a Fixture,
        progress: &'a watch::Sender<Option<String>>,
    ) -> LocalBoxFuture<'a, Result<(), String>>;

    /// Fills in late values, writes the node's files and starts its workload; or goes on with the one that a former
    /// executor of the attempt has left running.
    ///
    /// # Errors
    /// Why it cannot be started, for people.
    fn start<'a>(&'a self, fixture: &'a Rc<Fixture>) -> LocalBoxFuture<'a, Result<Box<dyn Workload>, String>>;

    /// Starts a command in the node's surroundings.
    ///
    /// # Errors
    /// When it does not come to run, and why.
    fn command<'a>(&'a self, node: &'a Surroundings, errand: Errand) -> LocalBoxFuture<'a, Commanded>;

    /// Begins to read a file that is none of the node's folder: [`crate::folder::Folder::locate`] knows nothing of it.
    fn get<'a>(&'a self, node: &'a Surroundings, path: &'a str) -> LocalBoxFuture<'a, Result<Contained, ArchiveError>>;

    /// Writes such a file from one of this machine.
    fn put<'a>(
        &'a self,
        node: &'a Surroundings,
        path: &'a str,
        mode: u32,
        source: &'a Path,
    ) -> LocalBoxFuture<'a, Result<(), ArchiveError>>;

    /// Whether [`Job::input`] takes what a command is to read. Where not, its argument list is to name a file.
    fn takes_input(&self) -> bool;

    /// Connects to a port of the node's address, as its checks do.
    fn connect<'a>(&'a self, node: &'a Surroundings, port: u16) -> LocalBoxFuture<'a, io::Result<TcpStream>> {
        Box::pin(connect_from_here(node, port))
    }

    /// What a restarted executor does first: whether the attempt's workload runs still, to be gone on with.
    fn resume<'a>(&'a self, fixture: &'a Fixture) -> LocalBoxFuture<'a, bool>;

    /// Ends and removes whatever is left of the attempt, and lets nothing more come into being: nothing is told of an end
    /// before nothing is left. Tells what this waits for, in words, where it takes long.
    ///
    /// # Errors
    /// In words, when something is left.
    fn clear<'a>(
        &'a self,
        fixture: &'a Fixture,
        told: &'a watch::Sender<Option<String>>,
    ) -> LocalBoxFuture<'a, Result<(), String>>;
}

/// Connects to a port of the node's address from this machine.
pub(crate) async fn connect_from_here(node: &Surroundings, port: u16) -> io::Result<TcpStream> {
    TcpStream::connect((node.node.address.as_str(), port)).await
}

/// A workload that runs.
pub trait Workload {
    /// Where its processes are found.
    fn processes(&self) -> Processes;

    /// Asks for a graceful end within `grace`; what is left then is killed.
    fn stop(&mut self, grace: Duration) -> LocalBoxFuture<'_, ()>;

    /// Waits until nothing of the workload runs.
    ///
    /// Dropping the future and calling again is harmless.
    fn ended(&mut self) -> LocalBoxFuture<'_, Exit>;
}

/// How a workload ended.
pub struct Exit {
    /// In words for people.
    pub words: String,
    /// The last lines that it wrote.
    pub last_lines: Vec<String>,
    /// What of it is left nevertheless, in words: nothing else may take its place.
    pub left: Option<String>,
}

/// A command to be run beside the workload.
pub struct Errand {
    /// Program and arguments.
    pub arguments: Vec<String>,
    /// Tells it from its siblings.
    pub group: String,
    /// It is ended after this time.
    pub limit: Duration,
    /// Whether it reads what [`Job::input`] takes.
    pub reads: bool,
    /// Whether it is of no use where the workload does not run. A process has the node's folder and disks all the same, but
    /// what a container wrote into its own file system is in no other one.
    pub beside_workload: bool,
}

/// A command that runs. Dropping it ends it.
pub trait Job {
    /// Where its input goes, once; dropping that is the input's end.
    fn input(&mut self) -> Option<Input>;

    /// Waits for its end. None: what watched it was lost.
    ///
    /// Dropping the future and calling again is harmless.
    fn ended(&mut self) -> LocalBoxFuture<'_, Option<Report>>;

    /// Asks for its end at once.
    fn kill(&mut self) -> LocalBoxFuture<'_, ()>;
}

/// A command's or workload's output, until somebody reads it.
pub struct Output {
    /// Standard output.
    pub stdout: Box<dyn AsyncRead + Unpin>,
    /// Standard error.
    pub stderr: Box<dyn AsyncRead + Unpin>,
}
