//! Scripts and workloads that mean harm. While they do it the platform answers and other clusters get ready; then the
//! user reads what happened, and a destroy leaves nothing.

mod scripts;
mod workloads;

use crate::support::{Data, Platform, get, processes, until};
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// What nobody but its owner may read.
const CANARY: &str = "canary-7d1f";
/// What the platform says within while it is attacked.
const ANSWER: Duration = Duration::from_secs(1);
/// User ids of one platform's clusters and scripts: `cli/src/up/host.rs`.
const FIRST_UID: u64 = 1_900_000_000;
const UIDS: u64 = 5000;

/// One attack at a time: together they would measure each other.
static ALONE: Mutex<()> = Mutex::new(());

/// A platform to be attacked. It ends before its data directory does: then the sandboxes end their trees.
struct Arena {
    platform: Platform,
    data: Data,
    folder: TempDir,
    _alone: MutexGuard<'static, ()>,
}

impl Arena {
    /// A platform with these settings (TOML).
    fn new(settings: &str) -> Self {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let (data, folder) = (Data::new(), tempfile::tempdir().unwrap());
        let file = folder.path().join("settings.toml");
        std::fs::write(&file, settings).unwrap();
        let platform = data.up(&["--config", file.to_str().unwrap()]);
        Self { platform, data, folder, _alone: alone }
    }

    /// Registers a product of this template, and launches it.
    fn launch(&self, name: &str, template: &Value, script: Option<&str>) -> String {
        self.register(name, template, script);
        self.platform.json(&["launch", name, "1"])["dn"].as_str().unwrap().to_owned()
    }

    fn register(&self, name: &str, template: &Value, script: Option<&str>) {
        let folder = self.folder.path().join(name);
        std::fs::create_dir(&folder).unwrap();
        let write = |file: &str, text: String| std::fs::write(folder.join(file), text).unwrap();
        write("product.json", json!({ "name": name, "version": "1" }).to_string());
        write("template.json", template.to_string());
        if let Some(text) = script {
            write("orchestrator", text.to_owned());
        }
        self.platform.run(&["product", "register", folder.to_str().unwrap()]);
    }

    /// Waits until the attack says that it begins, in the cluster's log or its node's; one that is over has, too.
    fn has_begun(&self, dn: &str) {
        let holds =
            |words: &[&str], text: &str| String::from_utf8_lossy(&self.platform.try_run(words).stdout).contains(text);
        until(&format!("{dn} has begun"), || {
            let begun = holds(&["cluster", "logs", dn], "begun") || holds(&["node", "logs", dn, "solo"], "begun");
            (begun || holds(&["cluster", "show", dn], "failed")).then_some(())
        });
    }

    /// While the attack goes on, the platform answers, and another cluster gets ready.
    fn goes_on(&self) {
        let watch = Watch::start(&self.platform);
        let neighbour = self.platform.launch(1);
        watch.end();
        self.platform.run(&["cluster", "destroy", &neighbour, "--wait", "--timeout", "300"]);
    }

    /// Waits until the cluster has failed; the phase and the reason.
    fn failure(&self, dn: &str) -> String {
        until(&format!("{dn} has failed"), || {
            let view = self.platform.json(&["cluster", "show", dn])["data"].clone();
            assert_ne!(view["status"], "ready", "{dn} withstood its own attack");
            (view["status"] == "failed").then(|| format!("{}: {}", view["failed_during"], view["reason"]))
        })
    }

    /// Destroys the cluster: no process, control group, file or address stays.
    fn leaves_nothing(&self, dn: &str) {
        let groups = self.groups();
        let addresses: Vec<SocketAddr> = self.platform.nodes_with_port(dn);
        self.platform.run(&["cluster", "destroy", dn, "--wait", "--timeout", "300"]);
        // An executor has told its end a moment before it exits.
        until(&format!("no process is left of {dn}"), || self.processes().is_empty().then_some(()));
        let left = || groups_named(Path::new("/sys/fs/cgroup"), &groups);
        until(&format!("no control group is left of {dn}"), || left().is_empty().then_some(()));
        // Data leaves its place at once, and is removed beside what goes on.
        assert_eq!(
            files(&self.data.path().join("engine/volumes/roles")),
            Vec::<PathBuf>::new(),
            "disks are left of {dn}"
        );
        let trash = self.data.path().join("engine/volumes/trash");
        until(&format!("no data is left of {dn}"), || files(&trash).is_empty().then_some(()));
        for address in addresses {
            assert!(std::net::TcpListener::bind(address).is_ok(), "{address} is still taken");
        }
        let agent = &self.platform.json(&["agents"])["agents"][0];
        assert_eq!((&agent["nodes"], &agent["used"]["mem"]), (&json!(0), &json!(0.0)));
        assert!(!self.whole_log().contains(CANARY), "the platform's log shows a secret");
    }

    /// Once every cluster is destroyed: no file stays. A node's folder may be looked into for a while after its end.
    fn keeps_no_file(&self) {
        for (folder, depth) in [("engine/sandboxes", 3), ("run/runs", 1)] {
            let folder = self.data.path().join(folder);
            until(&format!("{} is empty", folder.display()), || below(&folder, depth).is_empty().then_some(()));
        }
    }

    /// The processes of nodes and scripts: by user id where each cluster has one of its own, else by what they were
    /// started with.
    fn processes(&self) -> Vec<String> {
        let mut found = processes(&self.data.path().join("engine/").display().to_string());
        found.extend(processes(&self.data.path().join("run/").display().to_string()));
        if is_root() {
            let uids = self.uids();
            let is_ours = |entry: &std::fs::DirEntry| entry.metadata().is_ok_and(|it| uids.contains(&it.uid().into()));
            let ours = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok).filter(is_ours);
            found.extend(ours.filter_map(|entry| entry.file_name().into_string().ok()));
        }
        let describe = |pid: String| {
            let command = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            format!("{pid} {}", command.replace('\0', " "))
        };
        found.into_iter().map(describe).collect()
    }

    /// The user ids of this platform's clusters and scripts.
    fn uids(&self) -> std::ops::Range<u64> {
        let first = FIRST_UID + self.block() * UIDS;
        first..first + UIDS
    }

    /// Its block of addresses and user ids.
    fn block(&self) -> u64 {
        self.file("host.json")["block"].as_u64().unwrap()
    }

    /// Address and port of each of its services, which are not for nodes and scripts.
    fn services(&self) -> Vec<(String, SocketAddr)> {
        let (first, ports) = (self.block() * 4096, self.file("ports.json"));
        let host = Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 64, 0, 0)) + u32::try_from(first).unwrap());
        let ports = ports.as_object().unwrap().iter();
        let address = |port: &Value| SocketAddr::from((host, u16::try_from(port.as_u64().unwrap()).unwrap()));
        ports.map(|(service, port)| (service.clone(), address(port))).collect()
    }

    /// A JSON file of the data directory.
    fn file(&self, name: &str) -> Value {
        serde_json::from_slice(&std::fs::read(self.data.path().join(name)).unwrap()).unwrap()
    }

    /// The names of the control groups that its nodes are in.
    fn groups(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .processes()
            .iter()
            .filter_map(|process| process.split(' ').next())
            .filter_map(|pid| std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok())
            .flat_map(|text| {
                text.lines().filter_map(|line| line.rsplit('/').next().map(str::to_owned)).collect::<Vec<_>>()
            })
            .filter(|name| name.starts_with("bigdata-"))
            .collect();
        names.sort();
        names.dedup();
        names
    }

    /// All that the platform has logged.
    fn whole_log(&self) -> String {
        std::fs::read_to_string(self.data.path().join("log/bigdata.log")).unwrap_or_default()
    }
}

impl Drop for Arena {
    /// A test that failed leaves no attack behind, which would outrun whoever ends its processes one by one.
    fn drop(&mut self) {
        let groups = self.groups();
        for group in groups_named(Path::new("/sys/fs/cgroup"), &groups) {
            let _ = std::fs::write(group.join("cgroup.kill"), "1");
        }
        let deadline = Instant::now() + Duration::from_secs(5);
        self.platform.kill();
        while std::thread::panicking() && !self.processes().is_empty() && Instant::now() < deadline {
            std::thread::park_timeout(Duration::from_millis(100));
        }
    }
}

fn is_root() -> bool {
    Path::new("/proc/self").metadata().is_ok_and(|it| it.uid() == 0)
}

/// The directories of these names below a folder.
fn groups_named(folder: &Path, names: &[String]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in below(folder, 1).into_iter().filter(|path| path.is_dir()) {
        if path.file_name().is_some_and(|name| names.iter().any(|it| name == it.as_str())) {
            found.push(path);
        } else {
            found.extend(groups_named(&path, names));
        }
    }
    found
}

/// What lies so many levels below a folder; links are not followed.
fn below(folder: &Path, depth: usize) -> Vec<PathBuf> {
    let is_link = folder.symlink_metadata().is_ok_and(|it| it.is_symlink());
    let entries = std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok).filter(|_| !is_link);
    let paths = entries.map(|entry| entry.path());
    if depth == 1 { paths.collect() } else { paths.flat_map(|path| below(&path, depth - 1)).collect() }
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let (folders, mut files): (Vec<_>, Vec<_>) = below(folder, 1).into_iter().partition(|path| path.is_dir());
    files.extend(folders.iter().flat_map(|folder| self::files(folder)));
    files
}

/// Asks for the clusters, again and again.
struct Watch {
    over: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Option<Duration>>>,
}

impl Watch {
    fn start(platform: &Platform) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let address = platform.address();
        let stop = Arc::clone(&over);
        let thread = std::thread::spawn(move || {
            let mut answers = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let begun = Instant::now();
                answers.push(get(address, "/bigdata/api/v1/clusters").map(|_| begun.elapsed()));
                std::thread::park_timeout(Duration::from_millis(50));
            }
            answers
        });
        Self { over, thread }
    }

    /// Every answer came, and came soon. One in ten may be late: other tests share the processors.
    fn end(self) {
        self.over.store(true, Ordering::Relaxed);
        let answers = self.thread.join().unwrap();
        let late = answers.iter().filter(|answer| answer.is_none_or(|it| it > ANSWER)).count();
        eprintln!("{} answers, the slowest after {:?}", answers.len(), answers.iter().flatten().max());
        assert!(late * 10 <= answers.len(), "{late} late: {answers:?}");
    }
}
