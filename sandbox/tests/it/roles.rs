//! The misbehaving commands, and a caller that can be killed.

use std::{
    fs::{self, File},
    hint::black_box,
    io::Write,
    net::{TcpListener, TcpStream, UdpSocket},
    os::unix::net::UnixStream,
    process::{Command, Stdio},
    thread,
};

use bigdata_sandbox::{RenderLimits, Spec};

use crate::support::program;

pub(crate) fn play(arguments: &[String]) {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["allocate", mebibytes] => allocate(mebibytes.parse().unwrap()),
        ["spin"] => spin(),
        ["forks"] => forks(),
        ["sockets"] => sockets(),
        ["read", path] => println!("{}", outcome(fs::read(path))),
        ["write", path] => println!("{}", outcome(fs::write(path, "x"))),
        ["bind", address] => {
            println!("tcp {}", outcome(TcpListener::bind(address)));
            println!("udp {}", outcome(UdpSocket::bind(address)));
        }
        ["connect", target] => println!("{}", outcome(TcpStream::connect(target))),
        ["grow", path] => grow(path),
        ["caller", spec_file] => caller(spec_file),
        ["render", what] => render(what),
        _ => panic!("no such role: {arguments:?}"),
    }
}

fn outcome<T>(result: std::io::Result<T>) -> String {
    match result {
        Ok(_) => "allowed".into(),
        Err(error) => format!("refused {}", error.raw_os_error().unwrap_or(0)),
    }
}

fn allocate(mebibytes: usize) {
    let mut blocks = Vec::new();
    for _ in 0..mebibytes {
        blocks.push(black_box(vec![1_u8; 1 << 20]));
    }
    println!("allocated {}", blocks.len());
}

fn spin() {
    let mut number = 1_u64;
    loop {
        number = black_box(number.wrapping_mul(3));
    }
}

/// Every copy makes copies for as long as it lives.
fn forks() {
    loop {
        let _ = Command::new(program()).args(["role", "forks"]).stderr(Stdio::null()).spawn();
    }
}

fn sockets() {
    println!("tcp {}", outcome(TcpStream::connect("127.0.0.1:9")));
    println!("udp {}", outcome(UdpSocket::bind("127.0.0.1:0")));
    println!("unix {}", outcome(UnixStream::pair()));
}

fn grow(path: &str) {
    let mut file = File::create(path).unwrap();
    loop {
        file.write_all(&[0; 65536]).unwrap();
    }
}

/// Starts the sandbox whose specification is in a file, tells its supervisor's id, and does nothing more.
fn caller(spec_file: &str) {
    let spec: Spec = serde_json::from_slice(&fs::read(spec_file).unwrap()).unwrap();
    let (mut command, _control) = spec.command(&program()).unwrap();
    let mut child = command.stdout(Stdio::null()).spawn().unwrap();
    println!("{}", child.id());
    child.wait().unwrap();
}

fn render(what: &str) {
    let not_applied = bigdata_sandbox::restrict_self(&RenderLimits::default()).unwrap();
    eprintln!("not applied: {not_applied:?}");
    match what {
        "compute" => {
            let sum: u64 = thread::spawn(|| (1..=10_u64).sum()).join().unwrap();
            println!("{sum}");
        }
        "read" => println!("{}", outcome(File::open("/etc/passwd"))),
        "execute" => println!("{}", outcome(Command::new("/bin/true").status())),
        "sockets" => sockets(),
        "allocate" => allocate(1024),
        "spin" => spin(),
        "recurse" => println!("{}", recurse(u64::MAX)),
        _ => panic!("no such attempt: {what}"),
    }
}

fn recurse(depth: u64) -> u64 {
    let room = black_box([depth; 128]);
    if depth == 0 { room[0] } else { recurse(depth - 1) + room[1] }
}
