//! One node of a document.

use super::late::Scope;
use super::reader::Reader;
use super::{check, container, credentials, late, parts};
use bigdata_chassis::http::json::escape;
use bigdata_common::Name;
use bigdata_common::blueprint::{Check, Command, Constraint, Disk, DiskKind, Node, Port, Start};
use indexmap::IndexMap;
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// The most memory of a node, in MiB: a pebibyte.
const MEM_MAX: u64 = 1 << 30;

/// Whether the node's disks are certain ones of its machine.
const CUSTOM_DISKS: &str = "use_custom_disks";
/// Keys of which the platform makes something.
const READ: [&str; 21] = [
    "cpu",
    "mem",
    "docker_image",
    "docker_opts",
    "image_credentials",
    "command",
    "env",
    "files",
    "disks",
    "networks",
    "ports",
    "check",
    "health",
    "check_ports",
    "start",
    "constraints",
    "restart",
    "stats",
    "replace",
    "port",
    "required_node",
];
/// Keys of the older system that scripts may look at; kept without a word.
const OLDER: [&str; 12] = [
    "tags",
    CUSTOM_DISKS,
    "host",
    "id",
    "status",
    "name",
    "clustername",
    "custom_node",
    "custom_disks",
    "number_of_disks",
    "services",
    "requirements",
];

/// Reads a node; None where it is none at all. Faults are in the reader.
pub(super) fn read(pointer: &str, value: &Value, nodes: &BTreeSet<&str>, reader: &mut Reader<'_>) -> Option<Node> {
    let fields = reader.object(pointer, value)?;
    let at = |key: &str| format!("{pointer}/{key}");
    let cpu = reader.positive(&at("cpu"), fields.get("cpu"));
    let says = |key: &str| fields.get(key).is_some_and(|value| !value.is_null());
    if !says("mem") {
        reader.fault(at("mem"), "missing; memory in MiB is wanted");
    }
    let mem = reader.whole(&at("mem"), fields.get("mem"), 1, MEM_MAX);
    let ports = ports(pointer, fields, reader);
    let mut node = Node {
        cpu: cpu.unwrap_or(1.0),
        mem: mem.unwrap_or(1),
        docker_image: reader.text(&at("docker_image"), fields.get("docker_image")).filter(|image| !image.is_empty()),
        docker_opts: reader
            .text(&at("docker_opts"), fields.get("docker_opts"))
            .filter(|words| !matches!(words.trim(), "" | "_")),
        container_rights: Default::default(),
        image_credentials: None,
        command: command(&at("command"), fields.get("command"), reader),
        env: parts::environment(&at("env"), fields.get("env"), reader),
        files: parts::files(&at("files"), fields.get("files"), says("docker_image") && !says("command"), reader),
        disks: disks(pointer, fields, reader),
        networks: parts::networks(&at("networks"), fields.get("networks"), reader),
        check: fields.get("check").and_then(|value| check::read(&at("check"), value, &ports, reader)),
        health: health(pointer, fields, &ports, reader),
        start: start(&at("start"), fields.get("start"), reader),
        stats: command(&at("stats"), fields.get("stats"), reader),
        constraints: constraints(pointer, fields, reader),
        replace: parts::replace(&at("replace"), fields.get("replace"), reader),
        restart: parts::restart(&at("restart"), fields.get("restart"), reader),
        properties: properties(fields, reader),
        ports,
    };
    if node.command.is_none() && node.docker_image.is_none() && !says("command") {
        reader.fault(pointer, "a node has a command or a docker_image");
    }
    let scope = Scope { nodes, ports: &node.ports, disks: &node.disks };
    check_late_values(pointer, &node, &scope, reader);
    let credentials = credentials::read(&at("image_credentials"), fields.get("image_credentials"), &scope, reader);
    node.container_rights = container::check(pointer, &node, &scope, reader);
    node.image_credentials = credentials;
    Some(node)
}

fn command(pointer: &str, value: Option<&Value>, reader: &mut Reader<'_>) -> Option<Command> {
    value.filter(|value| !value.is_null()).and_then(|value| parts::command(pointer, value, reader))
}

/// The ports, and the older `port`: the main one, called `main`.
fn ports(pointer: &str, fields: &Map<String, Value>, reader: &mut Reader<'_>) -> IndexMap<Name, Port> {
    let mut ports = parts::ports(&format!("{pointer}/ports"), fields.get("ports"), reader);
    let older = fields.get("port").filter(|value| !matches!(value.as_str(), Some("" | "_")) && !value.is_null());
    if let Some(port) = older.and_then(|value| parts::port_number(&format!("{pointer}/port"), value, reader)) {
        let name: Name = "main".parse().expect("`main` keeps the rule of names");
        ports.entry(name).or_insert(Port { port, fixed: false });
    }
    ports
}

/// The disks. The older `use_custom_disks`, whatever it says, calls them by the names of whole disks of the machine; here
/// these have no names.
fn disks(pointer: &str, fields: &Map<String, Value>, reader: &mut Reader<'_>) -> IndexMap<Name, Disk> {
    let mut disks = parts::disks(&format!("{pointer}/disks"), fields.get("disks"), reader);
    let are_custom = fields.get(CUSTOM_DISKS).is_some_and(|value| !value.is_null() && value != "");
    if are_custom && !disks.is_empty() {
        reader.warn(format!(
            "{CUSTOM_DISKS} is of the older system; the node's disks are whole ones of its machine, whatever their names: \
             say `type: whole` of the disks that are, or leave the key out"
        ));
        disks.values_mut().for_each(|disk| disk.kind = DiskKind::Whole);
    }
    disks
}

fn health(
    pointer: &str,
    fields: &Map<String, Value>,
    ports: &IndexMap<Name, Port>,
    reader: &mut Reader<'_>,
) -> Option<Check> {
    if let Some(value) = fields.get("health").filter(|value| !value.is_null()) {
        if fields.contains_key("check_ports") {
            reader.warn("a node has health and check_ports; health counts".to_owned());
        }
        return check::read(&format!("{pointer}/health"), value, ports, reader);
    }
    let value = fields.get("check_ports").filter(|value| !value.is_null())?;
    check::check_ports(&format!("{pointer}/check_ports"), value, ports, reader)
}

fn start(pointer: &str, value: Option<&Value>, reader: &mut Reader<'_>) -> Start {
    match value.map(Value::as_str) {
        None | Some(Some("auto")) => Start::Auto,
        Some(Some("script")) => Start::Script,
        Some(_) => {
            reader.fault(pointer, "auto or script is wanted");
            Start::Auto
        }
    }
}

/// The constraints, and the older `required_node`: the host that the node must be on.
fn constraints(pointer: &str, fields: &Map<String, Value>, reader: &mut Reader<'_>) -> Vec<Constraint> {
    let mut constraints = parts::constraints(&format!("{pointer}/constraints"), fields.get("constraints"), reader);
    let host = reader.text(&format!("{pointer}/required_node"), fields.get("required_node"));
    if let Some(value) = host.filter(|host| !matches!(host.as_str(), "" | "_")) {
        constraints.push(Constraint::Equals { attribute: "hostname".to_owned(), value });
    }
    constraints
}

fn properties(fields: &Map<String, Value>, reader: &mut Reader<'_>) -> Map<String, Value> {
    let mut properties = Map::new();
    for (key, value) in fields.iter().filter(|(key, _)| !READ.contains(&key.as_str())) {
        if !OLDER.contains(&key.as_str()) {
            reader.unknown_key(key);
        }
        properties.insert(key.clone(), value.clone());
    }
    properties
}

fn check_late_values(pointer: &str, node: &Node, scope: &Scope<'_>, reader: &mut Reader<'_>) {
    for (key, command) in [("command", &node.command), ("stats", &node.stats)] {
        match command {
            Some(Command::Shell(line)) => late::check(&format!("{pointer}/{key}"), line, scope, reader),
            Some(Command::Arguments(words)) => {
                for (index, word) in words.iter().enumerate() {
                    late::check(&format!("{pointer}/{key}/{index}"), word, scope, reader);
                }
            }
            None => {}
        }
    }
    for (key, text) in &node.env {
        late::check(&format!("{pointer}/env/{}", escape(key)), text, scope, reader);
    }
    for (path, file) in &node.files {
        late::check(&format!("{pointer}/files/{}", escape(path)), &file.content, scope, reader);
    }
    late::refuse(&format!("{pointer}/docker_image"), node.docker_image.as_deref().unwrap_or_default(), reader);
}
