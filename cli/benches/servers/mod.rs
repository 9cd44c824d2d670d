//! A Postgres that syncs what it commits, and a RabbitMQ, both thrown away afterwards.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Postgres keeps its promises; its log of writes is as long as a server's of that load.
const OPTIONS: &str =
    "-c fsync=on -c synchronous_commit=on -c full_page_writes=on -c max_wal_size=4GB -c shared_buffers=512MB";

/// Both servers; ended when they are dropped.
pub(crate) struct Servers {
    folder: tempfile::TempDir,
    pub(crate) postgres: String,
    pub(crate) rabbitmq: String,
}

impl Servers {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        // The servers run as users of their own.
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).expect("a folder of ours");
        let [postgres, rabbitmq] = ["postgres", "rabbitmq"].map(|server| deploy(server, "start", folder.path()));
        Self { folder, postgres, rabbitmq }
    }

    /// Runs SQL; its output.
    pub(crate) fn sql(&self, text: &str) -> String {
        let flags = ["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-d", &self.postgres, "-c", text];
        output(Command::new("psql").args(flags))
    }

    /// The transactions per second of so many clients for 5 s.
    pub(crate) fn pgbench(&self, script: &str, clients: usize, clusters: usize) -> f64 {
        let clients = clients.to_string();
        let (jobs, clusters) = (if clients == "1" { "1" } else { "2" }, format!("clusters={clusters}"));
        let said = self.run_pgbench(script, &["-c", &clients, "-j", jobs, "-T", "5", "-D", &clusters]);
        let line =
            said.lines().find_map(|line| line.strip_prefix("tps = ")).unwrap_or_else(|| panic!("no figure in {said}"));
        line.split(' ').next().and_then(|word| word.parse().ok()).expect("a number")
    }

    /// How long each transaction of one client took in 3 s, of so many a second, or one after the other.
    pub(crate) fn latencies(&self, script: &str, rate: Option<u32>) -> Vec<Duration> {
        let folder = tempfile::tempdir_in(self.folder.path()).expect("a folder");
        let prefix = format!("--log-prefix={}/latencies", folder.path().display());
        let rate = rate.map(|rate| format!("--rate={rate}"));
        let flags = ["-c", "1", "-j", "1", "-T", "3", "--log", &prefix];
        self.run_pgbench(script, &flags.into_iter().chain(rate.as_deref()).collect::<Vec<_>>());
        let logs = std::fs::read_dir(folder.path()).expect("the folder is read");
        let texts = logs.map(|log| std::fs::read_to_string(log.expect("a file").path()).expect("a log is read"));
        let lines: Vec<String> = texts.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect();
        // The third word is the time since the transaction was due, the seventh how late it began, where a rate was given;
        // both in microseconds.
        let took = |line: &String| {
            let words: Vec<u64> = line.split(' ').map(|word| word.parse().expect("a number")).collect();
            words[2] - words.get(6).copied().unwrap_or(0)
        };
        lines.iter().map(|line| Duration::from_micros(took(line))).collect()
    }

    fn run_pgbench(&self, script: &str, flags: &[&str]) -> String {
        let file = self.folder.path().join("transaction.sql");
        std::fs::write(&file, script).expect("the script is written");
        output(Command::new("pgbench").arg("-n").args(flags).arg("-f").arg(&file).arg(&self.postgres))
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        for server in ["postgres", "rabbitmq"] {
            deploy(server, "stop", self.folder.path());
        }
    }
}

fn deploy(server: &str, action: &str, folder: &Path) -> String {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("../deploy/{server}.sh"));
    let mut command = Command::new(script);
    output(command.arg(action).arg(folder.join(server)).env("BIGDATA_POSTGRES_OPTIONS", OPTIONS)).trim().to_owned()
}

fn output(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
