//! A cluster's health from its nodes' observations. Pure.

use super::record::Observed;
use crate::store::nodes::NodeRow;
use bigdata_common::Timestamp;
use bigdata_common::status::{Health, NodeStatus};

/// Reasons that are told; more are counted.
const REASONS_MAX: usize = 10;

/// What the nodes' observations say of a cluster that is ready.
pub fn of_ready(nodes: &[NodeRow]) -> Observed {
    let troubled: Vec<&NodeRow> = nodes.iter().filter(|node| !node.serves()).collect();
    let health = match troubled.len() {
        0 => Health::Healthy,
        count if count == nodes.len() => Health::Unavailable,
        _ => Health::Degraded,
    };
    let mut reasons: Vec<String> = troubled.iter().take(REASONS_MAX).map(|node| reason(node)).collect();
    if troubled.len() > REASONS_MAX {
        reasons.push(format!("and {} nodes more", troubled.len() - REASONS_MAX));
    }
    Observed { health, reasons, at: newest(nodes) }
}

/// What is said of a cluster that is not ready: nothing but when it was last observed.
pub fn of_other(nodes: &[NodeRow]) -> Observed {
    Observed { health: Health::Unknown, reasons: Vec::new(), at: newest(nodes) }
}

/// What is said of one node.
pub fn of_node(node: &NodeRow) -> Health {
    match (node.status, node.health_declared, node.passing) {
        (NodeStatus::Running, true, Some(true)) => Health::Healthy,
        (NodeStatus::Running, true, Some(false)) | (NodeStatus::Unreachable | NodeStatus::Failed, _, _) => {
            Health::Unavailable
        }
        _ => Health::Unknown,
    }
}

fn newest(nodes: &[NodeRow]) -> Option<Timestamp> {
    nodes.iter().filter_map(|node| node.observed_at).max()
}

fn reason(node: &NodeRow) -> String {
    let said = node.observation.as_ref().and_then(|observation| observation.reason.as_deref());
    let what = match node.status {
        NodeStatus::Running if node.passing == Some(false) => "does not pass its health checks".to_owned(),
        NodeStatus::Running => "has not passed its health checks yet".to_owned(),
        other => format!("is {other}"),
    };
    match said {
        Some(said) => format!("{} {what}: {said}", node.name),
        None => format!("{} {what}", node.name),
    }
}
