//! The course of a run, decided without acting: when the command or its tree is signalled, killed, or done with.

use std::time::{Duration, Instant};

use crate::{Profile, Request};

/// How long SIGKILL may take to work before the survivors are reported.
const KILL_LIMIT: Duration = Duration::from_secs(10);

/// While killing, the pause before the tree is looked at again although no child ended.
const KILL_RETRY: Duration = Duration::from_millis(50);

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Input {
    /// Children were reaped.
    Reaped { main_ended: bool, children_left: bool },
    /// The caller asked for something.
    Requested(Request),
    /// Somebody sent the supervisor a termination signal.
    Terminated,
    /// The control socket was closed.
    LifelineLost,
    /// The deadline of [`Course::wake_at`] may have come.
    Tick,
}

/// What is to be done about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// Send a signal to the command.
    SignalMain(i32),
    /// Send a signal to everything in the tree.
    SignalTree(i32),
    /// SIGKILL to everything in the tree, until nothing new is found.
    KillTree,
    /// Nothing is left, or nothing more can be done.
    Finish,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    Stopping { until: Instant },
    Killing { until: Instant, retry_at: Instant },
}

/// A run's state.
#[derive(Debug)]
pub(crate) struct Course {
    phase: Phase,
    profile: Profile,
    stop_signal: i32,
    grace: Duration,
    time_up_at: Option<Instant>,
    /// When the caller must have said again that it answers for the tree; None: it never did, and need not.
    answered_until: Option<Instant>,
    main_alive: bool,
    /// The command was still running when its time was up.
    pub(crate) timed_out: bool,
    /// The end was asked for.
    pub(crate) requested: bool,
}

impl Course {
    /// A command that has just been started.
    pub(crate) fn new(
        profile: Profile,
        stop_signal: i32,
        grace: Duration,
        wall_clock: Option<Duration>,
        now: Instant,
    ) -> Self {
        Self {
            phase: Phase::Running,
            profile,
            stop_signal,
            grace,
            // A limit beyond what the clock can express is no limit.
            time_up_at: wall_clock.and_then(|limit| now.checked_add(limit)),
            answered_until: None,
            main_alive: true,
            timed_out: false,
            requested: false,
        }
    }

    /// When [`Input::Tick`] is due; `None`: only when something happens.
    pub(crate) fn wake_at(&self) -> Option<Instant> {
        let time_up_at = self.time_up_at.filter(|_| self.main_alive);
        match self.phase {
            Phase::Running => time_up_at.into_iter().chain(self.answered_until).min(),
            Phase::Stopping { until } => time_up_at.into_iter().chain(self.answered_until).chain([until]).min(),
            Phase::Killing { until, retry_at } => Some(until.min(retry_at)),
        }
    }

    /// Takes one input and says what to do, at most one thing.
    pub(crate) fn step(&mut self, input: Input, now: Instant) -> Option<Action> {
        match input {
            Input::Reaped { main_ended, children_left } => self.reaped(main_ended, children_left, now),
            Input::Requested(Request::Signal { signal, whole_tree: false }) => {
                self.main_alive.then_some(Action::SignalMain(signal))
            }
            Input::Requested(Request::Signal { signal, whole_tree: true }) => Some(Action::SignalTree(signal)),
            Input::Requested(Request::Stop { grace }) => self.stop(grace.unwrap_or(self.grace), now),
            Input::Terminated => self.stop(self.grace, now),
            Input::Requested(Request::Kill) => {
                self.requested = true;
                self.kill(now)
            }
            Input::Requested(Request::KeepAlive { limit }) => {
                self.answered_until = now.checked_add(limit);
                None
            }
            Input::LifelineLost => match self.profile {
                Profile::Workload => self.stop(self.grace, now),
                Profile::Render | Profile::Script => {
                    self.requested = true;
                    self.kill(now)
                }
            },
            Input::Tick => self.tick(now),
        }
    }

    fn reaped(&mut self, main_ended: bool, children_left: bool, now: Instant) -> Option<Action> {
        self.main_alive &= !main_ended;
        if !children_left {
            return Some(Action::Finish);
        }
        match self.phase {
            Phase::Killing { .. } => Some(Action::KillTree),
            // What the command leaves behind gets the same chance as the command.
            Phase::Running if main_ended => self.end_leftovers(now + self.grace, now),
            Phase::Stopping { until } if main_ended => self.end_leftovers(until, now),
            Phase::Running | Phase::Stopping { .. } => None,
        }
    }

    fn end_leftovers(&mut self, until: Instant, now: Instant) -> Option<Action> {
        if until <= now {
            return self.kill(now);
        }
        self.phase = Phase::Stopping { until };
        Some(Action::SignalTree(nix::libc::SIGTERM))
    }

    fn stop(&mut self, grace: Duration, now: Instant) -> Option<Action> {
        let until = now.checked_add(grace).unwrap_or(now + Duration::from_secs(86400));
        match self.phase {
            Phase::Running => {
                self.requested = true;
                self.phase = Phase::Stopping { until };
                Some(Action::SignalMain(self.stop_signal))
            }
            // A second wish may only shorten the first.
            Phase::Stopping { until: before } => {
                self.requested |= self.main_alive;
                self.phase = Phase::Stopping { until: until.min(before) };
                None
            }
            Phase::Killing { .. } => None,
        }
    }

    fn kill(&mut self, now: Instant) -> Option<Action> {
        if !matches!(self.phase, Phase::Killing { .. }) {
            self.phase = Phase::Killing { until: now + KILL_LIMIT, retry_at: now + KILL_RETRY };
        }
        Some(Action::KillTree)
    }

    fn tick(&mut self, now: Instant) -> Option<Action> {
        if let Phase::Killing { until, retry_at } = self.phase {
            if now >= until {
                return Some(Action::Finish);
            }
            if now < retry_at {
                return None;
            }
            self.phase = Phase::Killing { until, retry_at: now + KILL_RETRY };
            return Some(Action::KillTree);
        }
        if self.main_alive && self.time_up_at.is_some_and(|at| now >= at) {
            self.timed_out = true;
            return self.kill(now);
        }
        if self.answered_until.is_some_and(|until| now >= until) {
            self.requested = true;
            return self.kill(now);
        }
        match self.phase {
            Phase::Stopping { until } if now >= until => self.kill(now),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn course(profile: Profile, wall_clock: Option<Duration>) -> (Course, Instant) {
        let now = Instant::now();
        (Course::new(profile, 2, 5 * SECOND, wall_clock, now), now)
    }

    #[test]
    fn a_quiet_run_wakes_for_nothing() {
        let (mut course, now) = course(Profile::Workload, None);
        assert_eq!(course.wake_at(), None);
        assert_eq!(course.step(Input::Reaped { main_ended: false, children_left: true }, now), None);
        assert_eq!(course.step(Input::Tick, now), None);
        let end = Input::Reaped { main_ended: true, children_left: false };
        assert_eq!(course.step(end, now), Some(Action::Finish));
    }

    #[test]
    fn a_stop_asks_the_command_then_its_leftovers_then_kills() {
        let (mut course, now) = course(Profile::Workload, None);
        let stop = Input::Requested(Request::Stop { grace: None });
        assert_eq!(course.step(stop, now), Some(Action::SignalMain(2)));
        assert_eq!(course.wake_at(), Some(now + 5 * SECOND));
        let main = Input::Reaped { main_ended: true, children_left: true };
        assert_eq!(course.step(main, now + SECOND), Some(Action::SignalTree(15)));
        assert_eq!(course.wake_at(), Some(now + 5 * SECOND), "the leftovers have what is left of the grace");
        assert_eq!(course.step(Input::Tick, now + 4 * SECOND), None);
        assert_eq!(course.step(Input::Tick, now + 5 * SECOND), Some(Action::KillTree));
        let other = Input::Reaped { main_ended: false, children_left: true };
        assert_eq!(course.step(other, now + 5 * SECOND), Some(Action::KillTree));
        assert_eq!(course.step(Input::Tick, now + 15 * SECOND), Some(Action::Finish), "the wait has a limit");
        assert!(course.requested && !course.timed_out);
    }

    #[test]
    fn a_second_stop_only_shortens() {
        let (mut course, now) = course(Profile::Script, None);
        course.step(Input::Terminated, now);
        for (grace, expected) in [(60, 5), (1, 1), (3, 1)] {
            let stop = Input::Requested(Request::Stop { grace: Some(grace * SECOND) });
            assert_eq!(course.step(stop, now), None);
            assert_eq!(course.wake_at(), Some(now + expected * SECOND));
        }
    }

    #[test]
    fn a_lost_caller_ends_scripts_at_once_and_workloads_gracefully() {
        let (mut script, now) = course(Profile::Script, None);
        assert_eq!(script.step(Input::LifelineLost, now), Some(Action::KillTree));
        let (mut workload, now) = course(Profile::Workload, None);
        assert_eq!(workload.step(Input::LifelineLost, now), Some(Action::SignalMain(2)));
    }

    #[test]
    fn a_caller_that_falls_silent_after_it_spoke_loses_its_tree() {
        let (mut course, now) = course(Profile::Script, Some(60 * SECOND));
        assert_eq!(course.step(Input::Tick, now + 50 * SECOND), None, "a caller that never spoke need not go on");
        let alive = |limit: u32| Input::Requested(Request::KeepAlive { limit: limit * SECOND });
        assert_eq!(course.step(alive(3), now), None);
        assert_eq!(course.wake_at(), Some(now + 3 * SECOND));
        course.step(alive(3), now + 2 * SECOND);
        assert_eq!(course.step(Input::Tick, now + 4 * SECOND), None, "it spoke again");
        assert_eq!(course.step(Input::Tick, now + 5 * SECOND), Some(Action::KillTree));
        assert!(course.requested && !course.timed_out);
    }

    #[test]
    fn time_is_up_even_while_stopping_but_not_for_leftovers() {
        let (mut stopping, now) = course(Profile::Script, Some(3 * SECOND));
        stopping.step(Input::Terminated, now);
        assert_eq!(stopping.wake_at(), Some(now + 3 * SECOND));
        assert_eq!(stopping.step(Input::Tick, now + 3 * SECOND), Some(Action::KillTree));
        assert!(stopping.timed_out);

        let (mut leftovers, now) = course(Profile::Script, Some(3 * SECOND));
        leftovers.step(Input::Reaped { main_ended: true, children_left: true }, now);
        assert_eq!(leftovers.step(Input::Tick, now + 5 * SECOND), Some(Action::KillTree));
        assert!(!leftovers.timed_out && !leftovers.requested, "the command itself had ended in time");
    }
}
