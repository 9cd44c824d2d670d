//! How a framework comes, and comes back.

use super::framework::{Framework, Link};
use super::{Master, events};
use crate::engine::agent::Agent;
use crate::engine::effects::{Answer, Connection, Effects, Output, Refusal};
use crate::engine::ids::check_id;
use crate::engine::records::{framework_key, kind};
use crate::v1::scheduler::{Call, Subscribe};
use crate::v1::{CapabilityType, FrameworkId, FrameworkInfo};
use crate::validate::Validate;

impl Master {
    /// A scheduler subscribes. What is wrong with the framework itself is said in the stream, as Mesos says it.
    pub(crate) fn subscribe(
        &mut self,
        connection: Connection,
        stream_id: String,
        call: Call,
        agent: &mut Agent,
        effects: &mut Effects,
    ) -> Answer {
        let missing = "Failed to validate scheduler::Call: Expecting 'subscribe' to be present";
        let mut subscribe = call.subscribe.ok_or_else(|| Refusal::bad(missing))?;
        self.check_principal(&mut subscribe.framework_info)?;
        let info = &subscribe.framework_info;
        if call.framework_id != info.id {
            return Err(Refusal::bad(
                "Failed to validate scheduler::Call: 'framework_id' differs from 'subscribe.framework_info.id'",
            ));
        }
        if let Err(message) = self.check(info) {
            effects.tell_scheduler(connection, events::error(&message));
            effects.emit(Output::Close(connection));
            return Ok(());
        }
        let id = match &info.id {
            Some(id) => id.clone(),
            None => self.new_id(effects),
        };
        self.admit(id, subscribe, connection, stream_id, agent, effects);
        Ok(())
    }

    /// A framework is who the scheduler has proved to be, whether it says so or not; as in Mesos.
    fn check_principal(&self, info: &mut FrameworkInfo) -> Answer {
        match (&self.config.principal, &info.principal) {
            (Some(proved), Some(named)) if proved != named => Err(Refusal::bad(format!(
                "Failed to validate scheduler::Call: Authenticated principal '{proved}' does not match principal \
                 '{named}' set in `FrameworkInfo`"
            ))),
            (Some(proved), None) => {
                info.principal = Some(proved.clone());
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn admit(
        &mut self,
        id: FrameworkId,
        subscribe: Subscribe,
        connection: Connection,
        stream_id: String,
        agent: &mut Agent,
        effects: &mut Effects,
    ) {
        let heartbeat = self.config.timing.heartbeat;
        let link = Link::Connected { connection, stream_id, heartbeat_at: effects.after(heartbeat) };
        let mut info = subscribe.framework_info;
        info.id = Some(id.clone());
        let framework = Framework::new(info, &subscribe.suppressed_roles, link);
        effects.put(framework_key(&id), &framework.record());
        agent.framework_known(&id, &framework.info);
        self.offers.take_all_of(&id, agent);
        let former = self.frameworks.insert(id.clone(), framework);
        if let Some(former) = former.as_ref().and_then(Framework::connection) {
            effects.tell_scheduler(former, events::error("Framework failed over"));
            effects.emit(Output::Close(former));
        }
        effects.tell_scheduler(connection, events::subscribed(id.clone(), heartbeat, &self.config));
        effects.tell_scheduler(connection, events::heartbeat());
        if former.is_some() {
            agent.retell(&id, effects);
        }
        self.offers.wanted();
    }

    fn new_id(&mut self, effects: &mut Effects) -> FrameworkId {
        let number = self.identity.frameworks_named;
        self.identity.frameworks_named += 1;
        effects.put(kind::IDENTITY.to_owned(), &self.identity);
        FrameworkId::from(format!("{}-{number:04}", self.identity.master_id))
    }

    /// What a framework says of itself, as Mesos checks it.
    fn check(&self, info: &FrameworkInfo) -> Result<(), String> {
        info.validate().map_err(|fault| fault.to_string())?;
        if let Some(id) = &info.id {
            check_id(id.as_str()).map_err(|fault| format!("Framework ID '{id}' {fault}"))?;
            if self.gone.contains(id) {
                return Err("Framework has been removed".to_owned());
            }
        }
        let multi_role = info.has(CapabilityType::MultiRole);
        if multi_role && info.role.is_some() {
            return Err("'FrameworkInfo.role' must not be set when the framework is MULTI_ROLE capable".to_owned());
        }
        if !multi_role && !info.roles.is_empty() {
            return Err("'FrameworkInfo.roles' must not be set when the framework is not MULTI_ROLE capable".to_owned());
        }
        for role in info.all_roles().iter().filter(|role| *role != "*") {
            check_role(role).map_err(|fault| format!("Role '{role}' {fault}"))?;
        }
        match info.failover_timeout {
            Some(seconds) if !(0.0..=9.2e9).contains(&seconds) => {
                Err(format!("The framework failover_timeout ({seconds}) is invalid"))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn update_framework(
        &mut self,
        id: &FrameworkId,
        mut update: Subscribe,
        agent: &mut Agent,
        effects: &mut Effects,
    ) -> Answer {
        self.check_principal(&mut update.framework_info)?;
        let invalid = |fault: String| Refusal::bad(format!("Supplied FrameworkInfo is not valid: {fault}"));
        self.check(&update.framework_info).map_err(invalid)?;
        let Some(framework) = self.frameworks.get_mut(id) else { return Ok(()) };
        framework.info = FrameworkInfo { id: Some(id.clone()), ..update.framework_info };
        framework.suppressed = update.suppressed_roles.into_iter().collect();
        effects.put(framework_key(id), &framework.record());
        agent.framework_known(id, &framework.info);
        self.offers.wanted();
        Ok(())
    }
}

/// Roles may be parts separated by slashes; each becomes a part of a path.
fn check_role(role: &str) -> Result<(), &'static str> {
    if role.contains(char::is_whitespace) {
        return Err("must not contain white space");
    }
    if role.starts_with('-') {
        return Err("must not begin with a dash");
    }
    role.split('/').try_for_each(|part| match part {
        "*" => Err("must not have '*' as a part"),
        part => check_id(part),
    })
}
