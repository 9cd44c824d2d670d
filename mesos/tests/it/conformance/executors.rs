//! Executors' lives.

use bigdata_mesos::call::scheduler as call;
use bigdata_mesos::client::scheduler::Event;
use bigdata_mesos::event::SchedulerEvent;
use bigdata_mesos::v1::{AgentId, CommandInfo, ExecutorId, Operation, Reason, Source, TaskState};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::cluster::Cluster;
use crate::support::framework::{Framework, again_at_once, executor, info, task};

async fn message(framework: &mut Framework) -> String {
    let message = |event: &Event| match event {
        Event::Received(SchedulerEvent::Message { data, .. }) => Some(data.clone()),
        _ => None,
    };
    String::from_utf8(framework.wait("a message", message).await).unwrap()
}

async fn say(framework: &Framework, agent: &Option<AgentId>, executor: &Option<ExecutorId>, words: &str) {
    let (agent, executor) = (agent.clone().unwrap(), executor.clone().unwrap());
    framework.call(call::message(agent, executor, words.as_bytes().to_vec())).await;
}

pub(crate) async fn messages_go_both_ways(cluster: &mut Cluster) {
    let mut framework = Framework::subscribe(cluster, info("messages")).await;
    let (running, _) = framework.run("t", "").await;
    say(&framework, &running.agent_id, &running.executor_id, "ping").await;
    assert_eq!(message(&mut framework).await, "pong");
    say(&framework, &running.agent_id, &running.executor_id, "unhealthy").await;
    let status = framework.acknowledged("t", TaskState::Running).await;
    assert_eq!(status.healthy, Some(false));
    framework.call(call::reconcile([])).await;
    assert_eq!(framework.status("t").await.healthy, Some(false));
}

pub(crate) async fn an_executor_that_dies_ends_its_tasks(cluster: &mut Cluster) {
    let mut framework = Framework::subscribe(cluster, info("deaths")).await;
    let (_, pid) = framework.run("killed", "").await;
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    let status = framework.acknowledged("killed", TaskState::Failed).await;
    assert_eq!(status.known_reason(), Some(Reason::ExecutorTerminated));
    assert_eq!(status.source(), Source::Agent);
    assert!(status.uuid.is_some());
    // Mesos often reaps an executor as killed by itself; what the status is, only the engine promises.
    framework.failure("executor-of-killed").await;

    let (running, _) = framework.run("exited", "").await;
    say(&framework, &running.agent_id, &running.executor_id, "exit 3").await;
    framework.acknowledged("exited", TaskState::Failed).await;
    framework.failure("executor-of-exited").await;
}

pub(crate) async fn an_executor_that_cannot_be_started_ends_its_tasks(cluster: &mut Cluster) {
    let mut framework = Framework::subscribe(cluster, info("starts")).await;
    let offer = framework.offer().await;
    let none: [String; 0] = [];
    let mut task = task(&offer, "t", "");
    task.executor.as_mut().unwrap().command = Some(CommandInfo::program("/no/such/program", none));
    framework.accept(&[offer], vec![Operation::launch(vec![task])], again_at_once()).await;
    let status = framework.acknowledged("t", TaskState::Failed).await;
    assert_eq!(status.source(), Source::Agent);
}

pub(crate) async fn an_executor_is_shut_down(cluster: &mut Cluster) {
    let mut framework = Framework::subscribe(cluster, info("shutdown")).await;
    let (running, _) = framework.run("t", "").await;
    let (executor, agent) = (running.executor_id.unwrap(), running.agent_id.unwrap());
    framework.call(call::shutdown(executor, agent)).await;
    let status = framework.acknowledged("t", TaskState::Killed).await;
    assert_eq!(status.source(), Source::Executor);
    framework.failure("executor-of-t").await;
}

pub(crate) async fn two_tasks_share_an_executor(cluster: &mut Cluster) {
    let mut framework = Framework::subscribe(cluster, info("share")).await;
    let offer = framework.offer().await;
    let mut tasks = vec![task(&offer, "one", ""), task(&offer, "two", "")];
    for task in &mut tasks {
        task.executor = Some(executor("shared"));
    }
    framework.accept(&[offer], vec![Operation::launch(tasks)], again_at_once()).await;
    let one = framework.acknowledged("one", TaskState::Running).await;
    let two = framework.acknowledged("two", TaskState::Running).await;
    assert_eq!(one.message(), two.message());
    let offer = framework.offer().await;
    assert_eq!(offer.executor_ids, ["shared".into()]);
    let mut different = task(&offer, "three", "");
    let mut other = executor("shared");
    other.name = Some("another".to_owned());
    different.executor = Some(other);
    framework.accept(&[offer], vec![Operation::launch(vec![different])], again_at_once()).await;
    let refused = framework.status("three").await;
    assert_eq!(refused.state(), TaskState::Error, "{refused:?}");
}

pub(crate) async fn an_executor_outlives_its_agent(cluster: &mut Cluster) {
    let mut framework = Framework::subscribe(cluster, info("outlives")).await;
    let (running, _) = framework.run("t", "").await;
    let (agent, executor) = (running.agent_id.clone(), running.executor_id.clone());
    say(&framework, &agent, &executor, "tell-when-away").await;
    assert_eq!(message(&mut framework).await, "shall do");
    cluster.kill_agent().await;
    cluster.start_agent().await;
    let told = framework.acknowledged("t", TaskState::Running).await;
    assert_eq!(told.message(), "told while the agent was away");
    assert_eq!(told.agent_id, agent);
    framework.call(call::kill("t".into(), agent, None)).await;
    framework.acknowledged("t", TaskState::Killed).await;
}

pub(crate) async fn an_executor_that_dies_while_the_agent_is_away_is_noticed(cluster: &mut Cluster) {
    let mut framework = Framework::subscribe(cluster, info("noticed")).await;
    let (running, pid) = framework.run("t", "").await;
    cluster.kill_agent().await;
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    cluster.start_agent().await;
    let status = framework.acknowledged("t", TaskState::Failed).await;
    assert_eq!(status.known_reason(), Some(Reason::ExecutorTerminated));
    assert_eq!(status.agent_id, running.agent_id);
}
