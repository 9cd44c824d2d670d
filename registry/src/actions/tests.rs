//! Declarations of actions: what is understood, and every fault in its place.

use super::parse::COUNT_MAX;
use super::*;
use serde_json::json;

#[test]
fn what_is_declared_and_what_is_usual() {
    let text = r#"{
        "switchover": {"description": "Moves the writer", "busy": "wait", "deadline": "2m",
                       "arguments": {"to": {"type": "string"}, "force": {"type": "boolean", "default": false}}},
        "backup": {"changes": false, "deadline": 90, "every": "@{option:backup_every}", "keep": 7},
        "check": {"every": "30s", "deadline": "20s"},
        "node-lost": {}
    }"#;
    let actions = Actions::parse(text).unwrap();
    let names: Vec<&str> = actions.0.keys().map(Name::as_str).collect();
    assert_eq!(names, ["switchover", "backup", "check", "node-lost"]);
    let switchover = actions.get("switchover").unwrap();
    assert_eq!((switchover.users, switchover.changes, switchover.busy), (true, true, Busy::Wait));
    assert_eq!((switchover.deadline_ms, switchover.arguments.len()), (120_000, 2));
    let backup = actions.get("backup").unwrap();
    assert_eq!((backup.users, backup.changes, backup.kept(), backup.deadline_ms), (true, false, Some(7), 90_000));
    assert_eq!(backup.every, Some(Every::Option("backup_every".to_owned())));
    let check = actions.get("check").unwrap();
    assert_eq!((check.users, check.busy, check.every_ms()), (false, Busy::Refuse, Some(30_000)));
    assert_eq!((actions.limit_ms("node-lost"), actions.limit_ms("scale")), (300_000, 1_800_000));
    let stored: Actions = serde_json::from_value(serde_json::to_value(&actions).unwrap()).unwrap();
    assert_eq!(stored, actions);
    assert_eq!(actions.view().actions[0].arguments["to"], json!({"type": "string"}));
    assert!(Actions::parse("{}").unwrap().0.is_empty());
}

#[test]
fn every_fault_has_its_place() {
    for (text, pointers) in [
        ("", vec![""]),
        ("[]", vec![""]),
        ("null", vec![""]),
        (r#"{"a": {}, "a": {}}"#, vec!["/a"]),
        (r#"{"A b": {}}"#, vec!["/A b"]),
        (r#"{"x/y": 1}"#, vec!["/x~1y", "/x~1y"]),
        (r#"{"a": {"dead": 1, "users": "yes", "changes": 0}}"#, vec!["/a/dead", "/a/users", "/a/changes"]),
        (r#"{"a": {"busy": "maybe"}}"#, vec!["/a/busy"]),
        (r#"{"a": {"deadline": "soon"}}"#, vec!["/a/deadline"]),
        (r#"{"a": {"deadline": 0}}"#, vec!["/a/deadline"]),
        (r#"{"a": {"deadline": 1e300}}"#, vec!["/a/deadline"]),
        (r#"{"a": {"every": "1ms"}}"#, vec!["/a/every"]),
        (r#"{"a": {"every": "@{secret:x}"}}"#, vec!["/a/every"]),
        (r#"{"a": {"every": "@{option:}"}}"#, vec!["/a/every"]),
        (r#"{"a": {"every": "@{option:x"}}"#, vec!["/a/every"]),
        (r#"{"a": {"keep": 3}}"#, vec!["/a/keep"]),
        (r#"{"a": {"every": "1d", "keep": 0}}"#, vec!["/a/keep"]),
        (r#"{"a": {"every": "1d", "keep": "7"}}"#, vec!["/a/keep"]),
        (r#"{"a": {"every": "1d", "keep": "@{option:}"}}"#, vec!["/a/keep"]),
        (r#"{"a": {"every": "1d", "keep": 4294967303}}"#, vec!["/a/keep"]),
        (r#"{"a": {"keep": "@{option:many}"}}"#, vec!["/a/keep"]),
        (r#"{"node-lost": {"every": "1d", "changes": false}}"#, vec!["/node-lost/every", "/node-lost/changes"]),
        (r#"{"a": {"description": "two\nlines"}}"#, vec!["/a/description"]),
        (r#"{"a": {"arguments": []}}"#, vec!["/a/arguments"]),
        (r#"{"a": {"arguments": {"b": 1}}}"#, vec!["/a/arguments/b"]),
        (r#"{"a": {"arguments": {"b": {"type": "int"}}}}"#, vec!["/a/arguments/b/type", "/a/arguments/b/type"]),
        (r##"{"a": {"arguments": {"b": {"$ref": "#"}}}}"##, vec!["/a/arguments/b"]),
        (r#"{"a": {"arguments": {"b": {"type": "integer", "default": "x"}}}}"#, vec!["/a/arguments/b/default"]),
        (r#"{"a": {"arguments": {"b": {"type": "string", "secret": true}}}}"#, vec!["/a/arguments/b"]),
        (r#"{"a": {"every": "1d", "arguments": {"b": {"required": true}}}}"#, vec!["/a/arguments/b/required"]),
        (r#"{"scale": {"arguments": {"b": {"required": true}}}}"#, vec!["/scale/arguments/b/required"]),
    ] {
        let faults = Actions::parse(text).unwrap_err();
        let found: Vec<&str> = faults.iter().map(|fault| fault.pointer.as_str()).collect();
        assert_eq!(found, pointers, "{text}: {faults:?}");
        assert!(faults.iter().all(|fault| !fault.detail.is_empty()));
    }
}

#[test]
fn hostile_documents_end_quickly() {
    let many: Map<String, Value> = (0..=COUNT_MAX).map(|number| (format!("a{number}"), json!({}))).collect();
    assert!(Actions::parse(&Value::Object(many).to_string()).is_err());
    assert!(Actions::parse(&"[".repeat(ACTIONS_MAX)).is_err());
    assert!(Actions::parse(&format!(r#"{{"a": {{"description": "{}"}}}}"#, "x".repeat(ACTIONS_MAX))).is_err());
    let pattern = r#"{"a": {"arguments": {"b": {"type": "string", "pattern": "^(a+)+$"}}}}"#;
    let declared = Actions::parse(pattern).unwrap();
    let sent = Map::from_iter([("b".to_owned(), json!(format!("{}!", "a".repeat(50_000))))]);
    assert!(declared.get("a").unwrap().arguments(&sent).is_err());
}

#[test]
fn arguments_are_checked_and_filled_in() {
    let text = r#"{"a": {"arguments": {"to": {"type": "string", "required": true}, "count": {"type": "integer",
        "minimum": 1, "default": 3}, "why": {"type": "string"}}}}"#;
    let actions = Actions::parse(text).unwrap();
    let given = |sent: Value| actions.get("a").unwrap().arguments(sent.as_object().unwrap());
    assert_eq!(Value::Object(given(json!({"to": "n1"})).unwrap()), json!({"to": "n1", "count": 3}));
    assert_eq!(given(json!({"to": "n1", "count": "5"})).unwrap()["count"], json!(5));
    let pointers = |sent: Value| given(sent).unwrap_err().into_iter().map(|fault| fault.pointer).collect::<Vec<_>>();
    assert_eq!(pointers(json!({"count": 1, "from": "x"})), ["/from", "/to"]);
    assert_eq!(pointers(json!({"to": [], "count": 0})), ["/to", "/count"]);
    assert_eq!(pointers(json!({"to": "x".repeat(70_000)})), [""]);
}

#[test]
fn options_say_how_often() {
    let actions =
        Actions::parse(r#"{"backup": {"changes": false, "every": "@{option:often}"}, "check": {"every": "30s"}}"#);
    let actions = actions.unwrap();
    assert_eq!(
        actions.options().map(|(name, key, option)| (name.as_str(), key, option)).collect::<Vec<_>>(),
        [("backup", "every", "often")]
    );
    let every = |value: Value| {
        let options = Map::from_iter([("often".to_owned(), value)]);
        actions.clone().resolve(&options).map(|actions| actions.0["backup"].every_ms())
    };
    assert_eq!(every(json!("1d")).unwrap(), Some(86_400_000));
    assert_eq!(every(json!(90)).unwrap(), Some(90_000));
    for never in [json!(""), json!(0), json!("0s"), json!(null), json!(false)] {
        assert_eq!(every(never).unwrap(), None);
    }
    for wrong in [json!("often"), json!(-1), json!(1.5), json!("1ms"), json!("999d"), json!([1]), json!(true)] {
        let faults = every(wrong).unwrap_err();
        assert_eq!(faults[0].pointer, "/often");
    }
    assert_eq!(actions.clone().resolve(&Map::new()).unwrap().0["check"].every_ms(), Some(30_000));
}

#[test]
fn options_say_how_many_backups_are_kept() {
    let text = r#"{"backup": {"changes": false, "every": "1d", "keep": "@{option:many}"}}"#;
    let actions = Actions::parse(text).unwrap();
    let named: Vec<_> = actions.options().map(|(name, key, option)| (name.as_str(), key, option)).collect();
    assert_eq!((named, actions.0["backup"].kept()), (vec![("backup", "keep", "many")], None));
    let stored: Actions = serde_json::from_value(serde_json::to_value(&actions).unwrap()).unwrap();
    assert_eq!(stored, actions);
    let kept = |value: Value| {
        let options = Map::from_iter([("many".to_owned(), value)]);
        actions.clone().resolve(&options).map(|actions| actions.0["backup"].kept())
    };
    assert_eq!((kept(json!(3)).unwrap(), kept(json!("14")).unwrap()), (Some(3), Some(14)));
    for all in [json!(""), json!(0), json!("0"), json!(null), json!(false)] {
        assert_eq!(kept(all).unwrap(), None);
    }
    for wrong in
        [json!("many"), json!(-1), json!(1.5), json!(10_001), json!(4_294_967_303_u64), json!([1]), json!(true)]
    {
        assert_eq!(kept(wrong).unwrap_err()[0].pointer, "/many");
    }
    // As revisions have it that were stored before an option could say it.
    let stored = json!({"backup": {"description": "", "users": true, "changes": false, "busy": "refuse",
        "deadline_ms": 1, "every": {"millis": 1}, "keep": 7}});
    assert_eq!(serde_json::from_value::<Actions>(stored).unwrap().0["backup"].kept(), Some(7));
}
