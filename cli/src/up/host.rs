//! What keeps two platforms on one machine apart: a block of loopback addresses and one of user ids, chosen once per data
//! directory.

use super::data_directory::replace;
use crate::failure::Failure;
use bigdata_chassis::secret::random_bytes;
use serde::{Deserialize, Serialize};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

/// How many blocks there are: of 4096 addresses each, they fill 127.64.0.0/10.
const BLOCKS: u32 = 1024;
/// Addresses of a block.
const ADDRESSES: u32 = 4096;
/// The first address of the first block.
const FIRST_ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 64, 0, 0);
/// The first user id of the first block: far from those of people, packages and containers.
const FIRST_UID: u32 = 1_900_000_000;
/// User ids of a block: one for each cluster, and some for scripts.
const UIDS: u32 = 5000;
/// A running platform listens here on its block's first address, and so shows that the block is taken.
const CLAIM_PORT: u16 = 4000;

/// A block that is ours until this is dropped.
#[derive(Debug)]
pub(crate) struct Host {
    choice: Choice,
    _claim: TcpListener,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Choice {
    /// Agents with the same id share their addresses.
    id: String,
    /// Which block.
    block: u32,
}

impl Host {
    /// Reads the choice of `file` and takes the block, or chooses a free one and writes the file.
    ///
    /// # Errors
    /// When the block is taken, or the file cannot be read or written.
    pub(crate) fn take(file: &Path) -> Result<Self, Failure> {
        let text = match std::fs::read(file) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Self::choose(file),
            read => read.map_err(|error| Failure::Failed(format!("{} cannot be read: {error}", file.display())))?,
        };
        let choice: Choice = serde_json::from_slice(&text)
            .map_err(|error| Failure::Failed(format!("{} is not as it should be: {error}", file.display())))?;
        let claim = choice.claim().map_err(|error| {
            Failure::Failed(format!(
                "the addresses of {} cannot be taken ({error}): another platform on this machine uses the same block",
                file.display()
            ))
        })?;
        Ok(Self { choice, _claim: claim })
    }

    fn choose(file: &Path) -> Result<Self, Failure> {
        let [a, b, id @ ..]: [u8; 8] = random_bytes();
        let id: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
        let start = u32::from(u16::from_be_bytes([a, b])) % BLOCKS;
        for block in (start..BLOCKS).chain(0..start) {
            let choice = Choice { id: id.clone(), block };
            if let Ok(claim) = choice.claim() {
                let text = serde_json::to_vec_pretty(&choice).map_err(|error| Failure::of(&error))?;
                replace(file, &text)?;
                return Ok(Self { choice, _claim: claim });
            }
        }
        Err(Failure::Failed("every block of loopback addresses is taken by another platform".to_owned()))
    }

    /// Where the platform's own services and executors listen; never a node's address.
    pub(crate) fn address(&self) -> Ipv4Addr {
        self.choice.address()
    }

    /// The agent's attribute `bigdata_net`: how its nodes get their addresses.
    pub(crate) fn network(&self) -> String {
        format!("loopback:{}:{}/{}", self.choice.id, self.address(), 32 - ADDRESSES.trailing_zeros())
    }

    /// User ids for the workloads of clusters, where the platform is root: the first and the last.
    pub(crate) fn cluster_uids(&self) -> (u32, u32) {
        let first = FIRST_UID + self.choice.block * UIDS;
        (first, first + ADDRESSES - 1)
    }

    /// The first of the user ids for scripts, where the platform is root.
    pub(crate) fn script_uid_first(&self) -> u32 {
        self.cluster_uids().1 + 1
    }
}

impl Choice {
    fn address(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(FIRST_ADDRESS.to_bits() + (self.block % BLOCKS) * ADDRESSES)
    }

    fn claim(&self) -> std::io::Result<TcpListener> {
        TcpListener::bind((self.address(), CLAIM_PORT))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_platforms_never_share_a_block() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("host.json");
        let first = Host::take(&file).unwrap();
        let refused = Host::take(&file).unwrap_err().to_string();
        assert!(refused.contains("another platform"), "{refused}");
        let second = Host::take(&folder.path().join("other.json")).unwrap();
        assert_ne!(first.address(), second.address());
        let (address, network) = (first.address(), first.network());
        drop(first);
        let again = Host::take(&file).unwrap();
        assert_eq!((again.address(), again.network()), (address, network));
        assert!(again.network().ends_with("/20") && again.address().is_loopback());
    }

    #[test]
    fn the_last_block_ends_with_the_range() {
        let last = Choice { id: String::new(), block: BLOCKS - 1 };
        assert_eq!(last.address(), Ipv4Addr::new(127, 127, 240, 0));
    }
}
