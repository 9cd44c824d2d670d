//! Podman's service for the tests, with storage of its own, and a small image.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// The image that every test uses.
pub(crate) const IMAGE: &str = "localhost/bigdata-test:1";
/// Runs a test (`$1`) of a program (`$0`) with a network of its own, and what engines share beside their storage. The shell
/// is the first process: with it all others end. The shared memory stays, for the program may be in it.
const ALONE: &str = "for folder in /run /var/lib/cni; do
    mkdir -p $folder && mount -t tmpfs none $folder || exit 1
done
ip link set lo up
\"$0\" --exact \"$1\" --nocapture
exit $?";
const PARTS: [(&str, &[&str]); 2] = [("podman", &["/usr/bin/podman"]), ("busybox-static", &["/bin/busybox"])];
/// What is needed beside them where networks are made.
const NETWORK_PARTS: [(&str, &[&str]); 3] = [
    ("containernetworking-plugins", &["/usr/lib/cni/bridge", "/usr/lib/podman/netavark"]),
    ("iptables", &["/usr/sbin/iptables", "/sbin/iptables"]),
    ("iproute2", &["/usr/sbin/ip", "/sbin/ip", "/bin/ip"]),
];
/// The folder of a test that runs apart, in its process's environment.
const APART: &str = "BIGDATA_TEST_APART";
/// Where a registry may be without TLS, on whatever port.
pub(crate) const REGISTRY: &str = "127.78.0.3";
/// The service ends by itself when nobody has asked it for so long, in seconds: other tests may come between those of
/// containers.
const IDLE_SECONDS: &str = "900";
/// How long it may take until it answers.
const ANSWER_LIMIT: Duration = Duration::from_secs(90);
/// Locks are in files, below the engine's own folder: in shared memory, engines would share them. What watches a command
/// would stay for five minutes.
const SETTINGS: &str = "[engine]\nlock_type = \"file\"\nexit_command_delay = 5\n";

const START: &str = "#!/bin/sh
case \"$MODE\" in
bomb) exec dd if=/dev/zero of=/dev/null bs=256M count=9 ;;
crash) echo begun; echo oops >&2; exit 3 ;;
esac
echo \"at $BIGDATA_ADDRESS\"
echo warned >&2
trap 'echo bye; kill $server; exit 0' TERM
at=\"$BIGDATA_LISTEN_ADDRESS:$BIGDATA_LISTEN_PORT_WEB\"
if [ \"$MODE\" = everywhere ]; then at=8080; fi
httpd -f -p \"$at\" -h /www & server=$!
wait $server
";

static ENGINE: OnceLock<Option<Engine>> = OnceLock::new();

/// An engine that answers.
pub(crate) struct Engine {
    pub(crate) socket: PathBuf,
    /// A folder that holds the image as a file.
    pub(crate) images: PathBuf,
    folder: PathBuf,
    /// It ends by itself, after the tests.
    service: Option<Child>,
}

/// The engine; None where this machine has no Podman, which is an error where tests must not be left out.
pub(crate) fn engine() -> Option<&'static Engine> {
    ENGINE.get_or_init(|| can_run(&PARTS).then(Engine::start)).as_ref()
}

/// Whether these parts are there, each with one of its places.
fn can_run(parts: &[(&'static str, &[&str])]) -> bool {
    let root = nix::unistd::geteuid().is_root();
    let is_missing = |places: &[&str]| !places.iter().any(|place| Path::new(place).exists());
    let missing: Vec<&str> = parts.iter().filter(|(_, places)| is_missing(places)).map(|(name, _)| *name).collect();
    if root && missing.is_empty() {
        return true;
    }
    let why = if root { format!("{} are missing", missing.join(" and ")) } else { "they need root".to_owned() };
    assert!(std::env::var_os("BIGDATA_REQUIRE_PODMAN").is_none(), "the tests of containers cannot run: {why}");
    println!("skipped: the tests of containers cannot run: {why}");
    false
}

/// An engine for a test that makes networks, which runs in namespaces of its own: what an engine does to devices, routes and
/// the firewall is done to these, and goes with them. None: this is not that process. The test, by its whole name, ran
/// there, or cannot run here.
pub(crate) fn apart(test: &str) -> Option<&'static Engine> {
    if std::env::var_os(APART).is_some() {
        return engine();
    }
    (can_run(&PARTS) && can_run(&NETWORK_PARTS)).then_some(())?;
    let folder = tempfile::tempdir().unwrap();
    let program = std::env::current_exe().unwrap();
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "--pid", "--mount-proc", "--fork", "--kill-child", "--", "sh", "-c", ALONE]);
    let output = command.arg(program).arg(test).env(APART, folder.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{test}, apart: {said}");
    None
}

/// What an executor is told of the engine, where a test of containers has asked for it.
pub(crate) fn variables() -> Vec<(&'static str, PathBuf)> {
    let engine = ENGINE.get().and_then(Option::as_ref);
    let told = engine
        .map(|it| [("BIGDATA_CONTAINER_ENGINE", it.socket.clone()), ("BIGDATA_CONTAINER_IMAGES", it.images.clone())]);
    told.into_iter().flatten().collect()
}

impl Engine {
    fn start() -> Self {
        let apart = std::env::var_os(APART).map(PathBuf::from);
        let folder = apart.unwrap_or_else(|| Path::new(env!("CARGO_TARGET_TMPDIR")).join("engine"));
        let images = folder.join("images");
        fs::create_dir_all(&images).unwrap();
        // Another program of tests may be at the same storage. It has a service of its own: one that ends takes its socket
        // away, whoever else uses it.
        let alone = fs::File::create(folder.join("lock")).unwrap();
        alone.lock().unwrap();
        // Whole at any time: the other's engine may read it.
        let settings = tempfile::NamedTempFile::new_in(&folder).unwrap();
        fs::write(&settings, SETTINGS).unwrap();
        settings.persist(folder.join("containers.conf")).unwrap();
        let registries = folder.join("registries.conf");
        fs::write(&registries, format!("[[registry]]\nlocation = \"{REGISTRY}\"\ninsecure = true\n")).unwrap();
        let socket = folder.join(format!("{}.sock", std::process::id()));
        let mut engine = Self { socket, images, folder, service: None };
        let address = format!("unix://{}", engine.socket.display());
        let mut service = engine.podman(&["system", "service", "--time", IDLE_SECONDS, &address]);
        service
            .env("CONTAINERS_REGISTRIES_CONF", registries)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(engine.folder.join("log")).unwrap());
        engine.service = Some(service.spawn().unwrap());
        engine.make_image();
        let begun = Instant::now();
        while UnixStream::connect(&engine.socket).is_err() {
            assert!(begun.elapsed() < ANSWER_LIMIT, "podman's service does not answer");
            std::thread::yield_now();
        }
        engine
    }

    /// Podman's command line on the same storage.
    pub(crate) fn podman(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("podman");
        let folder = self.folder.display();
        command.env("CONTAINERS_CONF", self.folder.join("containers.conf"));
        // What watches a container writes files where it was started.
        command.current_dir(&self.folder);
        command.args(
            [("root", "storage"), ("runroot", "run"), ("tmpdir", "tmp")]
                .map(|(it, name)| format!("--{it}={folder}/{name}")),
        );
        command.args(["--cgroup-manager=cgroupfs", "--events-backend=none"]);
        command.arg(format!("--network-config-dir={folder}/networks"));
        if Path::new("/usr/sbin/runc").exists() {
            command.arg("--runtime=/usr/sbin/runc");
        }
        command.args(arguments);
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        let output = self.podman(arguments).output().unwrap();
        assert!(output.status.success(), "podman {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Makes an image of a folder; `changes` are instructions of a Containerfile.
    pub(crate) fn import(&self, image: &str, root: &Path, changes: &[&str]) {
        let archive = self.folder.join(format!("{}.tar", image.replace(['/', ':'], "_")));
        let packed = Command::new("tar").arg("-C").arg(root).arg("-cf").arg(&archive).arg(".").status().unwrap();
        assert!(packed.success());
        let mut arguments = vec!["import"];
        arguments.extend(changes.iter().flat_map(|change| ["--change", change]));
        self.run(&[&arguments[..], &[archive.to_str().unwrap(), image]].concat());
        fs::remove_file(archive).unwrap();
    }

    /// The containers that carry this label, in whatever state.
    pub(crate) fn containers(&self, label: &str) -> Vec<String> {
        let filter = format!("label={label}");
        self.run(&["ps", "--all", "--quiet", "--filter", &filter]).lines().map(str::to_owned).collect()
    }

    /// The names of the networks that carry a label of the platform.
    pub(crate) fn networks(&self) -> Vec<String> {
        let listed = self.run(&["network", "ls", "--quiet", "--filter", "label=bigdata_registry"]);
        listed.lines().map(str::to_owned).collect()
    }

    fn make_image(&self) {
        let root = tempfile::tempdir().unwrap();
        lay_out(root.path());
        fs::create_dir(root.path().join("www")).unwrap();
        fs::write(root.path().join("www/index.html"), "here\n").unwrap();
        write_program(&root.path().join("start"), START);
        self.import(IMAGE, root.path(), &["CMD [\"/start\"]"]);
        let file = self.images.join("localhost_from-file_1.tar");
        if !file.exists() {
            self.run(&["tag", IMAGE, "localhost/from-file:1"]);
            self.run(&["save", "--output", file.to_str().unwrap(), "localhost/from-file:1"]);
        }
        // The tests of files find that the engine does not have it.
        let _ = self.podman(&["untag", "localhost/from-file:1", "localhost/from-file:1"]).output();
    }
}

/// The smallest system: busybox, and the folders that an engine wants.
pub(crate) fn lay_out(root: &Path) {
    for folder in ["bin", "etc", "tmp", "proc", "sys", "dev"] {
        fs::create_dir(root.join(folder)).unwrap();
    }
    let busybox = root.join("bin/busybox");
    fs::copy("/bin/busybox", &busybox).unwrap();
    // The copy may still be open in a process that another test is just starting, and cannot be run then.
    let applets = Command::new("/bin/busybox").arg("--list").output().unwrap().stdout;
    for applet in String::from_utf8(applets).unwrap().lines().filter(|name| *name != "busybox") {
        symlink("busybox", root.join("bin").join(applet)).unwrap();
    }
    fs::set_permissions(root.join("tmp"), Permissions::from_mode(0o1777)).unwrap();
    fs::write(root.join("etc/passwd"), "root:x:0:0::/:/bin/sh\n").unwrap();
}

/// Writes a script that can be run.
pub(crate) fn write_program(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
}
