//! Nodes that are containers of this machine's engine.
//!
//! A container outlives its executor: it is found again by its labels. What stays of attempts whose executor is gone is
//! removed by the node's next attempt, and by any executor of the same registry that starts on the machine. While its
//! executor lives, an attempt's end is told when the engine lists none of its containers any longer.

mod archive;
mod bridge;
mod clearing;
mod command;
mod create;
mod credentials;
mod ending;
mod engine;
mod found;
mod image;
mod inside;
mod leftovers;
mod memory;
mod networks;
mod output;
mod provide;
mod raw;
mod stand_in;
mod workload;

pub use archive::{ArchiveError, Contained};
pub use engine::{Engine, Settings};

use crate::environment::Surroundings;
use crate::folder::{Owner, View};
use crate::node::Fixture;
use crate::process::StartError;
use crate::runtime::{Commanded, Errand, Job, Runtime, Workload, connect_from_here};
use bigdata_common::blueprint::Node;
use bigdata_common::container_options::ContainerOptions;
use bigdata_common::internal::NodeSpecification;
use clearing::{Makings, REMOVAL_LIMIT, remove_all};
use command::ContainerCommand;
use create::{ATTEMPT, WORK, connection, name};
use found::{inspect, registry_label};
use futures_util::future::LocalBoxFuture;
use inside::Inside;
use leftovers::Among;
use networks::Connection;
use nix::fcntl::Flock;
use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, sleep, timeout};
use workload::{ContainerWorkload, ENGINE_PAUSE};

/// How long an engine may take to answer: a machine that is busy starts its service slowly.
const PATIENCE: Duration = Duration::from_secs(30);

/// Removes the containers of nodes whose executors worked below this folder and are gone.
pub async fn remove_orphans_below(engine: &Engine, folder: PathBuf) {
    leftovers::try_remove_orphans(engine.clone(), Among::Below(folder)).await;
}

/// Removes the containers of nodes whose executors are gone from this machine's engine, and the networks that nobody uses.
///
/// # Errors
/// In words, when no engine answers, or what else could not be done, and what to do.
pub async fn remove_orphans(settings: &Settings) -> Result<(), String> {
    leftovers::remove_orphans(&Engine::find(settings, PATIENCE).await?, &Among::All).await
}

/// Runs a node's workload as a container.
pub struct Containers {
    engine: Engine,
    settings: Settings,
    /// Which registry the cluster is of.
    registry: String,
    /// Held while a stand-in is looked for or made.
    standing_in: Arc<Mutex<()>>,
    /// What the node's end waits for.
    makings: Makings,
    /// The network of the container that runs, where it has one of its own.
    inside: RefCell<Option<Rc<Inside>>>,
    _lives: Flock<File>,
}

/// Whether a node is to be a container where the operator has said this: one with interfaces is nothing else.
pub fn is_wanted(node: &NodeSpecification, settings: &Settings) -> bool {
    let blueprint = &node.blueprint;
    let is_first = settings.is_first && settings.has_engine();
    let is_container = blueprint.command.is_none() || is_first || !node.interfaces.is_empty();
    blueprint.docker_image.is_some() && is_container
}

/// Whether a container node's ports are published at its address, which is none of the container's.
pub(crate) fn is_published(node: &Surroundings) -> bool {
    matches!(connection(node, ""), Ok(Connection::Cluster(_)))
}

/// Who owns a container node's folder and disks where its `docker_opts` name the user by numbers, `-u UID:GID`. An image has
/// users of its own else.
pub fn owner(node: &Node) -> Option<Owner> {
    let options = ContainerOptions::parse(node.docker_opts.as_deref()?, &node.container_rights).ok()?;
    let (uid, gid) = options.user.as_deref()?.split_once(':')?;
    Some(Owner { uid: uid.parse().ok()?, gid: gid.parse().ok()? }).filter(|owner| owner.uid != 0)
}

/// How a container sees its node's folder.
pub fn view(node: &Node) -> View {
    let disks = node.disks.iter().map(|(name, disk)| (name.clone(), PathBuf::from(&disk.destination)));
    View { work: WORK.into(), disks: disks.collect() }
}

impl Containers {
    /// The runtime of the node with this folder.
    ///
    /// # Errors
    /// In words, when no engine answers or another executor has the folder.
    pub async fn new(settings: Settings, registry: String, folder: &Path) -> Result<Self, String> {
        let engine = engine(&settings).await?;
        let lives = leftovers::hold(folder).await.map_err(|error| format!("the executor's lock: {error}"))?;
        // Nobody waits for it.
        tokio::task::spawn_local(leftovers::try_remove_orphans(engine.clone(), Among::Registry(registry.clone())));
        let (standing_in, makings, inside) = (Arc::default(), Makings::default(), RefCell::default());
        Ok(Self { engine, settings, registry, standing_in, makings, inside, _lives: lives })
    }

    /// Notes where the addresses of a container that was started are reached.
    fn look_inside(&self, connection: &Connection, pid: Option<i32>) {
        let pid = pid.filter(|_| matches!(connection, Connection::Own(_)));
        let inside = pid.and_then(|pid| {
            let opened = Inside::of(pid);
            opened.inspect_err(|error| tracing::warn!(%error, "the container's network cannot be looked into")).ok()
        });
        self.inside.replace(inside.map(Rc::new));
    }

    /// Makes sure that the engine has the node's image.
    async fn provide_image(
        &self,
        node: &Surroundings,
        image: &str,
        progress: &watch::Sender<Option<String>>,
    ) -> Result<(), String> {
        let credentials = credentials::find(node, image, self.settings.registry_auth.as_deref())?;
        image::provide(&self.engine, image, self.settings.images.as_deref(), credentials.as_ref(), progress).await
    }

    /// What bounds the workload, in words.
    pub fn isolation(&self) -> String {
        format!("container ({})", self.engine.name)
    }

    /// Fills in late values and writes the template's files: those below the node's folder or a disk where these are, all
    /// others into the container.
    async fn write_files(&self, node: &Surroundings, container: &str) -> Result<(), String> {
        let values = node.values();
        for (path, file) in &node.node.blueprint.files {
            let fault = |error: &dyn std::fmt::Display| format!("the file {path:?}: {error}");
            let path = values.fill(path).map_err(|error| fault(&error))?;
            let content = values.fill(&file.content).map_err(|error| fault(&error))?;
            match node.folder.locate(&path) {
                Ok(place) => place.write(content.as_bytes(), file.mode, node.owner).map_err(|error| fault(&error))?,
                Err(_) if is_inside(&path) => {
                    let (spool, _) = Spool::write(node, content.as_bytes()).map_err(|error| fault(&error))?;
                    let put = archive::put(&self.engine, container, &path, file.mode, &spool.0).await;
                    put.map_err(|error| fault(&error))?;
                }
                Err(error) => return Err(fault(&error)),
            }
        }
        Ok(())
    }
}

/// The engine of this machine. One that does not answer may be about to start again, and nobody else would ask it for the node.
async fn engine(settings: &Settings) -> Result<Engine, String> {
    let until = Instant::now() + PATIENCE;
    loop {
        let found = Engine::find(settings, until.saturating_duration_since(Instant::now())).await;
        if found.is_ok() || !settings.has_engine() || Instant::now() + ENGINE_PAUSE > until {
            return found;
        }
        sleep(ENGINE_PAUSE).await;
    }
}

/// Whether a path is a plain one of the container's own file system.
pub(crate) fn is_inside(path: &str) -> bool {
    let path = Path::new(path);
    let plain = |part| matches!(part, std::path::Component::RootDir | std::path::Component::Normal(_));
    path.is_absolute() && path.file_name().is_some() && path.components().all(plain)
}

/// A file that is on its way into a container. It is removed when this is dropped.
pub(crate) struct Spool(pub(crate) PathBuf);

impl Spool {
    pub(crate) fn write(node: &Surroundings, content: &[u8]) -> std::io::Result<(Self, File)> {
        use std::io::Write as _;
        use std::os::unix::fs::OpenOptionsExt;
        let path = node.folder.root.join(format!(".put-{}", uuid::Uuid::new_v4().simple()));
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        let spool = Self(path);
        file.write_all(content)?;
        Ok((spool, file))
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0) {
            tracing::warn!(%error, "a file on its way into the container stays");
        }
    }
}

impl Runtime for Containers {
    fn prepare<'a>(
        &'a self,
        fixture: &'a Fixture,
        progress: &'a watch::Sender<Option<String>>,
    ) -> LocalBoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            let node = &fixture.surroundings;
            leftovers::remove_former(&self.engine, node, &self.registry, progress).await?;
            let image = node.node.blueprint.docker_image.as_deref().ok_or("the node has no image")?;
            // What is wrong with it is known before anything is pulled.
            let body = create::body(node, image, &self.registry)?;
            // Where the container is made its image is of no matter, nor is who may pull it.
            let found = inspect(&self.engine, &name(node)).await.ok().flatten();
            if found.is_some_and(|found| found.is_made_from(&body)) {
                return Ok(());
            }
            self.provide_image(node, image, progress).await
        })
    }

    fn start<'a>(&'a self, fixture: &'a Rc<Fixture>) -> LocalBoxFuture<'a, Result<Box<dyn Workload>, String>> {
        Box::pin(async move {
            let workload = ContainerWorkload::start(self, fixture).await?;
            Ok(Box::new(workload) as Box<dyn Workload>)
        })
    }

    fn command<'a>(&'a self, node: &'a Surroundings, errand: Errand) -> LocalBoxFuture<'a, Commanded> {
        Box::pin(async move {
            let mut started = ContainerCommand::start(&self.engine, &name(node), &errand).await?;
            if started.is_none() && errand.beside_workload {
                return Err(StartError::Down);
            }
            if started.is_none() {
                let standing_in = timeout(errand.limit, stand_in::provide(self, node)).await;
                let standing_in = standing_in.map_err(|_| StartError::Setup(stand_in::LATE.to_owned()))?;
                let standing_in = standing_in.map_err(StartError::Setup)?;
                started = ContainerCommand::start(&self.engine, &standing_in, &errand).await?;
            }
            let (command, output) = started.ok_or_else(|| StartError::Setup(stand_in::GONE.to_owned()))?;
            Ok((Box::new(command) as Box<dyn Job>, output))
        })
    }

    fn get<'a>(&'a self, node: &'a Surroundings, path: &'a str) -> LocalBoxFuture<'a, Result<Contained, ArchiveError>> {
        Box::pin(async move {
            if !is_inside(path) {
                return Err(ArchiveError::Outside);
            }
            archive::get(&self.engine, &name(node), path).await
        })
    }

    fn put<'a>(
        &'a self,
        node: &'a Surroundings,
        path: &'a str,
        mode: u32,
        source: &'a Path,
    ) -> LocalBoxFuture<'a, Result<(), ArchiveError>> {
        Box::pin(async move {
            if !is_inside(path) {
                return Err(ArchiveError::Outside);
            }
            archive::put(&self.engine, &name(node), path, mode, source).await
        })
    }

    fn takes_input(&self) -> bool {
        true
    }

    /// Addresses of its own are asked from within: this machine need not be part of their network.
    fn connect<'a>(&'a self, node: &'a Surroundings, port: u16) -> LocalBoxFuture<'a, io::Result<TcpStream>> {
        Box::pin(async move {
            let Some(own) = node.node.interfaces.first() else { return connect_from_here(node, port).await };
            let inside = self.inside.borrow().clone();
            match inside {
                Some(inside) => inside.connect(own.address, port).await,
                None => Err(io::Error::other("the container does not run, or its network cannot be looked into")),
            }
        })
    }

    fn resume<'a>(&'a self, fixture: &'a Fixture) -> LocalBoxFuture<'a, bool> {
        Box::pin(async move {
            let found = inspect(&self.engine, &name(&fixture.surroundings)).await;
            found.ok().flatten().is_some_and(|found| found.is_running)
        })
    }

    fn clear<'a>(
        &'a self,
        fixture: &'a Fixture,
        told: &'a watch::Sender<Option<String>>,
    ) -> LocalBoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            let node = &fixture.surroundings;
            let made = self.makings.end(told).await;
            let (label, registry) = registry_label(&self.registry);
            let labels = [format!("{label}={registry}"), format!("{ATTEMPT}={}", node.node.attempt.id)];
            let cleared = remove_all(&self.engine, &labels, |_| true, REMOVAL_LIMIT, told).await.and(made);
            if let Err(reason) = &cleared {
                tracing::error!(reason, "a container of the node is left");
            }
            self.inside.replace(None);
            if let Ok(connection) = connection(node, &self.registry) {
                provide::release(&self.engine, &connection).await;
            }
            cleared
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_comes_before_a_command_only_where_there_is_an_engine() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("engine.sock");
        let settings =
            |is_first| Settings { socket: Some(socket.display().to_string()), is_first, ..Settings::default() };
        let mut node = crate::testing::specification();
        node.blueprint.docker_image = Some("i:1".to_owned());
        node.blueprint.command = Some(bigdata_common::blueprint::Command::Shell("x".to_owned()));
        assert!(!is_wanted(&node, &settings(true)), "it may be placed where there is none");
        let _engine = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        assert!(is_wanted(&node, &settings(true)) && !is_wanted(&node, &settings(false)));
        node.blueprint.command = None;
        assert!(is_wanted(&node, &settings(false)));
    }

    #[test]
    fn users_by_numbers_own_the_folder() {
        let mut node = crate::testing::specification().blueprint;
        for (options, expected) in [
            ("-u 7:8 -w /x", Some(Owner { uid: 7, gid: 8 })),
            ("-u mysql:mysql", None),
            ("-u 7", None),
            ("--user=0:0", None),
            ("-w /x", None),
        ] {
            node.docker_opts = Some(options.to_owned());
            assert_eq!(owner(&node), expected, "{options}");
        }
    }
}
