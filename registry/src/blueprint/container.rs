//! `docker_opts` of a node: read here, so that a product is told of what is refused before anything is stored.

use super::late::{self, Scope};
use super::reader::Reader;
use bigdata_common::blueprint::Node;
use bigdata_common::container_options::{ContainerOptions, ContainerRights, Marked};

/// An option of a node's container that takes a right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needed {
    /// Where it stands in the document.
    pub pointer: String,
    /// The option.
    pub option: Marked,
}

/// Where the platform puts things of its own in a container.
const OWN_PATHS: [&str; 4] = ["/bigdata", "/etc/hosts", "/proc", "/dev"];

/// Checks them, and tells which rights they take.
pub(super) fn check(pointer: &str, node: &Node, scope: &Scope<'_>, reader: &mut Reader<'_>) -> ContainerRights {
    let Some(text) = &node.docker_opts else { return ContainerRights::new() };
    let pointer = format!("{pointer}/docker_opts");
    let options = match ContainerOptions::parse_as_if_allowed(text) {
        Ok(options) => options,
        Err(error) => {
            reader.fault(pointer, error.to_string());
            return ContainerRights::new();
        }
    };
    let values = options.env.iter().map(|(_, value)| value);
    if late::count(text) > values.clone().map(|value| late::count(value)).sum::<usize>() {
        reader.fault(&pointer, "late values (@{…}) of docker_opts are filled in in values of -e and --env only");
    }
    for value in values {
        late::check(&pointer, value, scope, reader);
    }
    let taken = |path: &str| {
        let is_below = |own: &&str| path == *own || path.strip_prefix(*own).is_some_and(|rest| rest.starts_with('/'));
        OWN_PATHS.iter().any(is_below) || node.disks.values().any(|disk| disk.destination == path)
    };
    for mount in options.mounts.iter().filter(|mount| taken(mount.target.trim_end_matches('/'))) {
        let words = format!("docker_opts: the platform itself puts something at {} of the container", mount.target);
        reader.fault(&pointer, words);
    }
    let rights = options.marked.iter().map(|marked| marked.right).collect();
    reader.needed.extend(options.marked.into_iter().map(|option| Needed { pointer: pointer.clone(), option }));
    rights
}
