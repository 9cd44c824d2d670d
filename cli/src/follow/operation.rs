//! Shows an operation's way live: its steps, and what it waits for.

use super::Screen;
use crate::client::Api;
use crate::failure::Failure;
use crate::output::seconds;
use bigdata_chassis::Clock;
use bigdata_common::OperationId;
use bigdata_common::api::operation::{OperationView, StepView};
use bigdata_common::status::OperationStatus;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// The wait between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// Waits until the operation has ended, and shows its steps.
///
/// # Errors
/// When it failed or was cancelled, or the time was up.
pub(crate) async fn operation(api: &Api, id: OperationId, limit: Duration) -> Result<OperationView, Failure> {
    let deadline = Instant::now() + limit;
    let mut screen = Screen::new();
    let mut told: Vec<String> = Vec::new();
    loop {
        let view = match api.get::<OperationView>(&format!("/operations/{id}")).await {
            Ok(view) => Some(view),
            // It may be starting again.
            Err(failure) if failure.is_passing() => None,
            Err(other) => return Err(other),
        };
        if let Some(view) = view {
            for line in view.steps.iter().filter_map(ended).skip(told.len()).collect::<Vec<_>>() {
                screen.line(&line);
                told.push(line);
            }
            if view.status.is_final() {
                screen.clear();
                return conclude(view);
            }
            screen.status(&current(&view));
        }
        if Instant::now() >= deadline {
            screen.clear();
            let text = format!("operation {id} has not ended after {} s", limit.as_secs());
            return Err(Failure::TimedOut(format!("{text}\n  next: bigdata operation show {id}")));
        }
        sleep(LOOK_AGAIN).await;
    }
}

/// The line of a step that is over.
fn ended(step: &StepView) -> Option<String> {
    let took = step.started_at.zip(step.ended_at).map(|(from, to)| seconds(to.millis_since(from)))?;
    let message = step.message.as_deref().map(|message| format!("  {message}")).unwrap_or_default();
    Some(format!("  {:<28} {:<10} {took:>9}{message}", step.name, step.status))
}

/// What goes on now.
fn current(view: &OperationView) -> String {
    let Some(step) = view.steps.iter().find(|step| step.status == OperationStatus::Running) else {
        return format!("  ... {}", view.status);
    };
    let since = step.started_at.map(|at| seconds(Clock::system().now().millis_since(at))).unwrap_or_default();
    let percent = step.percent.map(|percent| format!(" {percent} %")).unwrap_or_default();
    let message = step.message.as_deref().map(|message| format!(": {message}")).unwrap_or_default();
    format!("  ... {} for {since}{percent}{message}", step.name)
}

fn conclude(view: OperationView) -> Result<OperationView, Failure> {
    match view.status {
        OperationStatus::Succeeded => Ok(view),
        OperationStatus::Pending | OperationStatus::Running | OperationStatus::Failed | OperationStatus::Cancelled => {
            let reason = view.error.as_deref().map(|error| format!(": {error}")).unwrap_or_default();
            let id = view.id;
            Err(Failure::Failed(format!("operation {id} {}{reason}\n  next: bigdata operation logs {id}", view.status)))
        }
    }
}
