//! What a product's script can be asked for: the part `actions` of a product, checked whole. Pure.
//!
//! [`Actions::parse`] reads what a publisher sends, [`Actions::resolve`] fills in what a launch's options say of it, and
//! [`Declared::arguments`] checks what a user gives with an action.

mod arguments;
mod parse;
#[cfg(test)]
mod tests;

use bigdata_chassis::http::json::escape;
use bigdata_common::Name;
use bigdata_common::api::change::{ActionList, ActionView};
use bigdata_common::api::problem::Fault;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::duration;

/// The largest declaration, in bytes.
pub const ACTIONS_MAX: usize = 64 * 1024;
/// The shortest time between two calls of an action that is called again and again, in milliseconds.
const EVERY_MIN_MS: u64 = 1000;
/// The longest, and the longest deadline: 366 days.
const TIME_MAX_MS: u64 = 366 * 24 * 60 * 60 * 1000;

/// The most backups that a schedule keeps.
const KEEP_MAX: u32 = 10_000;

/// The names that the platform calls.
pub const PLATFORM: [&str; 11] = [
    "start",
    "stop",
    "check",
    "scale",
    "node-lost",
    "node-replaced",
    "before-upgrade",
    "upgrade",
    "backup",
    "restore",
    "destroy",
];

/// What a product declares of its actions, in its order. Kept with each revision of a cluster.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Actions(pub IndexMap<Name, Declared>);

/// One action.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Declared {
    /// One line for people.
    pub description: String,
    /// Whether users may call it.
    pub users: bool,
    /// Whether it may change the cluster; one that does not runs beside whatever else there is.
    pub changes: bool,
    /// What becomes of it while the cluster is changed.
    pub busy: Busy,
    /// The longest that a run of it may take, in milliseconds.
    pub deadline_ms: u64,
    /// How often the platform calls it by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<Every>,
    /// How many of the backups that it made by schedule are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<Keep>,
    /// Its arguments: JSON Schema by name.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub arguments: IndexMap<String, Value>,
}

/// What becomes of an action that changes a cluster while another operation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Busy {
    /// It is refused.
    #[default]
    Refuse,
    /// It waits in the cluster's queue.
    Wait,
}

/// How often an action is called by the platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Every {
    /// So many milliseconds lie between two calls.
    Millis(u64),
    /// The launch's option of this name says so.
    Option(String),
}

/// How many backups of a schedule are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Keep {
    /// So many.
    Count(u32),
    /// As many as the launch's option of this name says.
    Option(String),
}

impl Declared {
    /// How many of the backups that a schedule made are kept; None: all.
    pub fn kept(&self) -> Option<u32> {
        match self.keep {
            Some(Keep::Count(count)) => Some(count),
            Some(Keep::Option(_)) | None => None,
        }
    }

    /// How often the platform calls it; None: never, or what a product declares was not resolved yet.
    pub fn every_ms(&self) -> Option<u64> {
        match self.every {
            Some(Every::Millis(millis)) => Some(millis),
            Some(Every::Option(_)) | None => None,
        }
    }
}

impl Actions {
    /// The action of this name, where it is declared.
    pub fn get(&self, name: &str) -> Option<&Declared> {
        self.0.get(name)
    }

    /// The longest that a run of an action that the platform calls may take, in milliseconds: as it is declared, or else
    /// what is usual for the name.
    pub fn limit_ms(&self, name: &str) -> u64 {
        self.get(name).map_or_else(|| usual_limit_ms(name), |declared| declared.deadline_ms)
    }

    /// The declaration with the times and numbers that these options give; a time of 0, an empty text and null mean "never",
    /// and of backups that are kept "all".
    ///
    /// # Errors
    /// A fault for every option that is no such time or number, with its pointer among the options.
    pub fn resolve(mut self, options: &Map<String, Value>) -> Result<Self, Vec<Fault>> {
        let mut faults = Vec::new();
        let mut fault = |option: &str, words: String| faults.push(Fault::new(format!("/{}", escape(option)), words));
        for (name, declared) in &mut self.0 {
            if let Some(Every::Option(option)) = &declared.every {
                match option_time(options.get(option)) {
                    Ok(millis) => declared.every = millis.map(Every::Millis),
                    Err(words) => fault(option, format!("how often {name} is called: {words}")),
                }
            }
            if let Some(Keep::Option(option)) = &declared.keep {
                match option_count(options.get(option)) {
                    Ok(count) => declared.keep = count.map(Keep::Count),
                    Err(words) => fault(option, format!("how many backups of {name} are kept: {words}")),
                }
            }
        }
        if faults.is_empty() { Ok(self) } else { Err(faults) }
    }

    /// The options that say something of actions: each with the action, and the key that names it there.
    pub fn options(&self) -> impl Iterator<Item = (&Name, &'static str, &str)> {
        self.0.iter().flat_map(|(name, declared)| {
            let every = match &declared.every {
                Some(Every::Option(option)) => Some((name, "every", option.as_str())),
                Some(Every::Millis(_)) | None => None,
            };
            let keep = match &declared.keep {
                Some(Keep::Option(option)) => Some((name, "keep", option.as_str())),
                Some(Keep::Count(_)) | None => None,
            };
            every.into_iter().chain(keep)
        })
    }

    /// As clients see them.
    pub fn view(&self) -> ActionList {
        let view = |(name, declared): (&Name, &Declared)| ActionView {
            name: name.clone(),
            description: declared.description.clone(),
            users: declared.users,
            changes: declared.changes,
            arguments: declared.arguments.clone(),
            every_ms: declared.every_ms(),
        };
        ActionList { actions: self.0.iter().map(view).collect() }
    }
}

/// See [`Actions::limit_ms`].
fn usual_limit_ms(name: &str) -> u64 {
    const MINUTE_MS: u64 = 60_000;
    match name {
        "check" => MINUTE_MS,
        "node-lost" => 5 * MINUTE_MS,
        "backup" | "restore" => 60 * MINUTE_MS,
        "start" | "scale" | "before-upgrade" | "upgrade" | "node-replaced" => 30 * MINUTE_MS,
        "stop" | "destroy" => 2 * MINUTE_MS,
        _ => 10 * MINUTE_MS,
    }
}

fn option_time(value: Option<&Value>) -> Result<Option<u64>, String> {
    let millis = match value {
        None | Some(Value::Null | Value::Bool(false)) => return Ok(None),
        Some(Value::String(text)) if text.trim().is_empty() => return Ok(None),
        Some(Value::String(text)) => duration::millis(text),
        Some(Value::Number(number)) => number.as_u64().and_then(|seconds| seconds.checked_mul(1000)),
        Some(Value::Bool(true) | Value::Array(_) | Value::Object(_)) => None,
    };
    match millis {
        Some(0) => Ok(None),
        Some(millis) if (EVERY_MIN_MS..=TIME_MAX_MS).contains(&millis) => Ok(Some(millis)),
        Some(_) => Err("a time from 1s to 366d is wanted".to_owned()),
        None => Err(duration::WANTED.to_owned()),
    }
}

fn option_count(value: Option<&Value>) -> Result<Option<u32>, String> {
    let count = match value {
        None | Some(Value::Null | Value::Bool(false)) => return Ok(None),
        Some(Value::String(text)) if text.trim().is_empty() => return Ok(None),
        Some(Value::String(text)) => text.trim().parse().ok(),
        Some(Value::Number(number)) => number.as_u64(),
        Some(Value::Bool(true) | Value::Array(_) | Value::Object(_)) => None,
    };
    match count.and_then(|count| u32::try_from(count).ok()) {
        Some(0) => Ok(None),
        Some(count) if count <= KEEP_MAX => Ok(Some(count)),
        Some(_) | None => Err(format!("a whole number from 1 to {KEEP_MAX} is wanted")),
    }
}
