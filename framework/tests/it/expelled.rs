//! A master that ends the subscription: by another one of the same framework, and by the framework's end.

use crate::stage::Stage;
use bigdata_chassis::on_db;
use bigdata_common::ClusterId;
use bigdata_common::event::{Event, NodeFact};
use bigdata_common::invariants::Invariants;
use bigdata_common::status::NodeStatus;
use bigdata_mesos::call::scheduler as call;
use bigdata_mesos::client::scheduler::{Event as MesosEvent, SchedulerClient, Settings};
use bigdata_mesos::v1::{CapabilityType, FrameworkId, FrameworkInfo};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(60);

async fn framework_id(stage: &Stage) -> String {
    let db = &stage.service.as_ref().unwrap().db;
    let sql = "SELECT value FROM settings WHERE name = 'framework'";
    let (id,): (String,) = on_db!(db, pool => sqlx::query_as(sql).fetch_one(pool).await).unwrap();
    id
}

/// Subscribes as the framework, which loses its subscription by it, and tears it down.
async fn tear_down(stage: &Stage, id: &str) {
    let info = FrameworkInfo {
        id: Some(FrameworkId::from(id)),
        user: "root".to_owned(),
        name: "bigdata".to_owned(),
        roles: vec!["bigdata".to_owned()],
        failover_timeout: Some(3600.0),
        checkpoint: Some(true),
        ..FrameworkInfo::default()
    };
    let info = info.with_capabilities(&[CapabilityType::MultiRole, CapabilityType::PartitionAware]);
    let (handle, mut events) = SchedulerClient::start(Settings::new(vec![stage.master.clone()], info)).unwrap();
    while !matches!(events.next().await, Some(MesosEvent::Connected { .. })) {}
    handle.call(call::teardown()).await.unwrap();
}

async fn node(stage: &mut Stage, what: &str, wanted: impl Fn(&Event) -> Option<&NodeFact>) -> NodeFact {
    stage.expect(what, |event| wanted(event).cloned()).await
}

fn running(event: &Event) -> Option<&NodeFact> {
    match event {
        Event::NodeRunning(fact) => Some(fact),
        _ => None,
    }
}

fn ended(event: &Event) -> Option<&NodeFact> {
    match event {
        Event::NodeEnded(fact) => Some(fact),
        _ => None,
    }
}

#[actix_web::test]
async fn a_framework_that_was_removed_says_so_and_registers_anew() {
    let mut stage = Stage::new().await;
    let id = ClusterId::parse_any("clusters/alice/demo/1.0/7").unwrap();
    let disk = json!({"data": {"destination": "/data", "size": 64, "persistent": true, "type": "volume"}});
    stage.register(&id, json!({"node": {"cpu": 0.5, "mem": 64, "command": "run", "disks": disk}})).await;
    let before = node(&mut stage, "the node", running).await;
    let former = framework_id(&stage).await;
    tear_down(&stage, &former).await;

    let deadline = Instant::now() + LIMIT;
    loop {
        let awaited = stage.service.as_ref().unwrap().tasks.readiness().awaited();
        if awaited.get("placement").is_some_and(|words| words.contains("Framework has been removed")) {
            break;
        }
        assert!(Instant::now() < deadline, "readiness does not tell of it: {awaited:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let over = node(&mut stage, "the former attempt's end", ended).await;
    assert_eq!(
        (over.observation.attempt.id, over.observation.status),
        (before.observation.attempt.id, NodeStatus::Failed)
    );
    let after = node(&mut stage, "the next attempt", running).await;
    assert_eq!((after.observation.attempt.number, &after.observation.host), (2, &before.observation.host));
    assert_ne!(framework_id(&stage).await, former);
    assert_eq!(stage.service.as_ref().unwrap().tasks.readiness().awaited().len(), 0);
    let invariants: Invariants = stage.client().get("/internal/v1/invariants").await.unwrap();
    assert_eq!(invariants.violations, []);
    let orphans: Value = stage.client().get("/internal/v1/orphans").await.unwrap();
    assert_eq!(orphans, json!({"orphans": []}));
    stage.end().await;
}
