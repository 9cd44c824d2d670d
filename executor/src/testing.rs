//! Samples for unit tests.

use crate::environment::Surroundings;
use crate::folder::Folder;
use crate::peers::Known;
use bigdata_common::blueprint::{Command, Node};
use bigdata_common::event::AttemptRef;
use bigdata_common::internal::{NodeSpecification, Secrets};
use bigdata_common::{AttemptId, Name};
use indexmap::IndexMap;
use uuid::Uuid;

pub(crate) fn name(text: &str) -> Name {
    text.parse().expect("a sample is a name")
}

pub(crate) fn node() -> Node {
    let mut node: Node = serde_json::from_str(r#"{"cpu": 0.1, "mem": 256}"#).expect("a sample is a node");
    node.command = Some(Command::Arguments(vec!["server".into()]));
    node
}

pub(crate) fn specification() -> NodeSpecification {
    NodeSpecification {
        cluster: "clusters--alice--mariadb--10__11--1".parse().expect("a sample is an id"),
        dnsname: "db.local".into(),
        node: name("db0"),
        attempt: AttemptRef { id: AttemptId(Uuid::from_u128(7)), number: 1 },
        blueprint: node(),
        address: "127.0.0.1".into(),
        interfaces: Vec::new(),
        ports: IndexMap::from([(name("sql"), 3306)]),
        peers: IndexMap::from([(name("db0"), "127.0.0.1".into()), (name("other"), "127.0.0.2".into())]),
        secrets: Secrets(IndexMap::from([("password".into(), "a@{b".into())])),
        uid: None,
        control_key: "a2V5".into(),
    }
}

pub(crate) fn surroundings(node: NodeSpecification) -> Surroundings {
    let peers = Known::new(node.peers.clone(), None, true);
    let folder = Folder { root: "/".into(), disks: IndexMap::new(), view: None };
    Surroundings { node, peers, folder, owner: None }
}
