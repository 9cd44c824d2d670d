//! Arguments of actions: declared as options are, by a JSON Schema each, which may hold `default` and `"required": true`.

use super::Declared;
use crate::options::Declaration;
use bigdata_chassis::http::json::escape;
use bigdata_common::api::problem::Fault;
use indexmap::IndexMap;
use serde_json::{Map, Value, json};

/// The most bytes of an action's arguments, as JSON: they reach the script in a variable of its environment.
pub(super) const ARGUMENTS_MAX: usize = 64 * 1024;

/// What is wrong with declared arguments, each with its pointer among them.
pub(super) fn faults(arguments: &IndexMap<String, Value>) -> Vec<Fault> {
    declaration(arguments).err().unwrap_or_default()
}

/// The arguments that must be given.
pub(super) fn required(arguments: &IndexMap<String, Value>) -> impl Iterator<Item = &str> {
    let required = |schema: &Value| schema.get("required") == Some(&Value::Bool(true));
    arguments.iter().filter(move |(_, schema)| required(schema)).map(|(name, _)| name.as_str())
}

/// Whether the schema speaks of a secret.
pub(super) fn names_secret(schema: &Value) -> bool {
    ["secret", "generate"].iter().any(|word| schema.get(word).is_some_and(|value| *value != Value::Bool(false)))
}

/// The arguments as options: what is declared of both is the same.
fn declaration(arguments: &IndexMap<String, Value>) -> Result<Declaration, Vec<Fault>> {
    let (mut defaults, mut schemas) = (Map::new(), Map::new());
    for (name, schema) in arguments {
        let mut schema = schema.clone();
        let words = schema.as_object_mut();
        let default = words.and_then(|words| {
            if words.get("required").is_some_and(Value::is_boolean) {
                words.shift_remove("required");
            }
            words.shift_remove("default")
        });
        defaults.insert(name.clone(), default.unwrap_or_default());
        schemas.insert(name.clone(), schema);
    }
    let document = json!({"optional": defaults, "schema": schemas});
    let place = |mut fault: Fault| {
        fault.pointer = match (fault.pointer.strip_prefix("/schema"), fault.pointer.strip_prefix("/optional")) {
            (Some(rest), _) => rest.to_owned(),
            (None, Some(rest)) => format!("{rest}/default"),
            (None, None) => fault.pointer,
        };
        fault
    };
    Declaration::parse(&document.to_string()).map_err(|faults| faults.into_iter().map(place).collect())
}

impl Declared {
    /// What is declared of the arguments, as options are.
    ///
    /// # Errors
    /// Every fault; one that was stored has none.
    pub(crate) fn declaration(&self) -> Result<Declaration, Vec<Fault>> {
        declaration(&self.arguments)
    }

    /// What the script is given: what was sent, converted and checked, and defaults for the rest. An argument that was not
    /// sent and has no default is left out.
    ///
    /// # Errors
    /// Every fault, with its pointer into what was sent.
    pub fn arguments(&self, sent: &Map<String, Value>) -> Result<Map<String, Value>, Vec<Fault>> {
        let mut faults = Vec::new();
        for name in sent.keys().filter(|name| !self.arguments.contains_key(*name)) {
            let names: Vec<&str> = self.arguments.keys().map(String::as_str).collect();
            let known = if names.is_empty() { "none at all".to_owned() } else { names.join(", ") };
            let words = format!("the action has no argument {name:?}; it has {known}");
            faults.push(Fault::new(format!("/{}", escape(name)), words));
        }
        for name in required(&self.arguments).filter(|name| !sent.contains_key(*name)) {
            let words = format!("the argument {name} is required and missing");
            faults.push(Fault::new(format!("/{}", escape(name)), words));
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let mut given = self.declaration()?.resolve(sent)?.context;
        given.retain(|name, value| sent.contains_key(name) || !value.is_null());
        if Value::Object(given.clone()).to_string().len() > ARGUMENTS_MAX {
            return Err(vec![Fault::new("", format!("an action's arguments have at most {ARGUMENTS_MAX} bytes"))]);
        }
        Ok(given)
    }
}
