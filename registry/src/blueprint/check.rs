//! Checks of nodes: `check`, `health`, and the older `check_ports`.

use super::parts;
use super::reader::Reader;
use bigdata_common::Name;
use bigdata_common::blueprint::{Check, Port, PortRef, Probe};
use indexmap::IndexMap;
use serde_json::Value;

const INTERVAL_MS: u64 = 10_000;
const TIMEOUT_MS: u64 = 3_000;
const FAILURES: u64 = 3;
const DEADLINE_MS: u64 = 300_000;

/// Reads `check` or `health`.
pub(super) fn read(
    pointer: &str,
    value: &Value,
    ports: &IndexMap<Name, Port>,
    reader: &mut Reader<'_>,
) -> Option<Check> {
    const KNOWN: [&str; 11] = [
        "tcp",
        "http",
        "command",
        "interval",
        "interval_ms",
        "timeout",
        "timeout_ms",
        "failures",
        "deadline",
        "deadline_ms",
        "path",
    ];
    let fields = reader.object(pointer, value)?;
    for key in fields.keys().filter(|key| !KNOWN.contains(&key.as_str())) {
        reader.fault(format!("{pointer}/{key}"), format!("unknown; a check has {}", KNOWN.join(", ")));
    }
    let mut probes = Vec::new();
    if let Some(value) = fields.get("tcp") {
        probes.push(tcp(&format!("{pointer}/tcp"), value, ports, reader).map(Probe::Tcp));
    }
    if let Some(value) = fields.get("http") {
        probes.push(http(&format!("{pointer}/http"), value, fields.get("path"), ports, reader));
    }
    if let Some(value) = fields.get("command") {
        probes.push(parts::command(&format!("{pointer}/command"), value, reader).map(Probe::Command));
    }
    if probes.len() != 1 {
        reader.fault(pointer, "one of tcp, http and command is wanted");
        return None;
    }
    let failures = reader.whole(&format!("{pointer}/failures"), fields.get("failures"), 1, 1000).unwrap_or(FAILURES);
    let check = Check {
        probe: probes.pop().flatten()?,
        interval_ms: reader.time(pointer, fields, "interval", INTERVAL_MS),
        timeout_ms: reader.time(pointer, fields, "timeout", TIMEOUT_MS),
        failures: u32::try_from(failures).unwrap_or(u32::MAX),
        deadline_ms: reader.time(pointer, fields, "deadline", DEADLINE_MS),
    };
    Some(check)
}

/// Reads the older `check_ports`: a text with commas, a number, or a list of either.
pub(super) fn check_ports(
    pointer: &str,
    value: &Value,
    ports: &IndexMap<Name, Port>,
    reader: &mut Reader<'_>,
) -> Option<Check> {
    let listed = match value {
        Value::String(text) if text.trim().is_empty() => return None,
        Value::Array(items) if items.is_empty() => return None,
        Value::String(text) => Value::Array(text.split(',').map(|part| Value::from(part.trim())).collect()),
        other => other.clone(),
    };
    let probe = Probe::Tcp(tcp(pointer, &listed, ports, reader)?);
    let failures = u32::try_from(FAILURES).unwrap_or(u32::MAX);
    Some(Check { probe, interval_ms: INTERVAL_MS, timeout_ms: TIMEOUT_MS, failures, deadline_ms: DEADLINE_MS })
}

fn tcp(pointer: &str, value: &Value, ports: &IndexMap<Name, Port>, reader: &mut Reader<'_>) -> Option<Vec<PortRef>> {
    let Value::Array(items) = value else {
        return port(pointer, value, ports, reader).map(|port| vec![port]);
    };
    if items.is_empty() {
        reader.fault(pointer, "at least one port is wanted");
    }
    let read: Vec<_> = (0..)
        .zip(items)
        .map(|(index, item): (usize, _)| port(&format!("{pointer}/{index}"), item, ports, reader))
        .collect();
    read.into_iter().collect()
}

fn http(
    pointer: &str,
    value: &Value,
    path: Option<&Value>,
    ports: &IndexMap<Name, Port>,
    reader: &mut Reader<'_>,
) -> Option<Probe> {
    let (port_value, path_value, path_pointer) = match value {
        Value::Object(fields) => {
            for key in fields.keys().filter(|key| !matches!(key.as_str(), "port" | "path")) {
                reader.fault(format!("{pointer}/{key}"), "unknown; an http check has port and path");
            }
            (fields.get("port").unwrap_or(&Value::Null), fields.get("path"), format!("{pointer}/path"))
        }
        other => (other, path, format!("{pointer}/path")),
    };
    let port = port(&format!("{pointer}/port"), port_value, ports, reader);
    let path = reader.text(&path_pointer, path_value).unwrap_or_else(|| "/".to_owned());
    if !path.starts_with('/') || path.chars().any(|character| character.is_control() || character == ' ') {
        reader.fault(path_pointer, "a path that begins with / is wanted");
        return None;
    }
    Some(Probe::Http { port: port?, path })
}

/// A port by number or name. The number of a declared port is taken for its name, so that it is found wherever nodes
/// share an address and ports are given out.
fn port(pointer: &str, value: &Value, ports: &IndexMap<Name, Port>, reader: &mut Reader<'_>) -> Option<PortRef> {
    if let Some(name) = value.as_str().filter(|text| text.parse::<u16>().is_err()) {
        let declared = ports.get_key_value(name).map(|(name, _)| PortRef::Name(name.clone()));
        if declared.is_none() {
            reader.fault(pointer, format!("the node has no port {name:?}"));
        }
        return declared;
    }
    let number = match value {
        Value::Null => {
            reader.fault(pointer, "missing; a port is wanted");
            return None;
        }
        value => parts::port_number(pointer, value, reader)?,
    };
    let mut declared = ports.iter().filter(|(_, port)| port.port == number);
    match (declared.next(), declared.next()) {
        (Some((name, _)), None) => Some(PortRef::Name(name.clone())),
        _ => Some(PortRef::Number(number)),
    }
}
