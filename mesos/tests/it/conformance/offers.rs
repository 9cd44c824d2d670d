//! Who is offered what, and when.

use bigdata_mesos::call::scheduler as call;
use bigdata_mesos::resources::Resources;
use bigdata_mesos::v1::{Offer, Operation, Reason, Resource, TaskState};

use crate::support::cluster::Cluster;
use crate::support::framework::{Framework, ROLE, again_at_once, info, never_again, task};

fn plain(offer: &Offer) -> Resources {
    Resources::from(&offer.resources[..]).allocated_to(None)
}

pub(crate) async fn offers_tell_of_the_agent_and_go_where_they_are_wanted(cluster: &mut Cluster) {
    let mut first = Framework::subscribe(cluster, info("first")).await;
    let offer = first.offer().await;
    assert_eq!(offer.framework_id, first.id);
    let role = offer.allocation_info.as_ref().and_then(|info| info.role.as_deref());
    assert_eq!(role, Some(ROLE));
    let all_allocated = offer
        .resources
        .iter()
        .all(|resource| resource.allocation_info.as_ref().and_then(|info| info.role.as_deref()) == Some(ROLE));
    assert!(all_allocated, "{offer:?}");
    let resources = plain(&offer);
    assert_eq!((resources.cpus(), resources.mem(), resources.disk()), (4.0, 4096.0, 10000.0));
    assert_eq!(resources.ports().to_string(), "[31000-32000]");
    assert_eq!(offer.attributes[0].to_string(), "rack:r1");

    // What the first does not want is offered to the second, and not to the first again.
    first.call(call::decline(vec![offer.id], never_again())).await;
    let mut second = Framework::subscribe(cluster, info("second")).await;
    let offer = second.offer().await;
    second.call(call::decline(vec![offer.id], never_again())).await;
    first.call(call::revive(vec![])).await;
    let offer = first.offer().await;
    assert_eq!(plain(&offer), resources);
}

pub(crate) async fn suppressed_offers_come_back_when_revived(cluster: &mut Cluster) {
    let mut first = Framework::subscribe(cluster, info("first")).await;
    let offer = first.offer().await;
    first.call(call::suppress(vec![])).await;
    first.call(call::decline(vec![offer.id], again_at_once())).await;
    let mut second = Framework::subscribe(cluster, info("second")).await;
    let offer = second.offer().await;
    second.call(call::suppress(vec![ROLE.to_owned()])).await;
    second.call(call::decline(vec![offer.id], again_at_once())).await;
    first.call(call::revive(vec![ROLE.to_owned()])).await;
    let offer = first.offer().await;
    assert_eq!(plain(&offer).cpus(), 4.0);
}

pub(crate) async fn an_offer_is_used_once(cluster: &mut Cluster) {
    let mut framework = Framework::subscribe(cluster, info("once")).await;
    let offer = framework.offer().await;
    let launch = |id: &str| vec![Operation::launch(vec![task(&offer, id, "")])];
    framework.accept(std::slice::from_ref(&offer), launch("first"), again_at_once()).await;
    framework.acknowledged("first", TaskState::Running).await;
    framework.accept(std::slice::from_ref(&offer), launch("second"), again_at_once()).await;
    let status = framework.status("second").await;
    assert_eq!(status.state(), TaskState::Dropped, "{status:?}");
    assert_eq!(status.known_reason(), Some(Reason::InvalidOffers));
    assert_eq!(status.uuid, None);

    // What the first task left is offered, and can be used together with what it gives back.
    let needed = [Resource::scalar("cpus", 4.0)];
    framework.call(call::kill("first".into(), None, None)).await;
    framework.acknowledged("first", TaskState::Killed).await;
    framework.call(call::shutdown("executor-of-first".into(), offer.agent_id.clone())).await;
    let offers = framework.offers_with(&needed).await;
    let mut large = task(&offers[0], "large", "finish");
    large.resources[0] = Resource::scalar("cpus", 3.9);
    framework.accept(&offers, vec![Operation::launch(vec![large])], again_at_once()).await;
    framework.acknowledged("large", TaskState::Running).await;
    framework.acknowledged("large", TaskState::Finished).await;
}
