//! Whole disks, on the engine and on a real Mesos: mounted where the agent's operator says, and one framework's at a time.

use bigdata_mesos::v1::{Operation, Resource, TaskState};
use serde_json::json;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

use crate::support::cluster::{Cluster, EngineCluster};
use crate::support::framework::{Framework, PRINCIPAL, again_at_once, info, reserved, task};
use crate::support::mesos::Mesos;
use crate::support::until;

/// Of the disk, in MiB.
const SIZE: f64 = 64.0;

/// A disk of the machine, as far as anybody can tell; None where this process may mount none.
struct Disk(TempDir);

impl Disk {
    fn mount() -> Option<Self> {
        let disk = Disk(tempfile::tempdir().unwrap());
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=64m", "none"]).arg(disk.0.path()).output();
        let mounted = mounted.is_ok_and(|output| output.status.success());
        if !mounted {
            println!("skipped: no disk can be mounted here");
        }
        mounted.then_some(disk)
    }

    fn root(&self) -> &str {
        self.0.path().to_str().unwrap()
    }

    fn is_empty(&self) -> bool {
        std::fs::read_dir(self.0.path()).unwrap().next().is_none()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
    }
}

async fn a_whole_disk_is_where_it_is_mounted_and_is_emptied_when_it_is_destroyed(cluster: &Cluster, disk: &Disk) {
    let mut framework = Framework::subscribe(cluster, info("whole-disks")).await;
    let offer = framework.offer().await;
    let offered = offer.resources.iter().find(|resource| resource.mount_root() == Some(disk.root()));
    assert_eq!(offered.expect("the disk is offered").amount(), SIZE);
    let whole = reserved(Resource::mounted_disk(disk.root(), SIZE));
    let volume = whole.clone().persistent("whole-1", Some(PRINCIPAL), "data");
    let mut writer = task(&offer, "writer", "write data/file kept\nfinish");
    writer.resources.push(volume.clone());
    let operations = vec![
        Operation::reserve(vec![whole.clone()]),
        Operation::create(vec![volume.clone()]),
        Operation::launch(vec![writer]),
    ];
    framework.accept(&[offer], operations, again_at_once()).await;
    framework.acknowledged("writer", TaskState::Running).await;
    framework.acknowledged("writer", TaskState::Finished).await;
    assert_eq!(std::fs::read_to_string(Path::new(disk.root()).join("file")).unwrap(), "kept");

    let offers = framework.offers_with(std::slice::from_ref(&volume)).await;
    let operations = vec![Operation::destroy(vec![volume]), Operation::unreserve(vec![whole])];
    framework.accept(&offers, operations, again_at_once()).await;
    framework.offers_with(&[Resource::mounted_disk(disk.root(), SIZE)]).await;
    until("the disk is empty", || async { disk.is_empty() }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_the_engine() {
    let Some(disk) = Disk::mount() else { return };
    let engine = EngineCluster::start(|settings| settings.mounted_disks = vec![disk.0.path().to_owned()]).await;
    let cluster = Cluster::Engine(Box::new(engine));
    a_whole_disk_is_where_it_is_mounted_and_is_emptied_when_it_is_destroyed(&cluster, &disk).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_mesos() {
    let Some(disk) = Disk::mount() else { return };
    let scalar = |name: &str, value: f64| json!({ "name": name, "type": "SCALAR", "scalar": { "value": value } });
    let mut whole = scalar("disk", SIZE);
    whole["disk"] = json!({ "source": { "type": "MOUNT", "mount": { "root": disk.root() } } });
    let resources = json!([scalar("cpus", 4.0), scalar("mem", 4096.0), scalar("disk", 1000.0), whole]);
    let Some(mesos) = Mesos::start(vec![("MESOS_RESOURCES", resources.to_string())]).await else { return };
    let cluster = Cluster::Mesos(mesos);
    a_whole_disk_is_where_it_is_mounted_and_is_emptied_when_it_is_destroyed(&cluster, &disk).await;
}
