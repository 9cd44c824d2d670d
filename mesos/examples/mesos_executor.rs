//! A small executor: what the tests of this crate let Mesos and the engine run, and how to write one.
//!
//! Each line of a task's data is an order, carried out when the task is launched:
//! `write FILE TEXT`, `read FILE` (the text becomes the message of TASK_RUNNING), `finish`, `fail`.
//! Messages are orders, too: `ping` is answered with `pong`, `unhealthy` tells it of every task, `exit N` ends the
//! process at once, and `tell-when-away` tells a status as soon as the agent is away.

use std::collections::BTreeMap;
use std::time::Duration;

use bigdata_mesos::client::executor::{Event, ExecutorClient, ExecutorEnvironment, Handle};
use bigdata_mesos::event::ExecutorEvent;
use bigdata_mesos::v1::{TaskId, TaskInfo, TaskState, TaskStatus};

/// How long the agent may take to store the last updates.
const SETTLE: Duration = Duration::from_secs(10);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let environment = ExecutorEnvironment::from_process()?;
    std::env::set_current_dir(&environment.directory)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(run(environment))
}

async fn run(environment: ExecutorEnvironment) -> Result<(), Box<dyn std::error::Error>> {
    let (handle, mut events) = ExecutorClient::start(environment);
    let mut executor = Executor { handle: handle.clone(), tasks: BTreeMap::new(), tell_when_away: false };
    while let Some(event) = events.next().await {
        match event {
            Event::Received(ExecutorEvent::Shutdown) | Event::GivenUp { .. } => {
                executor.end_all().await?;
                break;
            }
            event => executor.on(event).await?,
        }
    }
    // The updates go out while the events are held.
    handle.settled(SETTLE).await;
    drop(events);
    Ok(())
}

struct Executor {
    handle: Handle,
    tasks: BTreeMap<TaskId, TaskInfo>,
    tell_when_away: bool,
}

/// Any error ends the process; the agent tells of it.
type Done = Result<(), Box<dyn std::error::Error>>;

impl Executor {
    async fn on(&mut self, event: Event) -> Done {
        match event {
            Event::Received(ExecutorEvent::Launch(tasks)) => {
                for task in tasks {
                    self.launch(task).await?;
                }
            }
            Event::Received(ExecutorEvent::Kill { task_id, .. }) => {
                if self.tasks.remove(&task_id).is_some() {
                    self.tell(TaskStatus::new(task_id, TaskState::Killed)).await?;
                }
            }
            Event::Received(ExecutorEvent::Message(data)) => self.order(&data).await?,
            Event::Disconnected { reason } => {
                eprintln!("away: {reason}");
                if std::mem::take(&mut self.tell_when_away) {
                    self.tell_all(None, "told while the agent was away").await?;
                }
            }
            Event::Connected { .. } => eprintln!("connected"),
            Event::Received(_) | Event::GivenUp { .. } => {}
        }
        Ok(())
    }

    async fn launch(&mut self, task: TaskInfo) -> Done {
        let orders = String::from_utf8_lossy(task.data.as_deref().unwrap_or_default()).into_owned();
        let task_id = task.task_id.clone();
        self.tasks.insert(task_id.clone(), task);
        let mut message = format!("pid {}", std::process::id());
        let mut end = None;
        for order in orders.lines() {
            let words: Vec<&str> = order.splitn(3, ' ').collect();
            match words[..] {
                ["write", file, text] => std::fs::write(file, text)?,
                ["read", file] => {
                    message = std::fs::read_to_string(file).unwrap_or_else(|error| error.to_string());
                }
                ["finish"] => end = Some(TaskState::Finished),
                ["fail"] => end = Some(TaskState::Failed),
                _ => eprintln!("unknown order: {order}"),
            }
        }
        let mut running = TaskStatus::new(task_id.clone(), TaskState::Running);
        running.message = Some(message);
        running.data = Some(orders.into_bytes());
        self.tell(running).await?;
        if let Some(state) = end {
            self.tasks.remove(&task_id);
            self.tell(TaskStatus::new(task_id, state)).await?;
        }
        Ok(())
    }

    async fn order(&mut self, data: &[u8]) -> Done {
        let order = String::from_utf8_lossy(data);
        match order.split_once(' ').unwrap_or((&order, "")) {
            ("ping", _) => self.handle.message(b"pong".to_vec()).await?,
            ("unhealthy", _) => self.tell_all(Some(false), "unhealthy").await?,
            ("exit", code) => std::process::exit(code.parse()?),
            ("tell-when-away", _) => {
                self.tell_when_away = true;
                self.handle.message(b"shall do".to_vec()).await?;
            }
            _ => eprintln!("unknown order: {order}"),
        }
        Ok(())
    }

    async fn tell_all(&self, healthy: Option<bool>, message: &str) -> Done {
        for task_id in self.tasks.keys() {
            let mut status = TaskStatus::new(task_id.clone(), TaskState::Running);
            status.healthy = healthy;
            status.message = Some(message.to_owned());
            self.tell(status).await?;
        }
        Ok(())
    }

    async fn end_all(&mut self) -> Done {
        for task_id in std::mem::take(&mut self.tasks).into_keys() {
            self.tell(TaskStatus::new(task_id, TaskState::Killed)).await?;
        }
        Ok(())
    }

    async fn tell(&self, status: TaskStatus) -> Done {
        Ok(self.handle.update(status).await?)
    }
}
