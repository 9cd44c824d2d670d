//! A simulated master: no Mesos, but its HTTP API as far as a restart goes. It takes SUBSCRIBE, answers every RECONCILE
//! with an update for each task, and offers nothing.

use actix_web::web::{Bytes, Data};
use actix_web::{App, HttpResponse, HttpServer, web};
use bigdata_framework::simulation::Filled;
use bigdata_mesos::recordio;
use bigdata_mesos::v1::scheduler::{Call, CallType, Event, EventType, Reconcile, Subscribed, Update};
use bigdata_mesos::v1::{Reason, Source, TaskState, TaskStatus};
use bigdata_mesos::{PROTOBUF, STREAM_ID};
use prost::Message;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::TcpListener;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;
use tokio::sync::mpsc::{self, error::TrySendError};

const FRAMEWORK: &str = "framework";
/// Of the update behind all answers.
const MARK: &[u8] = b"behind all that.";
/// Bytes that are written together.
const CHUNK: usize = 64 * 1024;
/// Such chunks that wait for the service: far more than the answers to all questions of a round.
const CHUNKS: usize = 65_536;
const BODY_MAX: usize = 64 * 1024 * 1024;

/// When something happened first.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Times {
    pub subscribed: Option<Instant>,
    pub first_asked: Option<Instant>,
    /// Every task was asked for.
    pub asked: Option<Instant>,
    /// The update behind all answers was acknowledged.
    pub answered: Option<Instant>,
}

struct State {
    agents: HashMap<String, String>,
    heard: Mutex<Heard>,
}

#[derive(Default)]
struct Heard {
    times: Times,
    stream: Option<mpsc::Sender<Bytes>>,
    asked: HashSet<String>,
    answers: usize,
    calls: BTreeMap<&'static str, usize>,
}

pub(crate) struct Master {
    state: Arc<State>,
    url: String,
    server: actix_web::dev::ServerHandle,
}

impl Drop for Master {
    fn drop(&mut self) {
        // The stream ends with the service; the rest needs no goodbye.
        drop(self.server.stop(false));
    }
}

impl Master {
    pub(crate) async fn start(filled: Arc<Filled>) -> Self {
        let state = Arc::new(State { agents: filled.tasks.iter().cloned().collect(), heard: Mutex::default() });
        let data = Data::from(Arc::clone(&state));
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("it has an address"));
        let server = HttpServer::new(move || {
            App::new()
                .app_data(data.clone())
                .app_data(web::PayloadConfig::new(BODY_MAX))
                .route("/api/v1/scheduler", web::post().to(called))
        });
        let server = server.workers(1).disable_signals().listen(listener).expect("the master listens").run();
        let handle = server.handle();
        tokio::spawn(server);
        Self { state, url, server: handle }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn times(&self) -> Times {
        self.state.heard().times
    }

    /// What was asked and answered, in words.
    pub(crate) fn said(&self) -> String {
        let heard = self.state.heard();
        format!("{} answers to {:?}", heard.answers, heard.calls)
    }
}

impl State {
    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().expect("no holder panics")
    }

    fn status(&self, task: &str) -> Option<TaskStatus> {
        let mut status = TaskStatus::new(task, TaskState::Running);
        status.agent_id = Some(self.agents.get(task)?.as_str().into());
        status.source = Some(Source::Master as i32);
        status.reason = Some(Reason::Reconciliation as i32);
        status.timestamp = Some(1_000.0);
        Some(status)
    }

    fn reconcile(&self, reconcile: Reconcile) {
        let named: Vec<String> = reconcile.tasks.into_iter().map(|task| task.task_id.value).collect();
        let all = named.is_empty();
        let asked: Vec<&str> = if all {
            self.agents.keys().map(String::as_str).collect()
        } else {
            named.iter().map(String::as_str).collect()
        };
        let mut heard = self.heard();
        heard.times.first_asked.get_or_insert_with(Instant::now);
        let mut chunk = Vec::with_capacity(CHUNK);
        for task in &asked {
            let Some(status) = self.status(task) else { continue };
            chunk.extend_from_slice(&update(status));
            if chunk.len() >= CHUNK {
                heard.write(std::mem::take(&mut chunk));
            }
        }
        heard.write(chunk);
        heard.answers += asked.len();
        if !all && heard.times.asked.is_none() {
            heard.asked.extend(named.iter().cloned());
            if heard.asked.len() == self.agents.len() {
                heard.times.asked = Some(Instant::now());
                let mut mark = self.status(&named[0]).expect("it was asked for");
                (mark.source, mark.reason, mark.uuid) = (Some(Source::Executor as i32), None, Some(MARK.to_vec()));
                heard.write(update(mark).to_vec());
            }
        }
    }
}

impl Heard {
    fn write(&self, bytes: Vec<u8>) {
        if let Some(stream) = self.stream.as_ref().filter(|_| !bytes.is_empty()) {
            let sent = stream.try_send(Bytes::from(bytes));
            // A service that was killed reads no more.
            assert!(!matches!(sent, Err(TrySendError::Full(_))), "the service reads nothing");
        }
    }
}

fn update(status: TaskStatus) -> Bytes {
    let update = Some(Update { status });
    recordio::encode_message(&Event { r#type: Some(EventType::Update as i32), update, ..Event::default() })
}

async fn called(body: Bytes, state: Data<State>) -> HttpResponse {
    let Ok(call) = Call::decode(body) else { return HttpResponse::BadRequest().finish() };
    let kind = call.r#type.and_then(|number| CallType::try_from(number).ok()).unwrap_or(CallType::Unknown);
    *state.heard().calls.entry(kind.as_str()).or_insert(0) += 1;
    match kind {
        CallType::Subscribe => return subscribed(&state),
        CallType::Reconcile => state.reconcile(call.reconcile.unwrap_or_default()),
        CallType::Acknowledge if call.acknowledge.is_some_and(|acknowledge| acknowledge.uuid == MARK) => {
            state.heard().times.answered.get_or_insert_with(Instant::now);
        }
        _ => {}
    }
    HttpResponse::Accepted().finish()
}

fn subscribed(state: &State) -> HttpResponse {
    let (sender, receiver) = mpsc::channel(CHUNKS);
    let subscribed = Some(Subscribed {
        framework_id: FRAMEWORK.into(),
        // Longer than a round: none is missed.
        heartbeat_interval_seconds: Some(3600.0),
        master_info: None,
    });
    let first = Event { r#type: Some(EventType::Subscribed as i32), subscribed, ..Event::default() };
    let mut heard = state.heard();
    heard.stream = Some(sender);
    heard.write(recordio::encode_message(&first).to_vec());
    heard.times.subscribed.get_or_insert_with(Instant::now);
    let events = futures_util::stream::unfold(receiver, async |mut receiver: mpsc::Receiver<Bytes>| {
        let bytes = receiver.recv().await?;
        Some((Ok::<_, std::convert::Infallible>(bytes), receiver))
    });
    HttpResponse::Ok().insert_header((STREAM_ID, "stream")).content_type(PROTOBUF).streaming(events)
}
