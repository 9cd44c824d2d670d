//! Late values: what a template cannot know, filled in before each start of the workload.
//!
//! `@{address}`, `@{port:NAME}`, `@{listen}`, `@{listen:NAME}`, `@{address:NODE}`, `@{disk:NAME}` and `@{secret:OPTION}`; `@@{`
//! stands for `@{` itself.

use crate::peers::Addresses;
use bigdata_common::Name;
use bigdata_common::internal::NodeSpecification;
use indexmap::IndexMap;
use std::path::PathBuf;
use std::rc::Rc;

/// Every address of the workload's own network.
const EVERYWHERE: &str = "0.0.0.0";

/// What late values are filled in from.
#[derive(Clone)]
pub struct Values<'a> {
    /// Address, ports and secrets.
    pub node: &'a NodeSpecification,
    /// The addresses of the cluster's nodes.
    pub peers: Rc<Addresses>,
    /// The absolute folder of every disk.
    pub disks: &'a IndexMap<Name, PathBuf>,
    /// Whether the workload's network does not have the node's address: the node's ports lead to those of the template in it.
    pub is_published: bool,
}

/// Why a text cannot be filled in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LateValueError {
    /// No such value for this node.
    #[error("@{{{0}}} is not known for this node")]
    Unknown(String),
    /// An `@{` without its `}`.
    #[error("an @{{ without its }}: write @@{{ for the text itself")]
    Unclosed,
}

impl Values<'_> {
    /// The text with every late value filled in. Values are not looked at again: a secret may hold any text.
    ///
    /// # Errors
    /// When a value is not known or not closed; a secret's value is never part of the error.
    pub fn fill(&self, text: &str) -> Result<String, LateValueError> {
        let mut filled = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find("@{") {
            let (before, after) = (&rest[..at], &rest[at + 2..]);
            if let Some(literal) = before.strip_suffix('@') {
                filled.push_str(literal);
                filled.push_str("@{");
                rest = after;
                continue;
            }
            let (expression, tail) = after.split_once('}').ok_or(LateValueError::Unclosed)?;
            filled.push_str(before);
            filled.push_str(&self.value(expression).ok_or_else(|| LateValueError::Unknown(expression.to_owned()))?);
            rest = tail;
        }
        filled.push_str(rest);
        Ok(filled)
    }

    /// The address on which the workload listens, so that others reach it at the node's.
    pub(crate) fn listen_address(&self) -> &str {
        if self.is_published { EVERYWHERE } else { &self.node.address }
    }

    /// The number on which it listens, so that others reach it at the node's port of this name.
    pub(crate) fn listen_port(&self, name: &str) -> Option<u16> {
        if self.is_published {
            return self.node.blueprint.ports.get(name).map(|port| port.port);
        }
        self.node.ports.get(name).copied()
    }

    fn value(&self, expression: &str) -> Option<String> {
        match expression.split_once(':') {
            None if expression == "address" => Some(self.node.address.clone()),
            None if expression == "listen" => Some(self.listen_address().to_owned()),
            None => None,
            Some(("port", name)) => self.node.ports.get(name).map(u16::to_string),
            Some(("listen", name)) => self.listen_port(name).map(|port| port.to_string()),
            Some(("address", name)) => self.peers.get(name).cloned(),
            Some(("disk", name)) => self.disks.get(name).map(|path| path.display().to_string()),
            Some(("secret", name)) => self.node.secrets.0.get(name).cloned(),
            Some(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::specification;

    #[test]
    fn values_are_filled_in() {
        let node = specification();
        let disks = IndexMap::from([("data".parse().unwrap(), PathBuf::from("/volumes/7"))]);
        let peers = Rc::new(node.peers.clone());
        let values = Values { node: &node, peers, disks: &disks, is_published: false };
        for (text, expected) in [
            ("", Ok("")),
            ("plain @ { text }", Ok("plain @ { text }")),
            ("--bind=@{address}:@{port:sql}", Ok("--bind=127.0.0.1:3306")),
            ("--bind=@{listen}:@{listen:sql}", Ok("--bind=127.0.0.1:3306")),
            ("@{address:other}", Ok("127.0.0.2")),
            ("@{disk:data}/x", Ok("/volumes/7/x")),
            // A secret's text is not filled in again.
            ("p=@{secret:password}", Ok("p=a@{b")),
            ("@@{address}", Ok("@{address}")),
            ("@@@{address}", Ok("@@{address}")),
            ("user@@{x} @{address}", Ok("user@{x} 127.0.0.1")),
        ] {
            assert_eq!(values.fill(text).as_deref(), expected, "{text}");
        }
        for (text, error) in [
            ("@{nothing}", LateValueError::Unknown("nothing".into())),
            ("@{port:web}", LateValueError::Unknown("port:web".into())),
            ("@{port:}", LateValueError::Unknown("port:".into())),
            ("@{listen:web}", LateValueError::Unknown("listen:web".into())),
            ("@{Port:sql}", LateValueError::Unknown("Port:sql".into())),
            ("a @{address", LateValueError::Unclosed),
        ] {
            assert_eq!(values.fill(text), Err(error), "{text}");
        }
    }

    #[test]
    fn what_is_published_listens_in_its_own_network() {
        let mut node = specification();
        node.address = "10.0.0.7".into();
        node.ports.insert("sql".parse().unwrap(), 31_005);
        let port = serde_json::from_str(r#"{"port": 3306, "fixed": false}"#).unwrap();
        node.blueprint.ports.insert("sql".parse().unwrap(), port);
        let disks = IndexMap::new();
        let text = "@{address}:@{port:sql} by @{listen}:@{listen:sql}";
        for (is_published, filled) in
            [(true, "10.0.0.7:31005 by 0.0.0.0:3306"), (false, "10.0.0.7:31005 by 10.0.0.7:31005")]
        {
            let values = Values { node: &node, peers: Rc::new(node.peers.clone()), disks: &disks, is_published };
            assert_eq!(values.fill(text).as_deref(), Ok(filled));
            assert_eq!(values.fill("@{listen:web}"), Err(LateValueError::Unknown("listen:web".into())));
        }
    }
}
