//! The shipped products on the real programs that they are made of, on a platform of their own.
//!
//! They need what the products need (`apt-get install mariadb-server mariadb-backup slurm-wlm libnss-wrapper`), and fail
//! where that is missing.
//! `BIGDATA_PRODUCT_ROUNDS` (5) says how often a primary is killed, `BIGDATA_PRODUCT_SEED` (a new one) when and how.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod canaries;
mod cluster;
mod mariadb;
mod mariadb_restore;
mod mariadb_secrets;
mod mariadb_upkeep;
mod server;
mod slurm;
#[path = "../it/support.rs"]
#[allow(dead_code, reason = "these tests want less of it than those that it was made for")]
mod support;
mod writer;

use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use support::{PROGRAM, Platform, templates};

/// One cluster at a time, of whichever product: two would measure each other.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tests what a product's script decides, by a file of Python beside this one.
fn decisions(product: &str, tests: &str) {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/products").join(tests);
    let script = templates().join(product).join("orchestrator");
    let output = Command::new("/usr/bin/python3").arg("-B").arg(tests).env("SCRIPT", script).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// What the client's line that users are shown prints in their shell, with these words behind it.
fn by_the_line(platform: &Platform, endpoint: &[&str], words: &str) -> String {
    let line = platform.run(&[&["connect"], endpoint, &["--print"]].concat());
    let folder = Path::new(PROGRAM).parent().unwrap();
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("{} {words}", line.trim_end())]).env("PATH", path).env("BIGDATA_URL", &platform.url);
    let output = shell.env_remove("BIGDATA_SOCKET").stdin(std::process::Stdio::null()).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line} {words}: {error}");
    String::from_utf8(output.stdout).unwrap()
}
