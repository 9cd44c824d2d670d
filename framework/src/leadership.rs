//! Which replica leads. One does, by a lease in the database; it alone subscribes at the master, takes events and writes.
//!
//! Everything that a leader writes shows its token ([`crate::store::Claim`]), and every call leaves within the lease: one
//! that stood still for minutes does nothing when it goes on. A follower answers with the leader's URL, and reads the
//! database anew when it leads. It binds no queue: an event is a hint, and a new leader reads the whole truth at once.

mod lease;

use crate::BuildError;
use crate::core::{Core, Fetched, Policy, State};
use crate::driver::{Commands, Driver, End, Handle, MesosSettings, waits_for_nothing};
use crate::placement::{Pools, Rules};
use crate::registry::Registry;
use crate::settings::Settings;
use crate::store::{self, Acquired, Claim};
use bigdata_chassis::Deps;
use bigdata_chassis::http::InternalClient;
use bigdata_chassis::messaging::consumer;
use bigdata_chassis::secret::random_bytes;
use bigdata_common::event::subscriptions;
pub(crate) use lease::Lease;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

/// The wait between two tries to learn who the registry is.
const IDENTITY_RETRY: Duration = Duration::from_millis(500);
/// What is waited for until it is known whose nodes these are.
const REGISTRY: &str = "registry";
/// The longest wait between two tries to lead; less where the lease is shorter.
const TRY_EVERY: Duration = Duration::from_secs(1);
/// How long the work of a term may take to end.
const END_LIMIT: Duration = Duration::from_secs(5);

/// A replica that leads or follows.
pub(crate) struct Replica {
    pub settings: Settings,
    pub deps: Deps,
    pub client: InternalClient,
    pub registry: Registry,
    pub driver: Handle,
    /// Where this replica answers.
    pub url: String,
    /// This process, among all that ever were.
    pub holder: Uuid,
    /// Whether `url` is the very address that this process listens on, so that nobody else alive can.
    pub is_alone_there: bool,
}

/// A replica's time as the leader, from what the database holds at its beginning.
pub(crate) struct Term {
    lease: Lease,
    state: State,
    commands: Commands,
}

impl Replica {
    fn lease_length(&self) -> Duration {
        Duration::from_millis(self.settings.lease_ms)
    }

    /// Tries to lead. `first`: the process has not tried yet, so that a leader at its own address is a former process.
    ///
    /// # Errors
    /// When the database or the bus refuses; then the lease is given up again, or runs out.
    pub(crate) async fn try_to_lead(&self, first: bool) -> Result<Option<Term>, BuildError> {
        let Deps { db, clock, .. } = &self.deps;
        let unreadable = |error| BuildError::Database(Box::new(error));
        let (asked, length) = (Instant::now(), self.lease_length());
        let at_once = first && (self.is_alone_there || !db.is_postgres());
        let acquired = store::acquire(db, self.holder, &self.url, length, at_once, clock.now()).await;
        let lease = match acquired.map_err(unreadable)? {
            Acquired::Leads(claim) => Lease::new(claim, asked, length, !db.is_postgres()),
            Acquired::Follows(leader) => {
                self.driver.follow(Some(leader).filter(|url| !url.is_empty()));
                return Ok(None);
            }
        };
        tracing::info!(token = lease.claim().token, "this replica leads");
        lease.tasks().spawn("leadership", lease.clone().keep(db.clone(), clock.clone()));
        match self.begin(&lease).await {
            Ok(term) => Ok(Some(term)),
            Err(error) => {
                self.end(&lease, true).await;
                Err(error)
            }
        }
    }

    async fn begin(&self, lease: &Lease) -> Result<Term, BuildError> {
        let Deps { db, bus, clock, .. } = &self.deps;
        let state = store::load(db).await.map_err(|error| BuildError::Database(Box::new(error)))?;
        let commands = self.driver.lead();
        let handler = Arc::new(self.registry.clone());
        let (db, clock) = (db.clone(), clock.clone());
        consumer::spawn("framework", subscriptions::FRAMEWORK, bus, db, clock, lease.tasks(), handler).await?;
        let every = Duration::from_millis(self.settings.reconcile_ms);
        self.registry.clone().spawn_timer(every, lease.tasks());
        self.registry.clone().spawn_heard(every, lease.tasks());
        self.registry.clone().spawn_engines(every, lease.tasks());
        Ok(Term { lease: lease.clone(), state, commands })
    }

    /// Leads and follows in turn, until the tasks end.
    pub(crate) async fn run(self, first: Option<Term>) {
        let token = self.deps.tasks.token();
        let mut term = first;
        loop {
            if let Some(term) = term.take() {
                let lease = term.lease.clone();
                let end = self.lead(term).await;
                // A task of the term that panicked took the term with it, and not the lease.
                let broken = end == End::Broken || (end == End::Lost && lease.is_held());
                self.end(&lease, end != End::Lost).await;
                if broken {
                    token.cancel();
                }
                if broken || end == End::Stopped {
                    return;
                }
                tracing::warn!("another replica leads, or may: this one follows");
            }
            tokio::select! {
                () = token.cancelled() => return,
                () = tokio::time::sleep(TRY_EVERY.min(self.lease_length() / 4)) => {}
            }
            term = match self.try_to_lead(false).await {
                Ok(term) => term,
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "leading is tried again");
                    None
                }
            };
        }
    }

    /// Ends what runs during a term, and hands the lease on where nothing that it covers is left.
    async fn end(&self, lease: &Lease, hand_on: bool) {
        self.driver.follow(None);
        waits_for_nothing(self.deps.tasks.readiness());
        self.deps.tasks.readiness().has(REGISTRY);
        let ended = lease.tasks().shut_down(END_LIMIT).await;
        if hand_on
            && ended
            && let Err(error) = store::release(&self.deps.db, lease.claim()).await
        {
            tracing::warn!(error = &error as &dyn std::error::Error, "the leadership is not handed on; it runs out");
        }
    }

    /// Waits until it is known whose nodes these are, then runs the core.
    async fn lead(&self, term: Term) -> End {
        let Term { lease, state, commands } = term;
        let token = self.deps.tasks.token();
        let ended = lease.tasks().token();
        let registry = tokio::select! {
            () = token.cancelled() => return End::Stopped,
            () = lease.lost() => return End::Lost,
            () = ended.cancelled() => return End::Lost,
            id = self.registry_id(lease.claim()) => id,
        };
        let core = Core::new(self.policy(registry), state, random_bytes());
        Driver::new(core, self.deps.clone(), commands, MesosSettings::of(&self.settings), lease).run().await
    }

    fn policy(&self, registry: String) -> Policy {
        let settings = &self.settings;
        Policy {
            rules: Rules {
                role: settings.role.clone(),
                registry,
                principal: settings.principal.clone(),
                executor_cpus: settings.executor.cpus,
                executor_mem: settings.executor.mem,
                // They were looked at when the service was built.
                pools: Arc::new(Pools::new(&settings.networks).unwrap_or_default()),
            },
            url: settings.url.clone().unwrap_or_else(|| self.url.clone()),
            executor_command: settings.executor_command.clone(),
            executor_fetched: settings.executor_uri.clone().map(|uri| Fetched {
                uri,
                sha256: settings.executor_sha256.as_ref().map(|sum| sum.to_ascii_lowercase()),
            }),
            executor_path: settings.executor_path.clone(),
            uid_pool: settings.uid_pool.map(|pool| (pool.first, pool.last)),
            attempts: settings.attempts,
            hold_ms: settings.hold_ms,
            release_limit_ms: settings.release_limit_ms,
            unreachable_launch_ms: settings.unreachable_launch_ms,
            replace_pause_ms: settings.replace_pause_ms,
            replace_away_percent: settings.replace_away_percent,
            adopt_nothing: settings.adopt_nothing,
            tell_again_ms: settings.reconcile_ms,
        }
    }

    /// The registry's id. A database that belongs to another registry is not worked with: its nodes and volumes are not
    /// ours.
    async fn registry_id(&self, claim: &Claim) -> String {
        loop {
            match self.learn_registry_id(claim).await {
                Ok(id) => {
                    self.deps.tasks.readiness().has(REGISTRY);
                    return id;
                }
                Err(error) => self.deps.tasks.readiness().is_held_up_by(REGISTRY, error),
            }
            tokio::time::sleep(IDENTITY_RETRY).await;
        }
    }

    async fn learn_registry_id(&self, claim: &Claim) -> Result<String, String> {
        let db = &self.deps.db;
        let known = store::registry_id(db).await.map_err(|error| error.to_string())?;
        let told = Registry::id(&self.client).await.map_err(|error| error.to_string())?.to_string();
        match known {
            Some(known) if known == told => Ok(told),
            Some(known) => Err(format!(
                "the registry is {told}, and this framework's nodes belong to {known}: nothing is done until it is the \
                 same; restore the backup of both databases from one time and start again"
            )),
            None => {
                store::set_registry_id(db, claim, &told).await.map_err(|error| error.to_string())?;
                Ok(told)
            }
        }
    }
}
