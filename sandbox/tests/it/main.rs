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

use std::{env, fs, os::unix::fs::PermissionsExt, panic, path::Path, process, sync::Mutex, thread, time::Instant};

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
    if let Some(code) = run_from_an_open_folder(&arguments) {
        process::exit(code);
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

/// Runs a copy of this program where every user can execute it, and returns its exit code. None: every user can already, or
/// there is no such place.
fn run_from_an_open_folder(arguments: &[String]) -> Option<i32> {
    let is_open = |path: &Path| {
        path.ancestors().all(|it| it.metadata().is_ok_and(|metadata| metadata.permissions().mode() & 0o001 != 0))
    };
    let own = env::current_exe().unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    if is_open(&own) || !is_open(folder.path()) {
        return None;
    }
    let copy = folder.path().join("it");
    fs::copy(&own, &copy).unwrap();
    process::Command::new(&copy).args(arguments).status().unwrap().code().or(Some(1))
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
