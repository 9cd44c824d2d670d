//! `bigdata admin`: what an administrator asks of the whole platform.

use crate::context::Context;
use crate::failure::Failure;
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

fn parked(context: &Context, report: &ParkedReport) -> Result<(), Failure> {
    if context.output.json {
        return context.output.json(report);
    }
    let rows = report.services.iter().flat_map(|(service, answer)| {
        let text = |message: &Value, field: &str| match &message[field] {
            Value::String(text) => text.clone(),
            Value::Null => String::new(),
            other => other.to_string(),
        };
        let messages = answer["parked"].as_array().cloned().unwrap_or_default();
        let away = answer["reason"].as_str().map(|reason| [service.clone(), String::new(), reason.to_owned()]);
        let row = |message: &Value| [service.clone(), text(message, "id"), text(message, "reason")];
        messages.iter().map(row).chain(away).collect::<Vec<_>>()
    });
    context.output.table(["service", "message", "reason"], rows.collect(), "no message is parked")
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
}
