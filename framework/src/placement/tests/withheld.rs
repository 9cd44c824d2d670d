//! What an agent offers that is reserved for others: the reason is whose it is, and not that the agent has too little.

use super::{board, candidate, place, usual};
use bigdata_common::api::explain::Refusal;
use bigdata_mesos::v1::{DiskInfo, DiskSource, Labels, ReservationInfo, Resource};
use serde_json::{Value, json};

/// Of a role above ours; Mesos has static ones as well as dynamic ones.
fn of_role(resource: Resource, role: &str) -> Resource {
    resource.reserved(ReservationInfo::dynamic(role, None, None))
}

fn labelled(resource: Resource, labels: &[(&str, &str)]) -> Resource {
    let labels = Labels::from_iter(labels.iter().copied());
    resource.reserved(ReservationInfo::dynamic("bigdata", None, Some(labels)))
}

fn registry(resource: Resource, registry: &str) -> Resource {
    let labels = [("bigdata_registry", registry), ("bigdata_cluster", "c"), ("bigdata_node", "n")];
    labelled(resource, &labels)
}

/// What is told of a node `{"cpu": 1.0, "mem": 100, …}` that these resources do not do for.
fn refusals(resources: Vec<Resource>, more: &Value) -> Vec<Refusal> {
    let mut node = json!({"cpu": 1.0, "mem": 100, "command": "run"});
    node.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let mut board = board(vec![candidate("near", None, resources)]);
    place(&mut board, json!({"n": node})).unwrap_err().remove(0).refusals
}

/// As usual, but of `name` as here.
fn with(name: &str, others: impl IntoIterator<Item = Resource>) -> Vec<Resource> {
    usual().into_iter().filter(|entry| entry.name != name).chain(others).collect()
}

fn mounted(size: f64) -> Resource {
    const MOUNT: i32 = 2;
    let source = Some(DiskSource { r#type: MOUNT, ..DiskSource::default() });
    let disk = Some(Box::new(DiskInfo { source, ..DiskInfo::default() }));
    Resource { disk, ..Resource::scalar("disk", size) }
}

#[test]
fn what_is_reserved_for_others_is_the_reason_where_it_would_do() {
    let (cpus, mem) = (|amount: f64| Resource::scalar("cpus", amount), |amount: f64| Resource::scalar("mem", amount));
    let space = |amount: f64| Resource::scalar("disk", amount);
    let disk =
        |kind: &str| json!({"disks": {"d": {"destination": "/d", "size": 500, "persistent": true, "type": kind}}});
    let port = |fixed: bool| json!({"ports": {"p": {"port": 80, "fixed": fixed}}});
    for (resources, more, words) in [
        (
            with("cpus", [cpus(0.5), of_role(cpus(3.5), "batch")]),
            json!({}),
            "agent near lacks 0.6 CPUs, and has reserved 3.5 for the role batch",
        ),
        (
            with("mem", [registry(mem(100.0), "another"), registry(mem(50.0), "r")]),
            json!({}),
            "agent near lacks 132 MiB of memory, and has reserved 50 for another node and 100 for the registry another",
        ),
        (
            with("disk", [space(100.0), labelled(space(400.0), &[("team", "x")])]),
            disk("volume"),
            "agent near lacks 400 MiB of disk, and has reserved 400 for others, with the labels team=x",
        ),
        (
            with("disk", [registry(mounted(600.0), "another")]),
            disk("whole"),
            "agent near has no whole disk of 500 MiB free; it has reserved 600 for the registry another",
        ),
        (
            with("ports", [Resource::ports([(31000, 31001)]), of_role(Resource::ports([(70, 90)]), "web")]),
            port(true),
            "agent near does not offer port 80 (p), which is fixed; port 80 is reserved for the role web",
        ),
        (
            with("ports", [Resource::ports([(31000, 31000)]), of_role(Resource::ports([(70, 90)]), "web")]),
            port(false),
            "agent near offers no port for p; port 70 is reserved for the role web",
        ),
    ] {
        let refused = refusals(resources, &more);
        let expected = Refusal { reason: "role".to_owned(), agents: 1, nearest: words.to_owned() };
        assert_eq!(refused, [expected], "{more}");
    }
}

#[test]
fn an_agent_that_has_too_little_even_so_lacks_it() {
    let cpus = |amount: f64| Resource::scalar("cpus", amount);
    for (resources, more, reason) in [
        (with("cpus", [cpus(0.5), of_role(cpus(0.5), "batch")]), json!({}), "cpu"),
        // What is used of a disk by somebody's volume is nobody's to take.
        (
            with("disk", [registry(Resource::scalar("disk", 900.0), "another").persistent("v", None, "data")]),
            json!({"disks": {"d": {"destination": "/d", "size": 500, "persistent": true, "type": "volume"}}}),
            "disk",
        ),
        (
            with("ports", [Resource::ports([(31000, 31001)]), of_role(Resource::ports([(81, 90)]), "web")]),
            json!({"ports": {"p": {"port": 80, "fixed": true}}}),
            "port",
        ),
    ] {
        let refused = refusals(resources, &more);
        assert_eq!(refused[0].reason, reason, "{refused:?}");
    }
}

#[test]
fn each_agent_is_counted_for_one_reason() {
    let cpus = |amount: f64| Resource::scalar("cpus", amount);
    // At a glance the first has CPUs and lacks memory.
    let held = vec![of_role(cpus(4.0), "batch"), Resource::scalar("mem", 10.0)];
    let small = vec![cpus(0.3), Resource::scalar("mem", 1000.0)];
    let mut board = board(vec![candidate("held", None, held), candidate("small", None, small)]);
    let refused = place(&mut board, json!({"n": {"cpu": 1.0, "mem": 100, "command": "run"}})).unwrap_err();
    let counted: Vec<(&str, u32)> =
        refused[0].refusals.iter().map(|refusal| (refusal.reason.as_str(), refusal.agents)).collect();
    assert_eq!(counted, [("cpu", 1), ("role", 1)]);
}
