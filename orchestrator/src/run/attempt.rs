//! One attempt at a run.

use super::child::{self, Child};
use super::command::Kind;
use super::log::Log;
use super::mask::Mask;
use super::prepare::{Attempt, prepare};
use super::verdict::{self, End};
use super::{Outcome, await_gone};
use crate::document::document;
use crate::reach::{self, Reach};
use crate::registry::Material;
use crate::service::Context;
use crate::slots::Slot;
use crate::store::{Claim, StoreError, StoredOutput, StoredRun};
use bigdata_chassis::secret::Token;
use bigdata_common::event::RunResult;
use bigdata_sandbox::Report;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How long a tree may take to end beyond its time, before its sandbox is given up.
const END_LIMIT: Duration = Duration::from_secs(20);
/// How long output is read once the tree is gone.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);

/// Makes an attempt: waits for the end of the one before, asks for all that is needed, runs the script.
pub(crate) async fn attempt(
    context: &Context,
    stored: &StoredRun,
    claim: &mut Claim,
    slot: &Slot,
    cancel: &CancellationToken,
) -> Outcome {
    if let Err(reason) = await_gone(&context.owner, &stored.supervisor, stored.run.run).await {
        return Outcome::Later(reason);
    }
    // The wish to cancel may be newer than what was read before the claim.
    match context.store.renew(&claim.cluster, claim.run.run, &claim.owner, context.settings.lease_ms).await {
        Ok(false) if !cancel.is_cancelled() => {}
        Ok(_) => return Outcome::Ended(RunResult::Cancelled {}),
        Err(error) => return Outcome::Later(format!("the claim cannot be confirmed: {error}")),
    }
    let allowed_ms = stored.deadline.millis_since(stored.created_at);
    let left_ms = stored.deadline.millis_since(context.store.clock.now());
    if left_ms == 0 {
        let reason = format!("it did not come to an end within {}", verdict::duration(allowed_ms));
        return Outcome::Ended(RunResult::Failed { reason });
    }
    let material = match context.registry.material(&stored.cluster, stored.revision).await {
        Ok(material) => material,
        Err(error) => return Outcome::Later(format!("the registry does not tell what is to be run: {error}")),
    };
    if let Some(result) = without_running(&material.specification.orchestrator, stored.required) {
        return Outcome::Ended(result);
    }
    let published = match context.store.outputs_of(&stored.cluster).await {
        Ok(published) => published,
        Err(error) => return Outcome::Later(format!("the outputs cannot be read: {error}")),
    };
    match context.store.begin_attempt(claim).await {
        Ok(()) => {}
        Err(StoreError::Overtaken) => return Outcome::Interrupted,
        Err(error) => return Outcome::Later(format!("the attempt cannot be stored: {error}")),
    }
    let limit = context.settings.limits.output_bytes;
    let (log, log_end) = Log::open(context.store.clone(), context.signals.clone(), claim.clone(), limit);
    let again = if claim.run.attempt > 1 { ", since the one before was interrupted" } else { "" };
    log.platform_line(format!("{} begins, attempt {}{again}", claim.run.action, claim.run.attempt)).await;
    let script = Script { context, stored, claim, material: &material, published: &published, log: &log, cancel };
    let outcome = script.run(slot, Duration::from_millis(left_ms), allowed_ms).await;
    match &outcome {
        Outcome::Ended(result) => log.conclude(&claim.run.action, result).await,
        _ => log.platform_line(format!("{} was interrupted and will be begun again", claim.run.action)).await,
    }
    drop(log);
    log_end.wait().await;
    outcome
}

/// The result where there is nothing that could be run.
fn without_running(script: &str, required: bool) -> Option<RunResult> {
    if script.trim().is_empty() {
        return Some(match required {
            true => RunResult::Failed { reason: "the product has no orchestrator script".to_owned() },
            false => RunResult::Absent {},
        });
    }
    Kind::of(script).missing().map(|reason| RunResult::Failed { reason })
}

/// Everything around a script that runs.
struct Script<'a> {
    context: &'a Context,
    stored: &'a StoredRun,
    claim: &'a Claim,
    material: &'a Material,
    published: &'a [StoredOutput],
    log: &'a Log,
    cancel: &'a CancellationToken,
}

/// Why the tree was ended before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    Cancelled,
    ShuttingDown,
}

impl Script<'_> {
    async fn run(&self, slot: &Slot, time_left: Duration, allowed_ms: u64) -> Outcome {
        let published = self.published.iter().filter(|output| output.secret).map(|output| output.value.as_str());
        let mask = Mask::of(self.material.secrets.0.values().map(String::as_str).chain(published));
        match self.watched(slot, time_left, allowed_ms, &mask).await {
            Ok(outcome) => outcome,
            Err(error) => {
                tracing::error!(run.id = %self.claim.run.run, %error, "a script could not be prepared");
                Outcome::Ended(RunResult::Failed { reason: format!("could not be prepared: {error}") })
            }
        }
    }

    /// Runs the script with its socket; its directory goes when this returns.
    async fn watched(&self, slot: &Slot, time_left: Duration, allowed_ms: u64, mask: &Mask) -> io::Result<Outcome> {
        let token = Token::random();
        mask.add(token.expose());
        let document = document(self.material, self.published);
        let attempt = Attempt {
            claim: self.claim,
            document: &document,
            script: &self.material.specification.orchestrator,
            reach_network: self.material.specification.reach_network,
            time_left,
            token: &token,
            uid: self.context.script_uid_first.map(|first| first + slot.number()),
        };
        let (directory, spec) = prepare(self.context, &attempt)?;
        let reach = Reach::new(self.context, self.claim, token, mask, self.log);
        // Served until this is dropped: with the attempt ends all that its token gives.
        let _server = reach::serve(&directory, Arc::new(reach))?;
        directory.hand_over()?;

        let child = Child::start(&spec, &self.context.settings.program)?;
        drop(spec);
        if let Some(pid) = child.id() {
            let supervisor = self.context.owner.supervisor(pid);
            if let Err(error) = self.context.store.note_supervisor(self.claim, &supervisor).await {
                tracing::warn!(run.id = %self.claim.run.run, error = &error as &dyn std::error::Error, "a script's process could not be noted");
            }
        }
        let (report, last_line, ended) = self.watch(child, time_left, mask).await;
        let Some(report) = report else {
            // Its supervisor was killed, or does not come to an end: what is left of the tree must go first.
            let own = crate::store::Supervisor { machine: self.context.owner.machine.clone(), pid: 0, start: 0 };
            if let Err(reason) = await_gone(&self.context.owner, &own, self.claim.run.run).await {
                return Ok(Outcome::Later(reason));
            }
            return Ok(match ended {
                Some(Ended::Cancelled) => Outcome::Ended(RunResult::Cancelled {}),
                Some(Ended::ShuttingDown) => Outcome::Interrupted,
                None => Outcome::Ended(RunResult::Failed { reason: "was killed from outside".to_owned() }),
            });
        };
        Ok(match ended {
            Some(Ended::Cancelled) if report.requested => Outcome::Ended(RunResult::Cancelled {}),
            Some(Ended::ShuttingDown) if report.requested => Outcome::Interrupted,
            _ => Outcome::Ended(verdict::verdict(&End {
                ending: &report.ending,
                action: &self.claim.run.action,
                required: self.stored.required,
                allowed_ms,
                last_line: last_line.as_deref(),
            })),
        })
    }

    /// Reads the script's output until its tree is gone, and ends it when it is cancelled or the service ends.
    async fn watch(
        &self,
        child: Child,
        time_left: Duration,
        mask: &Mask,
    ) -> (Option<Report>, Option<String>, Option<Ended>) {
        let line_bytes = self.context.settings.limits.line_bytes;
        let (mut ending, stdout, stderr) = child.split();
        let reading = async {
            tokio::join!(
                child::read(stdout, "stdout", line_bytes, mask, self.log),
                child::read(stderr, "stderr", line_bytes, mask, self.log),
            )
        };
        tokio::pin!(reading);
        let mut last_lines = None;
        let mut ended = None;
        let shutting_down = self.context.tasks.token();
        let mut give_up_at = tokio::time::Instant::now() + time_left + END_LIMIT;
        let report = loop {
            tokio::select! {
                report = ending.ended() => break report,
                lines = &mut reading, if last_lines.is_none() => last_lines = Some(lines),
                () = self.cancel.cancelled(), if ended.is_none() => ended = Some(Ended::Cancelled),
                () = shutting_down.cancelled(), if ended.is_none() => ended = Some(Ended::ShuttingDown),
                () = tokio::time::sleep_until(give_up_at) => break None,
            }
            if ended.is_some() {
                ending.kill().await;
                give_up_at = give_up_at.min(tokio::time::Instant::now() + END_LIMIT);
            }
        };
        ending.collect(DRAIN_LIMIT).await;
        if last_lines.is_none() {
            last_lines = tokio::time::timeout(DRAIN_LIMIT, &mut reading).await.ok();
        }
        let last_line = last_lines.and_then(|(stdout, stderr)| stderr.or(stdout));
        (report, last_line, ended)
    }
}
