//! From `registered` to all tasks running, on a real Mesos with three agents:
//!
//!     cargo build --release --workspace --bins && cargo bench -p bigdata-cli --bench running [-- LAUNCHES]
//!
//! `deploy/fleet` brings up a fleet of its own, with two replicas of every service. LAUNCHES (50) clusters of the
//! reference product with three nodes are launched through a gateway, one after the other: each is ready, and the one
//! before is destroyed, when the next is launched. The times are those of the cluster's own history. Mesos allocates
//! every second, as it does by default; what takes less did not wait for that. BIGDATA_BIN names another folder with the
//! services' programs.

#[allow(dead_code, reason = "another bench uses the rest of it")]
mod support;

use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use support::{median, request};

/// Mesos's interval between two allocations.
const INTERVAL: Duration = Duration::from_secs(1);
/// Names a folder with the services' programs, where it is not that of this build.
const PROGRAMS: &str = "BIGDATA_BIN";
/// The ports of the fleet.
const PORTS: &str = "27000";

fn main() {
    let launches = std::env::args().filter_map(|argument| argument.parse().ok()).next().unwrap_or(50);
    let fleet = Fleet::up();
    let first = fleet.launch();
    println!("the first launch of three nodes: {first:.2?} until all run");
    let mut took: Vec<Duration> = (0..launches).map(|_| fleet.launch()).collect();
    took.sort_unstable();
    let at = |share: f64| took[((took.len() - 1) as f64 * share).ceil() as usize];
    println!(
        "registered to all tasks running, three nodes on three agents, {launches} launches: p50 {:.2?}, p99 {:.2?}, longest {:.2?}; \
         {} took longer than an interval of {INTERVAL:?}",
        median(took.clone()),
        at(0.99),
        at(1.0),
        took.iter().filter(|took| **took >= INTERVAL).count()
    );
}

/// A fleet in a folder of its own; ended, with everything that it left, when dropped.
struct Fleet {
    folder: tempfile::TempDir,
    gateway: String,
}

impl Fleet {
    fn up() -> Self {
        let folder = tempfile::Builder::new().prefix("bf").tempdir_in("/tmp").expect("a temporary folder");
        let mut fleet = Self { folder, gateway: String::new() };
        fleet.control("up");
        let environment = fleet.control("env");
        let url = environment.split_once("BIGDATA_URL='").and_then(|(_, rest)| rest.split_once('\''));
        fleet.gateway = url.expect("the fleet tells its gateway").0.to_owned();
        let product = Path::new(env!("CARGO_MANIFEST_DIR")).join("../templates/reference/1.0.0");
        let mut register = Command::new(env!("CARGO_BIN_EXE_bigdata"));
        register.args(["--url", &fleet.gateway, "product", "register"]).arg(product).stdout(Stdio::null());
        assert!(register.status().expect("bigdata starts").success(), "the product is registered");
        fleet
    }

    /// A command of `deploy/fleet`; what it says.
    fn control(&self, command: &str) -> String {
        let built = || Path::new(env!("CARGO_BIN_EXE_bigdata")).parent().expect("programs lie in a folder").to_owned();
        let output = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/fleet"))
            .arg(command)
            .env("BIGDATA_FLEET_DIR", self.folder.path().join("fleet"))
            .env("BIGDATA_FLEET_PORTS", PORTS)
            .env(PROGRAMS, std::env::var_os(PROGRAMS).map_or_else(built, PathBuf::from))
            .stdin(Stdio::null())
            .output()
            .expect("deploy/fleet runs");
        assert!(output.status.success(), "deploy/fleet {command}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Launches a cluster of three nodes, and destroys it when it is ready: the time from `registered` to `scheduled`,
    /// which it is when all its nodes run.
    fn launch(&self) -> Duration {
        let api = format!("{}/bigdata/api/v1", self.gateway);
        let launched: Value = request("POST", &format!("{api}/products/reference/1.0.0"), Some(&json!({ "size": 3 })));
        let dn = launched["dn"].as_str().unwrap_or_else(|| panic!("no launch but {launched}"));
        let entry = self.wait(&api, dn, "ready");
        let phases = entry["data"]["phases"].as_array().expect("a cluster has phases");
        let until = phases.iter().position(|phase| phase["status"] == json!("scheduled")).expect("it was scheduled");
        let took = phases[1..=until].iter().filter_map(|phase| phase["took_ms"].as_u64()).sum();
        let _: Value = request("DELETE", &format!("{api}/{dn}"), None);
        self.wait(&api, dn, "destroyed");
        Duration::from_millis(took)
    }

    /// The cluster's entry once it has this status.
    fn wait(&self, api: &str, dn: &str, status: &str) -> Value {
        let entry: Value = request("GET", &format!("{api}/{dn}?wait={status}&timeout=60"), None);
        assert!(entry["data"]["status"] == json!(status), "{dn} is not {status} but {entry}");
        entry
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.control("down");
    }
}
