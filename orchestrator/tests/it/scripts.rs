//! Scripts that behave, and scripts that do not.

use crate::support::{PATIENCE, World, block_on, is_alive, processes_of_run, until};
use crate::{AT_ONCE, Test};
use bigdata_chassis::Clock;
use bigdata_chassis::testing::Stalls;
use bigdata_common::event::{Event, RunResult};
use bigdata_common::status::ClusterStatus;
use std::time::{Duration, Instant};

pub(crate) const TESTS: &[Test] = &[
    ("a script succeeds, and its lines are in the log", succeeds),
    ("a failure's reason is its last line", fails),
    ("an unknown action is absent, or a failure where it is required", unknown_action),
    ("a script that hangs is ended with its tree", hangs),
    ("a flood is bounded, and the script goes on", floods),
    ("a daemon does not outlive its script", daemon),
    ("a cancelled script is ended at once", cancelled),
    ("a destroy overtakes a start", overtaken),
    ("the environment is exactly the given one", environment),
    ("the document tells of the cluster", document),
    ("there is no network unless it was given", network),
    ("secrets are masked in the log", secrets),
    ("what is not UTF-8 is replaced", not_utf8),
    ("without a #! line it is python3", python),
    ("runs beyond the limit wait for a place", places),
    ("an end that got lost is told again", told_again),
    ("what cannot be run says why", cannot_run),
];

fn failed(reason: &str) -> RunResult {
    RunResult::Failed { reason: reason.into() }
}

fn run_id(world: &World) -> String {
    let run = world.events().iter().find_map(|event| match event {
        Event::RunStarted(run) => Some(run.run.to_string()),
        _ => None,
    });
    run.expect("a run was started")
}

fn succeeds() {
    block_on(async {
        for world in World::on_each_engine().await {
            let script = "#!/bin/sh\necho \"action $1\"; echo problem >&2; pwd; id -u; printf unfinished";
            let (cluster, result) = world.run(script).await;
            assert_eq!(result, RunResult::Succeeded {});
            let log = world.log(&cluster).await;
            let stdout: Vec<&str> =
                log.iter().filter(|line| line.stream == "stdout").map(|line| line.line.as_str()).collect();
            assert_eq!((stdout[0], stdout[3]), ("action start", "unfinished"));
            assert!(!std::path::Path::new(stdout[1]).exists(), "the run's directory is removed");
            assert_ne!(stdout[2], "0", "a script is never root");
            assert!(log.iter().any(|line| line.stream == "stderr" && line.line == "problem"));
            assert_eq!(
                log.iter().map(|line| line.sequence).collect::<Vec<_>>(),
                (1..=log.len() as u64).collect::<Vec<_>>()
            );
            let attempts: Vec<u32> = world
                .events()
                .iter()
                .filter_map(|event| match event {
                    Event::RunStarted(run) | Event::RunEnded { run, .. } => Some(run.attempt),
                    _ => None,
                })
                .collect();
            assert_eq!(attempts, [1, 1]);
            world.end().await;
        }
    });
}

fn fails() {
    block_on(async {
        let world = World::new(|_| {}).await;
        let script = "#!/bin/sh\necho 'no disk' >&2; echo; echo later on stdout; echo '' >&2; exit 1";
        assert_eq!(world.run(script).await.1, failed("exited with code 1: no disk"));
        let (_, result) = world.run("#!/bin/sh\necho only stdout; exit 3").await;
        assert_eq!(result, failed("exited with code 3: only stdout"));
        let (_, result) = world.run("#!/bin/sh\nkill -9 $$").await;
        assert_eq!(result, failed("ended by SIGKILL"));
        world.end().await;
    });
}

fn unknown_action() {
    block_on(async {
        let world = World::new(|_| {}).await;
        let cluster = world.cluster(1, "#!/bin/sh\nexit 64");
        let operation = world.want(&cluster, "destroy", false, 60_000).await;
        assert_eq!(world.ended(operation).await, RunResult::Absent {});
        let operation = world.want(&cluster, "start", true, 60_000).await;
        let reason = "the script does not know the action \"start\" (exit code 64)";
        assert_eq!(world.ended(operation).await, failed(reason));
        let nothing = world.cluster(2, "");
        let operation = world.want(&nothing, "destroy", false, 60_000).await;
        assert_eq!(world.ended(operation).await, RunResult::Absent {});
        world.end().await;
    });
}

fn hangs() {
    block_on(async {
        let world = World::new(|_| {}).await;
        let script = "#!/bin/sh\ntrap '' TERM INT\n(setsid sleep 1000 &)\necho begun\nwhile :; do sleep 1; done";
        let cluster = world.cluster(1, script);
        let (stalls, begin) = (Stalls::watch(), Instant::now());
        // Long enough for the script to come to its line on a busy machine.
        let limit = Duration::from_secs(20);
        let operation = world.want(&cluster, "start", true, 20_000).await;
        let RunResult::Failed { reason } = world.ended(operation).await else { panic!("it failed not") };
        // It is told what was left of the time when the run was noted.
        let seconds =
            reason.strip_prefix("ran longer than ").and_then(|rest| rest.strip_suffix(" s; its last line was: begun"));
        assert!(seconds.is_some_and(|seconds| (1..=20).contains(&seconds.parse::<u32>().unwrap())), "{reason}");
        assert!(begin.elapsed() >= limit - Duration::from_millis(100), "{:?}", begin.elapsed());
        stalls.assert_kept(limit + AT_ONCE, begin.elapsed(), "a script that hangs is ended");
        assert_eq!(processes_of_run(&run_id(&world)), 0);
        world.end().await;
    });
}

fn floods() {
    block_on(async {
        let world = World::new(|settings| settings.limits.output_bytes = 1 << 20).await;
        let script = "#!/bin/sh\nhead -c 3000000 /dev/zero | tr '\\0' x; echo\nyes 0123456789abcdef | head -n 1000000\n\
                      yes error | head -n 100000 >&2\necho the end >&2; exit 2";
        let begin = Instant::now();
        let (cluster, result) = world.run(script).await;
        let took = begin.elapsed();
        assert_eq!(result, failed("exited with code 2: the end"), "the last line is known though it was dropped");
        assert!(took < PATIENCE, "{took:?}");
        let log = world.log(&cluster).await;
        let stored: usize = log.iter().map(|line| line.line.len() + 64).sum();
        assert!(stored < (1 << 20) + 10_000 && log.len() < 20_000, "{stored} bytes in {} lines", log.len());
        let longest = log.iter().map(|line| line.line.len()).max();
        assert_eq!(longest, Some(8 << 10), "a long line is cut");
        let platform: Vec<&String> =
            log.iter().filter(|line| line.stream == "platform").map(|line| &line.line).collect();
        assert!(platform.iter().any(|line| line.contains("1 MiB of output are stored")), "{platform:?}");
        assert!(platform.iter().any(|line| line.contains("of output were dropped")), "{platform:?}");
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap().trim().to_owned();
        println!("a flood of 21 MB took {} ms; the whole program's memory peaked at {peak}", took.as_millis());
        let peak: u64 = peak.split(' ').next().unwrap().parse().unwrap();
        assert!(peak < 400 << 10, "{peak} KiB");
        world.end().await;
    });
}

fn daemon() {
    block_on(async {
        let world = World::new(|_| {}).await;
        let script =
            "#!/bin/sh\n(trap '' TERM HUP; setsid sleep 1000 </dev/null >/dev/null 2>&1 & echo daemon $!)\nexit 0";
        let (cluster, result) = world.run(script).await;
        assert_eq!(result, RunResult::Succeeded {});
        let pid: i32 = world.line(&cluster, "daemon ").await.parse().unwrap();
        assert!(!is_alive(pid));
        assert_eq!(processes_of_run(&run_id(&world)), 0);
        world.end().await;
    });
}

fn cancelled() {
    block_on(async {
        let world = World::new(|settings| settings.reconcile_interval_ms = 3_600_000).await;
        let cluster = world.cluster(1, "#!/bin/sh\ntrap '' TERM\n(setsid sleep 1000 &)\necho \"pid $$\"; sleep 1000");
        let operation = world.want(&cluster, "start", true, 60_000).await;
        let pid: i32 = world.line(&cluster, "pid ").await.parse().unwrap();
        assert!(is_alive(pid));
        let (stalls, begin) = (Stalls::watch(), Instant::now());
        world.want_nothing(&cluster).await;
        assert_eq!(world.ended(operation).await, RunResult::Cancelled {});
        stalls.assert_kept(AT_ONCE, begin.elapsed(), "a cancelled script is ended");
        assert!(!is_alive(pid));
        assert_eq!(processes_of_run(&run_id(&world)), 0);
        world.end().await;
    });
}

fn overtaken() {
    block_on(async {
        let world = World::new(|settings| settings.reconcile_interval_ms = 3_600_000).await;
        let script = "#!/bin/sh\necho \"$1 begins\"\n[ $1 = destroy ] && exit 0\nsleep 1000";
        let cluster = world.cluster(1, script);
        let start = world.want(&cluster, "start", true, 60_000).await;
        world.line(&cluster, "start begins").await;
        world.change(&cluster, |it| it.state.status = ClusterStatus::Destroying);
        let destroy = world.want(&cluster, "destroy", false, 60_000).await;
        assert_eq!(world.ended(destroy).await, RunResult::Succeeded {});
        assert_eq!(world.ended(start).await, RunResult::Cancelled {});
        let order: Vec<bool> = world
            .events()
            .iter()
            .filter_map(|event| match event {
                Event::RunEnded { run, .. } => Some(run.operation == start),
                Event::RunStarted(run) if run.operation == destroy => Some(false),
                _ => None,
            })
            .collect();
        assert_eq!(order, [true, false, false], "the destroy begins after the start's end");
        world.end().await;
    });
}

fn environment() {
    block_on(async {
        let world = World::new(|_| {}).await;
        let (cluster, _) = world
            .run("#!/bin/sh\ntr '\\0' '\\n' < /proc/$$/environ; ls -ld $BIGDATA_CLUSTER; command -v bigdata")
            .await;
        let output = world.output(&cluster).await;
        let mut names: Vec<&str> =
            output.iter().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            [
                "BIGDATA_ACTION",
                "BIGDATA_ARGUMENTS",
                "BIGDATA_ATTEMPT",
                "BIGDATA_CLUSTER",
                "BIGDATA_RUN",
                "BIGDATA_SOCKET",
                "BIGDATA_TOKEN",
                "CLUSTERDN",
                "CLUSTERID",
                "HOME",
                "LANG",
                "PATH",
                "REGISTRY",
                "TMPDIR",
            ]
        );
        for line in [
            "BIGDATA_ACTION=start",
            "BIGDATA_ATTEMPT=1",
            "CLUSTERDN=clusters/ann/mysql/8.0/1",
            "BIGDATA_TOKEN=********",
        ] {
            assert!(output.iter().any(|it| it == line), "{line}: {output:?}");
        }
        assert!(output.iter().any(|line| line.starts_with("-rw-------")), "{output:?}");
        assert!(output.last().unwrap().ends_with("/work/bin/bigdata"), "{output:?}");
        world.end().await;
    });
}

fn document() {
    block_on(async {
        let world = World::new(|_| {}).await;
        let script = "#!/bin/sh\nbigdata role call POST /v1/output '{\"key\":\"found\",\"value\":\"in.document\"}'\n\
                      tr -d '\\n' < $BIGDATA_CLUSTER; echo; bigdata role call GET /v1/cluster";
        let (cluster, result) = world.run(script).await;
        assert_eq!(result, RunResult::Succeeded {});
        let output = world.output(&cluster).await;
        let file: serde_json::Value = serde_json::from_str(&output[1]).unwrap();
        let live: serde_json::Value = serde_json::from_str(output[2].strip_prefix("200 ").unwrap()).unwrap();
        assert_eq!(file["dn"], "clusters/ann/mysql/8.0/1");
        assert_eq!(
            (&file["dnsname"], &file["product"], &file["version"]),
            (&"db".into(), &"mysql".into(), &"8.0".into())
        );
        let node = &file["nodes"]["mysql0"];
        assert_eq!((&node["address"], &node["ports"]["sql"]), (&"127.64.0.1".into(), &3306.into()));
        assert_eq!((&node["status"], &node["services"][0]), (&"running".into(), &"writer".into()));
        assert_eq!((&node["disks"]["data"]["size"], &node["properties"]["server_id"]), (&100.into(), &1.into()));
        assert_eq!((&node["cpu"], &node["mem"]), (&1.0.into(), &512.into()));
        assert_eq!(node["networks"]["eth0"], serde_json::json!({"networkname": "admin", "address": "127.64.0.1"}));
        assert_eq!(node["properties"]["dsn"], "root:********@{x}", "masked in the log, in the clear in the file");
        assert_eq!(file["services"]["writer"]["properties"]["at"], "127.64.0.1");
        assert_eq!((&file["options"]["size"], &file["options"]["password"]), (&2.into(), &"********".into()));
        assert_eq!((&file["outputs"], &live["outputs"]["found"]), (&serde_json::json!({}), &"in.document".into()));
        world.end().await;
    });
}

fn network() {
    block_on(async {
        let world = World::new(|_| {}).await;
        let address = world.seat.registry.strip_prefix("http://").unwrap().to_owned();
        let script = format!("#!/bin/sh\nbigdata role connect {address}");
        let (cluster, _) = world.run(&script).await;
        assert_eq!(world.output(&cluster).await, [format!("refused {}", nix::libc::EPERM)]);
        let open = world.cluster(2, &script);
        world.change(&open, |it| it.specification.reach_network = true);
        let operation = world.want(&open, "start", true, 60_000).await;
        world.ended(operation).await;
        assert_eq!(world.output(&open).await, ["connected"]);
        world.end().await;
    });
}

fn secrets() {
    block_on(async {
        let world = World::new(|_| {}).await;
        let script = "#!/bin/sh\ngrep -o 'hunter2-[a-z]*' $BIGDATA_CLUSTER | head -1\n\
                      grep -o 'hunter2-[a-z]*' $BIGDATA_CLUSTER | head -1 | wc -c\necho password=hunter2-canary >&2; exit 1";
        let (cluster, result) = world.run(script).await;
        assert_eq!(result, failed("exited with code 1: password=********"));
        let log = serde_json::to_string(&world.log(&cluster).await).unwrap();
        assert!(!log.contains("canary") && log.contains("********"), "{log}");
        assert!(world.output(&cluster).await.contains(&"15".to_owned()), "the script itself has the value");
        let events = serde_json::to_string(&world.events()).unwrap();
        assert!(!events.contains("canary"), "{events}");
        world.end().await;
    });
}

fn not_utf8() {
    block_on(async {
        let world = World::new(|_| {}).await;
        let (cluster, _) = world.run("#!/bin/sh\nprintf 'a\\377\\376b\\000c\\r\\n'; printf 'gr\\303\\274n\\n'").await;
        assert_eq!(world.output(&cluster).await, ["a\u{fffd}\u{fffd}b\u{fffd}c", "grün"]);
        world.end().await;
    });
}

fn python() {
    block_on(async {
        let world = World::new(|_| {}).await;
        let script = "import json, os, sys, tempfile\nwith tempfile.TemporaryFile() as file:\n    file.write(b'x')\n\
                      print(sys.argv[1], json.load(open(os.environ['BIGDATA_CLUSTER']))['id'], flush=True)\n\
                      open('/etc/bigdata-test', 'w')\n";
        if !std::path::Path::new("/usr/bin/python3").exists() {
            println!("SKIPPED: there is no /usr/bin/python3");
            return;
        }
        let (cluster, result) = world.run(script).await;
        assert!(matches!(&result, RunResult::Failed { reason } if reason.contains("PermissionError")), "{result:?}");
        // Its two streams are read side by side: either may come first.
        let output = world.output(&cluster).await;
        assert!(output.contains(&"start clusters--ann--mysql--8__0--1".to_owned()), "{output:?}");
        world.end().await;
    });
}

fn places() {
    block_on(async {
        let world = World::new(|settings| {
            settings.concurrency = 1;
            settings.reconcile_interval_ms = 3_600_000;
        })
        .await;
        let script = "#!/bin/sh\necho begun; while [ ! -e $HOME/go ] && [ $CLUSTERDN = clusters/ann/mysql/8.0/1 ]; do sleep 0.1; done";
        let (first, second) = (world.cluster(1, script), world.cluster(2, script));
        let first_operation = world.want(&first, "start", true, 60_000).await;
        world.line(&first, "begun").await;
        let second_operation = world.want(&second, "start", true, 60_000).await;
        world.want_nothing(&first).await;
        assert_eq!(world.ended(second_operation).await, RunResult::Succeeded {});
        assert_eq!(world.ended(first_operation).await, RunResult::Cancelled {});
        let begun: Vec<String> = world
            .events()
            .iter()
            .filter_map(|event| match event {
                Event::RunStarted(run) => Some(format!("begin {}", run.operation == first_operation)),
                Event::RunEnded { run, .. } => Some(format!("end {}", run.operation == first_operation)),
                _ => None,
            })
            .collect();
        assert_eq!(begun, ["begin true", "end true", "begin false", "end false"]);
        world.end().await;
    });
}

fn told_again() {
    block_on(async {
        let clock = Clock::manual(Clock::system().now());
        let world = World::with_clock(|_| {}, clock.clone()).await;
        let cluster = world.cluster(1, "#!/bin/sh\nexit 0");
        let operation = world.want(&cluster, "start", true, 60_000).await;
        assert_eq!(world.ended(operation).await, RunResult::Succeeded {});
        let is_its_end = |event: &Event| matches!(event, Event::RunEnded { run, .. } if run.operation == operation);
        let ends = || world.events().iter().filter(|event| is_its_end(event)).count();
        assert_eq!(ends(), 1);
        clock.advance_millis(10_001);
        until("the end told again", async || (ends() == 2).then_some(())).await;
        // One look follows the other: when another cluster's run has ended, none goes on that knows what was wanted before.
        world.want_nothing(&cluster).await;
        let other = async |number: u32| {
            let other = world.cluster(number, "#!/bin/sh\nexit 0");
            let operation = world.want(&other, "start", true, 60_000).await;
            assert_eq!(world.ended(operation).await, RunResult::Succeeded {});
        };
        other(2).await;
        clock.advance_millis(10_001);
        other(3).await;
        assert_eq!(ends(), 2, "what is no longer asked for is not told again");
        world.end().await;
    });
}

fn cannot_run() {
    block_on(async {
        let world = World::new(|_| {}).await;
        let (_, result) = world.run("#!/no/such/interpreter\n").await;
        assert!(
            matches!(&result, RunResult::Failed { reason } if reason.starts_with("could not be started")),
            "{result:?}"
        );
        if !std::path::Path::new("/usr/bin/fab").exists() && !std::path::Path::new("/usr/local/bin/fab").exists() {
            let (_, result) = world.run("from fabric.api import run\n").await;
            assert!(matches!(&result, RunResult::Failed { reason } if reason.contains("Fabric 1")), "{result:?}");
        }
        world.end().await;
    });
}
