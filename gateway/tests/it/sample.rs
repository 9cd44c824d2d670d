//! Answers of the services, with texts among them that a page must not take for its own.

use bigdata_common::api::change::{BackupList, BackupView};
use bigdata_common::api::cluster::{
    ClusterEntry, ClusterView, EndpointList, EndpointView, EventList, EventView, LogLine, LogPage, NodeList, NodeView,
    OutputView, PhaseView, ServiceList, ServiceView,
};
use bigdata_common::api::explain::{AgentList, AgentView, Capacity, Explanation, NodeExplanation, Refusal};
use bigdata_common::api::operation::{OperationList, OperationView, StepView};
use bigdata_common::api::orphan::{Orphan, OrphanList};
use bigdata_common::api::product::{ProductList, ProductRights, ProductView};
use bigdata_common::container_options::ContainerRight;
use bigdata_common::event::Connect;
use bigdata_common::status::{ClusterStatus, Health, NodeStatus, OperationKind, OperationStatus, Termination};
use bigdata_common::{BackupId, ClusterDn, OperationId, Timestamp};
use serde_json::json;
use std::collections::BTreeMap;

/// The cluster that the samples tell most of.
pub(crate) const CLUSTER: &str = "clusters/local/mysql/8.0/1";
/// Its id.
pub(crate) const ID: &str = "clusters--local--mysql--8__0--1";
/// What somebody hostile writes wherever text is free.
pub(crate) const HOSTILE: &str = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>";
/// When the sample cluster was launched.
const START: i64 = 1_795_254_000_000;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(START + seconds * 1000)
}

fn cluster(dn: &str, status: ClusterStatus, phases: &[(ClusterStatus, i64)]) -> ClusterEntry {
    let dn: ClusterDn = dn.parse().unwrap();
    let mut before = phases[0].1;
    let phases = phases.iter().map(|(status, seconds)| {
        let took_ms = u64::try_from((seconds - before) * 1000).unwrap();
        before = *seconds;
        PhaseView { status: *status, at: at(*seconds), took_ms }
    });
    let data = ClusterView {
        name: format!("{}-{}", dn.product.name, dn.number),
        id: dn.clone().into(),
        status,
        reason: None,
        failed_during: None,
        health: if status == ClusterStatus::Ready { Health::Healthy } else { Health::Unknown },
        health_reasons: Vec::new(),
        health_observed_at: Some(at(300)),
        health_age_s: None,
        user: dn.user.clone(),
        product: dn.product.clone(),
        product_revision: "5f2b9c01d3aa77e2".to_owned(),
        options: json!({"size": 3, "root_password": "********", "comment": HOSTILE}).as_object().unwrap().clone(),
        termination: Termination::KeepData,
        nodes: 3,
        nodes_running: if status == ClusterStatus::Ready { 3 } else { 0 },
        phases: phases.collect(),
        created_at: at(0),
        operation: None,
        leftovers: Vec::new(),
        dn,
    };
    ClusterEntry { result: "success".to_owned(), uri: data.dn.to_string(), data }
}

pub(crate) fn clusters() -> Vec<ClusterEntry> {
    use ClusterStatus::{Configured, Configuring, Destroyed, Failed, Ready, Registered, Scheduled, Scheduling};
    let launch = [(Registered, 0), (Scheduling, 1), (Scheduled, 4), (Configuring, 5), (Configured, 42), (Ready, 44)];
    let mut first = cluster(CLUSTER, Ready, &launch);
    first.data.name = format!("mysql {HOSTILE}");
    first.data.health = Health::Degraded;
    first.data.health_reasons = vec![format!("db2 does not pass its check: connection refused {HOSTILE}")];
    let mut waiting = cluster("clusters/local/spark/3.5.1/7", Scheduling, &launch[..2]);
    waiting.data.reason = Some("no agent has 16 CPUs free; the nearest, a7, lacks 2".to_owned());
    let mut failed = cluster(
        "clusters/local/zookeeper/3.9/2",
        Failed,
        &[(Registered, 0), (Scheduling, 1), (Scheduled, 2), (Configuring, 3), (Failed, 63)],
    );
    failed.data.failed_during = Some(Configuring);
    failed.data.reason = Some("the script's start ended with exit code 1: zkServer.sh: no such file".to_owned());
    let destroyed = cluster(
        "clusters/local/mysql/8.0/0001".replace("0001", "9").as_str(),
        Destroyed,
        &[(Registered, 0), (Destroyed, 90)],
    );
    vec![first, waiting, failed, destroyed]
}

pub(crate) fn products() -> ProductList {
    let product = |name: &str, version: &str, description: &str, missing: &[&str], clusters| ProductView {
        dn: format!("products/{name}/{version}"),
        name: name.parse().unwrap(),
        version: version.parse().unwrap(),
        description: description.to_owned(),
        logo_url: String::new(),
        revision: "ab".to_owned(),
        missing: missing.iter().map(ToString::to_string).collect(),
        clusters,
        container_rights: ProductRights {
            needed: ContainerRight::ALL.into(),
            given: [ContainerRight::HostMounts].into(),
            by: Some("ops".parse().unwrap()),
            at: Some(Timestamp::from_millis(START)),
            lapsed_at: None,
        },
    };
    let entries = vec![
        product("mysql", "8.0", HOSTILE, &[], 1),
        product("spark", "3.5.1", "Apache Spark with one master and as many workers as you like", &[], 4),
        product("zookeeper", "3.9", "Apache ZooKeeper ensemble", &["options", "orchestrator"], 0),
    ];
    ProductList { products: entries.iter().map(|entry| entry.name.clone()).collect(), entries }
}

pub(crate) fn nodes() -> NodeList {
    let node = |name: &str, status, health, reason: Option<&str>| NodeView {
        dn: format!("{CLUSTER}/nodes/{name}"),
        name: name.parse().unwrap(),
        cpu: 2.0,
        mem: 4096,
        host: "agent-7.example".to_owned(),
        status,
        health,
        address: "127.64.0.3".to_owned(),
        ports: [("mysql".parse().unwrap(), 3306)].into_iter().collect(),
        attempt: 1,
        restarts: 2,
        reason: reason.map(str::to_owned),
        last_lines: reason
            .map(|_| vec!["[ERROR] InnoDB: cannot open ibdata1".to_owned(), HOSTILE.to_owned()])
            .unwrap_or_default(),
        observed_at: Some(at(300)),
        observed_age_s: None,
        leaving: false,
        disks: Vec::new(),
        networks: Vec::new(),
    };
    let refused = Some("connection refused on port 3306");
    NodeList {
        nodes: vec![
            node("db0", NodeStatus::Running, Health::Healthy, None),
            node("db1", NodeStatus::Running, Health::Healthy, None),
            node("db2", NodeStatus::Failed, Health::Unavailable, refused),
        ],
    }
}

pub(crate) fn services() -> ServiceList {
    let properties = json!({"replication": "gtid", "note": HOSTILE}).as_object().unwrap().clone();
    let nodes = ["db0", "db1", "db2"].map(|name| name.parse().unwrap()).to_vec();
    let service = ServiceView {
        dn: format!("{CLUSTER}/services/mysql"),
        name: "mysql".parse().unwrap(),
        status: "degraded".to_owned(),
        nodes,
        properties,
    };
    ServiceList { services: vec![service] }
}

pub(crate) fn endpoints() -> EndpointList {
    let endpoint = |name: &str, role: &str, url: &str| EndpointView {
        name: name.to_owned(),
        role: role.to_owned(),
        url: url.to_owned(),
        connect: (role == "writer").then(|| Connect {
            command: vec!["mariadb".to_owned(), "--host=127.64.0.3".to_owned()],
            env: [("MYSQL_PWD".to_owned(), "@{secret:password}".to_owned())].into(),
        }),
        line: (role == "writer").then(|| "MYSQL_PWD=… mariadb --host=127.64.0.3".to_owned()),
    };
    EndpointList {
        endpoints: vec![
            endpoint("sql", "writer", "mysql://127.64.0.3:3306/"),
            endpoint("console", "web", "http://127.64.0.3:8080/"),
            endpoint("trap", "web", "javascript:alert(3)"),
        ],
        outputs: vec![OutputView { name: "root_password".to_owned(), value: "********".to_owned(), secret: true }],
    }
}

pub(crate) fn operations() -> OperationList {
    let id = OperationId("0193b5a0-5b7c-7c3e-9d3a-3a7b5f1e2d4c".parse().unwrap());
    let step = StepView {
        name: "configuring".to_owned(),
        status: OperationStatus::Succeeded,
        started_at: Some(at(5)),
        ended_at: Some(at(42)),
        percent: Some(100),
        message: None,
    };
    let launch = OperationView {
        action: None,
        node: None,
        cause: None,
        retry_of: None,
        id,
        kind: OperationKind::Launch,
        cluster: CLUSTER.parse().unwrap(),
        status: OperationStatus::Succeeded,
        steps: vec![step],
        error: None,
        created_at: at(0),
        ended_at: Some(at(44)),
        deadline: None,
        url: format!("/bigdata/api/v1/operations/{id}"),
    };
    let failover = OperationView {
        action: Some("node-lost".to_owned()),
        cause: Some("node-lost: node1 failed".to_owned()),
        retry_of: Some(id),
        kind: OperationKind::Action,
        ..launch.clone()
    };
    OperationList { operations: vec![failover, launch], next: None }
}

pub(crate) fn backups() -> BackupList {
    let backup = BackupView {
        id: BackupId("0193b5a0-5b7c-7c3e-9d3a-3a7b5f1e2d4d".parse().unwrap()),
        cluster: CLUSTER.parse().unwrap(),
        version: "8".parse().unwrap(),
        label: "full".to_owned(),
        size: 24 << 20,
        sha256: "0".repeat(64),
        at: at(60),
        cause: "every 1d".to_owned(),
    };
    BackupList { backups: vec![backup], next: None }
}

pub(crate) fn events() -> EventList {
    let event = |sequence, kind: &str, status, node: Option<&str>, message: &str| EventView {
        sequence,
        at: at(i64::try_from(sequence).unwrap() * 6),
        kind: kind.to_owned(),
        status,
        node: node.map(|node| node.parse().unwrap()),
        message: message.to_owned(),
    };
    EventList {
        events: vec![
            event(1, "status", ClusterStatus::Registered, None, "accepted"),
            event(2, "placement", ClusterStatus::Scheduling, None, "3 nodes look for a place"),
            event(3, "node", ClusterStatus::Scheduling, Some("db0"), "runs on agent-7.example"),
            event(4, "run", ClusterStatus::Configuring, None, "the script's start has begun"),
            event(5, "status", ClusterStatus::Ready, None, "every node passes its checks"),
            event(6, "node", ClusterStatus::Ready, Some("db2"), HOSTILE),
        ],
        next: None,
    }
}

pub(crate) fn log() -> LogPage {
    let lines = [
        ("platform", "run of start, attempt 1"),
        ("stdout", "waiting for mysqld on db0 ... ok"),
        ("stdout", "creating the replication user"),
        ("stderr", "Warning: a password on the command line can be seen by others"),
        ("stdout", HOSTILE),
        ("stdout", "db1 and db2 follow db0"),
    ];
    let line = |(index, (stream, line)): (usize, &(&str, &str))| LogLine {
        sequence: index as u64 + 1,
        at: at(6 + index as i64),
        action: "start".to_owned(),
        stream: (*stream).to_owned(),
        line: (*line).to_owned(),
    };
    LogPage { lines: lines.iter().enumerate().map(line).collect(), next: None, running: Some(true) }
}

pub(crate) fn agents() -> AgentList {
    let agent = |host: &str, used: f64| AgentView {
        id: format!("{host}-s0"),
        host: host.to_owned(),
        attributes: BTreeMap::from([("rack".to_owned(), "r1".to_owned()), ("note".to_owned(), HOSTILE.to_owned())]),
        total: Capacity { cpus: 16.0, mem: 65_536.0, disk: 2_000_000.0 },
        used: Capacity { cpus: 16.0 * used, mem: 65_536.0 * used, disk: 120_000.0 },
        nodes: 4,
        seen_at: at(298),
    };
    AgentList { agents: vec![agent("agent-1.example", 0.25), agent("agent-7.example", 0.9)] }
}

pub(crate) fn explanation() -> Explanation {
    let refusals = vec![Refusal { reason: "cpu".to_owned(), agents: 3, nearest: "agent a7 lacks 2 CPUs".to_owned() }];
    Explanation {
        cluster: CLUSTER.parse().unwrap(),
        summary: "1 of 3 nodes has no place: every agent lacks CPUs".to_owned(),
        waiting_since: Some(at(1)),
        deadline: Some(at(900)),
        nodes: vec![NodeExplanation {
            node: "db2".parse().unwrap(),
            needs: "16 CPUs, 4096 MiB memory".to_owned(),
            refusals,
        }],
    }
}

pub(crate) fn orphans() -> OrphanList {
    let orphan = |kind: &str, agent: Option<&str>| Orphan {
        kind: kind.to_owned(),
        id: format!("a-{kind}"),
        agent: agent.map(str::to_owned),
        host: agent.map(|agent| format!("{agent}.example")),
        reason: "it carries no registry's label".to_owned(),
    };
    OrphanList { orphans: vec![orphan("task", None), orphan("volume", Some("a7"))] }
}
