//! The service's end, by a kill and in good order, while a script runs.

use crate::Test;
use crate::support::{PATIENCE, World, block_on, is_alive, until};
use bigdata_common::event::{Event, RunResult};

pub(crate) const TESTS: &[Test] = &[
    ("a killed service's run is begun again when its tree is gone", killed),
    ("a service that ends in good order leaves its run to the next", shut_down),
    ("a second replica does not touch a run that is driven", second_replica),
    ("a run that is younger than the list of clusters is not cancelled", outdated_list),
];

/// Waits for ever in its first attempt, whatever signals come.
const SCRIPT: &str = "#!/bin/sh\nif [ $BIGDATA_ATTEMPT = 1 ]; then trap '' TERM; setsid sleep 1000 & echo \"pid $$\"; \
                      echo \"daemon $!\"; sleep 1000; fi\necho \"attempt $BIGDATA_ATTEMPT of $BIGDATA_RUN\"";

fn started(world: &World) -> Vec<(String, u32)> {
    let started = |event| match event {
        Event::RunStarted(run) => Some((run.run.to_string(), run.attempt)),
        _ => None,
    };
    world.events().into_iter().filter_map(started).collect()
}

/// The world's service, replaced by one in a process of its own.
async fn elsewhere(world: &World) -> std::process::Child {
    assert!(world.built.tasks.shut_down(PATIENCE).await);
    world.seat.elsewhere(15_000)
}

fn killed() {
    block_on(async {
        for world in World::on_each_engine().await {
            kill(world).await;
        }
    });
}

async fn kill(mut world: World) {
    let mut other = elsewhere(&world).await;
    let cluster = world.cluster(1, SCRIPT);
    world.change(&cluster, |it| {
        let deadline = bigdata_chassis::Clock::system().now().plus_millis(60_000);
        let operation = bigdata_common::OperationId(uuid::Uuid::now_v7());
        let action = "start".into();
        it.state.run = Some(bigdata_common::internal::RunRequest {
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
    // The log is read from the same database by a service that runs nothing: its registry is not there.
    let gone = world.seat.registry.clone();
    world.seat.registry = "http://127.0.0.1:9".into();
    world.rebuild(|_| {}).await;
    let pids = [
        world.line(&cluster, "pid ").await.parse::<i32>().unwrap(),
        world.line(&cluster, "daemon ").await.parse::<i32>().unwrap(),
    ];
    assert!(pids.iter().all(|pid| is_alive(*pid)));
    assert!(world.built.tasks.shut_down(PATIENCE).await);
    other.kill().unwrap();
    other.wait().unwrap();

    world.seat.registry = gone;
    world.rebuild(|_| {}).await;
    let attempts = until("the second attempt", async || {
        let started = started(&world);
        started.iter().any(|(_, attempt)| *attempt == 2).then_some(started)
    })
    .await;
    assert!(!pids.iter().any(|pid| is_alive(*pid)), "the former tree is gone");
    let result = until("its end", async || {
        world.events().into_iter().find_map(|event| match event {
            Event::RunEnded { run, result } => Some((run.attempt, result)),
            _ => None,
        })
    })
    .await;
    assert_eq!(result, (2, RunResult::Succeeded {}));
    let run = &attempts[0].0;
    assert!(world.output(&cluster).await.contains(&format!("attempt 2 of {run}")), "the run is the same");
    world.end().await;
}

fn shut_down() {
    block_on(async {
        let mut world = World::new(|_| {}).await;
        let cluster = world.cluster(1, SCRIPT);
        let operation = world.want(&cluster, "start", true, 60_000).await;
        let pid = world.line(&cluster, "pid ").await.parse::<i32>().unwrap();
        world.line(&cluster, "daemon ").await;
        assert!(world.built.tasks.shut_down(PATIENCE).await);
        assert!(!is_alive(pid), "nothing outlives the service");
        world.rebuild(|settings| settings.lease_ms = 600_000).await;
        assert_eq!(world.ended(operation).await, RunResult::Succeeded {}, "the claim was given back");
        assert_eq!(started(&world).last().map(|(_, attempt)| *attempt), Some(2));
        let log = world.log(&cluster).await;
        assert!(log.iter().any(|line| line.line.contains("interrupted and will be begun again")), "{log:?}");
        world.end().await;
    });
}

fn second_replica() {
    block_on(async {
        let world = World::new(|settings| settings.concurrency = 1).await;
        let cluster = world.cluster(1, SCRIPT);
        let operation = world.want(&cluster, "start", true, 60_000).await;
        world.line(&cluster, "daemon ").await;
        let second = world.seat.build(|settings| settings.work_dir = world.seat.folder.join("second")).await;
        // The first has no place left, so that the second runs this one, after it has looked at the one before.
        let other = world.cluster(2, "#!/bin/sh\necho $PATH");
        world.want(&other, "start", true, 60_000).await;
        until("the second's run", async || {
            world.log(&other).await.iter().any(|line| line.line.contains("/second/bin:")).then_some(())
        })
        .await;
        world.want_nothing(&cluster).await;
        // Each replica's relay takes what either has to say, and publishes it on its own bus.
        assert_eq!(world.ended_beside(operation, &[&second]).await, RunResult::Cancelled {});
        let log = world.log(&cluster).await;
        assert!(!log.iter().any(|line| line.line.contains("attempt 2")), "{log:?}");
        world.change(&other, |it| it.state.run = None);
        assert!(second.tasks.shut_down(PATIENCE).await);
        world.end().await;
    });
}

/// As when another replica began the run after this one had read the list.
fn outdated_list() {
    block_on(async {
        let world = World::new(|_| {}).await;
        let cluster = world.cluster(1, "#!/bin/sh\necho begun\nwhile [ ! -e $HOME/go ]; do sleep 0.1; done");
        let before = world.surroundings.clusters.lock().unwrap()[&cluster.to_string()].state.clone();
        assert!(before.run.is_none());
        let operation = world.want(&cluster, "start", true, 60_000).await;
        world.line(&cluster, "begun").await;
        *world.surroundings.outdated.lock().unwrap() = Some((vec![before], 0));
        until("looks at the outdated list", async || {
            world.surroundings.outdated.lock().unwrap().as_ref().filter(|(_, told)| *told >= 3).map(drop)
        })
        .await;
        // The log has the run before its event is published.
        let run = until("the run's beginning is told", async || started(&world).first().cloned()).await.0;
        let run = run.parse::<uuid::Uuid>().unwrap().simple().to_string();
        let home = world.run_folder(&run).join("home");
        std::fs::write(home.join("go"), "").unwrap();
        assert_eq!(world.ended(operation).await, RunResult::Succeeded {});
        world.end().await;
    });
}
