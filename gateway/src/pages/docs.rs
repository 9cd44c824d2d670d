//! `/docs`: the API's description as a plain page, from the same document that machines read.

use bigdata_chassis::http::ApiError;
use serde::Serialize;
use serde_json::Value;

/// The OpenAPI 3.1 document, as it is served.
pub(crate) const OPENAPI: &str = include_str!("../../assets/openapi.json");

/// The methods of OpenAPI, in the order that they are shown in.
const METHODS: &[&str] = &["get", "post", "put", "delete"];

/// The page.
#[derive(Debug, Serialize)]
pub(crate) struct Docs {
    title: String,
    version: String,
    description: String,
    groups: Vec<Group>,
}

#[derive(Debug, Serialize)]
struct Group {
    name: String,
    description: String,
    operations: Vec<Operation>,
}

#[derive(Debug, Serialize)]
struct Operation {
    anchor: String,
    method: String,
    path: String,
    summary: String,
    description: String,
    parameters: Vec<Parameter>,
    body: String,
    answers: Vec<Answer>,
}

#[derive(Debug, Serialize)]
struct Parameter {
    name: String,
    place: String,
    description: String,
}

#[derive(Debug, Serialize)]
struct Answer {
    status: String,
    description: String,
    schema: String,
}

/// Reads the document into the page.
///
/// # Errors
/// When the document is not what it should be, which a test rules out.
pub(crate) fn view() -> Result<Docs, ApiError> {
    let document: Value = serde_json::from_str(OPENAPI).map_err(ApiError::internal)?;
    let groups = items(&document["tags"]).iter().map(|tag| {
        let name = text(&tag["name"]);
        Group { operations: operations(&document, &name), description: text(&tag["description"]), name }
    });
    Ok(Docs {
        title: text(&document["info"]["title"]),
        version: text(&document["info"]["version"]),
        description: text(&document["info"]["description"]),
        groups: groups.collect(),
    })
}

fn operations(document: &Value, tag: &str) -> Vec<Operation> {
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().into_iter().flatten() {
        for method in METHODS {
            let operation = &item[*method];
            if !items(&operation["tags"]).iter().any(|name| name == tag) {
                continue;
            }
            let parameters = items(&item["parameters"]).iter().chain(items(&operation["parameters"]));
            found.push(Operation {
                anchor: text(&operation["operationId"]),
                method: method.to_uppercase(),
                path: path.clone(),
                summary: text(&operation["summary"]),
                description: text(&operation["description"]),
                parameters: parameters.map(|parameter| self::parameter(document, parameter)).collect(),
                body: text(&operation["requestBody"]["description"]),
                answers: answers(document, &operation["responses"]),
            });
        }
    }
    found
}

fn parameter(document: &Value, parameter: &Value) -> Parameter {
    let parameter = resolved(document, parameter);
    Parameter {
        name: text(&parameter["name"]),
        place: text(&parameter["in"]),
        description: text(&parameter["description"]),
    }
}

fn answers(document: &Value, responses: &Value) -> Vec<Answer> {
    let responses = responses.as_object().into_iter().flatten();
    responses
        .map(|(status, response)| {
            let response = resolved(document, response);
            let kinds = response["content"].as_object().into_iter().flatten();
            let schema = kinds.map(|(kind, content)| match content["schema"]["$ref"].as_str() {
                Some(reference) => reference.rsplit('/').next().unwrap_or_default().to_owned(),
                None => kind.clone(),
            });
            Answer {
                status: status.clone(),
                description: text(&response["description"]),
                schema: schema.collect::<Vec<_>>().join(", "),
            }
        })
        .collect()
}

/// The value itself, or what its `$ref` points to.
fn resolved<'document>(document: &'document Value, value: &'document Value) -> &'document Value {
    let pointer = value["$ref"].as_str().and_then(|reference| reference.strip_prefix('#'));
    pointer.and_then(|pointer| document.pointer(pointer)).unwrap_or(value)
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::ROUTES;
    use std::collections::BTreeSet;

    fn document() -> Value {
        serde_json::from_str(OPENAPI).unwrap()
    }

    #[test]
    fn the_document_and_the_routing_table_name_the_same_routes() {
        let document = document();
        let paths = document["paths"].as_object().unwrap();
        let described: BTreeSet<(String, String)> = paths
            .iter()
            .flat_map(|(path, item)| {
                METHODS
                    .iter()
                    .filter(|method| item.get(**method).is_some())
                    .map(move |method| (path.clone(), method.to_uppercase()))
            })
            .collect();
        // A tail is written `{id:.+}` in the table.
        let routed: BTreeSet<(String, String)> = ROUTES
            .iter()
            .flat_map(|route| {
                route.methods.iter().map(move |method| (route.path.replace(":.+", ""), method.to_string()))
            })
            .collect();
        let missing: Vec<_> = routed.difference(&described).collect();
        let surplus: Vec<_> = described.difference(&routed).collect();
        assert!(missing.is_empty() && surplus.is_empty(), "missing: {missing:?}\nsurplus: {surplus:?}");
    }

    #[test]
    fn every_reference_leads_somewhere_and_every_operation_is_shown_once() {
        let document = document();
        for reference in OPENAPI.split("\"$ref\": \"#").skip(1) {
            let pointer = reference.split('"').next().unwrap();
            assert!(document.pointer(pointer).is_some(), "{pointer}");
        }
        let view = view().unwrap();
        let anchors: Vec<&str> =
            view.groups.iter().flat_map(|group| &group.operations).map(|operation| operation.anchor.as_str()).collect();
        let unique: BTreeSet<&str> = anchors.iter().copied().collect();
        let routed: usize = ROUTES.iter().map(|route| route.methods.len()).sum();
        assert_eq!((anchors.len(), unique.len()), (routed, routed));
        assert!(!unique.contains(""));
    }

    #[test]
    fn path_parameters_are_all_described() {
        let document = document();
        for (path, item) in document["paths"].as_object().unwrap() {
            let named: BTreeSet<String> =
                path.split('{').skip(1).map(|rest| rest.split('}').next().unwrap().to_owned()).collect();
            let described: BTreeSet<String> = items(&item["parameters"])
                .iter()
                .map(|parameter| resolved(&document, parameter))
                .filter(|parameter| parameter["in"] == "path")
                .map(|parameter| text(&parameter["name"]))
                .collect();
            assert_eq!(named, described, "{path}");
        }
    }
}
