//! A platform of its own for each test, and how tests talk to it.

use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_bigdata");
/// The longest that a test waits for anything.
pub(crate) const LIMIT: Duration = Duration::from_secs(300);

/// Where a platform keeps everything: below the system's folder for such, on a short path that other users may pass.
pub(crate) struct Data {
    folder: TempDir,
    variables: Vec<(&'static str, PathBuf)>,
}

impl Data {
    pub(crate) fn new() -> Self {
        Self::with(Vec::new())
    }

    /// One whose platforms have these variables in their environment.
    pub(crate) fn with(variables: Vec<(&'static str, PathBuf)>) -> Self {
        let folder = tempfile::Builder::new().prefix("bd").tempdir_in("/tmp").unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
        Self { folder, variables }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The processes of its nodes, executors among them: they work in the engine's folders.
    pub(crate) fn nodes(&self) -> Vec<String> {
        let folder = self.path().join("engine");
        let works_there = |pid: &String| {
            let place = std::fs::read_link(Path::new("/proc").join(pid).join("cwd"));
            place.is_ok_and(|place| place.starts_with(&folder))
        };
        processes(&folder.display().to_string()).into_iter().filter(works_there).collect()
    }

    /// Waits until none of them is left: an executor has told its end a moment before it exits.
    pub(crate) fn ended(&self) {
        until("every process of the nodes has ended", || self.nodes().is_empty().then_some(()));
    }

    /// Waits until they are these again: whoever was sent to look at a node may be on its way out still.
    pub(crate) fn are(&self, processes: &[String]) {
        until("the nodes are the same processes as before", || (self.nodes() == processes).then_some(()));
    }

    /// A running `bigdata up` on it.
    pub(crate) fn up(&self, arguments: &[&str]) -> Platform {
        self.up_by(Path::new(PROGRAM), arguments)
    }

    /// The same by another file of the program.
    pub(crate) fn up_by(&self, program: &Path, arguments: &[&str]) -> Platform {
        let mut child = self.command_of(program, "up", arguments).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let started: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("up did not start: {line:?}"));
        let url = started["url"].as_str().unwrap().to_owned();
        Platform { child: Some(child), url, data: self.path() }
    }

    /// A command that runs the platform on it.
    pub(crate) fn command(&self, word: &str, arguments: &[&str]) -> Command {
        self.command_of(Path::new(PROGRAM), word, arguments)
    }

    fn command_of(&self, program: &Path, word: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args([word, "--json", "--listen", "127.0.0.1:0"]);
        if !arguments.contains(&"--resources") {
            command.args(["--resources", "cpus=8,mem=8192,disk=20000"]);
        }
        command.arg("--data-dir").arg(self.path()).args(arguments);
        command.stdin(Stdio::null()).env_remove("BIGDATA_URL").env_remove("BIGDATA_SOCKET");
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }
}

impl Drop for Data {
    /// No node outlives its test, however that ends.
    fn drop(&mut self) {
        let ours = self.path().display().to_string();
        for process in processes(&ours) {
            let _ = Command::new("kill").args(["-9", &process]).stderr(Stdio::null()).status();
        }
    }
}

/// A running platform; ended by force when dropped.
pub(crate) struct Platform {
    /// Where it is a process of its own.
    child: Option<Child>,
    pub(crate) url: String,
    data: PathBuf,
}

impl Platform {
    /// Runs a client command; it must succeed. Its standard output.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        let output = self.try_run(arguments);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "bigdata {arguments:?} ended with {}: {error}{}", output.status, self.log());
        String::from_utf8(output.stdout).unwrap()
    }

    /// The same with `--json`.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let text = self.run(&[arguments, &["--json"]].concat());
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("bigdata {arguments:?}: {error} in {text:?}"))
    }

    /// Runs a client command, whatever its end. An executor takes no connection while the machine stands still: nothing was
    /// done then, and it is asked again.
    pub(crate) fn try_run(&self, arguments: &[&str]) -> Output {
        const LATE: &str = "did not take a connection within";
        let run = || self.command(arguments).output().unwrap();
        let mut output = run();
        for _ in 0..4 {
            if String::from_utf8_lossy(&output.stderr).contains(LATE) {
                eprintln!("asked again: bigdata {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
                output = run();
            }
        }
        output
    }

    /// Runs a client command that must fail with this code; its standard error.
    pub(crate) fn fails(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.try_run(arguments);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "bigdata {arguments:?}: {error}");
        error
    }

    /// Runs a client command that changes a cluster, and again as long as another operation changes it: the answer to a node
    /// that was slow for a moment comes by itself.
    pub(crate) fn ask(&self, arguments: &[&str]) -> Output {
        until("no other operation changes the cluster", || {
            let output = self.try_run(arguments);
            (!String::from_utf8_lossy(&output.stderr).contains("BD0031")).then_some(output)
        })
    }

    /// The same, which must succeed. Its standard output.
    pub(crate) fn change(&self, arguments: &[&str]) -> String {
        let output = self.ask(arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "bigdata {arguments:?} ended with {}: {error}{}", output.status, self.log());
        String::from_utf8(output.stdout).unwrap()
    }

    /// A client command.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(arguments).env("BIGDATA_URL", &self.url).env_remove("BIGDATA_SOCKET").stdin(Stdio::null());
        command
    }

    /// Runs a client command with this standard input; it must succeed.
    pub(crate) fn feed(&self, arguments: &[&str], input: &str) {
        let mut child = self.command(arguments).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success(), "bigdata {arguments:?}");
    }

    /// Launches the reference product and waits; the cluster's distinguished name.
    pub(crate) fn launch(&self, size: u32) -> String {
        let size = format!("size={size}");
        let view = self.json(&["launch", "reference", "1.0.0", &size, "--wait", "--timeout", "300"]);
        assert_eq!(view["status"], "ready");
        view["dn"].as_str().unwrap().to_owned()
    }

    /// Each node's name and address.
    pub(crate) fn nodes(&self, cluster: &str) -> Vec<(String, SocketAddr)> {
        let list = self.json(&["cluster", "nodes", cluster]);
        let node = |node: &Value| {
            let address = format!("{}:{}", node["address"].as_str().unwrap(), node["ports"]["http"]);
            (node["name"].as_str().unwrap().to_owned(), address.parse().unwrap())
        };
        list["nodes"].as_array().unwrap().iter().map(node).collect()
    }

    /// Where it answers.
    pub(crate) fn address(&self) -> SocketAddr {
        self.url.trim_start_matches("http://").parse().unwrap()
    }

    /// Each address and port of its nodes.
    pub(crate) fn nodes_with_port(&self, cluster: &str) -> Vec<SocketAddr> {
        let list = self.json(&["cluster", "nodes", cluster]);
        let addresses = |node: &Value| -> Vec<SocketAddr> {
            let ports = node["ports"].as_object().into_iter().flatten();
            ports.filter_map(|(_, port)| format!("{}:{port}", node["address"].as_str()?).parse().ok()).collect()
        };
        list["nodes"].as_array().unwrap().iter().flat_map(addresses).collect()
    }

    /// Sends a signal and waits for the end; the exit code.
    pub(crate) fn signal(mut self, signal: &str) -> Option<i32> {
        let child = self.child.as_mut().unwrap();
        let pid = child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
        until("the platform ends", || child.try_wait().unwrap().map(|status| status.code()))
    }

    /// The last lines of the platform's log.
    pub(crate) fn log(&self) -> String {
        let text = std::fs::read_to_string(self.data.join("log/bigdata.log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        format!("\n--- log\n{}", lines[lines.len().saturating_sub(40)..].join("\n"))
    }
}

impl Platform {
    /// One of services that the test itself runs.
    pub(crate) fn at(address: SocketAddr, data: &Data) -> Self {
        Self { child: None, url: format!("http://{address}"), data: data.path() }
    }

    /// Ends it by force.
    pub(crate) fn kill(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Polls until there is a value.
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(value) = look() {
            return value;
        }
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

/// GET over TCP; None where nothing answers with 200.
pub(crate) fn get(address: SocketAddr, path: &str) -> Option<Value> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.starts_with("HTTP/1.1 200").then(|| serde_json::from_str(body).ok())?
}

/// PUT over TCP; it must be accepted.
pub(crate) fn put(address: SocketAddr, path: &str, body: &str) {
    send(address, &format!("PUT {path}"), "", body);
}

/// This method and path over TCP, with headers that each end their line; it must be accepted. The answer's body.
pub(crate) fn send(address: SocketAddr, what: &str, headers: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let length = body.len();
    write!(
        stream,
        "{what} HTTP/1.1\r\nhost: {address}\r\ncontent-length: {length}\r\nconnection: close\r\n{headers}\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 20"), "{what}: {answer}");
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

/// The ids of living processes whose command line, environment or working directory names `text`; never this one.
pub(crate) fn processes(text: &str) -> Vec<String> {
    let names = |folder: &Path| {
        let holds = |file: &str| {
            std::fs::read(folder.join(file)).is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(text))
        };
        let works_there =
            std::fs::read_link(folder.join("cwd")).is_ok_and(|path| path.to_string_lossy().contains(text));
        holds("cmdline") || holds("environ") || works_there
    };
    let is_zombie = |folder: &Path| std::fs::read_link(folder.join("exe")).is_err();
    std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(Result::ok)
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|pid| pid.parse::<u32>().is_ok_and(|pid| pid != std::process::id()))
        .filter(|pid| {
            let folder = Path::new("/proc").join(pid);
            names(&folder) && !is_zombie(&folder)
        })
        .collect()
}

/// The folder of the shipped products.
pub(crate) fn templates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../templates").canonicalize().unwrap()
}
