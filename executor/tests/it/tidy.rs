//! The command that an agent's operator runs from time to time, on a real Podman.

use crate::engine::{IMAGE, apart};
use std::fs;
use std::process::Command;

#[test]
fn tidying_takes_what_has_no_executor_and_says_where_it_cannot_tell() {
    let Some(engine) = apart("tidy::tidying_takes_what_has_no_executor_and_says_where_it_cannot_tell") else { return };
    let machine = tempfile::tempdir().unwrap();
    let slaves = machine.path().join("work/slaves");
    let folder = format!("bigdata_folder={}", slaves.join("s/frameworks/f/executors/e/runs/r").display());
    engine.run(&["create", "--network=none", "--label=bigdata_attempt=a", "--label", &folder, IMAGE]);
    let tidy = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bigdata-executor"));
        let output = command.arg("tidy").env("BIGDATA_CONTAINER_ENGINE", &engine.socket).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap(), engine.containers("bigdata_attempt=a").len())
    };
    let (code, said, left) = tidy();
    assert_eq!((code, left), (Some(1), 1), "{said}");
    assert!(said.contains("not all is tidied") && said.contains("run this where it has the same path"), "{said}");
    fs::create_dir_all(&slaves).unwrap();
    let (code, said, left) = tidy();
    assert_eq!((code, left), (Some(0), 0), "{said}");
}
