//! The making and removal of networks in the engine, and the connecting of containers with them.
//!
//! Nobody owns a network: whoever needs one makes it where it is missing, and whoever leaves removes it when no container
//! of the platform is made for it. A container names its networks in labels, so that one that does not run counts, too.

use super::bridge::Bridges;
use super::create::REGISTRY;
use super::engine::{Engine, in_words, is_missing};
use super::found::list;
use super::networks::{Attachment, Connection, MEMBER, member_label};
use super::raw;
use bollard::models::{NetworkConnectRequest, NetworkDisconnectRequest};
use serde::Deserialize;
use serde_json::json;
use std::collections::HashMap;

/// The name that engines give the first interface of a container.
const FIRST: &str = "eth0";
/// The version of Podman's own interface that is asked: the oldest one that Podman 4 and 5 speak.
const PODMAN_API: &str = "/v4.0.0/libpod";

async fn is_there(engine: &Engine, name: &str) -> Result<bool, String> {
    let path = format!("/networks/{}", raw::encoded(name));
    Ok(raw::get::<serde_json::Value>(engine, &path).await?.is_some())
}

/// Whether one of them is missing.
pub(super) async fn lacks(engine: &Engine, connection: &Connection) -> bool {
    for network in connection.networks() {
        if is_there(engine, &network.name).await == Ok(false) {
            return true;
        }
    }
    false
}

/// Makes those that are missing.
///
/// # Errors
/// In words, when one cannot be made.
pub(super) async fn provide(engine: &Engine, connection: &Connection) -> Result<(), String> {
    for network in connection.networks() {
        if is_there(engine, &network.name).await? {
            continue;
        }
        if let Err(error) = engine.docker.create_network((*network.request).clone()).await
            // A node beside this one may have made it meanwhile.
            && !is_there(engine, &network.name).await?
        {
            return Err(format!("{} cannot be made: {}", network.words, in_words(&error)));
        }
    }
    Ok(())
}

/// Connects a container that was made for the first of its networks with the others, in their order: engines name
/// interfaces by it, unless they are told otherwise.
///
/// # Errors
/// In words, when it cannot be connected.
pub(super) async fn connect(engine: &Engine, container: &str, connection: &Connection) -> Result<(), String> {
    let Connection::Own(attachments) = connection else { return Ok(()) };
    let is_named_otherwise = |first: &Attachment| engine.is_podman() && first.interface.name.as_str() != FIRST;
    let again = attachments.first().filter(|first| is_named_otherwise(first));
    if let Some(first) = again {
        let request = NetworkDisconnectRequest { container: container.to_owned(), force: None };
        engine.docker.disconnect_network(&first.network.name, request).await.map_err(|error| in_words(&error))?;
    }
    for (rank, attachment) in attachments.iter().enumerate().skip(usize::from(again.is_none())) {
        let connected = if engine.is_podman() {
            // The interface that it shares with Docker takes no names.
            let interface = &attachment.interface;
            let path = format!("{PODMAN_API}/networks/{}/connect", attachment.network.name);
            let request = json!({
                "container": container,
                "static_ips": [interface.address],
                "static_mac": attachment.hardware_address(),
                "interface_name": interface.name,
            });
            raw::post(engine, &path, &request).await
        } else {
            let request = NetworkConnectRequest {
                container: container.to_owned(),
                endpoint_config: Some(attachment.endpoint(rank)),
            };
            let name = &attachment.network.name;
            engine.docker.connect_network(name, request).await.map_err(|error| in_words(&error))
        };
        connected
            .map_err(|error| format!("the container cannot be connected with {}: {error}", attachment.network.words))?;
    }
    Ok(())
}

/// The devices of the bridges that the engine makes for a container, before or when it starts.
pub(super) async fn bridges(engine: &Engine, connection: &Connection) -> Bridges {
    #[derive(Deserialize)]
    struct Made {
        #[serde(default)]
        network_interface: Option<String>,
    }
    let mut devices = Vec::new();
    // Docker sees to their addresses itself.
    for network in connection.networks().into_iter().filter(|network| engine.is_podman() && network.is_bridge()) {
        let path = format!("{PODMAN_API}/networks/{}/json", raw::encoded(&network.name));
        let made = raw::get::<Made>(engine, &path).await;
        devices.extend(made.ok().flatten().and_then(|made| made.network_interface));
    }
    let publishes = matches!(connection, Connection::Cluster(_)).then_some(FIRST);
    Bridges::new(devices, publishes)
}

/// Removes those that no container of the platform is made for.
pub(super) async fn release(engine: &Engine, connection: &Connection) {
    for network in connection.networks() {
        remove_unused(engine, &network.name).await;
    }
}

/// Removes a network unless it is needed. Where it cannot be removed now, somebody else comes by.
pub(super) async fn remove_unused(engine: &Engine, name: &str) {
    if !is_unused(engine, name).await {
        return;
    }
    match engine.docker.remove_network(name).await {
        Err(error) if !is_missing(&error) => {
            tracing::info!(network = name, error = in_words(&error), "a network is left");
        }
        _ => {}
    }
}

async fn is_unused(engine: &Engine, name: &str) -> bool {
    let members = list(engine, vec![format!("{}={MEMBER}", member_label(name))]).await;
    members.is_ok_and(|members| members.is_empty())
}

/// The networks of a registry's clusters, or else of any registry's, that nobody uses now.
pub(super) async fn unused(engine: &Engine, registry: Option<&str>) -> Result<Vec<String>, String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Summary {
        name: String,
        #[serde(default)]
        labels: Option<HashMap<String, String>>,
    }
    let wanted = registry.map_or_else(|| REGISTRY.to_owned(), |registry| format!("{REGISTRY}={registry}"));
    let filters = raw::encoded(&json!({ "label": [wanted] }).to_string());
    let found: Vec<Summary> = raw::get(engine, &format!("/networks?filters={filters}")).await?.unwrap_or_default();
    let mut unused = Vec::new();
    for network in found {
        let of = network.labels.and_then(|mut labels| labels.remove(REGISTRY));
        let is_ours = of.is_some_and(|of| registry.is_none_or(|registry| of == registry));
        if is_ours && is_unused(engine, &network.name).await {
            unused.push(network.name);
        }
    }
    Ok(unused)
}
