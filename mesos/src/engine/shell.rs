//! The engine's hands: takes inputs in, makes changes durable, then answers and does what the core wants done.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use nix::fcntl::Flock;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::sleep_until;

use super::backlog::Stream;
use super::checkpoint::Log;
use super::core::{Core, Step};
use super::effects::{Answer, Config, Connection, Input, Now, Output, Refusal};
use super::files::Files;
use super::launcher::Launcher;
use super::opening::{find, identity, lock};
use super::records::{ExecutorRecord, Process};
use super::{EngineError, Settings, Shutdown, machine, process, remains, state};
use crate::recordio;
use crate::resources::Resources;
use crate::v1::AgentId;

/// Inputs that wait.
const QUEUE: usize = 1024;
/// Inputs that are stored together.
const BATCH: usize = 64;
/// How often a process that is not a child of this one is looked at; often, for a while, after a stream has ended.
const WATCH_INTERVAL: Duration = Duration::from_secs(5);
const WATCH_CLOSELY: Duration = Duration::from_millis(20);
/// How much longer than any grace period an orderly end may take. Containers are removed in it, which an engine that is busy is
/// slow at; what ends sooner is not waited for.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// To the shell.
#[derive(Debug)]
pub(crate) enum Message {
    Input(Input),
    /// A call; its answer is given once it is durable.
    Call(Input, oneshot::Sender<Answer>),
    /// A subscription and where its events go.
    Subscribe(Connection, Stream, Input, oneshot::Sender<Answer>),
    /// The state for people.
    State(oneshot::Sender<serde_json::Value>),
    Shutdown(Shutdown),
}

#[derive(Debug)]
pub(crate) struct Shell {
    core: Core,
    log: Option<Log>,
    files: Files,
    launcher: Launcher,
    streams: HashMap<Connection, Stream>,
    /// A stream has ended: maybe its executor has.
    stream_ended: Arc<Notify>,
    inbox: mpsc::Receiver<Message>,
    sender: mpsc::Sender<Message>,
    began: Instant,
    agent_id: AgentId,
    /// Set while the executors are being ended: until then at most.
    stop_by: Option<Instant>,
    _lock: Flock<File>,
}

impl Shell {
    /// Opens the work directory and finds what an earlier engine left. The step is the first to be performed.
    pub(crate) fn open(settings: &Settings, address: SocketAddr) -> Result<(Self, Step), EngineError> {
        let fault = |error| EngineError::WorkDir(settings.work_dir.clone(), error);
        std::fs::create_dir_all(&settings.work_dir).map_err(fault)?;
        let work_dir = settings.work_dir.canonicalize().map_err(fault)?;
        let lock = lock(&work_dir).map_err(fault)?;
        let lock = lock.ok_or_else(|| EngineError::InUse(settings.work_dir.clone()))?;
        let files = Files::new(work_dir.clone());
        let log = Log::open(&files.state())?;
        let identity = identity(&log)?;
        let config = Config {
            agent_id: identity.agent_id.as_str().into(),
            master_id: identity.master_id.clone(),
            hostname: settings.hostname.clone(),
            address,
            attributes: settings.attributes.clone(),
            principal: settings.credential.as_ref().map(|(principal, _)| principal.clone()),
            timing: settings.timing,
        };
        let mut given = match &settings.resources {
            Some(resources) => Resources::from(&resources[..]),
            None => machine::resources(&work_dir, &settings.ports),
        };
        for path in &settings.mounted_disks {
            let disk = machine::mounted_disk(path);
            given.add(&disk.map_err(|error| EngineError::Disk(path.clone(), error))?);
        }
        let agent_id = config.agent_id.clone();
        let launcher = Launcher::new(settings, files.clone(), address, agent_id.clone());
        let began = Instant::now();
        let alive = |record: &ExecutorRecord| find(record, &files);
        let (core, first) = Core::recover(config, identity, &given, log.entries(), alive, now(began))?;
        for leftover in files.leftovers() {
            remove_in_background(leftover);
        }
        let (sender, inbox) = mpsc::channel(QUEUE);
        let shell = Shell {
            core,
            log: Some(log),
            files,
            launcher,
            streams: HashMap::new(),
            stream_ended: Arc::new(Notify::new()),
            inbox,
            sender,
            began,
            agent_id,
            stop_by: None,
            _lock: lock,
        };
        Ok((shell, first))
    }

    pub(crate) fn messages(&self) -> mpsc::Sender<Message> {
        self.sender.clone()
    }

    pub(crate) fn agent_id(&self) -> &AgentId {
        &self.agent_id
    }

    /// Works until it is told to end, or cannot store its state.
    pub(crate) async fn run(mut self, first: Step) {
        let mut steps = vec![first];
        let mut answers = Vec::new();
        loop {
            if let Err(error) = self.perform(&mut steps, &mut answers).await {
                // Nothing may be done that is not stored: the next engine would not know of it.
                tracing::error!(%error, "the engine ends: its state cannot be stored");
                return;
            }
            let message = match self.next().await {
                Some(Message::Shutdown(Shutdown::KeepExecutors)) | None => return,
                Some(message) => message,
            };
            self.take(message, &mut steps, &mut answers);
            while steps.len() < BATCH
                && let Ok(message) = self.inbox.try_recv()
            {
                if matches!(message, Message::Shutdown(Shutdown::KeepExecutors)) {
                    return;
                }
                self.take(message, &mut steps, &mut answers);
            }
        }
    }

    /// The next message, a tick when it is time, or `None` when the executors have ended as was wanted.
    async fn next(&mut self) -> Option<Message> {
        if let Some(stop_by) = self.stop_by
            && (self.core.agent.executors().next().is_none() || Instant::now() >= stop_by)
        {
            return None;
        }
        // Deadlines are not looked for while there is something to do: a step looks after those that have passed.
        if let Ok(message) = self.inbox.try_recv() {
            return Some(message);
        }
        let tick = self.core.deadline().and_then(|at| self.began.checked_add(at));
        let deadline = tick.into_iter().chain(self.stop_by).min();
        let Some(deadline) = deadline else { return self.inbox.recv().await };
        tokio::select! {
            biased;
            message = self.inbox.recv() => message,
            () = sleep_until(deadline.into()) => Some(Message::Input(Input::Tick)),
        }
    }

    fn take(&mut self, message: Message, steps: &mut Vec<Step>, answers: &mut Vec<(oneshot::Sender<Answer>, Answer)>) {
        let now = now(self.began);
        let (input, reply) = match message {
            Message::Input(input) => (input, None),
            Message::Call(input, reply) => (input, Some(reply)),
            Message::Subscribe(connection, stream, input, reply) => {
                self.streams.insert(connection, stream);
                (input, Some(reply))
            }
            Message::State(reply) => {
                // Nobody waits any more where this fails.
                let _ = reply.send(state::describe(&self.core, now));
                return;
            }
            Message::Shutdown(_) => {
                let grace = self.core.agent.longest_grace();
                self.stop_by = Some(Instant::now() + grace + STOP_LIMIT);
                (Input::StopExecutors, None)
            }
        };
        if let Input::Closed(connection) = input {
            self.streams.remove(&connection);
            self.stream_ended.notify_waiters();
        }
        let (answer, step) = self.core.step(input, now);
        steps.push(step);
        answers.extend(reply.map(|reply| (reply, answer)));
    }

    /// Stores the steps' changes, then answers, then does what is to be done.
    async fn perform(
        &mut self,
        steps: &mut Vec<Step>,
        answers: &mut Vec<(oneshot::Sender<Answer>, Answer)>,
    ) -> io::Result<()> {
        let mut changes = Vec::new();
        let mut outputs = Vec::new();
        for step in steps.drain(..) {
            changes.extend(step.changes);
            outputs.extend(step.outputs);
        }
        if !changes.is_empty() {
            let mut log = self.log.take().ok_or_else(|| io::Error::other("the log is lost"))?;
            let committed = tokio::task::spawn_blocking(move || {
                let result = log.commit(changes);
                (log, result)
            });
            let (log, result) = committed.await.map_err(io::Error::other)?;
            self.log = Some(log);
            result?;
        }
        for (reply, answer) in answers.drain(..) {
            // The caller may be gone.
            let _ = reply.send(answer);
        }
        for output in outputs {
            let forks = matches!(output, Output::Launch(_));
            self.act(output);
            if forks {
                // A process takes a millisecond or two to start; others may go on between two of them.
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }

    fn act(&mut self, output: Output) {
        match output {
            Output::ToScheduler(connection, event) => {
                self.send(connection, recordio::encode_message(&*event));
            }
            Output::ToExecutor(connection, event) => {
                self.send(connection, recordio::encode_message(&*event));
            }
            Output::Deliver { connection, container, links, event } => {
                let sandbox = self.files.sandbox(&container);
                let linked = links.iter().try_for_each(|volume| self.files.link(&sandbox, volume));
                match linked {
                    Ok(()) => self.send(connection, recordio::encode_message(&*event)),
                    Err(error) => self
                        .tell(Input::VolumeFailed { container_id: container.container_id, reason: error.to_string() }),
                }
            }
            Output::Close(connection) => {
                self.streams.remove(&connection);
            }
            Output::Launch(executor) => self.launch(&executor),
            Output::Watch { container_id, process, grace } => self.watch(container_id, process, grace),
            Output::Resume(process) => {
                tokio::task::spawn_blocking(move || process::resume_session(&process));
            }
            Output::Kill(process) => {
                tokio::task::spawn_blocking(move || process::kill_session(&process));
            }
            Output::CreateVolume { role, id, root } => {
                if let Err(error) = self.files.create_volume(&role, &id, root.as_deref()) {
                    tracing::error!(role, id, %error, "a volume cannot be made yet; its first task makes it");
                }
            }
            Output::RemoveVolume { role, id } => match self.files.discard_volume(&role, &id) {
                Ok(discarded) => {
                    discarded.into_iter().for_each(remove_in_background);
                    self.tell(Input::VolumeRemoved { role, id });
                }
                Err(error) => tracing::error!(role, id, %error, "a volume's data is left until the next start"),
            },
            Output::RemoveSandbox(executor) => {
                let files = self.files.clone();
                tokio::task::spawn_blocking(move || {
                    if let Err(error) = files.remove_sandbox(&executor) {
                        tracing::warn!(%error, "a sandbox is left behind");
                    }
                });
            }
        }
    }

    /// A subscriber that does not read what it is sent is cut off; it comes back and hears what it must.
    fn send(&mut self, connection: Connection, record: Bytes) {
        let Some(stream) = self.streams.get(&connection) else { return };
        if !stream.send(record) {
            tracing::warn!(?connection, "a subscriber does not keep up and is cut off");
            self.streams.remove(&connection);
        }
    }

    /// An input of the shell's own. The queue may be full of callers, who are answered by this very task.
    fn tell(&self, input: Input) {
        let sender = self.sender.clone();
        tokio::spawn(async move { sender.send(Message::Input(input)).await });
    }

    fn launch(&self, executor: &ExecutorRecord) {
        let container_id = executor.container_id.clone();
        let grace = self.launcher.grace(executor);
        match self.launcher.launch(executor) {
            Ok((process, mut child)) => {
                let sender = self.sender.clone();
                tokio::spawn(async move {
                    let started = Input::Started { container_id: container_id.clone(), process };
                    // Errors say that the engine has ended.
                    let _ = sender.send(Message::Input(started)).await;
                    let status = child.wait().await.ok();
                    let status = status.map(std::os::unix::process::ExitStatusExt::into_raw);
                    remains::end(&container_id, &process, grace).await;
                    let ended = Input::Ended { container_id, status };
                    let _ = sender.send(Message::Input(ended)).await;
                });
            }
            Err(error) => self.tell(Input::LaunchFailed { container_id, reason: error.to_string() }),
        }
    }

    /// Waits for the end of a process that an earlier engine started.
    fn watch(&self, container_id: String, process: Process, grace: Duration) {
        let sender = self.sender.clone();
        let stream_ended = Arc::clone(&self.stream_ended);
        tokio::spawn(async move {
            let mut interval = WATCH_INTERVAL;
            while process::is_alive(&process) {
                tokio::select! {
                    () = tokio::time::sleep(interval) => interval = (interval * 2).min(WATCH_INTERVAL),
                    () = stream_ended.notified() => interval = WATCH_CLOSELY,
                    () = sender.closed() => return,
                }
            }
            remains::end(&container_id, &process, grace).await;
            let status = None;
            let _ = sender.send(Message::Input(Input::Ended { container_id, status })).await;
        });
    }
}

/// Both clocks.
fn now(began: Instant) -> Now {
    Now { elapsed: began.elapsed(), unix: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() }
}

/// Removes a directory that nobody knows by this name; what is left is removed at the next start.
fn remove_in_background(path: std::path::PathBuf) {
    std::thread::spawn(move || {
        if let Err(error) = std::fs::remove_dir_all(&path) {
            tracing::warn!(?path, %error, "data of a destroyed volume is left behind");
        }
    });
}

impl From<oneshot::error::RecvError> for Refusal {
    fn from(_: oneshot::error::RecvError) -> Self {
        Refusal::with_status(503, "The engine ends")
    }
}
