//! One attempt at a run.

use super::child::Child;
use super::command::Kind;
use super::log::Log;
use super::prepare::{Attempt, prepare};
use super::verdict::{self, End};
use super::watch::{Ended, Seen, Watch};
use super::{Directory, Hold, Outcome, await_gone, group};
use crate::document::document;
use crate::reach::{self, Loopback, Reach, Tokens};
use crate::registry::Material;
use crate::service::Context;
use crate::slots::Slot;
use crate::store::{Claim, StoreError, StoredOutput, StoredRun};
use bigdata_chassis::secret::Token;
use bigdata_common::event::RunResult;
use bigdata_sandbox::{Mask, Spec, size_in_words};
use std::io;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How long it may take until a script begins; then its place is given to another for a while.
const READY_LIMIT: Duration = Duration::from_secs(60);

/// What an attempt needs.
struct Ready {
    material: Material,
    published: Vec<StoredOutput>,
    time_left: Duration,
}

/// Makes an attempt: waits for the end of the one before, asks for all that is needed, runs the script.
pub(crate) async fn attempt(
    context: &Context,
    stored: &StoredRun,
    claim: &mut Claim,
    slot: &Slot,
    cancel: &CancellationToken,
    hold: &Hold,
) -> Outcome {
    let ready = tokio::select! {
        ready = tokio::time::timeout(READY_LIMIT, make_ready(context, stored, claim, cancel)) => ready,
        () = hold.lost() => return Outcome::Interrupted,
        () = context.tasks.cancelled() => return Outcome::Interrupted,
    };
    let Ready { material, published, time_left } = match ready {
        Ok(Ok(ready)) => ready,
        Ok(Err(outcome)) => return outcome,
        Err(_) => return Outcome::Later(format!("it was not ready to begin within {} s", READY_LIMIT.as_secs())),
    };
    let limit = context.settings.limits.output_bytes;
    let (log, log_end) = Log::open(context.store.clone(), context.signals.clone(), claim.clone(), limit);
    let again = if claim.run.attempt > 1 { ", since the one before was interrupted" } else { "" };
    log.platform_line(format!("{} begins, attempt {}{again}", claim.run.action, claim.run.attempt)).await;
    let (material, published, log_here) = (&material, published.as_slice(), &log);
    let script = Script { context, stored, claim, material, published, log: log_here, cancel, hold };
    let outcome = script.run(slot, time_left).await;
    match &outcome {
        Outcome::Ended(result) => log.conclude(&claim.run.action, result).await,
        _ => log.platform_line(format!("{} was interrupted and will be begun again", claim.run.action)).await,
    }
    drop(log);
    log_end.wait().await;
    outcome
}

/// Everything that comes before the script; where it is not to be run, what becomes of the run.
async fn make_ready(
    context: &Context,
    stored: &StoredRun,
    claim: &mut Claim,
    cancel: &CancellationToken,
) -> Result<Ready, Outcome> {
    if let Err(reason) = await_gone(&context.owner, &stored.supervisor, stored.run.run).await {
        return Err(Outcome::Later(reason));
    }
    // The wish to cancel may be newer than what was read before the claim.
    match context.store.renew(claim, context.settings.lease_ms).await {
        Ok(false) if !cancel.is_cancelled() => {}
        Ok(_) => return Err(Outcome::Ended(RunResult::Cancelled {})),
        Err(error) => return Err(Outcome::Later(format!("the claim cannot be confirmed: {error}"))),
    }
    let left_ms = stored.deadline.millis_since(context.store.clock.now());
    if left_ms == 0 {
        let reason = format!("it did not come to an end within {}", verdict::duration(allowed_ms(stored)));
        return Err(Outcome::Ended(RunResult::Failed { reason }));
    }
    let later = |what: &str, error: &dyn std::fmt::Display| Outcome::Later(format!("{what}: {error}"));
    let material = context.registry.material(&stored.cluster, stored.revision).await;
    let material = material.map_err(|error| later("the registry does not tell what is to be run", &error))?;
    if let Some(result) = without_running(&material.specification.orchestrator, stored.required) {
        return Err(Outcome::Ended(result));
    }
    let published = context.store.outputs_of(&stored.cluster).await;
    let published = published.map_err(|error| later("the outputs cannot be read", &error))?;
    match context.store.begin_attempt(claim).await {
        Ok(()) => Ok(Ready { material, published, time_left: Duration::from_millis(left_ms) }),
        Err(StoreError::Overtaken) => Err(Outcome::Interrupted),
        Err(error) => Err(later("the attempt cannot be stored", &error)),
    }
}

/// How long the run may take in all.
fn allowed_ms(stored: &StoredRun) -> u64 {
    stored.deadline.millis_since(stored.created_at)
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
    hold: &'a Hold,
}

impl Script<'_> {
    async fn run(&self, slot: &Slot, time_left: Duration) -> Outcome {
        let published = self.published.iter().filter(|output| output.secret).map(|output| output.value.as_str());
        let mask = Mask::of(self.material.secrets.0.values().map(String::as_str).chain(published));
        match self.watched(slot, time_left, &mask).await {
            Ok(outcome) => outcome,
            Err(error) => {
                tracing::error!(run.id = %self.claim.run.run, %error, "a script could not be prepared");
                Outcome::Ended(RunResult::Failed { reason: format!("could not be prepared: {error}") })
            }
        }
    }

    /// Runs the script with its socket; its directory goes when this returns.
    async fn watched(&self, slot: &Slot, time_left: Duration, mask: &Mask) -> io::Result<Outcome> {
        let tokens = Tokens { own: Token::random(), keys: Token::random() };
        mask.add(tokens.own.expose());
        mask.add(tokens.keys.expose());
        let document = document(self.material, self.published);
        let uid = self.context.script_uid_first.map(|first| first + slot.number());
        // Without the network a script can open no connection to it.
        let loopback = match self.material.specification.reach_network {
            true => Some(Loopback::open(uid.unwrap_or_else(|| nix::unistd::geteuid().as_raw())).await?),
            false => None,
        };
        let attempt = Attempt {
            claim: self.claim,
            document: &document,
            script: &self.material.specification.orchestrator,
            reach_network: self.material.specification.reach_network,
            time_left,
            event: self.stored.event.as_deref(),
            arguments: &self.stored.arguments,
            tokens: &tokens,
            loopback: loopback.as_ref(),
            uid,
        };
        let (directory, spec) = prepare(self.context, &attempt)?;
        let reach = Reach::new(self.context, self.claim, tokens, mask, self.log, self.hold);
        let doors = reach::serve(&directory, loopback, reach)?;
        let outcome = self.sandboxed(&directory, spec, time_left, mask).await;
        // They were served until here: with the attempt ends all that its tokens give.
        drop(doors);
        directory.remove().await;
        outcome
    }

    /// Runs the script in its directory, which nothing of it uses any more when this returns.
    async fn sandboxed(
        &self,
        directory: &Directory,
        spec: Spec,
        time_left: Duration,
        mask: &Mask,
    ) -> io::Result<Outcome> {
        directory.hand_over()?;

        let child = Child::start(&spec, &self.context.settings.program)?;
        drop(spec);
        if let Some(pid) = child.id() {
            let supervisor = self.context.owner.supervisor(pid);
            if let Err(error) = self.context.store.note_supervisor(self.claim, &supervisor).await {
                tracing::warn!(run.id = %self.claim.run.run, error = &error as &dyn std::error::Error, "a script's process could not be noted");
            }
        }
        let Self { context, log, cancel, hold, .. } = *self;
        let watch = Watch { context, directory: directory.path(), mask, log, cancel, hold, time_left };
        let seen = watch.run(child).await;
        if seen.report.is_none() {
            // Its supervisor was killed, or does not come to an end: what is left of the tree must go first.
            let own = crate::store::Supervisor { machine: self.context.owner.machine.clone(), pid: 0, start: 0 };
            if let Err(reason) = await_gone(&self.context.owner, &own, self.claim.run.run).await {
                return Ok(Outcome::Later(reason));
            }
        }
        Ok(self.outcome(&seen))
    }

    /// What becomes of the run, once nothing of its tree is left.
    fn outcome(&self, seen: &Seen) -> Outcome {
        let limits = &self.context.settings.limits;
        let failed = |reason: String| Outcome::Ended(RunResult::Failed { reason });
        // Without a report it was ended in any case.
        let requested = seen.report.as_ref().is_none_or(|report| report.requested);
        match (seen.ended, &seen.report) {
            (Some(Ended::Cancelled), _) if requested => Outcome::Ended(RunResult::Cancelled {}),
            // Whoever has the claim now will say how the run ends.
            (Some(Ended::ClaimLost), _) => Outcome::Interrupted,
            (Some(Ended::ShuttingDown), _) if requested => Outcome::Interrupted,
            (Some(Ended::DirectoryFull), _) if requested => {
                failed(format!("its directory holds more than the limit of {}", size_in_words(limits.directory_bytes)))
            }
            (_, None) => failed("was killed from outside".to_owned()),
            // Its sandbox was asked by others, as at a machine's end, or had no word from this process in time.
            (None, Some(_)) if requested => Outcome::Interrupted,
            (_, Some(report)) => Outcome::Ended(verdict::verdict(&End {
                ending: &report.ending,
                action: &self.claim.run.action,
                required: self.stored.required,
                allowed_ms: allowed_ms(self.stored),
                reached: group::reached(report, limits).as_deref(),
                last_line: seen.last_line.as_deref(),
            })),
        }
    }
}
