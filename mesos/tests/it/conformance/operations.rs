//! Reservations and volumes.

use bigdata_mesos::call::scheduler as call;
use bigdata_mesos::client::scheduler::Event;
use bigdata_mesos::event::SchedulerEvent;
use bigdata_mesos::resources::Resources;
use bigdata_mesos::v1::{Offer, Operation, OperationState, OperationStatus, Resource, TaskInfo, TaskState};

use crate::support::cluster::Cluster;
use crate::support::framework::{Framework, PRINCIPAL, again_at_once, info, reserved, task};

fn disk() -> Resource {
    reserved(Resource::scalar("disk", 64.0))
}

fn volume() -> Resource {
    disk().persistent("volume-1", Some(PRINCIPAL), "data")
}

/// A task on the volume, with reserved resources.
fn on_volume(offer: &Offer, task_id: &str, orders: &str) -> TaskInfo {
    let mut task = task(offer, task_id, orders);
    task.resources = vec![reserved(Resource::scalar("cpus", 0.5)), Resource::scalar("mem", 64.0), volume()];
    task
}

fn reserve() -> Operation {
    Operation::reserve(vec![disk(), reserved(Resource::scalar("cpus", 0.5))])
}

pub(crate) async fn a_volume_outlives_its_task_until_it_is_destroyed(cluster: &mut Cluster) {
    let mut framework = Framework::subscribe(cluster, info("volumes")).await;
    let offer = framework.offer().await;
    let launch = Operation::launch(vec![on_volume(&offer, "first", "write data/file kept\nfinish")]);
    let create = Operation::create(vec![volume()]);
    framework.accept(&[offer], vec![reserve(), create, launch], again_at_once()).await;
    framework.acknowledged("first", TaskState::Running).await;
    framework.acknowledged("first", TaskState::Finished).await;

    let offers = framework.offers_with(&[volume()]).await;
    let launch = Operation::launch(vec![on_volume(&offers[0], "second", "read data/file\nfinish")]);
    framework.accept(&offers, vec![launch], again_at_once()).await;
    let running = framework.acknowledged("second", TaskState::Running).await;
    assert_eq!(running.message(), "kept");
    framework.acknowledged("second", TaskState::Finished).await;

    // A new volume of the same name is empty.
    let offers = framework.offers_with(&[volume(), reserved(Resource::scalar("cpus", 0.5))]).await;
    let operations = vec![
        Operation::destroy(vec![volume()]),
        Operation::create(vec![volume()]),
        Operation::launch(vec![on_volume(&offers[0], "third", "read data/file\nfinish")]),
    ];
    framework.accept(&offers, operations, again_at_once()).await;
    let running = framework.acknowledged("third", TaskState::Running).await;
    assert!(running.message().contains("No such file"), "{running:?}");
    framework.acknowledged("third", TaskState::Finished).await;

    let offers = framework.offers_with(&[volume(), reserved(Resource::scalar("cpus", 0.5))]).await;
    let operations = vec![
        Operation::destroy(vec![volume()]),
        Operation::unreserve(vec![disk(), reserved(Resource::scalar("cpus", 0.5))]),
    ];
    framework.accept(&offers, operations, again_at_once()).await;
    let needed = [Resource::scalar("disk", 10000.0)];
    let offers = framework.offers_with(&needed).await;
    let sum: Resources = offers.iter().flat_map(|offer| &offer.resources).collect();
    assert!(sum.allocated_to(None).contains(&needed), "{sum}");
}

/// Mesos's isolator `filesystem/posix` leaves volumes out whose container path has several levels, and says so in the
/// agent's log alone: what is written there is in the sandbox, and goes with it.
pub(crate) async fn a_volume_below_a_folder_does_not_appear(cluster: &mut Cluster) {
    let mut framework = Framework::subscribe(cluster, info("deep-volumes")).await;
    let offer = framework.offer().await;
    let deep = disk().persistent("volume-2", Some(PRINCIPAL), "data/deep");
    let mut task = on_volume(&offer, "deep", "read data/deep\nfinish");
    task.resources.pop();
    task.resources.push(deep.clone());
    let operations = vec![reserve(), Operation::create(vec![deep.clone()]), Operation::launch(vec![task])];
    framework.accept(&[offer], operations, again_at_once()).await;
    let running = framework.acknowledged("deep", TaskState::Running).await;
    assert!(running.message().contains("No such file"), "{running:?}");
    framework.acknowledged("deep", TaskState::Finished).await;
    let offers = framework.offers_with(std::slice::from_ref(&deep)).await;
    let operations = vec![
        Operation::destroy(vec![deep]),
        Operation::unreserve(vec![disk(), reserved(Resource::scalar("cpus", 0.5))]),
    ];
    framework.accept(&offers, operations, again_at_once()).await;
}

async fn operation_status(framework: &mut Framework, id: &str) -> OperationStatus {
    let status = |event: &Event| match event {
        Event::Received(SchedulerEvent::OperationUpdate(status)) => {
            let this = status.operation_id.as_ref().is_some_and(|one| one.as_str() == id);
            this.then(|| status.clone())
        }
        _ => None,
    };
    framework.wait(&format!("status of the operation {id}"), status).await
}

pub(crate) async fn feedback_is_told_until_it_is_acknowledged(cluster: &mut Cluster) {
    let mut framework = Framework::subscribe(cluster, info("feedback")).await;
    let offer = framework.offer().await;
    let agent_id = offer.agent_id.clone();
    let too_much = Operation::reserve(vec![reserved(Resource::scalar("cpus", 1000.0))]);
    let operations = vec![reserve().with_id("good"), too_much.with_id("bad")];
    framework.accept(&[offer], operations, again_at_once()).await;
    let good = operation_status(&mut framework, "good").await;
    assert_eq!(good.state(), OperationState::Finished, "{good:?}");
    assert_eq!(good.agent_id, Some(agent_id));
    let bad = operation_status(&mut framework, "bad").await;
    assert_eq!(bad.state(), OperationState::Error, "{bad:?}");
    assert_eq!(bad.uuid, None);

    let again = bigdata_mesos::v1::FrameworkInfo { id: Some(framework.id.clone()), ..info("feedback") };
    drop(framework);
    let mut framework = Framework::subscribe(cluster, again).await;
    framework.call(call::reconcile_operations([])).await;
    let repeated = operation_status(&mut framework, "good").await;
    assert_eq!(repeated.state(), OperationState::Finished);
    framework.call(call::acknowledge_operation(&good).unwrap()).await;
    // It is known until the acknowledgement has reached the agent.
    let operation = ("good".into(), good.agent_id.clone());
    let mut state = OperationState::Finished;
    while state == OperationState::Finished {
        framework.call(call::reconcile_operations([operation.clone()])).await;
        state = operation_status(&mut framework, "good").await.state();
    }
    assert_eq!(state, OperationState::Unknown);
}
