//! MariaDB: the clients' password is nowhere but where it belongs, neither the one that was given nor the one of a rotation.

use crate::mariadb::alone;
use crate::support::{Data, Platform, until};
use places::{Found, Needles};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use watch::Watch;

#[path = "../it/canaries/places.rs"]
mod places;
#[path = "../it/canaries/watch.rs"]
#[allow(dead_code, reason = "this test wants less of it than the one that it was made for")]
mod watch;

const PRODUCT: &str = "mariadb";
const VERSION: &str = "10.11";
const CLUSTER: &str = "clusters/local/mariadb/10.11/1";
/// One that is never launched: what is told of it holds nothing.
const FAILED: &str = "clusters/local/mariadb/10.11/2";
const GIVEN: &str = "given-canary'of the \"clients";
/// Its beginning, which stands as it is also where SQL or JSON has the quotes otherwise.
const BEGINNING: &str = "given-canary";
/// Too short for the product.
const REFUSED: &str = "cnry-7q";
const INVALID_OPTIONS: Option<&str> = Some("BD0014");

#[test]
fn the_clients_password_shows_nowhere() {
    let _alone = alone();
    let data = Data::new();
    let platform = data.up(&[]);
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    let password = |name: &str, value: &str| {
        let file = folder.path().join(name);
        std::fs::write(&file, value).unwrap();
        format!("password=@{}", file.display())
    };
    let (given, refused) = (password("given", GIVEN), password("refused", REFUSED));
    let watch = Watch::start(vec![BEGINNING.to_owned(), REFUSED.to_owned()]);
    let launch = |more: &[&str], problem: Option<&str>| {
        let words = ["launch", "mariadb", "10.11", "mem=256", "cpu=0.2", "disk=1024", "size=2"];
        said(&platform, &[&words, more].concat(), problem)
    };
    let mut texts = vec![
        launch(&[&refused], INVALID_OPTIONS),
        launch(&[&given, "max_connections=no"], INVALID_OPTIONS),
        launch(&[&given, "--dry-run", "--json"], None),
        launch(&[&given, "--wait", "--timeout", "300"], None),
        said(&platform, &["upgrade", CLUSTER, &refused], INVALID_OPTIONS),
    ];
    assert_eq!(secret(&platform), GIVEN);
    let act = |action: &str| said(&platform, &["action", CLUSTER, action, "--wait", "--timeout", "300"], None);
    texts.extend([act("backup"), act("rotate")]);
    let made = secret(&platform);
    assert_ne!(made, GIVEN);
    watch.also(made.clone());
    // Both servers begin with the new one, and the script works with it.
    texts.push(said(&platform, &["upgrade", CLUSTER, "max_connections=77", "--wait", "--timeout", "300"], None));
    texts.push(act("switchover"));
    settle(&platform);

    let needles = Needles::new(&[BEGINNING, REFUSED, &made]);
    let mut found: Vec<Found> =
        texts.iter().flat_map(|text| needles.find("a command's answer", text.as_bytes())).collect();
    found.extend(places::answers(&platform, &needles));
    found.extend(places::engine_state(&platform, &data, &needles));
    found.extend(places::files(&data.path(), &needles));
    found.extend(watch.end());
    let runs = data.path().join("run/runs");
    found.retain(|found| !is_of_a_script(&runs, Path::new(&found.place)));
    assert_eq!(found, Vec::<Found>::new());
}

/// Whether a file is a script's own, which has its cluster's document in a folder for itself alone as long as it runs.
fn is_of_a_script(runs: &Path, file: &Path) -> bool {
    let run = file.strip_prefix(runs).ok().and_then(|rest| rest.components().next());
    run.is_some_and(|run| runs.join(run).metadata().map_or(true, |about| about.permissions().mode() & 0o077 == 0))
}

/// All that a command says, which succeeds, or fails with this problem.
fn said(platform: &Platform, words: &[&str], problem: Option<&str>) -> String {
    let output = platform.ask(words);
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert_eq!(output.status.success(), problem.is_none(), "bigdata {words:?}: {text}");
    assert!(problem.is_none_or(|code| text.contains(code)), "bigdata {words:?}: {text}");
    text
}

fn settle(platform: &Platform) {
    until("the cluster is healthy", || {
        let view = &platform.json(&["cluster", "show", CLUSTER])["data"];
        (view["health"] == "healthy" && view["operation"].is_null()).then_some(())
    });
}

fn secret(platform: &Platform) -> String {
    platform.run(&["cluster", "secrets", CLUSTER, "password"]).trim_end_matches('\n').to_owned()
}
