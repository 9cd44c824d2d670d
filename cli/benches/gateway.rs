//! The status of a cluster through the gateway, and through nginx in front of the same registry, in one run:
//!
//!     cargo bench -p bigdata-cli --bench gateway [-- CONNECTIONS]
//!
//! nginx (Debian's, with as many workers as the gateway) sets the headers that the gateway sets, and keeps its
//! connections as the gateway does. Both are asked in turns by the same closed-loop client, CONNECTIONS (16) at a time;
//! the ratio is the median of the rounds'. The registry itself is asked, too: what the hop is measured against.

mod load;
#[allow(dead_code, reason = "the other bench uses the rest of it")]
mod support;

use load::{Figures, Target};
use serde_json::Value;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use support::Platform;

/// How often everybody is asked in turn.
const ROUNDS: usize = 7;
/// How long one turn takes.
const TURN: Duration = Duration::from_secs(2);
/// The longest wait for nginx.
const LIMIT: Duration = Duration::from_secs(10);

fn main() {
    let connections = std::env::args().filter_map(|argument| argument.parse().ok()).next().unwrap_or(16);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let platform = Platform::start(folder.path());
    let dn = platform.launch(1);
    platform.wait(&dn, "ready");

    let url = platform.url(&dn);
    let (gateway, path) = url.strip_prefix("http://").and_then(|rest| rest.split_once('/')).expect("a plain URL");
    let gateway: SocketAddr = gateway.parse().expect("the platform listens on an address");
    let registry = registry(folder.path());
    let token = std::fs::read_to_string(folder.path().join("internal.token")).expect("the internal token");
    let headers = format!(
        "Authorization: Bearer {}\r\nx-bigdata-user: local\r\nx-bigdata-roles: user,publisher,admin\r\n",
        token.trim()
    );
    let nginx = Nginx::start(folder.path(), registry, token.trim());
    let targets = [
        Target::new("the gateway", gateway, path, ""),
        Target::new("nginx", nginx.address, path, ""),
        Target::new("the registry itself", registry, path, &headers),
    ];
    for connections in [1, connections] {
        compare(&targets, connections);
    }
}

/// Asks everybody in turns, and prints a line for each.
fn compare(targets: &[Target; 3], connections: usize) {
    for target in targets {
        load::run(target, connections, TURN / 4);
    }
    let rounds: Vec<[Figures; 3]> =
        (0..ROUNDS).map(|_| targets.each_ref().map(|target| load::run(target, connections, TURN))).collect();
    println!("GET status, {connections} at a time, median of {ROUNDS} rounds:");
    for (position, target) in targets.iter().enumerate() {
        let of = |figure: fn(&Figures) -> f64| middle(rounds.iter().map(|round| figure(&round[position])).collect());
        println!(
            "  {:20} {:>8.0} requests/s, p50 {:.2} ms, p99 {:.2} ms",
            target.name,
            of(|figures| figures.per_second),
            of(|figures| figures.p50_ms),
            of(|figures| figures.p99_ms)
        );
    }
    let ratio =
        |other: usize| middle(rounds.iter().map(|round| round[0].per_second / round[other].per_second).collect());
    println!("  the gateway: {:.2} of nginx, {:.2} of the registry itself", ratio(1), ratio(2));
}

fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Where the platform's registry listens: its port is in the data directory, its address in the kernel's table.
fn registry(folder: &Path) -> SocketAddr {
    let text = std::fs::read(folder.join("ports.json")).expect("the platform has written its ports");
    let ports: Value = serde_json::from_slice(&text).expect("they are JSON");
    let port = ports["registry"].as_u64().and_then(|port| u16::try_from(port).ok()).expect("the registry's port");
    let table = std::fs::read_to_string("/proc/net/tcp").expect("the kernel's table of sockets");
    let listening = table.lines().filter_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let (local, state) = (words.next()?, words.nth(1)?);
        let (address, port) = local.split_once(':')?;
        // The address stands in the machine's order of bytes (proc_pid_net(5)); 0A is LISTEN.
        let address = Ipv4Addr::from(u32::from_str_radix(address, 16).ok()?.to_ne_bytes());
        (state == "0A").then_some((address, u16::from_str_radix(port, 16).ok()?))
    });
    let found = listening.into_iter().find(|(_, listening)| *listening == port).expect("the registry listens");
    SocketAddr::from(found)
}

/// A running nginx; stopped when it is dropped.
struct Nginx {
    process: Child,
    address: SocketAddr,
}

impl Nginx {
    fn start(folder: &Path, registry: SocketAddr, token: &str) -> Self {
        let address = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a free port");
        let folder = folder.join("nginx");
        std::fs::create_dir(&folder).expect("a folder for nginx");
        let file = folder.join("nginx.conf");
        std::fs::write(&file, configuration(&folder, address, registry, token)).expect("its settings are written");
        let process = Command::new("nginx")
            .args(["-e", "stderr", "-c"])
            .arg(&file)
            .stdout(Stdio::null())
            .spawn()
            .expect("nginx is installed (apt-get install nginx)");
        let nginx = Self { process, address };
        let begun = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(begun.elapsed() < LIMIT, "nginx does not answer");
            std::thread::yield_now();
        }
        nginx
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // TERM, since a master that is killed leaves its workers.
        let _ = Command::new("kill").args(["-TERM", &self.process.id().to_string()]).status();
        let _ = self.process.wait();
    }
}

fn configuration(folder: &Path, address: SocketAddr, registry: SocketAddr, token: &str) -> String {
    let folder = folder.display();
    let temporary =
        ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(|kind| format!("{kind}_temp_path {folder}/{kind};"));
    format!(
        "daemon off; worker_processes 2; pid {folder}/nginx.pid; error_log stderr;
events {{ worker_connections 1024; }}
http {{
    access_log off; keepalive_requests 100000000; {}
    upstream registry {{ server {registry}; keepalive 64; keepalive_requests 100000000; keepalive_timeout 3s; }}
    server {{
        listen {address};
        location / {{
            proxy_pass http://registry;
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
            proxy_set_header Authorization \"Bearer {token}\";
            proxy_set_header x-bigdata-user local;
            proxy_set_header x-bigdata-roles user,publisher,admin;
        }}
    }}
}}
",
        temporary.join(" ")
    )
}
