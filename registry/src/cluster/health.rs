//! A cluster's health from its nodes' observations. Pure.

use super::record::Observed;
use super::words;
use crate::store::nodes::NodeRow;
use bigdata_common::Timestamp;
use bigdata_common::status::{Health, NodeStatus};

/// Reasons that are told; more are counted.
const REASONS_MAX: usize = 10;

/// What the nodes' observations say of a cluster that is ready. A node of which there has been no word for too long is
/// not called healthy, whatever its last observation says.
pub fn of_ready(nodes: &[NodeRow], now: Timestamp) -> Observed {
    let wanted: Vec<&NodeRow> = nodes.iter().filter(|node| !node.leaving).collect();
    let away = |node: &NodeRow| !(node.runs() && node.serves()) || node.silent_seconds(now).is_some();
    let troubled: Vec<&NodeRow> = wanted.iter().copied().filter(|node| away(node) || is_strained(node)).collect();
    let health = match troubled.len() {
        0 => Health::Healthy,
        count if count == wanted.len() && wanted.iter().all(|node| away(node)) => Health::Unavailable,
        _ => Health::Degraded,
    };
    let lines = troubled.iter().map(|node| (node.name.as_str(), reason(node, now)));
    let mut reasons = words::together(lines, " ");
    if reasons.len() > REASONS_MAX {
        let more = reasons.len() - REASONS_MAX;
        reasons.truncate(REASONS_MAX);
        reasons.push(format!("and {more} reasons more"));
    }
    Observed { health, reasons, at: oldest(&wanted) }
}

/// Whether it serves, and something is the matter with it all the same (its disk is nearly full).
fn is_strained(node: &NodeRow) -> bool {
    node.serves() && node.passing == Some(true) && node.said().is_some()
}

/// What is said of a cluster that is not ready: nothing but when it was last observed.
pub fn of_other(nodes: &[NodeRow]) -> Observed {
    let newest = nodes.iter().filter_map(|node| node.observed_at).max();
    Observed { health: Health::Unknown, reasons: Vec::new(), at: newest }
}

/// What is said of one node.
pub fn of_node(node: &NodeRow, now: Timestamp) -> Health {
    if node.silent_seconds(now).is_some() {
        return Health::Unknown;
    }
    if is_strained(node) {
        return Health::Degraded;
    }
    match (node.status, node.health_declared, node.passing) {
        (NodeStatus::Running, true, Some(true)) => Health::Healthy,
        (NodeStatus::Running, true, Some(false)) | (NodeStatus::Unreachable | NodeStatus::Failed, _, _) => {
            Health::Unavailable
        }
        _ => Health::Unknown,
    }
}

/// What is said of a node of which there has been no word.
pub fn silence(seconds: u64) -> String {
    format!("unknown: no word for {seconds} s")
}

/// A cluster's health is as old as the word of the node that was heard of the longest ago.
fn oldest(nodes: &[&NodeRow]) -> Option<Timestamp> {
    nodes.iter().filter_map(|node| node.observed_at).min()
}

fn reason(node: &NodeRow, now: Timestamp) -> String {
    match node.silent_seconds(now) {
        Some(seconds) => format!("is {}", silence(seconds)),
        None if is_strained(node) => format!("serves, but {}", node.said().unwrap_or_default()),
        None if node.serves() && !node.runs() => "is about to be started anew".to_owned(),
        None => words::trouble(node.status, node.passing, node.said()),
    }
}
