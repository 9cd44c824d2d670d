//! Reads a rendered document into the checked form of [`bigdata_common::blueprint`]: every fault at once, each with its JSON
//! pointer. The older system's forms are understood. Pure.

mod check;
mod container;
mod credentials;
mod late;
mod node;
mod parts;
mod reader;

pub use container::Needed;

use crate::lifecycle::LifeSpec;
use bigdata_chassis::http::json::escape;
use bigdata_common::api::problem::Fault;
use bigdata_common::blueprint::{Blueprint, Service};
use bigdata_common::status::Termination;
use bigdata_common::{ClusterId, Name};
use indexmap::IndexMap;
use reader::Reader;
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// The most nodes of a cluster.
pub const NODES_MAX: usize = 1000;
/// Faults that are told; more are counted.
const FAULTS_MAX: usize = 100;

/// What a document says.
#[derive(Debug)]
pub struct Read {
    /// Nodes and services.
    pub blueprint: Blueprint,
    /// What happens to the data where the launch says nothing.
    pub termination: Option<Termination>,
    /// Limits of the cluster's life; `has_script` is the caller's.
    pub life: LifeSpec,
    /// What may not have been meant.
    pub warnings: Vec<String>,
    /// What its containers take a right for; the nodes have these rights already.
    pub needed: Vec<Needed>,
}

/// Reads a document; `secrets` are the names that `@{secret:…}` may use.
///
/// # Errors
/// Every fault.
pub fn read(document: &Value, id: &ClusterId, secrets: &BTreeSet<String>) -> Result<Read, Vec<Fault>> {
    let Value::Object(document) = document else {
        return Err(vec![Fault::new("", "an object with nodes and services is wanted")]);
    };
    let mut reader = Reader::new(secrets);
    let dnsname = dnsname(document, id, &mut reader);
    let nodes = nodes(document, &mut reader);
    let services = services(document, &nodes, &mut reader);
    let termination = termination(document, &mut reader);
    let life = life(document, &mut reader);
    for key in document.keys() {
        const KNOWN: [&str; 9] =
            ["dnsname", "nodes", "services", "termination", "on_failure", "deadlines", "status", "progress", "step"];
        if !KNOWN.contains(&key.as_str()) {
            reader.warn(format!("the key {key:?} of the document means nothing to the platform"));
        }
    }
    let (mut faults, warnings, needed) = reader.end();
    if faults.is_empty() {
        return Ok(Read { blueprint: Blueprint { dnsname, nodes, services }, termination, life, warnings, needed });
    }
    if faults.len() > FAULTS_MAX {
        let more = faults.len() - FAULTS_MAX;
        faults.truncate(FAULTS_MAX);
        faults.push(Fault::new("", format!("and {more} faults more")));
    }
    Err(faults)
}

fn dnsname(document: &Map<String, Value>, id: &ClusterId, reader: &mut Reader<'_>) -> String {
    const LENGTH_MAX: usize = 253;
    let allowed = |character: char| character.is_ascii_alphanumeric() || matches!(character, '.' | '_' | '-');
    match document.get("dnsname") {
        None | Some(Value::Null) => id.to_string(),
        Some(Value::String(name)) if name.is_empty() => id.to_string(),
        Some(Value::String(name)) if name.len() <= LENGTH_MAX && name.chars().all(allowed) => name.clone(),
        Some(_) => {
            reader.fault("/dnsname", "a text of letters, digits, '.', '_' and '-' is wanted, at most 253 of them");
            id.to_string()
        }
    }
}

fn nodes(document: &Map<String, Value>, reader: &mut Reader<'_>) -> IndexMap<Name, bigdata_common::blueprint::Node> {
    let mut nodes = IndexMap::new();
    let declared = match document.get("nodes") {
        Some(Value::Object(declared)) if !declared.is_empty() => declared,
        _ => {
            reader.fault("/nodes", "an object with at least one node is wanted");
            return nodes;
        }
    };
    if declared.len() > NODES_MAX {
        reader.fault("/nodes", format!("a cluster has at most {NODES_MAX} nodes, this one has {}", declared.len()));
        return nodes;
    }
    let names: BTreeSet<&str> = declared.keys().map(String::as_str).collect();
    for (name, value) in declared {
        let pointer = format!("/nodes/{}", escape(name));
        let name: Option<Name> = reader.name(&pointer, name);
        let node = node::read(&pointer, value, &names, reader);
        if let (Some(name), Some(node)) = (name, node) {
            nodes.insert(name, node);
        }
    }
    nodes
}

fn services(
    document: &Map<String, Value>,
    nodes: &IndexMap<Name, bigdata_common::blueprint::Node>,
    reader: &mut Reader<'_>,
) -> IndexMap<Name, Service> {
    let mut services = IndexMap::new();
    let declared = match document.get("services") {
        None | Some(Value::Null) => return services,
        Some(Value::Object(declared)) => declared,
        Some(_) => {
            reader.fault("/services", "an object from names to services is wanted");
            return services;
        }
    };
    let known = document.get("nodes").and_then(Value::as_object);
    for (name, value) in declared {
        let pointer = format!("/services/{}", escape(name));
        let name = reader.name(&pointer, name);
        let Some(fields) = reader.object(&pointer, value) else { continue };
        let mut members = Vec::new();
        for (index, member) in reader.list(&format!("{pointer}/nodes"), fields.get("nodes")).into_iter().enumerate() {
            let pointer = format!("{pointer}/nodes/{index}");
            let Some(text) = member.as_str() else {
                reader.fault(pointer, "the name of a node is wanted");
                continue;
            };
            // A node with faults of its own is known all the same.
            if !known.is_some_and(|known| known.contains_key(text)) {
                reader.fault(pointer, format!("the cluster has no node {text:?}"));
            } else if let Some((name, _)) = nodes.get_key_value(text) {
                if members.contains(name) {
                    reader.fault(pointer, format!("the node {text:?} stands here twice"));
                } else {
                    members.push(name.clone());
                }
            }
        }
        let mut properties = fields.clone();
        properties.shift_remove("nodes");
        if let Some(name) = name {
            services.insert(name, Service { nodes: members, properties });
        }
    }
    services
}

fn termination(document: &Map<String, Value>, reader: &mut Reader<'_>) -> Option<Termination> {
    let value = document.get("termination")?;
    let policy = value.as_str().and_then(|text| text.parse().ok());
    if policy.is_none() {
        reader.fault("/termination", "do-not-terminate, keep-data or wipe is wanted");
    }
    policy
}

fn life(document: &Map<String, Value>, reader: &mut Reader<'_>) -> LifeSpec {
    const HOUR_MS: u64 = 60 * 60 * 1000;
    let mut life = LifeSpec {
        has_script: false,
        placement_ms: 600_000,
        start_ms: 1_800_000,
        ready_ms: 300_000,
        destroy_ms: 120_000,
        keep_ms: HOUR_MS,
    };
    if let Some(value) = document.get("deadlines") {
        let fields = reader.object("/deadlines", value).cloned().unwrap_or_default();
        for (key, value) in &fields {
            let pointer = format!("/deadlines/{}", escape(key));
            let place = match key.as_str() {
                "placement" => &mut life.placement_ms,
                "start" => &mut life.start_ms,
                "ready" => &mut life.ready_ms,
                "destroy" => &mut life.destroy_ms,
                _ => {
                    reader.fault(pointer, "unknown; deadlines are placement, start, ready and destroy");
                    continue;
                }
            };
            if let Some(millis) = reader.seconds(&pointer, value) {
                *place = millis.max(1);
            }
        }
    }
    if let Some(value) = document.get("on_failure") {
        let fields = reader.object("/on_failure", value).cloned().unwrap_or_default();
        for (key, value) in &fields {
            let pointer = format!("/on_failure/{}", escape(key));
            if key != "keep" {
                reader.fault(pointer, "unknown; on_failure has keep, in seconds");
            } else if let Some(millis) = reader.seconds(&pointer, value) {
                life.keep_ms = millis;
            }
        }
    }
    life
}
