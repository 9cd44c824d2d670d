//! How late the machine itself is: what takes longer because of that is not the platform's doing.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const TICK: Duration = Duration::from_millis(100);

/// By how much a thread that wakes at every tick was late in sum, and when it woke last.
#[derive(Debug)]
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
#[derive(Debug)]
pub struct Stalls {
    ticks: Arc<Mutex<Ticks>>,
    stop: Arc<AtomicBool>,
}

impl Stalls {
    /// Begins now.
    pub fn watch() -> Self {
        let ticks = Arc::new(Mutex::new(Ticks { late: Duration::ZERO, last: Instant::now() }));
        let stop = Arc::new(AtomicBool::new(false));
        let (shared, end) = (Arc::clone(&ticks), Arc::clone(&stop));
        std::thread::spawn(move || {
            while !end.load(Ordering::Relaxed) {
                std::thread::park_timeout(TICK);
                let mut ticks = shared.lock().expect("nobody panics with it");
                *ticks = Ticks { late: ticks.late(), last: Instant::now() };
            }
        });
        Self { ticks, stop }
    }

    /// Checks that what was promised to take less than `promise` has; time by which the machine itself was late is not counted.
    ///
    /// # Panics
    /// When it has taken longer, with `what` it was.
    pub fn assert_kept(&self, promise: Duration, took: Duration, what: &str) {
        let late = self.ticks.lock().expect("nobody panics with it").late();
        assert!(took < promise + late, "{what}: {took:?}, promised are {promise:?}; the machine was {late:?} late");
    }
}

impl Drop for Stalls {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
