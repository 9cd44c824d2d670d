//! Another framework on the same Mesos and in the same role, which wants the same offers: with tasks of its own, and with a
//! volume that carries another registry's label, and one that carries no label.

use crate::fleet::{AGENTS, Fleet, until};
use bigdata_mesos::call::scheduler as call;
use bigdata_mesos::client::executor::{Event as ExecutorWord, ExecutorClient, ExecutorEnvironment};
use bigdata_mesos::client::scheduler::{Event, Events, Handle, SchedulerClient, Settings};
use bigdata_mesos::event::{ExecutorEvent, SchedulerEvent};
use bigdata_mesos::v1::{
    CapabilityType, CommandInfo, ExecutorInfo, ExecutorType, Filters, FrameworkInfo, Labels, Offer, Operation,
    ReservationInfo, Resource, TaskInfo, TaskState, TaskStatus,
};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::runtime::Runtime;

/// The argument by which this program is the rival's executor.
pub(crate) const EXECUTOR: &str = "--rival-executor";
/// The ids of its volumes: the first one has a label, the other has none.
pub(crate) const VOLUMES: [&str; 2] = ["a-rivals-volume", "a-volume-without-a-label"];
/// Whose the first volume is by its label.
pub(crate) const REGISTRY: &str = "a-rivals-registry";
const ROLE: &str = "bigdata";
const TASKS: usize = 3;
/// What it cannot use it gives back for so long: it is at every allocation.
const REFUSED: Duration = Duration::from_millis(100);

#[derive(Default)]
struct Seen {
    launched: usize,
    running: BTreeSet<String>,
    has_volumes: bool,
    leaves: bool,
}

pub(crate) struct Rival {
    runtime: Runtime,
    handle: Handle,
    seen: Arc<Mutex<Seen>>,
}

impl Rival {
    /// Subscribes; returns when its tasks run.
    pub(crate) fn start(fleet: &Fleet) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let info = FrameworkInfo {
            user: String::from_utf8(std::process::Command::new("id").arg("-un").output().unwrap().stdout)
                .unwrap()
                .trim()
                .to_owned(),
            name: "a rival".to_owned(),
            roles: vec![ROLE.to_owned()],
            failover_timeout: Some(3600.0),
            checkpoint: Some(true),
            ..FrameworkInfo::default()
        };
        let info = info.with_capabilities(&[
            CapabilityType::MultiRole,
            CapabilityType::PartitionAware,
            CapabilityType::ReservationRefinement,
        ]);
        let settings = Settings::new(vec![fleet.address("FLEET_MESOS").to_owned()], info);
        let (handle, events) = runtime.block_on(async { SchedulerClient::start(settings) }).unwrap();
        let seen = Arc::new(Mutex::new(Seen::default()));
        runtime.spawn(live(handle.clone(), events, Arc::clone(&seen)));
        let rival = Self { runtime, handle, seen };
        until("the rival's tasks run", || (rival.running().len() == TASKS).then_some(()));
        rival
    }

    /// The tasks that run, as far as it was told.
    pub(crate) fn running(&self) -> BTreeSet<String> {
        self.seen.lock().unwrap().running.clone()
    }

    /// Destroys its volumes, and ends when Mesos has them no more: what had not arrived by then would be dropped.
    pub(crate) fn leave(self, fleet: &Fleet) {
        self.seen.lock().unwrap().leaves = true;
        for task in self.running() {
            let kill = call::kill(task.as_str().into(), None, None);
            self.runtime.block_on(self.handle.call(kill)).unwrap();
        }
        until("the rival's volumes are destroyed", || {
            // Of an agent that is away nothing is told.
            let agents = fleet.agents();
            let are_here = agents.iter().filter(|agent| agent["active"] == true).count() == AGENTS.len();
            let listed = serde_json::Value::from(agents).to_string();
            (are_here && VOLUMES.iter().all(|volume| !listed.contains(volume))).then_some(())
        });
        self.runtime.block_on(self.handle.call(call::teardown())).unwrap();
    }
}

async fn live(handle: Handle, mut events: Events, seen: Arc<Mutex<Seen>>) {
    while let Some(event) = events.next().await {
        match event {
            Event::Received(SchedulerEvent::Offers(offers)) => {
                for offer in offers {
                    let (before, call) = {
                        let seen = &mut seen.lock().unwrap();
                        ((seen.launched, seen.has_volumes), answer(offer, seen))
                    };
                    // The offer may have been rescinded; another one comes.
                    if handle.call(call).await.is_err() {
                        let seen = &mut seen.lock().unwrap();
                        (seen.launched, seen.has_volumes) = before;
                    }
                }
            }
            Event::Received(SchedulerEvent::Update(status)) => {
                let (id, running) = (status.task_id.value.clone(), status.state() == TaskState::Running);
                {
                    let tasks = &mut seen.lock().unwrap().running;
                    if running {
                        tasks.insert(id)
                    } else {
                        tasks.remove(&id)
                    };
                }
                if let Some(call) = call::acknowledge(&status) {
                    // It is told again, where that does not arrive.
                    let _ = handle.call(call).await;
                }
            }
            _ => {}
        }
    }
}

fn answer(offer: Offer, seen: &mut Seen) -> bigdata_mesos::v1::scheduler::Call {
    let is_own = |entry: &&Resource| entry.persistence_id().is_some_and(|id| VOLUMES.contains(&id));
    let own: Vec<Resource> = offer.resources.iter().filter(is_own).cloned().collect();
    let refuse = Some(Filters::refuse(REFUSED));
    let operations = match own.len() {
        // They were made at once, and are offered at once.
        2 if seen.leaves => {
            let disks = own.iter().cloned().map(Resource::not_persistent).collect();
            vec![Operation::destroy(own), Operation::unreserve(disks)]
        }
        0 if seen.launched < TASKS && !seen.leaves => {
            let mut operations = Vec::new();
            if !std::mem::replace(&mut seen.has_volumes, true) {
                operations = vec![Operation::reserve(disks().into()), Operation::create(volumes())];
            }
            seen.launched += 1;
            operations.push(Operation::launch(vec![task(&offer, seen.launched)]));
            operations
        }
        _ => return call::decline(vec![offer.id], refuse),
    };
    call::accept(vec![offer.id], operations, refuse)
}

fn disks() -> [Resource; 2] {
    let label = Labels::from_iter([("bigdata_registry", REGISTRY.to_owned())]);
    [Some(label), None]
        .map(|labels| Resource::scalar("disk", 16.0).reserved(ReservationInfo::dynamic(ROLE, None, labels)))
}

fn volumes() -> Vec<Resource> {
    disks().into_iter().zip(VOLUMES).map(|(disk, id)| disk.persistent(id, None, "data")).collect()
}

fn task(offer: &Offer, number: usize) -> TaskInfo {
    let program = std::env::current_exe().unwrap();
    TaskInfo {
        name: "a rival's".to_owned(),
        task_id: format!("rival-{number}").as_str().into(),
        agent_id: offer.agent_id.clone(),
        resources: vec![Resource::scalar("cpus", 0.2), Resource::scalar("mem", 32.0)],
        executor: Some(ExecutorInfo {
            r#type: Some(ExecutorType::Custom as i32),
            executor_id: format!("executor-{number}").as_str().into(),
            command: Some(CommandInfo::program(program.to_string_lossy(), [EXECUTOR])),
            resources: vec![Resource::scalar("cpus", 0.1), Resource::scalar("mem", 32.0)],
            ..ExecutorInfo::default()
        }),
        ..TaskInfo::default()
    }
}

/// What an agent runs for it: a task that runs until it is ended.
pub(crate) fn execute() {
    let environment = ExecutorEnvironment::from_process().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (handle, mut events) = ExecutorClient::start(environment);
        while let Some(event) = events.next().await {
            match event {
                ExecutorWord::Received(ExecutorEvent::Launch(tasks)) => {
                    for task in tasks {
                        handle.update(TaskStatus::new(task.task_id, TaskState::Running)).await.unwrap();
                    }
                }
                ExecutorWord::Received(ExecutorEvent::Kill { task_id, .. }) => {
                    handle.update(TaskStatus::new(task_id, TaskState::Killed)).await.unwrap();
                    break;
                }
                ExecutorWord::Received(ExecutorEvent::Shutdown) | ExecutorWord::GivenUp { .. } => break,
                _ => {}
            }
        }
        handle.settled(Duration::from_secs(10)).await;
    });
}
