//! Where secrets are looked for, and how they are recognised.

use super::{CLUSTER, FAILED, PRODUCT, VERSION};
use crate::support::{Data, LIMIT, Platform};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

/// How long a stream that goes on may say nothing, once it has said something.
const SILENCE: Duration = Duration::from_secs(1);
/// Answers to the owner who asks for secrets, and a node's own words and files.
const OWN: [&str; 3] = ["/secrets", "/nodes/{node}/logs", "/nodes/{node}/files"];

/// A secret where none may be.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) place: String,
    pub(super) what: String,
}

/// Secret values, as they are and as they stand in base64.
pub(super) struct Needles(Vec<(String, Vec<String>)>);

impl Needles {
    pub(super) fn new(values: &[&str]) -> Self {
        let forms = |value: &str| {
            let shifted = (0..3).map(|shift| in_base64(value, shift));
            std::iter::once(value.to_owned()).chain(shifted).collect()
        };
        Self(values.iter().map(|value| ((*value).to_owned(), forms(value))).collect())
    }

    pub(super) fn find(&self, place: &str, bytes: &[u8]) -> Vec<Found> {
        let text = String::from_utf8_lossy(bytes);
        let around = |at: usize| -> String {
            let before: Vec<char> = text[..at].chars().rev().take(60).collect();
            before.into_iter().rev().collect()
        };
        let found = |(value, forms): &(String, Vec<String>)| {
            let at = forms.iter().find_map(|form| text.find(form.as_str()))?;
            Some(Found { place: place.to_owned(), what: format!("{value} behind {:?}", around(at)) })
        };
        self.0.iter().filter_map(found).collect()
    }
}

/// The letters of base64 that a value alone decides, where so many bytes stand before it (RFC 4648, 4).
fn in_base64(value: &str, shift: usize) -> String {
    let text = STANDARD.encode([&[0; 2][..shift], value.as_bytes()].concat());
    let bits = 8 * (shift + value.len());
    text[(8 * shift).div_ceil(6)..bits / 6].to_owned()
}

/// Every GET of the gateway's own list: pages, streams, and each page of what comes in pages.
pub(super) fn answers(platform: &Platform, needles: &Needles) -> Vec<Found> {
    let routes: Value = serde_json::from_str(&body(platform, "/openapi.json")).unwrap();
    let routes = routes["paths"].as_object().unwrap().iter();
    let routes =
        routes.filter(|(path, methods)| methods.get("get").is_some() && !OWN.iter().any(|own| path.ends_with(own)));
    let mut paths: Vec<String> = routes.flat_map(|(path, _)| filled(platform, path)).collect();
    assert!(paths.len() > 50, "{paths:?}");
    let mut found = Vec::new();
    while let Some(path) = paths.pop() {
        let answer = get(platform.address(), &path, "");
        assert!(!answer.is_empty(), "{path} answers nothing");
        found.extend(needles.find(&path, answer.as_bytes()));
        let next = answer.split_once("\r\n\r\n").and_then(|(_, body)| serde_json::from_str::<Value>(body).ok());
        let next = next.as_ref().map(|value| &value["next"]).filter(|next| !next.is_null());
        if let Some(next) = next {
            let next = next.as_str().map_or_else(|| next.to_string(), str::to_owned);
            paths.push(format!("{}?after={next}", path.split('?').next().unwrap()));
        }
    }
    for path in ["events", "logs"].map(|name| format!("/bigdata/api/v1/{CLUSTER}/{name}")) {
        let answer = get(platform.address(), &path, "Accept: text/event-stream\r\n");
        assert!(answer.contains("data:"), "{path} is no stream: {answer}");
        found.extend(needles.find(&format!("{path} as a stream"), answer.as_bytes()));
    }
    found
}

/// A route's addresses for everything that there is of the clusters.
fn filled(platform: &Platform, route: &str) -> Vec<String> {
    let ids = |list: &str| -> Vec<String> {
        let list = platform.json(&[list, "list"]);
        let (_, list) = list.as_object().unwrap().iter().find(|(_, value)| value.is_array()).unwrap();
        list.as_array().unwrap().iter().map(|entry| entry["id"].as_str().unwrap().to_owned()).collect()
    };
    let mut paths = vec![route.to_owned()];
    while let Some((before, rest)) = paths[0].clone().split_once('{') {
        let (name, _) = rest.split_once('}').unwrap();
        let values = match (name, before) {
            ("name" | "product", _) => vec![PRODUCT.to_owned()],
            ("version", _) => vec![VERSION.to_owned()],
            ("n", _) => vec!["1".to_owned(), "2".to_owned()],
            ("user", _) => vec!["local".to_owned()],
            ("node", _) => vec!["node0".to_owned(), "node1".to_owned()],
            ("id", before) if before.ends_with("/explain/") => [CLUSTER, FAILED].map(str::to_owned).to_vec(),
            ("id", before) if before.ends_with("/backups/") => ids("backup"),
            ("id", _) => ids("operation"),
            ("code", _) => vec!["BD0014".to_owned()],
            ("file", _) => vec!["style.css".to_owned()],
            other => panic!("{other:?} of {route} is new here"),
        };
        assert!(!values.is_empty(), "there is nothing for {name} of {route}");
        let put =
            |path: &String| values.iter().map(|value| path.replace(&format!("{{{name}}}"), value)).collect::<Vec<_>>();
        paths = paths.iter().flat_map(put).collect();
    }
    paths
}

fn body(platform: &Platform, path: &str) -> String {
    get(platform.address(), path, "").split_once("\r\n\r\n").unwrap().1.to_owned()
}

fn get(address: SocketAddr, path: &str, headers: &str) -> String {
    fetch(address, &format!("GET {path}"), headers, "")
}

/// A whole answer, head and all; a stream until it is silent.
pub(super) fn fetch(address: SocketAddr, request: &str, headers: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let length = body.len();
    let head =
        format!("{request} HTTP/1.1\r\nHost: {address}\r\n{headers}Content-Length: {length}\r\nConnection: close");
    write!(stream, "{head}\r\n\r\n{body}").unwrap();
    let (mut answer, mut piece) = (Vec::new(), [0; 1 << 14]);
    loop {
        let goes_on = String::from_utf8_lossy(&answer).contains("\ndata:");
        stream.set_read_timeout(Some(if goes_on { SILENCE } else { LIMIT })).unwrap();
        match stream.read(&mut piece) {
            Ok(count) if count > 0 && answer.len() < 4 << 20 => answer.extend_from_slice(&piece[..count]),
            _ => return String::from_utf8_lossy(&answer).into_owned(),
        }
    }
}

/// What the engine tells of tasks and executors.
pub(super) fn engine_state(platform: &Platform, data: &Data, needles: &Needles) -> Vec<Found> {
    let read = |file: &str| std::fs::read_to_string(data.path().join(file)).unwrap();
    let ports: Value = serde_json::from_str(&read("ports.json")).unwrap();
    let agent = platform.json(&["agents"])["agents"][0].to_string();
    let network = agent.split("loopback:").nth(1).unwrap().split(':').nth(1).unwrap();
    let address = format!("{}:{}", network.split('/').next().unwrap(), ports["engine"]).parse().unwrap();
    let credential = STANDARD.encode(format!("bigdata:{}", read("engine.secret").trim()));
    let answer = get(address, "/state", &format!("Authorization: Basic {credential}\r\n"));
    assert!(answer.contains("node0"), "{answer}");
    needles.find("the engine's /state", answer.as_bytes())
}

/// Every file of the data directory: databases with their logs, the engine's checkpoint, logs, keys, scripts' folders. A
/// node's own folder may hold what nobody else can read.
pub(super) fn files(folder: &Path, needles: &Needles) -> Vec<Found> {
    let own = folder.join("engine/sandboxes");
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().filter_map(Result::ok) {
            let path = entry.path();
            let Ok(about) = path.symlink_metadata() else { continue };
            if about.is_dir() && entry.file_name() != "bin" {
                folders.push(path);
            } else if about.is_file() && !(path.starts_with(&own) && about.permissions().mode() & 0o007 == 0) {
                let bytes = std::fs::read(&path).unwrap_or_default();
                found.extend(needles.find(&path.display().to_string(), &bytes));
            }
        }
    }
    found
}
