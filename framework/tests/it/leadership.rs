//! Several replicas on one database: one leads, and another goes on where it ended.

use crate::stage::{Running, Stage};
use bigdata_chassis::http::ClientError;
use bigdata_chassis::testing::Stalls;
use bigdata_chassis::testing::databases;
use bigdata_chassis::{Db, on_db, on_tx};
use bigdata_common::api::explain::AgentList;
use bigdata_common::api::problem::{Problem, ProblemCode};
use bigdata_common::event::Event;
use bigdata_common::internal::Desired;
use bigdata_common::invariants::Invariants;
use bigdata_common::status::ClusterStatus;
use bigdata_common::{ClusterId, Principal};
use bigdata_framework::MIGRATIONS;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Long enough that nobody loses it by a busy machine. No test waits until it has run out.
const LEASE_MS: u64 = 30_000;
const LIMIT: Duration = Duration::from_secs(60);

fn cluster() -> ClusterId {
    ClusterId::parse_any("clusters/alice/demo/1.0/1").unwrap()
}

async fn agents(replica: &Running) -> Result<AgentList, ClientError> {
    replica.client.on_behalf_of(&Principal::local()).get("/bigdata/api/v1/agents").await
}

fn refused(answer: Result<AgentList, ClientError>) -> Problem {
    match answer {
        Err(ClientError::Problem(problem)) if problem.code == ProblemCode::NotLeader => *problem,
        other => panic!("a follower does not answer {other:?}"),
    }
}

/// Waits until the replica leads, or does not.
async fn until(replica: &Running, leads: bool) {
    let deadline = Instant::now() + LIMIT;
    while agents(replica).await.is_ok() != leads {
        assert!(Instant::now() < deadline, "the replica was to lead: {leads}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn framework_id(db: &Db) -> String {
    let sql = "SELECT value FROM settings WHERE name = 'framework'";
    let (id,): (String,) = on_db!(db, pool => sqlx::query_as(sql).fetch_one(pool).await).unwrap();
    id
}

async fn write(db: &Db, sql: &'static str) {
    let mut tx = db.begin().await.unwrap();
    on_tx!(tx, connection => sqlx::query(sql).execute(connection).await.map(drop)).unwrap();
    tx.commit().await.unwrap();
}

async fn running(stage: &mut Stage) {
    stage.register(&cluster(), json!({"node": {"cpu": 0.5, "mem": 64, "command": "run"}})).await;
    stage.expect("the node", |event| matches!(event, Event::NodeRunning(_)).then_some(())).await;
}

async fn release(stage: &mut Stage) {
    let id = cluster();
    stage.change(&id, |state| (state.status, state.desired) = (ClusterStatus::Destroying, Desired::Release));
    stage.tell(&id, Event::ClusterDestroying {}).await;
    stage.expect("the release", |event| matches!(event, Event::ClusterReleased { .. }).then_some(())).await;
}

async fn each(body: impl AsyncFn(Stage, Db)) {
    let folder = tempfile::tempdir().unwrap();
    for db in databases(folder.path(), MIGRATIONS).await {
        body(Stage::without_service().await, db.clone()).await;
        db.close().await;
    }
}

#[actix_web::test]
async fn a_follower_takes_over_from_a_leader_that_stops_and_the_nodes_live_on() {
    each(async |mut stage, db| {
        if !db.is_postgres() {
            // One process has such a database.
            return stage.end().await;
        }
        let first = stage.replica(db.clone(), LEASE_MS).await;
        let second = stage.replica(db.clone(), LEASE_MS).await;
        running(&mut stage).await;
        let problem = refused(agents(&second).await);
        let leader = first.client.base();
        assert!(problem.detail.contains(leader), "{}", problem.detail);
        assert_eq!(problem.status, 503);
        let id = framework_id(&db).await;

        assert!(first.tasks.shut_down(LIMIT).await);
        let (stalls, began) = (Stalls::watch(), Instant::now());
        until(&second, true).await;
        let what = "an orderly stop hands the leadership on";
        stalls.assert_kept(Duration::from_millis(LEASE_MS), began.elapsed(), what);
        assert_eq!(framework_id(&db).await, id);
        let invariants: Invariants = second.client.get("/internal/v1/invariants").await.unwrap();
        assert_eq!(invariants.violations, []);
        assert_eq!(invariants.checked[0].subjects, 1, "the node lives on: {invariants:?}");
        release(&mut stage).await;
        let orphans: Value = second.client.get("/internal/v1/orphans").await.unwrap();
        assert_eq!(orphans, json!({"orphans": []}));
        assert!(second.tasks.shut_down(LIMIT).await);
        stage.end().await;
    })
    .await;
}

#[actix_web::test]
async fn who_lost_the_lease_writes_nothing_and_leads_again_when_it_runs_out() {
    each(async |mut stage, db| {
        let replica = stage.replica(db.clone(), LEASE_MS).await;
        until(&replica, true).await;
        write(
            &db,
            "UPDATE leadership SET holder = 'another', token = token + 1, url = 'http://another', \
             expires_at_ms = 9000000000000",
        )
        .await;
        // What it is told before it knows leads to a step that must not be stored.
        stage.register(&cluster(), json!({"node": {"cpu": 0.5, "mem": 64, "command": "run"}})).await;
        until(&replica, false).await;
        let clusters: Vec<(String,)> =
            on_db!(db, pool => sqlx::query_as("SELECT cluster_id FROM clusters").fetch_all(pool).await).unwrap();
        assert_eq!(clusters, []);
        let deadline = Instant::now() + LIMIT;
        while !refused(agents(&replica).await).detail.contains("http://another") {
            assert!(Instant::now() < deadline, "the leader's URL is not told");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // The other is killed: nobody renews its lease.
        write(&db, "UPDATE leadership SET expires_at_ms = 0").await;
        until(&replica, true).await;
        stage.expect("the node", |event| matches!(event, Event::NodeRunning(_)).then_some(())).await;
        release(&mut stage).await;
        assert!(replica.tasks.shut_down(LIMIT).await);
        stage.end().await;
    })
    .await;
}

#[actix_web::test]
async fn on_one_machine_a_new_process_does_not_wait_for_the_lease_of_a_dead_one() {
    each(async |stage, db| {
        if db.is_postgres() {
            return stage.end().await;
        }
        write(&db, "UPDATE leadership SET holder = 'dead', token = 7, expires_at_ms = 9000000000000").await;
        let replica = stage.replica(db.clone(), LEASE_MS).await;
        // It leads when it is built: nothing is waited for.
        let leads: (i64,) =
            on_db!(db, pool => sqlx::query_as("SELECT token FROM leadership").fetch_one(pool).await).unwrap();
        assert_eq!(leads, (8,));
        until(&replica, true).await;
        assert!(replica.tasks.shut_down(LIMIT).await);
        stage.end().await;
    })
    .await;
}
