//! What only Mesos has.

use bigdata_mesos::client::scheduler::master_state;
use bigdata_mesos::v1::{Operation, Resource};

use crate::support::cluster::Cluster;
use crate::support::framework::{Framework, PRINCIPAL, again_at_once, info, reserved, settings};
use crate::support::until;

/// Who has lost what it knew finds out by it, though no task uses the volume.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_masters_state_tells_of_volumes() {
    let Some(cluster) = Cluster::mesos().await else { return };
    let mut framework = Framework::subscribe(&cluster, info("volumes")).await;
    let offer = framework.offer().await;
    let disk = reserved(Resource::scalar("disk", 64.0));
    let volume = disk.clone().persistent("volume-1", Some(PRINCIPAL), "data");
    let operations = vec![Operation::reserve(vec![disk]), Operation::create(vec![volume])];
    framework.accept(&[offer], operations, again_at_once()).await;
    let settings = settings(vec![cluster.url()], info("volumes"));
    until("the volume is told of", || async {
        let state = master_state(&settings).await.unwrap();
        let entries = state["slaves"][0]["reserved_resources_full"]["bigdata"].as_array().cloned().unwrap_or_default();
        entries.iter().any(|entry| entry["disk"]["persistence"]["id"] == "volume-1")
    })
    .await;
}
