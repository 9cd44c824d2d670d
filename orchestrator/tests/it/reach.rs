//! What scripts do through their socket.

use crate::Test;
use crate::support::{World, block_on};
use bigdata_common::event::{EndpointRole, Event, Output, RunResult};

pub(crate) const TESTS: &[Test] = &[
    ("progress and outputs are told", progress_and_outputs),
    ("nodes are reached through the gateway as the owner", nodes),
    ("a secret option's new value goes to the registry", rotated),
    ("what is not the script's is refused", refused),
];

fn progress_and_outputs() {
    block_on(async {
        let world = World::new(|_| {}).await;
        let script = r#"#!/bin/sh
bigdata role call POST /v1/progress '{"percent":40,"message":"half of hunter2-canary"}'
bigdata role call POST /v1/output '{"key":"url","value":"http://127.64.0.1/","endpoint":"web"}'
bigdata role call POST /v1/output '{"key":"admin","value":"secret-of-script","secret":true,"endpoint":null}'
echo printed secret-of-script
"#;
        let (cluster, result) = world.run(script).await;
        assert_eq!(result, RunResult::Succeeded {});
        assert_eq!(world.output(&cluster).await, ["204 ", "204 ", "204 ", "printed ********"]);
        let told: Vec<Event> = world.events();
        let progress = told.iter().find_map(|event| match event {
            Event::RunProgress { percent, message, .. } => Some((*percent, message.as_str())),
            _ => None,
        });
        assert_eq!(progress, Some((40, "half of ********")));
        let outputs: Vec<&Output> = told
            .iter()
            .filter_map(|event| match event {
                Event::RunOutput { output, .. } => Some(output),
                _ => None,
            })
            .collect();
        let url = Output {
            key: "url".into(),
            value: Some("http://127.64.0.1/".into()),
            secret: false,
            endpoint: Some(EndpointRole { role: "web".into(), connect: None }),
        };
        let admin = Output { key: "admin".into(), value: None, secret: true, endpoint: None };
        assert_eq!(outputs, [&url, &admin, &admin, &url], "the run's end tells them once more");
        let log = serde_json::to_string(&world.log(&cluster).await).unwrap();
        assert!(log.contains("endpoint url = http://127.64.0.1/") && !log.contains("secret-of-script"), "{log}");
        let listed: Vec<Output> =
            world.client().get(&format!("/internal/v1/clusters/{cluster}/outputs")).await.unwrap();
        let admin = Output { value: Some("secret-of-script".into()), ..admin };
        assert_eq!(listed, [admin, url]);
        world.end().await;
    });
}

fn rotated() {
    block_on(async {
        let world = World::new(|_| {}).await;
        let script = r#"#!/bin/sh
bigdata role call POST /v1/output '{"key":"password","value":"rotated-canary","secret":true}'
bigdata role call POST /v1/output '{"key":"password","value":"open"}'
bigdata role call POST /v1/output '{"key":"token","value":"another-canary","secret":true}'
"#;
        let (cluster, result) = world.run(script).await;
        assert_eq!(result, RunResult::Succeeded {});
        assert_eq!(world.output(&cluster).await, ["204 ", "204 ", "204 "]);
        let known = world.surroundings.clusters.lock().unwrap()[&cluster.to_string()].secrets.clone();
        assert_eq!(serde_json::to_value(known).unwrap(), serde_json::json!({"password": "rotated-canary"}));
        let log = serde_json::to_string(&world.log(&cluster).await).unwrap();
        assert!(!log.contains("-canary"), "{log}");
        world.end().await;
    });
}

fn nodes() {
    block_on(async {
        let world = World::new(|_| {}).await;
        let script = r#"#!/bin/sh
bigdata role call POST /v1/nodes/mysql0/exec '{"command":["id"]}'
bigdata role put '/v1/nodes/mysql0/files?path=conf%2Fmy.cnf&mode=600&late=true' 5000000
bigdata role call GET '/v1/nodes/mysql1/files?path=data'
bigdata role call POST /v1/nodes/mysql0/start
bigdata role call GET /v1/nodes/mysql1/health
"#;
        let (cluster, result) = world.run(script).await;
        assert_eq!(result, RunResult::Succeeded {});
        let output = world.output(&cluster).await;
        assert_eq!(output[0..2], [r#"200 {"stdout":"aGk="}"#, r#"{"exit":3}"#]);
        assert_eq!(
            output[2..],
            [r#"200 {"length":5000000}"#, r#"200 {"length":0}"#, r#"200 {"length":0}"#, r#"200 {"length":0}"#]
        );
        let prefix = "/bigdata/api/v1/clusters/ann/mysql/8.0/1/nodes";
        let forwarded = world.surroundings.forwarded.lock().unwrap().clone();
        let heads: Vec<(String, String)> = forwarded
            .iter()
            .map(|(method, address, user, _)| {
                assert_eq!(user, "ann");
                (method.clone(), address.strip_prefix(prefix).unwrap().to_owned())
            })
            .collect();
        let expected = [
            ("POST", "/mysql0/exec"),
            ("PUT", "/mysql0/files?path=conf%2Fmy.cnf&mode=600&late=true"),
            ("GET", "/mysql1/files?path=data"),
            ("POST", "/mysql0/start"),
            ("GET", "/mysql1/health"),
        ];
        assert_eq!(heads, expected.map(|(method, address)| (method.to_owned(), address.to_owned())));
        assert_eq!(forwarded[0].3, br#"{"command":["id"]}"#);
        world.end().await;
    });
}

fn refused() {
    block_on(async {
        let world = World::new(|_| {}).await;
        let script = r#"#!/bin/sh
bigdata role call-as wrong GET /v1/cluster | cut -c1-3
for path in /v1/nodes/../x/exec /v1/nodes/%2e%2e/exec /v1/nodes/mysql0/destroy /v1/nodes/a--b/exec /internal/v1/clusters; do
  bigdata role call POST $path | cut -c1-3
done
bigdata role call POST /v1/progress '{"percent":101}' | cut -c1-3
bigdata role call POST /v1/progress 'nonsense' | cut -c1-3
bigdata role call POST /v1/output '{"key":"a b","value":""}' | cut -c1-3
bigdata role call POST /v1/output '{"key":"a","value":"","other":1}' | cut -c1-3
"#;
        let (cluster, result) = world.run(script).await;
        assert_eq!(result, RunResult::Succeeded {});
        let output = world.output(&cluster).await;
        assert_eq!(output, ["401", "404", "404", "404", "404", "404", "400", "400", "400", "400"]);
        assert!(world.surroundings.forwarded.lock().unwrap().is_empty());
        world.end().await;
    });
}
