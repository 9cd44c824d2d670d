//! A registry of images that asks for a user and a password, and what an executor says when it has none, or others.

use crate::containers::{GRACE, described, launch_as};
use crate::engine::{Engine, IMAGE, REGISTRY, engine};
use crate::harness::{DEADLINE, base64};
use bigdata_mesos::v1::TaskState;
use serde_json::{Value, json};
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;
use tempfile::TempDir;

const USER: &str = "puller";
/// Beside the one of the node's secrets, `s3cret`.
const OTHER_PASSWORD: &str = "an0ther";

/// A registry with one image, `NAME/private:1`.
struct Registry {
    server: Child,
    name: String,
    _folder: TempDir,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

impl Registry {
    /// None where this machine has none to run, which is an error where tests must not be left out.
    fn start(engine: &Engine) -> Option<Self> {
        if Command::new("docker-registry").arg("--version").output().is_err() {
            assert!(
                std::env::var_os("BIGDATA_REQUIRE_PODMAN").is_none(),
                "apt-get install docker-registry apache2-utils"
            );
            println!("skipped: there is no docker-registry");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let passwords = folder.path().join("passwords");
        // Registries take no other form than bcrypt's.
        let entries = ["s3cret", OTHER_PASSWORD].map(|password| {
            let user = if password == OTHER_PASSWORD { "agent" } else { USER };
            let output = Command::new("htpasswd").args(["-nbB", "-C", "4", user, password]).output().unwrap();
            String::from_utf8(output.stdout).unwrap()
        });
        fs::write(&passwords, entries.concat()).unwrap();
        let free = TcpListener::bind((REGISTRY, 0)).unwrap();
        let name = free.local_addr().unwrap().to_string();
        drop(free);
        let settings = json!({
            "version": "0.1",
            "log": { "level": "error" },
            "storage": { "filesystem": { "rootdirectory": folder.path().join("images") } },
            "http": { "addr": name },
            "auth": { "htpasswd": { "realm": "test", "path": passwords } },
        });
        // JSON is YAML, too.
        fs::write(folder.path().join("config.yml"), settings.to_string()).unwrap();
        let mut server = Command::new("docker-registry");
        server.arg("serve").arg(folder.path().join("config.yml")).stdin(Stdio::null());
        let server = server.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let registry = Self { server, name, _folder: folder };
        let begun = Instant::now();
        while std::net::TcpStream::connect(&registry.name).is_err() {
            assert!(begun.elapsed() < DEADLINE, "the registry does not answer");
            std::thread::yield_now();
        }
        let own = registry.image();
        let login = format!("{USER}:s3cret");
        engine.run(&["push", "--quiet", "--tls-verify=false", "--creds", &login, IMAGE, &format!("docker://{own}")]);
        Some(registry)
    }

    fn image(&self) -> String {
        format!("{}/private:1", self.name)
    }

    /// A file as `docker login` writes it.
    fn auth_file(&self, folder: &Path, user: &str, password: &str) -> std::path::PathBuf {
        let file = folder.join("config.json");
        let auth = base64(format!("{user}:{password}").as_bytes());
        fs::write(&file, json!({ "auths": { self.name.clone(): { "auth": auth } } }).to_string()).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        file
    }
}

/// Why a node with this image does not come to run.
async fn failure(document: Value, auth_file: Option<&Path>) -> String {
    let mut node = launch_as(described(document), auth_file).await;
    let (status, _) = node.wait_for(TaskState::Failed).await;
    node.over().await;
    let message = status.message.unwrap();
    let shown = fs::read_to_string(node.directory.path().join("executor.log")).unwrap_or_default() + &message;
    for secret in ["s3cret", OTHER_PASSWORD, "wr0ng", &base64(b"agent:wr0ng"), &base64(b"puller:wr0ng")] {
        assert!(!shown.contains(secret), "{secret} is shown: {shown}");
    }
    message
}

async fn runs(engine: &Engine, image: &str, document: Value, auth_file: Option<&Path>) {
    let mut node = launch_as(described(document), auth_file).await;
    node.wait_for(TaskState::Running).await;
    node.kill(GRACE).await;
    engine.run(&["rmi", "--force", image]);
}

#[tokio::test]
async fn images_are_pulled_as_the_product_or_the_agent_says() {
    let Some(engine) = engine() else { return };
    let Some(registry) = Registry::start(engine) else { return };
    let (image, folder) = (registry.image(), tempfile::tempdir().unwrap());
    let by_product = json!({
        "docker_image": image, "image_credentials": { "username": USER, "password": "@{secret:password}" },
    });
    runs(engine, &image, by_product.clone(), None).await;
    let file = registry.auth_file(folder.path(), "agent", OTHER_PASSWORD);
    runs(engine, &image, json!({ "docker_image": image }), Some(&file)).await;
    let empty = json!({ "docker_image": image, "image_credentials": { "username": "", "password": "" } });
    runs(engine, &image, empty, Some(&file)).await;

    let name = &registry.name;
    let told = failure(json!({ "docker_image": image }), None).await;
    let begins = format!("the image {image} cannot be pulled: {name} refuses it (without credentials): ");
    assert!(told.starts_with(&begins), "{told}");
    let wrong = registry.auth_file(folder.path(), "agent", "wr0ng");
    let told = failure(json!({ "docker_image": image }), Some(&wrong)).await;
    assert!(told.contains(&format!("{name} refuses it (as agent): ")), "{told}");
    let mut missing = by_product;
    missing["docker_image"] = format!("{name}/private:2").into();
    let told = failure(missing, None).await;
    assert!(told.contains(&format!("{name} has no such image: ")), "{told}");
    fs::set_permissions(&wrong, fs::Permissions::from_mode(0o644)).unwrap();
    let told = failure(json!({ "docker_image": image }), Some(&wrong)).await;
    assert!(told.contains("others may read them (mode 644): chmod 600"), "{told}");
}
