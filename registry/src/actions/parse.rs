//! Reads what a publisher declares.

use super::arguments::{self, names_secret};
use super::{
    ACTIONS_MAX, Actions, Busy, Declared, EVERY_MIN_MS, Every, KEEP_MAX, Keep, PLATFORM, TIME_MAX_MS, usual_limit_ms,
};
use crate::duration;
use bigdata_chassis::http::json::{self, escape};
use bigdata_common::Name;
use bigdata_common::api::problem::Fault;
use indexmap::IndexMap;
use serde_json::{Map, Value};

/// The most actions of a product.
pub(super) const COUNT_MAX: usize = 100;
/// The longest description, in bytes.
const DESCRIPTION_MAX: usize = 1000;
const KNOWN: [&str; 8] = ["description", "users", "changes", "busy", "deadline", "every", "keep", "arguments"];
/// Called because of something, never by the clock.
const HOOKS: [&str; 8] =
    ["start", "stop", "scale", "node-lost", "node-replaced", "before-upgrade", "upgrade", "destroy"];

impl Actions {
    /// Reads a declaration.
    ///
    /// # Errors
    /// Every fault, with its pointer.
    pub fn parse(text: &str) -> Result<Self, Vec<Fault>> {
        if text.len() > ACTIONS_MAX {
            return Err(vec![Fault::new("", format!("a declaration of actions has at most {ACTIONS_MAX} bytes"))]);
        }
        let value = json::parse(text.as_bytes()).map_err(|fault| vec![fault])?;
        let Value::Object(document) = value else {
            return Err(vec![Fault::new("", "actions are an object from their names to what they are")]);
        };
        let mut faults = Vec::new();
        if document.len() > COUNT_MAX {
            faults.push(Fault::new("", format!("a product has at most {COUNT_MAX} actions")));
            return Err(faults);
        }
        let mut actions = IndexMap::new();
        for (name, value) in &document {
            let pointer = format!("/{}", escape(name));
            let read =
                name.parse::<Name>().map_err(|error| faults.push(Fault::new(pointer.clone(), error.to_string())));
            let Value::Object(words) = value else {
                faults.push(Fault::new(pointer, "an object is wanted; {} declares an action without more"));
                continue;
            };
            let declared = Reader { name, pointer, words, faults: &mut faults }.read();
            if let Ok(name) = read {
                actions.insert(name, declared);
            }
        }
        if faults.is_empty() { Ok(Self(actions)) } else { Err(faults) }
    }
}

struct Reader<'a> {
    name: &'a str,
    pointer: String,
    words: &'a Map<String, Value>,
    faults: &'a mut Vec<Fault>,
}

impl Reader<'_> {
    fn fault(&mut self, key: &str, detail: impl Into<String>) {
        self.faults.push(Fault::new(format!("{}/{}", self.pointer, escape(key)), detail));
    }

    fn read(mut self) -> Declared {
        for key in self.words.keys().filter(|key| !KNOWN.contains(&key.as_str())) {
            self.fault(key, format!("unknown; an action has {}", KNOWN.join(", ")));
        }
        let platform = PLATFORM.contains(&self.name);
        let declared = Declared {
            description: self.description(),
            users: self.flag("users", !platform || matches!(self.name, "backup" | "restore")),
            changes: self.flag("changes", true),
            busy: self.busy(),
            deadline_ms: self.time("deadline", 1).unwrap_or_else(|| usual_limit_ms(self.name)),
            every: self.every(),
            keep: self.keep(),
            arguments: self.arguments(),
        };
        self.agree(&declared);
        declared
    }

    /// What contradicts itself.
    fn agree(&mut self, declared: &Declared) {
        if HOOKS.contains(&self.name) {
            if declared.every.is_some() {
                self.fault(
                    "every",
                    format!("the platform calls {} when there is reason to, not by the clock", self.name),
                );
            }
            if !declared.changes {
                self.fault("changes", format!("{} changes the cluster", self.name));
            }
        }
        if declared.keep.is_some() && declared.every.is_none() {
            self.fault("keep", "keep says how many backups of a schedule stay; it stands beside every");
        }
        let called_alone = HOOKS.contains(&self.name) || declared.every.is_some();
        let required: Vec<String> = arguments::required(&declared.arguments).map(str::to_owned).collect();
        for argument in required.iter().filter(|_| called_alone) {
            let pointer = format!("{}/arguments/{}/required", self.pointer, escape(argument));
            let words = format!("the platform calls {} by itself, and without arguments", self.name);
            self.faults.push(Fault::new(pointer, words));
        }
    }

    fn description(&mut self) -> String {
        match self.words.get("description") {
            None => String::new(),
            Some(Value::String(text)) if text.len() <= DESCRIPTION_MAX && !text.chars().any(char::is_control) => {
                text.clone()
            }
            Some(_) => {
                self.fault("description", format!("one line of at most {DESCRIPTION_MAX} bytes is wanted"));
                String::new()
            }
        }
    }

    fn flag(&mut self, key: &str, absent: bool) -> bool {
        match self.words.get(key) {
            None => absent,
            Some(Value::Bool(flag)) => *flag,
            Some(_) => {
                self.fault(key, "true or false is wanted");
                absent
            }
        }
    }

    fn busy(&mut self) -> Busy {
        match self.words.get("busy").map(Value::as_str) {
            None | Some(Some("refuse")) => Busy::Refuse,
            Some(Some("wait")) => Busy::Wait,
            Some(_) => {
                self.fault("busy", "refuse or wait is wanted");
                Busy::Refuse
            }
        }
    }

    fn time(&mut self, key: &str, least_ms: u64) -> Option<u64> {
        let millis = match self.words.get(key)? {
            Value::String(text) => duration::millis(text),
            Value::Number(number) => number.as_u64().and_then(|seconds| seconds.checked_mul(1000)),
            _ => None,
        };
        let within = millis.filter(|millis| (least_ms..=TIME_MAX_MS).contains(millis));
        if within.is_none() {
            let words = match millis {
                Some(_) => format!("a time from {} to 366d is wanted", duration::text(least_ms)),
                None => duration::WANTED.to_owned(),
            };
            self.fault(key, words);
        }
        within
    }

    /// The option that says it, where the value names one, and not a value itself.
    fn option(&mut self, key: &str, wanted: &str) -> Option<Option<String>> {
        let late = self.words.get(key)?.as_str()?.strip_prefix("@{")?;
        let name = late.strip_suffix('}').and_then(|late| late.strip_prefix("option:")).filter(|name| !name.is_empty());
        if name.is_none() {
            self.fault(key, format!("{wanted} is wanted, or @{{option:NAME}} for the option that says it"));
        }
        Some(name.map(str::to_owned))
    }

    fn every(&mut self) -> Option<Every> {
        match self.option("every", "a time") {
            Some(option) => option.map(Every::Option),
            None => self.time("every", EVERY_MIN_MS).map(Every::Millis),
        }
    }

    fn keep(&mut self) -> Option<Keep> {
        if let Some(option) = self.option("keep", "a whole number") {
            return option.map(Keep::Option);
        }
        let count = self.words.get("keep")?.as_u64().and_then(|count| u32::try_from(count).ok());
        let within = count.filter(|count| (1..=KEEP_MAX).contains(count));
        if within.is_none() {
            self.fault("keep", format!("a whole number from 1 to {KEEP_MAX} is wanted, or @{{option:NAME}}"));
        }
        within.map(Keep::Count)
    }

    fn arguments(&mut self) -> IndexMap<String, Value> {
        let declared = match self.words.get("arguments") {
            None => return IndexMap::new(),
            Some(Value::Object(declared)) => declared,
            Some(_) => {
                self.fault("arguments", "an object from names to JSON Schemas is wanted");
                return IndexMap::new();
            }
        };
        let arguments: IndexMap<String, Value> =
            declared.iter().map(|(name, schema)| (name.clone(), schema.clone())).collect();
        let at = format!("{}/arguments", self.pointer);
        for (name, _) in arguments.iter().filter(|(_, schema)| names_secret(schema)) {
            let words =
                "an argument is shown with its operation and is no secret; let the script make one, or take an option";
            self.faults.push(Fault::new(format!("{at}/{}", escape(name)), words));
        }
        let below = |fault: Fault| Fault::new(format!("{at}{}", fault.pointer), fault.detail);
        self.faults.extend(arguments::faults(&arguments).into_iter().map(below));
        arguments
    }
}
