//! The composition root of a process that is one service: settings, logs, measures, database, bus, and an orderly end.
//!
//! A service's `main` is [`run`] with a function that builds it from [`Start`]. Until its database answers, the process
//! listens already and says on `/ready` what it waits for; everything else is answered 503.

use crate::bus::rabbitmq::{self, BusSettings, RabbitBus};
use crate::bus::{Bus, BusState};
use crate::db::{DatabaseSettings, Migrations, OpenError};
use crate::http::{ApiError, server};
use crate::messaging::relay::Relay;
use crate::secret::Token;
use crate::settings::{Sections, SettingsError};
use crate::tasks::END_LIMIT;
use crate::telemetry::{self, LogSettings};
use crate::{Clock, Db, Deps, Readiness, Service, Tasks, measures};
use actix_web::web;
use bigdata_common::api::problem::ProblemCode;
use clap::Parser;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::error::Error;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// Every section of a fleet's settings file. A service reads the shared ones and its own.
const SECTIONS: &[&str] = &["database", "bus", "log", "internal", "registry", "framework", "orchestrator", "gateway"];
/// How often it is looked whether database and bus answer. A look has a limit of its own: what is wrong is told within
/// twice as long.
const WATCH_EVERY: Duration = Duration::from_secs(1);
/// The longest wait between two tries to open the database.
const OPEN_BACKOFF_MAX: Duration = Duration::from_secs(5);

/// Flags of every service.
#[derive(Debug, Parser)]
#[command(version, about = "One service of the Big Data PaaS; docs/fleet.md tells how they work together")]
struct Arguments {
    /// Settings in TOML; the environment (BIGDATA__SECTION__KEY) outranks them
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Read the settings, say what is wrong with them, and end
    #[arg(long)]
    check: bool,
}

/// What proves one service to another.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct InternalSettings {
    /// A file with the deployment's token, readable by the services alone.
    token_file: PathBuf,
}

/// Why a service does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The settings cannot be used.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// A setting names something that cannot be used.
    #[error("{0}")]
    Unusable(String),
    /// The database will not get better by waiting.
    #[error("the database cannot be used")]
    Database(#[from] OpenError),
    /// The bus's settings cannot be used.
    #[error("the bus cannot be used")]
    Bus(#[from] rabbitmq::SettingsError),
    /// The service itself.
    #[error(transparent)]
    Build(Box<dyn Error + Send + Sync>),
}

impl StartError {
    /// The service's own error.
    pub fn of(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Build(error.into())
    }
}

/// What a service is built from.
#[derive(Debug)]
pub struct Start {
    name: &'static str,
    sections: Sections,
    tasks: Tasks,
    token: Token,
}

/// Runs a service until SIGTERM or Ctrl-C, then ends it in order; a second signal ends it at once. `build` starts it.
///
/// Exit codes: 0 after an orderly end, 1 where the service failed, 2 where its settings cannot be used.
pub fn run<S: DeserializeOwned>(
    name: &'static str,
    build: impl AsyncFnOnce(S, &Start) -> Result<Service, StartError>,
) -> ExitCode {
    run_checked(name, |_| Ok(()), build)
}

/// The same for a service whose settings can be of the right form and still be of no use: `check` says what is wrong, before
/// anything is started and for `--check`.
pub fn run_checked<S: DeserializeOwned>(
    name: &'static str,
    check: impl FnOnce(&S) -> Result<(), StartError>,
    build: impl AsyncFnOnce(S, &Start) -> Result<Service, StartError>,
) -> ExitCode {
    let arguments = Arguments::parse();
    let read = Start::read(name, arguments.config.as_deref()).and_then(|start| {
        let settings = start.sections.section::<S>(name)?;
        check(&settings)?;
        Ok((start, settings))
    });
    let (start, settings) = match read {
        Ok(read) => read,
        Err(error) => {
            eprintln!("bigdata-{name}: {}", chain(&error));
            return ExitCode::from(2);
        }
    };
    if arguments.check {
        println!("bigdata-{name}: the settings can be used");
        return ExitCode::SUCCESS;
    }
    measures::install();
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(live(start, settings, build)),
        Err(error) => {
            eprintln!("bigdata-{name}: the runtime cannot be started: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn live<S>(
    start: Start,
    settings: S,
    build: impl AsyncFnOnce(S, &Start) -> Result<Service, StartError>,
) -> ExitCode {
    let signals = signal(SignalKind::terminate()).and_then(|term| Ok((term, signal(SignalKind::interrupt())?)));
    let Ok((mut terminate, mut interrupt)) = signals else { return ExitCode::FAILURE };
    let mut asked = async || tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} };
    start.tasks.readiness().waits_for("start", "the service starts");
    let built = tokio::select! {
        built = build(settings, &start) => built,
        () = asked() => return ExitCode::SUCCESS,
    };
    let code = match built {
        Err(error) => {
            tracing::error!(error = chain(&error), "the service does not start");
            eprintln!("bigdata-{}: {}", start.name, chain(&error));
            ExitCode::FAILURE
        }
        Ok(service) => {
            start.tasks.readiness().has("start");
            tracing::info!(service = start.name, address = %service.address, "the service answers");
            tokio::select! {
                () = asked() => ExitCode::SUCCESS,
                () = start.tasks.cancelled() => ExitCode::FAILURE,
            }
        }
    };
    start.tasks.readiness().waits_for("end", "the process is being ended");
    tokio::select! {
        ended = start.tasks.shut_down(END_LIMIT) => if !ended {
            tracing::warn!("some work did not end in time");
        },
        () = asked() => return ExitCode::from(130),
    }
    tracing::info!(service = start.name, "the service has ended");
    code
}

impl Start {
    fn read(name: &'static str, file: Option<&Path>) -> Result<Self, StartError> {
        let sections = Sections::read(file, SECTIONS)?;
        let log: LogSettings = sections.section("log")?;
        let internal: InternalSettings = sections.section("internal")?;
        let token = read_token(&internal.token_file)?;
        telemetry::init(&log, std::io::stderr);
        Ok(Self { name, sections, tasks: Tasks::new(), token })
    }

    /// Where the service spawns its work.
    pub fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    /// What proves one service to another.
    pub fn token(&self) -> &Token {
        &self.token
    }

    /// Everything that a service with a database of its own needs. Waits for the database for as long as it takes, and
    /// answers on `listen` meanwhile; the bus may come later.
    ///
    /// # Errors
    /// When waiting will not help: settings, or a schema newer than this program.
    pub async fn deps(&self, listen: &str, migrations: Migrations) -> Result<Deps, StartError> {
        let database: DatabaseSettings = self.sections.section("database")?;
        let bus: BusSettings = self.sections.section("bus")?;
        let opening = self.answer_meanwhile(listen)?;
        let db = self.open(&database, migrations).await;
        opening.shut_down(END_LIMIT).await;
        let db = db?;
        let bus: Arc<dyn Bus> = Arc::new(RabbitBus::connect(&bus, &self.tasks)?);
        Relay::new(db.clone(), Arc::clone(&bus), Clock::system()).spawn(&self.tasks);
        look(&db, bus.as_ref(), self.tasks.readiness()).await;
        self.watch(db.clone(), Arc::clone(&bus));
        Ok(Deps { db, bus, clock: Clock::system(), tasks: self.tasks.clone(), internal_token: self.token.clone() })
    }

    /// Serves what is known before the service is: that it lives, and what it waits for.
    fn answer_meanwhile(&self, listen: &str) -> Result<Tasks, StartError> {
        let failed = |error| StartError::Unusable(format!("bigdata-{} cannot listen on {listen}: {error}", self.name));
        let listener = TcpListener::bind(listen).map_err(failed)?;
        let tasks = Tasks::with_readiness(self.tasks.readiness().clone());
        let routes = |config: &mut web::ServiceConfig| {
            config.default_service(web::to(starting));
        };
        server::serve(listener, 1, &self.token, &tasks, routes).map_err(failed)?;
        Ok(tasks)
    }

    async fn open(&self, settings: &DatabaseSettings, migrations: Migrations) -> Result<Db, StartError> {
        let mut backoff = Duration::from_millis(100);
        loop {
            match Db::open_with(settings, self.name, migrations).await {
                Ok(db) => {
                    self.tasks.readiness().has("database");
                    return Ok(db);
                }
                Err(error) if error.is_lasting() => return Err(error.into()),
                Err(error) => self.tasks.readiness().waits_for("database", chain(&error)),
            }
            tokio::time::sleep(backoff).await;
            backoff = (backoff * 2).min(OPEN_BACKOFF_MAX);
        }
    }

    /// Keeps what the process says of itself true.
    fn watch(&self, db: Db, bus: Arc<dyn Bus>) {
        let (token, readiness) = (self.tasks.token(), self.tasks.readiness().clone());
        self.tasks.spawn("watch of database and bus", async move {
            loop {
                look(&db, bus.as_ref(), &readiness).await;
                measures::keep_small();
                if tokio::time::timeout(WATCH_EVERY, token.cancelled()).await.is_ok() {
                    return;
                }
            }
        });
    }
}

async fn look(db: &Db, bus: &dyn Bus, readiness: &Readiness) {
    match db.waiting_events().await {
        Ok(events) => {
            readiness.has("database");
            metrics::gauge!("bigdata_outbox_events").set(f64::from(events));
        }
        Err(error) => readiness.waits_for("database", chain(&error)),
    }
    match bus.state() {
        BusState::Connected => readiness.has("bus"),
        BusState::Waiting { reason } => readiness.is_held_up_by("bus", reason),
    }
    metrics::gauge!("bigdata_database_connections").set(f64::from(db.connections()));
    metrics::gauge!("bigdata_ready").set(if readiness.awaited().is_empty() { 1.0 } else { 0.0 });
}

async fn starting() -> Result<String, ApiError> {
    Err(ApiError::new(ProblemCode::ServiceUnavailable, "the service is starting; GET /ready says what it waits for"))
}

fn read_token(path: &Path) -> Result<Token, StartError> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| StartError::Unusable(format!("internal.token_file {}: {error}", path.display())))?;
    let text = text.trim();
    if text.len() < 32 {
        let detail = format!("internal.token_file {}: it must hold at least 32 characters", path.display());
        return Err(StartError::Unusable(detail));
    }
    Ok(Token::from_text(text))
}

/// An error and its sources on one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
