//! Whether there is a container engine for nodes that can be containers only.

use crate::registry::Registry;
use crate::store;
use bigdata_chassis::http::ApiError;
use bigdata_common::Timestamp;
use bigdata_common::api::problem::{Fault, ProblemCode};
use bigdata_common::blueprint::Blueprint;
use bigdata_common::internal::Engines;

/// A word of the framework that is older says nothing of now.
const WORD_HOLDS_MS: u64 = 90_000;
/// Nodes that are named; more are counted.
const NAMED_MAX: usize = 5;

/// Why the nodes could not run anywhere; None: they could, or it is not known.
///
/// # Errors
/// When the database refuses.
pub(super) async fn lacking(registry: &Registry, blueprint: &Blueprint) -> Result<Option<Lacking>, ApiError> {
    if !blueprint.nodes.values().any(bigdata_common::blueprint::Node::needs_engine) {
        return Ok(None);
    }
    let heard = store::engines::heard(&registry.db).await?;
    Ok(heard.and_then(|(engines, at)| judge(blueprint, &engines, at, registry.clock.now())))
}

/// Nodes that no agent can run.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Lacking {
    nodes: Vec<String>,
    agents: u32,
}

fn judge(blueprint: &Blueprint, engines: &Engines, at: Timestamp, now: Timestamp) -> Option<Lacking> {
    let is_known = now.millis_since(at) <= WORD_HOLDS_MS && engines.agents > 0;
    let nodes = blueprint.nodes.iter().filter(|(_, node)| node.needs_engine()).map(|(name, _)| name.to_string());
    (is_known && engines.with_engine == 0).then(|| Lacking { nodes: nodes.collect(), agents: engines.agents })
}

impl Lacking {
    /// In words, with what to do.
    pub(super) fn words(&self) -> String {
        let mut names = self.nodes.iter().take(NAMED_MAX).cloned().collect::<Vec<_>>().join(", ");
        if self.nodes.len() > NAMED_MAX {
            names.push_str(&format!(" and {} more", self.nodes.len() - NAMED_MAX));
        }
        let agents = match self.agents {
            1 => "the only agent has no container engine".to_owned(),
            many => format!("none of the {many} agents has a container engine"),
        };
        format!(
            "{names} can run as a container only (docker_image and no command), and {agents}: install Podman or Docker and \
             let its socket answer (`bigdata doctor` tells what it finds, `bigdata agents` which agents have one), or give \
             the nodes a command"
        )
    }

    /// As a refusal.
    pub(super) fn refusal(&self) -> ApiError {
        let fault =
            |name: &String| Fault::new(format!("/nodes/{name}/docker_image"), "no agent has a container engine");
        let faults = self.nodes.iter().take(NAMED_MAX).map(fault).collect();
        ApiError::with_faults(ProblemCode::NoContainerEngine, self.words(), faults)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_a_recent_word_of_agents_without_an_engine_counts() {
        let node = json!({"cpu": 1.0, "mem": 1, "docker_image": "i"});
        let process = json!({"cpu": 1.0, "mem": 1, "docker_image": "i", "command": "run"});
        let nodes = json!({"dnsname": "d", "nodes": {"a": node, "b": process}, "services": {}});
        let blueprint: Blueprint = serde_json::from_value(nodes).unwrap();
        let word = |agents, with_engine| Engines { agents, with_engine, ..Engines::default() };
        let now = Timestamp::from_millis(1_000_000);
        let old = Timestamp::from_millis(1_000_000 - 90_001);
        for (engines, at, lacks) in
            [(word(2, 0), now, true), (word(2, 1), now, false), (word(0, 0), now, false), (word(2, 0), old, false)]
        {
            assert_eq!(judge(&blueprint, &engines, at, now).is_some(), lacks, "{engines:?}");
        }
        let lacking = judge(&blueprint, &word(2, 0), now, now).unwrap();
        assert_eq!(lacking, Lacking { nodes: vec!["a".to_owned()], agents: 2 });
        assert!(lacking.words().contains("none of the 2 agents"), "{}", lacking.words());
    }
}
