//! What all of the gateway's threads share.

use crate::control::grants::Grants;
use crate::headers::Signature;
use crate::observe::Metrics;
use crate::pages::Pages;
use crate::pages::stream::Watchers;
use crate::routes::Upstream;
use crate::{BuildError, GatewayDeps, Settings};
use bigdata_chassis::http::upstreams::Members;
use bigdata_chassis::http::{InternalClient, Upstreams};
use bigdata_chassis::secret::Token;
use bigdata_chassis::{Clock, Tasks};
use std::sync::Arc;
use std::time::Duration;

/// What all of the gateway's threads share.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) registry: Service,
    pub(crate) framework: Service,
    pub(crate) orchestrator: Service,
    pub(crate) signature: Signature,
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
    /// Its replicas.
    pub(crate) members: Arc<Members>,
    /// For calls whose answers the gateway itself reads.
    pub(crate) client: InternalClient,
}

impl State {
    pub(crate) fn new(settings: &Settings, deps: &GatewayDeps) -> Result<Self, BuildError> {
        let service = |name, upstreams| Service::new(name, upstreams, &deps.internal_token);
        Ok(Self {
            registry: service("registry", &settings.registry)?,
            framework: service("framework", &settings.framework)?,
            orchestrator: service("orchestrator", &settings.orchestrator)?,
            signature: Signature::new(&deps.internal_token).map_err(|error| BuildError::Client(Box::new(error)))?,
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
    fn new(name: &'static str, upstreams: &Upstreams, token: &Token) -> Result<Self, BuildError> {
        let members = Arc::new(Members::from(upstreams.clone()));
        let client = InternalClient::of_members(Arc::clone(&members), token.clone())
            .map_err(|error| BuildError::Client(Box::new(error)))?;
        Ok(Self { name, members, client })
    }
}
