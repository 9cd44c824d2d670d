//! The service with real scripts. This program plays every part: the test runner, the sandbox's program, the scripts'
//! `bigdata`, and a service that is killed.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod backups;
mod crash;
mod hostile;
mod keys;
mod logs;
mod reach;
mod replicas;
mod roles;
mod scripts;
mod support;
mod surroundings;

use std::sync::Mutex;
use std::time::{Duration, Instant};
use std::{env, panic, process, thread};

type Test = (&'static str, fn());

/// What is done because it was asked for is done within this time, also on a busy machine; time by which the machine itself
/// is late is not counted. It is less than what the service waits for a sandbox that does not end, before it gives it up.
pub(crate) const AT_ONCE: Duration = Duration::from_secs(15);

fn tests() -> Vec<Test> {
    let groups =
        [scripts::TESTS, backups::TESTS, reach::TESTS, keys::TESTS, logs::TESTS, crash::TESTS, replicas::TESTS];
    [groups.concat().as_slice(), hostile::TESTS].concat()
}

fn main() {
    bigdata_sandbox::main_if_requested();
    let arguments: Vec<String> = env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "role") {
        return roles::play(&arguments[1..]);
    }
    if arguments.iter().any(|argument| argument == "--list") {
        tests().iter().for_each(|(name, _)| println!("{name}: test"));
        return;
    }
    let filters: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let wanted = |name: &str| filters.is_empty() || filters.iter().any(|filter| name.contains(filter.as_str()));
    let mut queue: Vec<Test> = tests().into_iter().filter(|(name, _)| wanted(name)).collect();
    queue.reverse();
    let count = queue.len();
    let (queue, failures) = (Mutex::new(queue), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| run_all(&queue, &failures));
        }
    });
    let failures = failures.into_inner().expect("no runner panics");
    println!("{} of {count} passed", count - failures.len());
    if !failures.is_empty() {
        println!("failed: {}", failures.join(", "));
        process::exit(1);
    }
}

fn run_all(queue: &Mutex<Vec<Test>>, failures: &Mutex<Vec<&'static str>>) {
    loop {
        let next = queue.lock().expect("no runner panics").pop();
        let Some((name, test)) = next else { return };
        let begin = Instant::now();
        let passed = panic::catch_unwind(test).is_ok();
        let result = if passed { "ok" } else { "FAILED" };
        println!("test {name} ... {result} ({} ms)", begin.elapsed().as_millis());
        if !passed {
            failures.lock().expect("no runner panics").push(name);
        }
    }
}
