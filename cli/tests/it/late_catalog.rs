//! A launch while the products that come with the platform are still being registered: the real gateway and registry, in a
//! process that says that it waits for its catalog.

use crate::support::{LIMIT, PROGRAM};
use bigdata_chassis::bus::embedded::EmbeddedBus;
use bigdata_chassis::readiness::CATALOG;
use bigdata_chassis::secret::Token;
use bigdata_chassis::{Clock, Db, Deps, Tasks};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

/// Starts both services; where the gateway answers.
async fn start(folder: &Path, tasks: &Tasks) -> String {
    let url = format!("sqlite:{}", folder.join("registry.db").display());
    let internal_token = Token::random();
    let deps = Deps {
        db: Db::open(&url, "registry", bigdata_registry::MIGRATIONS).await.unwrap(),
        bus: Arc::new(EmbeddedBus::new()),
        clock: Clock::system(),
        tasks: tasks.clone(),
        internal_token: internal_token.clone(),
    };
    let settings = bigdata_registry::Settings {
        key_file: folder.join("key"),
        program: Some(PathBuf::from(PROGRAM)),
        ..bigdata_registry::Settings::default()
    };
    let registry = bigdata_registry::build(settings, deps).await.unwrap();
    let settings = bigdata_gateway::Settings {
        listen: "127.0.0.1:0".parse().unwrap(),
        registry: registry.address.into(),
        ..bigdata_gateway::Settings::default()
    };
    let deps = bigdata_gateway::GatewayDeps { clock: Clock::system(), tasks: tasks.clone(), internal_token };
    bigdata_gateway::build(settings, deps).await.unwrap().url()
}

fn bigdata(url: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(arguments).env("BIGDATA_URL", url).env_remove("BIGDATA_SOCKET").stdin(Stdio::null());
    command
}

fn register(url: &str, folder: &Path) {
    std::fs::write(folder.join("product.json"), r#"{"name": "late", "version": "1"}"#).unwrap();
    let template = r#"{"nodes": {"a": {"cpu": 0.1, "mem": 16, "command": "exec sleep 1000"}}, "services": {}}"#;
    std::fs::write(folder.join("template.json"), template).unwrap();
    let output = bigdata(url, &["product", "register", folder.to_str().unwrap()]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_launch_waits_for_the_catalog_and_makes_one_cluster() {
    let (folder, tasks) = (tempfile::tempdir().unwrap(), Tasks::new());
    tasks.readiness().waits_for(CATALOG, "the shipped products are being registered");
    let url = start(folder.path(), &tasks).await;
    let mut launch = bigdata(&url, &["launch", "late", "1"]);
    let mut launch = launch.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut said = BufReader::new(launch.stderr.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    assert!(line.contains("waiting for up to 60 s: the catalog is being loaded"), "{line}");

    register(&url, folder.path());
    tasks.readiness().has(CATALOG);
    assert!(launch.wait().unwrap().success());
    let clusters = bigdata(&url, &["cluster", "list", "--json"]).output().unwrap();
    let clusters: Value = serde_json::from_slice(&clusters.stdout).unwrap();
    assert_eq!(clusters["clusters"].as_array().map(Vec::len), Some(1), "{clusters}");
    assert!(tasks.shut_down(LIMIT).await, "the services end");
}
