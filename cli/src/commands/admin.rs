//! `bigdata admin`: what an administrator asks of the whole platform.

use crate::context::Context;
use crate::failure::Failure;
use bigdata_common::api::orphan::{Orphan, OrphanList};
use bigdata_common::invariants::{Checked, Violation};
use clap::Subcommand;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// Work on the platform itself.
#[derive(Debug, Subcommand)]
pub(crate) enum AdminCommand {
    /// Check what must always hold; exit code 1 where something does not
    Invariants,
    /// What lies with Mesos and belongs to no cluster, with the reason
    Orphans,
    /// The messages between the services that could not be handled
    Parked,
}

/// Reply of `GET /admin/invariants`.
#[derive(Debug, Serialize, Deserialize)]
struct Report {
    ok: bool,
    services: BTreeMap<String, Checks>,
    violations: Vec<Found>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Checks {
    answered: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(default)]
    checked: Vec<Checked>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Found {
    service: String,
    #[serde(flatten)]
    violation: Violation,
}

/// Reply of `GET /admin/parked`.
#[derive(Debug, Serialize, Deserialize)]
struct ParkedReport {
    services: BTreeMap<String, Value>,
}

/// Runs the command.
///
/// # Errors
/// See [`Failure`]; also where an invariant does not hold or a service could not be asked.
pub(crate) async fn run(command: AdminCommand, context: &Context) -> Result<(), Failure> {
    let api = context.api()?;
    match command {
        AdminCommand::Invariants => invariants(context, &api.get("/admin/invariants").await?),
        AdminCommand::Orphans => orphans(context, &api.get("/admin/orphans").await?),
        AdminCommand::Parked => parked(context, &api.get("/admin/parked").await?),
    }
}

fn invariants(context: &Context, report: &Report) -> Result<(), Failure> {
    if context.output.json {
        context.output.json(report)?;
    } else {
        context.output.table(["service", "invariant", "held against", "holds"], rows(report), "nothing was checked")?;
        for Found { service, violation } in &report.violations {
            let Violation { invariant, subject, detail } = violation;
            context.output.line(format!("{service}: {subject}: {detail}\n  against: {invariant}"))?;
        }
    }
    if report.ok {
        return Ok(());
    }
    let away = report.services.iter().filter(|(_, checks)| !checks.answered);
    let away: String = away
        .map(|(service, checks)| {
            format!("; the {service} was not asked: {}", checks.reason.as_deref().unwrap_or("unknown"))
        })
        .collect();
    Err(Failure::Failed(format!("{} violations{away}", report.violations.len())))
}

/// One row per service and invariant.
fn rows(report: &Report) -> Vec<[String; 4]> {
    let row = |service: &String, checked: &Checked| {
        let broken = |found: &Found| found.service == *service && found.violation.invariant == checked.name;
        let holds = if report.violations.iter().any(broken) { "no" } else { "yes" };
        [service.clone(), checked.name.clone(), checked.subjects.to_string(), holds.to_owned()]
    };
    let of = |(service, checks): (&String, &Checks)| -> Vec<[String; 4]> {
        checks.checked.iter().map(|checked| row(service, checked)).collect()
    };
    report.services.iter().flat_map(of).collect()
}

fn orphans(context: &Context, list: &OrphanList) -> Result<(), Failure> {
    if context.output.json {
        return context.output.json(list);
    }
    let rows = list.orphans.iter().map(orphan_row).collect();
    context.output.table(["kind", "id", "agent", "reason"], rows, "Mesos has nothing that belongs to no cluster")
}

/// The agent by its host name, where that is known.
fn orphan_row(orphan: &Orphan) -> [String; 4] {
    let agent = orphan.host.clone().or_else(|| orphan.agent.clone()).unwrap_or_default();
    [orphan.kind.clone(), orphan.id.clone(), agent, orphan.reason.clone()]
}

fn parked(context: &Context, report: &ParkedReport) -> Result<(), Failure> {
    if context.output.json {
        return context.output.json(report);
    }
    context.output.table(["service", "event", "reason"], parked_rows(report), "no message is parked")
}

/// One row per message, and per service that does not say.
fn parked_rows(report: &ParkedReport) -> Vec<[String; 3]> {
    let rows = report.services.iter().flat_map(|(service, answer)| {
        let text = |message: &Value, field: &str| match &message[field] {
            Value::String(text) => text.clone(),
            Value::Null => String::new(),
            other => other.to_string(),
        };
        let messages = answer["parked"].as_array().cloned().unwrap_or_default();
        let away = answer["reason"].as_str().map(|reason| [service.clone(), String::new(), reason.to_owned()]);
        let row = |message: &Value| [service.clone(), text(message, "event_id"), text(message, "reason")];
        messages.iter().map(row).chain(away).collect::<Vec<_>>()
    });
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_violation_marks_its_invariant_and_fails_the_command() {
        let report = json!({
            "ok": false,
            "services": {
                "framework": {"answered": false, "reason": "connection refused", "checked": []},
                "registry": {"answered": true, "checked": [{"name": "a", "subjects": 2}, {"name": "b", "subjects": 0}]},
            },
            "violations": [{"service": "registry", "invariant": "b", "subject": "x", "detail": "it is gone"}],
        });
        let report: Report = serde_json::from_value(report).unwrap();
        let rows = rows(&report);
        assert_eq!(rows.iter().map(|row| row[3].as_str()).collect::<Vec<_>>(), ["yes", "no"]);
        let failure = invariants(&Context::new(String::new(), true), &report).unwrap_err();
        assert_eq!(failure.code(), 1);
        assert!(failure.to_string().contains("the framework was not asked: connection refused"), "{failure}");
    }

    #[test]
    fn a_parked_event_is_named_as_it_is_to_be_brought_back() {
        let message =
            json!({"event_id": "e1", "parked_at": "2026-01-01T00:00:00Z", "reason": "no such run", "envelope": {}});
        let services = json!({"orchestrator": {"parked": [message]}, "registry": {"reason": "it does not answer"}});
        let report: ParkedReport = serde_json::from_value(json!({"services": services})).unwrap();
        let rows = [["orchestrator", "e1", "no such run"], ["registry", "", "it does not answer"]];
        assert_eq!(parked_rows(&report), rows.map(|row| row.map(str::to_owned)));
    }

    #[test]
    fn an_orphan_is_where_its_agent_is() {
        let orphan = |agent: Option<&str>, host: Option<&str>| {
            let orphan = json!({"kind": "task", "id": "t", "agent": agent, "host": host, "reason": "nobody knows it"});
            orphan_row(&serde_json::from_value(orphan).unwrap())
        };
        let row = |agent: &str| ["task", "t", agent, "nobody knows it"].map(str::to_owned);
        assert_eq!(orphan(Some("S1"), Some("m1")), row("m1"));
        assert_eq!(orphan(Some("S1"), None), row("S1"));
        assert_eq!(orphan(None, None), row(""));
    }
}
