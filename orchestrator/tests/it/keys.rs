//! The older system's keys, as a script finds them by `REGISTRY`.

use crate::Test;
use crate::support::{World, block_on, until};
use bigdata_common::event::{Event, RunResult};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpStream;

pub(crate) const TESTS: &[Test] = &[
    ("the older keys are read by the address alone", read),
    ("how far a script is can be written, and nothing else", written),
    ("other clusters are not there", others),
    ("the port is the script's alone and ends with it", port),
    ("a fabfile is told in the words of the older system", fabfile),
];

/// What a script is answered that has the network only where it is the second cluster's: of each line status, index and body.
async fn answers(world: &World, number: u32, script: &str) -> Vec<(u16, String, String)> {
    let cluster = world.cluster(number, script);
    world.change(&cluster, |it| it.specification.reach_network = number == 2);
    let operation = world.want(&cluster, "start", true, 60_000).await;
    assert_eq!(world.ended(operation).await, RunResult::Succeeded {}, "{:?}", world.output(&cluster).await);
    let answer = |line: &String| {
        let mut parts = line.splitn(3, ' ').map(str::to_owned);
        (parts.next().unwrap().parse().unwrap(), parts.next().unwrap(), parts.next().unwrap())
    };
    world.output(&cluster).await.iter().map(answer).collect()
}

fn read() {
    block_on(async {
        let world = World::new(|_| {}).await;
        let script = r#"#!/bin/sh
bigdata role keys GET $CLUSTERDN/nodes/mysql0/status
bigdata role keys GET $CLUSTERDN/nodes/mysql0/networks/eth0/address?raw
bigdata role keys GET $CLUSTERDN/services?recurse=true
bigdata role keys GET "$CLUSTERDN/?keys&separator=/"
bigdata role keys GET clusters%2F${CLUSTERDN#clusters/}/services/writer/at?raw=1
bigdata role keys GET $CLUSTERDN/nodes/mysql0/none
bigdata role keys GET products/mysql/8.0/name?raw
bigdata role keys GET $CLUSTERDN?raw\&recurse
bigdata role keys GET ''
bigdata role keys POST $CLUSTERDN/status
"#;
        for number in [1, 2] {
            let answers = answers(&world, number, script).await;
            let statuses: Vec<u16> = answers.iter().map(|(status, ..)| *status).collect();
            assert_eq!(statuses, [200, 200, 200, 200, 200, 404, 200, 400, 400, 405]);
            assert_eq!(
                answers[0].2,
                format!(
                    "[{{\"LockIndex\":0,\"Key\":\"clusters/ann/mysql/8.0/{number}/nodes/mysql0/status\",\"Flags\":0,\
                     \"Value\":\"cnVubmluZw==\",\"CreateIndex\":1,\"ModifyIndex\":1}}]"
                )
            );
            assert_eq!((answers[1].2.as_str(), answers[4].2.as_str()), ("127.64.0.1", "127.64.0.1"));
            let services: Value = serde_json::from_str(&answers[2].2).unwrap();
            let keys: Vec<&str> = services.as_array().unwrap().iter().map(|it| it["Key"].as_str().unwrap()).collect();
            let writer = |key: &str| format!("clusters/ann/mysql/8.0/{number}/services/writer/{key}");
            assert_eq!(keys, ["at", "name", "nodes/mysql0"].map(writer));
            assert_eq!(services[2]["Value"], Value::Null, "an empty value is none");
            let below: Vec<String> = serde_json::from_str(&answers[3].2).unwrap();
            let expected = ["dnsname", "nodes/", "progress", "services/", "status", "step"];
            assert_eq!(below, expected.map(|key| format!("clusters/ann/mysql/8.0/{number}/{key}")));
            assert_eq!((answers[5].1.as_str(), answers[5].2.as_str()), ("1", ""), "what is missing has an index, too");
            assert_eq!(answers[6].2, "mysql");
        }
        world.end().await;
    });
}

fn written() {
    block_on(async {
        let world = World::new(|_| {}).await;
        let script = r#"#!/bin/sh
bigdata role keys PUT $CLUSTERDN/progress 40
bigdata role keys PUT $CLUSTERDN/status running
bigdata role keys PUT $CLUSTERDN/services/writer/status 'up with hunter2-canary'
bigdata role keys PUT $CLUSTERDN/nodes/mysql0/status configured
bigdata role keys GET $CLUSTERDN/progress?raw
bigdata role keys GET $CLUSTERDN/services/writer/status?raw
bigdata role keys GET $CLUSTERDN/status?raw
bigdata role keys GET $CLUSTERDN/nodes/mysql0/status?raw
bigdata role keys PUT $CLUSTERDN/nodes/mysql0/host elsewhere
bigdata role keys PUT $CLUSTERDN/progress most
bigdata role keys PUT $CLUSTERDN/status?cas=1 running
bigdata role keys DELETE $CLUSTERDN/status
"#;
        let answers = answers(&world, 1, script).await;
        let statuses: Vec<u16> = answers.iter().map(|(status, ..)| *status).collect();
        assert_eq!(statuses, [200, 200, 200, 200, 200, 200, 200, 200, 403, 400, 400, 403]);
        let bodies: Vec<&str> = answers[..8].iter().map(|(.., body)| body.as_str()).collect();
        let read = ["40", "up with ********", "configuring", "running"];
        assert_eq!(bodies, [&["true"; 4][..], &read[..]].concat(), "states are the platform's");
        assert!(answers[8].2.contains("nodes/mysql0/host cannot be written") && answers[8].2.contains("BD0022"));
        let progress = world.events().into_iter().find_map(|event| match event {
            Event::RunProgress { percent, .. } => Some(percent),
            _ => None,
        });
        assert_eq!(progress, Some(40));
        let cluster = "clusters--ann--mysql--8__0--1".parse().unwrap();
        let log = world.log(&cluster).await;
        for line in [
            "40 %",
            "the script says: status is running",
            "the script says: services/writer/status is up with ********",
            "the script says: nodes/mysql0/status is configured",
        ] {
            assert!(log.iter().any(|it| it.stream == "platform" && it.line == line), "{line}: {log:?}");
        }
        let refused = |it: &str| it.contains("/nodes/mysql0/host cannot be written") && it.contains("bigdata output");
        assert!(log.iter().any(|it| it.stream == "platform" && refused(&it.line)), "older clients show no reason");
        world.end().await;
    });
}

fn others() {
    block_on(async {
        let world = World::new(|_| {}).await;
        world.cluster(2, "");
        let script = r#"#!/bin/sh
bigdata role keys GET clusters/ann/mysql/8.0/2/status
bigdata role keys GET clusters/ann/mysql/8.0/2?recurse
bigdata role keys GET clusters/bob?recurse
bigdata role keys PUT clusters/ann/mysql/8.0/2/status running
bigdata role keys GET $CLUSTERDN/../2/status
bigdata role keys GET "?keys&separator=status"
"#;
        let answers = answers(&world, 1, script).await;
        let statuses: Vec<u16> = answers.iter().map(|(status, ..)| *status).collect();
        assert_eq!(statuses, [404, 404, 404, 403, 404, 200]);
        assert!(answers[5].2.contains("/8.0/1/") && !answers[5].2.contains("/8.0/2/"), "{}", answers[5].2);
        let with_the_wrong_token = "#!/bin/sh\nbigdata role call GET /run/x/v1/kv/$CLUSTERDN/status | cut -c1-3\n\
            bigdata role call-as x GET /v1/kv/$CLUSTERDN/status | cut -c1-3\n\
            bigdata role call GET /v1/kv/$CLUSTERDN/status?raw\n";
        let cluster = world.cluster(3, with_the_wrong_token);
        let operation = world.want(&cluster, "start", true, 60_000).await;
        world.ended(operation).await;
        assert_eq!(world.output(&cluster).await, ["401", "401", "200 configuring"]);
        world.end().await;
    });
}

fn port() {
    block_on(async {
        let world = World::new(|_| {}).await;
        // It waits for a change of what it has seen: the test changes that once the script has looked.
        let script = "#!/bin/sh\nbigdata role keys GET \"$CLUSTERDN/dnsname?raw\" >/dev/null\necho \"at $REGISTRY\"\n\
                      echo \"waited $(bigdata role keys GET \"$CLUSTERDN/dnsname?raw&index=1&wait=10m\")\"\n";
        let cluster = world.cluster(1, script);
        world.change(&cluster, |it| it.specification.reach_network = true);
        let operation = world.want(&cluster, "start", true, 60_000).await;
        let address = world.line(&cluster, "at http://").await;
        let (address, path) = address.split_once('/').unwrap();
        assert_eq!(path, "run/********/v1/kv", "the token is a secret");
        let asked = ask_as_a_stranger(address).unwrap();
        let is_another_user = nix::unistd::geteuid().is_root();
        assert!(if is_another_user { asked.is_empty() } else { asked.starts_with("HTTP/1.1 401") }, "{asked}");
        world.change(&cluster, |it| it.specification.blueprint.dnsname = "another".to_owned());
        assert_eq!(world.ended(operation).await, RunResult::Succeeded {});
        assert_eq!(world.line(&cluster, "waited ").await, "200 2 another");
        until("the port is closed", async || TcpStream::connect(address).is_err().then_some(())).await;
        world.end().await;
    });
}

/// What a process of the test's own user is answered without a token.
fn ask_as_a_stranger(address: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    // Where it is shut out, the connection may be closed before this is sent.
    let _ = stream.write_all(b"GET /v1/kv/?recurse HTTP/1.1\r\nHost: run\r\nConnection: close\r\n\r\n");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn fabfile() {
    block_on(async {
        let world = World::new(|_| {}).await;
        if !std::path::Path::new("/usr/bin/fab").exists() && !std::path::Path::new("/usr/local/bin/fab").exists() {
            let (_, result) = world.run("from fabric.api import run\n").await;
            let RunResult::Failed { reason } = result else { panic!("{result:?}") };
            assert!(reason.contains("`fab` of Fabric 1 is not installed here"), "{reason}");
            return world.end().await;
        }
        let script = "import os\nfrom fabric.api import task\n\n\n@task\ndef start():\n    \
                      print('told %s %s' % (os.environ['INSTANCE'], os.environ['NOOP']))\n";
        let cluster = world.cluster(1, script);
        world.change(&cluster, |it| drop(it.specification.options.insert("NOOP".to_owned(), 1.into())));
        let operation = world.want(&cluster, "start", true, 60_000).await;
        assert_eq!(world.ended(operation).await, RunResult::Succeeded {});
        assert_eq!(world.line(&cluster, "told ").await, "clusters/ann/mysql/8.0/1 1");
        let operation = world.want(&cluster, "destroy", false, 60_000).await;
        assert_eq!(world.ended(operation).await, RunResult::Absent {});
        world.end().await;
    });
}
