//! The shipped products as containers: the same files, and an image of what deploy/images has in it.

use super::Boxes;
use super::services::Services;
use crate::engine::{apart, lay_out, write_program};
use crate::support::{PROGRAM, Platform, get, templates};
use serde_json::json;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Programs that busybox has not as the product's script wants them.
const PROGRAMS: [&str; 7] = ["bash", "date", "sync", "sed", "gzip", "awk", "du"];
/// Until all servers are ready, in seconds.
const READY_LIMIT: &str = "300";
const SERVERS: [&str; 4] = ["mariadbd", "mariadb", "mariabackup", "mbstream"];
/// What the servers read beside: messages, character sets, and the statements that make the first tables.
const SHARED: &str = "usr/share/mysql";

/// The folder with the image's `start`, laid out as its Containerfile has it.
pub(super) fn image_folder(product: &str) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    lay_out(root.path());
    let start = templates().join("../deploy/images").join(product).join("start");
    std::fs::create_dir_all(root.path().join("usr/local/bin")).unwrap();
    write_program(&root.path().join("usr/local/bin/start"), &std::fs::read_to_string(start).unwrap());
    root
}

/// Copies a program of this machine to where an image has it, with the libraries that it is linked with.
pub(super) fn copy_program(root: &Path, from: &Path, to: &str) {
    let to = root.join(to);
    std::fs::create_dir_all(to.parent().unwrap()).unwrap();
    // What only debuggers read is the most of a program that is under test.
    let stripped = Command::new("strip").arg("-o").arg(&to).arg(from).status();
    if !stripped.is_ok_and(|status| status.success()) {
        std::fs::copy(from, &to).unwrap();
    }
    let listed = Command::new("ldd").arg(from).output().unwrap().stdout;
    let listed = String::from_utf8(listed).unwrap();
    for library in listed.split_whitespace().filter(|word| word.starts_with('/')) {
        let copy = root.join(library.trim_start_matches('/'));
        std::fs::create_dir_all(copy.parent().unwrap()).unwrap();
        std::fs::copy(library, copy).unwrap();
    }
}

fn found(program: &str) -> PathBuf {
    let path = std::env::var("PATH").unwrap();
    let mut places = path.split(':').chain(["/usr/sbin"]).map(|folder| Path::new(folder).join(program));
    let place = places.find(|place| place.is_file());
    place.unwrap_or_else(|| panic!("{program} is missing: apt-get install mariadb-server mariadb-backup"))
}

const CHANGES: [&str; 2] = ["ENTRYPOINT [\"/usr/local/bin/start\"]", "WORKDIR /bigdata"];

#[test]
fn the_reference_product_runs_as_containers() {
    let Some(boxes) = Boxes::new() else { return };
    make_reference_image(&boxes);
    let platform = boxes.data.up(&[]);
    reference_runs(&boxes, &platform);
}

#[test]
fn mariadb_runs_as_containers() {
    let Some(boxes) = Boxes::new() else { return };
    make_mariadb_image(&boxes);
    let platform = boxes.data.up(&[]);
    mariadb_runs(&boxes, &platform);
}

/// Where nodes have no addresses of their own, as on most agents, the numbers inside are not those outside.
#[test]
fn the_catalog_runs_as_containers_whose_ports_are_published() {
    if apart("containers::catalog::the_catalog_runs_as_containers_whose_ports_are_published").is_none() {
        return;
    }
    let boxes = Boxes::new().unwrap();
    make_reference_image(&boxes);
    make_mariadb_image(&boxes);
    let services = Services::start(&boxes);
    let platform = services.platform();
    for product in ["reference/1.0.0", "mariadb/10.11"] {
        platform.run(&["product", "register", templates().join(product).to_str().unwrap()]);
    }
    reference_runs(&boxes, &platform);
    mariadb_runs(&boxes, &platform);
}

fn make_reference_image(boxes: &Boxes) {
    let root = image_folder("reference");
    copy_program(root.path(), Path::new(PROGRAM), "usr/local/bin/bigdata");
    boxes.engine.import("localhost/bigdata-reference:1", root.path(), &CHANGES);
}

fn reference_runs(boxes: &Boxes, platform: &Platform) {
    let options = ["size=3", "image=localhost/bigdata-reference:1", "mem=64", "cpu=0.5"];
    let words = [&["launch", "reference", "1.0.0"][..], &options, &["--wait", "--timeout", "300"]].concat();
    let view = platform.json(&words);
    assert_eq!(view["status"], "ready");
    let cluster = view["dn"].as_str().unwrap();
    assert_eq!(boxes.containers().len(), 3);
    for (name, address) in platform.nodes(cluster) {
        let said = get(address, "/").unwrap();
        assert_eq!((said["name"].as_str(), said["cluster"].as_str()), (Some(name.as_str()), Some(cluster)));
        assert_eq!(get(address, "/peers/check").unwrap()["unreachable"], json!({}));
    }
    platform.run(&["scale", cluster, "size=2", "--wait", "--timeout", "300"]);
    assert_eq!(boxes.containers().len(), 2);
    platform.run(&["action", cluster, "ping", "--wait"]);
    platform.run(&["cluster", "destroy", cluster, "--wait", "--timeout", "300"]);
    assert_eq!(boxes.containers(), BTreeSet::new());
}

fn make_mariadb_image(boxes: &Boxes) {
    let root = image_folder("mariadb");
    for program in PROGRAMS.iter().chain(&SERVERS) {
        copy_program(root.path(), &found(program).canonicalize().unwrap(), &format!("usr/bin/{program}"));
    }
    // Where Debian has it, too.
    std::os::unix::fs::symlink("/usr/bin/bash", root.path().join("bin/bash")).unwrap();
    std::fs::create_dir_all(root.path().join(SHARED)).unwrap();
    let copied =
        Command::new("cp").arg("-rL").arg(Path::new("/").join(SHARED)).arg(root.path().join("usr/share")).status();
    assert!(copied.unwrap().success());
    boxes.engine.import("localhost/bigdata-mariadb:10.11", root.path(), &CHANGES);
}

fn mariadb_runs(boxes: &Boxes, platform: &Platform) {
    let options = ["size=2", "image=localhost/bigdata-mariadb:10.11", "mem=320", "cpu=1", "disk=1024"];
    let view = platform.json(&[&["launch", "mariadb", "10.11"][..], &options].concat());
    let cluster = view["dn"].as_str().unwrap();
    let is_ready = || platform.try_run(&["cluster", "wait", cluster, "--timeout", READY_LIMIT]).status.success();
    if !is_ready() {
        // A look at a server has three seconds: a machine that is busy starts a command in a container more slowly at times,
        // and then the script ends and is to be run again. Once, and it is told: a start that always fails is a fault.
        eprintln!("the first start failed:\n{}", platform.run(&["cluster", "logs", cluster]));
        platform.run(&["cluster", "retry", cluster]);
        assert!(is_ready(), "the second start failed, too:\n{}", platform.run(&["cluster", "logs", cluster]));
    }
    // The replica was copied into a container that stood in for its own; the primary may have one, too.
    assert!((3..=4).contains(&boxes.containers().len()), "{:?}", boxes.containers());
    let shown = platform.json(&["cluster", "endpoints", cluster]);
    let endpoints = shown["endpoints"].as_array().unwrap();
    assert!(endpoints.iter().any(|it| it["name"] == "primary") && endpoints.len() == 2, "{shown}");
    let owner = platform.run(&["node", "exec", cluster, "node0", "--", "stat", "-c", "%u", "/var/lib/mysql/data"]);
    assert_eq!(owner.trim(), "3306");
    platform.run(&["cluster", "destroy", cluster, "--wait", "--timeout", "300"]);
    assert_eq!(boxes.containers(), BTreeSet::new());
}
