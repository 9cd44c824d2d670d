//! The leader among masters that elect it through ZooKeeper: read from a real ZooKeeper (Debian's package `zookeeper`).

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bigdata_mesos::client::scheduler::Event;

use crate::support::cluster::Cluster;
use crate::support::framework::{Framework, info, settings};

/// Where Debian has its programs.
const PROGRAMS: &str = "/usr/share/zookeeper/bin";

struct ZooKeeper {
    server: Child,
    address: SocketAddr,
    folder: tempfile::TempDir,
}

impl ZooKeeper {
    /// A server of its own; None, said loudly, where there is none and none is demanded.
    fn start() -> Option<Self> {
        if !Path::new(PROGRAMS).exists() {
            assert_ne!(std::env::var("BIGDATA_REQUIRE_MESOS").as_deref(), Ok("1"), "{PROGRAMS} is missing");
            eprintln!("SKIPPED on ZooKeeper: {PROGRAMS} is missing");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
        let settings = folder.path().join("zoo.cfg");
        let text = format!(
            "tickTime=500\ndataDir={}\nclientPort={}\nclientPortAddress=127.0.0.1\nadmin.enableServer=false\n",
            folder.path().join("data").display(),
            address.port()
        );
        std::fs::write(&settings, text).unwrap();
        let server = Command::new(format!("{PROGRAMS}/zkServer.sh"))
            .args(["start-foreground".as_ref(), settings.as_os_str()])
            .env("ZOO_LOG_DIR", folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let zookeeper = Self { server, address, folder };
        zookeeper.commands(&[]);
        Some(zookeeper)
    }

    /// Has ZooKeeper's own command line do these, once it answers.
    fn commands(&self, commands: &[String]) {
        let deadline = Instant::now() + Duration::from_secs(120);
        loop {
            let mut client = Command::new(format!("{PROGRAMS}/zkCli.sh"))
                .args(["-server", &self.address.to_string()])
                .env("ZOO_LOG_DIR", self.folder.path())
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            let mut input = client.stdin.take().unwrap();
            writeln!(input, "{}\nls /\nquit", commands.join("\n")).unwrap();
            drop(input);
            let output = client.wait_with_output().unwrap();
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            if said.contains("[zookeeper") || said.contains(", zookeeper") {
                return;
            }
            assert!(Instant::now() < deadline, "ZooKeeper does not answer: {said}");
        }
    }
}

impl Drop for ZooKeeper {
    fn drop(&mut self) {
        // The script replaces itself by the server.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// A node as Mesos writes it.
fn master(number: u32, url: &str) -> String {
    let port = url.rsplit_once(':').unwrap().1;
    let host = url.trim_start_matches("http://").rsplit_once(':').unwrap().0;
    let content = format!(
        r#"{{"address":{{"hostname":"localhost","ip":"{host}","port":{port}}},"id":"m{number}","ip":16777343,"port":{port},"version":"1.11.0"}}"#
    );
    format!("create /mesos/json.info_{number:010} '{content}'")
}

#[tokio::test]
async fn the_elected_leader_is_found_and_after_its_end_the_next() {
    let Some(zookeeper) = ZooKeeper::start() else { return };
    let cluster = Cluster::engine().await;
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut settings = settings(vec![format!("zk://{}/mesos", zookeeper.address)], info("elects"));
    settings.backoff_limit = Duration::from_millis(200);
    let mut framework = Framework::with(settings);
    let reason = framework.wait("the reason", |event| match event {
        Event::Disconnected { reason } => Some(reason.clone()),
        _ => None,
    });
    let reason = reason.await;
    assert!(reason.contains("no master has ever registered"), "{reason}");
    let dead = master(7, &format!("http://{nobody}"));
    zookeeper.commands(&["create /mesos".to_owned(), master(12, &cluster.url()), dead]);
    zookeeper.commands(&["delete /mesos/json.info_0000000007".to_owned()]);
    framework.connected().await;
    framework.run("t", "").await;
}
