//! One fleet for all tests, and how tests talk to it.

use serde_json::Value;
use std::collections::HashMap;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{OnceLock, RwLock};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Names a folder with the programs to test, where it is not that of this build.
const PROGRAMS: &str = "BIGDATA_BIN";
/// Names a folder with a newer build, with a migration of each service, where an upgrade to one is to be tested.
const NEXT: &str = "BIGDATA_BIN_NEXT";
/// The longest that a test waits for anything.
pub(crate) const LIMIT: Duration = Duration::from_secs(300);
/// What the folders of fleets begin with whose tests failed.
const FAILED: &str = "failed-";
/// How often the end of a fleet is tried.
const DOWN_TRIES: u32 = 3;
/// The replicas of the framework.
pub(crate) const FRAMEWORKS: [&str; 2] = ["framework-1", "framework-2"];
/// The agents of Mesos.
pub(crate) const AGENTS: [&str; 3] = ["mesos-agent-1", "mesos-agent-2", "mesos-agent-3"];
/// The services' programs, beside the command line's.
const SERVICES: [&str; 5] =
    ["bigdata-registry", "bigdata-framework", "bigdata-orchestrator", "bigdata-gateway", "bigdata-executor"];

/// The folder of the programs under test.
pub(crate) fn programs() -> PathBuf {
    let built = || Path::new(env!("CARGO_BIN_EXE_bigdata")).parent().unwrap().to_owned();
    std::env::var_os(PROGRAMS).map_or_else(built, PathBuf::from)
}

/// A fleet in a folder of its own; ended, with everything that it left, when dropped.
pub(crate) struct Fleet {
    folder: TempDir,
    addresses: OnceLock<HashMap<String, String>>,
    /// Where the programs of parts that are started from now on come from.
    programs: RwLock<PathBuf>,
}

impl Fleet {
    pub(crate) fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("bf").tempdir_in("/tmp").unwrap();
        Self { folder, addresses: OnceLock::new(), programs: RwLock::new(programs()) }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("fleet")
    }

    /// A command of `deploy/fleet`; it must succeed. What it wrote to standard output.
    pub(crate) fn control(&self, arguments: &[&str]) -> String {
        self.control_with(arguments, &[])
    }

    /// The same with variables, which parts that it starts get.
    pub(crate) fn control_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> String {
        let output = self.try_control(arguments, variables);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "deploy/fleet {arguments:?}: {error}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Gives parts these settings as long as `body` takes. A fleet whose test failed is given up with them.
    pub(crate) fn set(&self, parts: &[&str], variables: &[(&str, &str)], body: impl FnOnce()) {
        let again = |variables: &[(&str, &str)]| {
            for command in ["stop", "start", "wait"] {
                self.control_with(&[&[command], parts].concat(), variables);
            }
        };
        again(variables);
        body();
        again(&[]);
    }

    fn try_control(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
        self.controlling().args(arguments).envs(variables.iter().copied()).output().unwrap()
    }

    fn controlling(&self) -> Command {
        let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/fleet"));
        command
            .env("BIGDATA_FLEET_DIR", self.path())
            .env("BIGDATA_FLEET_PORTS", std::env::var("BIGDATA_FLEET_PORTS").unwrap_or_else(|_| "17000".to_owned()))
            .env(PROGRAMS, self.programs.read().unwrap().as_path())
            .stdin(Stdio::null());
        command
    }

    /// Whether each agent has a machine of its own, as far as the network goes.
    pub(crate) fn has_machines(&self) -> bool {
        std::env::var("BIGDATA_FLEET_MACHINES").as_deref() == Ok("1")
    }

    /// A command that is run on an agent's machine.
    pub(crate) fn inside(&self, agent: &str, words: &[&str]) -> Command {
        let mut command = self.controlling();
        command.args(["inside", agent]).args(words);
        command
    }

    /// What is started from now on is of the newer build. False where there is none.
    pub(crate) fn upgrade(&self) -> bool {
        let next = std::env::var_os(NEXT).map(PathBuf::from);
        if let Some(next) = &next {
            self.programs.write().unwrap().clone_from(next);
        }
        next.is_some()
    }

    /// The newest migration of a service's schema.
    pub(crate) fn schema_version(&self, service: &str) -> u64 {
        self.value(&format!("SELECT max(version) FROM {service}._sqlx_migrations")).parse().unwrap()
    }

    /// What a query answers; empty where it has no row, or the database is away.
    pub(crate) fn value(&self, query: &str) -> String {
        let output = Command::new("psql").args([self.address("FLEET_POSTGRES"), "-qtAc", query]).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// The process of a part; empty where it never ran.
    pub(crate) fn pid_of(&self, part: &str) -> String {
        let text = std::fs::read_to_string(self.path().join("run").join(format!("{part}.pid"))).unwrap_or_default();
        text.split(' ').next().unwrap_or_default().to_owned()
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

    /// Runs a client command at one gateway or the other, until it succeeds. A launch whose answer was lost is not another one.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        let key = format!("test-{:x}", rand::random::<u64>());
        let has_own = arguments[0] != "launch" || arguments.contains(&"--idempotency-key");
        let own: &[&str] = if has_own { &[] } else { &["--idempotency-key", &key] };
        let arguments = &[arguments, own].concat();
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

    /// A client command at the first gateway.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let gateway = self.address("FLEET_GATEWAY").split(',').next().unwrap();
        let mut command = Command::new(programs().join("bigdata"));
        command.args(["--url", gateway]).args(arguments).env_remove("BIGDATA_SOCKET").stdin(Stdio::null());
        command
    }

    /// Sends one on its way, whatever its end; for requests that are sent again later under the same key.
    pub(crate) fn begin(&self, arguments: &[&str]) -> std::process::Child {
        self.command(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
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
        until("a framework leads", || {
            let addresses: Vec<&str> = self.address("FLEET_FRAMEWORK").split(',').collect();
            // A framework that does not lead answers 503.
            let leads = |at: &usize| self.get(&format!("{}/internal/v1/orphans", addresses[*at])).is_some();
            [0, 1].into_iter().find(leads).map(|at| FRAMEWORKS[at])
        })
    }

    /// The base URL of the framework that leads.
    pub(crate) fn leader_url(&self) -> String {
        let position = usize::from(self.leader() == "framework-2");
        self.address("FLEET_FRAMEWORK").split(',').nth(position).unwrap().to_owned()
    }

    /// What a part has written to its log.
    pub(crate) fn log_of(&self, part: &str) -> String {
        std::fs::read_to_string(self.path().join("log").join(format!("{part}.log"))).unwrap_or_default()
    }

    /// What the leading master has, as its operators are told.
    pub(crate) fn mesos(&self) -> Value {
        let url = format!("{}/master/state", self.address("FLEET_MESOS"));
        until("the master tells what it has", || self.get(&url))
    }

    /// The agents as the leading master lists them, with their reservations and volumes: its state has neither.
    pub(crate) fn agents(&self) -> Vec<Value> {
        let url = format!("{}/master/slaves", self.address("FLEET_MESOS"));
        until("the master lists its agents", || self.get(&url)?["slaves"].as_array().cloned())
    }

    /// The registry's id, which is the label of all that its clusters have at Mesos.
    pub(crate) fn registry(&self) -> String {
        let id = || Some(self.value("SELECT value FROM registry.registry_facts WHERE name = 'id'"));
        until("the registry has an id", || id().filter(|id| !id.is_empty()))
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
        let output = self.rabbitmqctl(arguments);
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    }

    /// Whether a command of `rabbitmqctl` was done.
    pub(crate) fn rabbitmq_does(&self, arguments: &[&str]) -> bool {
        self.rabbitmqctl(arguments).status.success()
    }

    fn rabbitmqctl(&self, arguments: &[&str]) -> Output {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/rabbitmq.sh");
        Command::new(script).arg("ctl").arg(self.path().join("rabbitmq")).args(arguments).output().unwrap()
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

    /// Those of these tasks.
    pub(crate) fn processes_of(&self, tasks: &[String]) -> Vec<String> {
        let of_tasks = |pid: &String| {
            let place = std::fs::read_link(Path::new("/proc").join(pid).join("cwd"));
            place.is_ok_and(|place| tasks.iter().any(|task| place.to_string_lossy().contains(task)))
        };
        self.node_processes().into_iter().filter(of_tasks).collect()
    }

    /// Kills a node with its executor, as the machine's lack of memory does.
    pub(crate) fn kill_task(&self, task: &str) {
        let pids = self.processes_of(&[task.to_owned()]);
        assert!(!pids.is_empty(), "no process of task {task}");
        // One may have ended by the end of another.
        Command::new("kill").arg("-KILL").args(&pids).output().unwrap();
    }

    /// Ends the fleet of a test that failed, and leaves what it had for whoever looks into that: the next test begins with a new
    /// one, at the same addresses and with the same keys. Whether there can be one.
    pub(crate) fn give_up(&self, test: &str) -> bool {
        let ends = || {
            let down = self.try_control(&["down"], &[]);
            eprint!("{}", String::from_utf8_lossy(&down.stderr));
            down.status.success()
        };
        // A part that ends just when it is to be killed makes this fail.
        if !(0..DOWN_TRIES).any(|_| ends()) {
            return false;
        }
        let left = self.folder.path().join(format!("{FAILED}{test}"));
        let renewed = std::fs::rename(self.path(), &left).and_then(|()| std::fs::create_dir(self.path()));
        // Without keys, where it never came as far as to have some.
        let copied = Command::new("cp").arg("-a").arg(left.join("keys")).arg(self.path()).output();
        // Copies of the programs, which are large.
        let _ = std::fs::remove_dir_all(left.join("bin"));
        eprintln!("{} has what the fleet had ({renewed:?}, {:?})", left.display(), copied.map(|output| output.status));
        renewed.is_ok()
    }

    /// The last lines that mention trouble, of every part; not those of its start, which waits for others.
    pub(crate) fn log(&self) -> String {
        let is_trouble = |line: &&str| {
            let is_warning = ["WARN\"", "ERROR", "WARN "].iter().any(|word| line.contains(word));
            is_warning && !line.contains("bigdata_chassis::readiness")
        };
        let mut text = String::new();
        for entry in std::fs::read_dir(self.path().join("log")).into_iter().flatten().flatten() {
            let log = std::fs::read_to_string(entry.path()).unwrap_or_default();
            let lines: Vec<&str> = log.lines().filter(is_trouble).collect();
            let last = lines[lines.len().saturating_sub(8)..].join("\n");
            if !last.is_empty() {
                text.push_str(&format!("\n--- {}\n{last}", entry.file_name().display()));
            }
        }
        text
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        let down = self.try_control(&["down", "--wipe"], &[]);
        if !down.status.success() {
            eprintln!("the fleet does not end: {}", String::from_utf8_lossy(&down.stderr));
        }
        let left = std::fs::read_dir(self.folder.path()).into_iter().flatten().flatten().map(|entry| entry.path());
        let failed: Vec<PathBuf> = left
            .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(FAILED)))
            .collect();
        if !failed.is_empty() {
            // The last one's keys.
            let _ = std::fs::remove_dir_all(self.path());
            eprintln!("what the fleets of failed tests had, logs below log/: {failed:#?}");
            self.folder.disable_cleanup(true);
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
    until_told(what, || look().ok_or(""))
}

/// The same for looks that tell what they have seen in place of it.
pub(crate) fn until_told<T, S: Display>(what: &str, mut look: impl FnMut() -> Result<T, S>) -> T {
    let deadline = Instant::now() + LIMIT;
    loop {
        match look() {
            Ok(value) => return value,
            Err(seen) => assert!(Instant::now() < deadline, "not in time: {what} {seen}"),
        }
        std::thread::park_timeout(Duration::from_millis(100));
    }
}
