//! A client that writes numbered rows all the while, wherever the writer's endpoint is, and records what was acknowledged.

use crate::support::{get, until};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long an acknowledgement is awaited before the endpoint is looked up again.
const PATIENCE: Duration = Duration::from_millis(200);
/// The pause after a try that failed: a client is a process, and more of them than needed would keep the machine from the rest.
const PAUSE: Duration = Duration::from_millis(50);
/// Seconds until the writer gives a connection up, and looks for another server.
const SESSION_CONNECT_LIMIT: u32 = 2;
/// Seconds until single statements do.
const CONNECT_LIMIT: u32 = 20;

/// Where and as whom it writes.
#[derive(Clone)]
pub(crate) struct Target {
    /// Where the platform is asked, any of them.
    pub(crate) gateways: Vec<SocketAddr>,
    pub(crate) cluster: String,
    pub(crate) user: String,
    pub(crate) password: String,
}

impl Target {
    pub(crate) fn new(gateways: Vec<SocketAddr>, cluster: &str, user: &str, password: &str) -> Self {
        let (cluster, user, password) = (cluster.to_owned(), user.to_owned(), password.to_owned());
        Self { gateways, cluster, user, password }
    }

    /// Where an endpoint is now.
    pub(crate) fn endpoint(&self, name: &str) -> Option<SocketAddr> {
        let path = format!("/bigdata/api/v1/{}/endpoints", self.cluster);
        let list = self.gateways.iter().find_map(|gateway| get(*gateway, &path))?;
        let endpoint = list["endpoints"].as_array()?.iter().find(|endpoint| endpoint["name"] == name)?;
        endpoint["url"].as_str()?.strip_prefix("mysql://")?.trim_end_matches('/').parse().ok()
    }

    /// Where an endpoint is, as soon as the platform tells it.
    pub(crate) fn endpoint_now(&self, name: &str) -> SocketAddr {
        until(&format!("the endpoint {name} is told"), || self.endpoint(name))
    }

    /// A client there, by a command that takes its words.
    fn client_by(&self, mut command: Command, server: SocketAddr, connect_limit: u32) -> Command {
        command.args(["--no-defaults", "--protocol=tcp", "--batch", "--skip-column-names"]);
        command.arg(format!("--connect-timeout={connect_limit}"));
        command.args([format!("--host={}", server.ip()), format!("--port={}", server.port())]);
        command.arg("--unbuffered").arg(format!("--user={}", self.user)).env("MYSQL_PWD", &self.password);
        command.stderr(Stdio::null());
        command
    }

    /// Runs statements that may be run again at the writer's endpoint, wherever that is, until they succeed.
    pub(crate) fn run_at_primary(&self, statements: &str) -> String {
        until("the primary answers", || self.run(self.endpoint("primary")?, statements))
    }

    /// Runs statements; what they answer, or None where that did not work.
    pub(crate) fn run(&self, server: SocketAddr, statements: &str) -> Option<String> {
        self.run_by(Command::new("mariadb"), server, statements)
    }

    /// The same by a command that takes the client's words.
    pub(crate) fn run_by(&self, command: Command, server: SocketAddr, statements: &str) -> Option<String> {
        let output = self.client_by(command, server, CONNECT_LIMIT).args(["-e", statements]).output().unwrap();
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap().trim_end().to_owned())
    }
}

/// The writer at work.
pub(crate) struct Writer {
    acknowledged: Arc<Mutex<Vec<(u64, Instant)>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Begins with this number.
    pub(crate) fn start(target: Target, first: u64) -> Self {
        let acknowledged = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let (acks, end) = (Arc::clone(&acknowledged), Arc::clone(&stop));
        let thread = Some(std::thread::spawn(move || write_rows(&target, first, &acks, &end)));
        Self { acknowledged, stop, thread }
    }

    /// How many rows are acknowledged.
    pub(crate) fn count(&self) -> usize {
        self.acknowledged.lock().unwrap().len()
    }

    /// The longest time between two acknowledgements since then.
    pub(crate) fn longest_gap(&self, since: Instant) -> Duration {
        let times: Vec<Instant> = self.acknowledged.lock().unwrap().iter().map(|(_, at)| *at).collect();
        let gaps = times.windows(2).filter(|pair| pair[1] >= since).map(|pair| pair[1] - pair[0]);
        gaps.max().unwrap_or_default()
    }

    /// Ends it; the rows that were acknowledged.
    pub(crate) fn end(mut self) -> BTreeSet<u64> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
        self.acknowledged.lock().unwrap().iter().map(|(number, _)| *number).collect()
    }
}

impl Drop for Writer {
    /// The writer of a test that failed would be in the way of the next.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn write_rows(target: &Target, first: u64, acknowledged: &Mutex<Vec<(u64, Instant)>>, stop: &AtomicBool) {
    let mut session: Option<Session> = None;
    let mut number = first;
    while !stop.load(Ordering::Relaxed) {
        let Some(open) = session.as_mut() else {
            session = target.endpoint("primary").map(|server| Session::open(target, server));
            if session.is_none() {
                std::thread::park_timeout(PAUSE);
            }
            continue;
        };
        if open.write(target, number) {
            acknowledged.lock().unwrap().push((number, Instant::now()));
        } else {
            session = None;
            std::thread::park_timeout(PAUSE);
        }
        // What was not acknowledged may be there or not: its number is not used again.
        number += 1;
    }
}

/// One client's connection.
struct Session {
    server: SocketAddr,
    client: Child,
    input: ChildStdin,
    answers: Receiver<String>,
}

impl Session {
    fn open(target: &Target, server: SocketAddr) -> Self {
        let mut client = target.client_by(Command::new("mariadb"), server, SESSION_CONNECT_LIMIT);
        let mut client = client.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(client.stdout.take().unwrap());
        let (sender, answers) = channel();
        // Ends with the client, whose output it reads.
        std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let input = client.stdin.take().unwrap();
        Self { server, client, input, answers }
    }

    /// Whether the row was acknowledged. Waits as long as the server is the writer.
    fn write(&mut self, target: &Target, number: u64) -> bool {
        let statements =
            format!("INSERT INTO test.numbers VALUES ({number}, SHA2('{number}', 256)); SELECT {number};\n");
        if self.input.write_all(statements.as_bytes()).and_then(|()| self.input.flush()).is_err() {
            return false;
        }
        loop {
            match self.answers.recv_timeout(PATIENCE) {
                Ok(answer) => return answer == number.to_string(),
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => return false,
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {
                    if target.endpoint("primary").is_some_and(|server| server != self.server) {
                        return false;
                    }
                }
            }
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.client.kill();
        let _ = self.client.wait();
    }
}
