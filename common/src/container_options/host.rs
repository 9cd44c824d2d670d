//! Options that reach into the machine: paths, devices and namespaces of it.

/// A path of the machine that the container sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostMount {
    /// The path on the machine.
    pub source: String,
    /// Where the container sees it.
    pub target: String,
    /// Whether it may only be read.
    pub read_only: bool,
}

/// A device of the machine that the container has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostDevice {
    /// The path on the machine.
    pub source: String,
    /// Where the container sees it.
    pub target: String,
    /// Of `r`, `w` and `m`, what may be done with it.
    pub permissions: String,
}

/// A namespace of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum HostNamespace {
    /// Its control groups.
    ControlGroups,
    /// Its shared memory and semaphores.
    Ipc,
    /// Its network.
    Network,
    /// Its processes.
    Processes,
    /// Its host name.
    Uts,
}

/// What a mount wants.
pub(super) const MOUNT: &str = "/PATH/ON/THE/MACHINE:/PATH/IN/THE/CONTAINER[:ro]; a node's own data is in its `disks`";
/// What a mount in words wants.
pub(super) const MOUNT_WORDS: &str = "type=bind,source=/PATH/ON/THE/MACHINE,target=/PATH/IN/THE/CONTAINER[,readonly]; a node's own data is in its `disks`";
/// What a device wants.
pub(super) const DEVICE: &str = "/dev/NAME[:/PATH/IN/THE/CONTAINER[:rwm]]";

/// `/SOURCE:/TARGET[:ro]`.
pub(super) fn mount(value: &str) -> Option<HostMount> {
    let parts: Vec<&str> = value.split(':').collect();
    let (source, target, mode) = match parts.as_slice() {
        [source, target] => (source, target, "rw"),
        [source, target, mode] => (source, target, *mode),
        _ => return None,
    };
    let read_only = match mode {
        "ro" => true,
        "rw" => false,
        _ => return None,
    };
    checked(source, target, read_only)
}

/// `type=bind,source=/SOURCE,target=/TARGET[,readonly]`.
pub(super) fn mount_in_words(value: &str) -> Option<HostMount> {
    let (mut kind, mut source, mut target, mut read_only) = (None, None, None, false);
    for part in value.split(',') {
        let (key, value) = part.split_once('=').unwrap_or((part, "true"));
        match key {
            "type" => kind = Some(value),
            "source" | "src" => source = Some(value),
            "target" | "destination" | "dst" => target = Some(value),
            "readonly" | "ro" => read_only = value.parse().ok()?,
            _ => return None,
        }
    }
    checked(source?, target?, read_only).filter(|_| kind == Some("bind"))
}

fn checked(source: &str, target: &str, read_only: bool) -> Option<HostMount> {
    let is_plain = |path: &str| path.starts_with('/') && path.split('/').all(|part| part != "..");
    let plain = is_plain(source) && is_plain(target) && !target.trim_matches('/').is_empty();
    plain.then(|| HostMount { source: source.to_owned(), target: target.to_owned(), read_only })
}

/// `/dev/NAME[:TARGET][:PERMISSIONS]`.
pub(super) fn device(value: &str) -> Option<HostDevice> {
    let mut parts = value.split(':');
    let source = parts.next().filter(|source| source.starts_with("/dev/") && !source.contains("/.."))?;
    let (mut target, mut permissions) = (source, "rwm");
    if let Some(part) = parts.next() {
        match part.starts_with('/') {
            true => (target, permissions) = (part, parts.next().unwrap_or(permissions)),
            false => permissions = part,
        }
    }
    let allowed = !permissions.is_empty() && permissions.chars().all(|character| "rwm".contains(character));
    let (target, permissions) = (target.to_owned(), permissions.to_owned());
    (allowed && parts.next().is_none()).then(|| HostDevice { source: source.to_owned(), target, permissions })
}

/// The namespace that the option puts the container into where its value is `host`.
pub(super) fn namespace(option: &str) -> Option<HostNamespace> {
    Some(match option {
        "--cgroupns" => HostNamespace::ControlGroups,
        "--ipc" => HostNamespace::Ipc,
        "--net" | "--network" => HostNamespace::Network,
        "--pid" => HostNamespace::Processes,
        "--uts" => HostNamespace::Uts,
        _ => return None,
    })
}
