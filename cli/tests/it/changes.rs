//! Changes of clusters that serve, on one machine with real executors.

use crate::support::{Data, Platform, processes, until};
use crate::trial::{names, register, starts, told};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

fn launched(data: &Data, options: &[&str]) -> Platform {
    let platform = data.up(&["--no-catalog"]);
    register(&platform);
    platform.run(&[&["launch", "trial", "1"], options, &["--wait", "--timeout", "300"]].concat());
    platform
}

/// A change that is waited for.
fn changed(platform: &Platform, arguments: &[&str]) {
    platform.change(&[arguments, &["--wait", "--timeout", "300"]].concat());
}

/// A change that goes on by itself; its operation.
fn asked(platform: &Platform, arguments: &[&str]) -> String {
    let text = platform.change(&[arguments, &["--json"]].concat());
    serde_json::from_str::<Value>(&text).unwrap()["operation"].as_str().unwrap().to_owned()
}

fn entry(platform: &Platform) -> Value {
    platform.json(&["cluster", "show", "trial"])["data"].clone()
}

/// Waits until nothing is under way that would refuse a change: the platform may be about an answer to its own check.
fn rests(platform: &Platform) {
    until("the cluster is healthy, and nothing is under way", || {
        let cluster = entry(platform);
        (cluster["health"] == "healthy" && cluster["operation"].is_null()).then_some(())
    });
}

fn gone(platform: &Platform, data: &Data) {
    platform.run(&["admin", "invariants"]);
    platform.run(&["cluster", "destroy", "trial", "--wait"]);
    data.ended();
    platform.run(&["admin", "invariants"]);
}

#[test]
fn nodes_come_go_change_and_are_replaced() {
    let data = Data::new();
    let platform = launched(&data, &["size=2", "peers=true"]);
    changed(&platform, &["scale", "trial", "size=4"]);
    assert_eq!(names(&platform), ["node1", "node2", "node3", "node4"]);
    changed(&platform, &["scale", "trial", "size=1"]);
    assert_eq!(names(&platform), ["node1"]);
    let events = told(&platform, "scale");
    assert_eq!(events[0], json!({"kind": "scale", "added": ["node3", "node4"], "removed": []}));
    assert_eq!(events[1], json!({"kind": "scale", "added": [], "removed": ["node4", "node3", "node2"]}));

    // The one that stayed was begun with the addresses of nodes that are gone, and is described without them by now.
    assert_eq!(starts(&platform, "node1"), ["1"]);
    changed(&platform, &["node", "replace", "trial", "node1"]);
    assert_eq!(starts(&platform, "node1"), ["1", "1"], "its data is there");
    assert_eq!(told(&platform, "node-replaced")[0]["same_attempt"], false);

    let operation = &asked(&platform, &["scale", "trial", "giant=true"]);
    until("it says what it waits for", || {
        let view = platform.json(&["operation", "show", operation]);
        view["steps"][0]["message"].as_str().is_some_and(|message| message.contains("giant")).then_some(())
    });
    platform.run(&["operation", "cancel", operation]);
    until("it is taken back", || (names(&platform) == ["node1"]).then_some(()));
    assert_eq!(entry(&platform)["options"]["giant"], false);

    changed(&platform, &["upgrade", "trial", "--to", "2", "mem=48"]);
    let mem = || platform.json(&["cluster", "nodes", "trial"])["nodes"][0]["mem"].clone();
    assert_eq!((mem(), starts(&platform, "node1")), (json!(48), vec!["1".into(), "1".into(), "2".into()]));
    let events = told(&platform, "upgrade");
    assert_eq!(events[0], json!({"kind": "upgrade", "node": "node1", "from": 3, "to": 5}));
    assert_eq!(events[1], json!({"kind": "upgrade", "from": 3, "to": 5}));
    changed(&platform, &["upgrade", "trial", "--back-to", "3"]);
    assert_eq!((mem(), starts(&platform, "node1").pop()), (json!(32), Some("1".into())));
    assert_eq!(entry(&platform)["health"], "healthy");
    gone(&platform, &data);
}

#[test]
fn an_upgrade_stops_where_the_script_says_no_and_leads_back_or_on() {
    let data = Data::new();
    let platform = launched(&data, &["size=2"]);
    let stays = |word: &str| platform.feed(&["node", "put", "trial", "node2", "stays"], word);
    let begun = |node: &str| starts(&platform, node).concat();
    stays("yes");
    let upgrade = asked(&platform, &["upgrade", "trial", "--to", "2"]);
    let followed = platform.run(&["operation", "logs", &upgrade, "--follow"]);
    let words = "node2 is not done with its work";
    for line in [r#"told before-upgrade {"kind":"before-upgrade","node":"node1""#, "told upgrade", words] {
        assert!(followed.contains(line), "{line}: {followed}");
    }
    assert!(!followed.contains("told start") && !followed.contains("told check"), "{followed}");
    assert_eq!(platform.run(&["operation", "logs", &upgrade]), followed);
    assert!(platform.fails(1, &["operation", "wait", &upgrade]).contains(words));
    let failed = platform.json(&["operation", "show", &upgrade]);
    let error = failed["error"].as_str().unwrap();
    assert_eq!((failed["status"].as_str(), error.contains(words)), (Some("failed"), true), "{failed}");
    let step = failed["steps"].as_array().unwrap().iter().find(|step| step["status"] == "failed").unwrap();
    assert_eq!(step["name"], "before-upgrade node2");
    assert_eq!((begun("node1"), begun("node2")), ("12".to_owned(), "1".to_owned()), "node2 was left alone");
    rests(&platform);

    // The way back needs nothing of the node that was never changed.
    changed(&platform, &["upgrade", "trial", "--back-to", "1"]);
    assert_eq!((begun("node1"), begun("node2")), ("121".to_owned(), "1".to_owned()));
    rests(&platform);

    // The way on: the same operation again stops at the same node, and goes on there once the script agrees.
    let again = platform.ask(&["operation", "retry", &upgrade, "--wait"]);
    let error = String::from_utf8_lossy(&again.stderr);
    assert!(again.status.code() == Some(1) && error.contains(words), "{error}");
    let list = platform.json(&["operation", "list"]);
    let second = list["operations"].as_array().unwrap().iter().find(|operation| operation["retry_of"] == upgrade);
    let second = second.unwrap()["id"].as_str().unwrap();
    let ids = |words: &[&str]| -> Vec<Value> {
        let list = platform.json(&[&["operation", "list"], words].concat());
        list["operations"].as_array().unwrap().iter().map(|operation| operation["id"].clone()).collect()
    };
    let (newest, all) = (ids(&["trial", "--limit", "2"]), ids(&["trial"]));
    assert!(newest.len() == 2 && all.windows(2).any(|pair| pair == newest), "{newest:?} of {all:?}");
    assert!(platform.fails(3, &["operation", "list", "reference"]).contains("BD0008"));
    stays("no");
    rests(&platform);
    let third = platform.change(&["operation", "retry", second, "--wait", "--timeout", "300", "--json"]);
    let third: Value = serde_json::from_str(&third).unwrap();
    assert_eq!((&third["status"], &third["retry_of"]), (&json!("succeeded"), &json!(second)));
    assert_eq!((begun("node1"), begun("node2")), ("1212".to_owned(), "12".to_owned()));
    let third = third["id"].as_str().unwrap();
    assert!(platform.fails(4, &["operation", "retry", third]).contains("BD0036"));
    assert!(platform.fails(3, &["operation", "logs", "none"]).contains("BD0010"));
    gone(&platform, &data);
}

#[test]
fn a_script_acts_and_answers_to_what_happens_to_nodes() {
    let data = Data::new();
    let platform = launched(&data, &["size=3", "password=first-canary"]);
    changed(&platform, &["scale", "trial", "size=2", "--remove", "node1"]);
    assert_eq!(names(&platform), ["node2", "node3"]);

    changed(&platform, &["action", "trial", "say", "word=hello"]);
    assert_eq!(told(&platform, "say"), [json!({"word": "hello"})]);
    let holds = asked(&platform, &["action", "trial", "hold"]);
    until("it holds the cluster", || (!told(&platform, "hold").is_empty()).then_some(()));
    assert!(platform.fails(4, &["action", "trial", "rotate"]).contains("BD0031"));
    let waits = asked(&platform, &["action", "trial", "say", "word=later"]);
    assert_eq!(platform.json(&["operation", "show", &waits])["status"], "pending");
    changed(&platform, &["action", "trial", "backup"]);
    for node in names(&platform) {
        platform.feed(&["node", "put", "trial", &node, "go"], "");
    }
    for operation in [&holds, &waits] {
        platform.run(&["operation", "wait", operation]);
    }
    assert_eq!(told(&platform, "say")[1], json!({"word": "later"}));

    let backups = platform.json(&["backup", "list", "trial"]);
    let id = format!("id={}", backups["backups"][0]["id"].as_str().unwrap());
    changed(&platform, &["action", "trial", "restore", &id]);
    assert!(platform.run(&["cluster", "logs", "trial"]).contains("restored 1"));
    changed(&platform, &["action", "trial", "rotate"]);
    assert_eq!(platform.json(&["cluster", "secrets", "trial"]), json!({"secrets": {"password": "rotated-canary"}}));
    let history = platform.run(&["cluster", "events", "trial"]);
    assert!(history.contains("the secret password was changed") && !history.contains("-canary"), "{history}");

    let of = |action: &str, node: &str| -> Vec<Value> {
        told(&platform, action).into_iter().filter(|event| event["node"] == node).collect()
    };
    kill(&workload(&platform, "node2"));
    let lost = until("the loss of a workload is told", || of("node-lost", "node2").pop());
    assert_eq!((&lost["kind"], &lost["attempt"]), (&json!("node-lost"), &json!(1)));
    let back = until("and that it is back", || of("node-replaced", "node2").pop());
    assert_eq!((&back["same_attempt"], &back["attempt"]), (&json!(true), &json!(1)));
    kill(&executor_of(workload(&platform, "node3")));
    until("the loss of an executor is told", || of("node-lost", "node3").pop());
    let back = until("and the new attempt", || of("node-replaced", "node3").pop());
    assert_eq!((&back["same_attempt"], &back["attempt"]), (&json!(false), &json!(2)));
    assert_eq!(starts(&platform, "node3"), ["1", "1"], "its data is there");
    until("the clock calls again and again", || (told(&platform, "check").len() > 1).then_some(()));
    until("all is well", || (entry(&platform)["health"] == "healthy").then_some(()));
    gone(&platform, &data);
}

fn kill(pid: &str) {
    assert!(Command::new("kill").args(["-9", pid]).status().unwrap().success());
}

/// The workload's process of a node.
fn workload(platform: &Platform, node: &str) -> String {
    let nodes = platform.nodes("trial");
    let (_, address) = nodes.iter().find(|(name, _)| name == node).unwrap();
    processes(&format!("--listen\0{address}\0")).pop().unwrap_or_else(|| panic!("{node} has no workload"))
}

/// The executor above a process.
fn executor_of(mut pid: String) -> String {
    loop {
        let folder = Path::new("/proc").join(&pid);
        let line = std::fs::read(folder.join("cmdline")).unwrap();
        if line.split(|byte| *byte == 0).nth(1) == Some(b"executor") {
            return pid;
        }
        let status = std::fs::read_to_string(folder.join("status")).unwrap();
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap();
        pid = parent.trim().to_owned();
        assert!(pid != "0" && pid != "1", "no executor is above it");
    }
}
