//! How long to wait before the next attempt.

use std::time::Duration;

use rand::Rng;

/// Delays that double up to a limit, each shortened at random by up to a half, so that many clients spread out.
#[derive(Clone, Debug)]
pub struct Backoff {
    initial: Duration,
    limit: Duration,
    next: Duration,
}

impl Backoff {
    /// Delays of about `initial` first, never more than `limit`.
    #[must_use]
    pub fn new(initial: Duration, limit: Duration) -> Self {
        let initial = initial.min(limit);
        Backoff { initial, limit, next: initial }
    }

    /// The next delay.
    pub fn delay(&mut self) -> Duration {
        let full = self.next;
        self.next = full.saturating_mul(2).min(self.limit);
        full.mul_f64(rand::rng().random_range(0.5..=1.0))
    }

    /// Begins with the shortest delay again, after a success.
    pub fn reset(&mut self) {
        self.next = self.initial;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_limit_and_start_again() {
        let (initial, limit) = (Duration::from_millis(100), Duration::from_millis(500));
        let mut backoff = Backoff::new(initial, limit);
        for full in [100, 200, 400, 500, 500] {
            let delay = backoff.delay();
            let full = Duration::from_millis(full);
            assert!(delay <= full && delay >= full / 2, "{delay:?} of {full:?}");
        }
        backoff.reset();
        assert!(backoff.delay() <= initial);
    }
}
