//! The program's own arguments.

use std::process::{Command, Output};

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bigdata-executor")).args(arguments).env_clear().output().unwrap()
}

#[test]
fn it_says_what_it_is_and_refuses_what_it_does_not_know() {
    let version = run(&["--version"]);
    let text = String::from_utf8(version.stdout).unwrap();
    assert_eq!(text, format!("bigdata-executor {}\n", env!("CARGO_PKG_VERSION")));
    let help = run(&["--help"]);
    assert!(help.status.success() && String::from_utf8(help.stdout).unwrap().contains("MESOS_"));
    let unknown = run(&["--agent", "x"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(String::from_utf8(unknown.stderr).unwrap().contains("--agent"));
}

#[test]
fn without_an_agents_environment_it_says_what_is_missing() {
    let output = run(&[]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("MESOS_"), "{text}");
}
