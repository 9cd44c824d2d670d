//! The nodes of a cluster, for people and for scripts.

use crate::client::Api;
use crate::context::Context;
use crate::failure::Failure;
use crate::target;
use bigdata_common::api::cluster::NodeList;
use serde_json::Value;

/// Prints a cluster's nodes.
///
/// # Errors
/// See [`Failure`].
pub(crate) async fn list(api: &Api, context: &Context, cluster: &str) -> Result<(), Failure> {
    let dn = target::resolve(api, cluster).await?;
    let list: NodeList = api.get(&format!("/{dn}/nodes")).await?;
    if context.output.json {
        return context.output.json(&list);
    }
    let rows = list.nodes.into_iter().map(|node| {
        let ports = node.ports.iter().map(|(name, port)| format!("{name} {port}")).collect::<Vec<_>>().join(", ");
        [
            node.name.to_string(),
            node.status.to_string(),
            node.health.to_string(),
            node.address,
            ports,
            node.host,
            node.restarts.to_string(),
            node.reason.unwrap_or_default(),
        ]
    });
    let header = ["node", "status", "health", "address", "ports", "host", "restarts", "reason"];
    context.output.table(header, rows.collect(), "it has no nodes")
}

/// Inside a script: one line per node, made for the shell's `read`.
pub(super) async fn list_in_script(context: &Context) -> Result<(), Failure> {
    let cluster: Value = context.script_api()?.get("/cluster").await?;
    let nodes = cluster.get("nodes").cloned().unwrap_or(Value::Null);
    if context.output.json {
        return context.output.json(&nodes);
    }
    let Value::Object(nodes) = nodes else {
        return Err(Failure::Failed("the cluster's document has no nodes".to_owned()));
    };
    nodes.iter().try_for_each(|(name, node)| context.output.line(line_in_script(name, node)))
}

/// `NAME ADDRESS PORT=NUMBER,...`, a dash for what is not there, and `leaving` behind one that is to go.
fn line_in_script(name: &str, node: &Value) -> String {
    let or_dash = |text: String| if text.is_empty() { "-".to_owned() } else { text };
    let address = node.get("address").and_then(Value::as_str).unwrap_or_default();
    let ports = node.get("ports").and_then(Value::as_object).into_iter().flatten();
    let ports: Vec<String> = ports.map(|(name, number)| format!("{name}={number}")).collect();
    let leaving = if node.get("leaving") == Some(&Value::Bool(true)) { " leaving" } else { "" };
    format!("{name} {} {}{leaving}", or_dash(address.to_owned()), or_dash(ports.join(",")))
}

#[cfg(test)]
mod tests {
    use super::line_in_script;
    use serde_json::json;

    #[test]
    fn a_line_has_its_words_in_their_places() {
        for (node, line) in [
            (json!({"address": "127.64.0.1", "ports": {"http": 8080, "a": 1}}), "n 127.64.0.1 http=8080,a=1"),
            (json!({"address": "127.64.0.1", "ports": {}, "leaving": true}), "n 127.64.0.1 - leaving"),
            (json!({"address": "", "ports": {}}), "n - -"),
        ] {
            assert_eq!(line_in_script("n", &node), line);
        }
    }
}
