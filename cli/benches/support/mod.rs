//! A platform started as its users start it, and readings from the kernel.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The longest wait for anything.
const LIMIT: Duration = Duration::from_secs(300);

/// A running `bigdata up`; stopped when it is dropped.
pub(crate) struct Platform {
    process: Child,
    folder: PathBuf,
    address: String,
    /// From the spawn to the first answered request.
    pub(crate) first_answer: Duration,
}

impl Platform {
    /// Starts on this data directory, on a free port.
    pub(crate) fn start(folder: &Path) -> Self {
        let port =
            std::net::TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a free port").port();
        let address = format!("127.0.0.1:{port}");
        let begun = Instant::now();
        let mut process = Command::new(env!("CARGO_BIN_EXE_bigdata"))
            .args(["up", "--listen", &address, "--resources", "cpus=64,mem=65536,disk=100000", "--data-dir"])
            .arg(folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("bigdata starts");
        let mut line = String::new();
        BufReader::new(process.stdout.take().expect("it is piped"))
            .read_line(&mut line)
            .expect("it says where it listens");
        let _: Value = request("GET", &format!("http://{address}/bigdata/api/v1/products"), None);
        Self { process, folder: folder.to_owned(), address, first_answer: begun.elapsed() }
    }

    /// The process that is the whole control plane.
    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// The public address of a cluster.
    pub(crate) fn url(&self, dn: &str) -> String {
        format!("http://{}/bigdata/api/v1/{dn}", self.address)
    }

    /// Launches `reference` with so many nodes; its distinguished name.
    pub(crate) fn launch(&self, size: usize) -> String {
        let url = format!("http://{}/bigdata/api/v1/products/reference/1.0.0", self.address);
        let launched: Value = request("POST", &url, Some(&json!({ "size": size })));
        launched["dn"].as_str().unwrap_or_else(|| panic!("no launch but {launched}")).to_owned()
    }

    /// Waits until the cluster has this status.
    pub(crate) fn wait(&self, dn: &str, status: &str) {
        let deadline = Instant::now() + LIMIT;
        loop {
            let entry: Value = request("GET", &format!("{}?wait={status}&timeout=30", self.url(dn)), None);
            if entry["data"]["status"] == json!(status) {
                return;
            }
            assert!(entry["data"]["status"] != json!("failed"), "{dn} failed: {}", entry["data"]["reason"]);
            assert!(Instant::now() < deadline, "{dn} is not {status} but {entry}");
        }
    }

    /// Asks for its end.
    pub(crate) fn delete(&self, dn: &str) {
        let _: Value = request("DELETE", &self.url(dn), None);
    }

    /// Asks for its end and waits for it.
    pub(crate) fn destroy(&self, dn: &str) {
        self.delete(dn);
        self.wait(dn, "destroyed");
    }

    /// The executors of this platform.
    pub(crate) fn executors(&self) -> Vec<u32> {
        processes()
            .into_iter()
            .filter(|pid| arguments(*pid).get(1).is_some_and(|word| word == "executor"))
            .filter(|pid| std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd.starts_with(&self.folder)))
            .collect()
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-TERM", &self.pid().to_string()]).status();
        let _ = self.process.wait();
    }
}

/// A request with a JSON body; its JSON reply. A connection of its own: what a script pays.
pub(crate) fn request(method: &str, url: &str, body: Option<&Value>) -> Value {
    let rest = url.strip_prefix("http://").expect("a plain URL");
    let (address, path) = rest.split_once('/').expect("a path");
    let body = body.map(ToString::to_string).unwrap_or_default();
    let mut stream = TcpStream::connect(address).expect("the platform listens");
    stream.set_read_timeout(Some(LIMIT)).expect("a time limit can be set");
    let head = format!(
        "{method} /{path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).expect("the request is sent");
    let mut reply = String::new();
    stream.read_to_string(&mut reply).expect("the reply is read");
    let begin = reply.find('{').unwrap_or(reply.len());
    let end = reply.rfind('}').map_or(reply.len(), |at| at + 1);
    serde_json::from_str(&reply[begin..end]).unwrap_or_else(|_| panic!("no JSON from {url}: {reply}"))
}

/// The middle one.
pub(crate) fn median(mut values: Vec<Duration>) -> Duration {
    values.sort();
    values[values.len() / 2]
}

/// A process that does nothing, from its start to its end.
pub(crate) fn spawn_true() -> Duration {
    let begun = Instant::now();
    Command::new("/bin/true").status().expect("true runs");
    begun.elapsed()
}

/// A node of the reference product started by hand, until it answers.
pub(crate) fn reference_node_start() -> Duration {
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a free port").port();
    let begun = Instant::now();
    let mut node = Command::new(env!("CARGO_BIN_EXE_bigdata"))
        .args(["reference-node", "--listen", &format!("127.0.0.1:{port}"), "--name", "node", "--cluster", "bench"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the node starts");
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(begun.elapsed() < LIMIT, "the node does not answer");
        std::thread::yield_now();
    }
    let took = begun.elapsed();
    let _ = node.kill();
    let _ = node.wait();
    took
}

/// User and system time of these processes.
pub(crate) fn cpu_time(pids: &[u32]) -> Duration {
    let ticks: u64 = pids
        .iter()
        .filter_map(|pid| std::fs::read_to_string(format!("/proc/{pid}/stat")).ok())
        .filter_map(|stat| {
            let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
            Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
        })
        .sum();
    // Linux counts in hundredths of a second on every common configuration.
    Duration::from_millis(ticks * 10)
}

/// Proportional set size in KiB.
pub(crate) fn pss_kib(pid: u32) -> u64 {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
    line.and_then(|value| value.trim().trim_end_matches(" kB").parse().ok()).unwrap_or_default()
}

fn processes() -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").expect("/proc can be read");
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

fn arguments(pid: u32) -> Vec<String> {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    line.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}
