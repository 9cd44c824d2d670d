//! The parts of a node: command, files, disks, networks, ports, constraints, restart.

use super::reader::Reader;
use crate::duration;
use bigdata_chassis::http::json::{self, escape};
use bigdata_common::Name;
use bigdata_common::blueprint::{Command, Constraint, Disk, DiskKind, File, Network, Port, Replace, Restart};
use indexmap::IndexMap;
use serde_json::Value;
use std::net::IpAddr;

/// The largest file of a node, in bytes.
const FILE_MAX: usize = 256 * 1024;

pub(super) fn command(pointer: &str, value: &Value, reader: &mut Reader<'_>) -> Option<Command> {
    match value {
        Value::String(line) if !line.trim().is_empty() => Some(Command::Shell(line.clone())),
        Value::Array(words) if !words.is_empty() => {
            let texts: Option<Vec<String>> = words.iter().map(|word| word.as_str().map(str::to_owned)).collect();
            if texts.as_ref().is_none_or(|texts| texts[0].is_empty()) {
                reader.fault(pointer, "a list of texts is wanted, the program first");
                return None;
            }
            texts.map(Command::Arguments)
        }
        _ => {
            reader.fault(pointer, "a text or a list of texts is wanted");
            None
        }
    }
}

pub(super) fn environment(pointer: &str, value: Option<&Value>, reader: &mut Reader<'_>) -> IndexMap<String, String> {
    let mut environment = IndexMap::new();
    for (key, value) in reader.entries(pointer, value) {
        let pointer = format!("{pointer}/{}", escape(key));
        if key.is_empty() || key.contains(['=', '\0']) {
            reader.fault(&pointer, "a variable's name is not empty and holds no '='");
        }
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Number(_) | Value::Bool(_) => value.to_string(),
            Value::Null => String::new(),
            Value::Array(_) | Value::Object(_) => {
                reader.fault(&pointer, "a text is wanted");
                continue;
            }
        };
        if text.contains('\0') {
            reader.fault(&pointer, "a variable's value holds no NUL");
        }
        environment.insert(key.clone(), text);
    }
    environment
}

/// The files; those of a container may be anywhere in its file system.
pub(super) fn files(
    pointer: &str,
    value: Option<&Value>,
    is_container: bool,
    reader: &mut Reader<'_>,
) -> IndexMap<String, File> {
    const MODE: u32 = 0o600;
    let mut files = IndexMap::new();
    for (path, value) in reader.entries(pointer, value) {
        let pointer = format!("{pointer}/{}", escape(path));
        let relative = path.strip_prefix('/').filter(|_| is_container).unwrap_or(path);
        let plain = !path.contains('\0') && relative.split('/').all(|part| !matches!(part, "" | "." | ".."));
        if !plain {
            let (kind, absolute) =
                if is_container { ("container", "") } else { ("node's folder", " and not absolute") };
            reader.fault(&pointer, format!("a path inside the {kind} is wanted, without '..'{absolute}"));
        }
        let (content, mode) = match value {
            Value::String(text) => (Some(text.clone()), MODE),
            Value::Object(fields) => {
                let mode =
                    fields.get("mode").map_or(Some(MODE), |mode| file_mode(&format!("{pointer}/mode"), mode, reader));
                (reader.text(&format!("{pointer}/content"), fields.get("content")), mode.unwrap_or(MODE))
            }
            _ => (None, MODE),
        };
        match content {
            Some(content) if content.len() <= FILE_MAX => {
                files.insert(path.clone(), File { content, mode });
            }
            Some(_) => reader.fault(&pointer, format!("a file has at most {FILE_MAX} bytes")),
            None => reader.fault(&pointer, "a text is wanted, or an object with content and mode"),
        }
    }
    files
}

fn file_mode(pointer: &str, value: &Value, reader: &mut Reader<'_>) -> Option<u32> {
    let mode = match value {
        Value::String(text) => u32::from_str_radix(text.trim_start_matches("0o"), 8).ok(),
        Value::Number(number) => number.as_u64().and_then(|number| u32::try_from(number).ok()),
        _ => None,
    };
    let mode = mode.filter(|mode| *mode <= 0o777);
    if mode.is_none() {
        reader.fault(pointer, "permission bits in octal are wanted (\"0640\")");
    }
    mode
}

pub(super) fn disks(pointer: &str, value: Option<&Value>, reader: &mut Reader<'_>) -> IndexMap<Name, Disk> {
    const SIZE_MIB: u64 = 1024;
    const SIZE_MAX_MIB: u64 = 1 << 40;
    let mut disks = IndexMap::new();
    for (name, value) in reader.entries(pointer, value) {
        let pointer = format!("{pointer}/{}", escape(name));
        let name = reader.name(&pointer, name);
        let Some(fields) = reader.object(&pointer, value) else { continue };
        let destination = reader.text(&format!("{pointer}/destination"), fields.get("destination"));
        let destination = destination.filter(|path| path.starts_with('/'));
        if destination.is_none() {
            reader.fault(format!("{pointer}/destination"), "an absolute path is wanted");
        }
        let size = reader.whole(&format!("{pointer}/size"), fields.get("size"), 1, SIZE_MAX_MIB).unwrap_or(SIZE_MIB);
        let persistent = reader.flag(&format!("{pointer}/persistent"), fields.get("persistent"), true);
        let kind = match fields.get("type").and_then(Value::as_str) {
            Some("whole") => DiskKind::Whole,
            None | Some("volume" | "" | "_") => DiskKind::Volume,
            Some(older) => {
                reader.warn(format!("the disk type {older:?} is of the older system; it is taken for volume"));
                DiskKind::Volume
            }
        };
        if let (Some(name), Some(destination)) = (name, destination) {
            disks.insert(name, Disk { destination, size, persistent, kind });
        }
    }
    disks
}

pub(super) fn networks(pointer: &str, value: Option<&Value>, reader: &mut Reader<'_>) -> IndexMap<Name, Network> {
    let mut networks = IndexMap::new();
    for (name, value) in reader.entries(pointer, value) {
        let pointer = format!("{pointer}/{}", escape(name));
        let name = reader.name(&pointer, name);
        let Some(fields) = reader.object(&pointer, value) else { continue };
        let networkname = reader.text(&format!("{pointer}/networkname"), fields.get("networkname"));
        let networkname = networkname.filter(|name| !name.is_empty());
        if networkname.is_none() {
            reader.fault(format!("{pointer}/networkname"), "missing; the name of a pool of addresses is wanted");
        }
        let address = reader.text(&format!("{pointer}/address"), fields.get("address")).unwrap_or_default();
        let leased = matches!(address.as_str(), "" | "_" | "dynamic");
        let address = match fields.get("type").and_then(Value::as_str) {
            Some("dynamic") => None,
            Some("static") | None if !leased => Some(address),
            Some("static") => {
                reader.fault(format!("{pointer}/address"), "a static network has an address");
                None
            }
            None => None,
            Some(_) => {
                reader.fault(format!("{pointer}/type"), "dynamic or static is wanted");
                None
            }
        };
        if address.as_ref().is_some_and(|address| address.parse::<IpAddr>().is_err()) {
            reader.fault(format!("{pointer}/address"), "an IP address is wanted, or dynamic");
        }
        if let (Some(name), Some(networkname)) = (name, networkname) {
            networks.insert(name, Network { networkname, address });
        }
    }
    networks
}

pub(super) fn port_number(pointer: &str, value: &Value, reader: &mut Reader<'_>) -> Option<u16> {
    reader.whole(pointer, Some(value), 1, u64::from(u16::MAX)).and_then(|number| u16::try_from(number).ok())
}

pub(super) fn ports(pointer: &str, value: Option<&Value>, reader: &mut Reader<'_>) -> IndexMap<Name, Port> {
    let mut ports = IndexMap::new();
    for (name, value) in reader.entries(pointer, value) {
        let pointer = format!("{pointer}/{}", escape(name));
        let name = reader.name(&pointer, name);
        let (port, fixed) = match value {
            Value::Object(fields) => {
                let missing = Value::from(0);
                let number = port_number(&format!("{pointer}/port"), fields.get("port").unwrap_or(&missing), reader);
                (number, reader.flag(&format!("{pointer}/fixed"), fields.get("fixed"), false))
            }
            value => (port_number(&pointer, value, reader), false),
        };
        if let (Some(name), Some(port)) = (name, port) {
            ports.insert(name, Port { port, fixed });
        }
    }
    ports
}

pub(super) fn constraints(pointer: &str, value: Option<&Value>, reader: &mut Reader<'_>) -> Vec<Constraint> {
    let mut constraints = Vec::new();
    for (index, value) in reader.list(pointer, value).into_iter().enumerate() {
        match json::from_value(value.clone()) {
            Ok(constraint) => constraints.push(constraint),
            Err(fault) => {
                let wanted = "operator (equals, not_equals or unique), attribute and value are wanted";
                reader.fault(format!("{pointer}/{index}{}", fault.pointer), format!("{wanted}: {}", fault.detail));
            }
        }
    }
    constraints
}

pub(super) fn restart(pointer: &str, value: Option<&Value>, reader: &mut Reader<'_>) -> Restart {
    let absent = Restart::default();
    let Some(fields) = value.filter(|value| !value.is_null()).and_then(|value| reader.object(pointer, value)) else {
        return absent;
    };
    for key in fields.keys() {
        if !matches!(key.as_str(), "limit" | "window" | "window_ms" | "backoff" | "backoff_ms") {
            reader.fault(format!("{pointer}/{}", escape(key)), "unknown; restart has limit, window and backoff");
        }
    }
    let limit = reader.whole(&format!("{pointer}/limit"), fields.get("limit"), 0, 1_000_000);
    Restart {
        limit: limit.and_then(|limit| u32::try_from(limit).ok()).unwrap_or(absent.limit),
        window_ms: reader.time(pointer, fields, "window", absent.window_ms),
        backoff_ms: reader.time(pointer, fields, "backoff", absent.backoff_ms),
    }
}

/// `wait`, or `{"elsewhere": TIME}`: after how long without word of its agent another one takes the node.
pub(super) fn replace(pointer: &str, value: Option<&Value>, reader: &mut Reader<'_>) -> Replace {
    const AFTER_MIN_MS: u64 = 1000;
    const AFTER_MAX_MS: u64 = 30 * 24 * 60 * 60 * 1000;
    let fields = match value {
        None | Some(Value::Null) => return Replace::Wait,
        Some(Value::String(word)) if word == "wait" => return Replace::Wait,
        Some(Value::Object(fields)) => fields,
        Some(_) => {
            reader.fault(pointer, "\"wait\" is wanted, or {\"elsewhere\": \"60s\"}");
            return Replace::Wait;
        }
    };
    for key in fields.keys().filter(|key| *key != "elsewhere") {
        reader.fault(format!("{pointer}/{}", escape(key)), "unknown; replace has elsewhere");
    }
    let after_ms = match fields.get("elsewhere") {
        Some(Value::String(text)) => duration::millis(text),
        Some(Value::Number(number)) => number.as_u64().and_then(|seconds| seconds.checked_mul(1000)),
        _ => None,
    };
    match after_ms.filter(|millis| (AFTER_MIN_MS..=AFTER_MAX_MS).contains(millis)) {
        Some(after_ms) => Replace::Elsewhere { after_ms },
        None => {
            reader.fault(format!("{pointer}/elsewhere"), format!("{}, from 1s to 30d", duration::WANTED));
            Replace::Wait
        }
    }
}
