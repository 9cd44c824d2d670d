//! The services of one machine in one process.

use super::containers::Containers;
use super::data_directory::{DataDirectory, is_root};
use super::host::Host;
use super::ports::Ports;
use super::settings::Settings;
use super::signals::Signals;
use super::{catalog, log, program};
use crate::client::Api;
use crate::failure::Failure;
use bigdata_chassis::bus::Bus;
use bigdata_chassis::bus::embedded::EmbeddedBus;
use bigdata_chassis::db::Migrations;
use bigdata_chassis::messaging::relay::Relay;
use bigdata_chassis::readiness::CATALOG;
use bigdata_chassis::secret::Token;
use bigdata_chassis::tasks::END_LIMIT;
use bigdata_chassis::{Clock, Db, Deps, Tasks};
use bigdata_framework::{Overhead, UidPool};
use bigdata_gateway::GatewayDeps;
use bigdata_mesos::engine::{self, Engine, Shutdown, Timing};
use bigdata_mesos::v1::{Attribute, Resource};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How long the folder of a node that has ended is kept: its data may be somebody's, and its last lines are stored.
const SANDBOX_RETENTION: Duration = Duration::from_secs(10);
/// Who the framework is to the engine.
const PRINCIPAL: &str = "bigdata";
/// What an executor of this machine uses beside its node.
const EXECUTOR: Overhead = Overhead { cpus: 0.01, mem: 16.0 };

/// A platform that answers.
pub(crate) struct Platform {
    url: String,
    keep_nodes: bool,
    tasks: Tasks,
    engine: Engine,
    databases: Databases,
    directory: DataDirectory,
    /// Held so that no other platform takes the same addresses.
    _host: Host,
}

struct Databases {
    registry: Db,
    framework: Db,
    orchestrator: Db,
}

/// What the services are given, beside a database of their own.
struct Shared {
    bus: Arc<dyn Bus>,
    tasks: Tasks,
    token: Token,
}

impl Platform {
    /// Starts everything; the platform answers, and knows the shipped catalog, when this returns.
    ///
    /// # Errors
    /// When a part cannot be started; the message names it.
    pub(crate) async fn start(settings: Settings) -> Result<Self, Failure> {
        let listen = free_address(settings.listen)?;
        let mut directory = DataDirectory::take(&settings.data_dir)?;
        log::start(&settings.log, &directory.join("log"), settings.log_stderr)?;
        let host = Host::take(&directory.join("host.json"))?;
        let ports = Ports::load(&directory.join("ports.json"), host.address())?;
        let program = program::install(&directory.join("bin"))?;
        let containers = Containers::find().await;
        let (engine, databases) = tokio::try_join!(
            start_engine(&settings, &directory, &host, ports, &containers),
            Databases::open(&directory)
        )?;
        let shared =
            Shared { bus: Arc::new(EmbeddedBus::new()), tasks: Tasks::new(), token: directory.internal_token()? };
        if settings.catalog {
            // The gateway answers before these are known, since they are registered through it.
            shared.tasks.readiness().waits_for(CATALOG, "the shipped products are being registered");
        }
        containers.keep_tidy(&shared.tasks, directory.join("engine"));
        let wiring = Wiring { listen, ports, host: &host, directory: &directory, program: &program };
        build_services(settings.clone(), &wiring, &databases, &shared, &engine).await?;
        for db in [&databases.registry, &databases.framework, &databases.orchestrator] {
            Relay::new(db.clone(), Arc::clone(&shared.bus), Clock::system()).spawn(&shared.tasks);
        }
        let url = format!("http://{listen}");
        directory.announce(&url)?;
        if settings.catalog {
            catalog::register(&Api::public(&url)?, &directory.join("catalog.json")).await?;
            shared.tasks.readiness().has(CATALOG);
        }
        let keep_nodes = settings.keep_nodes;
        Ok(Self { url, keep_nodes, tasks: shared.tasks, engine, databases, directory, _host: host })
    }

    /// Where it answers.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Where it keeps everything.
    pub(crate) fn data_directory(&self) -> &Path {
        self.directory.path()
    }

    /// Runs until a signal comes, then ends in order; a second signal ends the process at once.
    ///
    /// # Errors
    /// When a part of the platform failed meanwhile.
    pub(crate) async fn run_until(self, mut signals: Signals) -> Result<(), Failure> {
        let log = self.directory.join("log/bigdata.log");
        let broken = |part: &str| Err(Failure::Failed(format!("{part} failed; {} says why", log.display())));
        let result = tokio::select! {
            () = signals.next() => Ok(()),
            () = self.tasks.cancelled() => broken("a service"),
            () = self.engine.ended() => broken("the Mesos engine"),
        };
        let nodes = if self.keep_nodes { "the nodes go on" } else { "the nodes are stopped, their data is kept" };
        eprintln!("stopping: {nodes}; once more ends at once");
        tokio::select! {
            () = self.stop() => result,
            () = signals.next() => std::process::exit(130),
        }
    }

    /// Ends everything in order: the services first, so that none of them sees the nodes end and starts them again.
    pub(crate) async fn stop(self) {
        if !self.tasks.shut_down(END_LIMIT).await {
            tracing::warn!("some services did not end in time");
        }
        let executors = if self.keep_nodes { Shutdown::KeepExecutors } else { Shutdown::StopExecutors };
        self.engine.shutdown(executors).await;
        self.databases.close().await;
        tracing::info!("the platform has ended");
    }
}

impl Databases {
    async fn open(directory: &DataDirectory) -> Result<Self, Failure> {
        let open = async |service: &'static str, migrations: Migrations| {
            let url = format!("sqlite:{}", directory.join("db").join(service).with_extension("db").display());
            Db::open(&url, service, migrations).await.map_err(|error| {
                Failure::Failed(format!("the {service}'s database: {}", crate::failure::chain(&error)))
            })
        };
        let (registry, framework, orchestrator) = tokio::try_join!(
            open("registry", bigdata_registry::MIGRATIONS),
            open("framework", bigdata_framework::MIGRATIONS),
            open("orchestrator", bigdata_orchestrator::MIGRATIONS),
        )?;
        Ok(Self { registry, framework, orchestrator })
    }

    async fn close(&self) {
        let all = async { tokio::join!(self.registry.close(), self.framework.close(), self.orchestrator.close()) };
        // What is not closed is what SQLite repairs at the next start.
        let _ = tokio::time::timeout(END_LIMIT, all).await;
    }
}

/// The address to listen on, with its port chosen where it says 0.
fn free_address(listen: SocketAddr) -> Result<SocketAddr, Failure> {
    TcpListener::bind(listen).and_then(|listener| listener.local_addr()).map_err(|error| {
        Failure::Failed(format!(
            "the platform cannot listen on {listen}: {error}\n  next: stop what listens there, or use another --listen"
        ))
    })
}

async fn start_engine(
    settings: &Settings,
    directory: &DataDirectory,
    host: &Host,
    ports: Ports,
    containers: &Containers,
) -> Result<Engine, Failure> {
    let listen = SocketAddr::from((host.address(), ports.engine));
    let node_ports = ports.of_nodes();
    let resources = settings.parsed_resources()?.map(|mut resources| {
        resources.push(Resource::ports(node_ports.iter().copied()));
        resources
    });
    let mounted_disks = settings.disks.clone();
    let settings = engine::Settings {
        hostname: nix::unistd::gethostname()
            .ok()
            .and_then(|name| name.into_string().ok())
            .unwrap_or_else(|| "localhost".to_owned()),
        attributes: [Attribute::text("bigdata_net", &host.network())]
            .into_iter()
            .chain(containers.attribute())
            .collect(),
        executor_environment: containers.variables(),
        resources,
        mounted_disks,
        ports: node_ports,
        credential: Some((PRINCIPAL.to_owned(), directory.engine_secret()?.expose().to_owned())),
        timing: Timing { sandbox_retention: SANDBOX_RETENTION, ..Timing::default() },
        ..engine::Settings::new(listen, directory.join("engine"))
    };
    Engine::start(settings).await.map_err(|error| Failure::of(&error))
}

/// What joins the services.
struct Wiring<'a> {
    listen: SocketAddr,
    ports: Ports,
    host: &'a Host,
    directory: &'a DataDirectory,
    program: &'a PathBuf,
}

impl Wiring<'_> {
    fn address(&self, port: u16) -> SocketAddr {
        SocketAddr::from((self.host.address(), port))
    }

    fn url(&self, port: u16) -> String {
        format!("http://{}", self.address(port))
    }

    fn registry(&self, settings: bigdata_registry::Settings) -> bigdata_registry::Settings {
        bigdata_registry::Settings {
            listen: self.address(self.ports.registry),
            key_file: self.directory.join("keys/registry.key"),
            program: Some(self.program.clone()),
            ..settings
        }
    }

    fn framework(
        &self,
        settings: bigdata_framework::Settings,
        engine: &Engine,
    ) -> Result<bigdata_framework::Settings, Failure> {
        let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten();
        let (first, last) = self.host.cluster_uids();
        Ok(bigdata_framework::Settings {
            listen: self.address(self.ports.framework).to_string(),
            url: None,
            registry: self.url(self.ports.registry),
            masters: vec![format!("http://{}", engine.address())],
            principal: Some(PRINCIPAL.to_owned()),
            secret: Some(self.directory.engine_secret()?),
            secret_file: None,
            user: user.map_or_else(|| "nobody".to_owned(), |user| user.name),
            executor_command: vec![self.program.display().to_string(), "executor".to_owned()],
            executor: EXECUTOR,
            uid_pool: is_root().then_some(UidPool { first, last }),
            control_key: Some(self.directory.control_key()?),
            ..settings
        })
    }

    fn orchestrator(&self, settings: bigdata_orchestrator::Settings) -> bigdata_orchestrator::Settings {
        bigdata_orchestrator::Settings {
            listen: self.address(self.ports.orchestrator).to_string(),
            registry: self.url(self.ports.registry),
            gateway: format!("http://{}", self.listen),
            work_dir: self.directory.join("run"),
            program: self.program.clone(),
            vault_key: self.directory.join("keys/orchestrator.key"),
            script_uid_first: self.host.script_uid_first(),
            backups_url: settings.backups_url.or_else(|| Some(self.directory.join("backups").display().to_string())),
            ..settings
        }
    }

    fn gateway(&self, settings: bigdata_gateway::Settings) -> bigdata_gateway::Settings {
        bigdata_gateway::Settings {
            listen: self.listen,
            registry: self.address(self.ports.registry).into(),
            framework: self.address(self.ports.framework).into(),
            orchestrator: self.address(self.ports.orchestrator).into(),
            ..settings
        }
    }
}

/// Each answers before another asks it: the registry first, the orchestrator, whose scripts need all others, last.
async fn build_services(
    settings: Settings,
    wiring: &Wiring<'_>,
    databases: &Databases,
    shared: &Shared,
    engine: &Engine,
) -> Result<(), Failure> {
    let deps = |db: &Db| Deps {
        db: db.clone(),
        bus: Arc::clone(&shared.bus),
        clock: Clock::system(),
        tasks: shared.tasks.clone(),
        internal_token: shared.token.clone(),
    };
    let gateway_deps =
        GatewayDeps { clock: Clock::system(), tasks: shared.tasks.clone(), internal_token: shared.token.clone() };
    bigdata_registry::build(wiring.registry(settings.registry), deps(&databases.registry))
        .await
        .map_err(|error| Failure::of(&error))?;
    let framework = wiring.framework(settings.framework, engine)?;
    tokio::try_join!(
        async {
            let built = bigdata_framework::build(framework, deps(&databases.framework)).await;
            built.map_err(|error| Failure::of(&error))
        },
        async {
            let built = bigdata_gateway::build(wiring.gateway(settings.gateway), gateway_deps).await;
            built.map_err(|error| Failure::of(&error))
        },
    )?;
    bigdata_orchestrator::build(wiring.orchestrator(settings.orchestrator), deps(&databases.orchestrator))
        .await
        .map_err(|error| Failure::of(&error))?;
    Ok(())
}
