//! Reads what a publisher declares.

use super::{Declaration, Declared, Group, Kind};
use bigdata_chassis::http::json::{self, escape};
use bigdata_common::api::problem::Fault;
use jsonschema::PatternOptions;
use serde_json::{Map, Value};

const GROUPS: [(&str, Group); 3] =
    [("required", Group::Required), ("optional", Group::Optional), ("advanced", Group::Advanced)];
/// Length of a generated password where none is said.
const PASSWORD_LENGTH: usize = 24;
/// The most options that a product declares.
const OPTIONS_MAX: usize = 500;

impl Declaration {
    /// Reads a declaration; an absent group counts as empty.
    ///
    /// # Errors
    /// Every fault.
    pub fn parse(text: &str) -> Result<Self, Vec<Fault>> {
        let value = json::parse(text.as_bytes()).map_err(|fault| vec![fault])?;
        let Value::Object(document) = value else {
            return Err(vec![Fault::new("", "options are an object with the groups required, optional and advanced")]);
        };
        let mut reader = Reader { document, faults: Vec::new() };
        let declaration = reader.read();
        if reader.faults.is_empty() { Ok(declaration) } else { Err(reader.faults) }
    }
}

struct Reader {
    document: Map<String, Value>,
    faults: Vec<Fault>,
}

impl Reader {
    fn fault(&mut self, pointer: String, detail: impl Into<String>) {
        self.faults.push(Fault::new(pointer, detail));
    }

    fn read(&mut self) -> Declaration {
        const KNOWN: [&str; 6] = ["required", "optional", "advanced", "descriptions", "schema", "strict"];
        let unknown: Vec<String> = self.document.keys().filter(|key| !KNOWN.contains(&key.as_str())).cloned().collect();
        for key in unknown {
            self.fault(format!("/{}", escape(&key)), format!("unknown; options have {}", KNOWN.join(", ")));
        }
        let strict = match self.document.get("strict") {
            None => false,
            Some(Value::Bool(strict)) => *strict,
            Some(_) => {
                self.fault("/strict".to_owned(), "true or false is wanted");
                false
            }
        };
        let schemas = self.group("schema");
        for (name, text) in self.group("descriptions") {
            if !text.is_string() {
                self.fault(format!("/descriptions/{}", escape(&name)), "a description is a text");
            }
        }
        let mut declaration = Declaration { strict, ..Declaration::default() };
        for (word, group) in GROUPS {
            for (name, default) in self.group(word) {
                let schema = schemas.get(&name);
                let declared = self.option(word, &name, group, default, schema);
                // In the older system a later group wins.
                declaration.options.insert(name, declared);
            }
        }
        for name in schemas.keys().filter(|name| !declaration.options.contains_key(*name)) {
            self.fault(format!("/schema/{}", escape(name)), "no group declares an option of this name");
        }
        if declaration.options.len() > OPTIONS_MAX {
            self.fault(String::new(), format!("a product has at most {OPTIONS_MAX} options"));
        }
        declaration
    }

    fn group(&mut self, word: &str) -> Map<String, Value> {
        match self.document.get(word) {
            None => Map::new(),
            Some(Value::Object(group)) => group.clone(),
            Some(_) => {
                self.fault(format!("/{word}"), "an object from names to values is wanted");
                Map::new()
            }
        }
    }

    fn option(&mut self, word: &str, name: &str, group: Group, default: Value, schema: Option<&Value>) -> Declared {
        if name.is_empty() {
            self.fault(format!("/{word}/"), "an option has a name");
        }
        let pointer = format!("/schema/{}", escape(name));
        let mut declared = Declared {
            group,
            kind: Kind::of_default(&default),
            default,
            secret: false,
            generate: None,
            backup: false,
            schema: None,
        };
        let Some(schema) = schema else { return declared };
        let Value::Object(words) = schema else {
            self.fault(pointer, "a JSON Schema is an object");
            return declared;
        };
        if let Some(kind) = self.kind(&pointer, words) {
            declared.kind = Some(kind);
        }
        declared.secret = self.flag(&pointer, words, "secret");
        declared.generate = self.generate(&pointer, words);
        if declared.secret && declared.kind.is_none() {
            declared.kind = Some(Kind::Text);
        }
        if (declared.secret || declared.generate.is_some()) && declared.kind != Some(Kind::Text) {
            self.fault(pointer.clone(), "a secret is of the type string");
        }
        if declared.generate.is_some() && !declared.secret {
            self.fault(format!("{pointer}/generate"), "only a secret is generated");
        }
        declared.backup = words.get("format").and_then(Value::as_str) == Some("backup");
        if declared.backup && (declared.secret || declared.kind.is_some_and(|kind| kind != Kind::Text)) {
            self.fault(format!("{pointer}/format"), "a backup is named by a text that is no secret");
        }
        self.compile(&pointer, schema, &mut declared);
        self.check_default(word, name, &mut declared);
        declared
    }

    fn kind(&mut self, pointer: &str, words: &Map<String, Value>) -> Option<Kind> {
        let wanted = words.get("type")?;
        let kind = wanted.as_str().and_then(Kind::of_schema);
        if kind.is_none() {
            let known = "one of string, integer, number, boolean, array, object is wanted";
            self.fault(format!("{pointer}/type"), known);
        }
        kind
    }

    fn flag(&mut self, pointer: &str, words: &Map<String, Value>, word: &str) -> bool {
        match words.get(word) {
            None => false,
            Some(Value::Bool(flag)) => *flag,
            Some(_) => {
                self.fault(format!("{pointer}/{word}"), "true or false is wanted");
                false
            }
        }
    }

    fn generate(&mut self, pointer: &str, words: &Map<String, Value>) -> Option<usize> {
        match words.get("generate")? {
            Value::Bool(true) => Some(PASSWORD_LENGTH),
            Value::Bool(false) => None,
            Value::Number(length) if length.as_u64().is_some_and(|length| (8..=128).contains(&length)) => {
                length.as_u64().and_then(|length| usize::try_from(length).ok())
            }
            _ => {
                self.fault(format!("{pointer}/generate"), "true or a length from 8 to 128 is wanted");
                None
            }
        }
    }

    fn compile(&mut self, pointer: &str, schema: &Value, declared: &mut Declared) {
        if mentions_reference(schema) {
            self.fault(pointer.to_owned(), "an option's schema stands for itself, without $ref");
            return;
        }
        // Patterns of publishers are matched in linear time.
        match jsonschema::options().with_pattern_options(PatternOptions::regex()).build(schema) {
            Ok(validator) => declared.schema = Some(validator),
            Err(error) => self.fault(format!("{pointer}{}", error.instance_path()), format!("no schema: {error}")),
        }
    }

    /// A default must keep its own schema; the example of a required option and an empty secret need not.
    fn check_default(&mut self, word: &str, name: &str, declared: &mut Declared) {
        if declared.group == Group::Required || declared.secret || declared.default.is_null() {
            return;
        }
        let pointer = format!("/{word}/{}", escape(name));
        match declared.check(&declared.default) {
            Ok(converted) => declared.default = converted,
            Err(details) => self.faults.extend(details.into_iter().map(|detail| Fault::new(pointer.clone(), detail))),
        }
    }
}

fn mentions_reference(schema: &Value) -> bool {
    match schema {
        Value::Object(words) => words
            .iter()
            .any(|(word, value)| matches!(word.as_str(), "$ref" | "$dynamicRef") || mentions_reference(value)),
        Value::Array(items) => items.iter().any(mentions_reference),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}
