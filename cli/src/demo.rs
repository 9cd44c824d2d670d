//! `bigdata demo`: from nothing to a running cluster, with the time that each phase took.

use crate::client::Api;
use crate::commands::launch::launch;
use crate::context::Context;
use crate::failure::Failure;
use crate::follow;
use crate::output::Output;
use crate::reference_node;
use crate::up::{Flags, Platform, Signals, catalog};
use bigdata_common::ClusterDn;
use bigdata_common::api::cluster::{NodeList, NodeView};
use bigdata_common::status::ClusterStatus;
use clap::Args;
use reqwest::Method;
use serde_json::{Map, Value, json};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// The longest that the demonstration waits for the cluster, and for its end.
const LIMIT: Duration = Duration::from_secs(120);
/// How the reference node names its port.
const PORT: &str = "http";

/// Runs the platform and launches the reference product.
#[derive(Debug, Args)]
pub(crate) struct Demo {
    #[command(flatten)]
    flags: Flags,
    /// Check that the nodes answer, destroy the cluster, stop, and exit with 0
    #[arg(long)]
    exit: bool,
}

/// Runs the demonstration.
///
/// # Errors
/// See [`Failure`].
pub(crate) async fn run(command: Demo, output: Output) -> Result<(), Failure> {
    let settings = command.flags.settings(vec![("catalog", "true".to_owned())])?;
    let mut signals = Signals::new()?;
    let there = format!("http://{}", settings.listen);
    let begun = Instant::now();
    let (platform, url) = if settings.listen.port() != 0 && answers(&there).await {
        eprintln!("a platform answers at {there} already; it is used");
        (None, there)
    } else {
        let platform = Platform::start(settings).await?;
        let url = platform.url().to_owned();
        let took = begun.elapsed().as_millis();
        eprintln!("the platform answers at {url} after {took} ms (data in {})", platform.data_directory().display());
        (Some(platform), url)
    };
    let shown = tokio::select! {
        shown = show(&url, output, command.exit) => shown,
        () = signals.next() => Err(Failure::Failed("interrupted".to_owned())),
    };
    match (platform, shown) {
        (Some(platform), Ok(())) if !command.exit => {
            eprintln!("\nthe platform goes on; Ctrl-C stops it and the cluster, and keeps their data");
            platform.run_until(signals).await
        }
        (Some(platform), shown) => {
            tokio::select! {
                () = platform.stop() => shown,
                () = signals.next() => std::process::exit(130),
            }
        }
        (None, shown) => shown,
    }
}

async fn answers(url: &str) -> bool {
    match Api::public(url) {
        Ok(api) => api.get::<Value>("/products").await.is_ok(),
        Err(_) => false,
    }
}

async fn show(url: &str, output: Output, then_destroy: bool) -> Result<(), Failure> {
    let api = Api::public(url)?;
    let reference = reference()?;
    let options = Map::from_iter([("size".to_owned(), json!(2))]);
    let begun = Instant::now();
    let key = uuid::Uuid::new_v4().to_string();
    let launched = launch(&api, &format!("/products/{reference}"), &options, &key).await?;
    eprintln!("launched {} (status, time in the phase before, time in all):", launched.dn);
    follow::until(&api, &launched.dn, ClusterStatus::Ready, 0, LIMIT).await?;
    eprintln!("ready after {} ms\n", begun.elapsed().as_millis());
    let nodes: NodeList = api.get(&format!("/{}/nodes", launched.dn)).await?;
    let context = Context::new(url.to_owned(), output.json);
    crate::commands::node::list(&api, &context, &launched.dn.to_string()).await?;
    if then_destroy {
        check(&nodes.nodes)?;
        return destroy(&api, &launched.dn).await;
    }
    commands(url, &launched.dn, &nodes.nodes, output)
}

/// The shipped reference product as `name/version`.
fn reference() -> Result<String, Failure> {
    let product = catalog::shipped()?.into_iter().find(|product| product.request.name.as_str() == "reference");
    product
        .map(|product| format!("{}/{}", product.request.name, product.request.version))
        .ok_or_else(|| Failure::Failed("the reference product is not shipped with this program".to_owned()))
}

fn address(node: &NodeView) -> Option<SocketAddr> {
    let port = node.ports.iter().find(|(name, _)| name.as_str() == PORT).map(|(_, port)| *port)?;
    format!("{}:{port}", node.address).parse().ok()
}

fn check(nodes: &[NodeView]) -> Result<(), Failure> {
    for node in nodes {
        let address = address(node)
            .ok_or_else(|| Failure::Failed(format!("{} has no address of the form ADDRESS:PORT", node.name)))?;
        reference_node::check(address).map_err(Failure::Failed)?;
        eprintln!("{} answers at http://{address}/ and reaches its peers", node.name);
    }
    Ok(())
}

async fn destroy(api: &Api, dn: &ClusterDn) -> Result<(), Failure> {
    let begun = Instant::now();
    let since = follow::position(api, dn).await?;
    api.send(api.request(Method::DELETE, &format!("/{dn}"))).await?;
    follow::until(api, dn, ClusterStatus::Destroyed, since, LIMIT).await?;
    eprintln!("destroyed after {} ms", begun.elapsed().as_millis());
    Ok(())
}

/// What to try next, ready to paste.
fn commands(url: &str, dn: &ClusterDn, nodes: &[NodeView], output: Output) -> Result<(), Failure> {
    let program = std::env::current_exe()?;
    let option = if url == crate::context::DEFAULT_URL { String::new() } else { format!(" --url {url}") };
    let bigdata = format!("{}{option}", program.display());
    if output.json {
        return Ok(());
    }
    output.line("\nTry in another terminal:")?;
    for address in nodes.iter().filter_map(address) {
        output.line(format!("  curl http://{address}/"))?;
    }
    output.line(format!("  {bigdata} cluster show {dn}"))?;
    if let Some(node) = nodes.first() {
        output.line(format!("  {bigdata} node exec {dn} {} -- sh -c 'env | sort'", node.name))?;
    }
    output.line(format!("  {bigdata} cluster logs {dn}"))?;
    output.line(format!("  {bigdata} cluster destroy {dn} --wait"))?;
    output.line(format!("or open {url}/ in a browser"))
}
