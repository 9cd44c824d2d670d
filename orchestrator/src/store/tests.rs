//! The tables on both engines.

use super::*;
use crate::service::MIGRATIONS;
use bigdata_chassis::{on_db, on_tx, testing};
use bigdata_common::event::{Envelope, Event, RunRef, RunResult};
use bigdata_common::internal::{ClusterState, Desired, RunRequest};
use bigdata_common::status::{ClusterStatus, Termination};
use bigdata_common::{ClusterId, OperationId, Timestamp};
use std::time::Duration;
use uuid::Uuid;

const LEASE_MS: u64 = 1000;

fn cluster(number: u32) -> ClusterId {
    format!("clusters--ann--mysql--8__0--{number}").parse().unwrap()
}

fn request() -> RunRequest {
    let operation = OperationId(Uuid::now_v7());
    let deadline = Timestamp::from_millis(9_000_000);
    RunRequest {
        operation,
        origin: None,
        action: "start".into(),
        step: 0,
        required: true,
        deadline,
        event: None,
        arguments: Default::default(),
    }
}

fn state(cluster: ClusterId, run: &RunRequest) -> ClusterState {
    ClusterState {
        cluster,
        revision: 3,
        generation: 1,
        status: ClusterStatus::Configuring,
        desired: Desired::Run,
        termination: Termination::Wipe,
        force: false,
        placement_deadline: None,
        origin: None,
        side_runs: Vec::new(),
        nodes: Default::default(),
        leaving: Vec::new(),
        run: Some(run.clone()),
        observed: Default::default(),
    }
}

async fn stores(folder: &tempfile::TempDir) -> Vec<Store> {
    let vault = Vault::open_or_create(&folder.path().join("key")).unwrap();
    let clock = || Clock::manual(Timestamp::from_millis(1_000_000));
    let databases = testing::databases(folder.path(), MIGRATIONS).await;
    databases.into_iter().map(|db| Store { db, clock: clock(), vault: vault.clone() }).collect()
}

/// A run of the cluster, claimed by `owner`.
async fn claimed(store: &Store, cluster: ClusterId, owner: &str) -> Claim {
    let event = Some(serde_json::json!({"kind": "node-lost", "node": "node1"}));
    let wanted = RunRequest { event, ..request() };
    store.create_run(&state(cluster.clone(), &wanted), &wanted, false).await.unwrap();
    let run = store.runs_of(&cluster).await.unwrap().remove(0);
    assert_eq!(run.event.as_deref(), Some(r#"{"kind":"node-lost","node":"node1"}"#));
    assert!(store.claim(&cluster.to_string(), run.run.run, owner, LEASE_MS, "").await.unwrap());
    Claim { cluster, revision: run.revision, run: run.run, is_side: false, owner: owner.into() }
}

async fn told(store: &Store) -> Vec<Event> {
    let texts: Vec<String> =
        on_db!(store.db, pool => sqlx::query_scalar("SELECT envelope FROM outbox ORDER BY event_id").fetch_all(pool).await)
            .unwrap();
    texts.iter().map(|text| serde_json::from_str::<Envelope>(text).unwrap().event).collect()
}

#[tokio::test]
async fn a_run_goes_its_way_and_tells_of_it() {
    let folder = tempfile::tempdir().unwrap();
    for store in stores(&folder).await {
        let wanted = request();
        for _ in 0..2 {
            store.create_run(&state(cluster(1), &wanted), &wanted, false).await.unwrap();
        }
        assert_eq!(store.unfinished().await.unwrap(), [cluster(1)]);
        let runs = store.runs_of(&cluster(1)).await.unwrap();
        assert_eq!((runs.len(), runs[0].result.clone(), runs[0].run.attempt), (1, None, 0), "created once");
        let run = runs[0].run.clone();
        assert!(store.claim(&cluster(1).to_string(), run.run, "m|1|2|me", LEASE_MS, "").await.unwrap());
        let mut claim = Claim { cluster: cluster(1), revision: 3, run, is_side: false, owner: "m|1|2|me".into() };
        store.begin_attempt(&mut claim).await.unwrap();
        // A kill before the script's process is noted: what it left on this machine is looked for.
        let begun = Supervisor { machine: "m".into(), pid: 0, start: 0 };
        assert_eq!(store.runs_of(&cluster(1)).await.unwrap()[0].supervisor, begun);
        let supervisor = Supervisor { machine: "m".into(), pid: 7, start: 8 };
        store.note_supervisor(&claim, &supervisor).await.unwrap();
        store.progress(&claim, 40, "half\0way").await.unwrap();
        let reason = "exited with code 1: a\0b".to_owned();
        assert_eq!(store.runs_of(&cluster(1)).await.unwrap()[0].supervisor, supervisor);
        store.finish(&claim, RunResult::Failed { reason }).await.unwrap();
        let run = store.runs_of(&cluster(1)).await.unwrap().remove(0);
        let result = RunResult::Failed { reason: "exited with code 1: a\u{fffd}b".into() };
        assert_eq!((run.result.as_ref(), run.run.attempt), (Some(&result), 1));
        store.say_again(&run, result.clone()).await.unwrap();
        let claimed = RunRef { attempt: 1, ..claim.run.clone() };
        assert_eq!(
            told(&store).await,
            [
                Event::RunStarted(claimed.clone()),
                Event::RunProgress { run: claimed.clone(), percent: 40, message: "half\u{fffd}way".into() },
                Event::RunEnded { run: claimed.clone(), result: result.clone() },
                Event::RunEnded { run: claimed, result },
            ]
        );
        assert!(store.unfinished().await.unwrap().is_empty());
        assert!(store.leases(&cluster(1)).await.unwrap().is_empty());
    }
}

/// As when the time of the cluster's claim has passed.
async fn lapse(store: &Store, cluster: &ClusterId) {
    let mut tx = store.db.begin().await.unwrap();
    on_tx!(tx, connection => sqlx::query("UPDATE leases SET until_ms = 1 WHERE claim_key = $1")
        .bind(cluster.to_string())
        .execute(connection)
        .await
        .map(drop))
    .unwrap();
    tx.commit().await.unwrap();
}

fn line(store: &Store, text: &str) -> NewLine {
    NewLine { at: store.clock.now(), stream: "stdout", line: text.into() }
}

/// Every write of an attempt is refused.
async fn assert_fenced(store: &Store, claim: &Claim) {
    let output = StoredOutput { key: "key".into(), value: "stale".into(), secret: false, endpoint: None };
    let supervisor = Supervisor { machine: "m".into(), pid: 7, start: 8 };
    let results = [
        ("lines", store.append_lines(claim, &[line(store, "stale")]).await.map(drop)),
        ("progress", store.progress(claim, 1, "stale").await),
        ("output", store.publish(claim, &output).await),
        ("supervisor", store.note_supervisor(claim, &supervisor).await),
        ("end", store.finish(claim, RunResult::Succeeded {}).await),
    ];
    for (what, result) in results {
        assert!(matches!(result, Err(StoreError::Overtaken)), "{what}: {result:?}");
    }
}

#[tokio::test]
async fn a_cluster_has_one_driver() {
    let folder = tempfile::tempdir().unwrap();
    for store in stores(&folder).await {
        let mut first = claimed(&store, cluster(1), "first").await;
        store.begin_attempt(&mut first).await.unwrap();
        let run = first.run.run;
        assert!(!store.claim(&cluster(1).to_string(), run, "second", LEASE_MS, "").await.unwrap(), "the claim is good");
        assert!(
            !store.claim(&cluster(1).to_string(), run, "first", LEASE_MS, "").await.unwrap(),
            "even against its owner"
        );
        assert!(store.leases(&cluster(1)).await.unwrap()[0].is_good());
        assert_eq!(store.unfinished_owners().await.unwrap(), [(cluster(1), "first".to_owned(), true)]);
        assert!(!store.renew(&first, LEASE_MS).await.unwrap());
        store.want_cancel(run).await.unwrap();
        assert!(store.renew(&first, LEASE_MS).await.unwrap(), "the driver learns of the cancel");

        lapse(&store, &cluster(1)).await;
        assert_eq!(store.unfinished_owners().await.unwrap(), [(cluster(1), "first".to_owned(), false)]);
        store.append_lines(&first, &[line(&store, "nobody has taken it")]).await.unwrap();
        assert!(
            store.claim(&cluster(1).to_string(), run, "second", LEASE_MS, "").await.unwrap(),
            "the claim has lapsed"
        );
        assert!(matches!(store.renew(&first, LEASE_MS).await, Err(StoreError::Overtaken)));
        assert!(!store.is_current(&first).await.unwrap());
        assert_fenced(&store, &first).await;
        assert!(matches!(store.begin_attempt(&mut first.clone()).await, Err(StoreError::Overtaken)));

        assert!(
            store.claim(&cluster(1).to_string(), run, "third", LEASE_MS, "second").await.unwrap(),
            "the second is known as gone"
        );
        let mut third = Claim { owner: "third".into(), ..first.clone() };
        store.begin_attempt(&mut third).await.unwrap();
        assert_eq!(third.run.attempt, 2);
        assert_fenced(&store, &first).await;
        let former = Claim { run: first.run.clone(), ..third.clone() };
        assert_fenced(&store, &former).await;
        store.progress(&third, 1, "").await.unwrap();
        store.release(&first).await.unwrap();
        assert!(store.leases(&cluster(1)).await.unwrap()[0].is_good(), "it is not the first's");
        store.release(&third).await.unwrap();
        assert!(!store.leases(&cluster(1)).await.unwrap()[0].is_good());
        assert_fenced(&store, &third).await;
        assert_eq!(store.outputs_of(&cluster(1)).await.unwrap(), []);
        assert_eq!(store.lines_after(&LogOf::Cluster(cluster(1)), 0, 10).await.unwrap().len(), 1);
    }
}

/// A write that has begun holds up the claim of another until it is stored, and one that comes later is refused.
#[tokio::test]
async fn a_claim_does_not_pass_in_the_middle_of_a_write() {
    let folder = tempfile::tempdir().unwrap();
    for store in stores(&folder).await.into_iter().filter(|store| store.db.is_postgres()) {
        let mut first = claimed(&store, cluster(1), "first").await;
        store.begin_attempt(&mut first).await.unwrap();
        lapse(&store, &cluster(1)).await;
        let mut tx = store.db.begin().await.unwrap();
        // It stands still for a moment, and on a machine that does so itself for longer than a transaction may.
        let patient = "SET LOCAL idle_in_transaction_session_timeout = 0";
        on_tx!(tx, connection => sqlx::query(patient).execute(connection).await.map(drop)).unwrap();
        store.fence(&mut tx, &first).await.unwrap();
        let run = first.run.run;
        let other = store.clone();
        let mut claim =
            tokio::spawn(async move { other.claim(&cluster(1).to_string(), run, "second", LEASE_MS, "").await });
        let waited = tokio::time::timeout(std::time::Duration::from_millis(300), &mut claim).await;
        assert!(waited.is_err(), "the claim waits for the write");
        tx.commit().await.unwrap();
        assert!(claim.await.unwrap().unwrap());
        assert_fenced(&store, &first).await;
    }
}

#[tokio::test]
async fn two_claims_at_once_have_one_winner() {
    let folder = tempfile::tempdir().unwrap();
    for store in stores(&folder).await {
        let wanted = request();
        store.create_run(&state(cluster(1), &wanted), &wanted, false).await.unwrap();
        let run = store.runs_of(&cluster(1)).await.unwrap()[0].run.run;
        let claims = (0..8).map(|number| {
            let store = store.clone();
            tokio::spawn(async move {
                store.claim(&cluster(1).to_string(), run, &format!("owner {number}"), LEASE_MS, "").await
            })
        });
        let mut winners = 0;
        for claim in claims.collect::<Vec<_>>() {
            winners += u32::from(claim.await.unwrap().unwrap());
        }
        assert_eq!(winners, 1);
    }
}

#[tokio::test]
async fn sequences_have_no_gaps_whoever_writes() {
    let folder = tempfile::tempdir().unwrap();
    for store in stores(&folder).await {
        let mut claim = claimed(&store, cluster(1), "me").await;
        store.begin_attempt(&mut claim).await.unwrap();
        let writers = (0..4_usize).map(|writer| {
            let (store, claim) = (store.clone(), claim.clone());
            tokio::spawn(async move {
                for batch in 0..5_usize {
                    let line = |line| NewLine {
                        at: store.clock.now(),
                        stream: "stdout",
                        line: format!("{writer}.{batch}.{line}\0"),
                    };
                    let lines: Vec<NewLine> = (0..writer * 60 + 1).map(line).collect();
                    store.append_lines(&claim, &lines).await.unwrap();
                }
            })
        });
        for writer in writers.collect::<Vec<_>>() {
            writer.await.unwrap();
        }
        let lines = store.lines_after(&LogOf::Cluster(cluster(1)), 0, 10_000).await.unwrap();
        let count = (0..4_u64).map(|writer| (writer * 60 + 1) * 5).sum::<u64>();
        assert_eq!(lines.iter().map(|line| line.sequence).collect::<Vec<_>>(), (1..=count).collect::<Vec<_>>());
        assert!(lines[0].line.ends_with('\u{fffd}') && lines[0].stream == "stdout" && lines[0].action == "start");
        assert_eq!(store.last_sequence(&cluster(1)).await.unwrap(), Some(count));
        assert_eq!(store.last_sequence(&cluster(2)).await.unwrap(), None);
        let page = store.lines_after(&LogOf::Cluster(cluster(1)), 3, 2).await.unwrap();
        assert_eq!(page.iter().map(|line| line.sequence).collect::<Vec<_>>(), [4, 5]);
    }
}

#[tokio::test]
async fn a_secret_output_is_stored_sealed_and_told_without_its_value() {
    let folder = tempfile::tempdir().unwrap();
    for store in stores(&folder).await {
        let mut claim = claimed(&store, cluster(1), "me").await;
        store.begin_attempt(&mut claim).await.unwrap();
        let output =
            |value: &str| StoredOutput { key: "password".into(), value: value.into(), secret: true, endpoint: None };
        store.publish(&claim, &output("first")).await.unwrap();
        store.publish(&claim, &output("canary-value")).await.unwrap();
        assert_eq!(store.outputs_of(&cluster(1)).await.unwrap(), [output("canary-value")], "the later one replaces it");
        let stored: String =
            on_db!(store.db, pool => sqlx::query_scalar("SELECT output_value FROM outputs").fetch_one(pool).await)
                .unwrap();
        assert!(!stored.contains("canary"));
        let events = serde_json::to_string(&told(&store).await).unwrap();
        assert!(events.contains("password") && !events.contains("canary"), "{events}");
        // Its end tells once more what it published: an event that was lost takes nothing with it.
        store.finish(&claim, RunResult::Succeeded {}).await.unwrap();
        let told = told(&store).await;
        let [.., Event::RunOutput { output: last, .. }, Event::RunEnded { .. }] = told.as_slice() else {
            panic!("{told:?}")
        };
        assert_eq!((last.key.as_str(), &last.value, last.secret), ("password", &None, true));
    }
}

#[tokio::test]
async fn a_cluster_has_a_limited_number_of_outputs() {
    let folder = tempfile::tempdir().unwrap();
    for store in stores(&folder).await {
        let mut claim = claimed(&store, cluster(1), "me").await;
        store.begin_attempt(&mut claim).await.unwrap();
        let output = |number: u32| StoredOutput {
            key: format!("key{number}"),
            value: "value".into(),
            secret: false,
            endpoint: None,
        };
        for number in 0..OUTPUTS_MAX {
            store.publish(&claim, &output(number)).await.unwrap();
        }
        assert!(matches!(store.publish(&claim, &output(OUTPUTS_MAX)).await, Err(StoreError::TooManyOutputs)));
        store.publish(&claim, &output(0)).await.unwrap();
        assert_eq!(store.outputs_of(&cluster(1)).await.unwrap().len(), usize::try_from(OUTPUTS_MAX).unwrap());
    }
}

#[tokio::test]
async fn old_lines_and_gone_clusters_are_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    for store in stores(&folder).await {
        for number in [1, 2] {
            let mut claim = claimed(&store, cluster(number), "me").await;
            store.begin_attempt(&mut claim).await.unwrap();
            let line = |line| NewLine { at: store.clock.now(), stream: "stdout", line: format!("{line}") };
            let lines: Vec<NewLine> = (0..10).map(line).collect();
            store.append_lines(&claim, &lines).await.unwrap();
        }
        assert_eq!(store.keep_newest(&cluster(1), 4).await.unwrap(), 6);
        assert_eq!(store.lines_after(&LogOf::Cluster(cluster(1)), 0, 100).await.unwrap()[0].sequence, 7);
        store.note_gone(&cluster(2)).await.unwrap();
        let since = store.clock.now();
        store.clock.advance_millis(5);
        store.note_gone(&cluster(2)).await.unwrap();
        assert_eq!(store.logged().await.unwrap(), [(cluster(1), None), (cluster(2), Some(since))]);
        store.forget(&cluster(2)).await.unwrap();
        assert!(store.lines_after(&LogOf::Cluster(cluster(2)), 0, 100).await.unwrap().is_empty());
        assert!(store.runs_of(&cluster(2)).await.unwrap().is_empty());
        assert_eq!(store.lines_after(&LogOf::Cluster(cluster(1)), 0, 100).await.unwrap().len(), 4);
    }
}

#[tokio::test]
async fn what_is_withdrawn_is_told_until_the_run_ends_and_a_client_line_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    for store in stores(&folder).await {
        let mut claim = claimed(&store, cluster(1), "me").await;
        store.begin_attempt(&mut claim).await.unwrap();
        let command = vec!["mariadb".to_owned()];
        let connect = Some(bigdata_common::event::Connect { command, env: Default::default() });
        let endpoint = Some(bigdata_common::event::EndpointRole { role: "writer".into(), connect });
        let output =
            |key: &str| StoredOutput { key: key.into(), value: "v".into(), secret: false, endpoint: endpoint.clone() };
        store.publish(&claim, &output("gone")).await.unwrap();
        store.publish(&claim, &output("kept")).await.unwrap();
        assert!(store.withdraw(&claim, "gone").await.unwrap());
        assert!(!store.withdraw(&claim, "gone").await.unwrap() && !store.withdraw(&claim, "never").await.unwrap());
        assert_eq!(store.outputs_of(&cluster(1)).await.unwrap(), [output("kept")]);
        store.finish(&claim, RunResult::Succeeded {}).await.unwrap();
        let told = told(&store).await;
        let [.., Event::RunOutput { output: first, .. }, Event::RunOutput { output: last, .. }, Event::RunEnded { .. }] =
            told.as_slice()
        else {
            panic!("{told:?}")
        };
        assert_eq!((first.key.as_str(), &first.value, &first.endpoint), ("gone", &None, &None));
        assert_eq!((last.key.as_str(), last.endpoint.clone()), ("kept", endpoint));
    }
}

#[tokio::test]
async fn an_upload_is_abandoned_when_its_claim_is_not_held_and_becomes_no_backup_then() {
    let folder = tempfile::tempdir().unwrap();
    for store in stores(&folder).await {
        let mut claim = claimed(&store, cluster(1), "me").await;
        store.begin_attempt(&mut claim).await.unwrap();
        let id = bigdata_common::BackupId(Uuid::now_v7());
        store.backup_comes(&claim, id, "name").await.unwrap();
        assert_eq!(store.abandoned_uploads().await.unwrap(), []);
        lapse(&store, &cluster(1)).await;
        assert_eq!(store.abandoned_uploads().await.unwrap(), [id]);
        assert_eq!(store.drop_upload(id).await.unwrap().as_deref(), Some("name"));
        let (operation, at) = (claim.run.operation, store.clock.now());
        let (label, sha256) = (String::new(), String::new());
        let backup =
            bigdata_common::internal::Backup { id, cluster: cluster(1), operation, label, size: 1, sha256, at };
        let late = store.backup_is_stored(&claim, &backup).await;
        assert!(matches!(late, Err(StoreError::Overtaken)), "{late:?}");
        store.forget_upload(id).await.unwrap();
        assert_eq!(store.abandoned_uploads().await.unwrap(), []);
    }
}

#[tokio::test]
async fn a_backup_is_untold_until_it_is_known() {
    let folder = tempfile::tempdir().unwrap();
    for store in stores(&folder).await {
        let mut claim = claimed(&store, cluster(1), "me").await;
        store.begin_attempt(&mut claim).await.unwrap();
        let (operation, at) = (claim.run.operation, store.clock.now());
        let backup = |size| bigdata_common::internal::Backup {
            id: bigdata_common::BackupId(Uuid::now_v7()),
            cluster: cluster(1),
            operation,
            label: "full".to_owned(),
            size,
            sha256: "ab".to_owned(),
            at,
        };
        let (first, second) = (backup(1), backup(2));
        for backup in [&first, &second] {
            store.backup_comes(&claim, backup.id, "").await.unwrap();
            assert_eq!(store.untold_backups(Duration::ZERO).await.unwrap(), [], "it is not whole");
        }
        store.backup_is_stored(&claim, &first).await.unwrap();
        assert_eq!(store.untold_backups(Duration::from_secs(60)).await.unwrap(), [], "the event tells of it just now");
        assert_eq!(store.untold_backups(Duration::ZERO).await.unwrap(), std::slice::from_ref(&first));
        store.backup_is_stored(&claim, &second).await.unwrap();
        store.backup_is_known(first.id).await.unwrap();
        assert_eq!(store.untold_backups(Duration::ZERO).await.unwrap(), [second]);
    }
}
