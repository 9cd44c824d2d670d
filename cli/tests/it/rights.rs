//! Products that are containers, on a platform without a container engine: what they are refused, and what helps.

use crate::support::{Data, Platform, until};
use serde_json::{Value, json};
use std::path::Path;

/// A platform that finds no container engine, whatever this machine has.
fn without_engine(data: &Data) -> Platform {
    data.up(&["--no-catalog"])
}

fn data() -> Data {
    Data::with(vec![("BIGDATA_CONTAINER_ENGINE", "none".into())])
}

/// The warnings of a dry run, which tells that nothing fits here.
fn warnings(platform: &Platform, product: [&str; 2], options: &[&str]) -> Vec<String> {
    let output = platform.try_run(&[&["launch", product[0], product[1], "--dry-run", "--json"], options].concat());
    let error = String::from_utf8_lossy(&output.stderr);
    let plan: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("no plan: {error}"));
    let texts = plan["warnings"].as_array().into_iter().flatten().filter_map(Value::as_str);
    texts.map(str::to_owned).collect()
}

#[test]
fn an_image_alone_is_refused_where_no_agent_has_an_engine() {
    let (data, folder) = (data(), tempfile::tempdir().unwrap());
    let platform = without_engine(&data);
    let write = |file: &str, text: Value| std::fs::write(folder.path().join(file), text.to_string()).unwrap();
    write("product.json", json!({"name": "boxed", "version": "1"}));
    write("template.json", json!({"nodes": {"solo": {"cpu": 0.1, "mem": 32, "docker_image": "none.example/i:1"}}}));
    platform.run(&["product", "register", &folder.path().display().to_string()]);
    // The framework tells the registry as soon as the agent has made an offer.
    until("the registry knows that there is no engine", || {
        let warnings = warnings(&platform, ["boxed", "1"], &[]);
        warnings.iter().any(|words| words.contains("has no container engine")).then_some(())
    });
    let refused = platform.fails(4, &["launch", "boxed", "1"]);
    for words in ["BD0035", "solo can run as a container only", "bigdata doctor", "command"] {
        assert!(refused.contains(words), "{words} is not in {refused}");
    }
    assert_eq!(platform.json(&["cluster", "list"])["clusters"], json!([]), "nothing is stored");
    // With a command it is a process.
    let node = json!({"cpu": 0.1, "mem": 32, "docker_image": "none.example/i:1", "command": "exec sleep 1000"});
    write("template.json", json!({"nodes": {"solo": node}}));
    platform.run(&["product", "register", &folder.path().display().to_string()]);
    assert_eq!(platform.json(&["launch", "boxed", "1", "--wait"])["status"], "ready");
    platform.run(&["cluster", "destroy", "boxed", "--wait"]);
}

#[test]
fn an_operator_allows_what_reaches_out_of_a_container() {
    let data = data();
    let platform = without_engine(&data);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../templates/compat/gluster/3.7");
    let output = platform.try_run(&["product", "register", &folder.display().to_string()]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.success() && told.contains("bigdata product allow gluster 3.7 privileged host-mounts"),
        "{told}"
    );
    assert!(platform.run(&["product", "list"]).contains("lacks the right privileged, the right host-mounts"));
    let refused = platform.fails(1, &["launch", "gluster", "3.7", "size=2", "--dry-run"]);
    for words in ["BD0034", "--privileged", "bigdata product allow gluster 3.7 privileged host-mounts"] {
        assert!(refused.contains(words), "{words} is not in {refused}");
    }
    assert!(platform.fails(2, &["product", "allow", "gluster", "3.7", "root"]).contains("host-mounts"));
    let table = platform.run(&["product", "allow", "gluster", "3.7", "privileged", "host-mounts"]);
    let row = table.lines().find(|line| line.starts_with("privileged")).unwrap_or_default();
    assert_eq!(row.split_whitespace().take(3).collect::<Vec<_>>(), ["privileged", "yes", "yes"], "{table}");
    let shown = platform.json(&["product", "allow", "gluster", "3.7"]);
    assert_eq!((&shown["given"], &shown["by"]), (&json!(["privileged", "host-mounts"]), &json!("local")));
    let warned = warnings(&platform, ["gluster", "3.7"], &["size=2"]);
    assert!(warned.iter().all(|words| words.contains("container engine")), "{warned:?}");
    assert!(platform.run(&["product", "show", "gluster", "3.7"]).contains("privileged, host-mounts"));
    assert_eq!(platform.json(&["product", "allow", "gluster", "3.7", "--none"])["given"], json!([]));
    platform.fails(1, &["launch", "gluster", "3.7", "size=2", "--dry-run"]);
}
