//! `bigdata product`: the catalog.

mod rights;

use crate::client::{Api, escaped};
use crate::context::Context;
use crate::failure::Failure;
use crate::folder::ProductFolder;
use bigdata_common::api::product::{ProductList, ProductView};
use bigdata_common::container_options::ContainerRight;
use clap::Subcommand;
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde::Serialize;
use serde_json::{Map, Value};
use std::path::PathBuf;

/// Work on the catalog.
#[derive(Debug, Subcommand)]
pub(crate) enum ProductCommand {
    /// Every product and version
    List,
    /// One product version: what it is, and the options of a launch
    Show {
        /// The product's name
        name: String,
        /// Its version
        version: String,
    },
    /// Register the product in a folder (product.json, template.json or .yaml, options.json, actions.json, orchestrator), or bring it up to date
    Register {
        /// The folder
        folder: PathBuf,
    },
    /// Show what a product's containers may do on the machines, or (an operator) allow exactly these rights: privileged,
    /// host-mounts, host-namespaces, devices, capabilities
    Allow {
        /// The product's name
        name: String,
        /// Its version
        version: String,
        /// The rights from now on; none: show those that it has
        #[arg(conflicts_with = "none")]
        rights: Vec<ContainerRight>,
        /// Take every right away, from the next launch on
        #[arg(long)]
        none: bool,
    },
    /// Take a product version out of the catalog
    Delete {
        /// The product's name
        name: String,
        /// Its version
        version: String,
    },
}

/// Runs the command.
///
/// # Errors
/// See [`Failure`].
pub(crate) async fn run(command: ProductCommand, context: &Context) -> Result<(), Failure> {
    let api = context.api()?;
    match command {
        ProductCommand::List => list(&api, context).await,
        ProductCommand::Show { name, version } => show(&api.patient(), context, &path(&name, &version)).await,
        ProductCommand::Register { folder } => {
            let product = ProductFolder::read(&folder)?;
            let view = register(&api, &product).await?;
            if context.output.json {
                return context.output.json(&view);
            }
            context.output.line(format!("products/{}/{} revision {}", view.name, view.version, view.revision))?;
            eprintln!("next: {}", rights::next_step(&view));
            Ok(())
        }
        ProductCommand::Allow { name, version, rights, none } => {
            rights::allow(&api, context, &path(&name, &version), rights, none).await
        }
        ProductCommand::Delete { name, version } => {
            api.send(api.request(Method::DELETE, &path(&name, &version))).await?;
            if context.output.json {
                return context.output.json(&serde_json::json!({ "deleted": format!("products/{name}/{version}") }));
            }
            eprintln!("deleted products/{name}/{version}");
            Ok(())
        }
    }
}

fn path(name: &str, version: &str) -> String {
    format!("/products/{}/{}", escaped(name), escaped(version))
}

async fn list(api: &Api, context: &Context) -> Result<(), Failure> {
    let list: ProductList = api.get("/products").await?;
    if context.output.json {
        return context.output.json(&list);
    }
    let row = |entry: ProductView| {
        let lacking = entry.lacking();
        let state = if lacking.is_empty() { "complete".to_owned() } else { format!("lacks {}", lacking.join(", ")) };
        [entry.name.to_string(), entry.version.to_string(), entry.description, entry.clusters.to_string(), state]
    };
    let rows = list.entries.into_iter().map(row).collect();
    context.output.table(
        ["product", "version", "description", "clusters", "state"],
        rows,
        "the catalog is empty\nnext: bigdata product register FOLDER",
    )
}

/// A product with the options of a launch.
#[derive(Debug, Serialize)]
struct Detail {
    #[serde(flatten)]
    product: ProductView,
    options: Value,
}

async fn show(api: &Api, context: &Context, path: &str) -> Result<(), Failure> {
    let product: ProductView = api.get(path).await?;
    let options = if product.missing.iter().any(|part| part == "options") {
        Value::Null
    } else {
        api.get(&format!("{path}/options")).await?
    };
    let detail = Detail { product, options };
    if context.output.json {
        return context.output.json(&detail);
    }
    let product = &detail.product;
    context.output.fields(&[
        ("product", format!("{}/{}", product.name, product.version)),
        ("description", product.description.clone()),
        ("revision", product.revision.clone()),
        ("clusters", product.clusters.to_string()),
        ("lacks", product.missing.join(", ")),
        ("containers may", rights::in_words(&product.container_rights)),
        ("logo", product.logo_url.clone()),
    ])?;
    context.output.line("")?;
    context.output.table(
        ["option", "group", "default", "type", "description"],
        option_rows(&detail.options),
        "it has no options",
    )?;
    eprintln!("next: bigdata launch {} {} --dry-run", product.name, product.version);
    Ok(())
}

/// The options as rows: name, group, default (of a required one: an example), type, description.
fn option_rows(options: &Value) -> Vec<[String; 5]> {
    let group = |name: &str| options.get(name).and_then(Value::as_object).cloned().unwrap_or_default();
    let (descriptions, schemas) = (group("descriptions"), group("schema"));
    let mut rows = Vec::new();
    for group_name in ["required", "optional", "advanced"] {
        for (name, default) in group(group_name) {
            let default = if group_name == "required" { format!("e.g. {}", text(&default)) } else { text(&default) };
            let description = descriptions.get(&name).map(text).unwrap_or_default();
            rows.push([name.clone(), group_name.to_owned(), default, kind(schemas.get(&name)), description]);
        }
    }
    rows
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A schema in a few words: `integer 1..100`.
fn kind(schema: Option<&Value>) -> String {
    let Some(schema) = schema.and_then(Value::as_object) else { return String::new() };
    let bound = |name: &str| schema.get(name).map(text);
    let mut words = vec![bound("type").unwrap_or_default()];
    match (bound("minimum"), bound("maximum")) {
        (Some(least), Some(most)) => words.push(format!("{least}..{most}")),
        (Some(least), None) => words.push(format!("from {least}")),
        (None, Some(most)) => words.push(format!("to {most}")),
        (None, None) => {}
    }
    if let Some(values) = schema.get("enum").and_then(Value::as_array) {
        words.push(values.iter().map(text).collect::<Vec<_>>().join("|"));
    }
    if schema.get("secret").and_then(Value::as_bool) == Some(true) {
        words.push("secret".to_owned());
    }
    words.retain(|word| !word.is_empty());
    words.join(" ")
}

/// Registers a product, or brings what differs up to date: parts that are as they should be are not sent.
///
/// # Errors
/// See [`Api::send`].
pub(crate) async fn register(api: &Api, product: &ProductFolder) -> Result<ProductView, Failure> {
    let path = path(product.request.name.as_str(), product.request.version.as_str());
    api.send(api.request(Method::POST, "/products").json(&product.request)).await?;
    // The template comes last: without it nothing is launched, and what is launched has all of the product.
    let parts = [
        ("options", product.options.as_ref(), "application/json"),
        ("actions", product.actions.as_ref(), "application/json"),
        ("orchestrator", product.orchestrator.as_ref(), "text/plain"),
        ("template", Some(&product.template), product.template_type()),
    ];
    let known: ProductView = api.get(&path).await?;
    for (part, text, content_type) in parts {
        let Some(text) = text else { continue };
        if !known.missing.iter().any(|missing| missing == part) && current(api, &path, part).await? == *text {
            continue;
        }
        let request = api.request(Method::PUT, &format!("{path}/{part}"));
        api.send(request.header(CONTENT_TYPE, content_type).body(text.clone())).await?;
    }
    api.get(&path).await
}

/// A part's text as it is stored; empty where the product has none.
async fn current(api: &Api, path: &str, part: &str) -> Result<String, Failure> {
    let request = api.request(Method::GET, &format!("{path}/{part}")).header("accept", "text/plain");
    match api.send(request).await {
        Ok(response) => response.text().await.map_err(|error| Failure::of(&error)),
        Err(failure) if failure.code() == 3 => Ok(String::new()),
        Err(failure) => Err(failure),
    }
}

/// `key=value` pairs as the flat map of a launch: a text as it stands, or JSON after `:=`, or a file's text after `=@`.
///
/// # Errors
/// When a pair is none, a key comes twice, or a file cannot be read.
pub(crate) fn options_map(pairs: &[String]) -> Result<Map<String, Value>, Failure> {
    let mut map = Map::new();
    for pair in pairs {
        let wrong = || Failure::Usage(format!("{pair:?} is no option; write key=value, key:=JSON or key=@FILE"));
        let (key, value) = pair.split_once('=').ok_or_else(wrong)?;
        let (key, value) = match key.strip_suffix(':') {
            Some(key) => {
                let value = serde_json::from_str(value)
                    .map_err(|error| Failure::Usage(format!("the value of {key:?} is no JSON: {error}")))?;
                (key, value)
            }
            None => match value.strip_prefix('@') {
                Some(file) => {
                    let text = std::fs::read_to_string(file)
                        .map_err(|error| Failure::Usage(format!("{file} cannot be read: {error}")))?;
                    (key, Value::String(text.trim_end_matches('\n').to_owned()))
                }
                None => (key, Value::String(value.to_owned())),
            },
        };
        if key.is_empty() {
            return Err(wrong());
        }
        if map.insert(key.to_owned(), value).is_some() {
            return Err(Failure::Usage(format!("the option {key:?} is given twice")));
        }
    }
    Ok(map)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn options_from_the_command_line() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        std::fs::write(&file, "s3cret\n").unwrap();
        let pairs = ["size=2", "slaves.cpu:=1.5", "url=http://x/?a=b", &format!("password=@{}", file.display())];
        let map = options_map(&pairs.map(str::to_owned)).unwrap();
        let expected = json!({"size": "2", "slaves.cpu": 1.5, "url": "http://x/?a=b", "password": "s3cret"});
        assert_eq!(Value::Object(map), expected);
        for wrong in [&["size"][..], &["=2"], &["size:=x"], &["size=1", "size=2"], &["a=@/no/such/file"]] {
            let pairs: Vec<String> = wrong.iter().map(ToString::to_string).collect();
            assert!(matches!(options_map(&pairs), Err(Failure::Usage(_))), "{wrong:?}");
        }
    }

    #[test]
    fn options_as_rows() {
        let options = json!({
            "required": {"size": 2}, "optional": {}, "advanced": {"heap": "4G"}, "descriptions": {"size": "Nodes"},
            "schema": {"size": {"type": "integer", "minimum": 1, "maximum": 100}},
        });
        let rows = option_rows(&options);
        assert_eq!(rows[0], ["size", "required", "e.g. 2", "integer 1..100", "Nodes"]);
        assert_eq!(rows[1], ["heap", "advanced", "4G", "", ""]);
    }
}
