//! The web server: one thread waits, one more per request, at most [`REQUESTS_MAX`].

use super::peers;
use serde_json::{Value, json};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Requests that are answered at a time; what comes beyond is told to come again.
const REQUESTS_MAX: usize = 16;
/// The longest request head, in bytes.
const HEAD_MAX: u64 = 16 * 1024;
/// The longest wait for a client.
const TIMEOUT: Duration = Duration::from_secs(5);
/// A request needs little stack.
const STACK: usize = 128 * 1024;

/// What the server tells and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Settings {
    /// Where it listens.
    pub(super) listen: SocketAddr,
    /// The node's name.
    pub(super) name: String,
    /// The cluster's distinguished name.
    pub(super) cluster: String,
    /// Where the product's script writes the peers.
    pub(super) peers_file: PathBuf,
}

/// Serves until the process is ended.
///
/// # Errors
/// When it cannot listen.
pub(super) fn serve(settings: &Settings) -> io::Result<()> {
    let listener = TcpListener::bind(settings.listen)?;
    println!("{} listens on http://{}/", settings.name, listener.local_addr()?);
    accept(&listener, &Arc::new(settings.clone()))
}

fn accept(listener: &TcpListener, settings: &Arc<Settings>) -> io::Result<()> {
    let busy = Arc::new(AtomicUsize::new(0));
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            // The client has gone again; everything else is the listener's end.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
            Err(error) => return Err(error),
        };
        let slot = Slot::take(&busy);
        let settings = Arc::clone(settings);
        let handle = move || {
            // A client that goes away early harms nobody but itself.
            let _ = match &slot {
                Some(_) => answer(&stream, &settings),
                None => reply(&stream, 503, &json!({ "error": "too many requests at a time" })),
            };
        };
        if let Err(error) = std::thread::Builder::new().stack_size(STACK).spawn(handle) {
            eprintln!("a request was dropped: {error}");
        }
    }
}

/// One of the requests that are answered now.
struct Slot(Arc<AtomicUsize>);

impl Slot {
    fn take(busy: &Arc<AtomicUsize>) -> Option<Self> {
        let slot = Self(Arc::clone(busy));
        (busy.fetch_add(1, Ordering::SeqCst) < REQUESTS_MAX).then_some(slot)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn answer(stream: &TcpStream, settings: &Settings) -> io::Result<()> {
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let mut reader = BufReader::new(stream.take(HEAD_MAX));
    let mut first = String::new();
    reader.read_line(&mut first)?;
    // The rest of the head is read so that closing does not reset the connection under the answer.
    let mut line = String::new();
    while reader.read_line(&mut line)? > 0 && !line.trim_end().is_empty() {
        line.clear();
    }
    let (status, body) = respond(&first, settings);
    reply(stream, status, &body)
}

fn respond(request: &str, settings: &Settings) -> (u16, Value) {
    let mut words = request.split_whitespace();
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    if method != "GET" {
        return (405, json!({ "error": "only GET is known" }));
    }
    let known = match peers::read(&settings.peers_file) {
        Ok(known) => known,
        Err(error) => return (500, json!({ "error": format!("the peers cannot be read: {error}") })),
    };
    match path {
        "/" => (200, json!({ "name": settings.name, "cluster": settings.cluster, "peers": known })),
        "/health" => (200, json!({ "status": "ok" })),
        "/peers/check" => {
            let unreachable = peers::unreachable(&known);
            let status = if unreachable.is_empty() { 200 } else { 503 };
            (status, json!({ "peers": known.len(), "unreachable": unreachable }))
        }
        _ => (404, json!({ "error": "known are /, /health and /peers/check" })),
    }
}

fn reply(mut stream: &TcpStream, status: u16, body: &Value) -> io::Result<()> {
    let reason = match status {
        200 => "OK",
        404 => "Not Found",
        405 => "Method Not Allowed",
        500 => "Internal Server Error",
        _ => "Service Unavailable",
    };
    let body = format!("{body}\n");
    let length = body.len();
    stream.write_all(
        format!(
            "HTTP/1.1 {status} {reason}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
        )
        .as_bytes(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(name: &str, peers_file: PathBuf) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let listen = listener.local_addr().unwrap();
        let settings = Settings { listen, name: name.to_owned(), cluster: "c".to_owned(), peers_file };
        std::thread::spawn(move || accept(&listener, &Arc::new(settings)));
        listen
    }

    #[test]
    fn nodes_tell_who_they_are_and_whom_they_reach() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("peers.json");
        let (a, b) = (start("a", file.clone()), start("b", file.clone()));
        assert_eq!(peers::get(a, "/health").unwrap().0, 200);
        assert!(peers::get(a, "/").unwrap().1.contains(r#""peers":{}"#));
        std::fs::write(&file, json!({ "a": a, "b": b }).to_string()).unwrap();
        let (status, body) = peers::get(b, "/peers/check").unwrap();
        assert_eq!((status, body.trim()), (200, r#"{"peers":2,"unreachable":{}}"#));
        std::fs::write(&file, json!({ "a": b, "b": b }).to_string()).unwrap();
        let (status, body) = peers::get(b, "/peers/check").unwrap();
        assert_eq!(status, 503);
        assert!(body.contains("says that it is"), "{body}");
        assert_eq!(peers::get(a, "/nothing").unwrap().0, 404);
    }
}
