//! A container that stands in for the node's own while that does not run: commands find the node's image, folder and disks
//! there, as those of a node that is a process do. What the container wrote into its own file system they do not find.

use super::Containers;
use super::create::{self, body, connection};
use super::engine::in_words;
use super::found::{inspect, remove};
use super::networks::Connection;
use super::workload::make;
use crate::environment::Surroundings;
use std::sync::Arc;
use tokio::sync::watch;

/// What a command is told that was not begun.
pub(super) const LATE: &str = "the node's container does not run, and none that stands in for it was made in time";
/// See [`LATE`].
pub(super) const GONE: &str = "the node's container does not run, and what stood in for it ended";

/// What it does: nothing, until it is removed.
const COMMAND: [&str; 2] = ["sleep", "2147483647"];

/// Its name.
pub(super) fn name(node: &Surroundings) -> String {
    format!("{}-commands", create::name(node))
}

/// Its name, once it runs. It stays until the node's end: what runs in it may outlast the start of the workload.
///
/// # Errors
/// In words, when there is none.
pub(super) async fn provide(runtime: &Containers, node: &Surroundings) -> Result<String, String> {
    let alone = Arc::clone(&runtime.standing_in).lock_owned().await;
    let (engine, name) = (&runtime.engine, name(node));
    match inspect(engine, &name).await? {
        Some(found) if found.is_running => return Ok(name),
        Some(found) => remove(engine, &found.id).await?,
        None => {}
    }
    let image = node.node.blueprint.docker_image.as_deref().ok_or("the node has no image")?;
    let mut body = body(node, image, &runtime.registry)?;
    body.entrypoint = Some(COMMAND.map(str::to_owned).to_vec());
    body.cmd = Some(Vec::new());
    // The ports are those of the workload.
    body.exposed_ports = None;
    if let Some(host) = &mut body.host_config {
        host.port_bindings = None;
    }
    runtime.provide_image(node, image, &watch::channel(None).0).await?;
    let mut connection = connection(node, &runtime.registry)?;
    if let Connection::Own(attachments) = &mut connection {
        // Its addresses are the workload's, which may start beside it.
        attachments.clear();
        body.networking_config = None;
        if let Some(host) = &mut body.host_config {
            host.network_mode = Some("none".to_owned());
        }
    }
    let (engine, container) = (engine.clone(), name.clone());
    let make = async move {
        // The next command finds it made, though this one may have gone away.
        let _alone = alone;
        let made = make(engine.clone(), container.clone(), body, connection).await;
        made.map_err(|reason| format!("a container for the node's commands: {reason}"))?;
        engine.docker.start_container(&container, None).await.map_err(|error| {
            format!("commands need `{}` in the image while the workload does not run: {}", COMMAND[0], in_words(&error))
        })
    };
    runtime.makings.run(make).await.map(|()| name)
}
