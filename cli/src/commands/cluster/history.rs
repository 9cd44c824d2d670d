//! What has happened to a cluster, and what its script has said.

use crate::client::{Api, follow as follow_stream};
use crate::context::Context;
use crate::failure::Failure;
use bigdata_common::ClusterDn;
use bigdata_common::api::cluster::{EventList, EventView, LogLine, LogPage};

pub(super) async fn events(api: &Api, context: &Context, dn: &ClusterDn) -> Result<(), Failure> {
    let mut events = Vec::new();
    let mut after = 0;
    loop {
        let page: EventList = api.get(&format!("/{dn}/events?after={after}&limit=500")).await?;
        events.extend(page.events);
        match page.next {
            Some(next) => after = next,
            None => break,
        }
    }
    if context.output.json {
        return context.output.json(&EventList { events, next: None });
    }
    events.iter().try_for_each(|event| context.output.line(event_line(event)))
}

fn event_line(event: &EventView) -> String {
    let node = event.node.as_ref().map(|node| format!("{node}: ")).unwrap_or_default();
    format!("{}  {:<12}  {:<9}  {node}{}", event.at, event.status, event.kind, event.message)
}

pub(super) async fn follow_events(api: &Api, context: &Context, dn: &ClusterDn) -> Result<(), Failure> {
    let mut stream = follow_stream(api, format!("/{dn}/events"), Some(0));
    while let Some(event) = stream.recv().await {
        let event = event?;
        match serde_json::from_str::<EventView>(&event.data) {
            Ok(_) if context.output.json => context.output.line(&event.data)?,
            Ok(event) => context.output.line(event_line(&event))?,
            Err(_) => {}
        }
    }
    Ok(())
}

pub(super) async fn logs(api: &Api, context: &Context, dn: &ClusterDn, tail: Option<u32>) -> Result<(), Failure> {
    let tail = tail.map(|lines| format!("&tail={lines}")).unwrap_or_default();
    let mut lines = Vec::new();
    let mut after = 0;
    loop {
        let page: LogPage = api.get(&format!("/{dn}/logs?after={after}&limit=1000{tail}")).await?;
        if !context.output.json {
            page.lines.iter().try_for_each(|line| context.output.line(log_line(line)))?;
        } else {
            lines.extend(page.lines);
        }
        match page.next {
            Some(next) if tail.is_empty() => after = next,
            _ => break,
        }
    }
    if context.output.json { context.output.json(&LogPage { lines, next: None, running: None }) } else { Ok(()) }
}

/// The platform's own remarks between the script's lines are told apart.
pub(in crate::commands) fn log_line(line: &LogLine) -> String {
    if line.stream == "platform" { format!("[{}] {}", line.action, line.line) } else { line.line.clone() }
}

pub(super) async fn follow_logs(api: &Api, context: &Context, dn: &ClusterDn) -> Result<(), Failure> {
    let mut stream = follow_stream(api, format!("/{dn}/logs"), Some(0));
    while let Some(event) = stream.recv().await {
        let event = event?;
        match serde_json::from_str::<LogLine>(&event.data) {
            Ok(_) if context.output.json => context.output.line(&event.data)?,
            Ok(line) => context.output.line(log_line(&line))?,
            Err(_) => {}
        }
    }
    Ok(())
}
