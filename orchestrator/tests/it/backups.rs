//! Backups through a run's socket, and runs beside a cluster's main one.

use crate::Test;
use crate::support::{World, block_on, until};
use bigdata_chassis::Clock;
use bigdata_common::event::{Event, RunResult};
use bigdata_common::internal::{Backup, RunRequest};
use bigdata_common::{ClusterId, OperationId};
use bigdata_orchestrator::Settings;
use serde_json::json;
use std::path::PathBuf;
use std::process::Command;

pub(crate) const TESTS: &[Test] = &[
    ("a backup is there when it is whole, comes back, and goes when it shall", stored),
    ("a backup is told of until the registry knows it", told_until_known),
    ("what is broken off is no backup", broken_off),
    ("without a store there are no backups", no_store),
    ("a setting that is no store ends the program with what to write", refused),
    ("a side run neither waits for the main one nor ends with it", beside),
];

fn refused() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "t".repeat(32)).unwrap();
    let file = folder.path().join("settings.toml");
    let run = |url: &str, arguments: &[&str]| {
        let text = format!("[internal]\ntoken_file = {token:?}\n[orchestrator]\nbackups_url = {url:?}\n");
        std::fs::write(&file, text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_bigdata-orchestrator"));
        command.env_clear().arg("--config").arg(&file).args(arguments).output().unwrap()
    };
    for url in ["s3://", "gs:///prefix", "backups", "/proc/backups", "ftp://x/y"] {
        // Without `--check` it is the same, before anything else is looked at.
        for arguments in [&["--check"][..], &[]] {
            let output = run(url, arguments);
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(2), "{url}: {said}");
            assert!(said.contains("orchestrator.backups_url") && said.contains("s3://BUCKET"), "{url}: {said}");
        }
    }
    let backups = folder.path().join("backups");
    let output = run(backups.to_str().unwrap(), &["--check"]);
    assert!(output.status.success() && !backups.exists(), "{}", String::from_utf8_lossy(&output.stderr));
}

async fn world() -> World {
    World::new(|settings: &mut Settings| {
        let folder = settings.work_dir.with_file_name("backups");
        settings.backups_url = Some(folder.display().to_string());
    })
    .await
}

fn folder(world: &World) -> PathBuf {
    world.seat.folder.join("backups")
}

fn files(world: &World) -> usize {
    std::fs::read_dir(folder(world)).unwrap().count()
}

fn told(world: &World) -> Vec<Backup> {
    let of = |event| if let Event::BackupStored(backup) = event { Some(backup) } else { None };
    world.events().into_iter().filter_map(of).collect()
}

fn stored() {
    block_on(async {
        let world = world().await;
        let (cluster, result) = world
            .run("#!/bin/sh\nbigdata role pour '/v1/backups?label=a%20full%20one%20hunter2-canary' 3000000 whole\n")
            .await;
        assert_eq!(result, RunResult::Succeeded {}, "{:?}", world.output(&cluster).await);
        let [backup] = told(&world).try_into().unwrap();
        // Reference: head -c 3000000 /dev/zero | tr '\\0' x | sha256sum
        let sum = "e55b8bdf621ddaa8f462c74745db9680d3bb7536a9cf854f8d6668b34a287890";
        assert_eq!((backup.size, backup.sha256.as_str()), (3_000_000, sum));
        assert_eq!((&backup.cluster, backup.label.as_str()), (&cluster, "a full one ********"));
        let expected = json!({"id": backup.id, "size": 3_000_000, "sha256": sum});
        assert_eq!(world.output(&cluster).await, [format!("200 {expected}")]);
        assert_eq!(files(&world), 1);

        world.surroundings.backups.lock().unwrap().push(backup.clone());
        let script = format!("#!/bin/sh\nbigdata role call GET /v1/backups/{} | wc -c\n", backup.id);
        let other = world.cluster(2, &script);
        let operation = world.want(&other, "start", true, 60_000).await;
        assert_eq!(world.ended(operation).await, RunResult::Succeeded {});
        assert_eq!(world.output(&other).await, ["3000005"], "its status and an end of line beside it");

        // A byte that has changed is noticed: the stream breaks off.
        let file = folder(&world).join(backup.id.to_string());
        let mut bytes = std::fs::read(&file).unwrap();
        bytes[7] = b'y';
        std::fs::write(&file, bytes).unwrap();
        world.change(&other, |it| it.state.generation += 1);
        let operation = world.want(&other, "start", true, 60_000).await;
        world.ended(operation).await;
        let count: usize = world.output(&other).await.last().unwrap().parse().unwrap();
        assert!(count < 3_000_000, "{count}");

        world.surroundings.removing.lock().unwrap().push(backup.clone());
        until("the removal", async || {
            world.events().contains(&Event::BackupRemoved { backup: backup.id }).then_some(())
        })
        .await;
        assert_eq!(files(&world), 0);
        world.end().await;
    });
}

fn told_until_known() {
    block_on(async {
        let world = world().await;
        *world.surroundings.refusals.lock().unwrap() = vec![404, 404];
        let (_, result) = world.run("#!/bin/sh\nbigdata role pour /v1/backups 10 whole\n").await;
        assert_eq!(result, RunResult::Succeeded {});
        // Whatever becomes of the event: it is told until the registry has said that it knows, and no more after that.
        let [backup] = told(&world).try_into().unwrap();
        let calls = async |count: usize| {
            let stored = world.surroundings.stored.lock().unwrap().clone();
            (stored.len() >= count).then_some(stored)
        };
        let stored = until("it is told until it is known", async || calls(3).await).await;
        assert!(stored.iter().all(|told| *told == backup), "{stored:?}");
        world.surroundings.stored.lock().unwrap().clear();
        let other = world.cluster(2, "#!/bin/sh\nbigdata role pour /v1/backups 20 whole\n");
        let operation = world.want(&other, "start", true, 60_000).await;
        assert_eq!(world.ended(operation).await, RunResult::Succeeded {});
        let stored = until("another one is told", async || calls(1).await).await;
        assert!(stored.iter().all(|told| told.size == 20), "what is known is told again: {stored:?}");
        world.end().await;
    });
}

fn broken_off() {
    block_on(async {
        let world = world().await;
        let script = "#!/bin/sh\nbigdata role pour /v1/backups 3000000 half\nbigdata role pour /v1/backups 0 whole | cut -c1-3\n";
        let (cluster, result) = world.run(script).await;
        assert_eq!(result, RunResult::Succeeded {});
        assert_eq!(world.output(&cluster).await, ["400"], "nothing is no backup");
        until("the end of what was begun", async || (files(&world) == 0).then_some(())).await;
        assert_eq!(told(&world), []);
        world.end().await;
    });
}

fn no_store() {
    block_on(async {
        let world = World::new(|_| {}).await;
        let (cluster, _) = world.run("#!/bin/sh\nbigdata role pour /v1/backups 10 whole\n").await;
        let said = world.output(&cluster).await.concat();
        assert!(said.starts_with("503") && said.contains("orchestrator.backups_url"), "{said}");
        world.end().await;
    });
}

fn side_run(action: &str, arguments: serde_json::Value) -> RunRequest {
    RunRequest {
        operation: OperationId(uuid::Uuid::now_v7()),
        origin: None,
        action: action.into(),
        step: 0,
        required: true,
        deadline: Clock::system().now().plus_millis(60_000),
        event: None,
        arguments: arguments.as_object().unwrap().clone(),
    }
}

fn beside() {
    block_on(async {
        for world in World::on_each_engine().await {
            let script = "#!/bin/sh\necho \"$1 $BIGDATA_ARGUMENTS\"\n\
                          case $1 in scale) sleep 1000;; esac\n";
            let cluster: ClusterId = world.cluster(1, script);
            let main = world.want(&cluster, "scale", true, 60_000).await;
            world.line(&cluster, "scale {}").await;
            let (first, second) = (side_run("backup", json!({"to": "x y"})), side_run("check", json!({})));
            let (one, two) = (first.operation, second.operation);
            world.change(&cluster, |it| it.state.side_runs = vec![first, second]);
            assert_eq!(world.ended(one).await, RunResult::Succeeded {});
            assert_eq!(world.ended(two).await, RunResult::Succeeded {});
            assert!(world.output(&cluster).await.contains(&r#"backup {"to":"x y"}"#.to_owned()));
            let ended = |operation| {
                world.events().iter().any(|it| matches!(it, Event::RunEnded { run, .. } if run.operation == operation))
            };
            assert!(!ended(main), "the main run goes on");
            world.want_nothing(&cluster).await;
            assert_eq!(world.ended(main).await, RunResult::Cancelled {});
            world.end().await;
        }
    });
}
