//! What differs between two descriptions of a node, and which nodes its texts name.

use bigdata_chassis::http::json::escape;
use bigdata_common::Name;
use bigdata_common::blueprint::{Command, Node};
use serde_json::Value;
use std::collections::BTreeSet;

/// Places that are told of one node at most.
const PLACES_MAX: usize = 20;
const ADDRESS_OPEN: &str = "@{address:";

/// JSON pointers of what differs. What a script alone reads (`properties`) is no difference, and neither is a text that
/// names the addresses of nodes that come or go (`passing`): the node need not be started anew for that.
pub(super) fn differences(old: &Node, new: &Node, passing: &BTreeSet<&str>) -> Vec<String> {
    let value = |node: &Node| {
        let mut value = serde_json::to_value(node).unwrap_or_default();
        if let Some(fields) = value.as_object_mut() {
            fields.shift_remove("properties");
        }
        value
    };
    let mut places = Vec::new();
    compare("", &value(old), &value(new), passing, &mut places);
    places.truncate(PLACES_MAX);
    places
}

fn compare(pointer: &str, old: &Value, new: &Value, passing: &BTreeSet<&str>, places: &mut Vec<String>) {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            for (key, value) in old {
                let below = format!("{pointer}/{}", escape(key));
                match new.get(key) {
                    Some(other) => compare(&below, value, other, passing, places),
                    None => places.push(below),
                }
            }
            let more = new.keys().filter(|key| !old.contains_key(*key));
            places.extend(more.map(|key| format!("{pointer}/{}", escape(key))));
        }
        (Value::Array(old), Value::Array(new)) if old.len() == new.len() => {
            for (index, (old, new)) in old.iter().zip(new).enumerate() {
                compare(&format!("{pointer}/{index}"), old, new, passing, places);
            }
        }
        (Value::Array(old), Value::Array(new)) => {
            let stays = |value: &&Value| !value.as_str().is_some_and(|text| names_any(text, passing));
            let (old, new): (Vec<_>, Vec<_>) = (old.iter().filter(stays).collect(), new.iter().filter(stays).collect());
            if old != new {
                places.push(pointer.to_owned());
            }
        }
        (Value::String(old), Value::String(new)) if same_text(old, new, passing) => {}
        (old, new) if old == new => {}
        _ => places.push(pointer.to_owned()),
    }
}

/// Whether two texts are the same but for lines, or for words between blanks, commas and semicolons, that name the address
/// of a passing node.
fn same_text(old: &str, new: &str, passing: &BTreeSet<&str>) -> bool {
    if old == new {
        return true;
    }
    let separates = |character: char| character.is_whitespace() || matches!(character, ',' | ';');
    let lines = |text: &str| -> Vec<String> {
        let kept = text.lines().map(|line| line.trim_end_matches(separates)).filter(|line| !names_any(line, passing));
        kept.map(str::to_owned).collect()
    };
    let words = |text: &str| -> Vec<String> {
        let kept = text.split(separates).filter(|word| !word.is_empty() && !names_any(word, passing));
        kept.map(str::to_owned).collect()
    };
    (names_any(old, passing) || names_any(new, passing)) && (lines(old) == lines(new) || words(old) == words(new))
}

fn names_any(text: &str, nodes: &BTreeSet<&str>) -> bool {
    addresses(text).any(|name| nodes.contains(name))
}

/// The nodes whose addresses a text names.
fn addresses(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices(ADDRESS_OPEN).filter(|(at, _)| !text[..*at].ends_with('@')).filter_map(|(at, open)| {
        let rest = &text[at + open.len()..];
        rest.split_once('}').map(|(name, _)| name)
    })
}

/// Every text of a node that late values are filled in in, with its place.
fn texts(node: &Node) -> Vec<(String, &str)> {
    let mut texts = Vec::new();
    for (key, command) in [("command", &node.command), ("stats", &node.stats)] {
        match command {
            Some(Command::Shell(line)) => texts.push((format!("/{key}"), line.as_str())),
            Some(Command::Arguments(words)) => {
                texts.extend(
                    (0..).zip(words).map(|(index, word): (usize, _)| (format!("/{key}/{index}"), word.as_str())),
                );
            }
            None => {}
        }
    }
    texts.extend(node.env.iter().map(|(key, text)| (format!("/env/{}", escape(key)), text.as_str())));
    texts.extend(node.files.iter().map(|(path, file)| (format!("/files/{}", escape(path)), file.content.as_str())));
    texts.extend(node.docker_opts.iter().map(|words| ("/docker_opts".to_owned(), words.as_str())));
    texts
}

/// The first place of a node's texts that names the address of a node for which `gone` is true, and that node.
pub(super) fn reference(node: &Node, gone: impl Fn(&str) -> bool) -> Option<(String, &str)> {
    texts(node).into_iter().find_map(|(place, text)| {
        let name = addresses(text).find(|name| gone(name))?;
        Some((place, name))
    })
}

/// The node with another one's address in place of each that `stand_in` knows one for.
pub(super) fn redirected(node: &Node, stand_in: impl Fn(&str) -> Option<Name>) -> Node {
    let fill = |text: &str| {
        let names: BTreeSet<&str> = addresses(text).collect();
        names.into_iter().fold(text.to_owned(), |text, name| match stand_in(name) {
            Some(other) => text.replace(&format!("{ADDRESS_OPEN}{name}}}"), &format!("{ADDRESS_OPEN}{other}}}")),
            None => text,
        })
    };
    let command = |command: &Option<Command>| {
        command.as_ref().map(|command| match command {
            Command::Shell(line) => Command::Shell(fill(line)),
            Command::Arguments(words) => Command::Arguments(words.iter().map(|word| fill(word)).collect()),
        })
    };
    let mut node = node.clone();
    (node.command, node.stats) = (command(&node.command), command(&node.stats));
    node.docker_opts = node.docker_opts.as_deref().map(fill);
    node.env.values_mut().for_each(|text| *text = fill(text));
    node.files.values_mut().for_each(|file| file.content = fill(&file.content));
    node
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_name_passing_nodes() {
        let passing = BTreeSet::from(["n3"]);
        for (old, new, same) in [
            ("a", "a", true),
            ("a", "b", false),
            ("@{address:n1},@{address:n2}", "@{address:n1},@{address:n2},@{address:n3}", true),
            ("@{address:n1} @{address:n3}", "@{address:n1}", true),
            (
                "s.1=@{address:n1}:2\ns.2=@{address:n2}:2\n",
                "s.1=@{address:n1}:2\ns.2=@{address:n2}:2\ns.3=@{address:n3}:2\n",
                true,
            ),
            ("{\n \"@{address:n1}\"\n}", "{\n \"@{address:n1}\",\n \"@{address:n3}\"\n}", true),
            ("n=2 @{address:n1}", "n=3 @{address:n1} @{address:n3}", false),
            ("@{address:n1}", "@{address:n2}", false),
            ("x @@{address:n3}", "x", false),
            ("a b", "a  b", false),
        ] {
            assert_eq!(same_text(old, new, &passing), same, "{old:?} {new:?}");
        }
    }
}
