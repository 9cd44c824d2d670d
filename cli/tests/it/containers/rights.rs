//! What an operator has allowed a product reaches the engine, and nothing else does.

use super::Boxes;
use crate::engine::IMAGE;
use serde_json::json;

#[test]
fn a_container_has_what_its_product_was_allowed() {
    let Some(boxes) = Boxes::new() else { return };
    let (platform, folder) = (boxes.up(), tempfile::tempdir().unwrap());
    let shared = tempfile::Builder::new().prefix("bd").tempdir_in("/tmp").unwrap();
    std::fs::write(shared.path().join("told"), "by the machine").unwrap();
    let write = |file: &str, text: String| std::fs::write(folder.path().join(file), text).unwrap();
    let shared_path = shared.path().display();
    let node = |words: &str| {
        json!({"cpu": 0.2, "mem": 48, "docker_image": IMAGE, "docker_opts": words, "ports": {"web": 8080},
               "health": {"tcp": "web", "interval": 1}})
    };
    let nodes = json!({
        "bound": node("-e PLAIN=yes"),
        "mounting": node(&format!("-v {shared_path}:/shared:ro")),
        "root": node("--privileged -v /sys/fs/cgroup:/sys/fs/cgroup:ro"),
        "seeing": node("--pid=host --cap-add SYS_PTRACE"),
    });
    write("product.json", json!({"name": "allowed", "version": "1"}).to_string());
    write("template.json", json!({"nodes": nodes}).to_string());
    platform.run(&["product", "register", &folder.path().display().to_string()]);
    assert!(platform.fails(1, &["launch", "allowed", "1"]).contains("BD0034"));
    let rights = ["privileged", "host-mounts", "host-namespaces", "capabilities"];
    platform.run(&[&["product", "allow", "allowed", "1"][..], &rights].concat());
    assert_eq!(platform.json(&["launch", "allowed", "1", "--wait", "--timeout", "300"])["status"], "ready");

    let exec = |node: &str, line: &str| {
        let output = platform.try_run(&["node", "exec", "allowed", node, "--", "sh", "-c", line]);
        let told = if output.status.success() { output.stdout } else { output.stderr };
        (output.status.success(), String::from_utf8_lossy(&told).trim().to_owned())
    };
    let capabilities = |node: &str| {
        let (_, status) = exec(node, "cat /proc/self/status");
        let line = status.lines().find_map(|line| line.strip_prefix("CapBnd:"));
        u64::from_str_radix(line.unwrap_or_default().trim(), 16).unwrap_or_else(|_| panic!("{node}: {status:?}"))
    };
    let (net_raw, admin, trace) = (1 << 13, 1 << 21, 1 << 19);
    assert_eq!(capabilities("bound") & (net_raw | admin | trace), 0);
    assert_eq!(capabilities("root") & (net_raw | admin | trace), net_raw | admin | trace);
    assert_eq!(capabilities("seeing") & (net_raw | admin | trace), trace);
    assert_eq!(exec("mounting", "cat /shared/told"), (true, "by the machine".to_owned()));
    assert!(!exec("mounting", "echo x >/shared/told").0, "it is mounted for reading only");
    assert!(!exec("bound", "cat /shared/told").0);
    // The first process of the machine is this machine's, not the container's own.
    let first = std::fs::read_to_string("/proc/1/comm").unwrap();
    assert_eq!(exec("seeing", "cat /proc/1/comm"), (true, first.trim().to_owned()));
    assert_ne!(exec("bound", "cat /proc/1/comm").1, first.trim());
    platform.run(&["cluster", "destroy", "allowed", "--wait"]);
}
