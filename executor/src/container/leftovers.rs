//! What stays of attempts whose executor is gone: containers outlive it, and nobody else knows of them.

use super::clearing::{REMOVAL_LIMIT, remove_all};
use super::create::{CLUSTER, NODE, REGISTRY};
use super::engine::Engine;
use super::found::{Listed, list, remove};
use super::provide;
use crate::environment::Surroundings;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

/// Held by an executor for as long as it lives.
const LOCK: &str = "executor.lock";
/// A container is an orphan when its executor was gone at two looks so far apart: one may just be started again.
const PATIENCE: Duration = Duration::from_secs(10);
/// The wait after a question that failed.
const PAUSE: Duration = Duration::from_secs(2);

/// How long an executor tries to get its lock: whoever looks for orphans has it for a moment.
const HOLD_LIMIT: Duration = Duration::from_secs(1);
/// The wait before it is tried again.
const HOLD_PAUSE: Duration = Duration::from_millis(20);
/// The folders of agents' work directories that sandboxes lie below: Mesos's, and that of the agent of `bigdata up`.
const SANDBOXES: [&str; 2] = ["slaves", "sandboxes"];

/// Shows that this folder's executor lives, until it is dropped or the process ends.
///
/// # Errors
/// When the file cannot be made or another executor holds it.
pub(super) async fn hold(folder: &Path) -> io::Result<Flock<File>> {
    let mut file = OpenOptions::new().create(true).truncate(false).write(true).open(folder.join(LOCK))?;
    let until = Instant::now() + HOLD_LIMIT;
    loop {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(held) => return Ok(held),
            Err((free, Errno::EWOULDBLOCK)) if Instant::now() < until => file = free,
            Err((_, error)) => return Err(error.into()),
        }
        sleep(HOLD_PAUSE).await;
    }
}

/// Whether nobody holds the lock of its executor.
///
/// # Errors
/// In words, when that cannot be found out: it is left alone then.
fn is_orphan(container: &Listed, among: &Among) -> Result<bool, String> {
    let (id, folder) = (&container.id, container.folder.display());
    let file = match OpenOptions::new().write(true).open(container.folder.join(LOCK)) {
        Ok(file) => file,
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(format!(
                "whether the container {id} has an executor cannot be told: the lock in {folder}: {error} (run this as the \
                 executors' user)"
            ));
        }
        // An operator's command may see other folders than the agent.
        Err(_) if matches!(among, Among::All) && !is_agents_work_seen(&container.folder) => {
            return Err(format!(
                "whether the container {id} has an executor cannot be told: its agent's work directory, above {folder}, is \
                 not there (run this where it has the same path as for the agent; where the agent is gone for good, remove the \
                 container by the engine's own command)"
            ));
        }
        Err(_) => return Ok(true),
    };
    match Flock::lock(file, FlockArg::LockSharedNonblock) {
        Ok(_) => Ok(true),
        Err((_, Errno::EWOULDBLOCK)) => Ok(false),
        Err((_, error)) => {
            Err(format!("whether the container {id} has an executor cannot be told: the lock in {folder}: {error}"))
        }
    }
}

/// Whether the agent's work directory that this sandbox is, or was, in can be seen from here.
fn is_agents_work_seen(sandbox: &Path) -> bool {
    let above = sandbox.ancestors().find(|it| SANDBOXES.iter().any(|name| it.ends_with(name)));
    above.is_some_and(Path::is_dir)
}

/// Removes the containers of earlier attempts of this node: this one takes their place.
///
/// # Errors
/// In words, when one is left.
pub(super) async fn remove_former(
    engine: &Engine,
    node: &Surroundings,
    registry: &str,
    progress: &watch::Sender<Option<String>>,
) -> Result<(), String> {
    let own = node.node.attempt.id.to_string();
    let (cluster, name) = (&node.node.cluster, &node.node.node);
    let labels = [(REGISTRY, registry.to_owned()), (CLUSTER, cluster.to_string()), (NODE, name.to_string())];
    let labels = labels.map(|(label, value)| format!("{label}={value}")).to_vec();
    let is_former = |container: &Listed| container.attempt != own;
    remove_all(engine, &labels, is_former, REMOVAL_LIMIT, progress).await
}

/// Which containers are looked at.
pub(super) enum Among {
    /// Those of this registry.
    Registry(String),
    /// Those whose executors work below this folder.
    Below(PathBuf),
    /// All.
    All,
}

/// What a question to the engine gives, or the same one where it fails: an engine that is busy answers a moment later.
async fn twice<T, F: Future<Output = Result<T, String>>>(pause: Duration, ask: impl Fn() -> F) -> Result<T, String> {
    match ask().await {
        Ok(found) => return Ok(found),
        Err(error) => tracing::warn!(error, "the engine is asked again for what executors that are gone have left"),
    }
    sleep(pause).await;
    ask().await
}

/// The containers that are meant.
#[derive(Default)]
struct Look {
    /// Those without an executor, by their ids.
    orphans: Vec<String>,
    /// Why nothing can be said of others.
    unclear: Vec<String>,
}

async fn look(engine: &Engine, among: &Among) -> Result<Look, String> {
    let listed = match among {
        Among::Registry(registry) => list(engine, vec![format!("{REGISTRY}={registry}")]).await?,
        Among::Below(_) | Among::All => list(engine, Vec::new()).await?,
    };
    let is_meant = |container: &Listed| match among {
        Among::Registry(_) | Among::All => true,
        Among::Below(folder) => container.folder.starts_with(folder),
    };
    let mut found = Look::default();
    for container in listed.into_iter().filter(is_meant) {
        match is_orphan(&container, among) {
            Ok(true) => found.orphans.push(container.id),
            Ok(false) => {}
            Err(reason) => found.unclear.push(reason),
        }
    }
    Ok(found)
}

async fn look_at_networks(engine: &Engine, among: &Among) -> Result<Vec<String>, String> {
    match among {
        Among::Registry(registry) => provide::unused(engine, Some(registry)).await,
        Among::Below(_) => Ok(Vec::new()),
        Among::All => provide::unused(engine, None).await,
    }
}

/// Removes the containers on this machine whose executors are gone, and then the networks that nobody uses.
///
/// # Errors
/// In words, what could not be done, and what to do; all else is done.
pub(super) async fn remove_orphans(engine: &Engine, among: &Among) -> Result<(), String> {
    let mut failed = Vec::new();
    let mut unlisted =
        |error| failed.push(format!("{error} (see whether it runs and answers this user: bigdata doctor)"));
    let first = twice(PAUSE, || look(engine, among)).await.map_err(&mut unlisted).unwrap_or_default();
    let unused = twice(PAUSE, || look_at_networks(engine, among)).await.map_err(&mut unlisted).unwrap_or_default();
    if first.orphans.is_empty() && unused.is_empty() {
        failed.extend(first.unclear);
        return told(&failed);
    }
    sleep(PATIENCE).await;
    let second = twice(PAUSE, || look(engine, among)).await.map_err(&mut unlisted).unwrap_or_default();
    failed.extend(second.unclear);
    for id in second.orphans.iter().filter(|id| first.orphans.contains(id)) {
        tracing::warn!(id, "a container whose executor is gone is removed");
        if let Err(error) = twice(PAUSE, || remove(engine, id)).await {
            failed.push(format!("{error} (where it stays so, remove it by the engine's own command)"));
        }
    }
    match twice(PAUSE, || look_at_networks(engine, among)).await {
        Ok(unused) => {
            for network in unused {
                provide::remove_unused(engine, &network).await;
            }
        }
        Err(error) => failed.push(error),
    }
    told(&failed)
}

fn told(failed: &[String]) -> Result<(), String> {
    if failed.is_empty() { Ok(()) } else { Err(failed.join("; ")) }
}

/// The same, where nobody waits for it: what is left is looked for again when somebody else comes by.
pub(super) async fn try_remove_orphans(engine: Engine, among: Among) {
    if let Err(reason) = remove_orphans(&engine, &among).await {
        tracing::warn!(reason, "not all that executors that are gone have left is removed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::future::ready;

    #[tokio::test]
    async fn only_a_lock_that_is_free_or_gone_makes_an_orphan() {
        let folder = tempfile::tempdir().unwrap();
        let listed = Listed { id: "c".to_owned(), attempt: "a".to_owned(), folder: folder.path().to_owned() };
        let is_orphan = || is_orphan(&listed, &Among::Registry("r".to_owned()));
        assert_eq!(is_orphan(), Ok(true), "there is no executor");
        let held = hold(folder.path()).await.unwrap();
        assert_eq!(is_orphan(), Ok(false), "its executor lives");
        assert!(hold(folder.path()).await.is_err(), "another executor has it");
        drop(held);
        assert_eq!(is_orphan(), Ok(true), "its executor has ended");
        std::fs::remove_file(folder.path().join(LOCK)).unwrap();
        std::fs::create_dir(folder.path().join(LOCK)).unwrap();
        assert!(is_orphan().unwrap_err().contains("run this as"), "nobody can tell");
    }

    #[test]
    fn a_folder_that_an_operators_command_does_not_see_makes_no_orphan() {
        let machine = tempfile::tempdir().unwrap();
        for (sandboxes, below) in [("slaves", "s/frameworks/f/executors/e/runs/r"), ("sandboxes", "f/e/c")] {
            let work = machine.path().join("slaves").join("work").join(sandboxes);
            let listed = Listed { id: "c".to_owned(), attempt: "a".to_owned(), folder: work.join(below) };
            let hidden = is_orphan(&listed, &Among::All).unwrap_err();
            assert!(hidden.contains("the container c") && hidden.contains("is not there (run this where"), "{hidden}");
            assert_eq!(is_orphan(&listed, &Among::Below(machine.path().to_owned())), Ok(true));
            std::fs::create_dir_all(work).unwrap();
            assert_eq!(is_orphan(&listed, &Among::All), Ok(true), "the agent has removed its sandbox");
        }
        let elsewhere = Listed { id: "c".to_owned(), attempt: "a".to_owned(), folder: "/no/such/folder".into() };
        assert!(is_orphan(&elsewhere, &Among::All).is_err());
    }

    #[tokio::test]
    async fn a_look_at_its_lock_does_not_stop_an_executor() {
        let folder = tempfile::tempdir().unwrap();
        let looked_at = Flock::lock(File::create(folder.path().join(LOCK)).unwrap(), FlockArg::LockSharedNonblock);
        let looked_at = looked_at.unwrap();
        let mut holding = Box::pin(hold(folder.path()));
        assert!(futures_util::poll!(&mut holding).is_pending());
        drop(looked_at);
        holding.await.unwrap();
    }

    #[tokio::test]
    async fn a_question_that_fails_is_asked_once_more() {
        for (failures, found) in [(0, Ok("c")), (1, Ok("c")), (2, Err("it is busy".to_owned()))] {
            let questions = Cell::new(0);
            let ask = || {
                questions.set(questions.get() + 1);
                ready(if questions.get() > failures { Ok("c") } else { Err("it is busy".to_owned()) })
            };
            assert_eq!((twice(Duration::ZERO, ask).await, questions.get()), (found, 2.min(failures + 1)));
        }
    }

    #[tokio::test]
    async fn an_engine_that_does_not_list_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("engine.sock");
        drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
        let engine = Engine::unasked(&socket).unwrap();
        let reason = remove_orphans(&engine, &Among::All).await.unwrap_err();
        assert!(reason.starts_with("the engine does not answer: ") && reason.contains("bigdata doctor"), "{reason}");
    }
}
