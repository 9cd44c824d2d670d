//! Backups: the list, who may have them, launches from them, and which of them a schedule keeps.

use crate::changes::ready;
use crate::support::{API, Harness, SCRIPT, answer, eventually, on_every_database, run_ref};
use bigdata_common::event::{Event, RunRef, RunResult};
use bigdata_common::internal::Backup;
use bigdata_common::{BackupId, ClusterId, OperationId, RunId};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

fn made(registry: &Harness, cluster: &ClusterId, operation: OperationId) -> Backup {
    Backup {
        id: BackupId(Uuid::now_v7()),
        cluster: cluster.clone(),
        operation,
        label: "full".to_owned(),
        size: 42,
        sha256: "ab".repeat(32),
        at: registry.clock.now(),
    }
}

/// Tells of a backup as the orchestrator does until it is answered.
async fn put(registry: &Harness, backup: &Backup, id: &str) -> (u16, Value) {
    let request = registry.request_as("x", "", Method::PUT, &format!("/internal/v1/backups/{id}")).json(backup);
    let (status, body) = answer(request.send().await.unwrap()).await;
    (status.as_u16(), body)
}

async fn store(registry: &Harness, cluster: &ClusterId, operation: OperationId) -> String {
    let backup = made(registry, cluster, operation);
    let id = backup.id;
    registry.fact(cluster, Event::BackupStored(backup.clone())).await;
    // Told again: nothing more.
    registry.fact(cluster, Event::BackupStored(backup)).await;
    id.to_string()
}

async fn as_user(registry: &Harness, user: &str, roles: &str, method: Method, path: &str) -> (StatusCode, Value) {
    answer(registry.request_as(user, roles, method, path).send().await.unwrap()).await
}

async fn asked_for(registry: &Harness, cluster: &ClusterId) -> OperationId {
    let (status, accepted) = registry.post(&format!("/{}/actions/backup", cluster.dn()), json!({})).await;
    assert_eq!(status, 202, "{accepted}");
    accepted["operation"].as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn the_list_and_who_may_have_what() {
    on_every_database(async |registry| {
        let cluster = ready(registry).await;
        let operation = asked_for(registry, &cluster).await;
        let first = store(registry, &cluster, operation).await;
        registry.clock.advance_millis(1000);
        let second = store(registry, &cluster, operation).await;
        let (_, page) = registry.get("/backups?limit=1").await;
        assert_eq!(page["backups"][0]["id"], json!(second));
        let next = page["next"].as_str().unwrap();
        let (_, page) = registry.get(&format!("/backups?after={next}")).await;
        let wanted = json!({"id": first, "cluster": cluster.dn(), "version": "1.0", "label": "full", "size": 42,
                            "sha256": "ab".repeat(32), "at": page["backups"][0]["at"], "cause": "user"});
        assert_eq!((&page["backups"], &page["next"]), (&json!([wanted]), &Value::Null));
        assert_eq!(registry.get(&format!("/backups/{first}")).await.1, wanted);
        let (_, list) = registry.get(&format!("/{}/backups", cluster.dn())).await;
        assert_eq!(list["backups"].as_array().map(Vec::len), Some(2));

        let one = format!("{API}/backups/{first}");
        for (method, path) in [(Method::GET, &one), (Method::DELETE, &one)] {
            let (status, problem) = as_user(registry, "ben", "user", method, path).await;
            assert_eq!((status.as_u16(), &problem["code"]), (404, &json!("BD0032")));
        }
        assert_eq!(
            as_user(registry, "ben", "user", Method::GET, &format!("{API}/backups")).await.1["backups"],
            json!([])
        );
        assert_eq!(as_user(registry, "ben", "", Method::GET, &format!("{API}/backups")).await.0, 403);
        assert_eq!(as_user(registry, "root", "admin", Method::GET, &one).await.0, 200);
        for (path, code) in [
            ("/backups/7", "BD0032"),
            ("/backups/00000000-0000-0000-0000-000000000000", "BD0032"),
            ("/backups?after=x", "BD0004"),
            ("/backups?limit=0", "BD0004"),
            ("/backups?removing=true", "BD0004"),
        ] {
            assert_eq!(registry.get(path).await.1["code"], json!(code), "{path}");
        }

        // Gone for users at once, and forgotten when its bytes have gone.
        let removing = async || {
            as_user(registry, "x", "", Method::GET, "/internal/v1/backups?removing=true")
                .await
                .1
                .as_array()
                .unwrap()
                .clone()
        };
        assert!(removing().await.is_empty());
        assert_eq!(registry.delete(&format!("/backups/{first}")).await.0, 204);
        assert_eq!(registry.delete(&format!("/backups/{first}")).await.0, 404);
        assert_eq!(removing().await[0]["id"], json!(first));
        registry.fact(&cluster, Event::BackupRemoved { backup: first.parse().unwrap() }).await;
        assert!(removing().await.is_empty());
        // Whatever is told of it late, it is not there again; its id is forgotten in time.
        let late = Backup { id: first.parse().unwrap(), ..made(registry, &cluster, operation) };
        registry.fact(&cluster, Event::BackupStored(late.clone())).await;
        assert_eq!(put(registry, &late, &first).await.0, 204);
        assert_eq!(registry.get(&format!("/backups/{first}")).await.0, 404);
        assert!(removing().await.is_empty());
        assert_eq!(registry.count("backups").await, 2);
        registry.clock.advance_millis(31 * 24 * 60 * 60 * 1000);
        registry.fact(&cluster, Event::BackupRemoved { backup: second.parse().unwrap() }).await;
        assert_eq!(registry.count("backups").await, 1);
    })
    .await;
}

#[tokio::test]
async fn a_backup_whose_event_was_lost_is_listed_all_the_same() {
    on_every_database(async |registry| {
        let cluster = ready(registry).await;
        let backup = made(registry, &cluster, asked_for(registry, &cluster).await);
        let id = backup.id.to_string();
        for _ in 0..2 {
            assert_eq!(put(registry, &backup, &id).await.0, 204);
        }
        // The event comes after all.
        registry.fact(&cluster, Event::BackupStored(backup.clone())).await;
        let (_, listed) = registry.get("/backups").await;
        let [only] = listed["backups"].as_array().unwrap().as_slice() else { panic!("{listed}") };
        assert_eq!((&only["id"], &only["size"], &only["sha256"]), (&json!(id), &json!(42), &json!(backup.sha256)));
        let (_, events) = registry.get(&format!("/{}/events", cluster.dn())).await;
        let told = format!("the backup {id} is complete");
        assert_eq!(events.to_string().matches(&told).count(), 1, "{events}");

        let other = BackupId(Uuid::now_v7()).to_string();
        assert_eq!(put(registry, &backup, &other).await.0, 400);
        let unknown = Backup { cluster: "clusters--ann--none--1--1".parse().unwrap(), ..backup };
        let (status, problem) = put(registry, &unknown, &id).await;
        assert_eq!((status, &problem["code"]), (404, &json!("BD0008")));
        let path = format!("{API}/internal/v1/backups/{id}");
        assert_eq!(as_user(registry, "ann", "user,publisher", Method::PUT, &path).await.0, 404);
    })
    .await;
}

#[tokio::test]
async fn launches_from_backups() {
    on_every_database(async |registry| {
        let cluster = ready(registry).await;
        let operation = asked_for(registry, &cluster).await;
        let backup = store(registry, &cluster, operation).await;
        let launch = async |user: &str, roles: &str, product: &str, from: &str| {
            let request = registry.request_as(user, roles, Method::POST, &format!("{API}/products/{product}"));
            answer(request.json(&json!({"size": 1, "from": from})).send().await.unwrap()).await
        };
        let readable = async |cluster: &str| {
            let path = format!("/internal/v1/backups/{backup}?cluster={cluster}");
            as_user(registry, "x", "", Method::GET, &path).await.0.as_u16()
        };
        let (status, own) = launch("ann", "user", "demo/1.0", &backup).await;
        assert_eq!(status, 202, "{own}");
        assert_eq!(readable(own["id"].as_str().unwrap()).await, 200);
        for (user, roles, from) in [
            ("ben", "user", backup.as_str()),
            ("ann", "user", "no-backup"),
            ("ann", "user", "00000000-0000-0000-0000-000000000000"),
        ] {
            let (status, problem) = launch(user, roles, "demo/1.0", from).await;
            assert_eq!((status.as_u16(), &problem["code"]), (400, &json!("BD0014")), "{user} {from}");
            assert_eq!(problem["errors"][0]["pointer"], "/from");
        }
        // An administrator's cluster may read it because it was launched from it, another one of the same user may not.
        let (status, admins) = launch("root", "admin,user", "demo/1.0", &backup).await;
        assert_eq!(status, 202, "{admins}");
        let (_, without) = launch("root", "admin,user", "demo/1.0", "").await;
        assert_eq!(readable(admins["id"].as_str().unwrap()).await, 200);
        assert_eq!(readable(without["id"].as_str().unwrap()).await, 404);
        assert_eq!((readable("clusters--ben--demo--1__0--1").await, readable("nonsense").await), (404, 404));

        // Of another product.
        assert!(registry.post("/products", json!({"name": "other", "version": "1"})).await.0.is_success());
        let options =
            json!({"optional": {"from": "", "size": 1}, "schema": {"from": {"type": "string", "format": "backup"}}});
        let template = r#"{"nodes": {"a": {"cpu": 1, "mem": 1, "command": "x"}}}"#;
        for (part, body) in
            [("template", template.to_owned()), ("options", options.to_string()), ("orchestrator", SCRIPT.to_owned())]
        {
            assert_eq!(registry.put(&format!("/products/other/1/{part}"), body).await.0, 204);
        }
        let (status, problem) = launch("ann", "user", "other/1", &backup).await;
        assert_eq!((status.as_u16(), &problem["code"]), (400, &json!("BD0014")));
        assert!(problem["detail"].as_str().unwrap().contains("was made by the product demo/1.0"), "{problem}");
    })
    .await;
}

#[tokio::test]
async fn an_action_is_given_a_backup() {
    on_every_database(async |registry| {
        let cluster = ready(registry).await;
        let operation = asked_for(registry, &cluster).await;
        let backup = store(registry, &cluster, operation).await;
        let restore =
            async |id: &str| registry.post(&format!("/{}/actions/restore", cluster.dn()), json!({"backup": id})).await;
        for id in ["no-backup", "00000000-0000-0000-0000-000000000000"] {
            let (status, problem) = restore(id).await;
            assert_eq!((status.as_u16(), &problem["errors"][0]["pointer"]), (400, &json!("/backup")), "{problem}");
            let wanted = format!("there is no backup \"{id}\" of yours");
            assert!(problem["detail"].as_str().unwrap().contains(&wanted), "{problem}");
        }
        let (status, accepted) = restore(&backup).await;
        assert_eq!(status, 202, "{accepted}");
    })
    .await;
}

/// Lets a day pass, and ends the backup that the clock calls for then.
async fn scheduled(registry: &Harness, cluster: &ClusterId) -> String {
    let (_, operations) = registry.get(&format!("/{}/operations", cluster.dn())).await;
    let before = operations["operations"].as_array().unwrap().len();
    registry.clock.advance_millis(86_460_000);
    let called = async || {
        let side_runs = registry.state(cluster).await.side_runs;
        let (_, list) = registry.get(&format!("/{}/operations", cluster.dn())).await;
        let operations = list["operations"].as_array().unwrap();
        let of_clock = operations.iter().find(|operation| {
            operation["cause"] == "every 1d" && operation["action"] == "backup" && operation["status"] == "running"
        })?;
        let id: OperationId = of_clock["id"].as_str()?.parse().ok()?;
        (operations.len() > before && side_runs.iter().any(|run| run.operation == id)).then_some(id)
    };
    eventually("the clock calls for a backup", async || called().await.is_some()).await;
    let operation = called().await.unwrap();
    let backup = store(registry, cluster, operation).await;
    let (run, action) = (RunId(Uuid::new_v4()), "backup".to_owned());
    let run = RunRef { run, operation, action, step: 0, generation: 1, attempt: 1 };
    registry.end_run(cluster, &run, RunResult::Succeeded {}).await;
    backup
}

#[tokio::test]
async fn a_schedule_keeps_its_newest() {
    on_every_database(async |registry| {
        let cluster = ready(registry).await;
        let mut made = vec![store(registry, &cluster, asked_for(registry, &cluster).await).await];
        for _ in 0..3 {
            made.push(scheduled(registry, &cluster).await);
        }
        let kept = async || {
            let (_, list) = registry.get("/backups").await;
            assert_eq!(list["backups"][0]["cause"], "every 1d");
            let backups = list["backups"].as_array().unwrap().iter();
            backups.map(|backup| backup["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(kept().await, [made[3].as_str(), &made[2], &made[0]]);

        // An option says how many, and changes it while the cluster serves.
        let (status, problem) = registry.post(&format!("/{}/scale", cluster.dn()), json!({"many": -1})).await;
        assert_eq!((status.as_u16(), &problem["code"]), (400, &json!("BD0014")), "{problem}");
        let (status, accepted) = registry.post(&format!("/{}/scale", cluster.dn()), json!({"many": 1})).await;
        assert_eq!(status, 202, "{accepted}");
        let path = format!("/operations/{}", accepted["operation"].as_str().unwrap());
        eventually("it is so, once no check is under way, without a run or a node of its own", async || {
            if let Some(check) = registry.state(&cluster).await.run {
                assert_eq!(check.action, "check");
                registry.end_run(&cluster, &run_ref(&check, 1), RunResult::Succeeded {}).await;
            }
            registry.get(&path).await.1["status"] == "succeeded"
        })
        .await;
        made.push(scheduled(registry, &cluster).await);
        assert_eq!(kept().await, [made[4].as_str(), &made[0]]);
    })
    .await;
}
