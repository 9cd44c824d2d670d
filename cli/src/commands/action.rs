//! `bigdata action`: what a product's script can be asked for.

use crate::client::{Api, escaped};
use crate::context::Context;
use crate::failure::Failure;
use crate::output::span;
use crate::{commands::product::options_map, target};
use bigdata_common::ClusterDn;
use bigdata_common::api::change::{ActionList, ActionView, OperationAccepted};
use clap::Args;
use serde_json::Value;

use super::operation::Waiting;

/// Asks for an action; without one, tells which there are.
#[derive(Debug, Args)]
pub(crate) struct Action {
    /// The cluster
    #[arg(help = target::CLUSTER_HELP)]
    cluster: String,
    /// The action
    action: Option<String>,
    /// Its arguments: key=value, key:=JSON, or key=@FILE for a value that shall not stand on the command line
    #[arg(value_name = "KEY=VALUE", requires = "action")]
    arguments: Vec<String>,
    #[command(flatten)]
    waiting: Waiting,
}

/// Asks for the action `restore`, whose argument `backup` is the backup's id.
#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// The cluster
    #[arg(help = target::CLUSTER_HELP)]
    cluster: String,
    /// The backup; `bigdata backup list` tells which there are
    backup: String,
    #[command(flatten)]
    waiting: Waiting,
}

/// Runs the command.
///
/// # Errors
/// See [`Failure`].
pub(crate) async fn restore(command: Restore, context: &Context) -> Result<(), Failure> {
    let Restore { cluster, backup, waiting } = command;
    let arguments = vec![format!("backup={backup}")];
    run(Action { cluster, action: Some("restore".to_owned()), arguments, waiting }, context).await
}

/// Runs the command.
///
/// # Errors
/// See [`Failure`].
pub(crate) async fn run(command: Action, context: &Context) -> Result<(), Failure> {
    let api = context.api()?;
    let dn = target::resolve(&api, &command.cluster).await?;
    let Some(action) = command.action else {
        return list(&api, context, &dn).await;
    };
    let path = format!("/{dn}/actions/{}", escaped(&action));
    let accepted: OperationAccepted = api.post(&path, &options_map(&command.arguments)?).await?;
    command.waiting.conclude(&api, context, &accepted).await
}

async fn list(api: &Api, context: &Context, dn: &ClusterDn) -> Result<(), Failure> {
    let list: ActionList = api.get(&format!("/{dn}/actions")).await?;
    if context.output.json {
        return context.output.json(&list);
    }
    let row = |action: ActionView| {
        let arguments = action.arguments.iter().map(|(name, schema)| argument(name, schema));
        let callers = if action.users { "users" } else { "the platform" };
        let every = action.every_ms.map(span).unwrap_or_default();
        let arguments = arguments.collect::<Vec<_>>().join(" ");
        [action.name.to_string(), callers.to_owned(), every, arguments, action.description]
    };
    let header = ["action", "called by", "every", "arguments", "description"];
    context.output.table(header, list.actions.into_iter().map(row).collect(), "its product declares no actions")
}

/// `to=TEXT`, in brackets where it may be left out.
fn argument(name: &str, schema: &Value) -> String {
    let kind = schema.get("type").and_then(Value::as_str).unwrap_or("value").to_uppercase();
    // An empty text says nothing to a reader.
    match schema.get("default").filter(|default| default.as_str() != Some("")) {
        Some(default) => format!("[{name}={default}]"),
        None if schema.get("required").and_then(Value::as_bool) == Some(true) => format!("{name}={kind}"),
        None => format!("[{name}={kind}]"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn arguments_read_well() {
        for (schema, text) in [
            (json!({"type": "string"}), "[to=STRING]"),
            (json!({"type": "string", "required": true}), "to=STRING"),
            (json!({"type": "integer", "default": 3}), "[to=3]"),
            (json!({"type": "string", "default": ""}), "[to=STRING]"),
        ] {
            assert_eq!(super::argument("to", &schema), text);
        }
    }
}
