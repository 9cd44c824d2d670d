//! The units of systemd: it understands each of their lines.

use crate::support::PROGRAM;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where packages put the programs.
const INSTALLED: &str = "/usr/bin/";

/// What `systemd-analyze verify` says of our units; other units of the machine are its operator's.
fn said(units: &[PathBuf]) -> Vec<String> {
    let output = Command::new("systemd-analyze").args(["verify", "--man=no"]).args(units).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    text.lines().filter(|line| line.contains("bigdata-")).map(str::to_owned).collect()
}

#[test]
fn systemd_understands_the_units() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        eprintln!("SKIPPED: systemd-analyze is not installed");
        return;
    }
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/systemd");
    let folder = tempfile::tempdir().unwrap();
    // It looks for the programs, which are not installed where tests run.
    let here = format!("{}/", folder.path().display());
    let mut units = Vec::new();
    for entry in std::fs::read_dir(source).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "service") {
            continue;
        }
        let service = path.file_stem().unwrap();
        std::os::unix::fs::symlink(PROGRAM, folder.path().join(service)).unwrap();
        let unit = folder.path().join(path.file_name().unwrap());
        std::fs::write(&unit, std::fs::read_to_string(&path).unwrap().replace(INSTALLED, &here)).unwrap();
        units.push(unit);
    }
    assert_eq!(units.len(), 4, "{units:?}");
    assert_eq!(said(&units), Vec::<String>::new());

    let unit = std::fs::read_to_string(&units[0]).unwrap();
    std::fs::write(&units[0], unit.replace("UMask=", "Umask=")).unwrap();
    assert!(said(&units).iter().any(|line| line.contains("Umask")), "what is wrong is found");
}
