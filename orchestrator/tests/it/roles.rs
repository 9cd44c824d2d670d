//! What this program does when it is not the test runner.

use crate::support::{self, Seat};
use std::env;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

pub(crate) fn play(arguments: &[String]) {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["call", method, path] => call(method, path, "", &env::var("BIGDATA_TOKEN").unwrap()),
        ["call", method, path, body] => call(method, path, body, &env::var("BIGDATA_TOKEN").unwrap()),
        ["call-as", token, method, path] => call(method, path, "", token),
        ["put", path, bytes] => {
            call("PUT", path, &"x".repeat(bytes.parse().unwrap()), &env::var("BIGDATA_TOKEN").unwrap());
        }
        ["pour", path, bytes, "whole"] => pour(path, bytes.parse().unwrap(), true),
        ["pour", path, bytes, "half"] => pour(path, bytes.parse().unwrap(), false),
        ["keys", method, key] => keys(method, key, ""),
        ["keys", method, key, body] => keys(method, key, body),
        ["connect", address] => match TcpStream::connect(address) {
            Ok(_) => println!("connected"),
            Err(error) => println!("refused {}", error.raw_os_error().unwrap_or(0)),
        },
        ["service", seat, lease_ms] => service(&serde_json::from_str(seat).unwrap(), lease_ms.parse().unwrap()),
        _ => panic!("no such role: {arguments:?}"),
    }
}

/// One request on the script's socket; prints the status and then the body, chunks joined.
fn call(method: &str, path: &str, body: &str, token: &str) {
    let mut socket = UnixStream::connect(env::var("BIGDATA_SOCKET").unwrap()).unwrap();
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: run\r\nAuthorization: Bearer {token}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).unwrap();
    socket.write_all(body.as_bytes()).unwrap();
    let mut answer = Vec::new();
    // Who answers before all was sent may close with the rest unread, which is told as an error behind the answer.
    let _ = socket.read_to_end(&mut answer);
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    let mut body = answer[end + 4..].to_vec();
    if head.to_lowercase().contains("transfer-encoding: chunked") {
        body = dechunked(&body);
    }
    println!("{} {}", head.split(' ').nth(1).unwrap(), String::from_utf8_lossy(&body).trim_end());
}

/// One request for a key by the address in `REGISTRY` alone; prints status, index and body.
fn keys(method: &str, key: &str, body: &str) {
    let registry = env::var("REGISTRY").unwrap();
    let (mut stream, base): (Box<dyn Stream>, _) = match registry.strip_prefix("http://") {
        Some(rest) => {
            let (address, base) = rest.split_once('/').unwrap();
            (Box::new(TcpStream::connect(address).unwrap()), base)
        }
        None => {
            let (socket, base) = registry.strip_prefix("http+unix://").unwrap().split_once('/').unwrap();
            (Box::new(UnixStream::connect(socket.replace("%2F", "/")).unwrap()), base)
        }
    };
    let length = body.len();
    // In one piece: nobody answers half of it.
    let request = format!(
        "{method} /{base}/{key} HTTP/1.1\r\nHost: run\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let index = head.lines().find_map(|line| line.strip_prefix("x-consul-index: ")).unwrap_or("-");
    println!("{} {index} {body}", head.split(' ').nth(1).unwrap());
}

trait Stream: Read + Write {}

impl<T: Read + Write> Stream for T {}

/// Sends a body in chunks; without its end where it is not to be whole.
fn pour(path: &str, bytes: usize, is_whole: bool) {
    let mut socket = UnixStream::connect(env::var("BIGDATA_SOCKET").unwrap()).unwrap();
    let token = env::var("BIGDATA_TOKEN").unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: run\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\
         Transfer-Encoding: chunked\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).unwrap();
    let piece = vec![b'x'; 64 << 10];
    let mut left = bytes;
    while left > 0 {
        let now = left.min(piece.len());
        let chunk = [format!("{now:x}\r\n").as_bytes(), &piece[..now], b"\r\n"].concat();
        if socket.write_all(&chunk).is_err() {
            // It was answered, and refused, before all of it was there.
            break;
        }
        left -= now;
    }
    if !is_whole {
        return;
    }
    let _ = socket.write_all(b"0\r\n\r\n");
    let mut answer = Vec::new();
    // As in [`call`].
    let _ = socket.read_to_end(&mut answer);
    let answer = String::from_utf8(answer).unwrap();
    let body = answer.split_once("\r\n\r\n").unwrap().1;
    println!("{} {body}", answer.split(' ').nth(1).unwrap());
}

fn dechunked(mut body: &[u8]) -> Vec<u8> {
    let mut joined = Vec::new();
    loop {
        let end = body.windows(2).position(|window| window == b"\r\n").unwrap();
        let length = usize::from_str_radix(std::str::from_utf8(&body[..end]).unwrap(), 16).unwrap();
        if length == 0 {
            return joined;
        }
        joined.extend_from_slice(&body[end + 2..end + 2 + length]);
        body = &body[end + 4 + length..];
    }
}

/// The service as a process of its own, until it is killed.
fn service(seat: &Seat, lease_ms: u64) {
    support::runtime().block_on(async {
        let _service = seat.build(|settings| settings.lease_ms = lease_ms).await;
        // It does not outlive the test that holds the other end.
        let _ = tokio::task::spawn_blocking(|| std::io::stdin().read(&mut [0])).await;
    });
}
