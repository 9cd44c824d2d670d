//! Scripts that mean harm: each ends within its limit and says why, leaves nothing, and others do not notice.

use crate::Test;
use crate::support::{World, block_on, processes_of_run, until};
use bigdata_common::event::{Event, RunResult};
use std::fs;
use std::time::{Duration, Instant};

pub(crate) const TESTS: &[Test] = &[
    ("a fork bomb ends in time", fork_bomb),
    ("a file beyond the limit ends its writer", great_file),
    ("memory beyond the limit is not given", memory),
    ("a tree's memory is bounded", tree_memory),
    ("what has left a killed sandbox's tree is ended", escaped),
    ("a full directory ends its script", full_directory),
    ("files of the platform cannot be read", files),
    ("other runs and the service cannot be reached or signalled", others),
    ("a directory without end is removed", deep),
    ("symbolic links lead nowhere", links),
    ("a secret in an output is masked, with a warning", secret_output),
    ("a hook is told its event", event),
];

fn reason(result: &RunResult) -> &str {
    match result {
        RunResult::Failed { reason } => reason,
        other => panic!("it failed not: {other:?}"),
    }
}

/// Nothing is left of any run: no process, no directory.
fn assert_nothing_left(world: &World) {
    for event in world.events() {
        if let Event::RunStarted(run) = event {
            assert_eq!(processes_of_run(&run.run.to_string()), 0);
        }
    }
    let folders: Vec<_> = fs::read_dir(world.seat.folder.join("work/runs")).unwrap().collect();
    assert!(folders.is_empty(), "{folders:?}");
}

async fn is_well(world: &World) {
    let cluster = world.cluster(9, "#!/bin/sh\nexit 0");
    let operation = world.want(&cluster, "start", true, 60_000).await;
    assert_eq!(world.ended(operation).await, RunResult::Succeeded {});
}

/// Whether the scripts' control groups bound this here.
fn groups_bound(what: &str) -> bool {
    let found = bigdata_sandbox::Capabilities::probe(&std::env::current_exe().unwrap()).unwrap();
    let bounds = [found.cgroup_version_1, found.cgroup_version_2]
        .iter()
        .any(|groups| groups.available && groups.explanation.contains(what));
    if !(is_root() && bounds) {
        println!("SKIPPED: no control group bounds the {what} of scripts here");
    }
    is_root() && bounds
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

fn fork_bomb() {
    if !is_root() {
        // Without a user of its own a script's processes cannot be counted apart from everybody's.
        return println!("SKIPPED: it would take the processes of the user that runs the tests");
    }
    block_on(async {
        let world = World::new(|settings| settings.limits.processes = 60).await;
        let cluster =
            world.cluster(1, "#!/bin/sh\nbomb() { bomb | bomb & bomb; }\ntrap '' TERM\nbomb 2>/dev/null\nsleep 1000");
        let begin = Instant::now();
        // Long enough for the bomb to reach its limit on a busy machine.
        let operation = world.want(&cluster, "start", true, 30_000).await;
        let result = world.ended(operation).await;
        assert!(begin.elapsed() < Duration::from_secs(60), "{:?}", begin.elapsed());
        println!("a fork bomb ended after {} ms: {}", begin.elapsed().as_millis(), reason(&result));
        if groups_bound("pids") {
            assert!(reason(&result).contains("its processes reached the limit of 60"), "{}", reason(&result));
        }
        assert_nothing_left(&world);
        is_well(&world).await;
        world.end().await;
    });
}

fn tree_memory() {
    if !groups_bound("memory") {
        return;
    }
    block_on(async {
        let world = World::new(|settings| settings.limits.memory_bytes = 64 << 20).await;
        let (_, result) = world.run("#!/bin/sh\ntail /dev/zero & tail /dev/zero & wait; exit 9").await;
        let reason = reason(&result);
        assert!(reason.starts_with("exited with code 9; its processes reached the memory limit of 64 MiB"), "{reason}");
        assert_nothing_left(&world);
        world.end().await;
    });
}

fn escaped() {
    if !groups_bound("pids") {
        return;
    }
    block_on(async {
        let world = World::new(|_| {}).await;
        // Neither its environment nor its session tells whose it is.
        let script = "#!/bin/sh\nenv -i setsid sh -c 'echo escaped $$; exec sleep 1000' &\nsleep 1000";
        let cluster = world.cluster(1, script);
        let operation = world.want(&cluster, "start", true, 60_000).await;
        let pid: i32 = world.line(&cluster, "escaped ").await.parse().unwrap();
        let mut parent = pid;
        while let Some(process) = bigdata_sandbox::Process::read(parent) {
            let arguments = fs::read_to_string(format!("/proc/{parent}/cmdline")).unwrap_or_default();
            if arguments.contains("__sandbox") {
                nix::sys::signal::kill(nix::unistd::Pid::from_raw(parent), nix::sys::signal::SIGKILL).unwrap();
                break;
            }
            parent = process.parent;
        }
        assert_eq!(reason(&world.ended(operation).await), "was killed from outside");
        assert!(!crate::support::is_alive(pid), "it lives on");
        world.end().await;
    });
}

fn full_directory() {
    block_on(async {
        let world = World::new(|settings| settings.limits.directory_bytes = 10 << 20).await;
        let script = "#!/bin/sh\ni=0; while [ $i -lt 8 ]; do i=$((i+1)); head -c 2M /dev/zero > $TMPDIR/$i; done; \
                      exec sleep 1000";
        let (_, result) = world.run(script).await;
        assert_eq!(reason(&result), "its directory holds more than the limit of 10 MiB");
        assert_nothing_left(&world);
        world.end().await;
    });
}

fn great_file() {
    block_on(async {
        let world = World::new(|settings| settings.limits.file_bytes = 1 << 20).await;
        let (_, result) = world.run("#!/bin/sh\nexec head -c 1000000000 /dev/zero > $HOME/big").await;
        assert_eq!(reason(&result), "wrote a file beyond its size limit (SIGXFSZ)");
        assert_nothing_left(&world);
        world.end().await;
    });
}

fn memory() {
    block_on(async {
        let world = World::new(|settings| settings.limits.address_space_bytes = 128 << 20).await;
        let (_, result) = world.run("#!/bin/sh\nhead -c 900000000 /dev/zero | tail -c 800000000 | wc -c; exit 9").await;
        let memory = fs::read_to_string("/proc/self/status").unwrap();
        assert!(memory.contains("VmRSS"));
        let reason = reason(&result);
        assert!(reason.starts_with("exited with code 9") && reason.contains("memory"), "{reason}");
        assert_nothing_left(&world);
        world.end().await;
    });
}

fn files() {
    block_on(async {
        let world = World::new(|_| {}).await;
        let folder = world.seat.folder.display().to_string();
        fs::write(world.seat.folder.join("canary"), "canary-content").unwrap();
        let script = format!(
            "#!/bin/sh\nfor file in {folder}/key {folder}/orchestrator.db {folder}/canary /etc/shadow /root/.profile; do\n\
             cat $file >/dev/null && echo \"read $file\"\ndone\n\
             ls {folder} {folder}/work {folder}/work/runs && echo listed\n\
             echo x > {folder}/work/bin/bigdata && echo wrote\necho x > /tmp/bigdata-hostile && echo wrote\n\
             cat /proc/{}/environ > /dev/null && echo read\nexit 0",
            std::process::id()
        );
        let (cluster, result) = world.run(&script).await;
        assert_eq!(result, RunResult::Succeeded {});
        let log = world.log(&cluster).await;
        let stdout: Vec<&str> =
            log.iter().filter(|line| line.stream == "stdout").map(|line| line.line.as_str()).collect();
        assert_eq!(stdout, [""; 0]);
        let denied = log.iter().filter(|line| line.line.contains("Permission denied")).count();
        assert!(denied >= 8, "{log:?}");
        assert_nothing_left(&world);
        world.end().await;
    });
}

fn others() {
    block_on(async {
        let world = World::new(|_| {}).await;
        let victim = world.cluster(1, "#!/bin/sh\necho \"socket $BIGDATA_SOCKET\"\necho \"pid $$\"; sleep 1000");
        let first = world.want(&victim, "start", true, 60_000).await;
        let socket = world.line(&victim, "socket ").await;
        let pid = world.line(&victim, "pid ").await;
        let script = format!(
            "#!/bin/sh\nBIGDATA_SOCKET={socket} bigdata role call GET /v1/cluster 2>/dev/null | grep -o '^200'\n\
             cat /proc/{pid}/environ 2>/dev/null | tr '\\0' '\\n' | grep TOKEN\n\
             kill -9 {pid} {} 2>/dev/null && echo killed\nkill -9 -1\nsleep 1",
            std::process::id()
        );
        let attacker = world.cluster(2, &script);
        let second = world.want(&attacker, "start", true, 20_000).await;
        // It signals nobody but its own, and the signal spares itself.
        world.ended(second).await;
        assert_eq!(world.output(&attacker).await, [""; 0]);
        assert!(crate::support::is_alive(pid.parse().unwrap()));
        world.want_nothing(&victim).await;
        assert_eq!(world.ended(first).await, RunResult::Cancelled {});
        is_well(&world).await;
        assert_nothing_left(&world);
        world.end().await;
    });
}

fn deep() {
    block_on(async {
        let world = World::new(|_| {}).await;
        let script = "import os\nos.chdir(os.environ['HOME'])\nfor level in range(3000):\n    os.mkdir('d')\n    os.chdir('d')\n";
        let (cluster, result) = world.run(script).await;
        assert_eq!(result, RunResult::Succeeded {}, "{:?}", world.log(&cluster).await);
        assert_nothing_left(&world);
        is_well(&world).await;
        world.end().await;
    });
}

fn links() {
    block_on(async {
        let world = World::new(|_| {}).await;
        let precious = world.seat.folder.join("precious");
        fs::create_dir(&precious).unwrap();
        fs::set_permissions(&precious, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
        fs::write(precious.join("file"), "x").unwrap();
        let target = precious.display();
        let script = format!(
            "#!/bin/sh\nset -e\nrm -rf $HOME $TMPDIR $BIGDATA_CLUSTER $BIGDATA_SOCKET\nln -s {target} $HOME\n\
             ln -s {target}/file $BIGDATA_CLUSTER\nln -s {target} $BIGDATA_SOCKET\nmkfifo $TMPDIR\nmkdir -p a/b\nchmod 0 a/b a\n\
             rm {target}/file 2>/dev/null && echo removed\nexit 0"
        );
        let (cluster, result) = world.run(&script).await;
        assert_eq!(result, RunResult::Succeeded {}, "{:?}", world.log(&cluster).await);
        assert_eq!(world.output(&cluster).await, [""; 0]);
        assert!(precious.join("file").exists());
        assert_nothing_left(&world);
        world.end().await;
    });
}

fn secret_output() {
    block_on(async {
        let world = World::new(|_| {}).await;
        let script = r#"#!/bin/sh
bigdata role call POST /v1/output '{"key":"url","value":"mysql://root:hunter2-canary@127.64.0.1/","endpoint":"writer"}'
bigdata role call POST /v1/output '{"key":"hunter2-canary","value":"x"}' | cut -c1-3
bigdata role call POST /v1/output '{"key":"whole","value":"mysql://root:hunter2-canary@127.64.0.1/","secret":true}'
"#;
        let (cluster, result) = world.run(script).await;
        assert_eq!(result, RunResult::Succeeded {});
        assert_eq!(world.output(&cluster).await, ["204 ", "400", "204 "]);
        let path = format!("/internal/v1/clusters/{cluster}/outputs");
        let listed: Vec<bigdata_common::event::Output> = world.client().get(&path).await.unwrap();
        let values: Vec<Option<&str>> = listed.iter().map(|output| output.value.as_deref()).collect();
        assert_eq!(
            values,
            [Some("mysql://root:********@127.64.0.1/"), Some("mysql://root:hunter2-canary@127.64.0.1/")]
        );
        let log = world.log(&cluster).await;
        let warning = log.iter().find(|line| line.line.starts_with("warning: ")).expect("a warning");
        assert!(warning.line.contains("endpoint url") && warning.line.contains("--secret"), "{}", warning.line);
        let told = serde_json::to_string(&world.events()).unwrap() + &serde_json::to_string(&log).unwrap();
        assert!(!told.contains("canary"), "{told}");
        world.end().await;
    });
}

fn event() {
    block_on(async {
        let world = World::new(|_| {}).await;
        let cluster = world.cluster(1, "#!/bin/sh\necho \"event $BIGDATA_EVENT\"");
        let deadline = bigdata_chassis::Clock::system().now().plus_millis(60_000);
        let operation = bigdata_common::OperationId(uuid::Uuid::now_v7());
        world.change(&cluster, |it| {
            it.state.run = Some(bigdata_common::internal::RunRequest {
                operation,
                origin: None,
                action: "node-lost".into(),
                step: 0,
                required: false,
                deadline,
                event: Some(serde_json::json!({"kind": "node-lost", "node": "node1"})),
                arguments: Default::default(),
            });
        });
        assert_eq!(world.line(&cluster, "event ").await, r#"{"kind":"node-lost","node":"node1"}"#);
        until("its end", async || (!world.events().is_empty()).then_some(())).await;
        assert_eq!(world.ended(operation).await, RunResult::Succeeded {});
        world.end().await;
    });
}
