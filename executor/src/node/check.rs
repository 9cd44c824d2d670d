//! One check of a node, as a machine over the results of its tries.

use bigdata_common::blueprint::Check;
use std::time::Duration;

/// The wait after the first failed try, while a check has not passed yet; it doubles up to [`WAIT_MAX`].
const WAIT_FIRST: Duration = Duration::from_millis(20);
/// The longest wait between tries of a check that does not pass.
const WAIT_MAX: Duration = Duration::from_secs(1);
/// A check that has not passed after this time says so, with its reason; before that it says nothing.
const PATIENCE: Duration = Duration::from_secs(5);

/// A check under observation. Times are measured from the workload's start.
#[derive(Debug, Clone)]
pub struct Watched {
    check: Check,
    state: State,
    tries: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Never passed; whether that was said already.
    Waiting { told: bool },
    /// Passed last; failures in a row since.
    Passing { failures: u32 },
    /// Reported as failing.
    Failing,
}

/// What a try changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing worth telling.
    Unchanged,
    /// It passes now, and did not before.
    Passed,
    /// It fails now, and did not (or had not said so) before.
    Failed(String),
    /// It has never passed, and its deadline is over.
    Overdue(String),
}

impl Watched {
    /// No try made yet.
    pub fn new(check: Check) -> Self {
        Self { check, state: State::Waiting { told: false }, tries: 0 }
    }

    /// The check.
    pub fn check(&self) -> &Check {
        &self.check
    }

    /// Takes the result of one try, which ended `elapsed` after the workload's start.
    pub fn observe(&mut self, result: Result<(), String>, elapsed: Duration) -> Verdict {
        self.tries = self.tries.saturating_add(1);
        match (result, self.state) {
            (Ok(()), State::Passing { .. }) => {
                self.state = State::Passing { failures: 0 };
                Verdict::Unchanged
            }
            (Ok(()), State::Waiting { .. } | State::Failing) => {
                self.state = State::Passing { failures: 0 };
                Verdict::Passed
            }
            (Err(reason), State::Passing { failures }) if failures + 1 >= self.check.failures => {
                self.state = State::Failing;
                Verdict::Failed(reason)
            }
            (Err(_), State::Passing { failures }) => {
                self.state = State::Passing { failures: failures + 1 };
                Verdict::Unchanged
            }
            (Err(reason), State::Waiting { .. }) if elapsed >= Duration::from_millis(self.check.deadline_ms) => {
                self.state = State::Failing;
                Verdict::Overdue(reason)
            }
            (Err(reason), State::Waiting { told: false }) if elapsed >= PATIENCE => {
                self.state = State::Waiting { told: true };
                Verdict::Failed(reason)
            }
            (Err(_), State::Waiting { .. } | State::Failing) => Verdict::Unchanged,
        }
    }

    /// The wait before the next try.
    pub fn wait(&self) -> Duration {
        let interval = Duration::from_millis(self.check.interval_ms);
        match self.state {
            State::Passing { failures: 0 } => interval,
            State::Waiting { .. } => WAIT_FIRST.saturating_mul(1 << self.tries.saturating_sub(1).min(10)).min(WAIT_MAX),
            State::Passing { .. } | State::Failing => interval.min(WAIT_MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bigdata_common::blueprint::Probe;

    fn watched() -> Watched {
        Watched::new(Check {
            probe: Probe::Tcp(Vec::new()),
            interval_ms: 10_000,
            timeout_ms: 1000,
            failures: 2,
            deadline_ms: 30_000,
        })
    }

    fn fails() -> Result<(), String> {
        Err("refused".to_owned())
    }

    #[test]
    fn tries_are_quick_at_first_and_rare_once_it_passes() {
        let mut watched = watched();
        let mut waits = Vec::new();
        for _ in 0..8 {
            assert_eq!(watched.observe(fails(), Duration::from_secs(1)), Verdict::Unchanged);
            waits.push(watched.wait().as_millis());
        }
        assert_eq!(waits, [20, 40, 80, 160, 320, 640, 1000, 1000]);
        assert_eq!(watched.observe(Ok(()), Duration::from_secs(2)), Verdict::Passed);
        assert_eq!(watched.wait(), Duration::from_secs(10));
    }

    #[test]
    fn verdicts_in_order() {
        let mut watched = watched();
        for (at, result, verdict, wait_ms) in [
            (1, fails(), Verdict::Unchanged, 20),
            (6, fails(), Verdict::Failed("refused".into()), 40),
            (7, fails(), Verdict::Unchanged, 80),
            (8, Ok(()), Verdict::Passed, 10_000),
            (18, fails(), Verdict::Unchanged, 1000),
            (19, Ok(()), Verdict::Unchanged, 10_000),
            (29, fails(), Verdict::Unchanged, 1000),
            (30, fails(), Verdict::Failed("refused".into()), 1000),
            (300, fails(), Verdict::Unchanged, 1000),
            (301, Ok(()), Verdict::Passed, 10_000),
        ] {
            assert_eq!(watched.observe(result, Duration::from_secs(at)), verdict, "at {at} s");
            assert_eq!(watched.wait(), Duration::from_millis(wait_ms), "at {at} s");
        }
    }

    #[test]
    fn a_check_that_never_passes_is_overdue_once() {
        let mut watched = watched();
        assert_eq!(watched.observe(fails(), Duration::from_secs(30)), Verdict::Overdue("refused".into()));
        assert_eq!(watched.observe(fails(), Duration::from_secs(31)), Verdict::Unchanged);
        assert_eq!(watched.observe(Ok(()), Duration::from_secs(32)), Verdict::Passed);
    }
}
