//! A wait for a moment that is seconds away, which wakes this process once.
//!
//! The runtime's own timers lie in a wheel whose coarse slots (of 4 s, and of 64 ms) wake the process on the way to every
//! moment further away: twice more per wait. With a thousand idle nodes on a machine that is most of what they do.

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;
use tokio::net::unix::pipe::Receiver;

/// What a timer says when it is read: how often it went off.
const EXPIRATIONS_BYTES: usize = 8;

/// A timer of the kernel, timerfd_create(2).
pub(crate) struct Alarm {
    timer: TimerFd,
    /// The same timer, read like a pipe: it becomes readable when it goes off.
    expirations: Receiver,
}

impl Alarm {
    /// Set to nothing yet.
    ///
    /// # Errors
    /// When the kernel has no timer for it.
    pub(crate) fn new() -> io::Result<Self> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?;
        let same = timer.as_fd().try_clone_to_owned()?;
        Ok(Self { timer, expirations: Receiver::from_owned_fd_unchecked(same)? })
    }

    /// Waits for so long from now; None: for ever. What an earlier call waited for is forgotten.
    ///
    /// Dropping the future is harmless, but it does not take the alarm back: the next call does.
    pub(crate) async fn wait(&mut self, duration: Option<Duration>) {
        // Setting it to nothing would switch it off.
        let at_least = duration.map(|duration| duration.max(Duration::from_nanos(1)));
        let set = match at_least {
            Some(duration) => {
                let moment = Expiration::OneShot(TimeSpec::from_duration(duration));
                self.timer.set(moment, TimerSetTimeFlags::empty())
            }
            None => self.timer.unset(),
        };
        if let (Err(error), Some(duration)) = (set, at_least) {
            tracing::debug!(%error, "a timer cannot be set; the runtime's own does it");
            return tokio::time::sleep(duration).await;
        }
        while self.expirations.readable().await.is_ok() {
            // What an earlier setting left behind reads as nothing.
            if self.expirations.try_read(&mut [0; EXPIRATIONS_BYTES]).is_ok() {
                return;
            }
        }
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[tokio::test(flavor = "current_thread")]
    async fn the_newest_setting_counts() {
        let mut alarm = Alarm::new().unwrap();
        let began = Instant::now();
        alarm.wait(Some(Duration::ZERO)).await;
        alarm.wait(Some(Duration::from_millis(20))).await;
        assert!(began.elapsed() >= Duration::from_millis(20));
        // Dropped while it is set, and then set to nothing: neither may end the next wait early.
        for (wait, limit) in [(Some(Duration::from_millis(1)), 10_000), (None, 10)] {
            let short = tokio::time::timeout(Duration::from_millis(limit), alarm.wait(wait)).await;
            assert_eq!(short.is_ok(), wait.is_some());
        }
        let _ = tokio::time::timeout(Duration::ZERO, alarm.wait(Some(Duration::from_millis(5)))).await;
        let again = Instant::now();
        alarm.wait(Some(Duration::from_millis(50))).await;
        assert!(again.elapsed() >= Duration::from_millis(50));
    }
}
