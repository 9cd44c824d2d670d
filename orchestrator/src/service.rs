//! Builds the service.

use crate::backups::{self, Place};
use crate::logs::{self, Signals};
use crate::outputs;
use crate::registry::Registry;
use crate::run::{Owner, runs_length_max};
use crate::slots::Slots;
use crate::store::Store;
use crate::{BuildError, Settings, invariants, reconcile, retention};
use actix_web::web;
use bigdata_chassis::db::Migrations;
use bigdata_chassis::http::{InternalClient, parked_routes, server};
use bigdata_chassis::messaging::consumer;
use bigdata_chassis::secret::{Vault, sha256_hex};
use bigdata_chassis::{Deps, Service, Tasks};
use bigdata_common::RunId;
use bigdata_common::api::PREFIX;
use bigdata_common::event::subscriptions;
use std::collections::HashMap;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tokio_util::sync::CancellationToken;

/// The service's tables.
pub static MIGRATIONS: Migrations =
    Migrations { postgres: &sqlx::migrate!("migrations/postgres"), sqlite: &sqlx::migrate!("migrations/sqlite") };

/// The directory of the runs' directories.
const RUNS: &str = "runs";
/// Threads that answer HTTP.
const WORKERS: usize = 1;

/// What the service's parts share. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) settings: Arc<Settings>,
    pub(crate) folders: Arc<Folders>,
    pub(crate) store: Store,
    pub(crate) registry: Registry,
    pub(crate) gateway: InternalClient,
    /// Where backups are; None where the settings name no place.
    pub(crate) backups: Option<Place>,
    pub(crate) tasks: Tasks,
    pub(crate) signals: Signals,
    pub(crate) slots: Slots,
    /// This process as the holder of claims.
    pub(crate) owner: Arc<Owner>,
    /// The runs that are driven here, each with what cancels it.
    pub(crate) active: Arc<Mutex<HashMap<RunId, CancellationToken>>>,
    pub(crate) dirty: Arc<reconcile::Dirty>,
    /// The first of the scripts' uids, where this process is root.
    pub(crate) script_uid_first: Option<u32>,
}

/// Where things are, absolute.
pub(crate) struct Folders {
    /// The runs' directories.
    pub(crate) runs: PathBuf,
    /// What scripts have in front of their `PATH`: `bigdata`.
    pub(crate) bin: PathBuf,
}

/// Builds the service: it answers, and drives runs, when this returns.
///
/// # Errors
/// See [`BuildError`].
pub async fn build(settings: Settings, deps: Deps) -> Result<Service, BuildError> {
    let script_uid_first = nix::unistd::geteuid().is_root().then_some(settings.script_uid_first);
    let folders = Folders::create(&settings, script_uid_first)?;
    let vault = Vault::open_or_create(&settings.vault_key)?;
    let context = Context {
        folders: Arc::new(folders),
        store: Store { db: deps.db.clone(), clock: deps.clock.clone(), vault },
        registry: Registry(InternalClient::new(settings.registry.clone(), deps.internal_token.clone())?),
        gateway: InternalClient::new(settings.gateway.clone(), deps.internal_token.clone())?,
        backups: Place::open(&settings)?,
        tasks: deps.tasks.clone(),
        signals: Signals::default(),
        slots: Slots::new(settings.concurrency),
        owner: Arc::new(Owner::new()),
        active: Arc::default(),
        dirty: Arc::default(),
        script_uid_first,
        settings: Arc::new(settings),
    };
    let address = context.settings.listen.clone();
    let listen_failed = |source| BuildError::Listen { address: address.clone(), source };
    let listener = TcpListener::bind(&address).map_err(listen_failed)?;
    let data = web::Data::new(context.clone());
    let routes = move |config: &mut web::ServiceConfig| {
        parked_routes(config, &data.store.db);
        config
            .app_data(data.clone())
            .route(
                &format!("{PREFIX}/clusters/{{user}}/{{product}}/{{version}}/{{number}}/logs"),
                web::get().to(logs::show),
            )
            .route(&format!("{PREFIX}/operations/{{id}}/logs"), web::get().to(logs::show_operation))
            .route("/internal/v1/clusters/{id}/outputs", web::get().to(outputs::list))
            .route("/internal/v1/invariants", web::get().to(invariants::show));
    };
    let address = server::serve(listener, WORKERS, &deps.internal_token, &deps.tasks, routes).map_err(listen_failed)?;
    let handler = Arc::new(reconcile::Events(Arc::clone(&context.dirty)));
    let kinds = subscriptions::ORCHESTRATOR;
    consumer::spawn("orchestrator", kinds, &deps.bus, deps.db, deps.clock, &deps.tasks, handler).await?;
    deps.tasks.spawn("run reconciliation", reconcile::forever(context.clone()));
    deps.tasks.spawn("backups", backups::forever(context.clone()));
    deps.tasks.spawn("log retention", retention::forever(context));
    Ok(Service { address })
}

impl Folders {
    fn create(settings: &Settings, script_uid: Option<u32>) -> Result<Self, BuildError> {
        let unusable = |path: &Path| {
            let path = path.to_owned();
            move |source| BuildError::Directory { path, source }
        };
        make_folder(&settings.work_dir, 0o711).map_err(unusable(&settings.work_dir))?;
        let work = fs::canonicalize(&settings.work_dir).map_err(unusable(&settings.work_dir))?;
        let work = match obstacle(&work, script_uid) {
            None => work,
            Some(obstacle) => {
                let shared = shared_folder(&work);
                make_own_folder(&shared).map_err(unusable(&shared))?;
                tracing::info!(path = %shared.display(), why = %obstacle, "runs have their directories elsewhere");
                self::obstacle(&shared, script_uid).map_or(Ok(shared), |_| Err(obstacle))?
            }
        };
        let folders = Self { runs: work.join(RUNS), bin: work.join("bin") };
        make_folder(&folders.runs, 0o711).map_err(unusable(&folders.runs))?;
        make_folder(&folders.bin, 0o755).map_err(unusable(&folders.bin))?;
        let failed = |source| BuildError::Program { path: settings.program.clone(), source };
        offer_program(&settings.program, &folders.bin).map_err(failed)?;
        Ok(folders)
    }
}

/// Why scripts cannot have their directories below `work`.
fn obstacle(work: &Path, script_uid: Option<u32>) -> Option<BuildError> {
    let limit = runs_length_max() - "/".len() - RUNS.len();
    if work.as_os_str().len() > limit {
        return Some(BuildError::WorkDirTooLong { path: work.to_owned(), limit });
    }
    // Scripts of other users pass through it; what is theirs is closed to everyone else.
    let uid = script_uid?;
    closed_ancestor(work).map(|path| BuildError::Unreachable { uid, path })
}

/// Where runs have their directories when `work` is not to be reached by scripts: short, and below what all can enter.
fn shared_folder(work: &Path) -> PathBuf {
    let hash = sha256_hex(work.as_os_str().as_encoded_bytes());
    Path::new("/var/tmp").join(format!("bigdata-{}", &hash[..12]))
}

/// Makes a directory where others can make some, too: one that is there must be our own.
fn make_own_folder(path: &Path) -> std::io::Result<()> {
    match fs::DirBuilder::new().mode(0o711).create(path) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            let metadata = fs::symlink_metadata(path)?;
            if !metadata.is_dir() || metadata.uid() != nix::unistd::geteuid().as_raw() {
                return Err(std::io::Error::other("it belongs to somebody else"));
            }
        }
        result => result?,
    }
    fs::set_permissions(path, fs::Permissions::from_mode(0o711))
}

fn make_folder(path: &Path, mode: u32) -> std::io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(mode).create(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

/// The first directory on the way to `path` that others than its owner cannot enter.
fn closed_ancestor(path: &Path) -> Option<PathBuf> {
    let is_closed = |path: &&Path| fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o001 == 0);
    path.ancestors().filter(is_closed).last().map(Path::to_owned)
}

/// Puts the program into the scripts' `PATH`: a link to the same file, or a copy on another file system. A symbolic link
/// would not do: the way to its target may be closed to scripts.
fn offer_program(program: &Path, bin: &Path) -> std::io::Result<()> {
    let program = fs::canonicalize(program)?;
    let new = bin.join(format!(".bigdata-{}", uuid::Uuid::new_v4()));
    fs::hard_link(&program, &new).or_else(|_| fs::copy(&program, &new).map(drop))?;
    fs::rename(&new, bin.join("bigdata"))?;
    // Renaming a link onto another link of the same file leaves both.
    match fs::remove_file(&new) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_offered_again_and_again() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("program");
        fs::write(&program, "1").unwrap();
        for _ in 0..2 {
            offer_program(&program, folder.path()).unwrap();
            assert_eq!(fs::read_to_string(folder.path().join("bigdata")).unwrap(), "1");
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
        }
    }

    #[test]
    fn scripts_have_their_directories_where_they_can_reach_them() {
        let folder = tempfile::tempdir().unwrap();
        let closed = folder.path().join("closed");
        let inner = closed.join("open");
        make_folder(&inner, 0o711).unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o711)).unwrap();
        assert!(obstacle(&inner, Some(1)).is_none());
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
        assert!(matches!(obstacle(&inner, Some(1)), Some(BuildError::Unreachable { path, .. }) if path == closed));
        assert!(obstacle(&inner, None).is_none(), "the service's own user passes");
        let long = inner.join("x".repeat(100));
        assert!(matches!(obstacle(&long, None), Some(BuildError::WorkDirTooLong { .. })));
        assert!(obstacle(&shared_folder(&long), None).is_none());
        assert_ne!(shared_folder(&long), shared_folder(&inner));
    }

    #[test]
    fn a_shared_directory_of_others_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let shared = folder.path().join("shared");
        make_own_folder(&shared).unwrap();
        make_own_folder(&shared).unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&shared, &link).unwrap();
        assert!(make_own_folder(&link).is_err());
    }
}
