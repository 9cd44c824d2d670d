//! Writes and what comes back, on both databases.

use super::{
    Acquired, Claim, StoreError, acquire, commit, is_lasting, load, registry_id, release, renew, set_registry_id,
};
use crate::core::model::{Agent, Cluster, EndedTask, Fate, Node, Standing, Task, TaskStage, Volume};
use crate::core::output::{LeaseKind, Output, Write};
use bigdata_chassis::testing::databases;
use bigdata_chassis::{Db, on_tx};
use bigdata_common::api::explain::Capacity;
use bigdata_common::event::Event;
use bigdata_common::internal::{ClusterState, Desired, NodeReport, Specification};
use bigdata_common::status::{ClusterStatus, Termination};
use bigdata_common::{AttemptId, ClusterId, Timestamp};
use indexmap::IndexMap;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

const NOW: Timestamp = Timestamp::from_millis(1_000);

fn id() -> ClusterId {
    ClusterId::parse_any("clusters/alice/demo/1.0/1").unwrap()
}

fn attempt(number: u128) -> AttemptId {
    AttemptId(Uuid::from_u128(number))
}

fn cluster() -> Cluster {
    Cluster::new(&ClusterState {
        cluster: id(),
        revision: 1,
        generation: 2,
        status: ClusterStatus::Scheduling,
        desired: Desired::Run,
        termination: Termination::Wipe,
        force: false,
        placement_deadline: None,
        origin: None,
        side_runs: Vec::new(),
        nodes: Default::default(),
        leaving: Vec::new(),
        run: None,
        observed: IndexMap::new(),
    })
}

fn task(number: u128, node: &str) -> Task {
    Task {
        id: attempt(number),
        number: 1,
        incarnation: 0,
        revision: 1,
        cluster: id(),
        node: node.parse().unwrap(),
        agent: "a1".to_owned(),
        host: "h1".to_owned(),
        pool: Some("loopback:m".to_owned()),
        address: "127.64.0.1".to_owned(),
        interfaces: Vec::new(),
        ports: IndexMap::new(),
        agent_ports: vec![31000],
        used: Capacity::default(),
        uid: Some(7),
        launched_at: NOW,
        token_hash: "h".to_owned(),
        enrolled: None,
        state: TaskStage::Launching,
        was_running: false,
        running_since: None,
        newest: 0.0,
        report: NodeReport::default(),
        forgotten: false,
        unreachable_since: None,
        standing: Standing::Kept,
        killed_at: None,
        kills: 0,
        killed_since: None,
        heard_at: None,
        repeated: None,
    }
}

fn address(task: u128) -> Write {
    Write::Lease {
        kind: LeaseKind::Address,
        scope: "loopback:m".to_owned(),
        value: "127.64.0.1".to_owned(),
        task: attempt(task),
    }
}

fn persist(writes: Vec<Write>) -> Vec<Output> {
    writes.into_iter().map(Output::Persist).collect()
}

async fn each(body: impl AsyncFn(Db)) {
    let folder = tempfile::tempdir().unwrap();
    for db in databases(folder.path(), crate::MIGRATIONS).await {
        body(db.clone()).await;
        db.close().await;
    }
}

const LEASE: Duration = Duration::from_secs(60);

async fn try_to_lead(db: &Db, at_once: bool, now: Timestamp) -> Acquired {
    acquire(db, Uuid::new_v4(), "http://leader", LEASE, at_once, now).await.unwrap()
}

async fn first_try_of_another(db: &Db) -> Acquired {
    acquire(db, Uuid::new_v4(), "http://another", LEASE, true, NOW).await.unwrap()
}

async fn lead(db: &Db) -> Claim {
    match try_to_lead(db, true, NOW).await {
        Acquired::Leads(claim) => claim,
        Acquired::Follows(leader) => panic!("{leader} leads"),
    }
}

/// The lease runs out, whatever clock says so.
async fn run_out(db: &Db) {
    let mut tx = db.begin().await.unwrap();
    on_tx!(tx, connection => sqlx::query("UPDATE leadership SET expires_at_ms = 0").execute(connection).await.map(drop))
        .unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn what_was_written_comes_back() {
    each(async |db| {
        let claim = lead(&db).await;
        let specification: Specification = serde_json::from_value(json!({
            "cluster": id(), "revision": 1, "product": {"name": "demo", "version": "1.0"}, "product_revision": "x",
            "blueprint": {"dnsname": "d", "services": {}, "nodes": {}}, "options": {}, "orchestrator": "",
            "reach_network": false, "run_deadline_ms": 1
        }))
        .unwrap();
        let names = ["zeta", "alpha"];
        let node = |sequence| Box::new(Node { sequence, ..Node::default() });
        let volume = Volume {
            left: false,
            id: "v".to_owned(),
            cluster: id(),
            node: "zeta".parse().unwrap(),
            disk: "data".parse().unwrap(),
            agent: "a1".to_owned(),
            host: "h1".to_owned(),
            size: 5,
            seen: true,
            fate: Fate::Doomed,
            doomed_at: Some(NOW),
            lost_at: None,
            destroy_sent: None,
        };
        let agent = Agent {
            id: "a1".to_owned(),
            host: "h1".to_owned(),
            address: "10.0.0.1".to_owned(),
            attributes: BTreeMap::from([("rack".to_owned(), "r1".to_owned())]),
            total: Capacity { cpus: 1.0, mem: 2.0, disk: 3.0 },
            seen_at: NOW,
            fresh: false,
            free: std::sync::Arc::default(),
            leaving: None,
            foreign: Vec::new(),
            answered_at: None,
        };
        let mut writes = vec![
            Write::Framework(Some("f1".to_owned())),
            Write::Cluster(Box::new(cluster())),
            Write::Specification(id(), Arc::new(specification.clone())),
        ];
        for (position, name) in names.into_iter().enumerate() {
            writes.push(Write::Node { cluster: id(), name: name.parse().unwrap(), position, node: node(3) });
        }
        writes.push(Write::Node { cluster: id(), name: "zeta".parse().unwrap(), position: 0, node: node(9) });
        writes.extend([
            Write::Task(Box::new(task(1, "zeta"))),
            address(1),
            Write::Uid { machine: "m".to_owned(), uid: 70_000, cluster: id() },
            Write::Volume(Box::new(volume.clone())),
            Write::Agent(Box::new(agent)),
        ]);
        let mut outputs = persist(writes);
        outputs.push(Output::Emit {
            cluster: id(),
            revision: 1,
            origin: None,
            event: Event::ClusterReleased { generation: 1, leftovers: vec![] },
        });
        commit(&db, &claim, &outputs, NOW).await.unwrap();

        let state = load(&db).await.unwrap();
        let found = &state.clusters[&id()];
        assert_eq!((found.generation, state.framework.as_deref()), (2, Some("f1")));
        assert_eq!(found.specification.as_deref(), Some(&specification));
        let order: Vec<(&str, u64)> = found.nodes.iter().map(|(name, node)| (name.as_str(), node.sequence)).collect();
        assert_eq!(order, [("zeta", 9), ("alpha", 3)], "nodes keep the template's order");
        assert_eq!((state.tasks.len(), state.tasks[&attempt(1)].agent_ports.as_slice()), (1, &[31000][..]));
        assert_eq!((state.volumes["v"].clone(), state.agents["a1"].attributes["rack"].as_str()), (volume, "r1"));
        assert_eq!(state.uids.get(&("m".to_owned(), 70_000)), Some(&id()));

        let ended =
            EndedTask { id: attempt(1), cluster: id(), node: "zeta".parse().unwrap(), agent: "a1".to_owned(), at: NOW };
        let end = vec![
            Write::TaskEnded(Box::new(ended)),
            Write::FreeLeases(attempt(1)),
            Write::FreeUids(id()),
            Write::DeleteVolume("v".to_owned()),
            Write::DeleteCluster(id()),
            Write::Framework(None),
        ];
        commit(&db, &claim, &persist(end), NOW).await.unwrap();
        let state = load(&db).await.unwrap();
        assert!(state.clusters.is_empty() && state.tasks.is_empty() && state.volumes.is_empty());
        assert!(state.uids.is_empty() && state.framework.is_none() && state.ended.contains_key(&attempt(1)));
    })
    .await;
}

#[tokio::test]
async fn an_address_is_leased_once_and_a_refused_step_leaves_nothing() {
    each(async |db| {
        let claim = lead(&db).await;
        commit(&db, &claim, &persist(vec![Write::Task(Box::new(task(1, "a"))), address(1)]), NOW).await.unwrap();
        let second = persist(vec![Write::Task(Box::new(task(2, "b"))), address(2)]);
        let error = commit(&db, &claim, &second, NOW).await.unwrap_err();
        assert!(is_lasting(&error), "{error}");
        assert_eq!(load(&db).await.unwrap().tasks.len(), 1);
        commit(&db, &claim, &persist(vec![Write::FreeLeases(attempt(1))]), NOW).await.unwrap();
        commit(&db, &claim, &second, NOW).await.unwrap();
        let twin = commit(&db, &claim, &persist(vec![Write::Task(Box::new(task(3, "b")))]), NOW).await;
        assert!(is_lasting(&twin.unwrap_err()), "a second live task of a node is refused");
    })
    .await;
}

#[tokio::test]
async fn the_registry_is_bound_once() {
    each(async |db| {
        let claim = lead(&db).await;
        assert_eq!(registry_id(&db).await.unwrap(), None);
        set_registry_id(&db, &claim, "r1").await.unwrap();
        assert_eq!(registry_id(&db).await.unwrap().as_deref(), Some("r1"));
        assert!(set_registry_id(&db, &claim, "r2").await.is_err());
    })
    .await;
}

#[tokio::test]
async fn a_lease_is_one_holders_until_it_runs_out_or_is_given_up() {
    each(async |db| {
        let first = lead(&db).await;
        assert_eq!(try_to_lead(&db, false, NOW).await, Acquired::Follows("http://leader".to_owned()));
        assert!(renew(&db, &first, LEASE, NOW).await.unwrap());
        release(&db, &first).await.unwrap();
        let Acquired::Leads(second) = try_to_lead(&db, false, NOW).await else { panic!("it was given up") };
        assert!(second.token > first.token);
        assert!(!renew(&db, &first, LEASE, NOW).await.unwrap(), "it is another's");
        // Whoever has lost it gives nothing up.
        release(&db, &first).await.unwrap();
        assert!(matches!(try_to_lead(&db, false, NOW).await, Acquired::Follows(_)));
        run_out(&db).await;
        assert!(matches!(try_to_lead(&db, false, NOW).await, Acquired::Leads(_)));
    })
    .await;
}

#[tokio::test]
async fn a_new_process_leads_at_once_where_the_leader_must_be_dead() {
    each(async |db| {
        let first = lead(&db).await;
        let Acquired::Leads(second) = try_to_lead(&db, true, NOW).await else { panic!("it is where the leader was") };
        assert!(second.token > first.token);
        assert!(matches!(try_to_lead(&db, false, NOW).await, Acquired::Follows(_)), "it has not just begun");
        let elsewhere = matches!(first_try_of_another(&db).await, Acquired::Leads(_));
        assert_eq!(elsewhere, !db.is_postgres());
    })
    .await;
}

#[tokio::test]
async fn who_has_lost_the_lease_writes_nothing() {
    each(async |db| {
        let former = lead(&db).await;
        run_out(&db).await;
        let claim = lead(&db).await;
        let step = persist(vec![Write::Framework(Some("stale".to_owned()))]);
        let error = commit(&db, &former, &step, NOW).await.unwrap_err();
        assert!(matches!(error, StoreError::LostLeadership), "{error}");
        assert!(matches!(set_registry_id(&db, &former, "r").await, Err(StoreError::LostLeadership)));
        assert_eq!(load(&db).await.unwrap().framework, None);
        assert_eq!(registry_id(&db).await.unwrap(), None);
        commit(&db, &claim, &step, NOW).await.unwrap();
        assert_eq!(load(&db).await.unwrap().framework.as_deref(), Some("stale"));
    })
    .await;
}
