//! The services in the test's process, with an agent whose nodes share its address, as those of most fleets do: containers'
//! ports are published there. `bigdata up` gives each node an address of its own.

use super::Boxes;
use crate::engine::variables;
use crate::support::{Data, PROGRAM, Platform};
use bigdata_chassis::bus::Bus;
use bigdata_chassis::bus::embedded::EmbeddedBus;
use bigdata_chassis::db::Migrations;
use bigdata_chassis::http::client::install_tls_provider;
use bigdata_chassis::messaging::relay::Relay;
use bigdata_chassis::secret::Token;
use bigdata_chassis::{Clock, Db, Deps, Tasks};
use bigdata_gateway::GatewayDeps;
use bigdata_mesos::engine::{self, Engine, Shutdown};
use bigdata_mesos::v1::{Attribute, Resource};
use std::fs::Permissions;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;

/// The machine's address. The test has a network of its own, so it and the ports are nobody else's.
const MACHINE: [u8; 4] = [10, 88, 9, 1];
const GATEWAY: ([u8; 4], u16) = ([127, 0, 0, 1], 5000);
const ENGINE_PORT: u16 = 5050;

/// One of every service.
pub(super) struct Services<'a> {
    data: &'a Data,
    runtime: Runtime,
    tasks: Tasks,
    engine: Option<Engine>,
}

impl<'a> Services<'a> {
    /// Starts them; the gateway answers.
    pub(super) fn start(boxes: &'a Boxes) -> Self {
        let address = format!("{}/32", std::net::Ipv4Addr::from(MACHINE));
        assert!(Command::new("ip").args(["address", "add", &address, "dev", "lo"]).status().unwrap().success());
        let folder = boxes.data.path();
        std::fs::create_dir(&folder).unwrap();
        // Scripts have users of their own, who may not look into where this was built.
        std::fs::set_permissions(&folder, Permissions::from_mode(0o711)).unwrap();
        std::fs::copy(PROGRAM, folder.join("bigdata")).unwrap();
        install_tls_provider();
        let runtime = Runtime::new().unwrap();
        let tasks = Tasks::new();
        let engine = runtime.block_on(serve(&folder, &tasks));
        Self { data: &boxes.data, runtime, tasks, engine: Some(engine) }
    }

    /// A caller of them.
    pub(super) fn platform(&self) -> Platform {
        Platform::at(GATEWAY.into(), self.data)
    }
}

impl Drop for Services<'_> {
    fn drop(&mut self) {
        self.runtime.block_on(async {
            self.tasks.shut_down(Duration::from_secs(20)).await;
            if let Some(engine) = self.engine.take() {
                engine.shutdown(Shutdown::StopExecutors).await;
            }
        });
    }
}

async fn serve(folder: &Path, tasks: &Tasks) -> Engine {
    let (bus, token): (Arc<dyn Bus>, _) = (Arc::new(EmbeddedBus::new()), Token::random());
    let deps = async |service: &'static str, migrations: Migrations| {
        let url = format!("sqlite:{}", folder.join(service).with_extension("db").display());
        let db = Db::open(&url, service, migrations).await.unwrap();
        Relay::new(db.clone(), Arc::clone(&bus), Clock::system()).spawn(tasks);
        let (bus, internal_token) = (Arc::clone(&bus), token.clone());
        Deps { db, bus, clock: Clock::system(), tasks: tasks.clone(), internal_token }
    };
    let program = folder.join("bigdata");
    let engine = agent(folder).await;
    let settings = bigdata_registry::Settings {
        key_file: folder.join("registry.key"),
        program: Some(program.clone()),
        ..bigdata_registry::Settings::default()
    };
    let registry =
        bigdata_registry::build(settings, deps("registry", bigdata_registry::MIGRATIONS).await).await.unwrap();
    let settings = bigdata_framework::Settings {
        registry: registry.url(),
        masters: vec![format!("http://{}", engine.address())],
        executor_command: vec![program.display().to_string(), "executor".to_owned()],
        control_key: Some(Token::random()),
        ..bigdata_framework::Settings::default()
    };
    let framework =
        bigdata_framework::build(settings, deps("framework", bigdata_framework::MIGRATIONS).await).await.unwrap();
    let settings = bigdata_orchestrator::Settings {
        registry: registry.url(),
        gateway: format!("http://{}", SocketAddr::from(GATEWAY)),
        work_dir: folder.join("run"),
        program,
        vault_key: folder.join("orchestrator.key"),
        ..bigdata_orchestrator::Settings::default()
    };
    let deps = deps("orchestrator", bigdata_orchestrator::MIGRATIONS).await;
    let orchestrator = bigdata_orchestrator::build(settings, deps).await.unwrap();
    let settings = bigdata_gateway::Settings {
        listen: GATEWAY.into(),
        registry: registry.address.into(),
        framework: framework.address.into(),
        orchestrator: orchestrator.address.into(),
        ..bigdata_gateway::Settings::default()
    };
    let deps = GatewayDeps { clock: Clock::system(), tasks: tasks.clone(), internal_token: token };
    bigdata_gateway::build(settings, deps).await.unwrap();
    engine
}

/// A Mesos agent of this machine, and its master.
async fn agent(folder: &Path) -> Engine {
    let told = variables().into_iter().map(|(name, path)| (name.to_owned(), path.display().to_string()));
    let settings = engine::Settings {
        attributes: vec![Attribute::text("bigdata_net", "host"), Attribute::text("bigdata_containers", "true")],
        executor_environment: told.collect(),
        resources: Some(vec![
            Resource::scalar("cpus", 8.0),
            Resource::scalar("mem", 8192.0),
            Resource::scalar("disk", 20_000.0),
            Resource::ports([(31_000, 31_100)]),
        ]),
        ..engine::Settings::new((MACHINE, ENGINE_PORT).into(), folder.join("engine"))
    };
    Engine::start(settings).await.unwrap()
}
