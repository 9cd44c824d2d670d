//! What Mesos's quota for the framework's role leaves. Mesos does not offer beyond it, so that agents seem to lack what they have.

use crate::driver::MesosSettings;
use bigdata_common::Name;
use bigdata_common::api::explain::{Explanation, Refusal};
use bigdata_mesos::client::scheduler::master_roles;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long the master is waited for: the rest of an explanation is worth more than this part of it.
const LIMIT: Duration = Duration::from_secs(2);
/// Sums of decimal fractions differ from what they are sums of.
const ROUNDING: f64 = 1e-6;
/// What refusals call it, what Mesos calls it, and what it is for people.
const KINDS: [(&str, &str, &str); 3] =
    [("cpu", "cpus", "CPUs"), ("mem", "mem", "MiB of memory"), ("disk", "disk", "MiB of disk")];

/// CPUs, MiB of memory and MiB of disk of a node, its executor included.
pub(crate) type Amounts = [f64; 3];

/// Says of each node that waits whether the quota is in its way.
pub(super) async fn explain(explanation: &mut Explanation, needs: &BTreeMap<Name, Amounts>, mesos: &MesosSettings) {
    let waits = explanation.nodes.iter().any(|node| needs.contains_key(&node.node));
    if !waits {
        return;
    }
    let asked = tokio::time::timeout(LIMIT, master_roles(&mesos.client())).await;
    let Ok(Ok(roles)) = asked else { return };
    for node in &mut explanation.nodes {
        let Some(needs) = needs.get(&node.node) else { continue };
        let refusals = refusals(&roles, mesos.role(), needs, &node.refusals);
        node.refusals.splice(0..0, refusals);
    }
}

/// Why the quota of a role refuses a node: by what agents seem to lack, or do not offer. Of a disk that a node has already
/// the quota is used up by itself.
fn refusals(roles: &Value, role: &str, needs: &Amounts, by_agents: &[Refusal]) -> Vec<Refusal> {
    let mut entries = roles["roles"].as_array().into_iter().flatten();
    let Some(quota) = entries.find(|entry| entry["name"] == role).map(|entry| &entry["quota"]) else {
        return Vec::new();
    };
    let refusal = |((kind, resource, unit), need): (&(&str, &str, &str), &f64)| {
        let may_be = |refusal: &&Refusal| [*kind, "offer", "role"].contains(&refusal.reason.as_str());
        by_agents.iter().find(may_be)?;
        let limit = quota["limit"][*resource].as_f64()?;
        let left = (limit - quota["consumed"][*resource].as_f64().unwrap_or(0.0)).max(0.0);
        let amount = crate::placement::words::amount;
        let nearest = format!(
            "the quota of the role {role} leaves {} of {} {unit}, and the node needs {}",
            amount(left),
            amount(limit),
            amount(*need)
        );
        (left + ROUNDING < *need).then(|| Refusal { reason: "quota".to_owned(), agents: 0, nearest })
    };
    KINDS.iter().zip(needs).filter_map(refusal).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_quota_refuses_what_it_does_not_leave() {
        let quota =
            json!({"limit": {"cpus": 0.3, "mem": 1024.0}, "consumed": {"cpus": 0.2, "mem": 960.0, "ports": 2.0}});
        let roles = json!({"roles": [{"name": "other"}, {"name": "bigdata", "quota": quota}]});
        let by = |reason: &str| Refusal { reason: reason.to_owned(), agents: 3, nearest: String::new() };
        let words = |role: &str, needs: Amounts, reason: &str| -> Vec<String> {
            refusals(&roles, role, &needs, &[by(reason)]).into_iter().map(|refusal| refusal.nearest).collect()
        };
        assert_eq!(words("bigdata", [0.1, 64.0, 9000.0], "offer"), Vec::<String>::new(), "disk has no limit");
        assert_eq!(
            words("bigdata", [0.15, 64.0, 0.0], "attribute"),
            Vec::<String>::new(),
            "agents refuse for another reason"
        );
        assert_eq!(words("bigdata", [0.15, 65.0, 0.0], "cpu").len(), 1);
        assert_eq!(
            words("bigdata", [0.15, 64.0, 0.0], "role").len(),
            1,
            "others may have reserved what is offered still"
        );
        assert_eq!(
            words("bigdata", [0.15, 65.0, 0.0], "offer"),
            [
                "the quota of the role bigdata leaves 0.1 of 0.3 CPUs, and the node needs 0.15",
                "the quota of the role bigdata leaves 64 of 1024 MiB of memory, and the node needs 65"
            ]
        );
        for role in ["other", "unknown"] {
            assert_eq!(words(role, [1.0, 1.0, 1.0], "cpu"), Vec::<String>::new());
        }
    }
}
