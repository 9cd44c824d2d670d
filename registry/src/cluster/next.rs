//! What a ready cluster is to begin next. Pure.

use super::hooks::{self, Due, Seen};
use super::plans;
use super::record::Cluster;
use super::wanted::Refused;
use crate::lifecycle::work::{By, Work, WorkStep};
use crate::store::nodes::NodeRow;
use bigdata_common::Name;

/// What is to begin.
pub(super) enum Next {
    /// Work that has no operation yet, with its cause in words.
    New(Work, String),
    /// The first that waits.
    Queued,
}

/// What begins now; None: nothing, or not yet. Answers to what happened to nodes go first, lost ones before others.
pub(super) fn next(cluster: &Cluster, nodes: &[NodeRow]) -> Option<Next> {
    let current = cluster.work();
    if cluster.life.has_script
        && let Some((work, cause)) = answer(cluster, nodes, current)
        && work.may_begin(current)
    {
        return Some(Next::New(work, cause));
    }
    if current.is_some() {
        return None;
    }
    if cluster.life.has_script && cluster.calls.node_replaced_ms.is_none() && started_anew(nodes) {
        return Some(Next::New(plans::reconfigure(&cluster.life), "nodes were started anew".to_owned()));
    }
    (!cluster.queue.is_empty()).then_some(Next::Queued)
}

fn answer(cluster: &Cluster, nodes: &[NodeRow], current: Option<&Work>) -> Option<(Work, String)> {
    let renewed = match current.and_then(Work::step) {
        // It runs again by the work's own doing, and is configured by its next step.
        Some(WorkStep::Renew { node, .. }) => Some(node),
        Some(WorkStep::Run(_) | WorkStep::Place { .. } | WorkStep::Release { .. }) | None => None,
    };
    let due = |node: &NodeRow| if node.leaving { None } else { hooks::due(node.told, node, &cluster.calls) };
    let lost = nodes.iter().find(|node| due(node) == Some(Due::Lost)).map(|node| (node, Due::Lost));
    let back = || {
        let others = nodes.iter().filter(|node| Some(&node.name) != renewed);
        others.filter_map(|node| Some((node, due(node)?))).find(|(_, due)| matches!(due, Due::Replaced { .. }))
    };
    let (node, due) = lost.or_else(back)?;
    let cause = match due {
        Due::Lost => format!("{} is lost: {}", node.name, hooks::reason(node)),
        Due::Replaced { same_attempt: true } => format!("{} is back", node.name),
        Due::Replaced { same_attempt: false } | Due::Note(_) => format!("{} was started anew", node.name),
    };
    Some((plans::answer(node, due, &cluster.calls)?, cause))
}

/// Whether every node runs, and some of them were started anew since the script configured them: a new attempt begins in an
/// empty folder.
fn started_anew(nodes: &[NodeRow]) -> bool {
    let wanted = || nodes.iter().filter(|node| !node.leaving);
    let is_new = |node: &NodeRow| {
        let attempt = node.observation.as_ref().map(|observation| observation.attempt.number);
        node.told.zip(attempt).is_some_and(|(seen, attempt)| attempt > seen.attempt)
    };
    wanted().all(NodeRow::runs) && wanted().any(is_new)
}

/// What counts as known from now on without the script's being told.
pub(super) fn notes(cluster: &Cluster, nodes: &[NodeRow]) -> Vec<(Name, Seen)> {
    let note = |node: &NodeRow| match hooks::due(node.told, node, &cluster.calls)? {
        Due::Note(seen) => Some((node.name.clone(), seen)),
        Due::Lost | Due::Replaced { .. } => None,
    };
    if !cluster.life.has_script {
        return Vec::new();
    }
    nodes.iter().filter(|node| !node.leaving).filter_map(note).collect()
}

/// Whether work that was planned some time ago can begin on the cluster as it is.
pub(super) fn stands(work: &Work, cluster: &Cluster, nodes: &[NodeRow]) -> Result<(), Refused> {
    if let Some(revises) = &work.revises
        && revises.from != cluster.revision
    {
        return Err(Refused::Changed(cluster.revision));
    }
    let find = |name: &Name| nodes.iter().find(|node| node.name == *name);
    for step in &work.steps {
        match step {
            WorkStep::Place { added, .. } => {
                let leaving = |name: &&Name| find(name).is_some_and(|node| node.leaving);
                let leaving: Vec<Name> = added.iter().filter(leaving).cloned().collect();
                if !leaving.is_empty() {
                    return Err(Refused::Leaving(leaving));
                }
                if added.iter().any(|name| find(name).is_some()) {
                    return Err(Refused::Changed(cluster.revision));
                }
            }
            WorkStep::Renew { node, .. } => known(node, find(node))?,
            WorkStep::Release { nodes, .. } => {
                for node in nodes {
                    known(node, find(node))?;
                }
            }
            WorkStep::Run(_) => {}
        }
    }
    Ok(())
}

fn known(name: &Name, node: Option<&NodeRow>) -> Result<(), Refused> {
    match node {
        Some(node) if !node.leaving => Ok(()),
        Some(_) | None => Err(Refused::UnknownNode(name.clone())),
    }
}

/// What changes the cluster, in words, as far as it keeps users' wishes waiting: what the clock asks for does not.
pub(super) fn busy(cluster: &Cluster) -> Option<String> {
    let current = cluster.work();
    let paused = cluster.paused().map(|paused| &paused.work);
    let keeps = |work: &&Work| work.by != By::Clock;
    let work = current.into_iter().chain(paused).chain(&cluster.queue).find(keeps)?;
    Some(format!("operation {} ({})", work.operation, work.kind))
}
