//! Executors show who they are, once, and learn what to run.

use super::Core;
use super::model::{Cluster, Enrolled, Standing, Task};
use bigdata_chassis::secret::Token;
use bigdata_common::internal::{EnrolRequest, NodeSpecification, Secrets};
use bigdata_common::{AttemptId, Name};
use indexmap::IndexMap;

/// Why an executor is not taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EnrolRefusal {
    #[error("there is no such attempt")]
    Unknown,
    #[error("the attempt has ended")]
    Ended,
    #[error("the token is not the attempt's")]
    Token,
    #[error("another executor has enrolled for the attempt")]
    Other,
}

impl Core {
    /// Whether the executor may enrol: its token is the attempt's, and no other executor has used it.
    ///
    /// # Errors
    /// See [`EnrolRefusal`].
    pub(crate) fn check_enrolment(&self, request: &EnrolRequest) -> Result<(), EnrolRefusal> {
        let lives = |task: &&Task| task.is_current() && task.standing != Standing::Renewed;
        let Some(task) = self.state.tasks.get(&request.attempt).filter(lives) else {
            let known =
                self.state.ended.contains_key(&request.attempt) || self.state.tasks.contains_key(&request.attempt);
            return Err(if known { EnrolRefusal::Ended } else { EnrolRefusal::Unknown });
        };
        if Token::from_text(&request.token).hash() != task.token_hash {
            return Err(EnrolRefusal::Token);
        }
        match &task.enrolled {
            Some(enrolled) if enrolled.fingerprint != request.fingerprint => Err(EnrolRefusal::Other),
            _ => Ok(()),
        }
    }

    pub(super) fn enrolled(&mut self, attempt: AttemptId, fingerprint: String, control: String, isolation: String) {
        let Some(task) = self.state.tasks.get_mut(&attempt) else { return };
        let enrolled = Some(Enrolled { fingerprint, control, isolation });
        if task.enrolled != enrolled {
            task.enrolled = enrolled;
            self.store_task(attempt);
        }
    }

    /// The addresses of a cluster's nodes as they are now, for an executor that has enrolled for one of them.
    ///
    /// # Errors
    /// When the attempt is not known, or not its node's any more.
    pub(crate) fn peers(&self, attempt: AttemptId) -> Result<IndexMap<Name, String>, EnrolRefusal> {
        let Some(task) = self.state.tasks.get(&attempt).filter(|task| task.is_current() && task.enrolled.is_some())
        else {
            let known = self.state.ended.contains_key(&attempt) || self.state.tasks.contains_key(&attempt);
            return Err(if known { EnrolRefusal::Ended } else { EnrolRefusal::Unknown });
        };
        self.state.clusters.get(&task.cluster).map(addresses).ok_or(EnrolRefusal::Ended)
    }

    /// What the attempt's executor is to run, without secrets and control key, which are not kept here.
    pub(crate) fn node_specification(&self, attempt: AttemptId) -> Option<NodeSpecification> {
        let task: &Task = self.state.tasks.get(&attempt)?;
        let cluster = self.state.clusters.get(&task.cluster)?;
        let specification = cluster.specification.as_ref()?;
        Some(NodeSpecification {
            cluster: task.cluster.clone(),
            dnsname: specification.blueprint.dnsname.clone(),
            node: task.node.clone(),
            attempt: task.reference(),
            blueprint: specification.blueprint.nodes.get(&task.node)?.clone(),
            address: task.address.clone(),
            interfaces: task.interfaces.iter().map(|leased| leased.interface.clone()).collect(),
            ports: task.ports.clone(),
            peers: addresses(cluster),
            secrets: Secrets::default(),
            uid: task.uid,
            control_key: String::new(),
        })
    }
}

fn addresses(cluster: &Cluster) -> IndexMap<Name, String> {
    cluster.nodes.iter().filter_map(|(name, node)| Some((name.clone(), node.address.clone()?))).collect()
}
