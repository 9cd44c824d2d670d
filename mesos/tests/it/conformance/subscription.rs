//! How frameworks come and go.

use std::time::Duration;

use bigdata_mesos::call::scheduler as call;
use bigdata_mesos::client::scheduler::CallError;
use bigdata_mesos::v1::FrameworkInfo;

use crate::support::cluster::Cluster;
use crate::support::framework::{Framework, info};
use crate::support::{is_alive, until};

fn again(framework: &Framework) -> FrameworkInfo {
    FrameworkInfo { id: Some(framework.id.clone()), ..info("again") }
}

pub(crate) async fn the_later_of_two_subscriptions_wins(cluster: &mut Cluster) {
    let mut first = Framework::subscribe(cluster, info("first")).await;
    assert_eq!(first.heartbeat, Duration::from_secs(15));
    let mut second = Framework::subscribe(cluster, again(&first)).await;
    assert_eq!(second.id, first.id);
    assert_eq!(first.error().await, "Framework failed over");
    let refused = first.handle.call(call::revive(Vec::new())).await;
    assert!(matches!(refused, Err(CallError::NotSubscribed)), "{refused:?}");
    second.call(call::revive(Vec::new())).await;
    second.offer().await;
}

pub(crate) async fn a_framework_that_was_torn_down_does_not_come_back(cluster: &mut Cluster) {
    let mut framework = Framework::subscribe(cluster, info("teardown")).await;
    let (_, pid) = framework.run("t", "").await;
    framework.call(call::teardown()).await;
    until("the executor has ended", || async { !is_alive(pid) }).await;
    let mut back = Framework::start(cluster, again(&framework));
    let error = back.error().await;
    assert!(error.contains("Framework has been removed"), "{error}");
}

pub(crate) async fn a_framework_without_failover_ends_with_its_stream(cluster: &mut Cluster) {
    let without = FrameworkInfo { failover_timeout: None, ..info("without") };
    let mut framework = Framework::subscribe(cluster, without).await;
    let (_, pid) = framework.run("t", "").await;
    let again = again(&framework);
    drop(framework);
    until("the executor has ended", || async { !is_alive(pid) }).await;
    let error = Framework::start(cluster, again).error().await;
    assert!(error.contains("Framework has been removed"), "{error}");
}
