//! Slurm: jobs run, and live over what happens to the nodes.

use crate::server::executor_of;
use crate::support::{Data, Platform, templates, until};
use bigdata_chassis::testing::Stalls;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::MutexGuard;
use std::time::{Duration, Instant};

/// The controller answers again within this time after it was killed.
const SILENCE_MAX: Duration = Duration::from_secs(15);

/// A lost worker's job is queued again within this time; by itself Slurm would notice after 20 to 30 s (SlurmdTimeout).
const REQUEUED_MAX: Duration = Duration::from_secs(20);

/// Lets one test run at a time, and tells what is missing on this machine.
fn alone() -> MutexGuard<'static, ()> {
    let wrapper = Command::new("true").env("LD_PRELOAD", "libnss_wrapper.so").output().unwrap();
    assert!(wrapper.stderr.is_empty(), "libnss_wrapper.so is missing: apt-get install libnss-wrapper");
    for program in ["slurmctld", "slurmd", "munged", "srun"] {
        let found = Command::new(program).arg("--version").output().is_ok();
        assert!(found, "{program} is missing: apt-get install slurm-wlm");
    }
    crate::alone()
}

/// A job's script that ends when its test lets it.
const WAITS: &str = "echo began $SLURM_RESTART_COUNT; until [ -e go-$SLURM_JOB_ID ]; do sleep 0.1; done; echo ended";

struct Cluster<'a> {
    data: &'a Data,
    platform: &'a Platform,
    dn: String,
}

impl<'a> Cluster<'a> {
    fn launch(data: &'a Data, platform: &'a Platform, workers: u32) -> Self {
        let folder = templates().join("slurm/22.05").display().to_string();
        platform.run(&["product", "register", &folder]);
        let workers = format!("workers={workers}");
        let view = platform.json(&["launch", "slurm", "22.05", "--wait", "--timeout", "300", "mem=128", &workers]);
        assert_eq!(view["status"], "ready");
        Self { data, platform, dn: view["dn"].as_str().unwrap().to_owned() }
    }

    /// What a client of the cluster prints, as its users run one.
    fn client(&self, words: &[&str]) -> String {
        self.try_client(words).unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    fn try_client(&self, words: &[&str]) -> Result<String, String> {
        let mut command = self.platform.command(&[&["connect", &self.dn, "--"], words].concat());
        // The client's line names the platform's command.
        let folder = Path::new(crate::support::PROGRAM).parent().unwrap();
        command.env("PATH", format!("{}:{}", folder.display(), std::env::var("PATH").unwrap()));
        let output = command.output().unwrap();
        match output.status.success() {
            true => Ok(String::from_utf8(output.stdout).unwrap()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    /// Runs a job without input; what it prints. The end of an input may come to a task that is over: the daemon above it
    /// closes its connection with that unread, which resets it, and `srun` says that all is well without the task's output
    /// where it has not read it by then.
    fn job(&self, words: &[&str]) -> Result<String, String> {
        self.try_client(&[&["timeout", "60", "srun", "--input=none"], words].concat())
    }

    /// Names of the hosts, in order, that a job runs on, as soon as the controller takes it.
    fn hosts(&self, words: &[&str]) -> Vec<String> {
        let run =
            || self.job(&[words, &["hostname"]].concat()).map_err(|error| println!("srun {words:?}: {error}")).ok();
        let mut hosts: Vec<String> = until("a job runs", run).lines().map(str::to_owned).collect();
        hosts.sort();
        hosts
    }

    /// Whether a worker is in this state; None where the controller does not answer.
    fn is(&self, worker: &str, state: &str) -> Option<bool> {
        let states = self.try_client(&["sinfo", "-h", "-N", "-o", "%N %T"]).ok()?;
        Some(states.contains(&format!("{worker} {state}")))
    }

    /// Submits a batch job for one worker; its number.
    fn submit(&self, worker: &str, script: &str) -> String {
        self.client(&["sbatch", "--parsable", "-w", worker, "--wrap", script]).trim().to_owned()
    }

    fn state(&self, job: &str) -> String {
        let state = self.try_client(&["squeue", "-h", "-t", "all", "-j", job, "-o", "%T"]);
        state.map(|state| state.trim().to_owned()).unwrap_or_default()
    }

    fn reach(&self, job: &str, state: &str) {
        until(&format!("job {job} is {state}"), || (self.state(job) == state).then_some(()));
    }

    /// Runs a shell's command on a worker, in the folder where jobs write; None where the worker could not be reached.
    fn there(&self, worker: &str, command: &str) -> Option<String> {
        let command = format!(". ./environment; cd \"$jobs\" || exit; {command}; true");
        let output = self.platform.try_run(&["node", "exec", &self.dn, worker, "--", "bash", "-c", &command]);
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
    }

    fn try_printed(&self, worker: &str, job: &str) -> Option<String> {
        self.there(worker, &format!("cat slurm-{job}.out slurm-{job}_*.out"))
    }

    /// What a job or array has printed on a worker.
    fn printed(&self, worker: &str, job: &str) -> String {
        until(&format!("{worker} is asked"), || self.try_printed(worker, job))
    }

    /// Whether a job has printed these words on a worker, as far as that can be asked now.
    fn has_printed(&self, worker: &str, job: &str, words: &str) -> bool {
        self.try_printed(worker, job).is_some_and(|printed| printed.contains(words))
    }

    /// Lets a job with the script [`WAITS`] end.
    fn release(&self, worker: &str, job: &str) {
        until(&format!("{worker} is told"), || self.there(worker, &format!("touch go-{job}")));
    }

    /// Kills one of a node's daemons.
    fn kill(&self, node: &str, daemon: &str) {
        kill(&self.process(node, daemon));
    }

    /// The same, and waits until it is begun again.
    fn strike(&self, node: &str, daemon: &str) {
        let struck = self.process(node, daemon);
        kill(&struck);
        let again = || self.find(node, daemon).is_some_and(|pid| pid != struck).then_some(());
        until(&format!("{daemon} of {node} is begun again"), again);
    }

    fn process(&self, node: &str, daemon: &str) -> String {
        self.find(node, daemon).unwrap_or_else(|| panic!("{node} has no {daemon}"))
    }

    fn find(&self, node: &str, daemon: &str) -> Option<String> {
        let variable = format!("BIGDATA_NODE={node}");
        let is_it = |pid: &String| {
            let folder = Path::new("/proc").join(pid);
            let environment = std::fs::read(folder.join("environ")).unwrap_or_default();
            let name = std::fs::read_to_string(folder.join("comm")).unwrap_or_default();
            name.trim() == daemon && environment.split(|byte| *byte == 0).any(|it| it == variable.as_bytes())
        };
        self.data.nodes().into_iter().find(is_it)
    }

    /// Asks for a change and waits for its end.
    fn change(&self, words: &[&str]) {
        let (word, rest) = words.split_first().unwrap();
        self.platform.change(&[&[*word, &self.dn], rest, &["--wait", "--timeout", "300"]].concat());
    }

    fn nodes(&self) -> Vec<String> {
        let list = self.platform.json(&["cluster", "nodes", &self.dn]);
        let name = |node: &Value| node["name"].as_str().unwrap().to_owned();
        list["nodes"].as_array().unwrap().iter().map(name).collect()
    }

    /// Waits until the script has nothing to do and every node serves.
    fn settle(&self) {
        until("the cluster is healthy", || {
            let view = &self.platform.json(&["cluster", "show", &self.dn])["data"];
            (view["health"] == "healthy" && view["operation"].is_null()).then_some(())
        });
    }
}

impl Drop for Cluster<'_> {
    /// Nodes of a platform whose data lies in /tmp have none of their own: what jobs wrote is left there.
    fn drop(&mut self) {
        self.there("controller", "rm -rf \"$jobs\"");
    }
}

fn kill(pid: &str) {
    assert!(Command::new("kill").args(["-KILL", pid]).status().unwrap().success(), "kill {pid}");
}

#[test]
fn the_script_decides_as_it_says() {
    crate::decisions("slurm/22.05", "slurm_decisions.py");
}

#[test]
fn jobs_run_where_their_users_let_them() {
    let _alone = alone();
    let data = Data::new();
    let platform = data.up(&[]);
    let cluster = Cluster::launch(&data, &platform, 2);
    assert_eq!(cluster.hosts(&["-N2"]), ["worker1", "worker2"]);
    assert_eq!(crate::by_the_line(&platform, &[&cluster.dn], "srun --input=none -w worker2 hostname"), "worker2\n");

    // Tasks of an array, each of which begins steps of its own.
    let script = "srun --input=none echo task $SLURM_ARRAY_TASK_ID";
    let array = ["sbatch", "--parsable", "--wait", "--array=1-4", "--wrap", script];
    let job = cluster.client(&array).trim().to_owned();
    let printed = ["worker1", "worker2"].map(|worker| cluster.printed(worker, &job)).concat();
    let tasks: BTreeSet<&str> = printed.lines().collect();
    assert_eq!(tasks, BTreeSet::from(["task 1", "task 2", "task 3", "task 4"]));

    cluster.change(&["action", "drain", "worker=worker1"]);
    assert_eq!(cluster.hosts(&[]), ["worker2"]);
    until("it is said that a drained worker is not to be had", || {
        let refused = cluster.job(&["--immediate=1", "-N2", "hostname"]).expect_err("a drained worker has run a job");
        refused.contains("Required node not available").then_some(())
    });
    cluster.change(&["action", "resume", "worker=worker1"]);
    assert_eq!(cluster.hosts(&["-N2"]), ["worker1", "worker2"]);
    let unknown = ["action", &cluster.dn, "drain", "worker=worker9", "--wait"];
    let error = platform.fails(1, &unknown);
    assert!(error.contains("Invalid node name"), "{error}");

    until("the controller tells of idle workers", || {
        platform.json(&["node", "stats", &cluster.dn, "controller"]).to_string().contains("idle").then_some(())
    });
}

#[test]
fn jobs_outlive_what_runs_them() {
    let _alone = alone();
    let data = Data::new();
    let platform = data.up(&[]);
    let cluster = Cluster::launch(&data, &platform, 2);

    // The daemons die, the job does not notice.
    let job = cluster.submit("worker1", WAITS);
    until("the job runs", || cluster.has_printed("worker1", &job, "began").then_some(()));
    store(&cluster);
    let (struck, stalls) = (Instant::now(), Stalls::watch());
    cluster.kill("controller", "slurmctld");
    until("the controller answers", || cluster.try_client(&["squeue"]).ok());
    let took = struck.elapsed();
    println!("the controller answers {:.1} s after it was killed", took.as_secs_f64());
    stalls.assert_kept(SILENCE_MAX, took, "the controller was killed, and answered again after");
    // One that dies once more as soon as it is there takes nothing with it either.
    for daemon in ["slurmd", "slurmd", "munged"] {
        cluster.strike("worker1", daemon);
    }
    let of_slurmd = || cluster.job(&["-w", "worker2", "hostname"]).ok();
    assert_eq!(until("other jobs run", of_slurmd), "worker2\n");
    cluster.settle();
    // The controller's node is lost as a whole, and another attempt takes up its state.
    let struck = Instant::now();
    kill(&executor_of(&cluster.process("controller", "slurmctld")));
    until("the controller answers", || cluster.try_client(&["squeue"]).ok());
    println!("the controller answers {:.1} s after its executor was killed", struck.elapsed().as_secs_f64());
    cluster.reach(&job, "RUNNING");
    cluster.settle();
    cluster.release("worker1", &job);
    cluster.reach(&job, "COMPLETED");
    assert_eq!(cluster.printed("worker1", &job), "began\nended\n", "the job was begun again");

    // A worker is lost as a whole: its job is begun again, long before Slurm itself would notice.
    let job = cluster.submit("worker2", WAITS);
    until("the job runs", || cluster.has_printed("worker2", &job, "began").then_some(()));
    let (struck, stalls) = (Instant::now(), Stalls::watch());
    kill(&executor_of(&cluster.process("worker2", "slurmd")));
    // It may run again before anybody has seen it wait.
    let is_begun_again = || cluster.has_printed("worker2", &job, "began 1");
    until("the job is queued again", || (cluster.state(&job) == "PENDING" || is_begun_again()).then_some(()));
    let took = struck.elapsed();
    println!("the job is queued again after {:.1} s", took.as_secs_f64());
    stalls.assert_kept(REQUEUED_MAX, took, "a worker was lost, and its job queued again after");
    told_by_us(&cluster, "worker2", &job);
    until("the job runs again", || is_begun_again().then_some(()));
    println!("the job runs again after {:.1} s", struck.elapsed().as_secs_f64());
    cluster.release("worker2", &job);
    cluster.reach(&job, "COMPLETED");
    cluster.settle();
    assert_eq!(cluster.hosts(&["-N2"]), ["worker1", "worker2"]);
}

/// Waits until the controller has told why it begins a job again: it was told that the worker was down, by the cluster's script
/// or by the worker that began anew before the script could look. It has not found out by itself before that, which takes longer.
fn told_by_us(cluster: &Cluster<'_>, worker: &str, job: &str) {
    let lost = format!("requeue job JobId={job} due to failure of node {worker}");
    let said = until("the controller says why", || {
        let said = cluster.platform.run(&["node", "logs", &cluster.dn, "controller", "--stderr"]);
        said.contains(&lost).then_some(said)
    });
    let reasons = ["its node is lost", "started again"].map(|reason| format!("node {worker} reason set to: {reason}"));
    let before = said.split(&lost).next().unwrap();
    assert!(reasons.iter().any(|reason| before.contains(reason)), "{said}");
}

/// Waits until the controller's files know what is known now: what happened in its last seconds it may have kept to itself.
fn store(cluster: &Cluster<'_>) {
    let mark = cluster.client(&["sbatch", "--parsable", "--hold", "--job-name=a-mark-in-the-files", "--wrap", "true"]);
    let settings = until("the settings are told", || cluster.try_client(&["scontrol", "show", "config"]).ok());
    let folder = settings.lines().find(|line| line.starts_with("StateSaveLocation")).unwrap();
    let file = Path::new(folder.split_once("= ").unwrap().1.trim()).join("job_state");
    until("the controller stores its jobs", || {
        let stored = std::fs::read(&file).unwrap_or_default();
        String::from_utf8_lossy(&stored).contains("a-mark-in-the-files").then_some(())
    });
    cluster.client(&["scancel", mark.trim()]);
}

#[test]
fn workers_come_and_go_under_running_jobs() {
    let _alone = alone();
    let data = Data::new();
    let platform = data.up(&[]);
    let cluster = Cluster::launch(&data, &platform, 1);
    let stays = cluster.submit("worker1", WAITS);
    cluster.reach(&stays, "RUNNING");
    cluster.change(&["scale", "workers=3"]);
    assert_eq!(cluster.nodes(), ["controller", "worker1", "worker2", "worker3"]);
    assert_eq!(cluster.hosts(&["-N2"]), ["worker2", "worker3"]);

    let leaves = cluster.submit("worker3", WAITS);
    cluster.reach(&leaves, "RUNNING");
    platform.change(&["scale", &cluster.dn, "workers=1"]);
    until("worker3 is drained", || cluster.is("worker3", "draining")?.then_some(()));
    assert_eq!(cluster.nodes(), ["controller", "worker1", "worker2", "worker3"], "a worker left under its job");
    cluster.release("worker3", &leaves);
    cluster.reach(&leaves, "COMPLETED");
    until("the workers have left", || (cluster.nodes() == ["controller", "worker1"]).then_some(()));
    cluster.settle();
    cluster.reach(&stays, "RUNNING");
    cluster.release("worker1", &stays);
    cluster.reach(&stays, "COMPLETED");
    assert_eq!(cluster.printed("worker1", &stays), "began\nended\n", "the job was begun again");
    assert_eq!(cluster.hosts(&[]), ["worker1"]);
}

#[test]
fn sizes_of_workers_change_when_their_jobs_have_ended() {
    let _alone = alone();
    let data = Data::new();
    let platform = data.up(&[]);
    let cluster = Cluster::launch(&data, &platform, 2);
    let jobs = ["worker1", "worker2"].map(|worker| (worker, cluster.submit(worker, WAITS)));
    for (_, job) in &jobs {
        cluster.reach(job, "RUNNING");
    }
    until("it is said that a job is too large", || {
        let refused = cluster.job(&["--mem=144", "hostname"]).expect_err("a job has run that is too large");
        (refused.contains("not available") || refused.contains("can not be satisfied")).then_some(())
    });

    let operation = platform.change(&["upgrade", &cluster.dn, "mem=144"]).trim().to_owned();
    for (worker, job) in &jobs {
        until(&format!("{worker} is drained, and its job told of"), || {
            let steps = platform.run(&["operation", "show", &operation]);
            (cluster.is(worker, "draining")? && steps.contains(&format!("job {job}"))).then_some(())
        });
        cluster.reach(job, "RUNNING");
        // The one that has had its turn takes jobs of the new size, while the other one still waits for its own.
        if *worker == "worker2" {
            assert_eq!(cluster.hosts(&["--mem=144"]), ["worker1"]);
        }
        cluster.release(worker, job);
        cluster.reach(job, "COMPLETED");
    }
    platform.run(&["operation", "wait", &operation, "--timeout", "300"]);
    assert_eq!(cluster.hosts(&["-N2", "--mem=144"]), ["worker1", "worker2"]);
    for (worker, job) in &jobs {
        let record = until("the job is told of", || cluster.try_client(&["scontrol", "show", "job", job]).ok());
        assert!(record.contains("Restarts=0"), "{record}");
        assert_eq!(cluster.printed(worker, job), "began\nended\n", "the job was begun again");
    }
    cluster.settle();
}
