//! Compares what the registry wants with the runs that are known, and acts. Events only say where to look.

use crate::plan::{Driven, KnownRun, Phase, Step, plan};
use crate::registry::Registry;
use crate::run::Drive;
use crate::service::Context;
use crate::store::{self, Claim, Lease, StoreError, StoredRun};
use bigdata_chassis::http::ClientError;
use bigdata_chassis::messaging::consumer::{HandleError, Handler};
use bigdata_chassis::trace::{self, Cause};
use bigdata_common::event::Envelope;
use bigdata_common::internal::ClusterState;
use bigdata_common::{ClusterId, RunId};
use futures_util::StreamExt;
use std::collections::BTreeSet;
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// The clusters that are to be looked at.
#[derive(Debug, Default)]
pub(crate) struct Dirty {
    clusters: Mutex<BTreeSet<ClusterId>>,
    hint: Notify,
}

impl Dirty {
    /// Look at this cluster soon.
    pub(crate) fn add(&self, cluster: ClusterId) {
        self.clusters.lock().unwrap_or_else(PoisonError::into_inner).insert(cluster);
        self.hint.notify_one();
    }

    fn take(&self) -> BTreeSet<ClusterId> {
        std::mem::take(&mut *self.clusters.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Takes events as hints. The truth is read afterwards, so that it does no harm when one comes twice, late or never.
pub(crate) struct Events(pub(crate) Arc<Dirty>);

#[async_trait::async_trait]
impl Handler for Events {
    async fn handle(&self, envelope: &Envelope) -> Result<(), HandleError> {
        self.0.add(envelope.cluster_id.clone());
        Ok(())
    }
}

/// Why a cluster could not be looked at; the timer tries again.
#[derive(Debug, thiserror::Error)]
enum ReconcileError {
    #[error("the registry cannot be asked")]
    Registry(#[from] ClientError),
    #[error("the runs cannot be read or written")]
    Store(#[from] StoreError),
}

/// How often runs are looked for that another replica left, or has no place for.
const LEFT_BEHIND_INTERVAL: Duration = Duration::from_secs(2);
/// Clusters looked at at a time: one whose answer is late must not hold up the others.
const AT_A_TIME: usize = 8;

/// Looks at every cluster at once and then on a timer, and at single ones on hints, until the service ends.
pub(crate) async fn forever(context: Context) {
    let interval = Duration::from_millis(context.settings.reconcile_interval_ms.max(100));
    let stop = context.tasks.token();
    let mut sweep_at = tokio::time::Instant::now();
    let mut left_behind = tokio::time::interval(LEFT_BEHIND_INTERVAL);
    left_behind.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let result = tokio::select! {
            () = stop.cancelled() => return,
            () = context.dirty.hint.notified() => {
                let looks = context.dirty.take().into_iter().map(|cluster| look(&context, cluster, None));
                futures_util::stream::iter(looks).for_each_concurrent(AT_A_TIME, |look| look).await;
                Ok(())
            }
            _ = left_behind.tick() => find_left_behind(&context).await,
            () = tokio::time::sleep_until(sweep_at) => {
                let result = sweep(&context).await;
                sweep_at = tokio::time::Instant::now() + interval;
                result
            }
        };
        if let Err(error) = result {
            tracing::warn!(error = &error as &dyn Error, "the clusters could not be looked at");
        }
    }
}

/// Acts on a cluster, of whose state something may be known.
async fn look(context: &Context, cluster: ClusterId, state: Option<ClusterState>) {
    let result = match state {
        Some(state) => act(context, &cluster, Some(state)).await,
        None => reconcile(context, &cluster).await,
    };
    if let Err(error) = result {
        tracing::warn!(cluster.id = %cluster, error = &error as &dyn Error, "a cluster could not be looked at");
    }
}

/// Every cluster that wants a run, and every one that has a run without an end.
async fn sweep(context: &Context) -> Result<(), ReconcileError> {
    let mut unfinished: BTreeSet<ClusterId> = context.store.unfinished().await?.into_iter().collect();
    let states = every_cluster(&context.registry).await?.into_iter();
    let mut wanted: Vec<(ClusterId, Option<ClusterState>)> = states
        .filter(|state| unfinished.remove(&state.cluster) || state.run.is_some() || !state.side_runs.is_empty())
        .map(|state| (state.cluster.clone(), Some(state)))
        .collect();
    // The registry no longer lists these.
    wanted.extend(unfinished.into_iter().map(|cluster| (cluster, None)));
    let looks = wanted.into_iter().map(|(cluster, state)| look(context, cluster, state));
    futures_util::stream::iter(looks).for_each_concurrent(AT_A_TIME, |look| look).await;
    Ok(())
}

/// Hints at the clusters that have a run without an end and nobody who drives it, if there is a place for one.
async fn find_left_behind(context: &Context) -> Result<(), ReconcileError> {
    if context.slots.are_taken() {
        return Ok(());
    }
    for (cluster, owner, is_held) in context.store.unfinished_owners().await? {
        if !is_held || context.owner.knows_as_gone(&owner) {
            context.dirty.add(cluster);
        }
    }
    Ok(())
}

async fn every_cluster(registry: &Registry) -> Result<Vec<ClusterState>, ClientError> {
    let mut clusters = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let page = registry.page(after.as_deref()).await?;
        clusters.extend(page.clusters);
        match page.next {
            Some(next) if Some(&next) != after.as_ref() => after = Some(next),
            _ => return Ok(clusters),
        }
    }
}

async fn reconcile(context: &Context, cluster: &ClusterId) -> Result<(), ReconcileError> {
    let state = context.registry.state(cluster).await?;
    act(context, cluster, state).await
}

async fn act(context: &Context, cluster: &ClusterId, mut state: Option<ClusterState>) -> Result<(), ReconcileError> {
    loop {
        let runs = context.store.runs_of(cluster).await?;
        let leases = context.store.leases(cluster).await?;
        let known: Vec<KnownRun> = runs.iter().map(|run| known(context, run, &leases)).collect();
        let mut steps = plan(state.as_ref(), &known, context.store.clock.now());
        if steps.iter().any(|step| matches!(step, Step::Cancel(_))) {
            // Another replica may have begun a run since the state was read: only what is unwanted still is cancelled.
            state = context.registry.state(cluster).await?;
            steps = plan(state.as_ref(), &known, context.store.clock.now());
        }
        let mut created = false;
        for step in steps {
            match (step, &state) {
                (Step::Create { request, is_side }, Some(state)) => {
                    context.store.create_run(state, &request, is_side).await?;
                    created = true;
                }
                // The plan creates nothing for a cluster that is not there.
                (Step::Create { .. }, None) => {}
                (Step::Drive(id), state) => {
                    let run = find(&runs, id);
                    let cause = run.map(|run| cause(state.as_ref(), run)).unwrap_or_default();
                    drive(context, run, &leases, cause).await?;
                }
                (Step::Cancel(id), _) => cancel(context, id).await?,
                (Step::SayAgain(id), _) => {
                    let run = find(&runs, id);
                    if let Some((run, result)) = run.and_then(|run| Some((run, run.result.clone()?))) {
                        context.store.say_again(run, result).await?;
                    }
                }
            }
        }
        if !created {
            return Ok(());
        }
    }
}

/// The request behind a run, as long as the registry wants it.
fn cause(state: Option<&ClusterState>, run: &StoredRun) -> Cause {
    let wanted = state.into_iter().flat_map(|state| state.run.iter().chain(&state.side_runs));
    let origin = wanted.filter(|wanted| wanted.operation == run.run.operation).find_map(|wanted| wanted.origin.clone());
    origin.map(Cause::from).unwrap_or_default()
}

fn find(runs: &[StoredRun], id: RunId) -> Option<&StoredRun> {
    runs.iter().find(|run| run.run.run == id)
}

fn known(context: &Context, run: &StoredRun, leases: &[Lease]) -> KnownRun {
    let id = run.run.run;
    let is_here = || context.active.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&id);
    let is_claimed = |lease: &&Lease| {
        lease.run_id == id.to_string() && lease.is_good() && !context.owner.knows_as_gone(&lease.owner)
    };
    let phase = match &run.result {
        Some(result) => Phase::Ended { result: result.clone(), said_at: run.said_at },
        None if is_here() => Phase::Unfinished { driven: Driven::Here },
        None if leases.iter().any(|lease| is_claimed(&lease)) => Phase::Unfinished { driven: Driven::Elsewhere },
        None => Phase::Unfinished { driven: Driven::Nobody },
    };
    KnownRun {
        id,
        operation: run.run.operation,
        action: run.run.action.clone(),
        generation: run.run.generation,
        step: run.run.step,
        is_side: run.is_side,
        phase,
    }
}

async fn cancel(context: &Context, id: RunId) -> Result<(), StoreError> {
    if let Some(cancel) = context.active.lock().unwrap_or_else(PoisonError::into_inner).get(&id) {
        cancel.cancel();
    }
    context.store.want_cancel(id).await
}

/// Claims a run, and drives it in the background, if there is a place and nobody else has claimed it.
async fn drive(
    context: &Context,
    run: Option<&StoredRun>,
    leases: &[Lease],
    cause: Cause,
) -> Result<(), ReconcileError> {
    let Some(run) = run else { return Ok(()) };
    if context.tasks.token().is_cancelled() {
        return Ok(());
    }
    // Without a place the run waits: whoever leaves one looks for it.
    let Some(slot) = context.slots.take(run.is_side) else { return Ok(()) };
    let key = store::key(&run.cluster, run.run.run, run.is_side);
    let lease = leases.iter().find(|lease| lease.claim_key == key);
    let gone = lease.map(|lease| lease.owner.as_str()).filter(|owner| context.owner.knows_as_gone(owner));
    let owner = context.owner.new_claim();
    let id = run.run.run;
    let claimed_at = tokio::time::Instant::now();
    let lease_ms = context.settings.lease_ms;
    if !context.store.claim(&key, id, &owner, lease_ms, gone.unwrap_or_default()).await? {
        return Ok(());
    }
    let (cluster, is_side) = (run.cluster.clone(), run.is_side);
    let claim = Claim { cluster, revision: run.revision, run: run.run.clone(), is_side, owner };
    // Another replica may have made an attempt, or come to its end, since the run was read.
    let runs = context.store.runs_of(&run.cluster).await?;
    let Some(stored) = find(&runs, id).filter(|run| run.result.is_none()).cloned() else {
        return Ok(context.store.release(&claim).await?);
    };
    let claim = Claim { run: stored.run.clone(), ..claim };
    let cancel = CancellationToken::new();
    context.active.lock().unwrap_or_else(PoisonError::into_inner).insert(id, cancel.clone());
    let cluster = run.cluster.clone();
    let drive = Drive { context: context.clone(), stored, claim, claimed_at, slot, cancel };
    let context_after = context.clone();
    let (request_id, trace_id) = (&cause.request_id, cause.trace_id());
    let span = tracing::info_span!("run", cluster.id = %cluster, run.id = %id, request_id, trace_id);
    context.tasks.spawn("script run", async move {
        let is_over = trace::within_span(cause, span, drive.run()).await;
        context_after.active.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        if is_over {
            look_further(&context_after, cluster).await;
        }
    });
    Ok(())
}

/// A place is free: what waited for it, or for the end of this cluster's run, may begin.
async fn look_further(context: &Context, cluster: ClusterId) {
    context.dirty.add(cluster);
    match context.store.unfinished().await {
        Ok(clusters) => clusters.into_iter().for_each(|cluster| context.dirty.add(cluster)),
        Err(error) => tracing::warn!(error = &error as &dyn Error, "waiting runs wait for the timer"),
    }
}
