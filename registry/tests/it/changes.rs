//! What users ask of ready clusters: actions, scale, upgrade, replace. What becomes of it is the lifecycle's.

use crate::support::{API, Harness, SCRIPT, answer, on_every_database};
use bigdata_common::ClusterId;
use bigdata_common::event::{Connect, EndpointRole, Event, Output, RunResult};
use bigdata_common::status::NodeStatus;
use indexmap::IndexMap;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

const SIZED: &str = r#"{% macro names() %}{% for i in range(1, opts['size'] + 1) %}"node{{ i }}"{{ "," if not loop.last }}{% endfor %}{% endmacro %}
{"nodes": { {% for i in range(1, opts['size'] + 1) %}"node{{ i }}":
  {"cpu": 1, "mem": {{ opts['mem'] }}, "command": ["run", "--id={{ i }}"], "env": {"PASSWORD": "{{ opts['password'] }}"}}{{ "," if not loop.last }}
{% endfor %} }, "services": {"db": {"nodes": [{{ names() }}]}}}"#;

const ACTIONS: &str = r#"{
  "switchover": {"description": "Moves the writer", "deadline": "2m",
                 "arguments": {"to": {"type": "string"}, "count": {"type": "integer", "minimum": 1, "default": 3}}},
  "backup": {"changes": false, "deadline": "1h", "every": "@{option:often}", "keep": "@{option:many}"},
  "check": {"every": "1h"},
  "restore": {"busy": "wait", "arguments": {"backup": {"type": "string", "format": "backup", "required": true}}}}"#;

pub(crate) fn options() -> Value {
    json!({
        "required": {"size": 3},
        "optional": {"mem": 64, "password": "", "often": "1d", "from": "", "many": 2},
        "schema": {"size": {"type": "integer", "minimum": 1, "maximum": 5}, "mem": {"type": "integer"},
                   "password": {"type": "string", "secret": true, "generate": true},
                   "from": {"type": "string", "format": "backup"}}
    })
}

pub(crate) async fn product(registry: &Harness) {
    registry.product(SIZED, &options(), Some(SCRIPT)).await;
    let (status, problem) = registry.put("/products/demo/1.0/actions", ACTIONS).await;
    assert_eq!(status, 204, "{problem}");
}

/// A ready cluster of three nodes.
pub(crate) async fn ready(registry: &Harness) -> ClusterId {
    product(registry).await;
    let cluster = registry.launch(json!({"size": 3})).await;
    for node in ["node1", "node2", "node3"] {
        registry.node(&cluster, node, 1, NodeStatus::Running, None).await;
    }
    end_run(registry, &cluster, "start").await;
    assert_eq!(registry.status(&cluster).await, "ready");
    cluster
}

/// Ends the run that is wanted, which is of this action.
async fn end_run(registry: &Harness, cluster: &ClusterId, action: &str) {
    let run = registry.wanted_run(cluster).await;
    assert_eq!(run.action, action);
    registry.fact(cluster, Event::RunStarted(run.clone())).await;
    registry.end_run(cluster, &run, RunResult::Succeeded {}).await;
}

async fn ask(registry: &Harness, cluster: &ClusterId, tail: &str, body: Value) -> (StatusCode, Value) {
    registry.post(&format!("/{}/{tail}", cluster.dn()), body).await
}

async fn operation(registry: &Harness, accepted: &Value) -> Value {
    registry.get(&format!("/operations/{}", accepted["operation"].as_str().unwrap())).await.1
}

fn pointers(problem: &Value) -> Vec<&str> {
    problem["errors"].as_array().unwrap().iter().map(|fault| fault["pointer"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn actions_of_a_cluster() {
    on_every_database(async |registry| {
        let cluster = ready(registry).await;
        let (_, list) = registry.get(&format!("/{}/actions", cluster.dn())).await;
        let names: Vec<&Value> = list["actions"].as_array().unwrap().iter().map(|action| &action["name"]).collect();
        assert_eq!(names, ["switchover", "backup", "check", "restore"]);
        assert_eq!(
            (&list["actions"][1]["every_ms"], &list["actions"][2]["users"]),
            (&json!(86_400_000), &json!(false))
        );

        for (tail, body, status, code) in [
            ("actions/none", json!({}), 404, "BD0030"),
            ("actions/check", json!({}), 404, "BD0030"),
            ("actions/No%20ne", json!({}), 404, "BD0030"),
            ("actions/switchover", json!({"too": 1}), 400, "BD0003"),
            ("actions/switchover", json!({"count": 0}), 400, "BD0003"),
            ("actions/switchover", json!([]), 400, "BD0003"),
            ("actions/switchover?force=true", json!({}), 400, "BD0004"),
            ("nodes/none/replace", json!({}), 404, "BD0009"),
            ("nodes/No%20ne/replace", json!({}), 404, "BD0009"),
            ("nodes/node1/replace?elsewhere=perhaps", json!({}), 400, "BD0004"),
        ] {
            let (answered, problem) = ask(registry, &cluster, tail, body).await;
            assert_eq!((answered.as_u16(), problem["code"].as_str()), (status, Some(code)), "{tail}: {problem}");
        }
        assert!(registry.state(&cluster).await.run.is_none());

        let path = format!("{API}/{}/actions/switchover", cluster.dn());
        let send = async |key: &str, body: Value| {
            let request = registry.request_as("ann", "user", Method::POST, &path).header("idempotency-key", key);
            answer(request.json(&body).send().await.unwrap()).await
        };
        let (status, accepted) = send("k", json!({"to": "node2"})).await;
        assert_eq!((status.as_u16(), &accepted["status"]), (202, &json!("running")), "{accepted}");
        let run = registry.state(&cluster).await.run.unwrap();
        assert_eq!(run.action, "switchover");
        assert_eq!(Value::Object(run.arguments), json!({"to": "node2", "count": 3}));
        // The same request again is the same operation, and another one with its key a conflict.
        assert_eq!(send("k", json!({"to": "node2"})).await, (StatusCode::ACCEPTED, accepted.clone()));
        let (status, problem) = send("k", json!({"to": "node3"})).await;
        assert_eq!((status.as_u16(), &problem["code"]), (409, &json!("BD0020")));
        // Beside it: what changes the cluster is refused, what does not runs.
        let (status, problem) = ask(registry, &cluster, "actions/switchover", json!({})).await;
        assert_eq!((status.as_u16(), &problem["code"]), (409, &json!("BD0031")));
        let (status, problem) = ask(registry, &cluster, "scale", json!({"size": 4})).await;
        assert_eq!((status.as_u16(), &problem["code"]), (409, &json!("BD0031")));
        assert_eq!(ask(registry, &cluster, "actions/backup", json!({})).await.0, 202);
        assert_eq!(registry.state(&cluster).await.side_runs[0].action, "backup");
        end_run(registry, &cluster, "switchover").await;
        assert_eq!(operation(registry, &accepted).await["status"], "succeeded");
    })
    .await;
}

#[tokio::test]
async fn only_the_owner_changes_a_cluster_and_only_a_ready_one() {
    on_every_database(async |registry| {
        product(registry).await;
        let cluster = registry.launch(json!({"size": 3})).await;
        let wishes = ["actions/switchover", "scale", "upgrade", "nodes/node1/replace"];
        for tail in wishes {
            let path = format!("{API}/{}/{tail}", cluster.dn());
            for (user, roles) in [("ben", "user,publisher"), ("ann", "publisher")] {
                let request = registry.request_as(user, roles, Method::POST, &path).json(&json!({}));
                assert_eq!(request.send().await.unwrap().status(), 404, "{tail} as {user}");
            }
            let (status, problem) = ask(registry, &cluster, tail, json!({})).await;
            assert_eq!((status.as_u16(), &problem["code"]), (409, &json!("BD0018")), "{tail}: {problem}");
        }
        for tail in ["actions", "backups"] {
            let path = format!("{API}/{}/{tail}", cluster.dn());
            assert_eq!(registry.request_as("ben", "user", Method::GET, &path).send().await.unwrap().status(), 404);
        }
    })
    .await;
}

#[tokio::test]
async fn a_scale_out_and_in_by_name() {
    on_every_database(async |registry| {
        let cluster = ready(registry).await;
        let (status, plan) = ask(registry, &cluster, "scale?dry_run=true", json!({"size": "4"})).await;
        assert_eq!(status, 200, "{plan}");
        assert_eq!((&plan["added"], &plan["removed"]), (&json!(["node4"]), &json!([])));
        assert_eq!((&plan["changed"], &plan["options"]), (&json!({}), &json!({"size": [3, 4]})));
        for (tail, body, code, pointer) in [
            ("scale", json!({"size": 6}), "BD0014", "/size"),
            ("scale", json!({"size": 4, "sise": 1}), "BD0014", "/sise"),
            ("scale", json!({"password": "canary-9"}), "BD0014", "/password"),
            ("scale", json!({"often": "now and then"}), "BD0014", "/often"),
            ("scale", json!({"size": 4, "mem": 128}), "BD0003", "/nodes/node1/mem"),
            ("scale?remove=node9", json!({"size": 2}), "BD0003", "/remove"),
            ("scale?remove=node1,node2", json!({"size": 2}), "BD0003", "/remove"),
            ("scale?remove=node1,", json!({"size": 2}), "BD0004", "/remove"),
            ("scale?remove=node1&remove=node2", json!({"size": 2}), "BD0004", "/remove"),
            ("scale?force=true", json!({"size": 2}), "BD0004", "/force"),
        ] {
            let (status, problem) = ask(registry, &cluster, tail, body).await;
            assert_eq!((status.as_u16(), problem["code"].as_str()), (400, Some(code)), "{tail}: {problem}");
            assert!(pointers(&problem).contains(&pointer) && !problem.to_string().contains("canary-9"), "{problem}");
        }
        let (_, problem) = ask(registry, &cluster, "scale", json!({"size": 3})).await;
        assert!(problem["detail"].as_str().unwrap().contains("so already"), "{problem}");
        assert_eq!((registry.count("revisions").await, registry.state(&cluster).await.nodes.len()), (1, 3));

        let (status, accepted) = ask(registry, &cluster, "scale", json!({"size": 4})).await;
        assert_eq!(status, 202, "{accepted}");
        assert_eq!(registry.state(&cluster).await.nodes["node4"].revision, 2);
        let mut fact = crate::support::node_fact(registry.clock.now(), 1, "node4", 1, NodeStatus::Running, None);
        fact.observation.revision = 2;
        registry.fact(&cluster, Event::NodeRunning(fact)).await;
        end_run(registry, &cluster, "scale").await;
        assert_eq!(operation(registry, &accepted).await["status"], "succeeded");
        assert_eq!(registry.entry(&cluster).await["options"]["size"], 4);

        // A named one goes, and the same size plans nothing afterwards.
        let (status, accepted) = ask(registry, &cluster, "scale?remove=node1", json!({"size": 3})).await;
        assert_eq!(status, 202, "{accepted}");
        end_run(registry, &cluster, "scale").await;
        let state = registry.state(&cluster).await;
        assert_eq!(
            state.nodes.keys().map(bigdata_common::Name::as_str).collect::<Vec<_>>(),
            ["node2", "node3", "node4"]
        );
        let gone =
            Event::NodeReleased { node: "node1".parse().unwrap(), generation: 1, sequence: None, leftovers: vec![] };
        registry.fact(&cluster, gone).await;
        assert_eq!(operation(registry, &accepted).await["status"], "succeeded");
        let (_, problem) = ask(registry, &cluster, "scale?dry_run=true", json!({"size": 3})).await;
        assert!(problem["detail"].as_str().unwrap().contains("so already"), "{problem}");
        let (_, plan) = ask(registry, &cluster, "scale?dry_run=true", json!({"size": 4})).await;
        assert_eq!((&plan["added"], &plan["changed"]), (&json!(["node1"]), &json!({})));
        let (_, plan) = ask(registry, &cluster, "scale?dry_run=true", json!({"size": 2})).await;
        assert_eq!(plan["removed"], json!(["node3"]));
    })
    .await;
}

#[tokio::test]
async fn upgrades_of_a_cluster() {
    on_every_database(async |registry| {
        let cluster = ready(registry).await;
        let (_, problem) = ask(registry, &cluster, "upgrade", json!({})).await;
        assert!(problem["detail"].as_str().unwrap().contains("so already"), "{problem}");
        // The catalog's new content is an upgrade; a scale renders what the cluster was made of.
        let newer = SIZED.replace("--id=", "--number=");
        assert_eq!(registry.put("/products/demo/1.0/template", newer).await.0, 204);
        let (_, plan) = ask(registry, &cluster, "scale?dry_run=true", json!({"size": 4})).await;
        assert_eq!((&plan["added"], &plan["changed"]), (&json!(["node4"]), &json!({})));
        let (_, plan) =
            ask(registry, &cluster, "upgrade?dry_run=true", json!({"options": {"size": 4, "mem": 65}})).await;
        assert_eq!((&plan["added"], &plan["unchanged"]), (&json!(["node4"]), &json!([])));
        assert_eq!(plan["changed"]["node2"], json!(["/mem", "/command/1"]));

        // Another version with a new node, a new secret and a required option.
        assert!(registry.post("/products", json!({"name": "demo", "version": "2.0"})).await.0.is_success());
        let (mut wanted, colour) = (options(), r#""env": {"COLOUR": "{{ opts['colour'] }}", "#);
        wanted["required"]["colour"] = json!("red");
        wanted["optional"]["token"] = json!("");
        wanted["schema"]["token"] = json!({"type": "string", "secret": true, "generate": true});
        let template = SIZED.replace(r#""env": {"#, colour);
        for (part, body) in
            [("template", template), ("options", wanted.to_string()), ("orchestrator", SCRIPT.to_owned())]
        {
            assert_eq!(registry.put(&format!("/products/demo/2.0/{part}"), body).await.0, 204);
        }
        for (body, status, code, pointer) in [
            (json!({"version": "2.0"}), 400, "BD0014", Some("/colour")),
            (
                json!({"version": "2.0", "options": {"colour": "red", "password": "x"}}),
                400,
                "BD0014",
                Some("/password"),
            ),
            (json!({"version": "3.0"}), 404, "BD0007", None),
            (json!({"version": "N o"}), 400, "BD0003", Some("/version")),
            (json!({"revision": 7}), 400, "BD0003", Some("/revision")),
            (json!({"revision": 1, "version": "2.0"}), 400, "BD0003", Some("/revision")),
            (json!({"size": 4}), 400, "BD0003", Some("/size")),
        ] {
            let (answered, problem) = ask(registry, &cluster, "upgrade", body.clone()).await;
            assert_eq!((answered.as_u16(), problem["code"].as_str()), (status, Some(code)), "{body}: {problem}");
            assert!(pointer.is_none_or(|pointer| pointers(&problem).contains(&pointer)), "{body}: {problem}");
        }
        assert_eq!(registry.count("secrets").await, 1);
        let body = json!({"version": "2.0", "options": {"colour": "red"}});
        let (_, plan) = ask(registry, &cluster, "upgrade?dry_run=true", body.clone()).await;
        assert_eq!(
            (&plan["changed"]["node1"], &plan["options"]["token"]),
            (&json!(["/env/COLOUR"]), &json!([null, "********"]))
        );
        assert_eq!(registry.count("secrets").await, 1);
        let before = registry.get(&format!("/{}/secrets", cluster.dn())).await.1;
        let (status, accepted) = ask(registry, &cluster, "upgrade", body).await;
        assert_eq!(status, 202, "{accepted}");
        let after = registry.get(&format!("/{}/secrets", cluster.dn())).await.1;
        assert_eq!(after["secrets"]["password"], before["secrets"]["password"]);
        assert_eq!(after["secrets"]["token"].as_str().map(str::len), Some(24));
        let state = registry.state(&cluster).await;
        assert_eq!((state.nodes["node1"].revision, state.nodes["node1"].incarnation), (2, 1));
        assert_eq!((state.nodes["node2"].revision, state.nodes["node2"].incarnation), (1, 0));
        let texts = registry.texts("revisions", "specification").await.join("\n")
            + &registry.texts("revisions", "terms").await.join("\n");
        assert!(!texts.contains(after["secrets"]["token"].as_str().unwrap()));
    })
    .await;
}

#[tokio::test]
async fn endpoints_have_lines_for_a_shell() {
    on_every_database(async |registry| {
        product(registry).await;
        let cluster = registry.launch(json!({"size": 1})).await;
        registry.node(&cluster, "node1", 1, NodeStatus::Running, None).await;
        let run = registry.wanted_run(&cluster).await;
        let connect = Connect {
            command: ["mysql", "-h", "127.64.0.1", "it's"].map(str::to_owned).to_vec(),
            env: IndexMap::from([("MYSQL_PWD".to_owned(), "@{secret:password}".to_owned())]),
        };
        let endpoint = Some(EndpointRole { role: "writer".to_owned(), connect: Some(connect) });
        let output = Output { key: "writer".to_owned(), value: Some("u".to_owned()), secret: false, endpoint };
        registry.fact(&cluster, Event::RunOutput { run, output }).await;
        let (_, list) = registry.get(&format!("/{}/endpoints", cluster.dn())).await;
        let shown = &list["endpoints"][0];
        assert_eq!(shown["connect"]["env"]["MYSQL_PWD"], "@{secret:password}");
        let line =
            "MYSQL_PWD=\"$(bigdata cluster secrets clusters/ann/demo/1.0/1 password)\" mysql -h 127.64.0.1 'it'\\''s'";
        assert_eq!(shown["line"], line);
    })
    .await;
}
