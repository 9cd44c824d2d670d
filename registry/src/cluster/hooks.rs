//! What a ready cluster's script is to be told of its nodes: what it was last told, compared with what is observed. Pure.
//!
//! Nothing depends on an event having been seen: what happened while nobody looked shows in the comparison.

use super::calls::Calls;
use crate::store::nodes::NodeRow;
use bigdata_common::status::NodeStatus;
use serde_json::{Value, json};

/// A node as the script was last told of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// The attempt.
    pub attempt: u32,
    /// How often its workload had been started again in place.
    pub restarts: u32,
    /// How it was.
    pub stance: Stance,
}

/// How a node was when the script was told of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stance {
    /// New: the script may still be configuring it, so that it need not serve yet.
    Fresh,
    /// It served.
    Good,
    /// It was lost.
    Lost,
}

impl Stance {
    /// The word for it in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Good => "good",
            Self::Lost => "lost",
        }
    }

    /// Of its word; an unknown one is taken for a node that is new.
    pub fn of(word: &str) -> Self {
        match word {
            "good" => Self::Good,
            "lost" => Self::Lost,
            _ => Self::Fresh,
        }
    }
}

/// What is due of one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// The script is to be told that the node is lost.
    Lost,
    /// The script is to be told that the node is back: the same attempt, or a new one.
    Replaced {
        /// Whether it is the attempt that was lost.
        same_attempt: bool,
    },
    /// Nothing is to be told; from now on this counts as known.
    Note(Seen),
}

/// Compares what the script was told of a node with what is observed; None: nothing is due. A node of which it was never
/// told becomes known by the run that configures it.
pub fn due(seen: Option<Seen>, node: &NodeRow, declared: &Calls) -> Option<Due> {
    if declared.node_lost_ms.is_none() && declared.node_replaced_ms.is_none() {
        return None;
    }
    let (seen, observed) = (seen?, node.observation.as_ref()?);
    let runs = node.status == NodeStatus::Running;
    let serves = runs && node.as_wished() && node.serves();
    let told = |stance| Seen { attempt: seen.attempt, restarts: observed.restarts, stance };
    let is_new = observed.attempt.number != seen.attempt;
    let lost = if is_new { !runs } else { !runs || node.passing == Some(false) || observed.restarts > seen.restarts };
    let lose = || match declared.node_lost_ms {
        Some(_) => Due::Lost,
        None => Due::Note(told(Stance::Lost)),
    };
    let replace = |same_attempt| match declared.node_replaced_ms {
        Some(_) => Some(Due::Replaced { same_attempt }),
        None if same_attempt => Some(Due::Note(told(Stance::Good))),
        // The new attempt is configured anew.
        None => None,
    };
    match seen.stance {
        _ if is_new && runs && node.as_wished() => replace(false),
        Stance::Good if lost => Some(lose()),
        Stance::Fresh if !runs => Some(lose()),
        Stance::Fresh if serves && !is_new => Some(Due::Note(told(Stance::Good))),
        Stance::Lost if serves && !is_new => replace(true),
        Stance::Good | Stance::Fresh | Stance::Lost => None,
    }
}

/// What is told of a node by a run that begins now; None where nothing is known of it.
pub fn told(node: &NodeRow, lost: bool) -> Option<Seen> {
    let observed = node.observation.as_ref()?;
    let now = |stance| Seen { attempt: observed.attempt.number, restarts: observed.restarts, stance };
    match (lost, node.told) {
        // The attempt that it was told of is the one that is lost: another one that is begun already comes as a new one.
        (true, Some(before)) => Some(Seen { attempt: before.attempt, ..now(Stance::Lost) }),
        (true, None) => Some(now(Stance::Lost)),
        (false, Some(before)) if before.stance == Stance::Lost && before.attempt == observed.attempt.number => {
            Some(now(Stance::Good))
        }
        (false, _) => Some(now(Stance::Fresh)),
    }
}

/// What the script is told of a node that is lost.
pub fn lost_event(node: &NodeRow) -> Value {
    let attempt = node.told.map_or(0, |seen| seen.attempt);
    json!({"kind": "node-lost", "node": node.name, "status": node.status, "reason": reason(node), "attempt": attempt})
}

/// What the script is told of a node that is back. The attempt is filled in when the run begins.
pub fn replaced_event(node: &str, same_attempt: bool) -> Value {
    json!({"kind": "node-replaced", "node": node, "same_attempt": same_attempt})
}

/// Why a node counts as lost, for people.
pub fn reason(node: &NodeRow) -> String {
    if let Some(said) = node.said() {
        return said.to_owned();
    }
    match node.status {
        NodeStatus::Running if node.passing == Some(false) => "it does not pass its health checks".to_owned(),
        NodeStatus::Running => "its workload was started again".to_owned(),
        status => format!("it is {status}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bigdata_common::event::AttemptRef;
    use bigdata_common::internal::{NodeObservation, NodeWish};
    use bigdata_common::{AttemptId, Timestamp};

    fn both() -> Calls {
        Calls { node_lost_ms: Some(1), node_replaced_ms: Some(1), ..Calls::default() }
    }

    fn row(seen: Seen, attempt: u32, restarts: u32, status: NodeStatus, passing: Option<bool>) -> NodeRow {
        let observation = NodeObservation {
            status,
            attempt: AttemptRef { id: AttemptId(uuid::Uuid::from_u128(1)), number: attempt },
            incarnation: 0,
            revision: 1,
            agent: String::new(),
            host: String::new(),
            address: String::new(),
            interfaces: Vec::new(),
            ports: Default::default(),
            passing,
            observed_at: Timestamp::from_millis(0),
            restarts,
            reason: None,
            last_lines: Vec::new(),
            gave_up: false,
        };
        NodeRow {
            name: "a".parse().unwrap(),
            status,
            health_declared: true,
            passing,
            observed_at: None,
            observation: Some(observation),
            holds_ms: None,
            silent: false,
            wish: NodeWish { revision: 1, incarnation: 0, elsewhere: false },
            leaving: false,
            told: Some(seen),
        }
    }

    fn told(attempt: u32, restarts: u32, stance: Stance) -> Seen {
        Seen { attempt, restarts, stance }
    }

    #[test]
    fn what_is_due() {
        use NodeStatus::{Failed, Launching, Running, Stopped, Unreachable};
        use Stance::{Fresh, Good, Lost};
        let good = told(1, 0, Good);
        for (what, seen, (attempt, restarts, status, passing), wanted) in [
            ("nothing happened", good, (1, 0, Running, Some(true)), None),
            ("not known", good, (1, 0, Running, None), None),
            ("it ended", good, (1, 0, Failed, None), Some(Due::Lost)),
            ("it was stopped", good, (1, 0, Stopped, None), Some(Due::Lost)),
            ("its agent is away", good, (1, 0, Unreachable, Some(true)), Some(Due::Lost)),
            ("it does not pass", good, (1, 0, Running, Some(false)), Some(Due::Lost)),
            ("it was started again and serves", good, (1, 1, Running, Some(true)), Some(Due::Lost)),
            ("another one is begun", good, (2, 0, Launching, None), Some(Due::Lost)),
            ("another one runs", good, (2, 0, Running, None), Some(Due::Replaced { same_attempt: false })),
            ("it is still lost", told(1, 0, Lost), (1, 0, Running, Some(false)), None),
            ("not known whether it is back", told(1, 0, Lost), (1, 1, Running, None), None),
            ("it is back", told(1, 0, Lost), (1, 1, Running, Some(true)), Some(Due::Replaced { same_attempt: true })),
            ("the next is begun", told(1, 0, Lost), (2, 0, Launching, None), None),
            (
                "the next runs",
                told(1, 0, Lost),
                (2, 0, Running, Some(false)),
                Some(Due::Replaced { same_attempt: false }),
            ),
            ("it is being configured", told(2, 0, Fresh), (2, 0, Running, Some(false)), None),
            ("it ended before it served", told(2, 0, Fresh), (2, 0, Failed, None), Some(Due::Lost)),
            ("it serves first", told(2, 0, Fresh), (2, 1, Running, Some(true)), Some(Due::Note(told(2, 1, Good)))),
        ] {
            assert_eq!(due(Some(seen), &row(seen, attempt, restarts, status, passing), &both()), wanted, "{what}");
        }
    }

    #[test]
    fn nothing_is_due_of_what_is_not_declared_or_not_wanted() {
        let good = told(1, 0, Stance::Good);
        let failed = row(good, 1, 0, NodeStatus::Failed, None);
        assert_eq!(due(Some(good), &failed, &Calls::default()), None);
        assert_eq!(due(None, &failed, &both()), None, "the script has never been told of it");
        let one = |node_lost_ms, node_replaced_ms| Calls { node_lost_ms, node_replaced_ms, ..Calls::default() };
        assert_eq!(due(Some(good), &failed, &one(None, Some(1))), Some(Due::Note(told(1, 0, Stance::Lost))));
        let lost = told(1, 0, Stance::Lost);
        let back = row(lost, 1, 0, NodeStatus::Running, Some(true));
        assert_eq!(due(Some(lost), &back, &one(Some(1), None)), Some(Due::Note(good)));
        assert_eq!(due(Some(lost), &row(lost, 2, 0, NodeStatus::Running, None), &one(Some(1), None)), None);
        // An attempt of an earlier incarnation does not count as running.
        let mut earlier = row(lost, 2, 0, NodeStatus::Running, Some(true));
        earlier.wish.incarnation = 1;
        assert_eq!(due(Some(lost), &earlier, &both()), None);
    }

    #[test]
    fn what_a_run_tells() {
        let good = told(1, 0, Stance::Good);
        assert_eq!(super::told(&row(good, 1, 2, NodeStatus::Failed, None), true), Some(told(1, 2, Stance::Lost)));
        // The next attempt comes as a new one, though it was begun already.
        assert_eq!(super::told(&row(good, 2, 0, NodeStatus::Launching, None), true), Some(told(1, 0, Stance::Lost)));
        let lost = told(1, 0, Stance::Lost);
        assert_eq!(
            super::told(&row(lost, 1, 1, NodeStatus::Running, Some(true)), false),
            Some(told(1, 1, Stance::Good))
        );
        assert_eq!(super::told(&row(lost, 2, 0, NodeStatus::Running, None), false), Some(told(2, 0, Stance::Fresh)));
        assert_eq!(lost_event(&row(good, 2, 0, NodeStatus::Launching, None))["attempt"], 1);
    }
}
