//! What a restarted executor needs to go on without enrolling again: a file that only its user can read.

use crate::identity::Identity;
use bigdata_common::AttemptId;
use bigdata_common::internal::NodeSpecification;
use serde::{Deserialize, Serialize};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

const FILE: &str = "node.json";
const TEMPORARY: &str = "node.json.new";

/// An enrolled node. Holds secrets.
#[derive(Serialize, Deserialize)]
pub struct State {
    /// Key pair and certificate of the control channel.
    pub identity: Identity,
    /// Where the control channel listens, `address:port`.
    pub control: String,
    /// The framework's reply.
    pub node: NodeSpecification,
}

impl State {
    /// The stored state of this attempt; None where there is none, or another attempt's.
    ///
    /// # Errors
    /// When a file is there and cannot be read.
    pub fn load(root: &Path, attempt: AttemptId) -> io::Result<Option<Self>> {
        let text = match fs::read(root.join(FILE)) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let state: Self = serde_json::from_slice(&text)?;
        Ok((state.node.attempt.id == attempt).then_some(state))
    }

    /// Stores it whole or not at all.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn store(&self, root: &Path) -> io::Result<()> {
        let temporary = root.join(TEMPORARY);
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&temporary)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        file.sync_all()?;
        fs::rename(temporary, root.join(FILE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::specification;
    use std::os::unix::fs::PermissionsExt;
    use uuid::Uuid;

    #[test]
    fn only_this_attempts_state_is_taken_up() {
        let root = tempfile::tempdir().unwrap();
        let node = specification();
        let attempt = node.attempt.id;
        assert!(State::load(root.path(), attempt).unwrap().is_none());
        let identity = Identity::generate("127.0.0.1").unwrap();
        let fingerprint = identity.fingerprint().unwrap();
        let state = State { identity, control: "127.0.0.1:1".into(), node };
        state.store(root.path()).unwrap();
        state.store(root.path()).unwrap();
        let loaded = State::load(root.path(), attempt).unwrap().unwrap();
        assert_eq!(loaded.identity.fingerprint().unwrap(), fingerprint);
        assert!(State::load(root.path(), AttemptId(Uuid::nil())).unwrap().is_none());
        let mode = fs::metadata(root.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
