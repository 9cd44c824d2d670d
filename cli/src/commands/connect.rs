//! `bigdata connect`: a client on a cluster's endpoint.

use crate::client::Api;
use crate::context::Context;
use crate::failure::Failure;
use crate::target;
use bigdata_common::ClusterDn;
use bigdata_common::api::cluster::{EndpointList, EndpointView, SecretList};
use clap::Args;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// How a secret stands in a client's environment.
const SECRET_OPEN: &str = "@{secret:";

/// Opens a client; it takes this process's place.
#[derive(Debug, Args)]
pub(crate) struct Connect {
    /// The cluster
    #[arg(help = target::CLUSTER_HELP)]
    cluster: String,
    /// The endpoint by its name or its role; otherwise the first that has a client
    endpoint: Option<String>,
    /// Print the client's line and run nothing
    #[arg(long)]
    print: bool,
    /// Further words for the client
    #[arg(last = true)]
    arguments: Vec<String>,
}

/// Runs the command.
///
/// # Errors
/// See [`Failure`]; also when the client cannot be run.
pub(crate) async fn run(command: Connect, context: &Context) -> Result<(), Failure> {
    let api = context.api()?;
    let dn = target::resolve(&api, &command.cluster).await?;
    let list: EndpointList = api.get(&format!("/{dn}/endpoints")).await?;
    let endpoint = choose(&list.endpoints, command.endpoint.as_deref()).ok_or_else(|| unknown(&dn, &list, &command))?;
    let Some(connect) = &endpoint.connect else {
        let text = format!("the product names no client for {}; its address is {}", endpoint.name, endpoint.url);
        return Err(Failure::Failed(text));
    };
    if command.print {
        return context.output.line(endpoint.line.as_deref().unwrap_or(&endpoint.url));
    }
    let Some((program, words)) = connect.command.split_first() else {
        return Err(Failure::Failed(format!("the product names no client for {}", endpoint.name)));
    };
    let mut client = Command::new(program);
    // A client may be this command again, on the same platform.
    client.args(words).args(&command.arguments).env("BIGDATA_URL", &context.url);
    for (name, value) in &connect.env {
        client.env(name, filled(&api, &dn, value).await?);
    }
    let error = client.exec();
    Err(Failure::Failed(format!("{program} cannot be run: {error}\n  next: bigdata connect {dn} --print")))
}

fn choose<'a>(endpoints: &'a [EndpointView], wanted: Option<&str>) -> Option<&'a EndpointView> {
    match wanted {
        Some(wanted) => endpoints
            .iter()
            .find(|endpoint| endpoint.name == wanted)
            .or_else(|| endpoints.iter().find(|endpoint| endpoint.role == wanted)),
        None => endpoints.iter().find(|endpoint| endpoint.connect.is_some()).or(endpoints.first()),
    }
}

fn unknown(dn: &ClusterDn, list: &EndpointList, command: &Connect) -> Failure {
    let names: Vec<&str> = list.endpoints.iter().map(|endpoint| endpoint.name.as_str()).collect();
    match &command.endpoint {
        Some(wanted) if !names.is_empty() => {
            Failure::NotFound(format!("{dn} has no endpoint {wanted:?}; it has {}", names.join(", ")))
        }
        _ => Failure::NotFound(format!("{dn} has published no endpoints\n  next: bigdata cluster show {dn}")),
    }
}

/// A value with the secrets that it names.
async fn filled(api: &Api, dn: &ClusterDn, value: &str) -> Result<String, Failure> {
    if !value.contains(SECRET_OPEN) {
        return Ok(value.to_owned());
    }
    let list: SecretList = api.get(&format!("/{dn}/secrets")).await?;
    fill(value, |name| list.secrets.0.get(name).cloned())
        .map_err(|name| Failure::Failed(format!("the client wants the secret {name:?}, which {dn} does not have")))
}

/// Replaces every `@{secret:NAME}`; the name of one that is not known otherwise.
fn fill(value: &str, secret: impl Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = value;
    while let Some((before, after)) = rest.split_once(SECRET_OPEN) {
        let (name, behind) = after.split_once('}').ok_or_else(|| after.to_owned())?;
        out.push_str(before);
        out.push_str(&secret(name).ok_or_else(|| name.to_owned())?);
        rest = behind;
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_filled_in() {
        let known = |name: &str| (name == "password").then(|| "s3cret".to_owned());
        assert_eq!(fill("a@{secret:password}b", known), Ok("as3cretb".to_owned()));
        assert_eq!(fill("@{secret:other}", known), Err("other".to_owned()));
        assert_eq!(fill("plain", known), Ok("plain".to_owned()));
    }

    #[test]
    fn an_endpoint_is_chosen_by_name_before_role() {
        let endpoint = |name: &str, role: &str| EndpointView {
            name: name.to_owned(),
            role: role.to_owned(),
            url: String::new(),
            connect: None,
            line: None,
        };
        let endpoints = [endpoint("a", "reader"), endpoint("reader", "writer")];
        assert_eq!(choose(&endpoints, Some("reader")).map(|chosen| chosen.name.as_str()), Some("reader"));
        assert_eq!(choose(&endpoints, Some("writer")).map(|chosen| chosen.name.as_str()), Some("reader"));
        assert_eq!(choose(&endpoints, None).map(|chosen| chosen.name.as_str()), Some("a"));
        assert!(choose(&endpoints, Some("none")).is_none());
    }
}
