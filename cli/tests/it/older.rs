//! The commands of the older system's documentation, as they stand there but for the port.

use crate::support::{Data, Platform, get, templates, until};
use serde_json::{Value, json};
use std::process::Command;

const REGISTER: &str = r#"
curl -X POST http://127.0.0.1:5000/bigdata/api/v1/products -d '{"name":"gluster", "version":"3.7.11", "description": "GlusterFS parallel filesystem cluster"}' -H "Content-type: application/json"
curl -X PUT  http://127.0.0.1:5000/bigdata/api/v1/products/reference/1.0.0/template --data-binary @minimal.json -H "Content-type: application/json"
curl -X PUT  http://127.0.0.1:5000/bigdata/api/v1/products/reference/1.0.0/options --data-binary @options/size.json -H "Content-type: application/json"
curl -X PUT  http://127.0.0.1:5000/bigdata/api/v1/products/reference/1.0.0/orquestrator --data-binary @orquestrators/minimal/fabfile.py -H "Content-type: application/json"
"#;
const OPTIONS: &str = "curl http://127.0.0.1:5000/bigdata/api/v1/products/reference/1.0.0/options";
const LAUNCH: &str = r#"curl -H "Content-type: application/json" -X POST -d '{"size": 2}' http://127.0.0.1:5000/bigdata/api/v1/products/reference/1.0.0"#;
const LAUNCH_WITH_TEXT: &str = r#"curl -H "Content-type: application/json" -X POST -d '{"size": "2"}' http://127.0.0.1:5000/bigdata/api/v1/products/reference/1.0.0?dry_run=true"#;
const HTTPIE: &str = "http POST http://127.0.0.1:5000/bigdata/api/v1/products name=reference version=1.0.0 description='Reference product: minimal'";

/// Runs the lines by the shell where the files lie.
fn shell(platform: &Platform, lines: &str) -> String {
    let lines = lines.replace("http://127.0.0.1:5000", &platform.url);
    let output = Command::new("sh").args(["-ec", &lines]).current_dir(templates().join("compat")).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{lines}\n{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

#[test]
fn the_older_commands_register_launch_and_destroy() {
    if Command::new("curl").arg("--version").output().is_err() {
        eprintln!("SKIPPED: curl is not installed");
        return;
    }
    let data = Data::new();
    let platform = data.up(&[]);
    let registered = shell(&platform, REGISTER);
    assert!(!registered.contains("BD00"), "{registered}");
    let options: Value = serde_json::from_str(&shell(&platform, OPTIONS)).unwrap();
    assert_eq!(options["optional"], json!({"size": 2}));
    let fits: Value = serde_json::from_str(&shell(&platform, LAUNCH_WITH_TEXT)).unwrap();
    assert_eq!(fits["options"]["size"], 2, "a number sent as a text is meant as a number: {fits}");
    let launched: Value = serde_json::from_str(&shell(&platform, LAUNCH)).unwrap();
    let url = launched["url"].as_str().unwrap();
    let queue = format!("curl -s -o /dev/null -w '%{{http_code}} %{{redirect_url}}' http://127.0.0.1:5000{url}");
    let answer = shell(&platform, &queue);
    assert!(answer.starts_with("303") && answer.ends_with("/clusters/local/reference/1.0.0/1"), "{answer}");
    let cluster = "curl -s http://127.0.0.1:5000/bigdata/api/v1/clusters/local/reference/1.0.0/1";
    let entry = until("the cluster is ready", || {
        let entry: Value = serde_json::from_str(&shell(&platform, cluster)).unwrap();
        assert_ne!(entry["data"]["status"], "failed", "{entry}");
        (entry["data"]["status"] == "ready").then_some(entry)
    });
    assert_eq!((&entry["result"], &entry["uri"]), (&json!("success"), &json!("clusters/local/reference/1.0.0/1")));
    assert_eq!(entry["data"]["name"], "clusters--local--reference--1__0__0--1");
    let nodes: Value = serde_json::from_str(&shell(&platform, &format!("{cluster}/nodes"))).unwrap();
    assert_eq!(nodes["nodes"].as_array().unwrap().len(), 2);
    for (name, address) in platform.nodes("reference") {
        assert_eq!(get(address, "/").unwrap()["name"], name.as_str());
        assert_eq!(get(address, "/peers/check").unwrap()["peers"], 2);
    }
    let destroyed: Value = serde_json::from_str(&shell(&platform, &cluster.replace("-s", "-s -X DELETE"))).unwrap();
    assert_eq!(destroyed["message"], "success");
    platform.run(&["cluster", "wait", "reference", "--for", "destroyed"]);
}

#[test]
fn httpie_registers_the_product_that_the_catalog_ships() {
    if Command::new("http").arg("--version").output().is_err() {
        eprintln!("SKIPPED: HTTPie is not installed");
        return;
    }
    let data = Data::new();
    let platform = data.up(&[]);
    let answer = shell(&platform, &format!("{HTTPIE} --print=h --ignore-stdin"));
    assert!(answer.starts_with("HTTP/1.1 200"), "the same product again is no error: {answer}");
    let answer = shell(&platform, &format!("{HTTPIE} --print=h --ignore-stdin").replace("reference", "another"));
    assert!(answer.starts_with("HTTP/1.1 201") && answer.to_lowercase().contains("location: "), "{answer}");
}
