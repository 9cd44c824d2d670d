//! A framework that tests with: it keeps the events that nobody has asked for yet.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use bigdata_mesos::call::scheduler as call;
use bigdata_mesos::client::scheduler::{Credential, Event, Events, Handle, SchedulerClient, Settings};
use bigdata_mesos::event::SchedulerEvent;
use bigdata_mesos::resources::Resources;
use bigdata_mesos::v1::scheduler::Call;
use bigdata_mesos::v1::{
    CapabilityType, CommandInfo, ExecutorInfo, ExecutorType, Filters, FrameworkId, FrameworkInfo, Offer, Operation,
    ReservationInfo, Resource, TaskInfo, TaskState, TaskStatus,
};

use super::cluster::Cluster;
use super::{PATIENCE, executor_program};

/// The tests' role.
pub(crate) const ROLE: &str = "bigdata";
/// Who the tests are, and what proves it.
pub(crate) const PRINCIPAL: &str = "tester";
pub(crate) const SECRET: &str = "of the tests";

pub(crate) struct Framework {
    pub(crate) handle: Handle,
    pub(crate) id: FrameworkId,
    pub(crate) heartbeat: Duration,
    events: Events,
    kept: VecDeque<Event>,
    /// The statuses that were acknowledged.
    seen: BTreeSet<Vec<u8>>,
}

/// A real Mesos runs executors as the user that the framework names.
fn user() -> String {
    let own = nix::unistd::User::from_uid(nix::unistd::geteuid());
    own.unwrap().map_or_else(|| "root".to_owned(), |user| user.name)
}

/// What the platform's framework says of itself, too.
pub(crate) fn info(name: &str) -> FrameworkInfo {
    let info = FrameworkInfo {
        user: user(),
        name: name.to_owned(),
        roles: vec![ROLE.to_owned()],
        failover_timeout: Some(3600.0),
        checkpoint: Some(true),
        principal: Some(PRINCIPAL.to_owned()),
        ..FrameworkInfo::default()
    };
    info.with_capabilities(&[
        CapabilityType::MultiRole,
        CapabilityType::ReservationRefinement,
        CapabilityType::PartitionAware,
        CapabilityType::TaskKillingState,
    ])
}

/// For ever, as far as a test can tell.
pub(crate) fn never_again() -> Option<Filters> {
    Some(Filters::refuse(Duration::from_secs(3600)))
}

/// Not at all.
pub(crate) fn again_at_once() -> Option<Filters> {
    Some(Filters::refuse(Duration::ZERO))
}

pub(crate) fn reserved(resource: Resource) -> Resource {
    resource.reserved(ReservationInfo::dynamic(ROLE, Some(PRINCIPAL), None))
}

/// Settings of who proves to be the tests' principal.
pub(crate) fn settings(masters: Vec<String>, info: FrameworkInfo) -> Settings {
    let mut settings = Settings::new(masters, info);
    settings.credential = Some(Credential { principal: PRINCIPAL.to_owned(), secret: SECRET.to_owned() });
    settings
}

impl Framework {
    pub(crate) async fn subscribe(cluster: &Cluster, info: FrameworkInfo) -> Framework {
        let mut framework = Framework::start(cluster, info);
        framework.connected().await;
        framework
    }

    /// Does not wait for the subscription.
    pub(crate) fn start(cluster: &Cluster, info: FrameworkInfo) -> Framework {
        Framework::with(settings(vec![cluster.url()], info))
    }

    pub(crate) fn with(settings: Settings) -> Framework {
        let (handle, events) = SchedulerClient::start(settings).unwrap();
        Framework {
            handle,
            id: FrameworkId::default(),
            heartbeat: Duration::ZERO,
            events,
            kept: VecDeque::new(),
            seen: BTreeSet::new(),
        }
    }

    /// Waits for the next subscription.
    pub(crate) async fn connected(&mut self) {
        let connected = |event: &Event| match event {
            Event::Connected { framework_id, heartbeat, .. } => Some((framework_id.clone(), *heartbeat)),
            _ => None,
        };
        (self.id, self.heartbeat) = self.wait("a subscription", connected).await;
    }

    /// The first event that `pick` picks, of those kept and those to come.
    pub(crate) async fn wait<T>(&mut self, what: &str, pick: impl Fn(&Event) -> Option<T>) -> T {
        if let Some(index) = self.kept.iter().position(|event| pick(event).is_some()) {
            return pick(&self.kept.remove(index).unwrap()).unwrap();
        }
        let arrival = async {
            loop {
                let event = self.events.next().await;
                let event = event.unwrap_or_else(|| panic!("the events ended without {what}: {:#?}", self.kept));
                match pick(&event) {
                    Some(picked) => return picked,
                    None => self.kept.push_back(event),
                }
            }
        };
        let arrived = tokio::time::timeout(PATIENCE, arrival).await;
        arrived.unwrap_or_else(|_| panic!("no {what} within {PATIENCE:?}, but {:#?}", self.kept))
    }

    pub(crate) async fn call(&self, call: Call) {
        self.handle.call(call).await.unwrap();
    }

    /// The next offer.
    pub(crate) async fn offer(&mut self) -> Offer {
        self.offers_event().await.remove(0)
    }

    async fn offers_event(&mut self) -> Vec<Offer> {
        let offers = |event: &Event| match event {
            Event::Received(SchedulerEvent::Offers(offers)) => Some(offers.clone()),
            _ => None,
        };
        self.wait("offers", offers).await
    }

    /// Offers together, until they hold what is needed.
    pub(crate) async fn offers_with(&mut self, needed: &[Resource]) -> Vec<Offer> {
        let mut offers = Vec::new();
        let mut sum = Resources::new();
        let needed: Resources = needed.iter().collect();
        while !sum.contains(&needed) {
            for offer in self.offers_event().await {
                sum.add_all(&Resources::from(&offer.resources[..]).allocated_to(None));
                offers.push(offer);
            }
        }
        offers
    }

    pub(crate) async fn accept(&self, offers: &[Offer], operations: Vec<Operation>, filters: Option<Filters>) {
        let ids = offers.iter().map(|offer| offer.id.clone()).collect();
        self.call(call::accept(ids, operations, filters)).await;
    }

    /// The next status of a task.
    pub(crate) async fn status(&mut self, task_id: &str) -> TaskStatus {
        let status = |event: &Event| match event {
            Event::Received(SchedulerEvent::Update(status)) if status.task_id.as_str() == task_id => {
                Some(status.clone())
            }
            _ => None,
        };
        self.wait(&format!("status of {task_id}"), status).await
    }

    /// The next new status of a task, which must be `state`; acknowledged.
    ///
    /// An agent that dies just after an acknowledgement may repeat what was acknowledged.
    pub(crate) async fn acknowledged(&mut self, task_id: &str, state: TaskState) -> TaskStatus {
        loop {
            let status = self.status(task_id).await;
            if let Some(acknowledge) = call::acknowledge(&status) {
                self.call(acknowledge).await;
            }
            if self.seen.insert(status.uuid.clone().unwrap_or_default()) {
                assert_eq!(status.state(), state, "{status:?}");
                return status;
            }
        }
    }

    pub(crate) async fn error(&mut self) -> String {
        let error = |event: &Event| match event {
            Event::Received(SchedulerEvent::Error(message)) => Some(message.clone()),
            _ => None,
        };
        self.wait("an error", error).await
    }

    /// Waits for an executor's end. Returns its status, as `wait(2)` gives it.
    pub(crate) async fn failure(&mut self, executor: &str) -> Option<i32> {
        let failure = |event: &Event| match event {
            Event::Received(SchedulerEvent::Failure { executor_id: Some(id), status, .. }) => {
                (id.as_str() == executor).then_some(*status)
            }
            _ => None,
        };
        self.wait(&format!("failure of {executor}"), failure).await
    }

    /// Launches a task of its own executor and waits until it runs. Returns the executor's process.
    pub(crate) async fn run(&mut self, task_id: &str, orders: &str) -> (TaskStatus, i32) {
        let offer = self.offer().await;
        let task = task(&offer, task_id, orders);
        self.accept(&[offer], vec![Operation::launch(vec![task])], again_at_once()).await;
        let running = self.acknowledged(task_id, TaskState::Running).await;
        let pid = running.message().strip_prefix("pid ").map_or(0, |pid| pid.parse().unwrap());
        (running, pid)
    }
}

/// A task with unreserved resources and an executor of its own, on the offer's agent.
pub(crate) fn task(offer: &Offer, task_id: &str, orders: &str) -> TaskInfo {
    TaskInfo {
        name: task_id.to_owned(),
        task_id: task_id.into(),
        agent_id: offer.agent_id.clone(),
        resources: vec![Resource::scalar("cpus", 0.5), Resource::scalar("mem", 64.0)],
        executor: Some(executor(&format!("executor-of-{task_id}"))),
        data: Some(orders.as_bytes().to_vec()),
        ..TaskInfo::default()
    }
}

pub(crate) fn executor(executor_id: &str) -> ExecutorInfo {
    let program = executor_program();
    let none: [String; 0] = [];
    ExecutorInfo {
        r#type: Some(ExecutorType::Custom as i32),
        executor_id: executor_id.into(),
        command: Some(CommandInfo::program(program.to_string_lossy(), none)),
        resources: vec![Resource::scalar("cpus", 0.1), Resource::scalar("mem", 32.0)],
        ..ExecutorInfo::default()
    }
}
