//! The description of the API agrees with the types that the services answer with.

use crate::sample;
use bigdata_common::api::change::{ActionList, ActionView, ChangePlan, OperationAccepted, UpgradeRequest};
use bigdata_common::api::cluster::{DryRun, Fit, Launched};
use bigdata_common::api::problem::{Fault, Problem, ProblemCode};
use bigdata_common::blueprint::Blueprint;
use bigdata_common::container_options::ContainerRight;
use bigdata_common::internal::{EXEC_LIMIT_MAX, ExecFrame, ExecRequest, NodeReport};
use bigdata_common::status::{ClusterStatus, Health, NodeStatus, OperationKind, OperationStatus, Termination};
use serde::Serialize;
use serde_json::{Map, Value, json};

fn document() -> Value {
    serde_json::from_str(include_str!("../../assets/openapi.json")).unwrap()
}

/// The document's schemas, which then take no key that they do not name.
fn strict_schemas() -> Value {
    let mut schemas = document()["components"]["schemas"].take();
    for schema in schemas.as_object_mut().unwrap().values_mut() {
        if schema.get("properties").is_some() {
            schema["additionalProperties"] = json!(false);
        }
    }
    schemas
}

pub(crate) fn assert_described(name: &str, value: &impl Serialize) {
    let schema = json!({"$ref": format!("#/components/schemas/{name}"), "components": {"schemas": strict_schemas()}});
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    let value = serde_json::to_value(value).unwrap();
    let faults: Vec<String> =
        validator.iter_errors(&value).map(|error| format!("{} at {}", error, error.instance_path())).collect();
    assert!(faults.is_empty(), "{name}: {faults:#?}\n{value:#}");
}

#[test]
fn answers_are_as_they_are_described() {
    assert_described("ClusterList", &json!({"clusters": sample::clusters(), "next": null}));
    assert_described("ProductList", &sample::products());
    assert_described("NodeList", &sample::nodes());
    assert_described("ServiceList", &sample::services());
    assert_described("EndpointList", &sample::endpoints());
    assert_described("OperationList", &sample::operations());
    assert_described("BackupList", &sample::backups());
    assert_described("UpgradeRequest", &UpgradeRequest { version: None, revision: Some(1), options: Map::new() });
    let id = sample::operations().operations[0].id;
    let (message, url) = ("success".to_owned(), format!("/bigdata/api/v1/operations/{id}"));
    assert_described(
        "OperationAccepted",
        &OperationAccepted { message, operation: id, url, status: OperationStatus::Pending },
    );
    let changed = [("a".parse().unwrap(), vec!["/mem".to_owned()])].into();
    let options = [("mem".to_owned(), [json!(1), json!(2)])].into();
    assert_described("ChangePlan", &ChangePlan { changed, options, ..ChangePlan::default() });
    let action = ActionView {
        name: "switchover".parse().unwrap(),
        description: "x".to_owned(),
        users: true,
        changes: true,
        arguments: [("to".to_owned(), json!({"type": "string"}))].into(),
        every_ms: Some(1),
    };
    assert_described("ActionList", &ActionList { actions: vec![action] });
    assert_described("EventList", &sample::events());
    assert_described("LogPage", &sample::log());
    assert_described("AgentList", &sample::agents());
    assert_described("Explanation", &sample::explanation());
    assert_described("NodeReport", &NodeReport::default());
    let fault = Fault::new("/a", "wrong");
    assert_described("Problem", &Problem::new(ProblemCode::InvalidField, "x").with_errors(vec![fault]));
    let command = ExecRequest { command: vec!["id".to_owned()], stdin: Some(String::new()), timeout_ms: 1 };
    assert_described("ExecRequest", &command);
    let longest = &document()["components"]["schemas"]["ExecRequest"]["properties"]["timeout_ms"]["maximum"];
    assert_eq!(longest, &json!(u64::try_from(EXEC_LIMIT_MAX.as_millis()).unwrap()));
    for frame in [ExecFrame::Stdout(String::new()), ExecFrame::Exit(137), ExecFrame::Error("x".to_owned())] {
        assert_described("ExecFrame", &frame);
    }
    let cluster = &sample::clusters()[0].data;
    let launched = Launched {
        url: "/bigdata/api/v1/queue/1".to_owned(),
        dn: cluster.dn.clone(),
        id: cluster.id.clone(),
        status: ClusterStatus::Registered,
        operation: sample::operations().operations[0].id,
        warnings: vec!["x".to_owned()],
    };
    assert_described("Launched", &launched);
    let blueprint = Blueprint { dnsname: "x".to_owned(), nodes: Default::default(), services: Default::default() };
    let fits = Some(Fit { fits: true, reasons: Vec::new() });
    assert_described("DryRun", &DryRun { blueprint, options: Map::new(), warnings: Vec::new(), fits });
}

#[test]
fn every_word_of_a_status_is_described() {
    fn words<T: Copy>(all: &[T], as_str: impl Fn(T) -> &'static str) -> Value {
        all.iter().map(|value| as_str(*value)).collect()
    }
    let document = document();
    for (name, expected) in [
        ("ClusterStatus", words(ClusterStatus::ALL, ClusterStatus::as_str)),
        ("Health", words(Health::ALL, Health::as_str)),
        ("NodeStatus", words(NodeStatus::ALL, NodeStatus::as_str)),
        ("OperationKind", words(OperationKind::ALL, OperationKind::as_str)),
        ("OperationStatus", words(OperationStatus::ALL, OperationStatus::as_str)),
        ("Termination", words(Termination::ALL, Termination::as_str)),
        ("ContainerRight", words(&ContainerRight::ALL, ContainerRight::as_str)),
    ] {
        assert_eq!(document["components"]["schemas"][name]["enum"], expected, "{name}");
    }
}
