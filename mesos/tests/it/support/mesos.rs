//! A real Mesos, started by `deploy/mesos/mesos-cluster`, for one test alone.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};

use nix::fcntl::{Flock, FlockArg};
use tempfile::TempDir;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::framework::{PRINCIPAL, SECRET};

/// Set to 1 where a test without Mesos is to fail.
const REQUIRE: &str = "BIGDATA_REQUIRE_MESOS";

/// Who may call, as a file of Mesos.
const CREDENTIALS: &str = "credentials.json";

/// A cluster is many threads; a small machine bears few at once.
static RUNNING: Semaphore = Semaphore::const_new(2);
static NUMBER: AtomicU8 = AtomicU8::new(1);

pub(crate) struct Mesos {
    directory: TempDir,
    port: u16,
    net: String,
    /// For its agent, too.
    variables: Vec<(&'static str, String)>,
    _permit: SemaphorePermit<'static>,
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/mesos/mesos-cluster")
}

/// Where Mesos is installed, once per machine; or why it cannot be.
fn installation() -> &'static Result<PathBuf, String> {
    static INSTALLATION: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    INSTALLATION.get_or_init(|| {
        let default = || {
            let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
            let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache"));
            Some(cache.or_else(home)?.join("mesos-cluster"))
        };
        let directory = std::env::var_os("MESOS_CLUSTER_DIR").map(PathBuf::from).or_else(default);
        let directory = directory.ok_or("neither HOME nor MESOS_CLUSTER_DIR is set")?;
        std::fs::create_dir_all(&directory).map_err(|error| error.to_string())?;
        let lock = std::fs::File::create(directory.join("install.lock")).map_err(|error| error.to_string())?;
        let _lock = Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, error)| error.to_string())?;
        if !directory.join("mesos-node").is_file() {
            let mut command = Command::new(script());
            let output = command.arg("install").env("MESOS_CLUSTER_DIR", &directory).output();
            checked(output)?;
        }
        Ok(directory)
    })
}

fn checked(output: std::io::Result<Output>) -> Result<(), String> {
    let output = output.map_err(|error| error.to_string())?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr))),
    }
}

impl Mesos {
    pub(crate) async fn start(variables: Vec<(&'static str, String)>) -> Option<Mesos> {
        let started = Self::try_start(variables).await;
        match started {
            Ok(mesos) => Some(mesos),
            Err(reason) if std::env::var(REQUIRE).as_deref() == Ok("1") => {
                panic!("there is no Mesos, and {REQUIRE}=1 demands one: {reason}")
            }
            Err(reason) => {
                eprintln!("NOT TESTED on a real Mesos, which cannot be started here: {reason}");
                None
            }
        }
    }

    async fn try_start(variables: Vec<(&'static str, String)>) -> Result<Mesos, String> {
        let permit = RUNNING.acquire().await.map_err(|error| error.to_string())?;
        let installed = tokio::task::spawn_blocking(installation).await;
        let installed = installed.map_err(|error| error.to_string())?.clone()?;
        let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
        for part in ["lib", "libexec", "mesos-node"] {
            let linked = symlink(installed.join(part), directory.path().join(part));
            linked.map_err(|error| error.to_string())?;
        }
        std::fs::create_dir(directory.path().join("run")).map_err(|error| error.to_string())?;
        let credentials = format!(r#"{{"credentials":[{{"principal":"{PRINCIPAL}","secret":"{SECRET}"}}]}}"#);
        std::fs::write(directory.path().join(CREDENTIALS), credentials).map_err(|error| error.to_string())?;
        let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        // Agents have fixed ports, and so each test a net of its own.
        let process = std::process::id() % 200 + 20;
        let net = format!("127.{process}.{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let port = free.map_err(|error| error.to_string())?.port();
        let mesos = Mesos { directory, port, net, variables, _permit: permit };
        mesos.run(&["up", "1"]).await?;
        Ok(mesos)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(script());
        command
            .args(arguments)
            .env("MESOS_CLUSTER_DIR", self.directory.path())
            .env("MESOS_CLUSTER_PORT", self.port.to_string())
            .env("MESOS_CLUSTER_NET", &self.net)
            .env("MESOS_AUTHENTICATE_HTTP_FRAMEWORKS", "true")
            .env("MESOS_HTTP_FRAMEWORK_AUTHENTICATORS", "basic")
            .env("MESOS_AUTHENTICATE_HTTP_READONLY", "true")
            // The first is the master's, the second the agents'.
            .env("MESOS_CREDENTIALS", self.directory.path().join(CREDENTIALS))
            .env("MESOS_HTTP_CREDENTIALS", self.directory.path().join(CREDENTIALS))
            // Mesos offers in intervals; a test need not wait for a whole second.
            .env("MESOS_ALLOCATION_INTERVAL", "50ms")
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        command
    }

    pub(crate) async fn run(&self, arguments: &[&str]) -> Result<(), String> {
        let mut command = self.command(arguments);
        let output = tokio::task::spawn_blocking(move || command.output()).await;
        checked(output.map_err(|error| error.to_string())?)
    }
}

impl Drop for Mesos {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for name in ["master", "agent1"] {
                let log = self.directory.path().join("run").join(format!("{name}.log"));
                let text = std::fs::read_to_string(log).unwrap_or_default();
                let lines: Vec<&str> = text.lines().collect();
                eprintln!("--- {name}:\n{}", lines[lines.len().saturating_sub(60)..].join("\n"));
            }
        }
        if let Err(reason) = checked(self.command(&["down"]).output()) {
            eprintln!("a Mesos is left behind: {reason}");
        }
    }
}

/// Ends the processes whose working directory is below `directory`.
pub(crate) fn kill_those_in(directory: &Path) {
    let Ok(processes) = std::fs::read_dir("/proc") else { return };
    for process in processes.flatten() {
        let inside = std::fs::read_link(process.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(directory));
        let pid = process.file_name().to_str().and_then(|name| name.parse().ok());
        if let (true, Some(pid)) = (inside, pid) {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
        }
    }
}
