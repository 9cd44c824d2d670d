//! Streams of any length through the control channel, the workload's own figures, and how soon an end is told.

use crate::harness::Node;
use bigdata_common::frames::{Decoder, Frame, MEDIA_TYPE, PIECE};
use bigdata_mesos::v1::TaskState;
use reqwest::Method;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const GRACE: Duration = Duration::from_secs(5);
/// What the streams hold, in pieces.
const PIECES: usize = 300 * (1 << 20) / PIECE;
/// What an executor may need more than before while a stream of 300 MiB passes, in KiB.
const MEMORY_MAX: u64 = 20 << 10;
/// What is told because it happened comes within this time, also on a busy machine; what is told by the clock comes later.
const AT_ONCE: Duration = Duration::from_secs(10);

async fn held() -> Node {
    let node = Node::launch(json!({ "start": "script", "command": ["sleep", "1000"] })).await;
    node.wait_for(TaskState::Running).await;
    node
}

fn piece() -> Vec<u8> {
    (0..PIECE).map(|at| (at * 7 % 251) as u8).collect()
}

/// Input of so many pieces; with its end, or broken off.
fn input(pieces: usize, is_whole: bool) -> impl futures_util::Stream<Item = std::io::Result<Vec<u8>>> + Send {
    let piece = Frame::Input(piece()).encode();
    let end = is_whole.then(|| Ok(Frame::End.encode()));
    futures_util::stream::iter((0..pieces).map(move |_| Ok(piece.clone())).chain(end))
}

/// Runs a command with streams; the bytes of its output, whether they are those of the input, and its last frame.
async fn exec(
    node: &Node,
    command: &[&str],
    input: impl futures_util::Stream<Item = std::io::Result<Vec<u8>>> + Send + 'static,
) -> (usize, bool, Frame) {
    use futures_util::StreamExt as _;
    let request = Frame::Request(json!({ "command": command }).to_string().into_bytes()).encode();
    let body = futures_util::stream::once(async move { Ok(request) }).chain(Box::pin(input));
    let request = node.request(Method::POST, "/v1/exec", &node.own_token()).header("content-type", MEDIA_TYPE);
    let request = request.timeout(Duration::from_secs(300));
    let mut answer = request.body(reqwest::Body::wrap_stream(body)).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.headers()["content-type"].to_str().unwrap()), (200, MEDIA_TYPE));
    let (mut decoder, mut count, mut last) = (Decoder::default(), 0, None);
    let (expected, mut is_same) = (piece(), true);
    while let Some(bytes) = answer.chunk().await.unwrap() {
        for frame in decoder.push(&bytes).unwrap() {
            assert_eq!(last, None, "nothing follows the last frame");
            match frame {
                Frame::Stdout(piece) => {
                    is_same &= expected.get(count % PIECE..).is_some_and(|rest| {
                        let (head, tail) = piece.split_at(rest.len().min(piece.len()));
                        rest.starts_with(head) && expected.starts_with(tail)
                    });
                    count += piece.len();
                }
                Frame::Stderr(piece) => panic!("{}", String::from_utf8_lossy(&piece)),
                frame => last = Some(frame),
            }
        }
    }
    (count, is_same, last.expect("a last frame"))
}

fn peak_memory(node: &Node) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", node.executor.id().unwrap())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().strip_suffix(" kB").unwrap().parse().unwrap()
}

#[tokio::test]
async fn input_and_output_of_any_length_pass_in_constant_memory() {
    let mut node = held().await;
    let (count, _, last) = exec(&node, &["wc", "-c"], input(2, true)).await;
    assert_eq!((count > 0, last), (true, Frame::Exit(0)));
    let (before, begin) = (peak_memory(&node), Instant::now());
    let (count, is_same, last) = exec(&node, &["cat"], input(PIECES, true)).await;
    let took = begin.elapsed();
    assert_eq!((count, is_same, last), (PIECES * PIECE, true, Frame::Exit(0)));
    let more = peak_memory(&node) - before;
    println!("300 MiB in and out took {} ms; the executor's memory grew by {more} KiB", took.as_millis());
    assert!(more < MEMORY_MAX, "{more} KiB");
    assert!(
        !std::fs::read_dir(node.directory.path())
            .unwrap()
            .flatten()
            .any(|it| { it.file_name().to_string_lossy().starts_with(".input-") })
    );
    node.kill(GRACE).await;
}

#[tokio::test]
async fn what_is_broken_off_is_not_taken_for_the_whole() {
    let mut node = held().await;
    let (_, _, last) = exec(&node, &["sh", "-c", "cat > part && mv part whole"], input(3, false)).await;
    assert!(matches!(&last, Frame::Error(reason) if reason.contains("input is not whole")), "{last:?}");
    assert_eq!(node.control(Method::GET, "/v1/files?path=whole", "").await.0, 404);
    let put = async |pieces, is_whole| {
        let request = node.request(Method::PUT, "/v1/files?path=file", &node.own_token());
        let body = reqwest::Body::wrap_stream(input(pieces, is_whole));
        request.header("content-type", MEDIA_TYPE).body(body).send().await.unwrap().status().as_u16()
    };
    assert_eq!(put(3, false).await, 400);
    assert_eq!(node.control(Method::GET, "/v1/files?path=file", "").await.0, 404);
    // More than a file that comes as it stands may have.
    let pieces = (65 << 20) / PIECE;
    assert_eq!(put(pieces, true).await, 200);
    let (count, _, _) = exec(&node, &["cat", "file"], input(0, true)).await;
    assert_eq!(count, pieces * PIECE);
    node.kill(GRACE).await;
}

#[tokio::test]
async fn a_command_that_reads_no_further_ends_and_one_without_input_finds_its_end() {
    let mut node = held().await;
    let (count, _, last) = exec(&node, &["head", "-c", "10"], input(PIECES, true)).await;
    assert_eq!((count, last), (10, Frame::Exit(0)));
    let (count, _, last) = exec(&node, &["cat"], input(0, true)).await;
    assert_eq!((count, last), (0, Frame::Exit(0)));
    node.kill(GRACE).await;
}

#[tokio::test]
async fn the_workload_s_own_figures_are_part_of_its_stats() {
    for (command, figures, reason) in [
        (r#"echo '{"queries": 7}'"#, json!({"queries": 7}), ""),
        ("echo refused >&2; exit 3", Value::Null, "exited with code 3: refused"),
        ("echo nonsense", Value::Null, "no JSON"),
        ("echo 7", Value::Null, "no JSON object"),
        ("head -c 100000 /dev/zero", Value::Null, "more than 65536 bytes"),
        ("sleep 1000", Value::Null, "time"),
    ] {
        let mut node = Node::launch(json!({ "start": "script", "command": ["sleep", "1000"], "stats": command })).await;
        node.wait_for(TaskState::Running).await;
        // On a busy machine others may need too much time, too.
        let text = node.poll("/v1/stats", |text| reason == "time" || !text.contains("time limit")).await;
        let stats: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(stats["workload"], figures, "{command}: {stats}");
        assert_eq!(node.control(Method::GET, "/v1/stats", "").await.0, 200, "{command}");
        let said = stats["workload_error"].as_str().unwrap_or_default();
        assert_eq!(said.is_empty(), reason.is_empty(), "{command}: {stats}");
        assert!(said.contains(reason), "{command}: {stats}");
        node.kill(GRACE).await;
    }
}

#[tokio::test]
async fn a_killed_workload_is_told_at_once() {
    // It is given up, or started again.
    for limit in [1, 5] {
        let mut quickest = Duration::MAX;
        // The machine's own delays meet some of them, not all.
        for _ in 0..3 {
            quickest = quickest.min(told_after(limit).await);
        }
        println!("the end of a killed workload was told after {} ms", quickest.as_millis());
        assert!(quickest < AT_ONCE, "{quickest:?}");
    }
}

/// How long it takes until the end of a killed workload is told that may end so often.
async fn told_after(limit: u32) -> Duration {
    let restart = json!({ "limit": limit, "window_ms": 60_000, "backoff_ms": 10_000 });
    let mut node = Node::launch(json!({ "command": ["sleep", "1000"], "restart": restart })).await;
    node.wait("started", |_, report| report.started).await;
    let health: Value = serde_json::from_str(&node.control(Method::GET, "/v1/health", "").await.1).unwrap();
    let pid = nix::unistd::Pid::from_raw(health["pid"].as_i64().unwrap().try_into().unwrap());
    let begin = Instant::now();
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    let (status, _) = node.wait("the end", |_, report| report.reason.is_some()).await;
    let took = begin.elapsed();
    if status.state == TaskState::Failed as i32 {
        node.over().await;
    } else {
        node.kill(GRACE).await;
    }
    took
}
