//! Whole disks: one node's at a time, and what its cluster says becomes of the data.

use super::Boxes;
use crate::engine::IMAGE;
use crate::support::{Platform, until};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Two disks of the machine, as far as anybody can tell.
pub(super) struct Disks {
    folder: tempfile::TempDir,
}

impl Disks {
    /// Of this size in MiB each: none of it is used before something is written.
    pub(super) fn mount(size: u32) -> Self {
        let disks = Self { folder: tempfile::tempdir().unwrap() };
        for path in disks.paths() {
            std::fs::create_dir(&path).unwrap();
            let size = format!("size={size}m");
            let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "none"]).arg(&path).status();
            assert!(mounted.unwrap().success());
        }
        std::fs::write(disks.settings(), format!("disks = {:?}\n", disks.paths())).unwrap();
        disks
    }

    /// A file that tells a platform of them.
    pub(super) fn settings(&self) -> PathBuf {
        self.folder.path().join("settings.toml")
    }

    fn paths(&self) -> [PathBuf; 2] {
        ["a", "b"].map(|name| self.folder.path().join(name))
    }

    pub(super) fn files(&self) -> Vec<Vec<String>> {
        self.paths().iter().map(|path| files(path)).collect()
    }
}

impl Drop for Disks {
    fn drop(&mut self) {
        for path in self.paths() {
            let _ = Command::new("umount").arg("--lazy").arg(path).status();
        }
    }
}

fn files(folder: &Path) -> Vec<String> {
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| !name.starts_with(".discarded-")).collect()
}

/// A container and a process, each with a disk of its own.
fn register(platform: &Platform) {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let disk = json!({ "data": { "destination": "/srv/data", "size": 32, "type": "whole" } });
    let nodes = json!({
        "box": { "cpu": 1, "mem": 48, "docker_image": IMAGE, "disks": disk, "ports": { "web": 8080 }, "health": { "tcp": "web" } },
        "process": { "cpu": 0.1, "mem": 32, "command": "exec sleep 100000", "disks": disk },
    });
    write("product.json", r#"{ "name": "wholes", "version": "1" }"#);
    write("template.json", &json!({ "nodes": nodes, "services": {} }).to_string());
    platform.run(&["product", "register", folder.path().to_str().unwrap()]);
}

fn launch(platform: &Platform, termination: &str) -> String {
    let termination = format!("termination={termination}");
    let view = platform.json(&["launch", "wholes", "1", &termination, "--wait", "--timeout", "300"]);
    assert_eq!(view["status"], "ready");
    view["dn"].as_str().unwrap().to_owned()
}

#[test]
fn whole_disks_are_one_node_s_and_are_kept_or_emptied_as_their_cluster_says() {
    let Some(boxes) = Boxes::new() else { return };
    let disks = Disks::mount(64);
    let up = || boxes.data.up(&["--no-catalog", "--config", disks.settings().to_str().unwrap()]);
    let platform = up();
    register(&platform);
    let cluster = launch(&platform, "wipe");
    let exec = |platform: &Platform, cluster: &str, node: &str, script: &str| {
        let output = platform.try_run(&["node", "exec", cluster, node, "--", "sh", "-c", script]);
        String::from_utf8(output.stdout).unwrap()
    };
    exec(&platform, &cluster, "box", "echo box >/srv/data/kept");
    exec(&platform, &cluster, "process", "echo process >$BIGDATA_DISK_DATA/kept");
    assert_eq!(disks.files(), [["kept"], ["kept"]], "each has one");
    let fits = platform.fails(1, &["launch", "wholes", "1", "--dry-run"]);
    assert!(fits.contains("whole disk"), "{fits}");

    assert_eq!(platform.signal("-TERM"), Some(0));
    let platform = up();
    for (node, script) in [("box", "cat /srv/data/kept"), ("process", "cat $BIGDATA_DISK_DATA/kept")] {
        until("the data is there again", || (exec(&platform, &cluster, node, script).trim() == node).then_some(()));
    }
    platform.run(&["cluster", "destroy", &cluster, "--wait", "--timeout", "300"]);
    until("the disks are emptied", || disks.files().iter().all(Vec::is_empty).then_some(()));

    let cluster = launch(&platform, "keep-data");
    exec(&platform, &cluster, "box", "echo box >/srv/data/kept");
    platform.run(&["cluster", "destroy", &cluster, "--wait", "--timeout", "300"]);
    let mut left = disks.files();
    left.sort();
    assert_eq!(left, [Vec::new(), vec!["kept".to_owned()]], "they are kept");
    let fits = platform.fails(1, &["launch", "wholes", "1", "--dry-run"]);
    assert!(fits.contains("whole disk"), "what is kept is nobody else's: {fits}");
}
