//! A node's life as a pure machine: what happened goes in, what is to be done comes out.
//!
//! **Invariant:** no clock and no I/O here. Times are measured from any fixed instant.

use super::check::{Verdict, Watched};
use super::restart::{Decision, Restarts, in_words};
use bigdata_common::blueprint::{Check, Node, Start};
use std::time::Duration;

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// The workload shall run; a no-op where it does.
    Start,
    /// The workload shall be ended and stay so until it is started again.
    Stop,
    /// The workload shall be ended and started anew.
    Restart,
    /// The node shall end for good.
    End(End),
    /// The workload runs.
    Started,
    /// The workload could not be started; why, in words.
    Refused(String),
    /// The workload and all that it left behind is gone; how its command ended, in words.
    Exited(String),
    /// A probe came back.
    Probed(Result<(), String>),
    /// The time of [`Lifecycle::wake`] has come.
    Tick,
}

/// How a node ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// As it was asked to.
    Killed,
    /// By its own fault, in words.
    Failed(String),
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Start the workload and tell [`Input::Started`] or [`Input::Refused`].
    Spawn,
    /// Stop the workload gracefully; [`Input::Exited`] follows.
    Stop,
    /// Try this check once and tell [`Input::Probed`].
    Probe(Check),
}

#[derive(Debug, Clone)]
enum State {
    /// No workload, and none is to be started by itself.
    Held,
    /// A start is under way.
    Spawning { then: Then, by: Starter },
    /// The workload runs.
    Up { since: Duration, probing: Option<Probing> },
    /// The workload ended; it is started again at `until`.
    Waiting { until: Duration },
    /// The workload is being stopped.
    Stopping { then: Then },
    /// Over.
    Ended(End),
}

#[derive(Debug, Clone)]
struct Probing {
    gates: bool,
    watched: Watched,
    /// When the next try is due; None: one is under way.
    next: Option<Duration>,
}

/// Who began a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Starter {
    /// Somebody who asked, and hears of it when it fails.
    Asker,
    /// The node, after its workload ended by itself.
    Node,
}

/// What follows when the workload is down (or, while it is being started, up).
#[derive(Debug, Clone)]
enum Then {
    Hold,
    Run,
    End(End),
}

/// The machine.
#[derive(Debug, Clone)]
pub struct Lifecycle {
    check: Option<Check>,
    health: Option<Check>,
    restarts: Restarts,
    state: State,
    /// Whether its workload is started with it, by nobody's command.
    starts_itself: bool,
    ready: bool,
    first_start: Option<Duration>,
    restart_count: u32,
    passing: Option<bool>,
    reason: Option<String>,
}

impl Lifecycle {
    /// A node whose folders and control channel are ready, without a workload yet.
    pub fn new(node: &Node) -> Self {
        // Without a command and an image there is nothing to wait for: such a node is worked on by exec alone.
        let starts_itself = node.start != Start::Script && (node.command.is_some() || node.docker_image.is_some());
        Self {
            check: node.check.clone(),
            health: node.health.clone(),
            restarts: Restarts::new(node.restart.clone()),
            state: State::Held,
            starts_itself,
            ready: !starts_itself,
            first_start: None,
            restart_count: 0,
            passing: None,
            reason: None,
        }
    }

    /// Whether the node can be worked on. Never goes back.
    pub fn is_ready(&self) -> bool {
        self.ready
    }

    /// Whether the workload runs.
    pub fn is_up(&self) -> bool {
        matches!(self.state, State::Up { .. })
    }

    /// Whether the workload runs, or is to run as soon as it can.
    pub fn is_wanted(&self) -> bool {
        match &self.state {
            State::Up { .. } | State::Waiting { .. } => true,
            State::Spawning { then, .. } | State::Stopping { then } => matches!(then, Then::Run),
            State::Held | State::Ended(_) => false,
        }
    }

    /// Whether the workload is down against everybody's wish, and is started again later.
    pub fn is_waiting(&self) -> bool {
        matches!(self.state, State::Waiting { .. })
    }

    /// Whether there is no workload, and nothing under way to change that.
    pub fn is_held(&self) -> bool {
        matches!(self.state, State::Held)
    }

    /// Whether it ends as soon as the start that is under way has come to its end: nobody can take that back halfway.
    pub fn is_ending_after_start(&self) -> bool {
        matches!(self.state, State::Spawning { then: Then::End(_), .. })
    }

    /// How it ended, once it has.
    pub fn end(&self) -> Option<&End> {
        match &self.state {
            State::Ended(end) => Some(end),
            _ => None,
        }
    }

    /// What the health check says; None: nothing yet, or none is declared.
    pub fn passing(&self) -> Option<bool> {
        self.passing
    }

    /// How often the workload was started again by itself.
    pub fn restart_count(&self) -> u32 {
        self.restart_count
    }

    /// Why it ended, waits or does not pass.
    pub fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    /// When [`Input::Tick`] is due; None: only when something happens.
    pub fn wake(&self) -> Option<Duration> {
        match &self.state {
            State::Up { probing: Some(probing), .. } => probing.next,
            State::Waiting { until } => Some(*until),
            _ => None,
        }
    }

    /// Takes one input and says what to do.
    pub fn step(&mut self, input: Input, now: Duration) -> Option<Action> {
        match input {
            Input::Start => self.start(now),
            Input::Stop => self.take_down(Then::Hold),
            Input::Restart => self.take_down(Then::Run).or_else(|| self.start(now)),
            Input::End(end) => self.take_down(Then::End(end)),
            Input::Started => self.started(now),
            Input::Refused(reason) => self.refused(reason, now),
            Input::Exited(how) => self.exited(how, now),
            Input::Probed(result) => self.probed(result, now),
            Input::Tick => self.tick(now),
        }
    }

    fn start(&mut self, now: Duration) -> Option<Action> {
        match &mut self.state {
            State::Held | State::Waiting { .. } => {
                self.first_start.get_or_insert(now);
                self.state = State::Spawning { then: Then::Run, by: Starter::Asker };
                Some(Action::Spawn)
            }
            State::Stopping { then: then @ Then::Hold } | State::Spawning { then: then @ Then::Hold, .. } => {
                *then = Then::Run;
                None
            }
            State::Stopping { .. } | State::Spawning { .. } | State::Up { .. } | State::Ended(_) => None,
        }
    }

    /// Ends the workload. What is wanted last holds, but for an end: nothing takes that back.
    fn take_down(&mut self, wish: Then) -> Option<Action> {
        match &mut self.state {
            State::Ended(_) => None,
            State::Spawning { then, .. } | State::Stopping { then } => {
                if !matches!(then, Then::End(_)) {
                    *then = wish;
                }
                None
            }
            State::Up { .. } => {
                self.state = State::Stopping { then: wish };
                Some(Action::Stop)
            }
            State::Held | State::Waiting { .. } => {
                match wish {
                    Then::End(end) => self.finish(end),
                    Then::Hold => self.hold(),
                    // The caller starts it: there is nothing to take down.
                    Then::Run => {}
                }
                None
            }
        }
    }

    fn started(&mut self, now: Duration) -> Option<Action> {
        let State::Spawning { then, by } = &self.state else { return None };
        self.restart_count += u32::from(*by == Starter::Node);
        match then.clone() {
            Then::Run => {
                self.reason = None;
                self.restarts.settled();
                self.state = State::Up { since: now, probing: None };
                self.next_check(now)
            }
            then @ (Then::Hold | Then::End(_)) => {
                self.state = State::Stopping { then };
                Some(Action::Stop)
            }
        }
    }

    /// Goes on to the check that is due for a workload that runs: the gate, then health.
    fn next_check(&mut self, now: Duration) -> Option<Action> {
        let State::Up { probing, .. } = &mut self.state else { return None };
        let gates = !self.ready && self.check.is_some();
        self.ready |= !gates;
        let check = if gates { self.check.clone() } else { self.health.clone() };
        *probing = check.map(|check| Probing { gates, watched: Watched::new(check), next: Some(now) });
        self.tick(now)
    }

    fn refused(&mut self, reason: String, now: Duration) -> Option<Action> {
        let State::Spawning { then, by } = &self.state else { return None };
        match (then.clone(), *by) {
            (Then::End(end), _) => self.finish(end),
            (Then::Hold | Then::Run, _) if !self.ready => self.finish(End::Failed(reason)),
            // Nobody else would try again.
            (Then::Run, by) if self.starts_itself || by == Starter::Node => match self.restarts.refused(now) {
                Some(wait) => self.wait(reason, now + wait),
                None => {
                    let window = in_words(self.restarts.window());
                    self.finish(End::Failed(format!("it could not be started for {window}: {reason}")));
                }
            },
            (Then::Hold | Then::Run, _) => {
                self.passing = self.health.as_ref().map(|_| false);
                self.reason = Some(reason);
                self.restarts.settled();
                self.state = State::Held;
            }
        }
        None
    }

    /// The workload is down against everybody's wish until then.
    fn wait(&mut self, reason: String, until: Duration) {
        self.passing = self.health.as_ref().map(|_| false);
        self.reason = Some(reason);
        self.state = State::Waiting { until };
    }

    fn exited(&mut self, how: String, now: Duration) -> Option<Action> {
        match &self.state {
            State::Stopping { then } => match then.clone() {
                Then::Hold => {
                    self.hold();
                    None
                }
                Then::Run => {
                    self.state = State::Spawning { then: Then::Run, by: Starter::Asker };
                    Some(Action::Spawn)
                }
                Then::End(end) => {
                    self.finish(end);
                    None
                }
            },
            State::Up { since, .. } => {
                let ran = now.saturating_sub(*since);
                match self.restarts.ended(now, ran) {
                    Decision::Again(wait) => self.wait(how, now + wait),
                    Decision::GiveUp { ends: 1 } => self.finish(End::Failed(how)),
                    Decision::GiveUp { ends } => {
                        let window = in_words(self.restarts.window());
                        self.finish(End::Failed(format!("{how} {} within {window}", times(ends))));
                    }
                }
                None
            }
            State::Held | State::Spawning { .. } | State::Waiting { .. } | State::Ended(_) => None,
        }
    }

    fn probed(&mut self, result: Result<(), String>, now: Duration) -> Option<Action> {
        let first_start = self.first_start.unwrap_or(now);
        let State::Up { since, probing: Some(probing) } = &mut self.state else { return None };
        let begun = if probing.gates { first_start } else { *since };
        let verdict = probing.watched.observe(result, now.saturating_sub(begun));
        probing.next = Some(now + probing.watched.wait());
        match (probing.gates, verdict) {
            (_, Verdict::Unchanged) | (true, Verdict::Failed(_)) => None,
            (true, Verdict::Passed) => {
                self.ready = true;
                self.next_check(now)
            }
            (true, Verdict::Overdue(reason)) => {
                let deadline = Duration::from_millis(probing.watched.check().deadline_ms);
                let reason = format!("the check did not pass within {}: {reason}", in_words(deadline));
                self.take_down(Then::End(End::Failed(reason)))
            }
            (false, Verdict::Passed) => {
                self.passing = Some(true);
                self.reason = None;
                None
            }
            (false, Verdict::Failed(reason) | Verdict::Overdue(reason)) => {
                self.passing = Some(false);
                self.reason = Some(reason);
                None
            }
        }
    }

    fn tick(&mut self, now: Duration) -> Option<Action> {
        match &mut self.state {
            State::Waiting { until } if now >= *until => {
                self.state = State::Spawning { then: Then::Run, by: Starter::Node };
                Some(Action::Spawn)
            }
            State::Up { probing: Some(probing), .. } if probing.next.is_some_and(|next| now >= next) => {
                probing.next = None;
                Some(Action::Probe(probing.watched.check().clone()))
            }
            _ => None,
        }
    }

    fn hold(&mut self) {
        self.passing = self.health.as_ref().map(|_| false);
        self.reason = Some("the workload was stopped as asked".to_owned());
        self.restarts.settled();
        self.state = State::Held;
    }

    fn finish(&mut self, end: End) {
        self.reason = match &end {
            End::Killed => None,
            End::Failed(reason) => Some(reason.clone()),
        };
        self.state = State::Ended(end);
    }
}

fn times(count: usize) -> String {
    const WORDS: [&str; 9] = ["twice", "three", "four", "five", "six", "seven", "eight", "nine", "ten"];
    match count {
        2 => WORDS[0].to_owned(),
        3..=10 => format!("{} times", WORDS[count - 2]),
        _ => format!("{count} times"),
    }
}

#[cfg(test)]
mod tests;
