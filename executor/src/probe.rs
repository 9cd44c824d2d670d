//! One try of a check.

use crate::environment::Surroundings;
use crate::process::in_words;
use crate::runtime::{Errand, Runtime};
use bigdata_common::blueprint::{Check, PortRef, Probe};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The longest status line of an answer that is read.
const STATUS_LINE_BYTES_MAX: u64 = 1024;

/// Tries a check once.
///
/// # Errors
/// Why it does not pass, for people.
pub async fn probe(node: &Surroundings, check: &Check, runtime: &dyn Runtime) -> Result<(), String> {
    let limit = Duration::from_millis(check.timeout_ms.max(1));
    let attempt = async {
        match &check.probe {
            Probe::Tcp(ports) => tcp(node, ports, runtime).await,
            Probe::Http { port, path } => http(node, port, path, runtime).await,
            Probe::Command(command) => {
                let arguments = node.arguments(command).map_err(|error| error.to_string())?;
                let errand =
                    Errand { arguments, group: "check".to_owned(), limit, reads: false, beside_workload: true };
                run(node, errand, runtime).await
            }
        }
    };
    // A command is ended by its sandbox, which needs a moment more.
    let patience =
        limit + if matches!(check.probe, Probe::Command(_)) { Duration::from_secs(3) } else { Duration::ZERO };
    timeout(patience, attempt).await.unwrap_or_else(|_| Err(format!("no answer within {} ms", limit.as_millis())))
}

async fn tcp(node: &Surroundings, ports: &[PortRef], runtime: &dyn Runtime) -> Result<(), String> {
    for port in ports {
        connect(node, port, runtime).await?;
    }
    Ok(())
}

async fn connect(node: &Surroundings, port: &PortRef, runtime: &dyn Runtime) -> Result<TcpStream, String> {
    let number = match port {
        PortRef::Number(number) => *number,
        PortRef::Name(name) => *node.node.ports.get(name).ok_or_else(|| format!("there is no port {name}"))?,
    };
    let address = node.node.address.as_str();
    runtime.connect(node, number).await.map_err(|error| format!("{address}:{number}: {error}"))
}

async fn http(node: &Surroundings, port: &PortRef, path: &str, runtime: &dyn Runtime) -> Result<(), String> {
    let mut stream = connect(node, port, runtime).await?;
    let host = stream.peer_addr().map_err(|error| error.to_string())?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nUser-Agent: bigdata\r\n\r\n");
    let failed = |error: std::io::Error| format!("GET {path} at {host}: {error}");
    stream.write_all(request.as_bytes()).await.map_err(failed)?;
    let mut line = Vec::new();
    BufReader::with_capacity(512, stream)
        .take(STATUS_LINE_BYTES_MAX)
        .read_until(b'\n', &mut line)
        .await
        .map_err(failed)?;
    match status_of(&line) {
        Some(200..=399) => Ok(()),
        Some(status) => Err(format!("GET {path} at {host} answered {status}")),
        None => Err(format!("{host} does not speak HTTP")),
    }
}

/// The status in the first line of an answer: `HTTP/1.1 200 OK`.
fn status_of(line: &[u8]) -> Option<u16> {
    let rest = line.strip_prefix(b"HTTP/1.")?;
    let digits = rest.get(1..5)?.strip_prefix(b" ")?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

async fn run(node: &Surroundings, errand: Errand, runtime: &dyn Runtime) -> Result<(), String> {
    let (mut job, mut output) = runtime.command(node, errand).await.map_err(|error| error.to_string())?;
    // What a check writes is of no use, but it must not wait for a reader.
    let (mut stdout, mut stderr) = (tokio::io::sink(), tokio::io::sink());
    let discard = async {
        let _ = tokio::join!(
            tokio::io::copy(&mut output.stdout, &mut stdout),
            tokio::io::copy(&mut output.stderr, &mut stderr)
        );
        std::future::pending::<()>().await;
    };
    let report = tokio::select! {
        report = job.ended() => report,
        () = discard => None,
    };
    match &report {
        Some(report) if report.ending.is_success() => Ok(()),
        report => Err(format!("the check's command: {}", in_words(report.as_ref(), &node.limits()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::workload::Processing;
    use crate::testing::{name, specification, surroundings};
    use tokio::net::TcpListener;

    async fn listening() -> (Surroundings, TcpListener) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut node = specification();
        node.ports.insert(name("sql"), listener.local_addr().unwrap().port());
        (surroundings(node), listener)
    }

    fn check(probe: Probe) -> Check {
        Check { probe, interval_ms: 1000, timeout_ms: 500, failures: 1, deadline_ms: 1000 }
    }

    #[test]
    fn status_lines() {
        for (line, status) in [
            ("HTTP/1.1 200 OK\r\n", Some(200)),
            ("HTTP/1.0 503\n", Some(503)),
            ("HTTP/1.1 2000\r\n", Some(200)),
            ("HTTP/2 200\r\n", None),
            ("SSH-2.0-x\r\n", None),
            ("", None),
        ] {
            assert_eq!(status_of(line.as_bytes()), status, "{line:?}");
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn ports_accept_or_do_not() {
        let (node, listener) = listening().await;
        let named = check(Probe::Tcp(vec![PortRef::Name(name("sql"))]));
        assert_eq!(probe(&node, &named, &Processing::new("/".into())).await, Ok(()));
        drop(listener);
        assert!(probe(&node, &named, &Processing::new("/".into())).await.unwrap_err().contains("refused"));
        let unknown = check(Probe::Tcp(vec![PortRef::Name(name("web"))]));
        assert_eq!(probe(&node, &unknown, &Processing::new("/".into())).await, Err("there is no port web".into()));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_get_answers_or_does_not() {
        for (answer, passes) in [
            ("HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", true),
            ("HTTP/1.1 404 Not Found\r\n\r\n", false),
            ("nonsense", false),
        ] {
            let (node, listener) = listening().await;
            let server = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                stream.write_all(answer.as_bytes()).await.unwrap();
                let mut request = [0; 512];
                let count = stream.read(&mut request).await.unwrap();
                assert!(request[..count].starts_with(b"GET /ready HTTP/1.1\r\nHost: 127.0.0.1:"));
            };
            let check = check(Probe::Http { port: PortRef::Name(name("sql")), path: "/ready".into() });
            let runtime = Processing::new("/".into());
            let (result, ()) = tokio::join!(probe(&node, &check, &runtime), server);
            assert_eq!(result.is_ok(), passes, "{answer}");
        }
    }
}
