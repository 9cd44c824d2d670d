//! Looks at all processes of the machine all the while.

use super::places::Found;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

const INTERVAL: Duration = Duration::from_millis(10);

/// Which values it looks for, and what it has found, by process and place.
#[derive(Default)]
struct Shared {
    values: RwLock<Vec<String>>,
    found: Mutex<BTreeMap<(String, &'static str), String>>,
    is_over: AtomicBool,
}

pub(super) struct Watch {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

impl Watch {
    pub(super) fn start(values: Vec<String>) -> Self {
        let shared = Arc::new(Shared { values: RwLock::new(values), ..Shared::default() });
        let watched = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            while !watched.is_over.load(Ordering::Relaxed) {
                watched.look();
                std::thread::park_timeout(INTERVAL);
            }
        });
        Self { shared, thread }
    }

    /// Looks for this value, too, from now on.
    pub(super) fn also(&self, value: String) {
        self.shared.values.write().unwrap().push(value);
    }

    /// How much it has found so far.
    pub(super) fn count(&self) -> usize {
        self.shared.found.lock().unwrap().len()
    }

    pub(super) fn end(self) -> Vec<Found> {
        self.shared.is_over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
        let found = std::mem::take(&mut *self.shared.found.lock().unwrap());
        let told = |((pid, place), text)| Found { place: format!("{place} of the process {pid}"), what: text };
        found.into_iter().map(told).collect()
    }
}

impl Shared {
    fn look(&self) {
        let values = self.values.read().unwrap().clone();
        let entries = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
        for process in entries.map(|entry| entry.path()) {
            let read = |file: &str| {
                let bytes = std::fs::read(process.join(file)).unwrap_or_default();
                String::from_utf8_lossy(&bytes).replace('\0', " ")
            };
            // One that becomes another program between two looks would be taken for both.
            let (line, environment) = loop {
                let (line, environment) = (read("cmdline"), read("environ"));
                if read("cmdline") == line {
                    break (line, environment);
                }
            };
            let holds = |text: &str| values.iter().any(|value| text.contains(value.as_str()));
            let pid = process.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if holds(&line) {
                self.found.lock().unwrap().insert((pid.clone(), "the command line"), line.clone());
            }
            if holds(&environment) && !is_workload(&process, &line) {
                self.found.lock().unwrap().insert((pid, "the environment"), format!("{line}: {environment}"));
            }
        }
    }
}

/// A process of a node's workload: it works in the node's folder. The executor and the sandbox around it do not count.
fn is_workload(process: &Path, line: &str) -> bool {
    let place = std::fs::read_link(process.join("cwd"));
    // One that has just ended has no place any more.
    place.map_or(true, |place| place.to_string_lossy().contains("/engine/sandboxes/"))
        && !line.contains("bigdata executor")
        && !line.contains("__sandbox")
}
