//! The older system's Gluster product: its template as it was written, its script ported, on a real Gluster.

use super::Boxes;
use super::catalog::{copy_program, image_folder};
use super::older::allow;
use crate::support::{Platform, templates, until};
use std::collections::BTreeSet;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Debian's package of the servers and of what they load.
const PACKAGE: &str = "glusterfs-server";
const PROGRAMS: [&str; 3] = ["glusterfsd", "glusterfs", "gluster"];
/// A client's mount, and a line that goes by it.
const WRITE: &str = "mkdir -p /mnt/volume && \
    glusterfs --volfile-server=$BIGDATA_ADDRESS --volfile-id=distributed-replicated-volume-0 /mnt/volume && \
    echo kept >/mnt/volume/line && sync /mnt/volume/line && umount /mnt/volume";

/// What the image's Containerfile installs, of this machine's files.
fn fill(root: &Path) {
    for program in PROGRAMS {
        let from = Path::new("/usr/sbin").join(program);
        assert!(from.exists(), "{program} is missing: apt-get install {PACKAGE}");
        copy_program(root, &from.canonicalize().unwrap(), &format!("usr/sbin/{program}"));
    }
    symlink("glusterfsd", root.join("usr/sbin/glusterd")).unwrap();
    let modules = find("/usr/lib", &["-path", "*/glusterfs/*", "-name", "*.so"]);
    assert!(!modules.is_empty(), "what Gluster loads is missing: apt-get install {PACKAGE}");
    for module in modules {
        let to = module.strip_prefix("/").unwrap().to_str().unwrap().to_owned();
        copy_program(root, &module, &to);
    }
    for folder in ["run", "var/log", "var/lib"] {
        std::fs::create_dir_all(root.join(folder)).unwrap();
    }
    symlink("/run", root.join("var/run")).unwrap();
    // Names are those that the platform writes; nobody outside is asked for one.
    std::fs::write(root.join("etc/nsswitch.conf"), "hosts: files\n").unwrap();
}

fn find(folder: &str, test: &[&str]) -> Vec<PathBuf> {
    let output = Command::new("find").arg(folder).args(test).output().unwrap().stdout;
    String::from_utf8(output).unwrap().lines().map(PathBuf::from).collect()
}

fn shell(platform: &Platform, cluster: &str, node: &str, line: &str) -> String {
    platform.run(&["node", "exec", cluster, node, "--", "sh", "-c", line])
}

/// How many of the volume's four bricks and two self-heal daemons a node says are there.
fn online(platform: &Platform, cluster: &str) -> usize {
    let said = platform.try_run(&["node", "exec", cluster, "glusternode0", "--", "gluster", "volume", "status"]);
    let said = String::from_utf8_lossy(&said.stdout);
    said.lines().filter(|line| line.split_whitespace().rev().nth(1) == Some("Y")).count()
}

/// A node's container and its first process; None: none runs.
fn first_process(boxes: &Boxes, node: &str) -> Option<String> {
    let label = format!("label=bigdata_node={node}");
    let listed = boxes.engine.run(&["ps", "--filter", &label, "--format", "{{.ID}} {{.Pid}}"]);
    let ours = boxes.containers();
    listed.lines().find(|line| line.split_once(' ').is_some_and(|(id, _)| ours.contains(id))).map(str::to_owned)
}

#[test]
fn gluster_by_its_older_template_and_a_ported_script() {
    let Some(boxes) = Boxes::new() else { return };
    let root = image_folder("gluster");
    fill(root.path());
    let start = "ENTRYPOINT [\"/usr/local/bin/start\"]";
    boxes.engine.import("registry.example:5000/gluster:3.7", root.path(), &[start]);
    let platform = boxes.data.up(&["--no-catalog", "--resources", "cpus=8,mem=9000,disk=20000"]);
    let folder = templates().join("compat/gluster/3.7");
    platform.run(&["product", "register", folder.to_str().unwrap()]);
    allow(&platform, "gluster", "3.7");
    let view = platform.json(&["launch", "gluster", "3.7", "size=2", "--wait", "--timeout", "300"]);
    assert_eq!(view["status"], "ready");
    let cluster = view["dn"].as_str().unwrap();
    until("bricks and daemons are there", || (online(&platform, cluster) == 6).then_some(()));
    shell(&platform, cluster, "glusternode0", WRITE);
    // The file has a place on one of the two pairs of bricks, and each node has its copy.
    for node in ["glusternode0", "glusternode1"] {
        let kept = shell(&platform, cluster, node, "cat /data/brick*/data/line");
        assert_eq!(kept.trim(), "kept", "{node}");
    }
    // A node that was started anew is the same peer, on the same bricks.
    let former = first_process(&boxes, "glusternode1");
    assert!(former.is_some());
    platform.run(&["node", "restart", cluster, "glusternode1"]);
    // Until then its peer may say what was before.
    until("the node runs anew", || first_process(&boxes, "glusternode1").filter(|now| Some(now) != former.as_ref()));
    until("the node's bricks are back", || (online(&platform, cluster) == 6).then_some(()));
    platform.run(&["action", cluster, "status", "--wait", "--timeout", "300"]);
    platform.run(&["cluster", "destroy", cluster, "--wait", "--timeout", "300"]);
    assert_eq!(boxes.containers(), BTreeSet::new());
}
