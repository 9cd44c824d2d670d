//! The ports of the platform's services on its own loopback address, chosen once per data directory: executors that
//! outlive the platform find its services again where they were.

use crate::failure::Failure;
use bigdata_chassis::secret::random_bytes;
use serde::{Deserialize, Serialize};
use std::net::{Ipv4Addr, TcpListener};
use std::ops::RangeInclusive;
use std::path::Path;

/// Where ports are chosen from, as far as the kernel does not give them to outgoing connections.
const CANDIDATES: RangeInclusive<u16> = 15_000..=27_899;
/// The ports that nodes and executors get: each node needs one on the platform's own address, and a platform has addresses
/// for 4096. Mesos's own 1001 are too few for a thousand nodes while others end.
const NODES: RangeInclusive<u16> = 27_900..=32_000;
/// Ports of outgoing connections where the kernel does not say.
const EPHEMERAL: RangeInclusive<u16> = 32_768..=60_999;

/// See the [module](self).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ports {
    /// The Mesos engine's master and agent.
    pub(crate) engine: u16,
    /// The registry.
    pub(crate) registry: u16,
    /// The framework.
    pub(crate) framework: u16,
    /// The orchestrator.
    pub(crate) orchestrator: u16,
}

impl Ports {
    /// Reads the ports of `file`, or chooses them and writes the file.
    ///
    /// # Errors
    /// When one is in use, or the file cannot be read or written.
    pub(crate) fn load(file: &Path, host: Ipv4Addr) -> Result<Self, Failure> {
        match std::fs::read(file) {
            Ok(text) => {
                let ports: Self = serde_json::from_slice(&text)
                    .map_err(|error| Failure::Failed(format!("{} is not as it should be: {error}", file.display())))?;
                ports.check(file, host)?;
                Ok(ports)
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let ports = Self::choose(host)?;
                let text = serde_json::to_vec_pretty(&ports).map_err(|error| Failure::of(&error))?;
                super::data_directory::replace(file, &text)?;
                Ok(ports)
            }
            Err(error) => Err(Failure::Failed(format!("{} cannot be read: {error}", file.display()))),
        }
    }

    /// First and last of each range that is the nodes'. A port that an earlier version chose among them stays the service's.
    pub(crate) fn of_nodes(&self) -> Vec<(u64, u64)> {
        let mut own = [self.engine, self.registry, self.framework, self.orchestrator];
        own.sort_unstable();
        let mut ranges = Vec::new();
        let mut first = *NODES.start();
        for port in own.into_iter().filter(|port| NODES.contains(port)) {
            if first < port {
                ranges.push((u64::from(first), u64::from(port - 1)));
            }
            first = port + 1;
        }
        if first <= *NODES.end() {
            ranges.push((u64::from(first), u64::from(*NODES.end())));
        }
        ranges
    }

    fn check(&self, file: &Path, host: Ipv4Addr) -> Result<(), Failure> {
        for (service, port) in [
            ("engine", self.engine),
            ("registry", self.registry),
            ("framework", self.framework),
            ("orchestrator", self.orchestrator),
        ] {
            if let Err(error) = TcpListener::bind((host, port)) {
                return Err(Failure::Failed(format!(
                    "port {port} of the {service}, kept in {}, cannot be used: {error}\n  next: end the program that has it; where no node of this platform runs any more, removing the file chooses new ports",
                    file.display()
                )));
            }
        }
        Ok(())
    }

    fn choose(host: Ipv4Addr) -> Result<Self, Failure> {
        let ephemeral = ephemeral();
        let free = |port: &u16| !ephemeral.contains(port) && TcpListener::bind((host, *port)).is_ok();
        let length = usize::from(CANDIDATES.end() - CANDIDATES.start());
        let start = usize::from(u16::from_be_bytes(random_bytes())) % length;
        let mut chosen = CANDIDATES.cycle_from(start).filter(free);
        let mut next = || chosen.next().ok_or_else(|| Failure::Failed("no loopback port is free".to_owned()));
        Ok(Self { engine: next()?, registry: next()?, framework: next()?, orchestrator: next()? })
    }
}

trait CycleFrom {
    /// Every value once, beginning with the one at `start`.
    fn cycle_from(self, start: usize) -> impl Iterator<Item = u16>;
}

impl CycleFrom for RangeInclusive<u16> {
    fn cycle_from(self, start: usize) -> impl Iterator<Item = u16> {
        self.clone().skip(start).chain(self.take(start))
    }
}

/// The ports that the kernel gives to outgoing connections (ip(7), `ip_local_port_range`).
fn ephemeral() -> RangeInclusive<u16> {
    std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")
        .ok()
        .and_then(|text| {
            let mut words = text.split_whitespace().map(str::parse);
            Some(words.next()?.ok()?..=words.next()?.ok()?)
        })
        .unwrap_or(EPHEMERAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_kept_and_a_taken_one_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ports.json");
        let ports = Ports::load(&file, Ipv4Addr::LOCALHOST).unwrap();
        assert_eq!(Ports::load(&file, Ipv4Addr::LOCALHOST).unwrap(), ports);
        assert!(!ephemeral().contains(&ports.engine) && ports.engine != ports.registry);
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, ports.framework)).unwrap();
        let refused = Ports::load(&file, Ipv4Addr::LOCALHOST).unwrap_err().to_string();
        assert!(refused.contains(&format!("port {} of the framework", ports.framework)), "{refused}");
        drop(taken);
    }

    #[test]
    fn nodes_get_no_port_of_a_service() {
        let ports = |engine, registry, framework, orchestrator| Ports { engine, registry, framework, orchestrator };
        assert_eq!(ports(15_000, 16_000, 17_000, 27_899).of_nodes(), [(27_900, 32_000)]);
        let among = ports(30_000, 27_900, 27_901, 20_000).of_nodes();
        assert_eq!(among, [(27_902, 29_999), (30_001, 32_000)]);
    }
}
