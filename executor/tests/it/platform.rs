//! The two that an executor talks to: a Mesos agent and the framework, over real HTTP, driven by the test.

use crate::harness::DEADLINE;
use bigdata_common::internal::{EnrolRequest, NodeSpecification};
use bigdata_mesos::recordio;
use bigdata_mesos::v1::executor::{Acknowledged, Call, CallType, Event, EventType, Kill, Launch, Subscribed};
use bigdata_mesos::v1::{AgentInfo, ExecutorInfo, FrameworkInfo, KillPolicy, TaskInfo, TaskStatus};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::collections::HashSet;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// How the framework answers an enrolment.
pub(crate) enum Enrolment {
    Accept(Box<NodeSpecification>),
    Refuse(u16, String),
}

/// Everything that happened, and the answers to come.
pub(crate) struct Platform {
    pub(crate) enrolments: watch::Sender<Vec<EnrolRequest>>,
    pub(crate) updates: watch::Sender<Vec<TaskStatus>>,
    pub(crate) subscriptions: watch::Sender<u32>,
    /// Who is connected.
    connected: watch::Sender<HashSet<SocketAddr>>,
    answer: Mutex<Enrolment>,
    task: Mutex<TaskInfo>,
    events: Mutex<Option<mpsc::Sender<Event>>>,
}

/// Somebody who is connected, until this is dropped.
struct Connected {
    platform: Arc<Platform>,
    peer: SocketAddr,
}

impl Connected {
    fn new(platform: &Arc<Platform>, peer: SocketAddr) -> Self {
        platform.connected.send_if_modified(|all| all.insert(peer));
        Self { platform: Arc::clone(platform), peer }
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.platform.connected.send_if_modified(|all| all.remove(&self.peer));
    }
}

impl Platform {
    /// Serves on a port of its own until the returned set is dropped.
    pub(crate) async fn serve(answer: Enrolment, task: TaskInfo) -> (Arc<Self>, SocketAddr, JoinSet<()>) {
        let platform = Arc::new(Self {
            enrolments: watch::Sender::default(),
            updates: watch::Sender::default(),
            subscriptions: watch::Sender::default(),
            connected: watch::Sender::default(),
            answer: Mutex::new(answer),
            task: Mutex::new(task),
            events: Mutex::new(None),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        let served = Arc::clone(&platform);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, peer)) = listener.accept().await {
                let platform = Arc::clone(&served);
                let connected = Connected::new(&served, peer);
                let service = service_fn(move |request| {
                    let platform = Arc::clone(&platform);
                    async move { Ok::<_, Infallible>(platform.answer(request).await) }
                });
                connections.spawn(async move {
                    let _connected = connected;
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        (platform, address, tasks)
    }

    /// The task's data must name the server's address, which is known only when it serves.
    pub(crate) fn set_task(&self, task: TaskInfo) {
        *self.task.lock().unwrap() = task;
    }

    /// How enrolments are answered from now on.
    pub(crate) fn set_answer(&self, answer: Enrolment) {
        *self.answer.lock().unwrap() = answer;
    }

    /// Asks for the task's end.
    pub(crate) async fn kill(&self, grace: Duration) {
        let task_id = self.task.lock().unwrap().task_id.clone();
        let kill_policy = Some(KillPolicy { grace_period: Some(grace.into()) });
        self.send(Event { kill: Some(Kill { task_id, kill_policy }), ..event(EventType::Kill) }).await;
    }

    /// Takes what an executor that is dead had still sent to this address, and forgets all that it told.
    pub(crate) async fn forget(&self, address: &str) {
        let mut connected = self.connected.subscribe();
        // Connections are accepted in their order: with this one, those of the dead one have been.
        let last = TcpStream::connect(address).await.unwrap();
        let own = last.local_addr().unwrap();
        timeout(DEADLINE, connected.wait_for(|all| all.contains(&own))).await.unwrap().unwrap();
        drop((last, self.events.lock().unwrap().take()));
        timeout(DEADLINE, connected.wait_for(HashSet::is_empty)).await.unwrap().unwrap();
        self.updates.send_replace(Vec::new());
    }

    async fn send(&self, event: Event) {
        let events = self.events.lock().unwrap().clone();
        events.expect("an executor is subscribed").send(event).await.unwrap();
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let path = request.uri().path().to_owned();
        let body = request.into_body().collect().await.unwrap().to_bytes();
        match path.as_str() {
            "/internal/v1/nodes/enrol" => self.enrol(&body),
            "/internal/v1/nodes/peers" => self.peers(),
            "/api/v1/executor" => self.call(<Call as prost::Message>::decode(body).unwrap()).await,
            other => panic!("an unexpected request to {other}"),
        }
    }

    fn enrol(&self, body: &[u8]) -> Response<Body> {
        self.enrolments.send_modify(|seen| seen.push(serde_json::from_slice(body).unwrap()));
        let (status, text) = match &*self.answer.lock().unwrap() {
            Enrolment::Accept(node) => (200, serde_json::to_string(node).unwrap()),
            Enrolment::Refuse(status, detail) => (*status, serde_json::json!({ "detail": detail }).to_string()),
        };
        Response::builder().status(status).body(Full::from(text).boxed_unsync()).unwrap()
    }

    fn peers(&self) -> Response<Body> {
        let text = match &*self.answer.lock().unwrap() {
            Enrolment::Accept(node) => serde_json::json!({ "peers": node.peers }).to_string(),
            Enrolment::Refuse(_, detail) => panic!("the peers of a node that was refused: {detail}"),
        };
        Response::new(Full::from(text).boxed_unsync())
    }

    async fn call(&self, call: Call) -> Response<Body> {
        match CallType::try_from(call.r#type.unwrap()).unwrap() {
            CallType::Subscribe => self.subscribe(&call).await,
            CallType::Update => {
                let status = call.update.unwrap().status;
                let acknowledged =
                    Some(Acknowledged { task_id: status.task_id.clone(), uuid: status.uuid.clone().unwrap() });
                self.updates.send_modify(|seen| seen.push(status));
                // One that is dead by now hears of nothing.
                let events = self.events.lock().unwrap().clone();
                if let Some(events) = events {
                    let _ = events.send(Event { acknowledged, ..event(EventType::Acknowledged) }).await;
                }
                accepted()
            }
            _ => accepted(),
        }
    }

    async fn subscribe(&self, call: &Call) -> Response<Body> {
        let (events, receiver) = mpsc::channel(64);
        let subscribed = Subscribed {
            executor_info: ExecutorInfo { executor_id: call.executor_id.clone(), ..ExecutorInfo::default() },
            framework_info: FrameworkInfo { user: "root".into(), name: "bigdata".into(), ..FrameworkInfo::default() },
            agent_info: AgentInfo { hostname: "localhost".into(), ..AgentInfo::default() },
            container_id: None,
        };
        events.send(Event { subscribed: Some(subscribed), ..event(EventType::Subscribed) }).await.unwrap();
        // A task that the executor has not spoken of yet is launched.
        if call.subscribe.as_ref().unwrap().unacknowledged_tasks.is_empty() && self.updates.borrow().is_empty() {
            let launch = Some(Launch { task: self.task.lock().unwrap().clone() });
            events.send(Event { launch, ..event(EventType::Launch) }).await.unwrap();
        }
        *self.events.lock().unwrap() = Some(events);
        self.subscriptions.send_modify(|count| *count += 1);
        let records = stream::unfold(receiver, |mut receiver| async {
            let event: Event = receiver.recv().await?;
            Some((recordio::encode_message(&event), receiver))
        });
        let body = StreamBody::new(records.map(|record| Ok(Frame::data(record)))).boxed_unsync();
        Response::new(body)
    }
}

fn event(kind: EventType) -> Event {
    Event { r#type: Some(kind as i32), ..Event::default() }
}

fn accepted() -> Response<Body> {
    Response::builder().status(202).body(Full::default().boxed_unsync()).unwrap()
}
