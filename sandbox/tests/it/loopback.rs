//! The source address of a command's connections.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    process::Command,
};

use bigdata_sandbox::{Capabilities, Profile, Spec};

use crate::{
    Test,
    support::{PATIENCE, Place, exited, program, skipped},
};

pub(crate) const TESTS: &[Test] = &[
    ("loopback connections come from the node's own address", connections_come_from_the_own_address),
    ("a socket that is bound keeps its address", a_bound_socket_keeps_its_address),
    ("a neighbour's address cannot be listened on", a_neighbours_address_cannot_be_had),
    ("connections elsewhere are left alone", connections_elsewhere_are_left_alone),
    ("a loopback source that cannot be had is named", a_source_that_cannot_be_had_is_named),
];

const OWN: Ipv4Addr = Ipv4Addr::new(127, 77, 0, 5);
const OTHER: Ipv4Addr = Ipv4Addr::new(127, 77, 0, 6);
const PYTHON: &str = "/usr/bin/python3";

fn is_possible() -> bool {
    let found = Capabilities::probe(&program()).unwrap().loopback_source;
    if !found.available {
        skipped(&found.explanation);
    }
    found.available
}

/// A command with an address of its own. `name` makes its control group's name.
fn with_own_address(mut spec: Spec, name: &str) -> Spec {
    spec.cgroup = Some(format!("bigdata-test-{name}-{}", std::process::id()));
    spec.loopback_source = Some(OWN);
    spec
}

/// The address that a listener at `target` sees when this command connects; `PORT` in it is the listener's.
fn seen_by(place: &Place, target: IpAddr, spec: &Spec) -> IpAddr {
    let listener = TcpListener::bind((target, 0)).unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let mut spec = spec.clone();
    spec.command.iter_mut().for_each(|word| *word = word.replace("PORT", &port));
    let (running, started) = place.started(&spec);
    assert!(!started.not_applied.iter().any(|note| note.contains("loopback")), "{:?}", started.not_applied);
    let ending = running.report().ending;
    assert_eq!(ending, exited(0), "{}", place.read("output"));
    // The connection was made, so it is there to be taken.
    listener.set_nonblocking(true).unwrap();
    let (_, client) = listener.accept().unwrap();
    client.ip()
}

fn connections_come_from_the_own_address() {
    if !is_possible() {
        return;
    }
    let place = Place::new();
    for (index, target) in [format!("{OTHER}:PORT"), format!("[::ffff:{OTHER}]:PORT")].iter().enumerate() {
        let spec = place.role(Profile::Workload, ["connect", target]);
        assert_eq!(seen_by(&place, OTHER.into(), &spec), Ipv4Addr::LOCALHOST, "the kernel's own choice is another");
        let spec = with_own_address(spec, &format!("source-{index}"));
        assert_eq!(seen_by(&place, OTHER.into(), &spec), OWN, "{target}");
    }
    // What it starts has the same source, whatever it is written in.
    if Command::new(PYTHON).arg("--version").output().is_ok() {
        let script = format!("import socket; socket.create_connection(('{OTHER}', PORT))");
        let inner = format!("setsid {PYTHON} -c \"{script}\"");
        let spec = with_own_address(place.shell(Profile::Workload, &inner), "source-inner");
        assert_eq!(seen_by(&place, OTHER.into(), &spec), OWN);
    }
}

fn a_bound_socket_keeps_its_address() {
    if !is_possible() {
        return;
    }
    if Command::new(PYTHON).arg("--version").output().is_err() {
        return skipped("there is no python3");
    }
    let place = Place::new();
    let bound = Ipv4Addr::LOCALHOST;
    // IP_BIND_ADDRESS_NO_PORT (24) leaves the socket without a port, which must not hide its address.
    for (index, option) in ["", "s.setsockopt(socket.IPPROTO_IP, 24, 1); "].iter().enumerate() {
        let script =
            format!("import socket; s = socket.socket(); {option}s.bind(('{bound}', 0)); s.connect(('{OTHER}', PORT))");
        let spec = place.spec(Profile::Workload, [PYTHON, "-c", &script]);
        let spec = with_own_address(spec, &format!("bound-{index}"));
        assert_eq!(seen_by(&place, OTHER.into(), &spec), bound, "{option}");
    }
}

fn a_neighbours_address_cannot_be_had() {
    if !is_possible() {
        return;
    }
    let place = Place::new();
    // Beyond 127, the last part is a sign to whoever compares badly.
    let far = Ipv4Addr::new(127, 77, 0, 250);
    let sockets = ["tcp", "udp"];
    let tried = |own: Ipv4Addr, address: &str| {
        let mut spec = with_own_address(place.role(Profile::Workload, ["bind", address]), "bind");
        spec.loopback_source = Some(own);
        assert_eq!(place.run(&spec).ending, exited(0));
        place.read("output")
    };
    for (own, address, outcome) in [
        (OWN, OTHER.to_string(), "refused 1"),
        (far, OTHER.to_string(), "refused 1"),
        (OWN, far.to_string(), "refused 1"),
        (OWN, format!("[::ffff:{OTHER}]"), "refused 1"),
        (OWN, OWN.to_string(), "allowed"),
        (far, far.to_string(), "allowed"),
        (OWN, format!("[::ffff:{OWN}]"), "allowed"),
        (OWN, "127.0.0.1".to_owned(), "allowed"),
        (OWN, "0.0.0.0".to_owned(), "allowed"),
        (OWN, "[::]".to_owned(), "allowed"),
    ] {
        let expected: String = sockets.iter().map(|socket| format!("{socket} {outcome}\n")).collect();
        assert_eq!(tried(own, &format!("{address}:0")), expected, "{own} at {address}");
    }
}

fn connections_elsewhere_are_left_alone() {
    if !is_possible() {
        return;
    }
    let place = Place::new();
    let local = with_own_address(place.role(Profile::Workload, ["connect", "127.0.0.1:PORT"]), "local");
    assert_eq!(seen_by(&place, Ipv4Addr::LOCALHOST.into(), &local), Ipv4Addr::LOCALHOST);
    // The address that packets to the world outside leave from; asking for it sends none.
    let probe = UdpSocket::bind("0.0.0.0:0").unwrap();
    match probe.connect("192.0.2.1:9").and_then(|()| probe.local_addr()) {
        Ok(outside) => {
            let role = place.role(Profile::Workload, ["connect", &format!("{}:PORT", outside.ip())]);
            let spec = with_own_address(role, "outside");
            assert_eq!(seen_by(&place, outside.ip(), &spec), outside.ip());
        }
        Err(error) => skipped(&format!("there is no network but loopback: {error}")),
    }
    if TcpListener::bind("[::1]:0").is_ok() {
        let spec = with_own_address(place.role(Profile::Workload, ["connect", "[::1]:PORT"]), "version-6");
        assert_eq!(seen_by(&place, "::1".parse().unwrap(), &spec), "::1".parse::<IpAddr>().unwrap());
    }
    let refused = SocketAddr::from((OTHER, 9)).to_string();
    let spec = with_own_address(place.role(Profile::Workload, ["connect", &refused]), "refused");
    assert_eq!(place.run(&spec).ending, exited(0));
    assert_eq!(place.read("output"), "refused 111\n", "a listener that is not there stays a refusal");
}

fn a_source_that_cannot_be_had_is_named() {
    let place = Place::new();
    let mut spec = place.role(Profile::Workload, ["connect", "127.0.0.1:9"]);
    spec.loopback_source = Some(OWN);
    let mut running = place.start(&spec);
    let started = running.control.started(PATIENCE).unwrap().unwrap();
    assert!(started.not_applied.concat().contains("loopback connections from 127.77.0.5"), "{:?}", started.not_applied);
    running.report();
}
