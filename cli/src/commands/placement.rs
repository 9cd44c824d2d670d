//! `bigdata explain` and `bigdata agents`: where nodes go, and why some do not.

use crate::commands::launch::several_names;
use crate::context::Context;
use crate::failure::Failure;
use crate::output::age;
use crate::target;
use bigdata_chassis::Clock;
use bigdata_common::api::explain::{AgentList, Capacity, Explanation, NodeExplanation};
use std::fmt::Write;

/// Prints why a cluster waits.
///
/// # Errors
/// See [`Failure`].
pub(crate) async fn explain(cluster: &str, context: &Context) -> Result<(), Failure> {
    let api = context.api()?;
    let dn = target::resolve(&api, cluster).await?;
    let explanation: Explanation = api.get(&format!("/explain/{dn}")).await?;
    if context.output.json {
        return context.output.json(&explanation);
    }
    context.output.line(tree(&explanation))
}

/// Nodes, and below each its refusals, the nearest miss with each. Nodes with the same needs and refusals stand together.
fn tree(explanation: &Explanation) -> String {
    let now = Clock::system().now();
    let mut text = format!("{}\n{}", explanation.cluster, explanation.summary);
    if let Some(since) = explanation.waiting_since {
        let _ = write!(text, "\nwaiting for {}", age(since, now));
    }
    if let Some(deadline) = explanation.deadline {
        let _ = write!(text, ", given up at {deadline}");
    }
    let mut groups: Vec<(&NodeExplanation, Vec<&str>)> = Vec::new();
    for node in &explanation.nodes {
        let same = |known: &NodeExplanation| known.needs == node.needs && known.refusals == node.refusals;
        match groups.iter_mut().find(|(known, _)| same(known)) {
            Some((_, names)) => names.push(node.node.as_str()),
            None => groups.push((node, vec![node.node.as_str()])),
        }
    }
    for (index, (node, names)) in groups.iter().enumerate() {
        let last = index + 1 == groups.len();
        let (who, each) = match names.as_slice() {
            [only] => ((*only).to_owned(), ""),
            several => (several_names(several), " each"),
        };
        let _ = write!(
            text,
            "\n{} {who} need{}{each} {}",
            if last { "└─" } else { "├─" },
            if each.is_empty() { "s" } else { "" },
            node.needs
        );
        for (index, refusal) in node.refusals.iter().enumerate() {
            let stem = if last { "   " } else { "│  " };
            let branch = if index + 1 == node.refusals.len() { "└─" } else { "├─" };
            let agents = if refusal.agents == 1 { "agent" } else { "agents" };
            let _ = write!(text, "\n{stem}{branch} {}: ", refusal.reason);
            // A reason of the role's, such as its quota, is no agent's.
            match (refusal.agents, refusal.nearest.as_str()) {
                (count, "") => text.push_str(&format!("{count} {agents}")),
                (0, nearest) => text.push_str(nearest),
                (count, nearest) => text.push_str(&format!("{count} {agents}, nearest: {nearest}")),
            }
        }
    }
    text
}

/// Prints what the agents have.
///
/// # Errors
/// See [`Failure`].
pub(crate) async fn agents(context: &Context) -> Result<(), Failure> {
    let list: AgentList = context.api()?.get("/agents").await?;
    if context.output.json {
        return context.output.json(&list);
    }
    let now = Clock::system().now();
    let of = |used: f64, total: f64| format!("{} of {}", trimmed(used), trimmed(total));
    let rows = list.agents.into_iter().map(|agent| {
        let Capacity { cpus, mem, disk } = agent.total;
        let attributes = agent.attributes.iter().map(|(name, value)| format!("{name}={value}"));
        [
            agent.host,
            agent.nodes.to_string(),
            of(agent.used.cpus, cpus),
            of(agent.used.mem, mem),
            of(agent.used.disk, disk),
            age(agent.seen_at, now),
            attributes.collect::<Vec<_>>().join(" "),
        ]
    });
    let header = ["agent", "nodes", "cpus used", "mem used (MiB)", "disk used (MiB)", "seen", "attributes"];
    context.output.table(header, rows.collect(), "no agent has been seen yet")
}

/// At most two digits after the point, and none that say nothing.
fn trimmed(amount: f64) -> String {
    let text = format!("{amount:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_tree_names_every_refusal_with_its_nearest_miss() {
        let explanation: Explanation = serde_json::from_value(json!({
            "cluster": "clusters/local/reference/1.0.0/1", "summary": "2 nodes wait", "waiting_since": null, "deadline": null,
            "nodes": [
                {"node": "node0", "needs": "9 CPUs", "refusals": [
                    {"reason": "cpu", "agents": 2, "nearest": "agent a lacks 7 CPUs"},
                    {"reason": "mem", "agents": 1, "nearest": ""},
                    {"reason": "quota", "agents": 0, "nearest": "the role's quota of 4 CPUs is used up"}]},
                {"node": "node1", "needs": "1 CPU", "refusals": [{"reason": "offer", "agents": 0, "nearest": ""}]},
                {"node": "node2", "needs": "1 CPU", "refusals": [{"reason": "offer", "agents": 0, "nearest": ""}]},
            ],
        }))
        .unwrap();
        assert_eq!(
            tree(&explanation),
            "clusters/local/reference/1.0.0/1\n2 nodes wait\n├─ node0 needs 9 CPUs\n│  ├─ cpu: 2 agents, nearest: agent a lacks 7 CPUs\n│  ├─ mem: 1 agent\n│  └─ quota: the role's quota of 4 CPUs is used up\n└─ 2 nodes (node1, node2) need each 1 CPU\n   └─ offer: 0 agents"
        );
    }

    #[test]
    fn amounts_are_trimmed() {
        assert_eq!([trimmed(2.0), trimmed(0.1), trimmed(100.0)], ["2", "0.1", "100"]);
    }
}
