//! From a task to a node at work: listen, enrol, make the folder ready, start.

mod enrol;

use crate::container::{self, Containers};
use crate::control::{Attempts, Control};
use crate::environment::{GROUP_PREFIX, Surroundings};
use crate::folder::{Owner, PrepareError, prepare};
use crate::identity::{Identity, IdentityError, decode};
use crate::logs::{Rotation, Stream};
use crate::node::workload::Processing;
use crate::node::{self, Fixture, Handle};
use crate::peers::{Known, Source};
use crate::runtime::Runtime;
use crate::state::State;
use crate::token::ControlKey;
use bigdata_common::internal::{EnrolRequest, NodeSpecification, TaskData};
use bigdata_mesos::v1::TaskInfo;
use bigdata_sandbox::Capabilities;
pub(crate) use enrol::list as frameworks;
use enrol::{EnrolError, enrol};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use uuid::Uuid;

/// An empty control group that is younger may be one that is just being made.
const LEFTOVER_AGE: Duration = Duration::from_mins(1);

/// The label of a task that says which registry its cluster is of.
const LABEL_REGISTRY: &str = "bigdata_registry";

/// Why a node does not come to life.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The task is none of the platform's.
    #[error("the task's data is not of the form that the framework writes")]
    Data(#[source] serde_json::Error),
    /// The control channel cannot listen.
    #[error("the control channel cannot listen on {0}")]
    Listen(String, #[source] io::Error),
    /// No certificate.
    #[error("no certificate for the control channel")]
    Identity(#[from] IdentityError),
    /// The framework refuses the node or cannot be reached.
    #[error("the framework did not take the node in")]
    Enrol(#[from] EnrolError),
    /// The folder is not ready.
    #[error("the node's folder cannot be made ready")]
    Prepare(#[from] PrepareError),
    /// The control key is not base64.
    #[error("the framework's reply holds no control key")]
    ControlKey(#[source] base64::DecodeError),
    /// The node is a container, and nobody runs it.
    #[error("the node cannot be a container here: {0}")]
    Engine(String),
    /// The state file or the logs cannot be written.
    #[error("{0}")]
    File(&'static str, #[source] io::Error),
}

/// Does all that comes before the workload, then starts it (or holds it for its script).
///
/// # Errors
/// What does not work, for people.
pub async fn launch(
    task: &TaskInfo,
    agent_endpoint: &str,
    patience: Duration,
    grace: Duration,
) -> Result<Handle, LaunchError> {
    let data: TaskData = serde_json::from_slice(task.data.as_deref().unwrap_or_default()).map_err(LaunchError::Data)?;
    let root = std::env::current_dir().map_err(|error| LaunchError::File("the working directory is gone", error))?;
    let program = program();
    // Nobody waits for it.
    tokio::task::spawn_blocking(remove_leftovers);
    let isolation = isolation(program.clone()).await;
    let host = listen_address(agent_endpoint).await;
    let stored = State::load(&root, data.attempt).map_err(|error| LaunchError::File("the state file", error))?;
    let resumed = stored.is_some();
    let (listener, state) = match resume(stored).await {
        Ok(found) => found,
        Err(identity) => {
            let listener = listen(host, control_port(task)).await?;
            let state = take_in(&data, identity, &listener, host, &isolation, patience).await?;
            state.store(&root).map_err(|error| LaunchError::File("the state file cannot be written", error))?;
            (listener, state)
        }
    };
    let attempts =
        Attempts::load(&root).map_err(|error| LaunchError::File("the file of runs cannot be read", error))?;
    let acceptor = state.identity.acceptor()?;
    let key = ControlKey::new(decode(&state.node.control_key).map_err(LaunchError::ControlKey)?);
    let source = Source { frameworks: data.framework, attempt: data.attempt, key: key.clone() };
    let peers = Known::new(state.node.peers.clone(), Some(source), !resumed);
    let registry = task.labels.as_ref().and_then(|labels| labels.get(LABEL_REGISTRY)).unwrap_or_default().to_owned();
    let fixture = Rc::new(fixture(&root, state.node, peers, program, isolation, registry).await?);
    let goes_on = resumed && fixture.runtime.resume(&fixture).await;
    let handle =
        node::run(Rc::clone(&fixture), grace, goes_on).map_err(|error| LaunchError::File("no timer", error))?;
    tokio::task::spawn_local(Control::new(fixture, handle.clone(), key, attempts).serve(listener, acceptor));
    Ok(handle)
}

/// Goes on where an earlier process of this attempt stopped; else the identity to enrol with, if there is one already.
async fn resume(stored: Option<State>) -> Result<(TcpListener, State), Option<Identity>> {
    let Some(state) = stored else { return Err(None) };
    match TcpListener::bind(&state.control).await {
        Ok(listener) => Ok((listener, state)),
        Err(_) => Err(Some(state.identity)),
    }
}

async fn take_in(
    data: &TaskData,
    identity: Option<Identity>,
    listener: &TcpListener,
    host: IpAddr,
    isolation: &str,
    patience: Duration,
) -> Result<State, LaunchError> {
    let listening = |error| LaunchError::Listen(host.to_string(), error);
    let control = SocketAddr::new(host, listener.local_addr().map_err(listening)?.port()).to_string();
    let identity = identity.map_or_else(|| Identity::generate(&host.to_string()), Ok)?;
    let request = EnrolRequest {
        attempt: data.attempt,
        token: data.token.clone(),
        fingerprint: identity.fingerprint()?,
        control: control.clone(),
        isolation: isolation.to_owned(),
    };
    let node = enrol(&data.framework, &request, patience).await?;
    Ok(State { identity, control, node })
}

async fn fixture(
    root: &Path,
    node: NodeSpecification,
    peers: Known,
    program: PathBuf,
    isolation: String,
    registry: String,
) -> Result<Fixture, LaunchError> {
    let root_user = nix::unistd::geteuid().is_root();
    let settings = container::Settings::from_environment();
    let is_container = container::is_wanted(&node, &settings);
    let own = |uid| Owner { uid, gid: uid };
    let owner = if is_container { container::owner(&node.blueprint) } else { node.uid.map(own) };
    let owner = owner.filter(|_| root_user);
    let mut folder = prepare(root, &node, owner)?;
    let open = |name| Stream::open(&folder.logs(), name, Rotation::default()).map(Arc::new);
    let failed = |error| LaunchError::File("the workload's output cannot be kept", error);
    let (stdout, stderr) = (open("stdout").map_err(failed)?, open("stderr").map_err(failed)?);
    let (runtime, isolation): (Rc<dyn Runtime>, String) = if is_container {
        folder.view = Some(container::view(&node.blueprint));
        let containers = Containers::new(settings, registry, &folder.root).await.map_err(LaunchError::Engine)?;
        let isolation = containers.isolation();
        (Rc::new(containers), isolation)
    } else {
        (Rc::new(Processing::new(program)), isolation)
    };
    Ok(Fixture { surroundings: Surroundings { node, peers, folder, owner }, runtime, stdout, stderr, isolation })
}

/// This very program, even where its file was replaced meanwhile.
fn program() -> PathBuf {
    match std::env::current_exe() {
        Ok(path) if path.is_file() => path,
        _ => PathBuf::from("/proc/self/exe"),
    }
}

/// Removes the empty control groups of nodes whose executor and sandbox were killed together: nobody else comes by.
fn remove_leftovers() {
    let is_of_a_node = |name: &str| {
        name.strip_prefix(GROUP_PREFIX).and_then(|rest| rest.get(..36)).is_some_and(|id| Uuid::try_parse(id).is_ok())
    };
    let count = bigdata_sandbox::remove_empty_groups(is_of_a_node, LEFTOVER_AGE);
    if count > 0 {
        tracing::info!(count, "empty control groups that were left behind are removed");
    }
}

/// What bounds workloads here, in words.
async fn isolation(program: PathBuf) -> String {
    match tokio::task::spawn_blocking(move || Capabilities::probe(&program)).await {
        Ok(Ok(capabilities)) => in_words(&capabilities),
        Ok(Err(error)) => format!("unknown ({})", crate::chain(&error)),
        Err(error) => format!("unknown ({error})"),
    }
}

fn in_words(capabilities: &Capabilities) -> String {
    let words: Vec<String> = [
        ("own uid", &capabilities.root),
        ("own loopback source", &capabilities.loopback_source),
        ("own mounts", &capabilities.mount_namespaces),
        ("cgroup v1", &capabilities.cgroup_version_1),
        ("cgroup v2", &capabilities.cgroup_version_2),
        ("subreaper", &capabilities.subreaper),
    ]
    .into_iter()
    .filter(|(_, capability)| capability.available)
    .map(|(word, capability)| match word.strip_prefix("cgroup") {
        Some(_) => format!("{word} ({})", capability.explanation),
        None => word.to_owned(),
    })
    .collect();
    if words.is_empty() { "resource limits".to_owned() } else { words.join(", ") }
}

/// The address that the agent is known by, on which its nodes' control channels listen.
async fn listen_address(agent_endpoint: &str) -> IpAddr {
    let configured = std::env::var("LIBPROCESS_IP").ok().and_then(|text| text.parse().ok());
    if let Some(address) = configured.filter(|address: &IpAddr| !address.is_unspecified()) {
        return address;
    }
    let host = agent_endpoint.rsplit_once(':').map_or(agent_endpoint, |(host, _)| host);
    if let Ok(address) = host.trim_matches(['[', ']']).parse() {
        return address;
    }
    let found = tokio::net::lookup_host((host, 0)).await.ok().and_then(|mut found| found.next());
    found.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |address| address.ip())
}

/// The first port of the task, which the framework took for the control channel; 0 where the agent offers none.
fn control_port(task: &TaskInfo) -> u16 {
    let ports = task.resources.iter().find(|resource| resource.name == "ports");
    let first = ports.and_then(|resource| resource.ranges.as_ref()?.range.first());
    first.and_then(|range| u16::try_from(range.begin).ok()).unwrap_or(0)
}

async fn listen(host: IpAddr, port: u16) -> Result<TcpListener, LaunchError> {
    let failed = |error| LaunchError::Listen(format!("{host}:{port}"), error);
    match TcpListener::bind((host, port)).await {
        // The agent is known by an address that this machine does not have itself (a forwarded one).
        Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await.map_err(failed)
        }
        result => result.map_err(failed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bigdata_mesos::v1::{Range, Ranges, Resource};

    #[test]
    fn the_control_port_is_the_first_one() {
        let ports = |ranges: &[(u64, u64)]| Resource {
            name: "ports".into(),
            ranges: Some(Ranges { range: ranges.iter().map(|&(begin, end)| Range { begin, end }).collect() }),
            ..Resource::default()
        };
        let task = |resources| TaskInfo { resources, ..TaskInfo::default() };
        let memory = Resource { name: "mem".into(), ..Resource::default() };
        assert_eq!(control_port(&task(vec![memory.clone(), ports(&[(31_005, 31_006), (31_009, 31_009)])])), 31_005);
        assert_eq!(control_port(&task(vec![memory, ports(&[])])), 0);
        assert_eq!(control_port(&task(vec![ports(&[(70_000, 70_001)])])), 0);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn the_agents_address_is_listened_on() {
        if std::env::var_os("LIBPROCESS_IP").is_some() {
            println!("skipped: LIBPROCESS_IP is set");
            return;
        }
        for (endpoint, address) in [("127.0.0.3:5051", "127.0.0.3"), ("[::1]:5051", "::1"), ("127.0.0.3", "127.0.0.3")]
        {
            assert_eq!(listen_address(endpoint).await.to_string(), address, "{endpoint}");
        }
        let listener = listen("127.0.0.3".parse().unwrap(), 0).await.unwrap();
        assert_eq!(listener.local_addr().unwrap().ip().to_string(), "127.0.0.3");
        // Reserved for documentation, so no machine's own.
        assert!(listen("192.0.2.1".parse().unwrap(), 0).await.unwrap().local_addr().unwrap().ip().is_unspecified());
    }
}
