//! A closed-loop HTTP client: every connection sends its next request when the last one is answered.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// The longest wait for one answer.
const LIMIT: Duration = Duration::from_secs(10);

/// What is asked again and again.
pub(crate) struct Target {
    pub(crate) name: &'static str,
    address: SocketAddr,
    request: String,
}

/// What was measured.
pub(crate) struct Figures {
    pub(crate) per_second: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
}

impl Target {
    /// GET of `path` (without its first `/`) with these further header lines.
    pub(crate) fn new(name: &'static str, address: SocketAddr, path: &str, headers: &str) -> Self {
        Self {
            name,
            address,
            request: format!("GET /{path} HTTP/1.1\r\nHost: {address}\r\nAccept: */*\r\n{headers}\r\n"),
        }
    }
}

/// Asks for so long, on so many connections of one thread each.
pub(crate) fn run(target: &Target, connections: usize, time: Duration) -> Figures {
    let begun = Instant::now();
    let mut took: Vec<Duration> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..connections).map(|_| scope.spawn(|| ask(target, begun + time))).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a worker ends")).collect()
    });
    let elapsed = begun.elapsed().as_secs_f64();
    took.sort_unstable();
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize].as_secs_f64() * 1000.0;
    Figures { per_second: took.len() as f64 / elapsed, p50_ms: at(0.5), p99_ms: at(0.99) }
}

/// How long each answer took, until the deadline.
fn ask(target: &Target, deadline: Instant) -> Vec<Duration> {
    let mut stream = TcpStream::connect(target.address).expect("it listens");
    stream.set_nodelay(true).expect("a socket's option");
    stream.set_read_timeout(Some(LIMIT)).expect("a socket's option");
    let mut took = Vec::new();
    let mut buffer = Vec::with_capacity(16 * 1024);
    while Instant::now() < deadline {
        let begun = Instant::now();
        stream.write_all(target.request.as_bytes()).expect("the request is sent");
        read_answer(target.name, &mut stream, &mut buffer);
        took.push(begun.elapsed());
    }
    took
}

/// Reads one whole answer of 200 with a length.
fn read_answer(name: &str, stream: &mut TcpStream, buffer: &mut Vec<u8>) {
    buffer.clear();
    let mut wanted = None;
    let mut piece = [0; 16 * 1024];
    while wanted.is_none_or(|wanted| buffer.len() < wanted) {
        let length = stream.read(&mut piece).expect("the answer is read");
        assert!(length > 0, "{name} closed the connection");
        buffer.extend_from_slice(&piece[..length]);
        if wanted.is_none()
            && let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n")
        {
            let head = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
            assert!(head.starts_with("http/1.1 200"), "{name} answered {head}");
            let body = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
            wanted = Some(end + 4 + body.unwrap_or_else(|| panic!("{name} tells no length: {head}")));
        }
    }
}
