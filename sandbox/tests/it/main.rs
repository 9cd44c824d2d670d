//! Real children under real limits. This program plays every part: the test runner, the re-executed sandbox, a caller that
//! is killed, and the misbehaving commands.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod endings;
mod isolation;
mod limits;
mod loopback;
mod machine;
mod roles;
mod stopping;
mod support;

use std::{env, panic, process, sync::Mutex, thread, time::Instant};

type Test = (&'static str, fn());

fn tests() -> Vec<Test> {
    [endings::TESTS, isolation::TESTS, limits::TESTS, loopback::TESTS, machine::TESTS, stopping::TESTS].concat()
}

fn main() {
    bigdata_sandbox::main_if_requested();
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let Some(("role", rest)) = arguments.split_first().map(|(first, rest)| (first.as_str(), rest)) {
        roles::play(rest);
        return;
    }
    if arguments.iter().any(|argument| argument == "--list") {
        for (name, _) in tests() {
            println!("{name}: test");
        }
        return;
    }
    let filters: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let wanted = |name: &str| filters.is_empty() || filters.iter().any(|filter| name.contains(filter.as_str()));
    let mut queue: Vec<Test> = tests().into_iter().filter(|(name, _)| wanted(name)).collect();
    queue.reverse();
    let count = queue.len();
    let queue = Mutex::new(queue);
    let failures = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..4 {
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
