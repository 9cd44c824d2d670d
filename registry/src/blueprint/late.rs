//! Late values: `@{…}` in texts, filled in by the executor before each start.

use super::reader::Reader;
use bigdata_common::Name;
use bigdata_common::blueprint::{Disk, Port};
use indexmap::IndexMap;
use std::collections::BTreeSet;

/// What late values of one node may name.
#[derive(Debug)]
pub(super) struct Scope<'node> {
    /// The nodes of the cluster.
    pub(super) nodes: &'node BTreeSet<&'node str>,
    /// The node's ports.
    pub(super) ports: &'node IndexMap<Name, Port>,
    /// The node's disks.
    pub(super) disks: &'node IndexMap<Name, Disk>,
}

/// Checks every late value of a text.
pub(super) fn check(pointer: &str, text: &str, scope: &Scope<'_>, reader: &mut Reader<'_>) {
    for late in late_values(text) {
        if let Err(words) = late.and_then(|late| known(late, scope, reader.secrets)) {
            reader.fault(pointer, words);
        }
    }
}

/// Refuses late values where nothing fills them in.
pub(super) fn refuse(pointer: &str, text: &str, reader: &mut Reader<'_>) {
    if late_values(text).next().is_some() {
        reader.fault(pointer, "late values (@{…}) are filled in in command, env and files only");
    }
}

/// How many late values a text has.
pub(super) fn count(text: &str) -> usize {
    late_values(text).count()
}

fn late_values(text: &str) -> impl Iterator<Item = Result<&str, String>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        loop {
            let start = rest.find("@{")?;
            let literal = rest[..start].ends_with('@');
            rest = &rest[start + 2..];
            if literal {
                continue;
            }
            return Some(match rest.find('}') {
                Some(end) => {
                    let late = &rest[..end];
                    rest = &rest[end + 1..];
                    Ok(late)
                }
                None => {
                    rest = "";
                    Err("a late value begins with @{ and has no end; write @@{ for the text @{".to_owned())
                }
            });
        }
    })
}

fn known(late: &str, scope: &Scope<'_>, secrets: &BTreeSet<String>) -> Result<(), String> {
    let (kind, argument) = late.split_once(':').unwrap_or((late, ""));
    let (exists, what) = match kind {
        "address" if !late.contains(':') => (true, ""),
        "address" => (scope.nodes.contains(argument), "the cluster has no such node"),
        "listen" if !late.contains(':') => (true, ""),
        "port" | "listen" => (scope.ports.contains_key(argument), "the node has no such port"),
        "disk" => (scope.disks.contains_key(argument), "the node has no such disk"),
        "secret" => (secrets.contains(argument), "the product has no such secret option"),
        _ => {
            return Err(format!(
                "@{{{late}}} is no late value; there are address, address:NODE, port:NAME, listen, listen:NAME, disk:NAME and \
                 secret:OPTION, and @@{{ for the text @{{"
            ));
        }
    };
    if exists { Ok(()) } else { Err(format!("@{{{late}}}: {what}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_values_are_found() {
        let found: Vec<_> = late_values("a @{address} @@{no} b@{port:http}c @{x").collect();
        assert_eq!(found[..2], [Ok("address"), Ok("port:http")]);
        assert!(found[2].is_err() && found.len() == 3);
    }
}
