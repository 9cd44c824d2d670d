//! The subscription at the master, as inputs of the core.

use crate::core::output::Input;
use crate::settings::Settings;
use bigdata_mesos::client::scheduler::{
    Credential, Event, Events, Handle, SchedulerClient, Settings as ClientSettings,
};
use bigdata_mesos::event::SchedulerEvent;
use bigdata_mesos::v1::{CapabilityType, FrameworkId, FrameworkInfo};
use std::time::Duration;
use tokio::time::Instant;

/// The wait before subscribing again after the master ended the subscription.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

/// What the master is told of the framework.
#[derive(Debug, Clone)]
pub(crate) struct MesosSettings {
    masters: Vec<String>,
    info: FrameworkInfo,
    credential: Option<Credential>,
}

impl MesosSettings {
    pub(crate) fn of(settings: &Settings) -> Self {
        let info = FrameworkInfo {
            user: settings.user.clone(),
            name: settings.name.clone(),
            failover_timeout: Some(settings.failover_timeout),
            checkpoint: Some(true),
            roles: vec![settings.role.clone()],
            principal: settings.principal.clone(),
            ..FrameworkInfo::default()
        };
        let info = info.with_capabilities(&[
            CapabilityType::MultiRole,
            CapabilityType::PartitionAware,
            CapabilityType::ReservationRefinement,
            CapabilityType::TaskKillingState,
        ]);
        let credential = settings
            .principal
            .clone()
            .zip(settings.secret.as_ref())
            .map(|(principal, secret)| Credential { principal, secret: secret.expose().to_owned() });
        Self { masters: settings.masters.clone(), info, credential }
    }
}

impl MesosSettings {
    /// The client's settings.
    pub(crate) fn client(&self) -> ClientSettings {
        let mut settings = ClientSettings::new(self.masters.clone(), self.info.clone());
        settings.credential.clone_from(&self.credential);
        settings
    }

    /// The framework's name.
    pub(crate) fn name(&self) -> &str {
        &self.info.name
    }

    /// The framework's role.
    pub(crate) fn role(&self) -> &str {
        self.info.roles.first().map_or("", String::as_str)
    }
}

/// See the [module](self).
pub(super) struct Subscription {
    settings: MesosSettings,
    client: Option<(Handle, Events)>,
    /// When a client may be started. An instant: whoever asks what is next is called away again and again.
    again_at: Instant,
}

impl Subscription {
    pub(super) fn new(settings: MesosSettings, framework: Option<String>) -> Self {
        let mut subscription = Self { settings, client: None, again_at: Instant::now() };
        subscription.set_framework(framework.as_deref());
        subscription
    }

    /// The framework's id for the next subscription.
    pub(super) fn set_framework(&mut self, id: Option<&str>) {
        if self.settings.info.id.as_ref().map(FrameworkId::as_str) != id {
            self.settings.info.id = id.map(FrameworkId::from);
        }
    }

    pub(super) fn handle(&self) -> Option<&Handle> {
        self.client.as_ref().map(|(handle, _)| handle)
    }

    /// For how long the master has said nothing; None while there is no subscription.
    pub(super) fn silent_for(&self) -> Option<Duration> {
        self.handle()?.silent_for()
    }

    /// What happens next. Cancel safe.
    pub(super) async fn next(&mut self) -> Input {
        loop {
            if self.client.is_none() {
                tokio::time::sleep_until(self.again_at).await;
                match SchedulerClient::start(self.settings.client()) {
                    Ok(client) => self.client = Some(client),
                    Err(error) => {
                        self.again_at = Instant::now() + AGAIN_AFTER;
                        return Input::Disconnected { reason: error.to_string() };
                    }
                }
            }
            let Some((_, events)) = &mut self.client else { continue };
            let Some(event) = events.next().await else {
                self.client = None;
                self.again_at = Instant::now() + AGAIN_AFTER;
                continue;
            };
            if let Some(input) = input_of(event) {
                return input;
            }
        }
    }

    /// What has happened already. None where nothing has, or nothing that matters.
    pub(super) fn try_next(&mut self) -> Option<Input> {
        let (_, events) = self.client.as_mut()?;
        events.try_next().and_then(input_of)
    }
}

fn input_of(event: Event) -> Option<Input> {
    Some(match event {
        Event::Connected { framework_id, .. } => Input::Subscribed { framework: framework_id.value },
        Event::Disconnected { reason } => Input::Disconnected { reason },
        Event::Received(event) => match event {
            SchedulerEvent::Offers(offers) => Input::Offers(offers),
            SchedulerEvent::InverseOffers(offers) => Input::InverseOffers(offers),
            SchedulerEvent::Rescind(offer) => Input::Rescinded(offer),
            SchedulerEvent::Update(status) => Input::Update(status),
            SchedulerEvent::OperationUpdate(status) => Input::OperationUpdate(status),
            SchedulerEvent::Error(message) => Input::Expelled { message },
            SchedulerEvent::Failure { agent_id, executor_id, status } => {
                // A task update says the same, reliably.
                tracing::debug!(?agent_id, ?executor_id, ?status, "an executor or agent is gone");
                return None;
            }
            SchedulerEvent::Subscribed { .. }
            | SchedulerEvent::Heartbeat
            | SchedulerEvent::RescindInverseOffer(_)
            | SchedulerEvent::Message { .. }
            | SchedulerEvent::Other(_) => return None,
        },
    })
}
