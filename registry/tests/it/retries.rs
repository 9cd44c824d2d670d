//! Operations that failed or were cancelled, begun again.

use crate::changes::{options, ready};
use crate::support::{API, Harness, answer, eventually, on_every_database, run_ref};
use bigdata_common::ClusterId;
use bigdata_common::event::{Event, RunResult};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

/// Asks for something; the operation's id.
async fn asked(registry: &Harness, cluster: &ClusterId, tail: &str, body: Value) -> String {
    let (status, accepted) = registry.post(&format!("/{}/{tail}", cluster.dn()), body).await;
    assert_eq!(status, 202, "{tail}: {accepted}");
    accepted["operation"].as_str().unwrap().to_owned()
}

async fn retry(registry: &Harness, operation: &str) -> (StatusCode, Value) {
    registry.post(&format!("/operations/{operation}/retry"), json!({})).await
}

/// Begins it again; the new operation's id.
async fn again(registry: &Harness, operation: &str) -> String {
    let (status, accepted) = retry(registry, operation).await;
    assert_eq!(status, 202, "{accepted}");
    accepted["operation"].as_str().unwrap().to_owned()
}

async fn refused(registry: &Harness, operation: &str, code: &str, word: &str) {
    let (status, problem) = retry(registry, operation).await;
    assert_eq!((status.as_u16(), problem["code"].as_str()), (409, Some(code)), "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains(word), "{problem}");
}

async fn view(registry: &Harness, operation: &str) -> Value {
    registry.get(&format!("/operations/{operation}")).await.1
}

/// Ends the main run, which is of this action.
async fn ends(registry: &Harness, cluster: &ClusterId, action: &str, result: RunResult) {
    let run = registry.wanted_run(cluster).await;
    assert_eq!(run.action, action);
    registry.end_run(cluster, &run, result).await;
}

fn failure() -> RunResult {
    RunResult::Failed { reason: "exit 3".to_owned() }
}

#[tokio::test]
async fn an_action_is_begun_again_with_its_arguments() {
    on_every_database(async |registry| {
        let cluster = ready(registry).await;
        let first = asked(registry, &cluster, "actions/switchover", json!({"to": "node2"})).await;
        refused(registry, &first, "BD0036", "cancel").await;
        let arguments = registry.state(&cluster).await.run.unwrap().arguments;
        ends(registry, &cluster, "switchover", failure()).await;
        let former = view(registry, &first).await;

        for (user, roles) in [("ben", "user,publisher"), ("ann", "publisher")] {
            let path = format!("{API}/operations/{first}/retry");
            let response = registry.request_as(user, roles, Method::POST, &path).send().await.unwrap();
            assert_eq!(answer(response).await.1["code"], "BD0010", "{user}");
        }
        let with_body = registry.post(&format!("/operations/{first}/retry"), json!({"to": "node3"})).await;
        assert_eq!((with_body.0.as_u16(), &with_body.1["code"]), (400, &json!("BD0003")));

        let keyed = async || {
            let path = format!("/operations/{first}/retry");
            answer(registry.request(Method::POST, &path).header("idempotency-key", "k").send().await.unwrap()).await
        };
        let (status, accepted) = keyed().await;
        assert_eq!((status.as_u16(), &accepted["status"]), (202, &json!("running")), "{accepted}");
        let second = accepted["operation"].as_str().unwrap();
        assert_eq!(keyed().await, (status, accepted.clone()), "the same request again is the same operation");
        let shown = view(registry, second).await;
        assert_eq!((&shown["action"], &shown["retry_of"]), (&json!("switchover"), &json!(first)));
        assert_eq!(view(registry, &first).await, former, "the former one stays as it ended");
        let run = registry.state(&cluster).await.run.unwrap();
        assert_eq!((run.operation.to_string().as_str(), &run.arguments), (second, &arguments));
        assert_eq!(Value::Object(arguments), json!({"to": "node2", "count": 3}));
        refused(registry, &first, "BD0036", second).await;

        // A retry that was cancelled is begun again in its turn, and one that succeeded is not.
        registry.delete(&format!("/operations/{second}")).await;
        let third = again(registry, second).await;
        ends(registry, &cluster, "switchover", RunResult::Succeeded {}).await;
        assert_eq!(view(registry, &third).await["status"], "succeeded");
        // Whichever of them is named: the request has succeeded. The same answer is given to the same request still.
        for former in [&first, second] {
            refused(registry, former, "BD0036", &format!("that succeeded: it is operation {third}")).await;
        }
        assert_eq!(keyed().await.1, accepted);
        refused(registry, &third, "BD0036", "succeeded").await;
        let (_, events) = registry.get(&format!("/{}/events", cluster.dn())).await;
        assert!(events.to_string().contains(&format!("operation {third} begins {second} again")), "{events}");
        assert_eq!(registry.invariants().await.violations, []);
    })
    .await;
}

#[tokio::test]
async fn what_is_busy_or_runs_beside_stays_so_when_it_is_begun_again() {
    on_every_database(async |registry| {
        let cluster = ready(registry).await;
        let beside = asked(registry, &cluster, "actions/backup", json!({})).await;
        let generation = registry.state(&cluster).await.generation;
        let side = run_ref(&registry.state(&cluster).await.side_runs[0], generation);
        registry.fact(&cluster, Event::RunEnded { run: side, result: failure() }).await;
        let change = asked(registry, &cluster, "actions/switchover", json!({})).await;
        registry.delete(&format!("/operations/{change}")).await;
        let other = asked(registry, &cluster, "nodes/node1/replace?elsewhere=true", json!({})).await;
        refused(registry, &change, "BD0031", "replace").await;
        let run = again(registry, &beside).await;
        assert_eq!(registry.state(&cluster).await.side_runs[0].operation.to_string(), run);

        registry.delete(&format!("/operations/{other}")).await;
        let anew = again(registry, &other).await;
        let shown = view(registry, &anew).await;
        assert_eq!((&shown["kind"], &shown["node"]), (&json!("replace"), &json!("node1")));
        assert!(registry.state(&cluster).await.nodes[&"node1".parse::<bigdata_common::Name>().unwrap()].elsewhere);
    })
    .await;
}

#[tokio::test]
async fn scales_and_upgrades_are_begun_again_as_they_come_out_now() {
    on_every_database(async |registry| {
        let cluster = ready(registry).await;
        let scale = asked(registry, &cluster, "scale", json!({"size": 2})).await;
        ends(registry, &cluster, "scale", failure()).await;
        assert_eq!(registry.entry(&cluster).await["options"]["size"], 3, "it was taken back");
        let scale = again(registry, &scale).await;
        assert_eq!(view(registry, &scale).await["kind"], "scale");
        ends(registry, &cluster, "scale", failure()).await;

        // The product has got a secret that must be given: it is the cluster's own from the first attempt on.
        let mut options = options();
        options["required"]["token"] = json!("");
        options["schema"]["token"] = json!({"type": "string", "secret": true});
        assert_eq!(registry.put("/products/demo/1.0/options", options.to_string()).await.0, 204);
        let upgrade = asked(registry, &cluster, "upgrade", json!({"options": {"mem": 96, "token": "canary-3"}})).await;
        for (table, column) in [("asked", "sealed"), ("clusters", "record"), ("operations", "view")] {
            let texts = registry.texts(table, column).await;
            assert!(!texts.is_empty() && texts.iter().all(|text| !text.contains("canary-3")), "{table}");
        }
        registry.runs(&cluster, "node1", 2, 2).await;
        ends(registry, &cluster, "upgrade", failure()).await;
        let upgrade = again(registry, &upgrade).await;
        let steps = view(registry, &upgrade).await["steps"].clone();
        assert_eq!(steps[0]["name"], "renewing node2", "what was changed already stays: {steps}");
        registry.delete(&format!("/operations/{upgrade}")).await;

        // Where nothing is left to do, that is said, and no operation is made of it.
        let smaller = asked(registry, &cluster, "scale", json!({"size": 2})).await;
        registry.delete(&format!("/operations/{smaller}")).await;
        let other = asked(registry, &cluster, "scale", json!({"size": 2})).await;
        ends(registry, &cluster, "scale", RunResult::Succeeded {}).await;
        let gone =
            Event::NodeReleased { node: "node3".parse().unwrap(), generation: 1, sequence: None, leftovers: vec![] };
        registry.fact(&cluster, gone).await;
        assert_eq!(view(registry, &other).await["status"], "succeeded");
        let before = registry.count("operations").await;
        let (status, problem) = retry(registry, &smaller).await;
        assert_eq!((status.as_u16(), &problem["code"]), (400, &json!("BD0003")), "{problem}");
        assert_eq!(registry.count("operations").await, before);
    })
    .await;
}

#[tokio::test]
async fn what_has_succeeded_when_it_was_begun_again_is_not_begun_once_more() {
    on_every_database(async |registry| {
        let cluster = ready(registry).await;
        let scale = asked(registry, &cluster, "scale", json!({"size": 2})).await;
        registry.delete(&format!("/operations/{scale}")).await;
        let again = again(registry, &scale).await;
        ends(registry, &cluster, "scale", RunResult::Succeeded {}).await;
        let gone =
            Event::NodeReleased { node: "node3".parse().unwrap(), generation: 1, sequence: None, leftovers: vec![] };
        registry.fact(&cluster, gone).await;
        assert_eq!(view(registry, &again).await["status"], "succeeded");
        // Not that nothing is left to do: that it was done, and by which operation.
        refused(registry, &scale, "BD0036", &again).await;
        // A replica of an earlier release writes views without what it does not know.
        registry.execute("UPDATE operations SET view = REPLACE(view, '\"retry_of\":', '\"unknown\":')").await;
        assert_eq!(view(registry, &again).await.get("retry_of"), None);
        refused(registry, &scale, "BD0036", &again).await;
    })
    .await;
}

#[tokio::test]
async fn what_no_user_asked_of_a_ready_cluster_is_taken_up_another_way() {
    on_every_database(async |registry| {
        let cluster = ready(registry).await;
        registry.clock.advance_millis(3_601_000);
        eventually("a check is due", async || registry.state(&cluster).await.run.is_some()).await;
        ends(registry, &cluster, "check", failure()).await;
        let (_, list) = registry.get(&format!("/{}/operations", cluster.dn())).await;
        let check = list["operations"].as_array().unwrap().iter().find(|operation| operation["action"] == "check");
        refused(registry, check.unwrap()["id"].as_str().unwrap(), "BD0036", "every 1h").await;

        // An operation of a release that kept nothing of what was asked.
        let kept = asked(registry, &cluster, "actions/switchover", json!({})).await;
        ends(registry, &cluster, "switchover", failure()).await;
        registry.execute("DELETE FROM asked").await;
        refused(registry, &kept, "BD0036", "ask for it anew").await;

        let other = registry.launch(json!({"size": 1})).await;
        let launch = registry.entry(&other).await["operation"].as_str().unwrap().to_owned();
        registry.delete(&format!("/operations/{launch}")).await;
        refused(registry, &launch, "BD0036", &format!("bigdata cluster retry {}", other.dn())).await;
        assert_eq!(retry(registry, "none").await.1["code"], "BD0010");
    })
    .await;
}

#[tokio::test]
async fn what_was_asked_of_a_cluster_is_forgotten_with_its_history() {
    on_every_database(async |registry| {
        let cluster = ready(registry).await;
        let asked = asked(registry, &cluster, "actions/switchover", json!({})).await;
        registry.delete(&format!("/{}", cluster.dn())).await;
        ends(registry, &cluster, "destroy", RunResult::Absent {}).await;
        registry.fact(&cluster, Event::ClusterReleased { generation: 1, leftovers: Vec::new() }).await;
        assert_eq!(registry.status(&cluster).await, "destroyed");
        refused(registry, &asked, "BD0018", "destroyed").await;
        assert_eq!(registry.count("asked").await, 1);
        registry.clock.advance_millis(31 * 24 * 60 * 60 * 1000);
        eventually("it is forgotten", async || registry.count("asked").await == 0).await;
        refused(registry, &asked, "BD0036", "not kept").await;
    })
    .await;
}
