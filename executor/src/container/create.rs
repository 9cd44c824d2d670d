//! What a node's container is made of. Pure: a node and its surroundings become the engine's settings.

use super::networks::Connection;
use crate::environment::{OPEN_FILES_MAX, PROCESSES_MAX, Surroundings};
use bigdata_common::container_options::{ContainerOptions, HostDevice, HostNamespace};
use bollard::models::{
    ContainerCreateBody, DeviceMapping, HostConfig, HostConfigCgroupnsModeEnum, HostConfigLogConfig, Mount, MountType,
    NetworkingConfig, PortBinding, ResourcesUlimits,
};
use nix::sys::resource::{Resource, getrlimit};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::path::Path;

/// Labels of the platform's containers.
pub(super) const CLUSTER: &str = "bigdata_cluster";
/// See [`CLUSTER`].
pub(super) const NODE: &str = "bigdata_node";
/// The attempt's id.
pub(super) const ATTEMPT: &str = "bigdata_attempt";
/// Which registry the cluster is of.
pub(super) const REGISTRY: &str = "bigdata_registry";
/// The executor's folder.
pub(super) const FOLDER: &str = "bigdata_folder";
/// Hash of all that the container was made from.
pub(super) const CONFIGURATION: &str = "bigdata_configuration";

/// Where a container sees the node's folder.
pub(super) const WORK: &str = "/bigdata";
/// Quotas are a part of this period, in microseconds: what engines use, too.
const CPU_PERIOD: i64 = 100_000;
/// The least quota that the kernel takes, in microseconds.
const CPU_QUOTA_MIN: i64 = 1000;
/// What an engine itself keeps of a container's output: the executor has it in its own files.
const ENGINE_LOG: &str = "16m";
/// What engines give and nodes do not get: raw sockets see the traffic of other clusters where nodes share the machine's
/// network, and nobody needs to make device files.
const DROPPED: [&str; 2] = ["NET_RAW", "MKNOD"];

/// What its `docker_opts` ask for, as far as its product was given the rights.
fn options(node: &Surroundings) -> Result<ContainerOptions, String> {
    let blueprint = &node.node.blueprint;
    let text = blueprint.docker_opts.as_deref().unwrap_or_default();
    ContainerOptions::parse(text, &blueprint.container_rights).map_err(|error| error.to_string())
}

/// How a node is connected.
///
/// # Errors
/// In words, when `docker_opts` ask for what they may not.
pub(super) fn connection(node: &Surroundings, registry: &str) -> Result<Connection, String> {
    Ok(Connection::of(node, registry, &options(node)?.namespaces))
}

/// The container's name.
pub(super) fn name(node: &Surroundings) -> String {
    format!("bigdata-{}", node.node.attempt.id)
}

/// All that the engine is told.
///
/// # Errors
/// In words, when a late value is not known, or `docker_opts` ask for what they may not.
pub(super) fn body(node: &Surroundings, image: &str, registry: &str) -> Result<ContainerCreateBody, String> {
    let options = options(node)?;
    let mut environment = node.own_environment().map_err(|error| error.to_string())?;
    for (name, value) in &options.env {
        environment.insert(name.clone(), node.values().fill(value).map_err(|error| error.to_string())?);
    }
    let connection = Connection::of(node, registry, &options.namespaces);
    let mut body = ContainerCreateBody {
        image: Some(image.to_owned()),
        hostname: (!options.namespaces.contains(&HostNamespace::Uts))
            .then(|| options.hostname.clone().unwrap_or_else(|| node.node.node.to_string())),
        user: options.user.clone(),
        working_dir: options.directory.clone(),
        entrypoint: options.entrypoint.clone().map(|program| vec![program]),
        stop_signal: options.stop_signal.clone(),
        env: Some(environment.into_iter().map(|(name, value)| format!("{name}={value}")).collect()),
        host_config: Some(host(node, options)),
        ..ContainerCreateBody::default()
    };
    connect(&mut body, node, &connection);
    let configuration = digest(&body);
    let label = |name: &str, value: String| (name.to_owned(), value);
    let labels = HashMap::from([
        label(CLUSTER, node.node.cluster.to_string()),
        label(NODE, node.node.node.to_string()),
        label(ATTEMPT, node.node.attempt.id.to_string()),
        label(REGISTRY, registry.to_owned()),
        label(FOLDER, node.folder.root.display().to_string()),
        label(CONFIGURATION, configuration),
    ]);
    body.labels = Some(labels.into_iter().chain(connection.labels()).collect());
    Ok(body)
}

/// The same for the same content: some of it is in maps that have no order.
fn digest(body: &ContainerCreateBody) -> String {
    let mut content = serde_json::to_value(body).unwrap_or_default();
    content.sort_all_objects();
    let digest = Sha256::digest(serde_json::to_vec(&content).unwrap_or_default());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Connects what is to be made, and lets it know its peers by their names.
fn connect(body: &mut ContainerCreateBody, node: &Surroundings, connection: &Connection) {
    let host = body.host_config.get_or_insert_default();
    let hosts_file = || mount(&node.folder.hosts(), Path::new("/etc/hosts"), true);
    match connection {
        Connection::Host => {
            host.network_mode = Some("host".to_owned());
            host.mounts.get_or_insert_default().push(hosts_file());
        }
        Connection::Own(attachments) => {
            host.mounts.get_or_insert_default().push(hosts_file());
            // With the others it is connected before it is started.
            let Some(first) = attachments.first() else { return };
            host.network_mode = Some(first.network.name.clone());
            let endpoints = HashMap::from([(first.network.name.clone(), first.endpoint(0))]);
            body.networking_config = Some(NetworkingConfig { endpoints_config: Some(endpoints) });
        }
        Connection::Cluster(network) => {
            host.network_mode = Some(network.name.clone());
            // Its own name is the engine's to know: the node's address is not one of the container's.
            let others = node.peers.now();
            let others = others.iter().filter(|(name, _)| **name != node.node.node);
            host.extra_hosts.get_or_insert_default().extend(others.flat_map(|(name, address)| {
                [format!("{name}:{address}"), format!("{name}.{}:{address}", node.node.dnsname)]
            }));
            let (exposed, published) = published(node);
            host.port_bindings = Some(published);
            body.exposed_ports = Some(exposed);
        }
    }
}

fn host(node: &Surroundings, options: ContainerOptions) -> HostConfig {
    let limits = node.limits();
    let memory = limits.memory_bytes.map(number);
    let security = options.no_new_privileges.then(|| vec!["no-new-privileges".to_owned()]);
    let dropped = dropped(&options);
    let shared = |namespace| options.namespaces.contains(&namespace).then(|| "host".to_owned());
    let of_the_machine = options.mounts.iter();
    let of_the_machine = of_the_machine.map(|it| mount(Path::new(&it.source), Path::new(&it.target), it.read_only));
    let extra_hosts: Vec<String> = options.hosts.iter().map(|(name, address)| format!("{name}:{address}")).collect();
    HostConfig {
        privileged: options.privileged.then_some(true),
        pid_mode: shared(HostNamespace::Processes),
        ipc_mode: shared(HostNamespace::Ipc),
        uts_mode: shared(HostNamespace::Uts),
        cgroupns_mode: shared(HostNamespace::ControlGroups).map(|_| HostConfigCgroupnsModeEnum::HOST),
        devices: (!options.devices.is_empty()).then(|| options.devices.iter().map(device).collect()),
        memory,
        memory_swap: memory,
        cpu_period: Some(CPU_PERIOD),
        cpu_quota: Some(((node.node.blueprint.cpu * CPU_PERIOD as f64) as i64).max(CPU_QUOTA_MIN)),
        pids_limit: limits.processes.map(number),
        ulimits: Some(ulimits(&options.limits)),
        mounts: Some(mounts(node).into_iter().chain(of_the_machine).collect()),
        extra_hosts: (!extra_hosts.is_empty()).then_some(extra_hosts),
        cap_add: (!options.capabilities_added.is_empty()).then_some(options.capabilities_added),
        cap_drop: (!dropped.is_empty()).then_some(dropped),
        security_opt: security,
        shm_size: options.shared_memory_bytes.map(number),
        tmpfs: (!options.temporary.is_empty()).then(|| options.temporary.into_iter().collect()),
        init: options.init.then_some(true),
        readonly_rootfs: options.read_only.then_some(true),
        log_config: Some(HostConfigLogConfig {
            typ: None,
            config: Some(HashMap::from([("max-size".to_owned(), ENGINE_LOG.to_owned())])),
        }),
        ..HostConfig::default()
    }
}

/// Capabilities that the container does not have: those that the platform takes away stay where the product was given them.
fn dropped(options: &ContainerOptions) -> Vec<String> {
    let has = |name: &str| options.privileged || options.capabilities_added.iter().any(|it| it == name || it == "ALL");
    let taken = DROPPED.into_iter().filter(|name| !has(name)).map(str::to_owned);
    taken.chain(options.capabilities_dropped.iter().cloned()).collect()
}

fn device(device: &HostDevice) -> DeviceMapping {
    DeviceMapping {
        path_on_host: Some(device.source.clone()),
        path_in_container: Some(device.target.clone()),
        cgroup_permissions: Some(device.permissions.clone()),
    }
}

fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn mounts(node: &Surroundings) -> Vec<Mount> {
    let folder = &node.folder;
    let mut mounts = vec![mount(&folder.work(), Path::new(WORK), false)];
    let seen = folder.seen_disks().iter();
    mounts.extend(seen.filter_map(|(name, seen)| Some(mount(folder.disks.get(name)?, seen, false))));
    mounts
}

fn mount(source: &Path, target: &Path, read_only: bool) -> Mount {
    Mount {
        typ: Some(MountType::BIND),
        source: Some(source.display().to_string()),
        target: Some(target.display().to_string()),
        read_only: Some(read_only),
        ..Mount::default()
    }
}

/// Limits as the product wants them, and others that this machine surely allows: an engine's own wishes may be beyond them.
fn ulimits(wanted: &[(String, i64, i64)]) -> Vec<ResourcesUlimits> {
    let limit =
        |name: &str, soft, hard| ResourcesUlimits { name: Some(name.to_owned()), soft: Some(soft), hard: Some(hard) };
    let own = [("nofile", Resource::RLIMIT_NOFILE, OPEN_FILES_MAX), ("nproc", Resource::RLIMIT_NPROC, PROCESSES_MAX)];
    let own = own.into_iter().filter(|(name, ..)| !wanted.iter().any(|(known, ..)| known == name));
    let own = own.filter_map(|(name, resource, most)| {
        let hard = number(getrlimit(resource).ok()?.1.min(most));
        Some(limit(name, hard, hard))
    });
    own.chain(wanted.iter().map(|(name, soft, hard)| limit(name, *soft, *hard))).collect()
}

/// The ports on which the image listens, and those of the node's address that lead to them.
fn published(node: &Surroundings) -> (Vec<String>, HashMap<String, Option<Vec<PortBinding>>>) {
    let ports = node.node.blueprint.ports.iter().filter_map(|(name, port)| {
        let inside = format!("{}/tcp", port.port);
        let outside = PortBinding {
            host_ip: Some(node.node.address.clone()),
            host_port: Some(node.node.ports.get(name)?.to_string()),
        };
        Some((inside, Some(vec![outside])))
    });
    let published: HashMap<_, _> = ports.collect();
    let mut exposed: Vec<String> = published.keys().cloned().collect();
    exposed.sort();
    (exposed, published)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folder::{Folder, View};
    use crate::testing::{name, specification};
    use bigdata_common::container_options::ContainerRight;
    use indexmap::IndexMap;

    fn node(address: &str) -> Surroundings {
        let mut node = specification();
        node.address = address.into();
        node.blueprint.cpu = 0.5;
        node.blueprint.docker_opts = Some("-e AT=@{address} --ulimit nofile=10:20".into());
        node.blueprint.ports.insert(name("sql"), serde_json::from_str(r#"{"port": 3306, "fixed": false}"#).unwrap());
        node.ports.insert(name("sql"), 31_005);
        let disks = IndexMap::from([(name("data"), "/volumes/7".into())]);
        let view = View { work: WORK.into(), disks: IndexMap::from([(name("data"), "/var/lib/x".into())]) };
        let peers = crate::peers::Known::new(node.peers.clone(), None, true);
        let folder = Folder { root: "/sandbox".into(), disks, view: Some(view) };
        Surroundings { node, peers, folder, owner: None }
    }

    #[test]
    fn bounds_mounts_and_environment() {
        let body = body(&node("127.77.0.5"), "i:1", "r1").unwrap();
        let environment = body.env.unwrap();
        for variable in ["AT=127.77.0.5", "BIGDATA_DISK_DATA=/var/lib/x", "BIGDATA_NODE=db0"] {
            assert!(environment.contains(&variable.to_owned()), "{environment:?}");
        }
        assert!(!environment.iter().any(|variable| variable.starts_with("PATH=") || variable.contains("/sandbox")));
        let host = body.host_config.unwrap();
        assert_eq!((host.memory, host.memory_swap, host.cpu_quota), (Some(256 << 20), Some(256 << 20), Some(50_000)));
        assert_eq!((host.network_mode.as_deref(), host.privileged), (Some("host"), None));
        let mounts: Vec<_> =
            host.mounts.unwrap().into_iter().map(|mount| (mount.source.unwrap(), mount.target.unwrap())).collect();
        let expected = [("/sandbox/work", WORK), ("/volumes/7", "/var/lib/x"), ("/sandbox/hosts", "/etc/hosts")];
        assert_eq!(mounts, expected.map(|(source, target)| (source.to_owned(), target.to_owned())));
        let limits = host.ulimits.unwrap();
        assert_eq!(limits.iter().filter(|limit| limit.name.as_deref() == Some("nofile")).count(), 1);
    }

    #[test]
    fn other_addresses_than_loopback_ones_are_published() {
        let body = body(&node("10.0.0.7"), "i:1", "r1").unwrap();
        let host = body.host_config.unwrap();
        assert_eq!(host.network_mode.as_deref(), Some("bigdata-clusters--alice--mariadb--10__11--1"));
        let binding = &host.port_bindings.unwrap()["3306/tcp"].clone().unwrap()[0];
        assert_eq!((binding.host_ip.as_deref(), binding.host_port.as_deref()), (Some("10.0.0.7"), Some("31005")));
        assert!(host.extra_hosts.unwrap().contains(&"other:127.0.0.2".to_owned()));
        let environment = body.env.unwrap();
        for variable in [
            "BIGDATA_ADDRESS=10.0.0.7",
            "BIGDATA_PORT_SQL=31005",
            "BIGDATA_LISTEN_ADDRESS=0.0.0.0",
            "BIGDATA_LISTEN_PORT_SQL=3306",
        ] {
            assert!(environment.contains(&variable.to_owned()), "{environment:?}");
        }
    }

    #[test]
    fn addresses_of_its_own_are_the_first_networks_and_the_hosts_file_is_the_nodes() {
        let mut node = node("10.101.0.7");
        let interface = r#"{"name": "eth0", "network": "admin", "address": "10.101.0.7", "subnet": "10.101.0.0",
            "prefix": 24, "gateway": "10.101.0.1"}"#;
        let other = interface.replace("eth0", "eth1").replace("admin", "storage").replace("10.101.", "10.102.");
        for text in [interface, &other] {
            node.node.interfaces.push(serde_json::from_str(text).unwrap());
        }
        let body = body(&node, "i:1", "r1").unwrap();
        assert!(body.env.unwrap().contains(&"BIGDATA_LISTEN_ADDRESS=10.101.0.7".to_owned()));
        let host = body.host_config.unwrap();
        let network = host.network_mode.unwrap();
        assert!(network.starts_with("bigdata-admin-"), "{network}");
        let endpoints = body.networking_config.unwrap().endpoints_config.unwrap();
        let endpoint = &endpoints[&network];
        let address = endpoint.ipam_config.clone().unwrap().ipv4_address;
        assert_eq!((endpoints.len(), address.as_deref()), (1, Some("10.101.0.7")));
        assert_eq!(endpoint.mac_address.as_deref(), Some("02:42:0a:65:00:07"));
        assert_eq!(host.port_bindings, None);
        assert!(host.mounts.unwrap().iter().any(|mount| mount.target.as_deref() == Some("/etc/hosts")));
        let labels = body.labels.unwrap();
        assert_eq!(labels.keys().filter(|name| name.starts_with("bigdata_net.bigdata-")).count(), 2, "{labels:?}");
    }

    #[test]
    fn the_same_node_has_the_same_configuration_and_another_has_not() {
        let of = |node: &Surroundings, image| body(node, image, "r").unwrap().labels.unwrap()[CONFIGURATION].clone();
        assert_eq!(of(&node("127.77.0.5"), "i:1"), of(&node("127.77.0.5"), "i:1"));
        let mut published = node("10.0.0.7");
        published.node.blueprint.docker_opts = Some("--tmpfs /a --tmpfs /b --tmpfs /c".into());
        for (at, port) in ["admin", "peer", "metrics"].into_iter().zip(4000_u16..) {
            let port = format!(r#"{{"port": {port}, "fixed": false}}"#);
            published.node.blueprint.ports.insert(name(at), serde_json::from_str(&port).unwrap());
            published.node.ports.insert(name(at), 31_010);
        }
        let hashes: std::collections::BTreeSet<_> = (0..20).map(|_| of(&published, "i:1")).collect();
        assert_eq!(hashes.len(), 1, "whatever the order of its ports and folders");
        assert_ne!(of(&node("127.77.0.5"), "i:1"), of(&node("127.77.0.6"), "i:1"));
        assert_ne!(of(&node("127.77.0.5"), "i:1"), of(&node("127.77.0.5"), "i:2"));
    }

    #[test]
    fn what_leads_out_is_not_even_told_to_the_engine() {
        let mut node = node("127.77.0.5");
        node.node.blueprint.docker_opts = Some("--privileged".into());
        assert!(body(&node, "i:1", "r").unwrap_err().contains("--privileged is refused"));
        node.node.blueprint.docker_opts = Some("--pid=host".into());
        node.node.blueprint.container_rights = [ContainerRight::Privileged].into();
        assert!(body(&node, "i:1", "r").unwrap_err().contains("--pid host is refused"));
        assert!(connection(&node, "r").unwrap_err().contains("--pid host is refused"));
    }

    #[test]
    fn what_the_product_was_given_the_right_to_is_told_to_the_engine() {
        let of = |text: &str| {
            let mut node = node("10.0.0.7");
            node.node.blueprint.docker_opts = Some(text.into());
            node.node.blueprint.container_rights = ContainerRight::ALL.into();
            body(&node, "i:1", "r").unwrap()
        };
        let body = of(
            "--privileged -v /sys/fs/cgroup:/sys/fs/cgroup:ro --cgroupns=host --pid=host --ipc=host --device /dev/fuse",
        );
        let host = body.host_config.unwrap();
        assert_eq!((host.privileged, host.cap_drop), (Some(true), None));
        assert_eq!((host.pid_mode.as_deref(), host.ipc_mode.as_deref()), (Some("host"), Some("host")));
        assert_eq!((host.uts_mode, host.cgroupns_mode), (None, Some(HostConfigCgroupnsModeEnum::HOST)));
        let mounted = host.mounts.unwrap().pop().unwrap();
        assert_eq!((mounted.source.as_deref(), mounted.read_only), (Some("/sys/fs/cgroup"), Some(true)));
        assert_eq!(host.devices.unwrap()[0].path_in_container.as_deref(), Some("/dev/fuse"));
        let body = of("--net=host --uts=host --cap-add NET_RAW");
        assert!(body.env.as_ref().unwrap().contains(&"BIGDATA_LISTEN_PORT_SQL=31005".to_owned()), "{:?}", body.env);
        let host = body.host_config.unwrap();
        assert_eq!((host.network_mode.as_deref(), host.port_bindings), (Some("host"), None));
        assert_eq!((body.hostname, host.uts_mode.as_deref()), (None, Some("host")));
        assert_eq!((host.cap_add, host.cap_drop), (Some(vec!["NET_RAW".into()]), Some(vec!["MKNOD".into()])));
    }
}
