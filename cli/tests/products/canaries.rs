//! Whether secrets show where others can read them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often all command lines of the machine are read.
const INTERVAL: Duration = Duration::from_millis(20);

/// Reads the command lines of all processes all the while.
pub(crate) struct Canaries {
    secrets: Vec<String>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Option<String>>,
}

impl Canaries {
    pub(crate) fn watch(secrets: Vec<String>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (end, wanted) = (Arc::clone(&stop), secrets.clone());
        let thread = std::thread::spawn(move || {
            while !end.load(Ordering::Relaxed) {
                if let Some(line) = shown(&wanted) {
                    return Some(line);
                }
                std::thread::park_timeout(INTERVAL);
            }
            None
        });
        Self { secrets, stop, thread }
    }

    /// Ends it; no command line and none of these texts may have held a secret.
    pub(crate) fn end(self, texts: &[String]) {
        self.stop.store(true, Ordering::Relaxed);
        assert_eq!(self.thread.join().unwrap(), None, "a secret stands in a command line");
        for secret in &self.secrets {
            assert!(!texts.iter().any(|text| text.contains(secret)), "a secret is shown");
        }
    }
}

/// A command line that holds one of them.
fn shown(secrets: &[String]) -> Option<String> {
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let lines = processes.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
    let mut lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.find(|line| secrets.iter().any(|secret| line.contains(secret)))
}
