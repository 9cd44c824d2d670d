//! How late the machine itself is: what takes longer because of that is not the platform's doing.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const TICK: Duration = Duration::from_millis(100);

/// What a thread that wakes at every tick has come too late, and when it woke last.
struct Ticks {
    late: Duration,
    last: Instant,
}

impl Ticks {
    /// With the tick that is still awaited.
    fn late(&self) -> Duration {
        self.late + self.last.elapsed().saturating_sub(TICK)
    }
}

/// Watches the machine from its start on, until it is dropped.
pub(crate) struct Stalls {
    ticks: Arc<Mutex<Ticks>>,
    stop: Arc<AtomicBool>,
}

impl Stalls {
    pub(crate) fn watch() -> Self {
        let ticks = Arc::new(Mutex::new(Ticks { late: Duration::ZERO, last: Instant::now() }));
        let stop = Arc::new(AtomicBool::new(false));
        let (shared, end) = (Arc::clone(&ticks), Arc::clone(&stop));
        std::thread::spawn(move || {
            while !end.load(Ordering::Relaxed) {
                std::thread::park_timeout(TICK);
                let mut ticks = shared.lock().unwrap();
                *ticks = Ticks { late: ticks.late(), last: Instant::now() };
            }
        });
        Self { ticks, stop }
    }

    /// What was promised to take less than `promise` has taken no longer, but for what the machine itself came too late.
    pub(crate) fn assert_kept(&self, promise: Duration, took: Duration, what: &str) {
        let late = self.ticks.lock().unwrap().late();
        assert!(took < promise + late, "{what}: {took:?}, promised are {promise:?}; {late:?} the machine slept");
    }
}

impl Drop for Stalls {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
