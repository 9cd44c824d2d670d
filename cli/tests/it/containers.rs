//! Nodes that are containers, from the command line to the engine of this machine, on a real Podman.

mod catalog;
mod disks;
mod gluster;
mod older;
mod rights;
mod services;

use crate::engine::{Engine, IMAGE, engine, variables};
use crate::support::{Data, Platform, processes, until};
use serde_json::json;
use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Output, Stdio};

const CLUSTER: &str = "clusters/local/boxes/1/1";
/// More than any pipe on the way holds.
const STREAM: usize = 8 << 20;

const SCRIPT: &str = "#!/bin/sh
set -eu
case ${1-} in
start)
    bigdata node list | while read -r name address ports; do
        echo \"told on $address\" | bigdata node exec -i \"$name\" -- sh -c 'cat >/var/lib/data/told'
    done ;;
*) exit 64 ;;
esac
";

/// A platform's folder whose containers go with it, however its test ends.
struct Boxes {
    data: Data,
    engine: &'static Engine,
}

impl Boxes {
    fn new() -> Option<Self> {
        let engine = engine()?;
        Some(Self { data: Data::with(variables()), engine })
    }

    fn up(&self) -> Platform {
        self.data.up(&["--no-catalog"])
    }

    /// The containers of its nodes.
    fn containers(&self) -> BTreeSet<String> {
        let ours = self.data.path().display().to_string();
        let format = "{{.ID}} {{index .Labels \"bigdata_folder\"}}";
        let listed = self.engine.run(&["ps", "--all", "--filter", "label=bigdata_folder", "--format", format]);
        let ours =
            listed.lines().filter_map(|line| line.split_once(' ').filter(|(_, folder)| folder.starts_with(&ours)));
        ours.map(|(id, _)| id.to_owned()).collect()
    }
}

impl Drop for Boxes {
    fn drop(&mut self) {
        let ours = self.data.path().display().to_string();
        // Executors first: they would begin again.
        for process in processes(&ours) {
            let _ = Command::new("kill").args(["-9", &process]).stderr(Stdio::null()).status();
        }
        for id in self.containers() {
            let _ = self.engine.podman(&["rm", "--force", "--volumes", &id]).output();
        }
    }
}

/// A product whose nodes are containers of the test's image.
fn register(platform: &Platform) {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let node = json!({
        "cpu": 1.0, "mem": 48, "docker_image": IMAGE,
        "env": { "MODE": "{{ opts.mode }}", "SECRET": "@{secret:password}" },
        "ports": { "web": 8080 },
        "disks": { "data": { "destination": "/var/lib/data", "size": 64, "persistent": true } },
        "files": { "conf/own": "on @{address}", "/etc/inside.conf": "p=@{secret:password}" },
        "health": { "http": { "port": "web", "path": "/index.html" }, "interval": 1 },
        "stats": ["echo", "{\"requests\": 7}"],
        "restart": { "limit": 0 },
    });
    let nodes = format!(
        "{{% for n in range(opts.size) %}}{{{{ ',' if not loop.first }}}} \"node{{{{ n }}}}\": {node}{{% endfor %}}"
    );
    write("product.json", r#"{ "name": "boxes", "version": "1" }"#);
    write("template.json", &format!(r#"{{ "nodes": {{ {nodes} }}, "services": {{}} }}"#));
    let schema = json!({ "password": { "type": "string", "secret": true, "generate": true } });
    let options = json!({ "optional": { "size": 3, "mode": "", "password": "" }, "schema": schema });
    write("options.json", &options.to_string());
    write("orchestrator", SCRIPT);
    platform.run(&["product", "register", folder.path().to_str().unwrap()]);
}

fn launch(platform: &Platform, options: &[&str]) {
    let view = platform.json(&[&["launch", "boxes", "1"], options, &["--wait", "--timeout", "300"]].concat());
    assert_eq!((view["status"].as_str(), view["dn"].as_str()), (Some("ready"), Some(CLUSTER)));
}

fn exec(platform: &Platform, node: &str, script: &str) -> String {
    platform.run(&["node", "exec", CLUSTER, node, "--", "sh", "-c", script])
}

/// Runs a command of a node with this input; its exit code and output.
fn fed(platform: &Platform, arguments: &[&str], input: Vec<u8>) -> (Option<i32>, Vec<u8>) {
    let words = [&["node", "exec", "-i", CLUSTER, "node0", "--"], arguments].concat();
    let mut child = platform.command(&words).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let feeding = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    // One that does not read to its end closes its input before.
    let _ = feeding.join().unwrap();
    (output.status.code(), output.stdout)
}

fn healthy(platform: &Platform) {
    until("the cluster is healthy", || {
        let shown = &platform.json(&["cluster", "show", CLUSTER])["data"];
        (shown["health"] == "healthy" && shown["operation"].is_null()).then_some(())
    });
}

fn mounts() -> String {
    std::fs::read_to_string("/proc/self/mountinfo").unwrap()
}

#[test]
fn a_cluster_of_containers_lives_and_leaves_nothing() {
    let Some(boxes) = Boxes::new() else { return };
    let networks = boxes.engine.run(&["network", "ls", "--quiet"]);
    let platform = boxes.up();
    let agent = until("the agent is there", || platform.json(&["agents"])["agents"].get(0).cloned());
    let engine = agent["attributes"]["bigdata_containers"].as_str();
    assert!(engine.is_some_and(|name| name.starts_with("Podman-")), "{agent}");
    register(&platform);
    launch(&platform, &[]);
    let containers = boxes.containers();
    assert_eq!(containers.len(), 3);
    assert!(platform.run(&["cluster", "list"]).contains("3/3"));
    works(&platform);
    streams(&platform);
    shows(&platform);

    assert_eq!(platform.signal("-KILL"), None);
    let platform = boxes.up();
    until("the executors are reached", || {
        let reached = |node| platform.try_run(&["node", "exec", CLUSTER, node, "--", "true"]).status.success();
        ["node0", "node1", "node2"].into_iter().all(reached).then_some(())
    });
    healthy(&platform);
    assert_eq!(boxes.containers(), containers, "containers were made anew");

    loses_an_executor(&platform, &boxes, &containers);
    platform.run(&["cluster", "destroy", CLUSTER, "--wait", "--timeout", "300"]);
    assert_eq!(boxes.containers(), BTreeSet::new());
    assert_eq!(boxes.engine.run(&["network", "ls", "--quiet"]), networks);
    boxes.data.ended();
    assert!(!mounts().contains(boxes.data.path().to_str().unwrap()), "{}", mounts());
    assert!(platform.run(&["admin", "invariants"]).contains("yes"));
}

fn works(platform: &Platform) {
    let nodes = platform.json(&["cluster", "nodes", CLUSTER]);
    let address = nodes["nodes"][0]["address"].as_str().unwrap();
    let secret = platform.run(&["cluster", "secrets", CLUSTER, "password"]);
    let shown = exec(platform, "node0", "cat conf/own; echo; cat /etc/inside.conf; echo; cat /var/lib/data/told; pwd");
    assert_eq!(shown, format!("on {address}\np={}\ntold on {address}\n/bigdata\n", secret.trim()));
    assert_eq!(exec(platform, "node0", "wget -q -O - http://node1:8080/index.html"), "here\n");
    let output = ended(platform, 7, &["sh", "-c", "echo o; echo e >&2; exit 7"]);
    assert_eq!((output.stdout.as_slice(), output.stderr.as_slice()), (&b"o\n"[..], &b"e\n"[..]));
    ended(platform, 127, &["no-such-program"]);
    ended(platform, 126, &["/etc/passwd"]);
    for path in ["a/b.txt", "/var/lib/data/b.txt", "/opt/new/b.txt"] {
        until(&format!("{path} is put"), || {
            let words = ["node", "put", CLUSTER, "node0", path, "--mode", "640"];
            let mut child = platform.command(&words).stdin(Stdio::piped()).spawn().unwrap();
            // One that was refused has closed its input before.
            let written = child.stdin.take().unwrap().write_all(b"late @{address}\n");
            (child.wait().unwrap().success() && written.is_ok()).then_some(())
        });
        assert_eq!(platform.run(&["node", "get", CLUSTER, "node0", path]), "late @{address}\n", "{path}");
        assert_eq!(exec(platform, "node0", &format!("stat -c %a {path}")), "640\n", "{path}");
    }
    platform.fails(3, &["node", "get", CLUSTER, "node0", "/no/such/file"]);
}

/// A command of a node, which ends with this code; again where a busy engine does not tell in time how it ended, which the
/// client says in words.
fn ended(platform: &Platform, code: i32, command: &[&str]) -> Output {
    let output = until(&format!("{command:?} ends"), || {
        let output = platform.try_run(&[&["node", "exec", CLUSTER, "node0", "--"], command].concat());
        let is_told = !String::from_utf8_lossy(&output.stderr).lines().any(|line| line.starts_with("error: "));
        is_told.then_some(output)
    });
    assert_eq!(output.status.code(), Some(code), "{command:?}: {output:?}");
    output
}

/// Input and output of any length, whole; and of commands that do not care for theirs.
fn streams(platform: &Platform) {
    let sent: Vec<u8> = (0..STREAM).map(|at| (at * 7 % 251) as u8).collect();
    let (code, received) = fed(platform, &["cat"], sent.clone());
    assert_eq!(code, Some(0));
    assert!(received == sent, "{} of {} bytes, or others, came back", received.len(), sent.len());
    let (code, counted) = fed(platform, &["wc", "-c"], sent.clone());
    assert_eq!((code, String::from_utf8(counted).unwrap().trim()), (Some(0), STREAM.to_string().as_str()));
    assert_eq!(fed(platform, &["sh", "-c", "exit 9"], sent).0, Some(9));
    assert_eq!(fed(platform, &["sh", "-c", "read line && echo \"$line\""], b"one\ntwo\n".to_vec()).1, b"one\n");
    assert_eq!(fed(platform, &["cat"], Vec::new()), (Some(0), Vec::new()));
}

fn shows(platform: &Platform) {
    // Figures come when the engine and the node's own command have told them.
    let stats = until("a node's figures are told", || {
        let stats = platform.json(&["node", "stats", CLUSTER, "node1"]);
        stats["workload"].is_object().then_some(stats)
    });
    assert_eq!(stats["workload"]["requests"], 7, "{stats}");
    assert!(stats["rss_bytes"].as_u64().is_some_and(|bytes| bytes > 100_000), "{stats}");
    assert!(stats["isolation"].as_str().unwrap().starts_with("container (Podman"), "{stats}");
    assert!(platform.run(&["node", "logs", CLUSTER, "node1"]).contains("at 127."));
}

/// The next attempt takes the place of a container whose executor was killed, with the same disk.
fn loses_an_executor(platform: &Platform, boxes: &Boxes, before: &BTreeSet<String>) {
    exec(platform, "node1", "echo kept >/var/lib/data/kept; echo lost >/lost");
    // Whoever was sent for a command may be on its way out still.
    let executors = until("there is one process for each node, and none of a container", || {
        Some(boxes.data.nodes()).filter(|found| found.len() == 3)
    });
    let is_of_node1 = |pid: &&String| {
        let state = std::fs::read_to_string(format!("/proc/{pid}/cwd/node.json")).unwrap_or_default();
        serde_json::from_str::<serde_json::Value>(&state).is_ok_and(|state| state["node"]["node"] == "node1")
    };
    let executor = executors.iter().find(is_of_node1).expect("the executor of node1");
    assert!(Command::new("kill").args(["-9", executor]).status().unwrap().success());
    until("another container takes its place", || {
        let now = boxes.containers();
        (now.len() == 3 && now.intersection(before).count() == 2).then_some(())
    });
    healthy(platform);
    until("the new container is worked on", || {
        let shown =
            platform.try_run(&["node", "exec", CLUSTER, "node1", "--", "sh", "-c", "ls /lost; cat /var/lib/data/kept"]);
        (shown.stdout == b"kept\n").then_some(())
    });
}

#[test]
fn memory_that_is_exhausted_is_named_and_a_disk_outlives_a_stop() {
    let Some(boxes) = Boxes::new() else { return };
    let platform = boxes.up();
    register(&platform);
    launch(&platform, &["size=1"]);
    exec(&platform, "node0", "echo kept >/var/lib/data/kept");
    assert_eq!(platform.signal("-TERM"), Some(0));
    assert_eq!(boxes.containers(), BTreeSet::new(), "containers outlived a graceful stop");
    let platform = boxes.up();
    until("the data is there again", || {
        let shown = platform.try_run(&["node", "exec", CLUSTER, "node0", "--", "cat", "/var/lib/data/kept"]);
        (shown.stdout == b"kept\n").then_some(())
    });
    healthy(&platform);
    platform.run(&["cluster", "destroy", CLUSTER, "--wait", "--timeout", "300"]);

    let view = platform.json(&["launch", "boxes", "1", "size=1", "mode=bomb"]);
    let bomb = view["dn"].as_str().unwrap();
    let reason = "memory limit of 48 MiB reached";
    until("the memory's end is told", || platform.run(&["cluster", "events", bomb]).contains(reason).then_some(()));
    platform.run(&["cluster", "destroy", bomb, "--wait", "--timeout", "300"]);
    assert_eq!(boxes.containers(), BTreeSet::new());
}
