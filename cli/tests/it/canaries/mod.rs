//! Secrets are planted wherever a product and its user may put one, and then looked for wherever others can read.

mod places;
mod product;
mod watch;

use crate::support::{Data, Platform, until};
use places::{Found, Needles};
use product::{GIVEN, PUBLISHED, REFUSED};
use serde_json::json;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use watch::Watch;

const PRODUCT: &str = "canary";
const VERSION: &str = "1";
const CLUSTER: &str = "clusters/local/canary/1/1";
/// One whose launch has failed.
const FAILED: &str = "clusters/local/canary/1/2";

/// A platform, and the user's own folder: what is launched comes from files of it.
struct Planted {
    platform: Platform,
    data: Data,
    folder: tempfile::TempDir,
}

impl Planted {
    fn new() -> Self {
        let (data, folder) = (Data::new(), tempfile::tempdir().unwrap());
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        let platform = data.up(&["--no-catalog"]);
        let planted = Self { platform, data, folder };
        for (name, text) in [("given", GIVEN), ("refused", REFUSED)] {
            std::fs::write(planted.folder.path().join(name), text).unwrap();
        }
        let product = product::write(planted.folder.path());
        planted.platform.run(&["product", "register", product.to_str().unwrap()]);
        planted
    }

    /// `given=@FILE`: on no command line.
    fn given(&self, name: &str) -> String {
        format!("given=@{}", self.folder.path().join(name).display())
    }

    /// The error text of a command that must fail.
    fn refused(&self, arguments: &[&str]) -> String {
        let output = self.platform.try_run(arguments);
        assert!(!output.status.success(), "bigdata {arguments:?} was to fail");
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat()
    }
}

#[test]
fn secrets_are_nowhere_but_where_they_belong() {
    let planted = Planted::new();
    let watch = Watch::start(vec![GIVEN.to_owned(), PUBLISHED.to_owned(), REFUSED.to_owned()]);
    let mut texts = refusals(&planted);
    planted.platform.run(&["launch", "canary", "1", &planted.given("given"), "--wait", "--timeout", "300"]);
    let secrets = planted.platform.json(&["cluster", "secrets", CLUSTER])["secrets"].clone();
    assert_eq!(secrets["given"], GIVEN);
    let made = secrets["made"].as_str().unwrap().to_owned();
    watch.also(made.clone());
    works(&planted, &made);
    texts.extend(changes(&planted));
    texts.push(crashes(&planted));

    let needles = Needles::new(&[GIVEN, PUBLISHED, REFUSED, &made]);
    let mut found: Vec<Found> =
        texts.iter().flat_map(|text| needles.find("a command's answer", text.as_bytes())).collect();
    found.extend(places::answers(&planted.platform, &needles));
    found.extend(places::engine_state(&planted.platform, &planted.data, &needles));
    found.extend(places::files(&planted.data.path(), &needles));
    found.extend(watch.end());
    for cluster in [CLUSTER, FAILED] {
        planted.platform.run(&["cluster", "destroy", cluster, "--wait", "--timeout", "300"]);
    }
    // What is kept of a destroyed cluster, whose nodes' files are gone.
    found.extend(places::files(&planted.data.path(), &needles));
    assert_eq!(found, Vec::<Found>::new());
}

/// What the search finds where there is something to be found: it is worth nothing else.
#[test]
fn the_search_finds_what_is_planted() {
    let needles = Needles::new(&["canary-value-1"]);
    for text in [
        "a canary-value-1 b",
        // In base64 at each of its three places: `printf 'xcanary-value-1' | base64`, with no, one and two letters before.
        "Y2FuYXJ5LXZhbHVlLTE=",
        "eGNhbmFyeS12YWx1ZS0x",
        "eHhjYW5hcnktdmFsdWUtMQ==",
    ] {
        assert_eq!(needles.find("here", text.as_bytes()).len(), 1, "{text}");
    }
    assert_eq!(needles.find("here", b"canary-value-2"), Vec::new());
    let folder = tempfile::tempdir().unwrap();
    let node = folder.path().join("engine/sandboxes/f/e/c/work");
    std::fs::create_dir_all(&node).unwrap();
    let plant = |path: PathBuf, mode: u32| {
        std::fs::write(&path, "canary-value-1").unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    plant(node.join("private"), 0o600);
    assert_eq!(places::files(folder.path(), &needles), Vec::new());
    plant(node.join("public"), 0o644);
    plant(folder.path().join("anywhere"), 0o600);
    assert_eq!(places::files(folder.path(), &needles).len(), 2);

    // All processes of the machine are looked at: another program of these tests may run beside.
    let shown = format!("canary-value-of-{}", std::process::id());
    let watch = Watch::start(vec![shown.clone()]);
    // It waits for a line that does not come.
    let mut child = Command::new("sh");
    child.args(["-c", &format!("read line; : {shown}")]).env("SHOWN", &shown).stdin(Stdio::piped());
    let mut child = child.spawn().unwrap();
    until("both are seen", || (watch.count() >= 2).then_some(()));
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(watch.end().len(), 2);
}

/// Launches that are refused, some of them for their secret's sake.
fn refusals(planted: &Planted) -> Vec<String> {
    let (given, refused) = (planted.given("given"), planted.given("refused"));
    let launch = |arguments: &[&str]| planted.refused(&[&["launch", "canary", "1"], arguments].concat());
    let texts = vec![
        launch(&[&refused, "--dry-run"]),
        launch(&[&refused]),
        launch(&[&given, "broken=outside"]),
        launch(&[&given, "broken=unknown"]),
        launch(&[&given, "broken=document"]),
    ];
    let plan = planted.platform.run(&["launch", "canary", "1", &given, "--dry-run", "--json"]);
    assert!(plan.contains("@{secret:given}") && plan.contains("@{secret:made}"), "{plan}");
    let list = json!({ "given": [REFUSED] }).to_string();
    let path = "/bigdata/api/v1/products/canary/1";
    let wrong = places::fetch(planted.platform.address(), &format!("POST {path}"), "", &list);
    assert!(wrong.contains("BD0014"), "{wrong}");
    texts.into_iter().chain([plan, wrong]).collect()
}

/// The node got them, and so does its owner.
fn works(planted: &Planted, made: &str) {
    let get = |path: &str| planted.platform.run(&["node", "get", CLUSTER, "node0", path]);
    assert_eq!(get("conf"), format!("given={GIVEN} made={made}\n"));
    assert_eq!(get("environment"), format!("{GIVEN} {made}\n"));
    assert_eq!(get("from-script"), format!("{GIVEN} {PUBLISHED}\n"));
    let shown = planted.platform.run(&["cluster", "secrets", CLUSTER, "published"]);
    assert_eq!(shown.trim(), PUBLISHED);
    let logs = planted.platform.run(&["cluster", "logs", CLUSTER]);
    assert!(logs.contains("says ********") && logs.contains("errs ********"), "{logs}");
}

/// Actions, one that fails by saying a secret, and plans of changes.
fn changes(planted: &Planted) -> Vec<String> {
    let platform = &planted.platform;
    let waited = |words: &[&'static str]| [words, &["--wait", "--timeout", "300"]].concat();
    platform.change(&waited(&["action", CLUSTER, "use", "which=given"]));
    assert_eq!(platform.run(&["node", "get", CLUSTER, "node0", "used"]), format!("{GIVEN}\n"));
    let failed = planted.refused(&waited(&["action", CLUSTER, "fail"]));
    assert!(failed.contains("no luck with ********"), "{failed}");
    platform.change(&waited(&["action", CLUSTER, "backup"]));
    let scaled = platform.change(&waited(&["scale", CLUSTER, "size=2"]));
    vec![
        failed,
        scaled,
        platform.run(&["scale", CLUSTER, "size=3", "--dry-run", "--json"]),
        platform.run(&["upgrade", CLUSTER, "label=new", "--dry-run", "--json"]),
        planted.refused(&["upgrade", CLUSTER, &planted.given("refused"), "--dry-run"]),
        planted.refused(&["upgrade", CLUSTER, "broken=document"]),
        planted.refused(&["scale", CLUSTER, "broken=unknown"]),
    ]
}

/// A launch whose workload ends with a secret as its last words.
fn crashes(planted: &Planted) -> String {
    let failed = planted.refused(&["launch", "canary", "1", &planted.given("given"), "broken=ends", "--wait"]);
    let told = planted.platform.run(&["cluster", "nodes", FAILED, "--json"]);
    assert!(told.contains("last words ********"), "{failed}{told}");
    failed
}
