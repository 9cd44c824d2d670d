//! `GET /internal/v1/invariants`: what always holds of the runs, as it is found now.

use crate::service::Context;
use crate::store::{StoreError, UnderWay};
use actix_web::{HttpResponse, web};
use bigdata_chassis::http::{ApiError, ClientError, Internal};
use bigdata_common::ClusterId;
use bigdata_common::invariants::Invariants;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long after its deadline a run may still be on its way to its end, in milliseconds: its tree is killed, its lines
/// are stored, and its replica may have died just then.
const DEADLINE_GRACE_MS: i64 = 60_000;
/// A cluster is found destroyed a moment before its run is: what looks wrong is looked at again after this.
const SECOND_LOOK_AFTER: Duration = Duration::from_secs(4);

const ONE_RUN: &str = "at most one run of a cluster that may change it is under way";
const ONE_DRIVER: &str = "a run under way is driven, or can be taken up by any replica";
const NO_CLAIM_LEFT: &str = "no cluster is claimed for a run that has ended";
const IN_TIME: &str = "no run is under way past its deadline";
const NOT_DESTROYED: &str = "no run is under way for a cluster that is destroyed";

/// Looks, and tells what was found.
pub(crate) async fn show(_internal: Internal, context: web::Data<Context>) -> Result<HttpResponse, ApiError> {
    let found = context.store.under_way().await.map_err(ApiError::internal)?;
    let mut invariants = check(&found, context.store.clock.now().as_millis());
    let clusters: BTreeSet<&str> = unended(&found).map(|run| run.cluster.as_str()).collect();
    let mut gone = orphans(&context, &found).await?;
    if !gone.is_empty() {
        tokio::time::sleep(SECOND_LOOK_AFTER).await;
        let still = context.store.under_way().await.map_err(ApiError::internal)?;
        gone.retain(|(run, _)| unended(&still).any(|it| it.run_id == *run));
    }
    invariants.add(NOT_DESTROYED, clusters.len() as u64, gone);
    Ok(HttpResponse::Ok().json(invariants))
}

fn unended(found: &[UnderWay]) -> impl Iterator<Item = &UnderWay> {
    found.iter().filter(|run| run.state != "ended")
}

/// The runs of clusters of which nothing is left, each with what the registry says.
async fn orphans(context: &Context, found: &[UnderWay]) -> Result<Vec<(String, String)>, ApiError> {
    let mut gone = Vec::new();
    for run in unended(found) {
        let unreadable = |what: String| ApiError::internal(StoreError::Row { table: "runs", what });
        let cluster: ClusterId =
            run.cluster.parse().map_err(|error| unreadable(format!("{}: {error}", run.cluster)))?;
        let unavailable =
            |error: ClientError| ApiError::unavailable("the registry does not answer, so that nothing is known", error);
        if context.registry.is_gone(&cluster).await.map_err(unavailable)? {
            gone.push((run.run_id.clone(), format!("the cluster {cluster} is destroyed, or unknown to the registry")));
        }
    }
    Ok(gone)
}

/// What can be seen in the tables alone. Pure.
fn check(found: &[UnderWay], now_ms: i64) -> Invariants {
    let mut invariants = Invariants::default();
    let mut running: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for run in found.iter().filter(|run| run.state == "running" && !run.is_side) {
        running.entry(&run.cluster).or_default().push(&run.run_id);
    }
    let several = running.iter().filter(|(_, runs)| runs.len() > 1);
    let several = several.map(|(cluster, runs)| ((*cluster).to_owned(), format!("the runs {}", runs.join(", "))));
    invariants.add(ONE_RUN, running.len() as u64, several);

    let is_shut_out = |run: &&UnderWay| run.state == "running" && run.is_held && run.claimed_for != run.run_id;
    let shut_out = unended(found).filter(is_shut_out).map(|run| {
        (run.run_id.clone(), format!("its cluster is held for the run {} and its own attempt is open", run.claimed_for))
    });
    invariants.add(ONE_DRIVER, unended(found).count() as u64, shut_out);

    let left = found.iter().filter(|run| run.state == "ended");
    let left = left.map(|run| (run.cluster.clone(), format!("the run {} has ended", run.run_id)));
    let claimed = found.iter().filter(|run| run.claimed_for == run.run_id).count();
    invariants.add(NO_CLAIM_LEFT, claimed as u64, left);

    let late = unended(found).filter(|run| now_ms - run.deadline_at_ms > DEADLINE_GRACE_MS);
    let late = late.map(|run| {
        (run.run_id.clone(), format!("it is late by {} s ({})", (now_ms - run.deadline_at_ms) / 1000, run.cluster))
    });
    invariants.add(IN_TIME, unended(found).count() as u64, late);
    invariants
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(number: u32, state: &str, claimed_for: u32, is_held: bool) -> UnderWay {
        UnderWay {
            run_id: format!("run{number}"),
            cluster: "cluster".into(),
            state: state.into(),
            deadline_at_ms: 100_000,
            is_side: false,
            claimed_for: format!("run{claimed_for}"),
            is_held,
        }
    }

    fn broken(found: &[UnderWay], now_ms: i64) -> Vec<String> {
        let invariants = check(found, now_ms);
        assert_eq!(invariants.checked.len(), 4);
        invariants.violations.into_iter().map(|violation| violation.invariant).collect()
    }

    #[test]
    fn what_is_wrong_is_found_and_nothing_else() {
        let nothing: [&str; 0] = [];
        assert_eq!(broken(&[], 0), nothing);
        assert_eq!(broken(&[run(1, "running", 1, true), run(2, "waiting", 1, true)], 0), nothing);
        assert_eq!(broken(&[run(1, "running", 1, false)], 160_000), nothing, "it can be taken up, and has its grace");
        assert_eq!(broken(&[run(1, "running", 1, true), run(2, "running", 1, true)], 0), [ONE_RUN, ONE_DRIVER]);
        let side = UnderWay { is_side: true, ..run(2, "running", 2, true) };
        assert_eq!(broken(&[run(1, "running", 1, true), side], 0), nothing);
        assert_eq!(broken(&[run(1, "ended", 1, true)], 0), [NO_CLAIM_LEFT]);
        assert_eq!(broken(&[run(1, "waiting", 0, false)], 160_001), [IN_TIME]);
    }
}
