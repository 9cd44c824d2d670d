//! How often a workload that ends by itself is started again in place, and how long that is tried.

use bigdata_common::blueprint::Restart;
use std::collections::VecDeque;
use std::time::Duration;

/// The longest wait before a restart.
const BACKOFF_MAX: Duration = Duration::from_mins(1);

/// The restarts of one node, by the times of the workload's ends.
#[derive(Debug, Clone)]
pub struct Restarts {
    policy: Restart,
    ends: VecDeque<Duration>,
    refusals: Option<Refusals>,
}

/// Starts that were refused, one after the other.
#[derive(Debug, Clone, Copy)]
struct Refusals {
    first: Duration,
    count: usize,
}

/// What follows the end of a workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Start it again after this wait.
    Again(Duration),
    /// It ended this often within the window: the attempt has failed.
    GiveUp {
        /// Ends within the window, this one among them.
        ends: usize,
    },
}

impl Restarts {
    /// No end yet.
    pub fn new(policy: Restart) -> Self {
        Self { policy, ends: VecDeque::new(), refusals: None }
    }

    /// The workload runs, or is not to run any longer: starts that were refused before count no more.
    pub fn settled(&mut self) {
        self.refusals = None;
    }

    /// A start in place was refused at `now`: how long to wait before the next; None: they were refused for a whole window.
    ///
    /// Such a start is no end of the workload: it may be the machine's trouble, which passes (a container engine that is
    /// busy, a port that the former run still holds).
    pub fn refused(&mut self, now: Duration) -> Option<Duration> {
        let refusals = self.refusals.get_or_insert(Refusals { first: now, count: 0 });
        refusals.count += 1;
        let (since, count) = (refusals.first, refusals.count);
        (now.saturating_sub(since) < self.window()).then(|| self.backoff(count))
    }

    /// Within which time ends are counted.
    pub fn window(&self) -> Duration {
        Duration::from_millis(self.policy.window_ms)
    }

    /// Doubles with each time.
    fn backoff(&self, count: usize) -> Duration {
        let doublings = u32::try_from(count - 1).unwrap_or(u32::MAX).min(16);
        Duration::from_millis(self.policy.backoff_ms).saturating_mul(1 << doublings).min(BACKOFF_MAX)
    }

    /// The workload ended by itself at `now`, having run for `ran`. Times are measured from any fixed instant.
    ///
    /// `limit` restarts within the window are made. A workload that ran longer than the window counts anew.
    pub fn ended(&mut self, now: Duration, ran: Duration) -> Decision {
        let window = self.window();
        if ran > window {
            self.ends.clear();
        }
        self.ends.retain(|end| now.saturating_sub(*end) <= window);
        self.ends.push_back(now);
        let ends = self.ends.len();
        if ends > self.policy.limit as usize {
            return Decision::GiveUp { ends };
        }
        Decision::Again(self.backoff(ends))
    }
}

/// A duration for people: `10 min`, `30 s`, `500 ms`.
pub fn in_words(duration: Duration) -> String {
    match duration.as_millis() {
        millis if millis >= 60_000 && millis.is_multiple_of(60_000) => format!("{} min", millis / 60_000),
        millis if millis.is_multiple_of(1000) => format!("{} s", millis / 1000),
        millis => format!("{millis} ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn waits_double_and_the_limit_holds_within_the_window() {
        let mut restarts = Restarts::new(Restart { limit: 3, window_ms: 100_000, backoff_ms: 500 });
        for (at, expected) in [
            (1, Decision::Again(Duration::from_millis(500))),
            (2, Decision::Again(Duration::from_millis(1000))),
            (50, Decision::Again(Duration::from_millis(2000))),
            (101, Decision::GiveUp { ends: 4 }),
        ] {
            assert_eq!(restarts.ended(seconds(at), seconds(1)), expected, "at {at} s");
        }
    }

    #[test]
    fn what_lies_before_the_window_is_forgotten() {
        let mut restarts = Restarts::new(Restart { limit: 1, window_ms: 100_000, backoff_ms: 40_000 });
        assert_eq!(restarts.ended(seconds(10), seconds(1)), Decision::Again(seconds(40)));
        assert_eq!(restarts.ended(seconds(111), seconds(1)), Decision::Again(seconds(40)));
        assert_eq!(restarts.ended(seconds(300), seconds(101)), Decision::Again(seconds(40)));
        assert_eq!(restarts.ended(seconds(301), seconds(1)), Decision::GiveUp { ends: 2 });
    }

    #[test]
    fn a_limit_of_zero_never_restarts_and_waits_are_bounded() {
        let mut never = Restarts::new(Restart { limit: 0, window_ms: 1000, backoff_ms: 1 });
        assert_eq!(never.ended(seconds(1), seconds(0)), Decision::GiveUp { ends: 1 });
        let mut often = Restarts::new(Restart { limit: 100, window_ms: 1000, backoff_ms: 59_000 });
        assert_eq!(often.ended(seconds(1), seconds(0)), Decision::Again(seconds(59)));
        assert_eq!(often.ended(seconds(1), seconds(0)), Decision::Again(seconds(60)));
    }

    #[test]
    fn starts_are_tried_for_a_window_and_count_anew_after_one_that_succeeds() {
        let mut restarts = Restarts::new(Restart { limit: 1, window_ms: 10_000, backoff_ms: 1000 });
        let waits = [0, 1, 4, 9, 10, 11].map(|at| restarts.refused(seconds(at)));
        assert_eq!(waits, [Some(1), Some(2), Some(4), Some(8), None, None].map(|wait| wait.map(seconds)));
        restarts.settled();
        assert_eq!(restarts.refused(seconds(12)), Some(seconds(1)));
        assert_eq!(restarts.ended(seconds(13), seconds(1)), Decision::Again(seconds(1)), "no end before");
    }

    #[test]
    fn durations_in_words() {
        let words = [500, 30_000, 90_000, 600_000].map(|millis| in_words(Duration::from_millis(millis)));
        assert_eq!(words, ["500 ms", "30 s", "90 s", "10 min"]);
    }
}
