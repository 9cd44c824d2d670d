//! A new cluster: its record, the operation that launches it, and what its history begins with.

use super::record::Cluster;
use super::steps;
use super::wanted::NewRevision;
use crate::store::written::Written;
use bigdata_chassis::messaging::outbox;
use bigdata_common::api::cluster::EventView;
use bigdata_common::event::Event;
use bigdata_common::status::{OperationKind, Termination};
use bigdata_common::{ClusterId, OperationId, Timestamp};
use uuid::Uuid;

/// A cluster that is registered, and what is written of that.
///
/// # Errors
/// When its event cannot be written as JSON.
pub fn registered(
    id: &ClusterId,
    first: &NewRevision,
    termination: Termination,
    now: Timestamp,
) -> Result<(Cluster, OperationId, Written), sqlx::Error> {
    let mut cluster = Cluster::registered(id, first, termination, now);
    let operation = OperationId(Uuid::now_v7());
    let mut view = steps::begin(operation, OperationKind::Launch, id.dn().clone(), now);
    view.deadline = cluster.deadline_at;
    cluster.operation = Some(operation);
    cluster.note_origin(operation);
    let mut written = Written { operations: vec![view], ..Written::default() };
    for (kind, message) in [("operation", "launch was asked for"), ("status", "registered")] {
        cluster.sequence += 1;
        written.events.push(EventView {
            sequence: cluster.sequence,
            at: now,
            kind: kind.to_owned(),
            status: cluster.state.status(),
            node: None,
            message: message.to_owned(),
        });
    }
    written.outbox.push(outbox::Row::new(id, cluster.revision, now, Event::ClusterRegistered {})?);
    Ok((cluster, operation, written))
}
