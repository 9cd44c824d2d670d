//! A fabfile of the older system, ported: `templates/compat/fabric`.

use crate::support::{Data, Platform, get, put, templates};
use serde_json::{Value, json};
use std::net::SocketAddr;

const NETWORK: &str = "/bigdata/api/v1/products/fabric/1.0.0/reach";

fn launched(platform: &Platform, size: &str) -> Value {
    platform.json(&["launch", "fabric", "1.0.0", size, "greeting=good \"day\"", "--wait", "--timeout", "300"])
}

/// The log's lines, a stream's alone.
fn lines(platform: &Platform, cluster: &str, is_the_platforms: bool) -> Vec<String> {
    let text = platform.run(&["cluster", "logs", cluster, "--json"]);
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let pages = lines.flat_map(|it| it["lines"].as_array().cloned().unwrap_or_else(|| vec![it]));
    pages
        .filter(|line| (line["stream"] == "platform") == is_the_platforms)
        .map(|line| line["line"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn a_ported_fabfile_reads_the_older_keys_and_reaches_nodes_by_the_platform() {
    let data = Data::new();
    let platform = data.up(&["--no-catalog"]);
    platform.run(&["product", "register", templates().join("compat/fabric/1.0.0").to_str().unwrap()]);
    // By the run's socket first, and then by its port.
    for (reach, size, nodes) in [("socket", "size=2", 2), ("network", "size=1", 1)] {
        put(platform.address(), NETWORK, reach);
        let view = launched(&platform, size);
        assert_eq!(view["status"], "ready", "{view}");
        let cluster = view["dn"].as_str().unwrap();
        let endpoints = platform.json(&["cluster", "endpoints", cluster]);
        let endpoints = endpoints["endpoints"].as_array().unwrap().clone();
        assert_eq!(endpoints.len(), nodes);
        for (number, endpoint) in endpoints.iter().enumerate() {
            let address = endpoint["url"].as_str().unwrap().trim_start_matches("http://").trim_end_matches('/');
            let address: SocketAddr = address.parse().unwrap();
            assert_eq!(get(address, "/").unwrap()["name"], format!("example{number}"));
            assert_eq!(get(address, "/peers/check").unwrap()["peers"], json!(nodes));
            let greeting = platform.run(&["node", "get", cluster, &format!("example{number}"), "greeting.conf"]);
            assert_eq!(greeting, format!("good \"day\" from example{number} on {}\n", address.ip()));
        }
        let written = lines(&platform, cluster, false);
        assert!(written.contains(&"[example0] out: Linux".to_owned()), "{written:?}");
        let told = lines(&platform, cluster, true);
        for line in
            ["50 %", "the script says: services/service1/status is running", "the script says: status is running"]
        {
            assert!(told.iter().any(|it| it == line), "{line}: {told:?}");
        }
        platform.run(&["action", cluster, "restart", "--wait", "--timeout", "300"]);
        platform.run(&["action", cluster, "status", "--wait", "--timeout", "300"]);
        platform.run(&["cluster", "destroy", cluster, "--wait"]);
    }
}
