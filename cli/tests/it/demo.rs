//! The README's first command.

use crate::support::{Data, processes};

#[test]
fn the_demonstration_runs_to_its_end() {
    let data = Data::new();
    let output = data.command("demo", &["--exit"]).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{error}");
    for part in ["registered", "scheduling", "configuring", "ready after", "reaches its peers", "destroyed after"] {
        assert!(error.contains(part), "{part} is not in {error}");
    }
    assert_eq!(processes(data.path().to_str().unwrap()), Vec::<String>::new());
    println!("{error}");
}
