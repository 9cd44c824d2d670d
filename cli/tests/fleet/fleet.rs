//! One fleet for all tests, and how tests talk to it.

use serde_json::Value;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Names a folder with the programs to test, where it is not that of this build.
const PROGRAMS: &str = "BIGDATA_BIN";
/// The longest that a test waits for anything.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);
/// The services' programs, beside the command line's.
const SERVICES: [&str; 5] =
    ["bigdata-registry", "bigdata-framework", "bigdata-orchestrator", "bigdata-gateway", "bigdata-executor"];

/// The folder of the programs under test.
fn programs() -> PathBuf {
    let built = || Path::new(env!("CARGO_BIN_EXE_bigdata")).parent().unwrap().to_owned();
    std::env::var_os(PROGRAMS).map_or_else(built, PathBuf::from)
}

/// A fleet in a folder of its own; ended, with everything that it left, when dropped.
pub(crate) struct Fleet {
    folder: TempDir,
    addresses: OnceLock<HashMap<String, String>>,
    kept: AtomicBool,
}

impl Fleet {
    pub(crate) fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("bf").tempdir_in("/tmp").unwrap();
        Self { folder, addresses: OnceLock::new(), kept: AtomicBool::new(false) }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("fleet")
    }

    /// A command of `deploy/fleet`; it must succeed. What it wrote to standard output.
    pub(crate) fn control(&self, arguments: &[&str]) -> String {
        let output = self.try_control(arguments);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "deploy/fleet {arguments:?}: {error}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn try_control(&self, arguments: &[&str]) -> Output {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/fleet");
        Command::new(script)
            .args(arguments)
            .env("BIGDATA_FLEET_DIR", self.path())
            .env("BIGDATA_FLEET_PORTS", std::env::var("BIGDATA_FLEET_PORTS").unwrap_or_else(|_| "17000".to_owned()))
            .env(PROGRAMS, programs())
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// Brings up what does not run; the reference product is registered when this returns.
    pub(crate) fn up(&self) {
        let folder = programs();
        for service in SERVICES {
            let hint = "`cargo test --workspace` builds it; alone: `cargo build --workspace --bins`";
            assert!(folder.join(service).exists(), "{service} is missing: {hint}");
        }
        self.control(&["up"]);
        let product = Path::new(env!("CARGO_MANIFEST_DIR")).join("../templates/reference/1.0.0");
        self.run(&["product", "register", product.to_str().unwrap()]);
    }

    /// A value of `fleet env`, without its prefix.
    pub(crate) fn address(&self, name: &str) -> &str {
        let read = || {
            let text = self.control(&["env"]);
            let pairs = text.lines().flat_map(|line| line.trim_start_matches("export ").split("' "));
            let pair = |pair: &str| {
                let (name, value) = pair.split_once('=')?;
                Some((name.trim_start_matches("BIGDATA_").to_owned(), value.trim_matches('\'').to_owned()))
            };
            pairs.filter_map(pair).collect()
        };
        let addresses = self.addresses.get_or_init(read);
        addresses.get(name).unwrap_or_else(|| panic!("{name} is not in {addresses:?}"))
    }

    /// Runs a client command at one gateway or the other, until it succeeds.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        let gateways: Vec<&str> = self.address("FLEET_GATEWAY").split(',').collect();
        let deadline = Instant::now() + LIMIT;
        for gateway in gateways.iter().cycle() {
            let output = client(gateway, arguments);
            if output.status.success() {
                return String::from_utf8(output.stdout).unwrap();
            }
            let error = String::from_utf8_lossy(&output.stderr);
            assert!(Instant::now() < deadline, "bigdata {arguments:?} at {gateway}: {error}");
            std::thread::park_timeout(Duration::from_millis(200));
        }
        unreachable!("there is a gateway")
    }

    /// The same with `--json`.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let text = self.run(&[arguments, &["--json"]].concat());
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("bigdata {arguments:?}: {error} in {text:?}"))
    }

    /// Sends a client command on its way, whatever its end; for requests that are sent again later under the same key.
    pub(crate) fn begin(&self, arguments: &[&str]) -> std::process::Child {
        let gateway = self.address("FLEET_GATEWAY").split(',').next().unwrap();
        let mut command = Command::new(programs().join("bigdata"));
        command.args(["--url", gateway]).args(arguments).env_remove("BIGDATA_SOCKET");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// The cluster's entry.
    pub(crate) fn cluster(&self, dn: &str) -> Value {
        self.json(&["cluster", "show", dn])
    }

    /// Waits until the cluster has this status; fails the test where it failed.
    pub(crate) fn ends_as(&self, dn: &str, status: &str) {
        until(&format!("{dn} is {status}"), || {
            let view = self.cluster(dn);
            let data = view.get("data").unwrap_or(&view);
            assert!(status == "failed" || data["status"] != "failed", "{dn} failed: {}", data["reason"]);
            (data["status"] == status).then_some(())
        });
    }

    /// The framework that leads.
    pub(crate) fn leader(&self) -> &'static str {
        const REPLICAS: [&str; 2] = ["framework-1", "framework-2"];
        until("a framework leads", || {
            let addresses: Vec<&str> = self.address("FLEET_FRAMEWORK").split(',').collect();
            // A framework that does not lead answers 503.
            let leads = |at: &usize| self.get(&format!("{}/internal/v1/orphans", addresses[*at])).is_some();
            [0, 1].into_iter().find(leads).map(|at| REPLICAS[at])
        })
    }

    /// GET as a service of the fleet; None where nothing answers with 200 within 5 s.
    pub(crate) fn get(&self, url: &str) -> Option<Value> {
        let token = std::fs::read_to_string(self.path().join("keys/internal.token")).unwrap();
        fetch(&["--header", &format!("Authorization: Bearer {}", token.trim())], url)
    }

    /// GET as a user, at the first gateway that answers.
    pub(crate) fn ask(&self, path: &str) -> Option<Value> {
        let mut gateways = self.address("FLEET_GATEWAY").split(',');
        gateways.find_map(|gateway| fetch(&[], &format!("{gateway}/bigdata/api/v1{path}")))
    }

    /// Runs SQL in the fleet's database; it must succeed.
    pub(crate) fn sql(&self, text: &str) {
        let output = Command::new("psql").args([self.address("FLEET_POSTGRES"), "-qc", text]).output().unwrap();
        assert!(output.status.success(), "{text}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// A command of `rabbitmqctl`; what it wrote, whatever its end.
    pub(crate) fn rabbitmq(&self, arguments: &[&str]) -> String {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/rabbitmq.sh");
        let output =
            Command::new(script).arg("ctl").arg(self.path().join("rabbitmq")).args(arguments).output().unwrap();
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    }

    /// Processes that stand in the agents' sandboxes.
    pub(crate) fn node_processes(&self) -> Vec<String> {
        let sandboxes = self.path().join("mesos");
        let works_there = |pid: &String| {
            let place = std::fs::read_link(Path::new("/proc").join(pid).join("cwd"));
            place.is_ok_and(|place| place.starts_with(&sandboxes) && place.to_string_lossy().contains("/executors/"))
        };
        let pids = std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        pids.filter(|pid| pid.bytes().all(|byte| byte.is_ascii_digit())).filter(works_there).collect()
    }

    /// Leaves the fleet's logs where they are, for whoever looks into a failure.
    pub(crate) fn keep(&self) {
        self.kept.store(true, Ordering::Relaxed);
    }

    /// The last lines that mention trouble, of every service.
    pub(crate) fn log(&self) -> String {
        let mut text = String::new();
        for entry in std::fs::read_dir(self.path().join("log")).into_iter().flatten().flatten() {
            let log = std::fs::read_to_string(entry.path()).unwrap_or_default();
            let lines: Vec<&str> = log.lines().filter(|line| line.contains("WARN") || line.contains("ERROR")).collect();
            let last = lines[lines.len().saturating_sub(8)..].join("\n");
            text.push_str(&format!("\n--- {}\n{last}", entry.file_name().display()));
        }
        text
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        let kept = self.kept.load(Ordering::Relaxed);
        // What cannot be ended is told by the script itself.
        let _ = self.try_control(if kept { &["down"] } else { &["down", "--wipe"] });
        if kept {
            eprintln!("the fleet's logs: {}", self.path().join("log").display());
            let folder = std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap());
            let _ = folder.keep();
        }
    }
}

fn fetch(arguments: &[&str], url: &str) -> Option<Value> {
    let mut curl = Command::new("curl");
    let output = curl.args(["--silent", "--fail", "--max-time", "5"]).args(arguments).arg(url).output().unwrap();
    output.status.success().then(|| serde_json::from_slice(&output.stdout).ok())?
}

fn client(gateway: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(programs().join("bigdata"));
    command.args(["--url", gateway]).args(arguments).env_remove("BIGDATA_SOCKET").stdin(Stdio::null());
    command.output().unwrap()
}

/// Polls until there is a value.
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(value) = look() {
            return value;
        }
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::park_timeout(Duration::from_millis(100));
    }
}
