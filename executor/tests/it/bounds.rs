//! Nodes that take more than they were promised.

use crate::harness::Node;
use bigdata_mesos::v1::TaskState;
use serde_json::json;
use std::time::Duration;

const GRACE: Duration = Duration::from_secs(5);

/// Whether a control group bounds the processes of nodes here.
fn counts_processes(node: &Node) -> bool {
    node.platform.enrolments.borrow().last().unwrap().isolation.contains("pids")
}

#[tokio::test]
async fn a_flood_of_forks_stays_within_its_limit_and_is_told() {
    let flood = json!({
        "mem": 64, "command": "exec perl -e 'fork while 1'", "ports": { "web": { "port": 1, "fixed": true } },
        "health": { "tcp": ["web"], "interval_ms": 500, "timeout_ms": 500, "failures": 1, "deadline_ms": 1000 },
    });
    let mut node = Node::launch(flood).await;
    node.wait("unhealthy", |status, _| status.healthy == Some(false)).await;
    if counts_processes(&node) {
        // 512, a quarter of 64 and a tenth of 256.
        let reason = "its processes reached the limit of 553";
        node.wait(reason, |_, report| report.reason.as_deref().is_some_and(|it| it.contains(reason))).await;
    } else {
        println!("skipped: no control group counts processes here");
    }
    node.kill(GRACE).await;
}

#[tokio::test]
async fn storage_beyond_the_promise_is_told_and_far_beyond_it_ends_the_node() {
    let fills = "head -c 60M /dev/zero > $BIGDATA_DISK_DATA/a; until test -e more; do sleep 0.1; done; \
                 head -c 60M /dev/zero > $BIGDATA_DISK_DATA/b; exec sleep 1000";
    let disk = json!({ "destination": "/data", "size": 16, "persistent": true, "type": "volume" });
    let health = json!({
        "command": ["true"], "interval_ms": 1000, "timeout_ms": 5000, "failures": 3, "deadline_ms": 20_000,
    });
    let mut node = Node::launch(json!({ "command": fills, "disks": { "data": disk }, "health": health })).await;
    let told = "disk data uses 60 MiB of 16 MiB";
    let (status, _) = node.wait(told, |_, report| report.reason.as_deref() == Some(told)).await;
    assert_eq!(status.state, TaskState::Running as i32, "it goes on");
    assert_eq!(node.control(reqwest::Method::PUT, "/v1/files?path=more", "").await.0, 200);
    let (_, report) = node.wait_for(TaskState::Failed).await;
    let reason = report.reason.unwrap();
    assert!(reason.starts_with("disk data uses ") && reason.ends_with(" of 16 MiB"), "{reason}");
    node.over().await;
}
