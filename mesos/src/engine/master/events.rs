//! Events for schedulers, filled in.

use std::time::Duration;

use crate::engine::effects::Config;
use crate::v1::scheduler::{
    Error, Event, EventType, Failure, Message, Offers, Rescind, Subscribed, Update, UpdateOperationStatus,
};
use crate::v1::{
    AgentId, ExecutorId, FrameworkId, MachineAddress, MasterInfo, Offer, OfferId, OperationStatus, TaskStatus,
};

/// The version of Mesos whose behaviour the engine shows.
const VERSION: &str = "1.11.0";

fn event(r#type: EventType) -> Event {
    Event { r#type: Some(r#type as i32), ..Event::default() }
}

pub(super) fn subscribed(framework_id: FrameworkId, heartbeat: Duration, config: &Config) -> Event {
    Event {
        subscribed: Some(Subscribed {
            framework_id,
            heartbeat_interval_seconds: Some(heartbeat.as_secs_f64()),
            master_info: Some(master_info(config)),
        }),
        ..event(EventType::Subscribed)
    }
}

fn master_info(config: &Config) -> MasterInfo {
    let address = config.address;
    let ip = match address.ip() {
        std::net::IpAddr::V4(ip) => u32::from_le_bytes(ip.octets()),
        std::net::IpAddr::V6(_) => 0,
    };
    MasterInfo {
        id: config.master_id.clone(),
        ip,
        port: u32::from(address.port()),
        pid: Some(format!("master@{address}")),
        hostname: Some(config.hostname.clone()),
        version: Some(VERSION.to_owned()),
        address: Some(MachineAddress {
            hostname: Some(config.hostname.clone()),
            ip: Some(address.ip().to_string()),
            port: i32::from(address.port()),
        }),
    }
}

pub(super) fn heartbeat() -> Event {
    event(EventType::Heartbeat)
}

pub(super) fn offers(offers: Vec<Offer>) -> Event {
    Event { offers: Some(Offers { offers }), ..event(EventType::Offers) }
}

pub(super) fn rescind(offer_id: OfferId) -> Event {
    Event { rescind: Some(Rescind { offer_id }), ..event(EventType::Rescind) }
}

pub(super) fn update(status: TaskStatus) -> Event {
    Event { update: Some(Update { status }), ..event(EventType::Update) }
}

pub(super) fn operation_update(status: OperationStatus) -> Event {
    Event { update_operation_status: Some(UpdateOperationStatus { status }), ..event(EventType::UpdateOperationStatus) }
}

pub(super) fn message(agent_id: AgentId, executor_id: ExecutorId, data: Vec<u8>) -> Event {
    Event { message: Some(Message { agent_id, executor_id, data }), ..event(EventType::Message) }
}

pub(super) fn failure(agent_id: AgentId, executor_id: ExecutorId, status: Option<i32>) -> Event {
    Event {
        failure: Some(Failure { agent_id: Some(agent_id), executor_id: Some(executor_id), status }),
        ..event(EventType::Failure)
    }
}

pub(super) fn error(message: &str) -> Event {
    Event { error: Some(Error { message: message.to_owned() }), ..event(EventType::Error) }
}
