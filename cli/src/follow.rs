//! Shows a cluster's way live: one line per change with the time it took, and what it waits for.

mod operation;

pub(crate) use operation::operation;

use crate::client::{self, Api};
use crate::failure::Failure;
use crate::output::seconds;
use bigdata_chassis::Clock;
use bigdata_common::api::cluster::{ClusterEntry, ClusterView, EventList, EventView};
use bigdata_common::status::ClusterStatus;
use bigdata_common::{ClusterDn, Timestamp};
use std::io::{IsTerminal, Write};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// How often the last line is written anew on a terminal.
const REDRAW: Duration = Duration::from_millis(200);
/// How often the truth is read where no event tells of it.
const LOOK_AGAIN: Duration = Duration::from_secs(3);

/// The position of a cluster's last event: what is shown later begins behind it.
///
/// # Errors
/// See [`Api::get`].
pub(crate) async fn position(api: &Api, dn: &ClusterDn) -> Result<u64, Failure> {
    let mut last = 0;
    loop {
        let page: EventList = api.get(&format!("/{dn}/events?after={last}&limit=500")).await?;
        last = page.events.last().map_or(last, |event| event.sequence);
        if page.next.is_none() {
            return Ok(last);
        }
    }
}

/// Waits until the cluster has the status `goal`, or cannot reach it any more, and shows what happens after the event
/// `since`.
///
/// # Errors
/// When it failed instead, or the time was up.
pub(crate) async fn until(
    api: &Api,
    dn: &ClusterDn,
    goal: ClusterStatus,
    since: u64,
    limit: Duration,
) -> Result<ClusterView, Failure> {
    let deadline = Instant::now() + limit;
    let mut events = client::follow(api, format!("/{dn}/events"), Some(since));
    let mut story = Story::default();
    let mut screen = Screen::new();
    let mut next_look = Instant::now();
    loop {
        let wake = if screen.terminal { REDRAW } else { LOOK_AGAIN };
        let mut look = Instant::now() >= next_look;
        match timeout_at(deadline.min(Instant::now() + wake), events.recv()).await {
            Ok(Some(Ok(event))) => {
                if let Ok(event) = serde_json::from_str::<EventView>(&event.data) {
                    if let Some(line) = story.tell(&event) {
                        screen.line(&line);
                    }
                    look |= is_end(event.status, goal) && events.is_empty();
                }
            }
            Ok(Some(Err(refused))) => return Err(refused),
            Ok(None) => return Err(Failure::Failed("the stream of events ended".to_owned())),
            Err(_) => {}
        }
        if look {
            next_look = Instant::now() + LOOK_AGAIN;
            match api.get::<ClusterEntry>(&format!("/{dn}")).await {
                Ok(entry) if is_end(entry.data.status, goal) && (events.is_empty() || Instant::now() >= deadline) => {
                    drain(&mut events, &mut story, &mut screen, &entry.data).await;
                    screen.clear();
                    return conclude(entry.data, goal);
                }
                Ok(entry) => story.detail = entry.data.reason.or(story.detail),
                // It may be starting again; the stream is taken up when it answers.
                Err(failure) if failure.is_passing() => story.detail = Some("the platform does not answer".to_owned()),
                Err(other) => return Err(other),
            }
        }
        if Instant::now() >= deadline {
            screen.clear();
            return Err(Failure::TimedOut(format!(
                "{dn} is not {goal} after {} s{}\n  next: bigdata explain {dn}, or wait on: bigdata cluster wait {dn}",
                limit.as_secs(),
                story.where_it_stands()
            )));
        }
        screen.status(&story.current(Clock::system().now()));
    }
}

fn is_end(status: ClusterStatus, goal: ClusterStatus) -> bool {
    status == goal || matches!(status, ClusterStatus::Failed | ClusterStatus::Destroyed)
}

/// Tells the events that are still under way when the truth was read before them.
async fn drain(
    events: &mut tokio::sync::mpsc::Receiver<Result<client::StreamEvent, Failure>>,
    story: &mut Story,
    screen: &mut Screen,
    view: &ClusterView,
) {
    let until = Instant::now() + Duration::from_secs(1);
    while story.status != Some(view.status) {
        let Ok(Some(Ok(event))) = timeout_at(until, events.recv()).await else { return };
        if let Ok(event) = serde_json::from_str::<EventView>(&event.data)
            && let Some(line) = story.tell(&event)
        {
            screen.line(&line);
        }
    }
}

fn conclude(view: ClusterView, goal: ClusterStatus) -> Result<ClusterView, Failure> {
    if view.status == goal {
        return Ok(view);
    }
    let dn = &view.dn;
    let during = view.failed_during.map(|phase| format!(" during {phase}")).unwrap_or_default();
    let reason = view.reason.map(|reason| format!(": {reason}")).unwrap_or_default();
    Err(Failure::Failed(match view.status {
        ClusterStatus::Failed => format!(
            "{dn} failed{during}{reason}\n  next: bigdata cluster logs {dn}, bigdata cluster retry {dn} or bigdata cluster destroy {dn}"
        ),
        other => format!("{dn} is {other}, and will not be {goal}{reason}"),
    }))
}

/// What the events told so far.
#[derive(Debug, Default)]
struct Story {
    began: Option<Timestamp>,
    status: Option<ClusterStatus>,
    since: Option<Timestamp>,
    detail: Option<String>,
}

impl Story {
    /// The line that the event is worth, if any.
    fn tell(&mut self, event: &EventView) -> Option<String> {
        let began = *self.began.get_or_insert(event.at);
        if self.status != Some(event.status) {
            let took = self.since.map(|since| event.at.millis_since(since));
            self.status = Some(event.status);
            self.since = Some(event.at);
            self.detail = None;
            let took = took.map(|took| format!("+{}", seconds(took))).unwrap_or_default();
            let total = seconds(event.at.millis_since(began));
            let reason = match (event.kind.as_str(), event.status) {
                ("status", ClusterStatus::Failed) => format!("  {}", event.message),
                _ => String::new(),
            };
            let status = event.status;
            return Some(format!("  {status:<12} {took:>9}  {total:>9}{reason}").trim_end().to_owned());
        }
        let tells = matches!(event.kind.as_str(), "placement" | "run" | "node");
        let said = self.detail.as_deref() == Some(&event.message);
        if event.message.is_empty() || said || !tells {
            return None;
        }
        self.detail = Some(event.message.clone());
        // Nodes come and go in numbers: they are for the line that is written anew.
        (event.kind != "node").then(|| format!("    {}", event.message))
    }

    /// The line for what goes on now.
    fn current(&self, now: Timestamp) -> String {
        let (Some(status), Some(since)) = (self.status, self.since) else { return String::new() };
        let detail = self.detail.as_deref().map(|detail| format!(": {detail}")).unwrap_or_default();
        format!("  ... {status} for {}{detail}", seconds(now.millis_since(since)))
    }

    fn where_it_stands(&self) -> String {
        let status = self.status.map(|status| format!("; it is {status}")).unwrap_or_default();
        let detail = self.detail.as_deref().map(|detail| format!(" ({detail})")).unwrap_or_default();
        format!("{status}{detail}")
    }
}

/// Standard error: lines that stay, and on a terminal one below them that is written anew.
struct Screen {
    terminal: bool,
    width: usize,
    shows_status: bool,
}

impl Screen {
    fn new() -> Self {
        let terminal = std::io::stderr().is_terminal();
        // A terminal that does not know its width says 0.
        let width = comfy_table::Table::new().use_stderr().width().filter(|width| *width > 0).unwrap_or(80);
        Self { terminal, width: usize::from(width), shows_status: false }
    }

    fn line(&mut self, text: &str) {
        self.clear();
        eprintln!("{text}");
    }

    fn status(&mut self, text: &str) {
        if self.terminal && !text.is_empty() {
            let text: String = text.chars().take(self.width.saturating_sub(1)).collect();
            eprint!("\r\x1b[2K{text}");
            self.shows_status = std::io::stderr().flush().is_ok();
        }
    }

    fn clear(&mut self) {
        if std::mem::take(&mut self.shows_status) {
            eprint!("\r\x1b[2K");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(at: i64, kind: &str, status: ClusterStatus, message: &str) -> EventView {
        EventView {
            sequence: 1,
            at: Timestamp::from_millis(at),
            kind: kind.to_owned(),
            status,
            node: None,
            message: message.to_owned(),
        }
    }

    #[test]
    fn one_line_per_change_with_the_time_it_took() {
        let mut story = Story::default();
        let mut lines = Vec::new();
        for event in [
            event(0, "status", ClusterStatus::Registered, "accepted"),
            event(20, "status", ClusterStatus::Scheduling, ""),
            event(30, "placement", ClusterStatus::Scheduling, "agent a lacks 412 MiB"),
            event(40, "placement", ClusterStatus::Scheduling, "agent a lacks 412 MiB"),
            event(900, "node", ClusterStatus::Scheduling, "node0 launching"),
            event(1520, "status", ClusterStatus::Failed, "no place in time"),
        ] {
            lines.extend(story.tell(&event));
        }
        assert_eq!(
            lines,
            [
                "  registered                 0.00 s",
                "  scheduling     +0.02 s     0.02 s",
                "    agent a lacks 412 MiB",
                "  failed         +1.50 s     1.52 s  no place in time",
            ]
        );
    }

    #[test]
    fn the_current_line_tells_for_how_long_and_why() {
        let mut story = Story::default();
        story.tell(&event(0, "status", ClusterStatus::Scheduling, ""));
        story.tell(&event(10, "placement", ClusterStatus::Scheduling, "no agent"));
        assert_eq!(story.current(Timestamp::from_millis(2500)), "  ... scheduling for 2.50 s: no agent");
    }
}
