//! What changes a ready cluster: scale, upgrade, replace, actions, answers to lost nodes, and what the clock asks for.

use crate::support::{Harness, PAIR, SCRIPT, eventually, on_every_database, pair_options, run_ref};
use bigdata_common::event::{Event, RunResult};
use bigdata_common::internal::NodeWish;
use bigdata_common::status::NodeStatus;
use bigdata_common::{ClusterId, Name, OperationId};
use bigdata_registry::cluster::wanted::{Busy, Refused, Target, Wanted};
use serde_json::{Map, Value, json};

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn wish(revision: u32, incarnation: u32) -> NodeWish {
    NodeWish { revision, incarnation, elsewhere: false }
}

async fn ready(registry: &Harness, actions: Value) -> ClusterId {
    registry.product(PAIR, &pair_options(), Some(SCRIPT)).await;
    let (status, problem) = registry.put("/products/demo/1.0/actions", actions.to_string()).await;
    assert_eq!(status, 204, "{problem}");
    let cluster = registry.launch(json!({"mem": 64})).await;
    for node in ["a", "b"] {
        registry.runs(&cluster, node, 1, 1).await;
    }
    ends(registry, &cluster, "start", RunResult::Succeeded {}).await;
    assert_eq!(registry.status(&cluster).await, "ready");
    cluster
}

/// Ends the run that is wanted, which is this one; what it was about.
async fn ends(registry: &Harness, cluster: &ClusterId, action: &str, result: RunResult) -> Value {
    let run = registry.state(cluster).await.run.expect(action);
    assert_eq!(run.action, action);
    registry.end_run(cluster, &run_ref(&run, 1), result).await;
    run.event.unwrap_or_default()
}

fn failed() -> RunResult {
    RunResult::Failed { reason: "exit 3".to_owned() }
}

fn action(name: &str, changes: bool, busy: Busy) -> Wanted {
    Wanted::Action { name: name.to_owned(), arguments: Map::new(), changes, busy, limit_ms: 60_000 }
}

async fn scale(registry: &Harness, cluster: &ClusterId, removed: &[&str]) -> Result<OperationId, Refused> {
    let revision = registry.revision(cluster, |blueprint| {
        let node = blueprint.nodes["b"].clone();
        blueprint.nodes.insert(name("c"), node);
        for node in removed {
            blueprint.nodes.shift_remove(*node);
        }
    });
    let (revision, base) = (revision.await, registry.state(cluster).await.revision);
    let removed = removed.iter().map(|text| name(text)).collect();
    registry.ask(cluster, Wanted::Scale { revision, base, added: vec![name("c")], removed }).await
}

async fn status(registry: &Harness, operation: OperationId) -> String {
    registry.operation(operation).await["status"].as_str().unwrap().to_owned()
}

async fn sound(registry: &Harness) {
    assert_eq!(registry.invariants().await.violations, []);
}

#[tokio::test]
async fn a_scale_places_configures_and_releases() {
    on_every_database(async |registry| {
        let cluster = ready(registry, json!({})).await;
        let operation = scale(registry, &cluster, &["b"]).await.unwrap();
        let state = registry.state(&cluster).await;
        assert_eq!((state.revision, state.run), (2, None));
        assert_eq!(state.nodes.values().copied().collect::<Vec<_>>(), [wish(1, 0), wish(1, 0), wish(2, 0)]);
        let reasons = vec!["c: no agent has 64 MiB".to_owned()];
        registry.fact(&cluster, Event::PlacementWaiting { generation: 1, reasons }).await;
        let steps = registry.operation(operation).await["steps"].clone();
        assert_eq!((&steps[0]["name"], &steps[1]["status"]), (&json!("placing"), &json!("pending")));
        assert!(steps[0]["message"].as_str().unwrap().contains("64 MiB"), "{steps}");
        sound(registry).await;
        registry.runs(&cluster, "c", 1, 1).await;
        let event = ends(registry, &cluster, "scale", RunResult::Succeeded {}).await;
        assert_eq!(event, json!({"kind": "scale", "added": ["c"], "removed": ["b"]}));
        let state = registry.state(&cluster).await;
        assert_eq!(state.leaving, [name("b")]);
        // The one that stays is described without the one that goes from now on, and is not begun anew for that.
        assert_eq!(json!(state.nodes), json!({"a": wish(2, 0), "c": wish(2, 0)}));
        let (_, list) = registry.get(&format!("/{}/nodes", cluster.dn())).await;
        let shown = |index: usize| (list["nodes"][index]["name"].clone(), list["nodes"][index]["status"].clone());
        assert_eq!((shown(1), shown(2)), ((json!("b"), json!("stopping")), (json!("c"), json!("running"))));
        assert_eq!((&list["nodes"][0]["leaving"], &list["nodes"][1]["leaving"]), (&Value::Null, &json!(true)));
        assert_eq!(
            (registry.entry(&cluster).await["health"].clone(), status(registry, operation).await.as_str()),
            (json!("healthy"), "running")
        );
        sound(registry).await;
        // A release of an earlier node of this name comes late.
        let gone = |sequence, leftovers| Event::NodeReleased { node: name("b"), generation: 1, sequence, leftovers };
        registry.fact(&cluster, gone(Some(0), vec![])).await;
        assert_eq!(status(registry, operation).await, "running");
        registry.fact(&cluster, gone(Some(90), vec!["a volume".to_owned()])).await;
        assert_eq!(status(registry, operation).await, "succeeded");
        let entry = registry.entry(&cluster).await;
        assert_eq!((&entry["nodes"], &entry["nodes_running"]), (&json!(2), &json!(2)));
        assert_eq!((&entry["health"], &entry["operation"]), (&json!("healthy"), &Value::Null));
        assert_eq!(registry.state(&cluster).await.run, None);
        let (_, events) = registry.get(&format!("/{}/events", cluster.dn())).await;
        assert!(events.to_string().contains("what stays: a volume"), "{events}");
        sound(registry).await;
    })
    .await;
}

#[tokio::test]
async fn a_scale_that_fails_is_taken_back() {
    on_every_database(async |registry| {
        let cluster = ready(registry, json!({})).await;
        let before = registry.state(&cluster).await.nodes;
        let operation = scale(registry, &cluster, &[]).await.unwrap();
        registry.runs(&cluster, "c", 1, 1).await;
        ends(registry, &cluster, "scale", failed()).await;
        let state = registry.state(&cluster).await;
        assert_eq!(
            (state.revision, state.nodes, state.leaving.as_slice()),
            (1, before.clone(), [name("c")].as_slice())
        );
        assert_eq!(registry.operation(operation).await["error"], "exit 3");
        sound(registry).await;
        assert!(matches!(scale(registry, &cluster, &[]).await, Err(Refused::Leaving(_))));
        registry
            .fact(&cluster, Event::NodeReleased { node: name("c"), generation: 1, sequence: None, leftovers: vec![] })
            .await;
        let again = scale(registry, &cluster, &[]).await.unwrap();
        assert_eq!(registry.state(&cluster).await.nodes["c"], wish(3, 0), "a number is given once");
        // What is told of the first node of this name comes late.
        registry.observes(&cluster, "c", 90, |observation| observation.revision = 2).await;
        assert_eq!(registry.state(&cluster).await.run, None);
        registry.clock.advance_millis(601_000);
        eventually("it has no place", async || status(registry, again).await == "failed").await;
        assert_eq!((registry.state(&cluster).await.revision, registry.state(&cluster).await.nodes), (1, before));
        let error = registry.operation(again).await["error"].clone();
        assert!(error.as_str().unwrap().contains("within 600 s"), "{error}");
        sound(registry).await;
    })
    .await;
}

#[tokio::test]
async fn an_upgrade_goes_node_by_node_and_stops_where_it_fails() {
    on_every_database(async |registry| {
        let cluster = ready(registry, json!({"upgrade": {"deadline": "2m"}})).await;
        let revision = registry.revision(&cluster, |blueprint| blueprint.nodes["a"].mem = 96).await;
        let changed = vec![name("a"), name("b")];
        let (target, added, removed) = (Target::New(revision), Vec::new(), Vec::new());
        let operation =
            registry.ask(&cluster, Wanted::Upgrade { target, base: 1, changed, added, removed }).await.unwrap();
        assert_eq!(json!(registry.state(&cluster).await.nodes), json!({"a": wish(2, 1), "b": wish(1, 0)}));
        // The former attempt still runs.
        registry.observes(&cluster, "a", 2, |_| {}).await;
        assert_eq!(registry.state(&cluster).await.run, None);
        registry.runs(&cluster, "a", 3, 2).await;
        let first = registry.state(&cluster).await.run.unwrap();
        let event = ends(registry, &cluster, "upgrade", RunResult::Succeeded {}).await;
        assert_eq!(event, json!({"kind": "upgrade", "node": "a", "from": 1, "to": 2}));
        assert_eq!(json!(registry.state(&cluster).await.nodes), json!({"a": wish(2, 1), "b": wish(2, 1)}));
        registry.runs(&cluster, "b", 2, 2).await;
        let second = registry.state(&cluster).await.run.unwrap();
        assert_eq!((first.operation, first.step, second.operation, second.step), (operation, 0, operation, 1));
        // A late word of the first run is nothing to the second.
        registry.end_run(&cluster, &run_ref(&first, 1), RunResult::Succeeded {}).await;
        ends(registry, &cluster, "upgrade", failed()).await;
        assert_eq!(status(registry, operation).await, "failed");
        let state = registry.state(&cluster).await;
        assert_eq!((state.revision, json!(state.nodes)), (2, json!({"a": wish(2, 1), "b": wish(2, 1)})));
        sound(registry).await;

        // The way back: one node is begun anew for it, and the other follows without.
        let (changed, added, removed) = (vec![name("a")], Vec::new(), Vec::new());
        let back = Wanted::Upgrade { target: Target::Stored(1), base: 2, changed, added, removed };
        let operation = registry.ask(&cluster, back).await.unwrap();
        registry.runs(&cluster, "a", 9, 3).await;
        // A script that does not know of upgrades configures what is new by its start.
        ends(registry, &cluster, "upgrade", RunResult::Absent {}).await;
        ends(registry, &cluster, "start", RunResult::Succeeded {}).await;
        let event = ends(registry, &cluster, "upgrade", RunResult::Absent {}).await;
        assert_eq!(event, json!({"kind": "upgrade", "from": 2, "to": 1}));
        assert_eq!(
            (status(registry, operation).await.as_str(), registry.state(&cluster).await.revision),
            ("succeeded", 1)
        );
        assert_eq!(json!(registry.state(&cluster).await.nodes), json!({"a": wish(1, 2), "b": wish(1, 1)}));
        assert_eq!(registry.entry(&cluster).await["nodes_running"], 2);
        sound(registry).await;
    })
    .await;
}

#[tokio::test]
async fn a_node_is_replaced() {
    on_every_database(async |registry| {
        let cluster = ready(registry, json!({"node-replaced": {"deadline": "1m"}})).await;
        assert!(matches!(
            registry.ask(&cluster, Wanted::Replace { node: name("zz"), elsewhere: true }).await,
            Err(Refused::UnknownNode(_))
        ));
        let operation = registry.ask(&cluster, Wanted::Replace { node: name("b"), elsewhere: true }).await.unwrap();
        assert_eq!(registry.operation(operation).await["node"], "b");
        let wish = registry.state(&cluster).await.nodes["b"];
        assert_eq!((wish.incarnation, wish.elsewhere), (1, true));
        registry.runs(&cluster, "b", 2, 2).await;
        let event = ends(registry, &cluster, "node-replaced", RunResult::Succeeded {}).await;
        assert_eq!(event, json!({"kind": "node-replaced", "node": "b", "same_attempt": false, "attempt": 2}));
        assert_eq!(status(registry, operation).await, "succeeded");
        // It was told of it by that: nothing follows.
        registry.runs(&cluster, "b", 3, 2).await;
        assert_eq!(registry.state(&cluster).await.run, None);
        sound(registry).await;
    })
    .await;
}

#[tokio::test]
async fn lost_nodes_are_answered_once_per_change() {
    on_every_database(async |registry| {
        let hooks = json!({"node-lost": {"deadline": "1m"}, "node-replaced": {"deadline": "1m"}});
        let cluster = ready(registry, hooks).await;
        registry.runs(&cluster, "a", 2, 1).await;
        registry.observes(&cluster, "b", 2, |observation| observation.status = NodeStatus::Failed).await;
        let run = registry.state(&cluster).await.run.unwrap();
        let operation = registry.operation(run.operation).await;
        assert_eq!((&operation["action"], &operation["node"]), (&json!("node-lost"), &json!("b")));
        assert!(operation["cause"].as_str().unwrap().starts_with("b is lost"), "{operation}");
        // More of the same while the script runs, and something else.
        registry.observes(&cluster, "b", 3, |observation| observation.status = NodeStatus::Failed).await;
        registry.observes(&cluster, "a", 3, |observation| observation.restarts = 1).await;
        let event = ends(registry, &cluster, "node-lost", RunResult::Succeeded {}).await;
        assert_eq!((&event["node"], &event["attempt"], &event["status"]), (&json!("b"), &json!(1), &json!("failed")));
        let event = ends(registry, &cluster, "node-lost", failed()).await;
        assert_eq!((&event["node"], &event["reason"]), (&json!("a"), &json!("its workload was started again")));
        // It serves again, and the other one runs anew.
        let event = ends(registry, &cluster, "node-replaced", RunResult::Succeeded {}).await;
        assert_eq!(event, json!({"kind": "node-replaced", "node": "a", "same_attempt": true, "attempt": 1}));
        assert_eq!(registry.state(&cluster).await.run, None);
        registry.runs(&cluster, "b", 5, 2).await;
        let event = ends(registry, &cluster, "node-replaced", RunResult::Succeeded {}).await;
        assert_eq!((&event["same_attempt"], &event["attempt"]), (&json!(false), &json!(2)));
        assert_eq!(registry.state(&cluster).await.run, None);
        sound(registry).await;
    })
    .await;
}

#[tokio::test]
async fn a_lost_node_interrupts_what_only_waits() {
    on_every_database(async |registry| {
        let cluster = ready(registry, json!({"node-lost": {"deadline": "1m"}})).await;
        registry.runs(&cluster, "a", 2, 1).await;
        let operation = scale(registry, &cluster, &[]).await.unwrap();
        registry.clock.advance_millis(100_000);
        registry.observes(&cluster, "a", 3, |observation| observation.passing = Some(false)).await;
        let lost = registry.state(&cluster).await.run.unwrap();
        assert_eq!((lost.action.as_str(), status(registry, operation).await.as_str()), ("node-lost", "running"));
        sound(registry).await;
        // What it waits for comes meanwhile, and counts when the answer is given.
        registry.runs(&cluster, "c", 1, 1).await;
        registry.clock.advance_millis(1_000);
        ends(registry, &cluster, "node-lost", RunResult::Succeeded {}).await;
        assert_eq!(registry.state(&cluster).await.run.map(|run| run.action).as_deref(), Some("scale"));
        // A run of the script is not interrupted: the answer follows.
        registry.observes(&cluster, "b", 2, |observation| observation.status = NodeStatus::Unreachable).await;
        ends(registry, &cluster, "scale", RunResult::Succeeded {}).await;
        assert_eq!(status(registry, operation).await, "succeeded");
        assert_eq!(ends(registry, &cluster, "node-lost", failed()).await["node"], "b");
        sound(registry).await;
    })
    .await;
}

#[tokio::test]
async fn what_waits_is_bounded_cancelled_and_overtaken() {
    on_every_database(async |registry| {
        let cluster = ready(registry, json!({})).await;
        let first = registry.ask(&cluster, action("one", true, Busy::Refuse)).await.unwrap();
        let refused = registry.ask(&cluster, action("two", true, Busy::Refuse)).await.unwrap_err();
        assert!(refused.to_string().contains(&first.to_string()), "{refused}");
        assert!(matches!(scale(registry, &cluster, &[]).await, Err(Refused::Busy(_))));
        let mut waiting = Vec::new();
        for _ in 0..16 {
            waiting.push(registry.ask(&cluster, action("two", true, Busy::Wait)).await.unwrap());
        }
        let full = registry.ask(&cluster, action("two", true, Busy::Wait)).await;
        assert!(matches!(full, Err(Refused::Full(16))), "{full:?}");
        assert_eq!(status(registry, waiting[0]).await, "pending");
        sound(registry).await;
        for operation in [waiting[0], first] {
            assert_eq!(registry.delete(&format!("/operations/{operation}")).await.1["status"], "cancelled");
        }
        let run = registry.state(&cluster).await.run.unwrap();
        assert_eq!((run.operation, status(registry, waiting[1]).await.as_str()), (waiting[1], "running"));
        // One that users ask for must be there.
        ends(registry, &cluster, "two", RunResult::Absent {}).await;
        assert_eq!(registry.operation(waiting[1]).await["error"], "the script has no action two");
        registry.clock.advance_millis(76_000);
        eventually("its limit has passed", async || status(registry, waiting[2]).await == "failed").await;
        let beside = registry.ask(&cluster, action("backup", false, Busy::Refuse)).await.unwrap();
        registry.delete(&format!("/{}", cluster.dn())).await;
        for operation in waiting[3..].iter().chain([&beside]) {
            assert_eq!(status(registry, *operation).await, "cancelled");
        }
        let state = registry.state(&cluster).await;
        assert!(state.side_runs.is_empty() && state.run.is_some_and(|run| run.action == "destroy"));
        assert!(matches!(registry.ask(&cluster, action("two", true, Busy::Wait)).await, Err(Refused::NotReady(_))));
        sound(registry).await;
    })
    .await;
}

#[tokio::test]
async fn what_changes_nothing_runs_beside() {
    on_every_database(async |registry| {
        let cluster = ready(registry, json!({})).await;
        let main = registry.ask(&cluster, action("one", true, Busy::Refuse)).await.unwrap();
        let mut beside = Vec::new();
        for _ in 0..3 {
            beside.push(registry.ask(&cluster, action("backup", false, Busy::Refuse)).await.unwrap());
        }
        let state = registry.state(&cluster).await;
        assert_eq!((state.side_runs.len(), state.run.as_ref().map(|run| run.operation)), (3, Some(main)));
        let runs: Vec<_> = state.side_runs.iter().map(|run| run_ref(run, 1)).collect();
        registry.fact(&cluster, Event::RunStarted(runs[0].clone())).await;
        let (run, message) = (runs[0].clone(), "half".to_owned());
        registry.fact(&cluster, Event::RunProgress { run, percent: 50, message }).await;
        assert_eq!(registry.operation(beside[0]).await["steps"][0]["percent"], 50);
        registry.end_run(&cluster, &runs[0], RunResult::Succeeded {}).await;
        registry.end_run(&cluster, &runs[0], failed()).await;
        registry.delete(&format!("/operations/{}", beside[1])).await;
        assert_eq!(status(registry, beside[0]).await, "succeeded");
        assert_eq!(status(registry, beside[1]).await, "cancelled");
        assert_eq!(status(registry, main).await, "running");
        let kinds: Vec<_> = registry.outbox().await.iter().map(|envelope| envelope.event.kind()).collect();
        assert!(kinds.contains(&"operation.cancelled.v1"));
        sound(registry).await;
        registry.clock.advance_millis(76_000);
        eventually("their limits have passed", async || status(registry, beside[2]).await == "failed").await;
        assert!(registry.state(&cluster).await.side_runs.is_empty());
        sound(registry).await;
    })
    .await;
}

#[tokio::test]
async fn the_clock_calls_and_a_good_check_leaves_nothing() {
    on_every_database(async |registry| {
        let actions = json!({
            "check": {"every": "30s", "deadline": "20s"}, "node-lost": {},
            "backup": {"every": "100s", "deadline": "1h", "changes": false}
        });
        let cluster = ready(registry, actions).await;
        let operations = registry.count("operations").await;
        let history = registry.count("events").await;
        let check = async |result| {
            registry.clock.advance_millis(31_000);
            eventually("it is called", async || registry.state(&cluster).await.run.is_some()).await;
            let run = registry.state(&cluster).await.run.unwrap();
            registry.fact(&cluster, Event::RunStarted(run_ref(&run, 1))).await;
            sound(registry).await;
            ends(registry, &cluster, "check", result).await;
            run.operation
        };
        check(RunResult::Succeeded {}).await;
        assert_eq!((registry.count("operations").await, registry.count("events").await), (operations, history));
        let first = check(failed()).await;
        assert_eq!(registry.operation(first).await["cause"], "every 30s");
        let second = check(failed()).await;
        assert_eq!(registry.get(&format!("/operations/{first}")).await.0, 404, "the last failure shows");
        assert_eq!(
            (status(registry, second).await.as_str(), registry.count("operations").await),
            ("failed", operations + 1)
        );

        // A lost node is more important than a look.
        registry.clock.advance_millis(31_000);
        eventually("both are called", async || {
            let state = registry.state(&cluster).await;
            state.run.is_some() && state.side_runs.len() == 1
        })
        .await;
        registry.runs(&cluster, "a", 2, 1).await;
        registry.observes(&cluster, "a", 3, |observation| observation.status = NodeStatus::Failed).await;
        ends(registry, &cluster, "node-lost", RunResult::Succeeded {}).await;
        sound(registry).await;

        // Never twice at once; and users' wishes are not refused for it.
        registry.clock.advance_millis(201_000);
        eventually("the check is called", async || registry.state(&cluster).await.run.is_some()).await;
        assert_eq!(registry.state(&cluster).await.side_runs.len(), 1);
        let wanted = registry.ask(&cluster, action("one", true, Busy::Refuse)).await.unwrap();
        assert_eq!(status(registry, wanted).await, "pending");
        ends(registry, &cluster, "check", RunResult::Succeeded {}).await;
        assert_eq!(status(registry, wanted).await, "running");
        sound(registry).await;
    })
    .await;
}

/// What the release before stored is taken over by the migration.
#[tokio::test]
async fn a_cluster_of_an_earlier_release_goes_on() {
    on_every_database(async |registry| {
        let cluster = ready(registry, json!({})).await;
        registry.observes(&cluster, "b", 2, |observation| observation.attempt.number = 2).await;
        let operation = registry.state(&cluster).await.run.unwrap().operation;
        let record = registry.texts("clusters", "record").await.remove(0);
        let mut old: Value = serde_json::from_str(&record).unwrap();
        old["state"] = json!({"status": "ready", "reconfiguring": true});
        (old["attempts"], old["configured_attempts"]) = (json!(3), json!(3));
        registry.store_record(&cluster, &old.to_string()).await;
        registry.execute("UPDATE nodes SET told_attempt = NULL").await;
        let migration = if registry.db.is_postgres() {
            include_str!("../../migrations/postgres/0102_changes.sql")
        } else {
            include_str!("../../migrations/sqlite/0102_changes.sql")
        };
        let updates = migration.split(';').filter_map(|text| text.find("UPDATE ").map(|at| &text[at..]));
        for update in updates {
            registry.execute(update).await;
        }
        sound(registry).await;
        ends(registry, &cluster, "start", RunResult::Succeeded {}).await;
        assert_eq!(status(registry, operation).await, "succeeded");
        // The nodes are known as they were configured: nothing follows.
        registry.observes(&cluster, "b", 3, |observation| observation.attempt.number = 2).await;
        assert_eq!(registry.state(&cluster).await.run, None);
        registry.observes(&cluster, "b", 4, |observation| observation.attempt.number = 3).await;
        ends(registry, &cluster, "start", RunResult::Succeeded {}).await;
        sound(registry).await;
    })
    .await;
}
