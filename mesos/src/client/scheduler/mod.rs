//! A framework's scheduler: one long-lived subscription at the leading master, and calls beside it.

mod calls;
mod driver;
mod master;
mod state;
mod zookeeper;

use std::sync::{Arc, RwLock};
use std::time::Duration;

use reqwest::Url;
use tokio::sync::mpsc;

pub use calls::{CallError, Handle};
pub use state::{StateError, master_roles, master_state};

use crate::event::SchedulerEvent;
use crate::v1::{FrameworkId, FrameworkInfo, MasterInfo};
use driver::Driver;
use master::Masters;

/// Events that wait for their reader; a reader slower than that slows the stream down.
const EVENT_QUEUE: usize = 256;

/// What a scheduler's client needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `http://host:port` of every master (one that does not lead sends on to the one that does), or, alone, the
    /// ZooKeeper ensemble by which masters elect their leader: `zk://[user:password@]host:port[,host:port…]/path`.
    pub masters: Vec<String>,
    /// With the id from the last time, if there was one.
    pub framework_info: FrameworkInfo,
    /// Roles to ask no offers for at first.
    pub suppressed_roles: Vec<String>,
    /// For masters that ask who calls.
    pub credential: Option<Credential>,
    /// About how long the first wait between two attempts is.
    pub backoff_initial: Duration,
    /// How long such a wait grows.
    pub backoff_limit: Duration,
    /// How long the answer to a call, or to the subscription, may take.
    pub call_timeout: Duration,
}

impl Settings {
    /// Settings with the usual waits.
    #[must_use]
    pub fn new(masters: Vec<String>, framework_info: FrameworkInfo) -> Self {
        Settings {
            masters,
            framework_info,
            suppressed_roles: Vec::new(),
            credential: None,
            backoff_initial: Duration::from_millis(100),
            backoff_limit: Duration::from_secs(10),
            call_timeout: Duration::from_secs(15),
        }
    }
}

/// For HTTP Basic authentication.
#[derive(Clone)]
pub struct Credential {
    /// Who calls.
    pub principal: String,
    /// What proves it.
    pub secret: String,
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Credential({}, …)", self.principal)
    }
}

/// Settings that no client can be made of.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// There is no master to call.
    #[error("no master is given")]
    NoMaster,
    /// The address of an ensemble is not of its form.
    #[error("'{0}' is not of the form zk://host:port,host:port/path")]
    NotAnEnsemble(String),
    /// A master's address is no URL.
    #[error("'{0}' is not the http or https URL of a master")]
    NotAUrl(String),
    /// The HTTP client could not be made.
    #[error("no HTTP client could be made")]
    Http(#[source] reqwest::Error),
}

/// What the client tells.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Subscribed: calls can be made. Earlier offers are void, and roles that were suppressed since the start are not
    /// suppressed any more.
    Connected {
        /// To be stored, for the next [`FrameworkInfo`].
        framework_id: FrameworkId,
        /// How often the master shows that it lives.
        heartbeat: Duration,
        /// Who leads.
        master: Option<MasterInfo>,
    },
    /// The subscription was lost, or an attempt to subscribe failed. The client goes on trying.
    Disconnected {
        /// For people.
        reason: String,
    },
    /// From the master; never `Subscribed` nor `Heartbeat`. After an `Error` nothing follows.
    Received(SchedulerEvent),
}

/// The events of a [`SchedulerClient`], in order. Dropping it ends the subscription.
#[derive(Debug)]
pub struct Events(mpsc::Receiver<Event>);

impl Events {
    /// The next event; `None` once the subscription is over for good.
    pub async fn next(&mut self) -> Option<Event> {
        self.0.recv().await
    }

    /// The next event, if it is there already.
    pub fn try_next(&mut self) -> Option<Event> {
        self.0.try_recv().ok()
    }
}

/// Starts subscriptions.
#[derive(Debug)]
pub struct SchedulerClient;

impl SchedulerClient {
    /// Begins to subscribe, in a task of the current tokio runtime.
    ///
    /// Where the process has chosen no TLS provider yet, ring becomes it.
    ///
    /// # Errors
    /// [`StartError`]: the settings cannot be used.
    pub fn start(settings: Settings) -> Result<(Handle, Events), StartError> {
        let masters = Masters::new(&settings.masters)?;
        let http = http_client()?;
        let shared = Arc::new(calls::Shared {
            http,
            credential: settings.credential.clone(),
            timeout: settings.call_timeout,
            session: RwLock::new(None),
            heard_at: RwLock::new(None),
        });
        let (sender, receiver) = mpsc::channel(EVENT_QUEUE);
        let driver = Driver::new(settings, masters, Arc::clone(&shared), sender);
        tokio::spawn(driver.run());
        Ok((Handle(shared), Events(receiver)))
    }
}

/// No proxies, no redirects (they are followed here, with the credential), and no limit on the whole of a stream.
fn http_client() -> Result<reqwest::Client, StartError> {
    // Fails only if another thread has chosen one in between, which is as good.
    let _ = rustls::crypto::CryptoProvider::get_default()
        .is_none()
        .then(|| rustls::crypto::ring::default_provider().install_default());
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .tcp_nodelay(true)
        .connect_timeout(Duration::from_secs(5))
        .pool_idle_timeout(Duration::from_secs(60))
        .build()
        .map_err(StartError::Http)
}

/// A subscription, as calls need it.
#[derive(Debug)]
struct Session {
    url: Url,
    stream_id: String,
    framework_id: FrameworkId,
}
