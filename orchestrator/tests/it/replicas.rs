//! Several replicas on one Postgres: one drives, and takes over when the other is dead, stopped or cut off.

use crate::support::{Built, PATIENCE, World, block_on, is_alive, until};
use crate::{AT_ONCE, Test};
use bigdata_chassis::http::InternalClient;
use bigdata_chassis::secret::Token;
use bigdata_chassis::testing::Stalls;
use bigdata_chassis::{Db, on_db, on_tx};
use bigdata_common::ClusterId;
use bigdata_common::api::cluster::LogPage;
use bigdata_common::event::Output;
use bigdata_common::internal::RunRequest;
use bigdata_common::invariants::Invariants;
use bigdata_common::{OperationId, Principal, Role};
use bigdata_orchestrator::Settings;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::time::{Duration, Instant};

pub(crate) const TESTS: &[Test] = &[
    ("a stopped replica's script ends before its claim lapses, and the zombie writes nothing", stopped),
    ("a killed replica's run is taken over soon after its claim has lapsed", killed),
    ("a replica that cannot renew its claim ends its script before it lapses", cut_off),
    ("an attempt whose claim was taken reaches nothing", taken),
    ("any replica cancels and answers for the run of another", any_replica),
];

const HOUR_MS: u64 = 3_600_000;
/// Two fifths of it are for the end of a script's tree, which a busy machine may need some of.
const LEASE_MS: u64 = 25_000;
/// How long after a claim has lapsed its run is begun again at the latest, also on a busy machine; time by which the machine
/// itself is late is not counted.
const SOON_MS: i64 = 20_000;
/// In its first attempt it calls a node again and again, whatever signals come.
const SCRIPT: &str = "#!/bin/sh\necho \"attempt $BIGDATA_ATTEMPT\"\n[ $BIGDATA_ATTEMPT = 1 ] || exit 0\ntrap '' TERM\n\
                      echo \"pid $$\"\nwhile :; do bigdata role call POST /v1/nodes/mysql0/start; done";

/// The registry wants a run, and says so to nobody.
fn want_silently(world: &World, cluster: &ClusterId) {
    let deadline = bigdata_chassis::Clock::system().now().plus_millis(120_000);
    let (operation, action) = (OperationId(uuid::Uuid::now_v7()), "start".into());
    world.change(cluster, |it| {
        it.state.run = Some(RunRequest {
            operation,
            origin: None,
            action,
            step: 0,
            required: true,
            deadline,
            event: None,
            arguments: Default::default(),
        });
    });
}

async fn second(world: &World, lease_ms: u64) -> Built {
    let work_dir = world.seat.folder.join("second");
    world
        .seat
        .build(|settings| {
            settings.work_dir = work_dir;
            settings.reconcile_interval_ms = HOUR_MS;
            settings.lease_ms = lease_ms;
        })
        .await
}

/// A process of its own that drives this cluster's run, and then the world's replica beside it.
async fn driven_elsewhere(world: &mut World, cluster: &ClusterId) -> std::process::Child {
    assert!(world.built.tasks.shut_down(PATIENCE).await);
    want_silently(world, cluster);
    let other = world.seat.elsewhere(LEASE_MS);
    let db = world.seat.database().await;
    let cluster = cluster.to_string();
    until("the other's claim", async || {
        let claims: i64 = on_db!(db, pool => sqlx::query_scalar("SELECT COUNT(*) FROM leases WHERE claim_key = $1")
            .bind(cluster.as_str())
            .fetch_one(pool)
            .await)
        .unwrap();
        (claims == 1).then_some(())
    })
    .await;
    let work_dir = world.seat.folder.join("second");
    let change = |settings: &mut Settings| {
        settings.work_dir = work_dir;
        settings.concurrency = 1;
        settings.reconcile_interval_ms = HOUR_MS;
    };
    world.rebuild(change).await;
    other
}

fn calls(world: &World) -> usize {
    world.surroundings.forwarded.lock().unwrap().len()
}

/// When a cluster's claim lapses, by the clock of this machine, which is the database's, too.
async fn lapses_at(db: &Db, cluster: &ClusterId) -> i64 {
    let query = "SELECT until_ms FROM leases WHERE claim_key = $1";
    on_db!(db, pool => sqlx::query_scalar(query).bind(cluster.to_string()).fetch_one(pool).await).unwrap()
}

fn now() -> i64 {
    bigdata_chassis::Clock::system().now().as_millis()
}

/// What is seen now was to happen before this time; time by which the machine itself was late since `begun` is not counted.
fn assert_before(stalls: &Stalls, begun: i64, latest: i64, what: &str) {
    let millis = |time: i64| Duration::from_millis(u64::try_from(time - begun).unwrap());
    stalls.assert_kept(millis(latest), millis(now()), what);
}

async fn sql(db: &Db, statement: &'static str) {
    let mut tx = db.begin().await.unwrap();
    on_tx!(tx, connection => sqlx::query(statement).execute(connection).await.map(drop)).unwrap();
    tx.commit().await.unwrap();
}

async fn invariants(url: &str, world: &World) -> Invariants {
    let client = InternalClient::new(url.to_owned(), Token::from_text(&world.seat.token)).unwrap();
    client.get("/internal/v1/invariants").await.unwrap()
}

async fn last_line(world: &World, cluster: &ClusterId) -> (u64, String) {
    world.log(cluster).await.pop().map(|line| (line.sequence, line.line)).unwrap()
}

fn stopped() {
    block_on(async {
        let Some(mut world) = World::on_postgres(|_| {}).await else { return };
        let cluster = world.cluster(1, SCRIPT);
        let mut other = driven_elsewhere(&mut world, &cluster).await;
        let other_pid = Pid::from_raw(i32::try_from(other.id()).unwrap());
        let pid: i32 = world.line(&cluster, "pid ").await.parse().unwrap();
        until("calls of the script", async || (calls(&world) > 3).then_some(())).await;
        let (stalls, begin, begun) = (Stalls::watch(), Instant::now(), now());
        kill(other_pid, Signal::SIGSTOP).unwrap();
        let lapses = lapses_at(&world.seat.database().await, &cluster).await;
        until("the end of the stopped replica's script", async || (!is_alive(pid)).then_some(())).await;
        let left = lapses - now();
        assert!(left > 0, "the script ended {} ms after its claim had lapsed", -left);

        world.line(&cluster, "attempt 2").await;
        let begun_again = now();
        println!(
            "a stopped replica's run was begun again after {} ms, its lease is {LEASE_MS} ms",
            begin.elapsed().as_millis()
        );
        assert_before(&stalls, begun, lapses + SOON_MS, "the run is begun again");
        assert!(begun_again >= lapses, "{} ms before the claim", lapses - begun_again);
        world.line(&cluster, "start succeeded").await;
        let (before, calls_before) = (last_line(&world, &cluster).await, calls(&world));

        // The zombie wakes up; it is past all that it had in hand when it has done something else.
        let busy = world.cluster(3, "#!/bin/sh\necho busy; sleep 1000");
        world.want(&busy, "start", true, 120_000).await;
        world.line(&busy, "busy").await;
        let next = world.cluster(2, "#!/bin/sh\necho \"of $PATH\"");
        kill(other_pid, Signal::SIGCONT).unwrap();
        want_silently(&world, &next);
        let path = world.line(&next, "of ").await;
        assert!(path.contains("/work/bin"), "{path}");
        assert_eq!(last_line(&world, &cluster).await, before);
        // A call that had been let through when it was stopped is not called back: the node refuses what is of an attempt
        // before the newest.
        assert!(calls(&world) <= calls_before + 1, "{} calls after {calls_before}", calls(&world));
        assert_eq!(invariants(&world.built.url, &world).await.violations, []);
        other.kill().unwrap();
        other.wait().unwrap();
        world.want_nothing(&busy).await;
        world.end().await;
    });
}

fn killed() {
    block_on(async {
        let Some(mut world) = World::on_postgres(|_| {}).await else { return };
        for (number, machine_is_known) in [(1, true), (2, false)] {
            let cluster = world.cluster(number, SCRIPT);
            let mut other = driven_elsewhere(&mut world, &cluster).await;
            let pid: i32 = world.line(&cluster, "pid ").await.parse().unwrap();
            let db = world.seat.database().await;
            let (stalls, begin, begun) = (Stalls::watch(), Instant::now(), now());
            if !machine_is_known {
                // As if it were on another machine, where nobody sees that it is dead. It is stopped meanwhile: neither it
                // nor whoever would see its death touches the claim before.
                kill(Pid::from_raw(i32::try_from(other.id()).unwrap()), Signal::SIGSTOP).unwrap();
                sql(&db, "UPDATE leases SET owner = 'elsewhere|1|1|1' WHERE claim_key LIKE '%2'").await;
            }
            let lapses = lapses_at(&db, &cluster).await;
            other.kill().unwrap();
            other.wait().unwrap();
            world.line(&cluster, "attempt 2").await;
            let begun_again = now();
            println!(
                "a killed replica's run was begun again after {} ms (seen as dead: {machine_is_known})",
                begin.elapsed().as_millis()
            );
            assert_before(&stalls, begun, lapses + SOON_MS, "the run is begun again");
            assert!(machine_is_known || begun_again >= lapses, "{} ms before the claim", lapses - begun_again);
            assert!(!is_alive(pid));
            world.line(&cluster, "start succeeded").await;
            world.change(&cluster, |it| it.state.run = None);
        }
        world.end().await;
    });
}

fn cut_off() {
    block_on(async {
        let Some(world) = World::on_postgres(|settings| settings.lease_ms = LEASE_MS).await else { return };
        let cluster = world.cluster(1, SCRIPT);
        want_silently(&world, &cluster);
        let pid: i32 = world.line(&cluster, "pid ").await.parse().unwrap();
        let db = world.seat.database().await;
        let begin = Instant::now();
        let mut tx = db.begin().await.unwrap();
        // Without the first, a transaction that is idle for long is ended, and its lock with it.
        for statement in
            ["SET LOCAL idle_in_transaction_session_timeout = 0", "LOCK TABLE leases IN ACCESS EXCLUSIVE MODE"]
        {
            on_tx!(tx, connection => sqlx::query(statement).execute(connection).await.map(drop)).unwrap();
        }
        let query = "SELECT until_ms FROM leases WHERE claim_key = $1";
        let lapses: i64 = on_tx!(tx, connection => sqlx::query_scalar(query)
            .bind(cluster.to_string())
            .fetch_one(connection)
            .await)
        .unwrap();
        until("the end of the script", async || (!is_alive(pid)).then_some(())).await;
        println!("a replica without its database ended its script after {} ms", begin.elapsed().as_millis());
        let left = lapses - now();
        assert!(left > 0, "the script ended {} ms after its claim had lapsed", -left);
        // It was held all the time.
        on_tx!(tx, connection => sqlx::query("SELECT 1").execute(connection).await.map(drop)).unwrap();
        drop(tx);
        world.line(&cluster, "attempt 2").await;
        world.line(&cluster, "start succeeded").await;
        world.end().await;
    });
}

fn taken() {
    block_on(async {
        let Some(world) = World::on_postgres(|settings| settings.lease_ms = 60_000).await else { return };
        let cluster = world.cluster(1, SCRIPT);
        want_silently(&world, &cluster);
        let pid: i32 = world.line(&cluster, "pid ").await.parse().unwrap();
        until("calls of the script", async || (calls(&world) > 3).then_some(())).await;
        sql(&world.seat.database().await, "UPDATE leases SET owner = 'elsewhere|1|1|1'").await;
        // What was on its way already is not called back.
        let (stalls, begin) = (Stalls::watch(), Instant::now());
        let (before, calls_before) = (last_line(&world, &cluster).await.0, calls(&world));
        until("the end of the script", async || (!is_alive(pid)).then_some(())).await;
        stalls.assert_kept(AT_ONCE, begin.elapsed(), "a script whose claim was taken ends");
        assert!(calls(&world) <= calls_before + 1, "{} calls after {calls_before}", calls(&world));
        assert_eq!(last_line(&world, &cluster).await.0, before);
        sql(&world.seat.database().await, "UPDATE leases SET until_ms = 1").await;
        world.line(&cluster, "start succeeded").await;
        world.end().await;
    });
}

fn any_replica() {
    block_on(async {
        let Some(world) = World::on_postgres(|settings| settings.reconcile_interval_ms = HOUR_MS).await else { return };
        let other = second(&world, 15_000).await;
        let script = "#!/bin/sh\ntrap '' TERM\nbigdata role call POST /v1/output '{\"key\":\"a\",\"value\":\"b\"}'\n\
                      echo \"pid $$\"; sleep 1000";
        let cluster = world.cluster(1, script);
        world.want(&cluster, "start", true, 60_000).await;
        let pid: i32 = world.line(&cluster, "pid ").await.parse().unwrap();

        let client = InternalClient::new(other.url.clone(), Token::from_text(&world.seat.token)).unwrap();
        let outputs: Vec<Output> = client.get(&format!("/internal/v1/clusters/{cluster}/outputs")).await.unwrap();
        assert_eq!(outputs[0].key, "a");
        let ann = client.on_behalf_of(&Principal { user: "ann".parse().unwrap(), roles: [Role::User].into() });
        let page: LogPage = ann.get(&World::log_path(&cluster)).await.unwrap();
        assert!(page.lines.iter().any(|line| line.line == format!("pid {pid}")));
        let found = invariants(&other.url, &world).await;
        assert_eq!((found.checked.len(), found.violations), (5, vec![]));

        let (stalls, begin) = (Stalls::watch(), Instant::now());
        world.change(&cluster, |it| it.state.run = None);
        World::hint_at(&other, &cluster).await;
        until("the end of the script", async || (!is_alive(pid)).then_some(())).await;
        println!("a run was cancelled through another replica after {} ms", begin.elapsed().as_millis());
        stalls.assert_kept(AT_ONCE, begin.elapsed(), "a run is cancelled through another replica");
        world.line(&cluster, "start was cancelled").await;
        assert!(other.tasks.shut_down(PATIENCE).await);
        world.end().await;
    });
}
