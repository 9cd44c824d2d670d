//! Needs and refusals in words for people.

use super::Miss;
use bigdata_common::api::explain::{NodeExplanation, Refusal};
use bigdata_common::{Name, blueprint};

/// A number without needless decimals.
pub(crate) fn amount(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// What a node needs (`2 CPUs, 4096 MiB memory, 1024 MiB disk, 2 ports`).
pub(crate) fn needs(node: &blueprint::Node) -> String {
    let plural = |count: usize| if count == 1 { "" } else { "s" };
    let mut words = vec![
        format!("{} CPU{}", amount(node.cpu), if (node.cpu - 1.0).abs() < 1e-9 { "" } else { "s" }),
        format!("{} MiB memory", node.mem),
    ];
    let disk: u64 = node.disks.values().map(|disk| disk.size).sum();
    if disk > 0 {
        words.push(format!("{disk} MiB disk"));
    }
    if !node.ports.is_empty() {
        words.push(format!("{} port{}", node.ports.len(), plural(node.ports.len())));
    }
    if !node.constraints.is_empty() {
        words.push(format!("{} constraint{}", node.constraints.len(), plural(node.constraints.len())));
    }
    words.join(", ")
}

/// Misses by their reason: how many agents, and the nearest. The nearest reason comes first.
pub(crate) fn count(name: &Name, node: &blueprint::Node, misses: &[(u32, Miss)]) -> NodeExplanation {
    let mut counted: Vec<(u32, &Miss)> = misses.iter().map(|(agents, miss)| (*agents, miss)).collect();
    counted.sort_by(|left, right| left.1.distance.total_cmp(&right.1.distance));
    let mut refusals: Vec<Refusal> = counted
        .into_iter()
        .map(|(agents, miss)| Refusal { reason: miss.reason.to_owned(), agents, nearest: miss.words.clone() })
        .collect();
    if refusals.is_empty() {
        refusals.push(no_agents("no agent has made an offer yet"));
    }
    NodeExplanation { node: name.clone(), needs: needs(node), refusals }
}

/// The refusal where there is no agent to ask.
pub(crate) fn no_agents(words: &str) -> Refusal {
    Refusal { reason: "offer".to_owned(), agents: 0, nearest: words.to_owned() }
}

/// One line per node, the nearest miss first.
pub(crate) fn lines(nodes: &[NodeExplanation]) -> Vec<String> {
    let line = |node: &NodeExplanation| {
        let refusals: Vec<String> = node
            .refusals
            .iter()
            .map(|refusal| match refusal.agents {
                0 => refusal.nearest.clone(),
                1 => format!("{} ({})", refusal.nearest, refusal.reason),
                agents => format!("{} ({}, {agents} agents)", refusal.nearest, refusal.reason),
            })
            .collect();
        format!("node {} needs {}: {}", node.node, node.needs, refusals.join("; "))
    };
    nodes.iter().map(line).collect()
}
