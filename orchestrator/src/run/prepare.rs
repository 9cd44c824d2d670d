//! What a script finds when it begins: its directory, its files, its environment, its bounds.

use super::command::{Kind, SEARCH_PATH};
use super::directory::{Directory, path_of};
use super::group;
use crate::document::Document;
use crate::reach::{Loopback, Tokens, address_by_socket};
use crate::service::Context;
use crate::store::Claim;
use bigdata_sandbox::{Filesystem, Identity, Network, Profile, Spec};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

/// What an attempt is made of.
pub(crate) struct Attempt<'a> {
    pub(crate) claim: &'a Claim,
    pub(crate) document: &'a Document,
    pub(crate) script: &'a str,
    pub(crate) reach_network: bool,
    pub(crate) time_left: Duration,
    pub(crate) tokens: &'a Tokens,
    /// The script's port, where it has the network.
    pub(crate) loopback: Option<&'a Loopback>,
    /// What the action is about, as JSON.
    pub(crate) event: Option<&'a str>,
    /// An action's arguments, as JSON.
    pub(crate) arguments: &'a str,
    /// The user that it runs as, where the service may choose.
    pub(crate) uid: Option<u32>,
}

/// Makes the directory with the script and its document, and says how the script is run. The socket is made next, by
/// whoever serves it; then the directory is handed over.
pub(crate) fn prepare(context: &Context, attempt: &Attempt<'_>) -> io::Result<(Directory, Spec)> {
    let Attempt { claim, document, script, .. } = attempt;
    let directory = Directory::create(path_of(&context.folders.runs, claim.run.run), attempt.uid)?;
    let kind = Kind::of(script);
    let script = directory.write(kind.file_name(), 0o700, script.as_bytes())?;
    let json = serde_json::to_vec_pretty(document).map_err(io::Error::other)?;
    let cluster = directory.write("cluster.json", 0o600, &json)?;

    let mut spec = Spec::new(Profile::Script, kind.command(&script, &claim.run.action));
    spec.label = format!("run {} {}", document.dn, claim.run.action);
    spec.directory = directory.path().to_owned();
    let path = |path: std::path::PathBuf| path.display().to_string();
    let keys_token = attempt.tokens.keys.expose();
    let registry = match attempt.loopback {
        Some(loopback) => loopback.address_of_keys(keys_token),
        None => address_by_socket(&directory.socket(), keys_token),
    };
    spec.environment = BTreeMap::from(
        [
            ("PATH", format!("{}:{SEARCH_PATH}", context.folders.bin.display())),
            ("HOME", path(directory.home())),
            ("TMPDIR", path(directory.tmp())),
            ("LANG", "C.UTF-8".to_owned()),
            ("CLUSTERDN", document.dn.to_string()),
            ("CLUSTERID", document.id.to_string()),
            ("BIGDATA_ACTION", claim.run.action.clone()),
            ("BIGDATA_CLUSTER", path(cluster)),
            ("BIGDATA_RUN", claim.run.run.to_string()),
            ("BIGDATA_ATTEMPT", claim.run.attempt.to_string()),
            ("BIGDATA_ARGUMENTS", attempt.arguments.to_owned()),
            ("BIGDATA_SOCKET", path(directory.socket())),
            ("BIGDATA_TOKEN", attempt.tokens.own.expose().to_owned()),
            ("REGISTRY", registry),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    if let Some(event) = attempt.event {
        spec.environment.insert("BIGDATA_EVENT".to_owned(), event.to_owned());
    }
    if kind == Kind::Fabfile {
        spec.environment.insert("INSTANCE".to_owned(), document.dn.to_string());
        if let Some(value) = document.options.get("NOOP").and_then(noop) {
            spec.environment.insert("NOOP".to_owned(), value);
        }
    }
    spec.allow_read_write(directory.path());
    if let Filesystem::Only { executable, .. } = &mut spec.filesystem {
        executable.push(context.folders.bin.clone());
    }
    spec.network = if attempt.reach_network { Network::Allowed } else { Network::Denied };
    spec.identity = attempt.uid.map(|id| Identity { uid: id, gid: id });
    let limits = &context.settings.limits;
    spec.limits.wall_clock = Some(attempt.time_left);
    spec.limits.file_size_bytes = Some(limits.file_bytes);
    spec.limits.address_space_bytes = Some(limits.address_space_bytes);
    spec.limits.open_files = Some(limits.open_files);
    // The whole tree is bounded where this process is root, and makes control groups.
    spec.cgroup = attempt.uid.map(|_| group::name(claim.run.run));
    spec.limits.memory_bytes = attempt.uid.map(|_| limits.memory_bytes);
    // Without a group a limit on processes counts all of a user's: it can be had only where the script has a user of its own.
    spec.limits.processes = attempt.uid.map(|_| limits.processes);
    Ok((directory, spec))
}

/// The value of `NOOP` by the option of that name: a fabfile of the older system tries nothing out where it is set at all.
fn noop(option: &Value) -> Option<String> {
    match option {
        Value::Null | Value::Bool(false) => None,
        Value::String(text) => Some(text.clone()).filter(|text| !text.is_empty()),
        other => Some(other.to_string()).filter(|text| text != "0"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn noop_is_set_where_it_is_asked_for() {
        for unset in [json!(null), json!(false), json!(""), json!(0)] {
            assert_eq!(noop(&unset), None, "{unset}");
        }
        for (option, value) in [(json!(true), "true"), (json!("1"), "1"), (json!(1), "1")] {
            assert_eq!(noop(&option).as_deref(), Some(value));
        }
    }
}
