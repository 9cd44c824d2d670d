//! Which attempt of a script's run may work on the node: the newest that has called. A former one may still have a call
//! under way, and does not know that it was replaced.

use super::answer::Failure;
use bigdata_common::RunId;
use bigdata_common::api::problem::ProblemCode;
use bigdata_common::internal::RUN_ATTEMPT_HEADER;
use hyper::HeaderMap;
use serde::{Deserialize, Serialize};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use tokio::sync::watch;

/// The file that survives a restart of the executor.
const FILE: &str = "runs.json";
const TEMPORARY: &str = "runs.json.new";
/// Runs that are remembered; a cluster has one at a time.
const RUNS_MAX: usize = 64;

/// Why a former attempt is refused, and its commands end.
pub(super) const OVERTAKEN: &str = "a newer attempt drives this run";

/// An attempt at a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RunAttempt {
    run: RunId,
    attempt: u32,
}

impl FromStr for RunAttempt {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (run, attempt) = text.split_once('.').ok_or(())?;
        Ok(Self { run: run.parse().map_err(drop)?, attempt: attempt.parse().map_err(drop)? })
    }
}

/// The newest attempt of each run that has called.
pub struct Attempts {
    file: PathBuf,
    temporary: PathBuf,
    newest: watch::Sender<Vec<RunAttempt>>,
}

/// An attempt that calls, to be asked whether it is still the newest.
pub(super) struct Caller {
    own: Option<RunAttempt>,
    newest: watch::Receiver<Vec<RunAttempt>>,
}

impl Attempts {
    /// Those that are remembered in the executor's directory.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn load(root: &Path) -> io::Result<Self> {
        let file = root.join(FILE);
        let newest = match fs::read(&file) {
            Ok(text) => serde_json::from_slice(&text)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        Ok(Self { file, temporary: root.join(TEMPORARY), newest: watch::Sender::new(newest) })
    }

    /// Lets a caller in, unless a newer attempt of its run was here.
    pub(super) fn admit(&self, headers: &HeaderMap) -> Result<Caller, Failure> {
        let given = headers.get(RUN_ATTEMPT_HEADER).map(|value| value.to_str().ok().and_then(|text| text.parse().ok()));
        let own = match given {
            Some(None) => {
                return Err(Failure::new(
                    ProblemCode::InvalidField,
                    format!("{RUN_ATTEMPT_HEADER} is not of the form RUN.ATTEMPT"),
                ));
            }
            given => given.flatten(),
        };
        if let Some(own) = own {
            let is_new = self.newest.send_if_modified(|newest| note(newest, own));
            if overtakes(&self.newest.borrow(), own) {
                return Err(Failure::new(ProblemCode::WrongStatus, OVERTAKEN));
            }
            if is_new && let Err(error) = self.store() {
                tracing::error!(%error, "the newest attempt of a run is remembered until this process ends only");
            }
        }
        Ok(Caller { own, newest: self.newest.subscribe() })
    }

    /// Whole or not at all.
    fn store(&self) -> io::Result<()> {
        let text = serde_json::to_vec(&*self.newest.borrow())?;
        match fs::remove_file(&self.temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&self.temporary)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&self.temporary, &self.file)
    }
}

impl Caller {
    /// Whether it is the run of a script.
    pub(super) fn is_script(&self) -> bool {
        self.own.is_some()
    }

    /// Resolves when a newer attempt of the same run has called. Cancel-safe.
    pub(super) async fn overtaken(&mut self) {
        let Some(own) = self.own else { return std::future::pending().await };
        if self.newest.wait_for(|newest| overtakes(newest, own)).await.is_err() {
            // The control channel is gone, and with it whoever could overtake.
            std::future::pending::<()>().await;
        }
    }
}

/// Remembers an attempt; whether it is a new one.
fn note(newest: &mut Vec<RunAttempt>, caller: RunAttempt) -> bool {
    let known = newest.iter().position(|known| known.run == caller.run);
    if known.is_some_and(|at| newest[at].attempt >= caller.attempt) {
        return false;
    }
    if let Some(at) = known {
        newest.remove(at);
    }
    newest.push(caller);
    let surplus = newest.len().saturating_sub(RUNS_MAX);
    newest.drain(..surplus);
    true
}

fn overtakes(newest: &[RunAttempt], caller: RunAttempt) -> bool {
    newest.iter().any(|known| known.run == caller.run && known.attempt > caller.attempt)
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn headers(run: u128, attempt: u32) -> HeaderMap {
        let value = format!("{}.{attempt}", Uuid::from_u128(run));
        HeaderMap::from_iter([(RUN_ATTEMPT_HEADER.parse().unwrap(), value.parse().unwrap())])
    }

    #[tokio::test(flavor = "current_thread")]
    async fn the_newest_attempt_of_a_run_drives_it() {
        let root = tempfile::tempdir().unwrap();
        let attempts = Attempts::load(root.path()).unwrap();
        let mut first = attempts.admit(&headers(1, 1)).ok().unwrap();
        let mut user = attempts.admit(&HeaderMap::new()).ok().unwrap();
        attempts.admit(&headers(2, 9)).ok().unwrap();
        let soon = std::time::Duration::from_millis(5);
        assert!(tokio::time::timeout(soon, first.overtaken()).await.is_err(), "another run is no newer attempt");
        attempts.admit(&headers(1, 3)).ok().unwrap();
        first.overtaken().await;
        assert!(tokio::time::timeout(soon, user.overtaken()).await.is_err());
        assert!(attempts.admit(&headers(1, 2)).is_err());
        assert!(attempts.admit(&headers(1, 3)).is_ok());
        let again = Attempts::load(root.path()).unwrap();
        assert!(again.admit(&headers(1, 2)).is_err(), "it is remembered");
        for wrong in ["", "x.1", "00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000001.x"] {
            let headers = HeaderMap::from_iter([(RUN_ATTEMPT_HEADER.parse().unwrap(), wrong.parse().unwrap())]);
            assert!(again.admit(&headers).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_oldest_runs_are_forgotten() {
        let mut newest = Vec::new();
        for run in 0..100 {
            assert!(note(&mut newest, RunAttempt { run: RunId(Uuid::from_u128(run)), attempt: 1 }));
        }
        assert_eq!(newest.len(), RUNS_MAX);
        assert!(!overtakes(&newest, RunAttempt { run: RunId(Uuid::from_u128(0)), attempt: 0 }));
        assert!(overtakes(&newest, RunAttempt { run: RunId(Uuid::from_u128(99)), attempt: 0 }));
    }
}
