//! `bigdata backup list|show|delete`: the backups that there are.

use crate::client::{Api, escaped};
use crate::context::Context;
use crate::failure::Failure;
use crate::output::age;
use crate::target;
use bigdata_chassis::Clock;
use bigdata_common::api::change::{BackupList, BackupView};
use reqwest::Method;

/// Every backup that the caller may use, or those of one cluster.
///
/// # Errors
/// See [`Failure`].
pub(crate) async fn list(cluster: Option<&str>, context: &Context) -> Result<(), Failure> {
    let api = context.api()?;
    let path = match cluster {
        Some(cluster) => format!("/{}/backups", target::resolve(&api, cluster).await?),
        None => "/backups".to_owned(),
    };
    let list = all(&api, &path).await?;
    if context.output.json {
        return context.output.json(&list);
    }
    let now = Clock::system().now();
    let row = |backup: BackupView| {
        let age = age(backup.at, now);
        [
            backup.id.to_string(),
            backup.cluster.to_string(),
            backup.version.to_string(),
            age,
            bytes(backup.size),
            shortened(&backup.sha256),
            backup.label,
            backup.cause,
        ]
    };
    let header = ["backup", "cluster", "version", "age", "size", "sha256", "label", "cause"];
    context.output.table(header, list.backups.into_iter().map(row).collect(), "no backups")
}

async fn all(api: &Api, path: &str) -> Result<BackupList, Failure> {
    let mut list = BackupList { backups: Vec::new(), next: None };
    let mut after = String::new();
    loop {
        let page: BackupList = api.get(&format!("{path}?limit=200{after}")).await?;
        list.backups.extend(page.backups);
        match page.next {
            Some(next) => after = format!("&after={}", escaped(&next)),
            None => return Ok(list),
        }
    }
}

/// One backup.
///
/// # Errors
/// See [`Failure`].
pub(crate) async fn show(id: &str, context: &Context) -> Result<(), Failure> {
    let backup: BackupView = context.api()?.get(&format!("/backups/{}", escaped(id))).await?;
    if context.output.json {
        return context.output.json(&backup);
    }
    context.output.fields(&[
        ("backup", backup.id.to_string()),
        ("cluster", backup.cluster.to_string()),
        ("version", backup.version.to_string()),
        ("label", backup.label),
        ("size", format!("{} ({} bytes)", bytes(backup.size), backup.size)),
        ("sha256", backup.sha256),
        ("made", backup.at.to_string()),
        ("cause", backup.cause),
    ])
}

/// Deletes a backup for good.
///
/// # Errors
/// See [`Failure`].
pub(crate) async fn delete(id: &str, context: &Context) -> Result<(), Failure> {
    let api = context.api()?;
    api.send(api.request(Method::DELETE, &format!("/backups/{}", escaped(id)))).await?;
    if context.output.json {
        return context.output.json(&serde_json::json!({ "deleted": id }));
    }
    eprintln!("deleted backup {id}");
    Ok(())
}

/// The beginning of a checksum, which tells backups apart; `show` and `--json` have the whole.
fn shortened(sha256: &str) -> String {
    sha256.chars().take(12).collect()
}

/// A number of bytes in the largest unit that leaves at least one.
fn bytes(amount: u64) -> String {
    let mut value = amount as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1024.0 {
            return if unit == "B" { format!("{amount} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1024.0;
    }
    format!("{value:.1} TiB")
}

#[cfg(test)]
mod tests {
    #[test]
    fn sizes_read_well() {
        for (amount, text) in
            [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (24 << 20, "24.0 MiB"), (3 << 40, "3.0 TiB")]
        {
            assert_eq!(super::bytes(amount), text);
        }
    }
}
