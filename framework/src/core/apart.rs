//! A launch is one decision for all of its nodes. In a ready cluster that is not so: where not all nodes that look for a
//! place find one, each that does is placed.

use super::Core;
use super::launch::Bundle;
use crate::placement::Board;
use bigdata_common::api::explain::NodeExplanation;
use bigdata_common::{ClusterId, Name, Timestamp};
use std::collections::BTreeMap;

/// Nodes that have found no place.
#[derive(Default)]
pub(super) struct Waiting {
    pub names: Vec<Name>,
    /// Why; None: that was not counted.
    pub explained: Option<Vec<NodeExplanation>>,
}

impl Core {
    /// Places what has a place by itself, where together the nodes have none; what waits after that.
    pub(super) fn place_apart(
        &mut self,
        board: &mut Board,
        id: &ClusterId,
        waiting: Waiting,
        bundles: &mut BTreeMap<usize, Bundle>,
        now: Timestamp,
    ) -> Waiting {
        let launches = self.state.clusters.get(id).is_none_or(|cluster| cluster.status.is_launching());
        let all = waiting.names.len();
        if launches || all < 2 {
            return waiting;
        }
        let counts = waiting.explained.is_some();
        let mut left = Waiting { names: Vec::new(), explained: counts.then(Vec::new) };
        for name in waiting.names {
            match self.look_for(board, id, std::slice::from_ref(&name), counts) {
                Some(Ok(slots)) => {
                    for slot in slots {
                        self.launch_at(board, id, &name, slot, bundles, now);
                    }
                    continue;
                }
                Some(Err(explained)) => {
                    if let Some(reasons) = &mut left.explained {
                        reasons.extend(explained.into_iter().flatten());
                    }
                }
                None => {}
            }
            left.names.push(name);
        }
        if left.names.len() < all {
            // What is said of a refusal is said of those that are left.
            self.note_seekers(now);
        }
        left
    }
}
