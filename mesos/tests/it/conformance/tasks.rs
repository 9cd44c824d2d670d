//! Tasks and their statuses.

use bigdata_mesos::call::scheduler as call;
use bigdata_mesos::v1::{FrameworkInfo, Operation, Reason, Resource, Source, TaskState};

use crate::support::cluster::Cluster;
use crate::support::framework::{Framework, again_at_once, info, task};

pub(crate) async fn a_task_runs_and_is_killed(cluster: &mut Cluster) {
    let mut framework = Framework::subscribe(cluster, info("kill")).await;
    let (running, _) = framework.run("t", "some data").await;
    assert_eq!(running.data(), b"some data\n".trim_ascii_end());
    assert_eq!(running.source(), Source::Executor);
    assert_eq!(running.executor_id.as_ref().unwrap().as_str(), "executor-of-t");
    assert!(running.agent_id.is_some() && running.uuid.is_some() && running.timestamp() > 1e9);
    framework.call(call::kill("t".into(), None, None)).await;
    let killed = framework.acknowledged("t", TaskState::Killed).await;
    assert_eq!(killed.source(), Source::Executor);
    framework.call(call::kill("t".into(), running.agent_id.clone(), None)).await;
    let gone = framework.status("t").await;
    assert_eq!(gone.state(), TaskState::Gone, "{gone:?}");
    assert_eq!(gone.known_reason(), Some(Reason::Reconciliation));
    assert_eq!(gone.uuid, None);
}

pub(crate) async fn what_is_not_acknowledged_is_told_again(cluster: &mut Cluster) {
    let mut framework = Framework::subscribe(cluster, info("retry")).await;
    let offer = framework.offer().await;
    let launch = Operation::launch(vec![task(&offer, "t", "finish")]);
    framework.accept(&[offer], vec![launch], again_at_once()).await;
    let running = framework.status("t").await;
    assert_eq!(running.state(), TaskState::Running);

    // The next status waits for this one's acknowledgement, and this one comes again to who comes back.
    let again = FrameworkInfo { id: Some(framework.id.clone()), ..info("retry") };
    drop(framework);
    let mut framework = Framework::subscribe(cluster, again).await;
    let repeated = framework.status("t").await;
    assert_eq!((repeated.state(), &repeated.uuid), (TaskState::Running, &running.uuid));
    framework.call(call::acknowledge(&repeated).unwrap()).await;
    framework.acknowledged("t", TaskState::Finished).await;
}

pub(crate) async fn tasks_are_reconciled(cluster: &mut Cluster) {
    let mut framework = Framework::subscribe(cluster, info("reconcile")).await;
    let (running, _) = framework.run("known", "").await;
    framework.call(call::reconcile([])).await;
    let implicit = framework.status("known").await;
    let agent_id = running.agent_id.clone();
    assert_eq!(implicit.state(), TaskState::Running);
    assert_eq!(implicit.source(), Source::Master);
    assert_eq!(implicit.known_reason(), Some(Reason::Reconciliation));
    assert_eq!((&implicit.uuid, &implicit.agent_id), (&None, &agent_id));
    assert_eq!(implicit.executor_id, running.executor_id);

    let asked = [
        ("known".into(), None),
        ("gone".into(), agent_id),
        ("unknown".into(), Some("no-agent".into())),
        ("nowhere".into(), None),
    ];
    framework.call(call::reconcile(asked)).await;
    for (task, state) in [
        ("known", TaskState::Running),
        ("gone", TaskState::Gone),
        ("unknown", TaskState::Unknown),
        ("nowhere", TaskState::Unknown),
    ] {
        let status = framework.status(task).await;
        assert_eq!(status.state(), state, "{status:?}");
        assert_eq!(status.known_reason(), Some(Reason::Reconciliation));
    }
}

pub(crate) async fn bad_tasks_are_refused(cluster: &mut Cluster) {
    let mut framework = Framework::subscribe(cluster, info("bad")).await;
    let offer = framework.offer().await;
    let good = task(&offer, "good", "");
    let mut greedy = task(&offer, "greedy", "");
    greedy.resources[0] = Resource::scalar("cpus", 1000.0);
    let mut elsewhere = task(&offer, "elsewhere", "");
    elsewhere.agent_id = "no-agent".into();
    let slash = task(&offer, "a/b", "");
    let mut homeless = task(&offer, "homeless", "");
    homeless.executor = None;
    let mut empty = task(&offer, "empty", "");
    empty.resources.clear();
    let bad = ["greedy", "elsewhere", "a/b", "homeless", "empty"];
    let tasks = vec![greedy, elsewhere, slash, homeless, empty, good];
    framework.accept(&[offer], vec![Operation::launch(tasks)], again_at_once()).await;
    for task_id in bad {
        let status = framework.status(task_id).await;
        assert_eq!(status.state(), TaskState::Error, "{status:?}");
        assert_eq!(status.known_reason(), Some(Reason::TaskInvalid), "{status:?}");
        assert_eq!(status.uuid, None);
    }
    framework.acknowledged("good", TaskState::Running).await;
    let offer = framework.offer().await;
    let again = Operation::launch(vec![task(&offer, "good", "")]);
    framework.accept(&[offer], vec![again], again_at_once()).await;
    let status = framework.status("good").await;
    assert_eq!(status.state(), TaskState::Error, "{status:?}");
}
