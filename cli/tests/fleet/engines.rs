//! A Podman for each agent's machine, with storage of its own, and agents that tell of it.

use crate::engine::{lay_out, write_program};
use crate::fleet::{AGENTS, Fleet, programs, until};
use serde_json::{Value, json};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// The image of the nodes. The engines do not have it: they find it in a folder of the agent.
pub(crate) const IMAGE: &str = "localhost/bigdata-fleet:1";
const IMAGE_FILE: &str = "localhost_bigdata-fleet_1.tar";
/// Serves its node's name on every address that it has.
const START: &str = "#!/bin/sh
mkdir -p /www
echo \"$BIGDATA_NODE\" >/www/name
echo \"at $BIGDATA_ADDRESS\"
trap 'echo bye; kill $server; exit 0' TERM
httpd -f -p 8080 -h /www & server=$!
wait $server
";
/// What engines of one machine share beside their storage is each one's own: addresses that are given away, and names of
/// network namespaces.
const APART: &str = "for folder in /run /var/lib/cni; do
    mkdir -p $folder && mount -t tmpfs none $folder || exit 1
done
exec \"$@\"";
/// Locks are in files, below the engine's own folder. What watches a command would stay for five minutes.
const SETTINGS: &str = "[engine]\nlock_type = \"file\"\nexit_command_delay = 5\n";

/// The engine of an agent's machine. Its containers end with it; where a test fails, with the fleet, which tells of them before.
pub(crate) struct Engine<'a> {
    fleet: &'a Fleet,
    /// The agent.
    pub(crate) agent: &'static str,
    folder: PathBuf,
    service: Child,
}

impl<'a> Engine<'a> {
    /// One for each agent.
    pub(crate) fn all(fleet: &'a Fleet) -> Vec<Self> {
        let engines: Vec<Self> = AGENTS.into_iter().map(|agent| Self::start(fleet, agent)).collect();
        engines.iter().for_each(Self::answers);
        engines[0].make_image(&fleet.path().join("images"));
        engines
    }

    fn start(fleet: &'a Fleet, agent: &'static str) -> Self {
        let folder = fleet.path().join("engines").join(agent);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("containers.conf"), SETTINGS).unwrap();
        let service = serve(fleet, agent, &folder);
        Self { fleet, agent, folder, service }
    }

    /// Waits until it says what it is, as executors ask it: its first word takes the longest.
    fn answers(&self) {
        until(&format!("the engine of {} answers", self.agent), || self.ask("info"));
    }

    /// What it says; None: it does not answer.
    fn ask(&self, what: &str) -> Option<Value> {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--fail", "--max-time", "60", "--unix-socket"]).arg(self.folder.join("sock"));
        let output = curl.arg(format!("http://engine/v4.0.0/libpod/{what}")).output().unwrap();
        output.status.success().then(|| serde_json::from_slice(&output.stdout).ok())?
    }

    fn address(&self) -> String {
        format!("unix://{}", self.folder.join("sock").display())
    }

    /// Starts its agent.
    pub(crate) fn start_agent(&self) {
        let told = self.variables();
        let told: Vec<(&str, &str)> = told.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.fleet.control_with(&["start", self.agent], &told);
    }

    /// What the agent is told: for its executors, and of itself.
    fn variables(&self) -> [(&'static str, String); 3] {
        let images = self.fleet.path().join("images").display().to_string();
        let told = json!({ "BIGDATA_CONTAINER_ENGINE": self.address(), "BIGDATA_CONTAINER_IMAGES": images });
        [
            ("MESOS_EXECUTOR_ENVIRONMENT_VARIABLES", told.to_string()),
            ("BIGDATA_FLEET_ATTRIBUTES", "bigdata_containers:true".to_owned()),
            ("BIGDATA_FLEET_NETWORK", "container".to_owned()),
        ]
    }

    /// A command of Podman, asked of this engine; what it wrote.
    fn podman(&self, arguments: &[&str]) -> String {
        let output = self.try_podman(arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "podman {arguments:?} on {}: {error}", self.agent);
        String::from_utf8(output.stdout).unwrap()
    }

    fn try_podman(&self, arguments: &[&str]) -> Output {
        Command::new("podman").args(["--url", &self.address()]).args(arguments).output().unwrap()
    }

    /// Removes a container; again as long as the engine refuses that, as it does while a command runs there.
    pub(crate) fn remove(&self, id: &str) {
        until(&format!("the container {id} is removed"), || {
            self.try_podman(&["rm", "--force", "--time", "0", id]);
            self.containers().iter().all(|container| container.id != id).then_some(())
        });
    }

    /// The containers of nodes, in whatever state; asked of it as executors do, which is faster than Podman's program.
    pub(crate) fn containers(&self) -> Vec<Container> {
        let listed = until("an engine lists its containers", || self.ask("containers/json?all=true"));
        let container = |it: &Value| Container {
            node: it["Labels"]["bigdata_node"].as_str().unwrap().to_owned(),
            id: it["Id"].as_str().unwrap().to_owned(),
            pid: it["Pid"].to_string(),
        };
        listed.as_array().unwrap().iter().map(container).collect()
    }

    /// Whatever it has beside the image and its own network, as far as it tells.
    pub(crate) fn left(&self) -> Vec<String> {
        let mut left = Vec::new();
        for (kind, words) in [
            ("container", &["ps", "--all", "--quiet"][..]),
            ("volume", &["volume", "ls", "--quiet"]),
            ("network", &["network", "ls", "--quiet"]),
        ] {
            let listed = self.try_podman(words);
            if !listed.status.success() {
                left.push(format!("what {} does not tell: {listed:?}", self.agent));
            }
            let listed = String::from_utf8_lossy(&listed.stdout);
            let found = listed.lines().filter(|name| *name != "podman");
            left.extend(found.map(|name| format!("{kind} {name} on {}", self.agent)));
        }
        left
    }

    /// Ends it with every container, as the end of its machine does; what they wrote stays.
    pub(crate) fn die(&mut self) {
        // One that has just ended cannot be killed.
        until("every container is killed", || {
            self.try_podman(&["kill", "--all", "--signal", "KILL"]).status.success().then_some(())
        });
        self.end();
    }

    /// Starts it again, as the machine's start does.
    pub(crate) fn revive(&mut self) {
        self.service = serve(self.fleet, self.agent, &self.folder);
        self.answers();
    }

    /// Has what executors have left that are gone removed, as an operator does from time to time.
    pub(crate) fn tidy(&self) -> Child {
        let mut command = Command::new(programs().join("bigdata-executor"));
        command.arg("tidy").env("BIGDATA_CONTAINER_ENGINE", self.address()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// Ends what stands in its folder: its service, and whatever watches its containers.
    fn end(&mut self) {
        let is_here = |pid: &String| {
            let place = std::fs::read_link(Path::new("/proc").join(pid).join("cwd"));
            place.is_ok_and(|place| place.starts_with(&self.folder))
        };
        let pids = std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let pids: Vec<String> = pids.filter(|pid| pid.parse::<u32>().is_ok()).filter(is_here).collect();
        let _ = Command::new("kill").arg("-KILL").args(&pids).stderr(Stdio::null()).status();
        // Podman may have moved its first thread to another folder.
        let _ = self.service.kill();
        let _ = self.service.wait();
        // As after a start of the machine.
        for folder in ["run", "tmp", "sock"].map(|name| self.folder.join(name)) {
            let _ = std::fs::remove_dir_all(&folder).or_else(|_| std::fs::remove_file(&folder));
        }
    }

    /// Makes the image, and takes it away from the engine: agents have it as a file.
    fn make_image(&self, images: &Path) {
        let root = tempfile::tempdir().unwrap();
        lay_out(root.path());
        write_program(&root.path().join("start"), START);
        let packed = root.path().with_extension("tar");
        let tar = Command::new("tar").arg("-C").arg(root.path()).arg("-cf").arg(&packed).arg(".").status().unwrap();
        assert!(tar.success());
        std::fs::create_dir_all(images).unwrap();
        let file = images.join(IMAGE_FILE);
        self.podman(&["import", "--change", "CMD [\"/start\"]", packed.to_str().unwrap(), IMAGE]);
        self.podman(&["save", "--output", file.to_str().unwrap(), IMAGE]);
        self.podman(&["rmi", IMAGE]);
        std::fs::remove_file(packed).unwrap();
    }
}

impl Drop for Engine<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.podman(&["rm", "--all", "--force", "--volumes", "--time", "0"]);
            self.end();
        }
    }
}

/// A container of an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Container {
    pub(crate) node: String,
    pub(crate) id: String,
    pub(crate) pid: String,
}

/// Podman's service on an agent's machine.
fn serve(fleet: &Fleet, agent: &str, folder: &Path) -> Child {
    let at = folder.display();
    let own = [("root", "storage"), ("runroot", "run"), ("tmpdir", "tmp"), ("network-config-dir", "networks")];
    let mut podman = own.map(|(option, name)| format!("--{option}={at}/{name}")).to_vec();
    podman.extend(["--cgroup-manager=cgroupfs", "--events-backend=none"].map(str::to_owned));
    if Path::new("/usr/sbin/runc").exists() {
        podman.push("--runtime=/usr/sbin/runc".to_owned());
    }
    let apart = ["unshare", "--mount", "sh", "-c", APART, "sh", "podman"];
    let mut command = fleet.inside(agent, &apart);
    command.args(podman).args(["system", "service", "--time", "0", &format!("unix://{at}/sock")]);
    let log = File::options().create(true).append(true).open(folder.join("log")).unwrap();
    // What watches a container stands where it was started.
    command.env("CONTAINERS_CONF", folder.join("containers.conf")).current_dir(folder);
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap()
}

/// Starts the agents anew, with engines or without. Mesos takes one that has other attributes for another agent, so it must
/// not find what it was.
pub(crate) fn renew(fleet: &Fleet, engines: Option<&[Engine<'_>]>) {
    fleet.control(&[&["stop"], &AGENTS[..]].concat());
    let folder = fleet.path().join("mesos");
    let found = Command::new("find").arg(&folder).args(["-path", "*/meta/slaves/latest", "-delete"]).status();
    assert!(found.unwrap().success());
    match engines {
        Some(engines) => engines.iter().for_each(Engine::start_agent),
        None => drop(fleet.control(&[&["start"], &AGENTS[..]].concat())),
    }
    fleet.control(&[&["wait"], &AGENTS[..]].concat());
}
