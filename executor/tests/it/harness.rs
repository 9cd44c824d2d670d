//! A node under test: the executor's process, its agent and framework, and a caller of its control channel.

use crate::platform::{Enrolment, Platform};
use bigdata_common::blueprint::Node as Blueprint;
use bigdata_common::event::AttemptRef;
use bigdata_common::internal::{ExecFrame, NodeReport, NodeSpecification, Secrets, TaskData};
use bigdata_common::{AttemptId, Name, Timestamp};
use bigdata_executor::token::ControlKey;
use bigdata_mesos::v1::{TaskInfo, TaskState, TaskStatus};
use indexmap::IndexMap;
use reqwest::Method;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

/// The longest wait for anything.
pub(crate) const DEADLINE: Duration = Duration::from_secs(90);
/// The pause between two looks: what is looked for needs the processors, too.
pub(crate) const PAUSE: Duration = Duration::from_millis(20);
const KEY: &[u8] = b"the control channel's key";

pub(crate) struct Node {
    pub(crate) platform: Arc<Platform>,
    pub(crate) attempt: AttemptId,
    pub(crate) directory: TempDir,
    pub(crate) executor: Child,
    pub(crate) server: JoinSet<()>,
    agent: String,
    client: reqwest::Client,
}

/// A node by its blueprint in JSON; `cpu` and `mem` are filled in.
pub(crate) fn blueprint(json: serde_json::Value) -> Blueprint {
    let mut document = serde_json::json!({ "cpu": 0.1, "mem": 512 });
    document.as_object_mut().unwrap().extend(json.as_object().unwrap().clone());
    serde_json::from_value(document).unwrap()
}

pub(crate) fn specification(blueprint: Blueprint, attempt: AttemptId) -> NodeSpecification {
    let name = |text: &str| text.parse::<Name>().unwrap();
    NodeSpecification {
        cluster: "clusters--alice--demo--1__0--1".parse().unwrap(),
        dnsname: "demo.local".into(),
        node: name("node0"),
        attempt: AttemptRef { id: attempt, number: 1 },
        ports: blueprint.ports.iter().map(|(name, port)| (name.clone(), port.port)).collect(),
        blueprint,
        address: "127.0.0.1".into(),
        interfaces: Vec::new(),
        peers: IndexMap::from([(name("node0"), "127.0.0.1".into()), (name("peer"), "127.0.0.9".into())]),
        secrets: Secrets(IndexMap::from([("password".into(), "s3cret".into())])),
        uid: nix::unistd::geteuid().is_root().then_some(32_101),
        control_key: base64(KEY),
    }
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn program() -> PathBuf {
    env!("CARGO_BIN_EXE_bigdata-executor").into()
}

impl Node {
    pub(crate) async fn launch(json: serde_json::Value) -> Self {
        let attempt = AttemptId(Uuid::new_v4());
        let node = specification(blueprint(json), attempt);
        Self::enrolled(attempt, Enrolment::Accept(Box::new(node)), "15mins").await
    }

    /// A node with this address.
    pub(crate) async fn at(address: &str, json: serde_json::Value) -> Self {
        let attempt = AttemptId(Uuid::new_v4());
        let node = NodeSpecification { address: address.to_owned(), ..specification(blueprint(json), attempt) };
        Self::enrolled(attempt, Enrolment::Accept(Box::new(node)), "15mins").await
    }

    pub(crate) async fn enrolled(attempt: AttemptId, answer: Enrolment, recovery_timeout: &str) -> Self {
        Self::enrolled_after("", attempt, answer, recovery_timeout).await
    }

    /// A node that is told of other frameworks (`http://…,`) before the one that takes it in.
    pub(crate) async fn enrolled_after(
        others: &str,
        attempt: AttemptId,
        answer: Enrolment,
        recovery_timeout: &str,
    ) -> Self {
        Self::begun((others, recovery_timeout), attempt, answer, &[]).await
    }

    /// A node whose executor has these variables, too.
    pub(crate) async fn with(variables: &[(&'static str, PathBuf)], attempt: AttemptId, answer: Enrolment) -> Self {
        Self::begun(("", "15mins"), attempt, answer, variables).await
    }

    async fn begun(
        (others, recovery_timeout): (&str, &str),
        attempt: AttemptId,
        answer: Enrolment,
        variables: &[(&'static str, PathBuf)],
    ) -> Self {
        let (platform, address, server) = Platform::serve(answer, TaskInfo::default()).await;
        let data = TaskData { framework: format!("{others}http://{address}"), attempt, token: "one-time".into() };
        platform.set_task(TaskInfo {
            name: "node0".into(),
            task_id: attempt.to_string().into(),
            agent_id: "agent-1".into(),
            data: Some(serde_json::to_vec(&data).unwrap()),
            labels: Some([("bigdata_registry", "test")].into_iter().collect()),
            ..TaskInfo::default()
        });
        let directory = tempfile::tempdir().unwrap();
        let executor = start(directory.path(), &address.to_string(), attempt, recovery_timeout, variables);
        // Every test of this process chooses; only the first choice counts.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .danger_accept_invalid_certs(true)
            .tls_info(true)
            .no_proxy()
            .timeout(DEADLINE)
            .build()
            .unwrap();
        Self { platform, attempt, directory, executor, server, agent: address.to_string(), client }
    }

    /// Another executor in the same folder, as if the first one had been started again.
    pub(crate) async fn start_again(&mut self) {
        self.executor.start_kill().unwrap();
        self.executor.wait().await.unwrap();
        self.platform.forget(&self.agent).await;
        self.executor = start(self.directory.path(), &self.agent, self.attempt, "15mins", &[]);
    }

    /// The first status that fits, from the node's beginning on.
    pub(crate) async fn wait(
        &self,
        what: &str,
        fits: impl Fn(&TaskStatus, &NodeReport) -> bool,
    ) -> (TaskStatus, NodeReport) {
        let mut updates = self.platform.updates.subscribe();
        let find = |seen: &[TaskStatus]| {
            seen.iter().map(|status| (status.clone(), report(status))).find(|(status, report)| fits(status, report))
        };
        let found = timeout(DEADLINE, updates.wait_for(|seen| find(seen).is_some())).await;
        match found {
            Ok(seen) => find(&seen.unwrap()).unwrap(),
            Err(_) => panic!("no status that is {what}, but {:#?}\n{}", self.platform.updates.borrow(), self.said()),
        }
    }

    pub(crate) async fn wait_for(&self, state: TaskState) -> (TaskStatus, NodeReport) {
        self.wait(state.as_str(), |status, _| status.state == state as i32).await
    }

    /// What the executor itself wrote.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("executor.log")).unwrap_or_default()
    }

    /// Kills the task, and checks that nothing of it is left and the executor ends well.
    pub(crate) async fn kill(&mut self, grace: Duration) {
        self.platform.kill(grace).await;
        self.wait_for(TaskState::Killed).await;
        self.over().await;
    }

    /// Checks that nothing of the node is left and the executor ends well.
    pub(crate) async fn over(&mut self) {
        assert_eq!(self.processes(), Vec::<String>::new());
        let status = timeout(DEADLINE, self.executor.wait()).await.expect("the executor ends").unwrap();
        assert!(status.success(), "{status}\n{}", self.said());
    }

    /// Waits until the executor has ended by itself, and checks that nothing of the node is left.
    pub(crate) async fn over_after_orphaning(&mut self) {
        let status = timeout(DEADLINE, self.executor.wait()).await.expect("the executor ends").unwrap();
        assert!(status.success(), "{status}\n{}", self.said());
        assert_eq!(self.processes(), Vec::<String>::new());
    }

    /// The names of the node's living processes.
    pub(crate) fn processes(&self) -> Vec<String> {
        let attempt = self.attempt.to_string();
        let found = bigdata_sandbox::processes_with_environment("BIGDATA_NODE_ATTEMPT", &attempt).unwrap();
        found.into_iter().map(|process| process.name).collect()
    }

    /// Waits until so many of them are to be seen: a program that was just begun has no environment for a moment.
    pub(crate) async fn wait_for_processes(&self, count: usize) {
        self.wait_for_a_number_of_processes(|found| found == count).await;
    }

    /// The same until their number fits.
    pub(crate) async fn wait_for_a_number_of_processes(&self, fits: impl Fn(usize) -> bool) {
        let appearing = async {
            while !fits(self.processes().len()) {
                sleep(PAUSE).await;
            }
        };
        timeout(DEADLINE, appearing).await.unwrap_or_else(|_| panic!("these processes: {:?}", self.processes()));
    }

    /// How often the executor's main thread has slept and been woken.
    pub(crate) fn wake_ups(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.executor.id().unwrap())).unwrap();
        let switches = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        switches.unwrap().trim().parse().unwrap()
    }

    pub(crate) fn token(&self, key: &[u8], seconds: i64) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        let expiry = Timestamp::from_millis(i64::try_from(now).unwrap() + seconds * 1000);
        ControlKey::new(key.to_vec()).mint(self.attempt, expiry, &"alice".parse().unwrap())
    }

    pub(crate) async fn control(&self, method: Method, path: &str, body: impl Into<reqwest::Body>) -> (u16, String) {
        let response = self.request(method, path, &self.token(KEY, 600)).body(body).send().await.unwrap();
        let certificate = response.extensions().get::<reqwest::tls::TlsInfo>().unwrap().peer_certificate().unwrap();
        let fingerprint: String = Sha256::digest(certificate).iter().map(|byte| format!("{byte:02x}")).collect();
        let enrolled = self.platform.enrolments.borrow().last().unwrap().fingerprint.clone();
        assert_eq!(fingerprint, enrolled, "the certificate is the enrolled one");
        (response.status().as_u16(), response.text().await.unwrap())
    }

    pub(crate) fn request(&self, method: Method, path: &str, token: &str) -> reqwest::RequestBuilder {
        let control = self.platform.enrolments.borrow().last().unwrap().control.clone();
        self.client.request(method, format!("https://{control}{path}")).bearer_auth(token)
    }

    pub(crate) fn own_token(&self) -> String {
        self.token(KEY, 600)
    }

    /// Runs a command in the node; what it wrote to standard output and error, and its last frame.
    pub(crate) async fn exec(&self, request: serde_json::Value) -> (String, String, ExecFrame) {
        let (status, text) = self.control(Method::POST, "/v1/exec", request.to_string()).await;
        assert_eq!(status, 200, "{text}");
        let (mut stdout, mut stderr, mut last) = (String::new(), String::new(), None);
        for line in text.lines() {
            assert_eq!(last, None, "nothing follows the last frame");
            match serde_json::from_str(line).unwrap() {
                ExecFrame::Stdout(piece) => stdout.push_str(&decoded(&piece)),
                ExecFrame::Stderr(piece) => stderr.push_str(&decoded(&piece)),
                frame => last = Some(frame),
            }
        }
        (stdout, stderr, last.expect("a last frame"))
    }

    /// Asks again and again until the answer fits.
    pub(crate) async fn poll(&self, path: &str, fits: impl Fn(&str) -> bool) -> String {
        let asking = async {
            loop {
                let (_, text) = self.control(Method::GET, path, "").await;
                if fits(&text) {
                    return text;
                }
                sleep(PAUSE).await;
            }
        };
        timeout(DEADLINE, asking).await.unwrap_or_else(|_| panic!("{path} never answered as it should"))
    }
}

fn decoded(piece: &str) -> String {
    use base64::Engine as _;
    String::from_utf8(base64::engine::general_purpose::STANDARD.decode(piece).unwrap()).unwrap()
}

pub(crate) fn report(status: &TaskStatus) -> NodeReport {
    status.data.as_deref().map_or_else(NodeReport::default, |data| serde_json::from_slice(data).unwrap())
}

fn start(
    directory: &Path,
    agent: &str,
    attempt: AttemptId,
    recovery_timeout: &str,
    variables: &[(&'static str, PathBuf)],
) -> Child {
    let log = std::fs::OpenOptions::new().create(true).append(true).open(directory.join("executor.log")).unwrap();
    Command::new(program())
        .env_clear()
        .envs([
            ("MESOS_AGENT_ENDPOINT", agent),
            ("MESOS_FRAMEWORK_ID", "framework-1"),
            ("MESOS_EXECUTOR_ID", &attempt.to_string()),
            ("MESOS_DIRECTORY", directory.to_str().unwrap()),
            ("MESOS_CHECKPOINT", "1"),
            ("MESOS_RECOVERY_TIMEOUT", recovery_timeout),
        ])
        .envs(crate::engine::variables())
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}", program().display()))
}
