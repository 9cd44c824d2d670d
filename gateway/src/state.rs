//! What all of the gateway's threads share.

use crate::control::grants::Grants;
use crate::observe::Metrics;
use crate::pages::Pages;
use crate::pages::stream::Watchers;
use crate::routes::Upstream;
use crate::{BuildError, GatewayDeps, Settings};
use bigdata_chassis::http::InternalClient;
use bigdata_chassis::secret::Token;
use bigdata_chassis::{Clock, Tasks};
use hyper::http::uri::Authority;
use std::time::Duration;

/// What all of the gateway's threads share.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) registry: Service,
    pub(crate) framework: Service,
    pub(crate) orchestrator: Service,
    pub(crate) token: Token,
    /// The longest wait for the head of an answer.
    pub(crate) answer_timeout: Duration,
    pub(crate) clock: Clock,
    pub(crate) tasks: Tasks,
    pub(crate) grants: Grants,
    pub(crate) metrics: Metrics,
    pub(crate) pages: Pages,
    pub(crate) watchers: Watchers,
}

/// One of the services behind the gateway.
#[derive(Debug)]
pub(crate) struct Service {
    /// Its name in messages.
    pub(crate) name: &'static str,
    /// Where it is reached.
    pub(crate) authority: Authority,
    /// For calls whose answers the gateway itself reads.
    pub(crate) client: InternalClient,
}

impl State {
    pub(crate) fn new(settings: &Settings, deps: &GatewayDeps) -> Result<Self, BuildError> {
        let service = |name, url: &str| Service::new(name, url, &deps.internal_token);
        Ok(Self {
            registry: service("registry", &settings.registry)?,
            framework: service("framework", &settings.framework)?,
            orchestrator: service("orchestrator", &settings.orchestrator)?,
            token: deps.internal_token.clone(),
            answer_timeout: Duration::from_millis(settings.answer_timeout_ms),
            clock: deps.clock.clone(),
            tasks: deps.tasks.clone(),
            grants: Grants::default(),
            metrics: Metrics::new(),
            pages: Pages::new()?,
            watchers: Watchers::default(),
        })
    }

    /// The service that this route leads to.
    pub(crate) fn upstream(&self, upstream: Upstream) -> &Service {
        match upstream {
            Upstream::Registry => &self.registry,
            Upstream::Framework => &self.framework,
            Upstream::Orchestrator => &self.orchestrator,
        }
    }

    /// All of them.
    pub(crate) fn services(&self) -> [&Service; 3] {
        [&self.registry, &self.framework, &self.orchestrator]
    }
}

impl Service {
    fn new(name: &'static str, url: &str, token: &Token) -> Result<Self, BuildError> {
        let invalid = || BuildError::Upstream { setting: name, value: url.to_owned() };
        let authority = url.strip_prefix("http://").ok_or_else(invalid)?.trim_end_matches('/');
        let authority: Authority = authority.parse().map_err(|_| invalid())?;
        let client = InternalClient::new(format!("http://{authority}"), token.clone())
            .map_err(|error| BuildError::Client(Box::new(error)))?;
        Ok(Self { name, authority, client })
    }
}
