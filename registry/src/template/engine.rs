//! The template engine as the older system's templates expect it.

use super::place::{END, JSON, TEXT, has_marks, without_marks};
use super::{Context, Language, RenderReply, RenderRequest, place};
use bigdata_chassis::http::json;
use minijinja::value::{Enumerator, Object, ValueKind};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, Output, State, UndefinedBehavior, Value};
use minijinja_contrib::pycompat::unknown_method_callback;
use serde_json::Map;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Instructions after which a template is ended.
const FUEL: u64 = 1_000_000;
/// Names that are told in a warning.
const NAMED_MAX: usize = 20;

/// Parses a template, and renders it where the request says with what.
pub fn answer(request: &RenderRequest) -> RenderReply {
    render(request).unwrap_or_else(RenderReply::Refused)
}

fn render(request: &RenderRequest) -> Result<RenderReply, String> {
    if has_marks(&request.source) {
        return Err("the template holds a character that is no character (U+FDD0 to U+FDD2)".to_owned());
    }
    let notes = Arc::new(Notes::default());
    let environment = environment(&notes, request.strict);
    let template = environment.template_from_str(&request.source).map_err(|error| words(&error, &request.source))?;
    let Some(context) = &request.context else {
        return Ok(RenderReply::Rendered { document: serde_json::Value::Null, warnings: Vec::new() });
    };
    let marked = template.render(values(context, &notes)).map_err(|error| words(&error, &request.source))?;
    if marked.len() > super::OUTPUT_MAX {
        return Err(format!("it renders to more than {} bytes", super::OUTPUT_MAX));
    }
    let document = read(&marked, request.language)?;
    let declared = ["opts", "user", "product", "version", "clusterdn", "clusterid"];
    let unknown = template.undeclared_variables(false).into_iter();
    let unknown = unknown
        .filter(|name| !declared.contains(&name.as_str()) && environment.globals().all(|(global, _)| global != name));
    Ok(RenderReply::Rendered { document, warnings: notes.warnings(unknown.collect()) })
}

fn read(marked: &str, language: Language) -> Result<serde_json::Value, String> {
    match language {
        Language::Json => {
            let text = place::to_json(marked)?;
            json::parse(text.as_bytes()).map_err(|fault| match fault.pointer.as_str() {
                "" => format!("what it renders to is no JSON: {}{}", fault.detail, near(&text, &fault.detail)),
                pointer => format!("what it renders to is no JSON: {pointer}: {}", fault.detail),
            })
        }
        Language::Yaml => {
            let (text, placeholders) = place::to_yaml(marked)?;
            let document = serde_yaml_ng::from_str::<serde_json::Value>(&text)
                .map_err(|error| format!("what it renders to is no YAML: {error}"))?;
            placeholders.fill(document)
        }
    }
}

/// The line that a parser's message names.
fn near(text: &str, detail: &str) -> String {
    const SHOWN_MAX: usize = 100;
    let number = detail.split("line ").nth(1).and_then(|rest| rest.split(' ').next());
    let line =
        number.and_then(|number| number.parse::<usize>().ok()).and_then(|number| text.lines().nth(number.max(1) - 1));
    line.map(|line| format!(": {}", line.trim().chars().take(SHOWN_MAX).collect::<String>())).unwrap_or_default()
}

fn words(error: &Error, source: &str) -> String {
    let place = error.line().map(|line| format!("line {line}: ")).unwrap_or_default();
    let what = match error.kind() {
        ErrorKind::OutOfFuel => "it does too much (1,000,000 steps are allowed)".to_owned(),
        ErrorKind::UndefinedError => match error.range().and_then(|range| source.get(range)) {
            // In strict mode: what is missing is the whole message.
            Some(expression) => format!("{} is not defined", shortened(expression)),
            None => "an undefined value is used".to_owned(),
        },
        kind => match error.detail() {
            Some(detail) => format!("{kind}: {detail}"),
            None => kind.to_string(),
        },
    };
    format!("{place}{what}")
}

fn shortened(expression: &str) -> String {
    const SHOWN_MAX: usize = 100;
    expression.trim().chars().take(SHOWN_MAX).collect()
}

fn environment(notes: &Arc<Notes>, strict: bool) -> Environment<'static> {
    let mut environment = Environment::new();
    minijinja_contrib::add_to_environment(&mut environment);
    environment.set_unknown_method_callback(unknown_method_callback);
    environment.set_fuel(Some(FUEL));
    // Errors then know where in the source they are; nothing else of it is told.
    environment.set_debug(true);
    environment.set_undefined_behavior(if strict { UndefinedBehavior::Strict } else { UndefinedBehavior::Lenient });
    // Any escaping but none makes what macros and `set` blocks capture known as complete.
    environment.set_auto_escape_callback(|_| AutoEscape::Custom(Cow::Borrowed("places")));
    for name in ["debug", "lipsum", "randrange", "now"] {
        environment.remove_global(name);
    }
    environment.add_filter("tojson", to_json);
    // HTML's escapes have no place here, and would pass a value off as the template's own text.
    environment.add_filter("escape", |value: Value| value);
    environment.add_filter("e", |value: Value| value);
    // What a value holds does not become the template's own text by being called so.
    environment.add_filter("safe", |value: Value| value);
    environment.add_filter("replace", |text: String, from: String, to: String| {
        without_marks(&text).replace(&without_marks(&from), &without_marks(&to))
    });
    environment.add_filter("join", join);
    let notes = Arc::clone(notes);
    environment.set_formatter(move |output, _, value| write(output, value, &notes));
    environment
}

/// Joins. The result is the template's own text where every piece is (captured, a number, a flag) and a comma or blank
/// stands between them; otherwise it is a text like any other.
fn join(
    state: &State<'_, '_>,
    value: Value,
    joiner: Option<String>,
    attribute: Option<String>,
) -> Result<Value, Error> {
    let joiner = without_marks(&joiner.unwrap_or_default());
    let mut items = Vec::new();
    for item in value.try_iter()? {
        items.push(match &attribute {
            Some(attribute) => item.get_item(&Value::from(attribute.as_str()))?,
            None => item,
        });
    }
    if state.undefined_behavior() == UndefinedBehavior::Strict && items.iter().any(Value::is_undefined) {
        return Err(Error::from(ErrorKind::UndefinedError));
    }
    let plain = |item: &Value| match item.as_str() {
        Some(text) => Ok(text.to_owned()),
        None if item.is_undefined() => Ok(String::new()),
        None => json_text(item),
    };
    let texts: Vec<String> = items.iter().map(plain).collect::<Result<_, _>>()?;
    let own = |item: &Value| item.is_safe() || matches!(item.kind(), ValueKind::Number | ValueKind::Bool);
    if !items.is_empty() && items.iter().all(own) && matches!(joiner.trim(), "" | ",") {
        return Ok(Value::from_safe_string(texts.join(&joiner)));
    }
    Ok(Value::from(without_marks(&texts.join(&joiner))))
}

fn to_json(value: Value) -> Result<Value, Error> {
    Ok(Value::from_safe_string(format!("{JSON}{}{END}", json_text(&value)?)))
}

fn json_text(value: &Value) -> Result<String, Error> {
    let text = serde_json::to_string(value)
        .map_err(|error| Error::new(ErrorKind::BadSerialization, "this is no JSON").with_source(error))?;
    Ok(without_marks(&text))
}

fn write(output: &mut Output<'_>, value: &Value, notes: &Notes) -> Result<(), Error> {
    let written = if value.is_undefined() {
        notes.empty.fetch_add(1, Ordering::Relaxed);
        Ok(())
    } else if value.is_safe() {
        output.write_str(value.as_str().unwrap_or_default())
    } else if let Some(text) = value.as_str() {
        write!(output, "{TEXT}{}{END}", without_marks(text))
    } else {
        match value.kind() {
            ValueKind::None | ValueKind::Bool | ValueKind::Number => output.write_str(&json_text(value)?),
            ValueKind::Seq | ValueKind::Map | ValueKind::Iterable => {
                write!(output, "{JSON}{}{END}", json_text(value)?)
            }
            other => return Err(Error::new(ErrorKind::BadSerialization, format!("a {other} cannot be written"))),
        }
    };
    written.map_err(|_| Error::new(ErrorKind::WriteFailure, "the text cannot be written"))
}

fn values(context: &Context, notes: &Arc<Notes>) -> Value {
    let options = Options { values: context.opts.clone(), notes: Arc::clone(notes) };
    Value::from_pairs([
        ("opts", Value::from_object(options)),
        ("user", Value::from(context.user.as_str())),
        ("product", Value::from(context.product.as_str())),
        ("version", Value::from(context.version.as_str())),
        ("clusterdn", Value::from(context.clusterdn.as_str())),
        ("clusterid", Value::from(context.clusterid.as_str())),
    ])
}

fn of_json(value: &serde_json::Value) -> Value {
    match value {
        serde_json::Value::Null => Value::from(()),
        serde_json::Value::Bool(flag) => Value::from(*flag),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Value::from(number),
            (None, Some(number)) => Value::from(number),
            (None, None) => Value::from(number.as_f64().unwrap_or_default()),
        },
        serde_json::Value::String(text) => Value::from(text.as_str()),
        serde_json::Value::Array(items) => items.iter().map(of_json).collect(),
        serde_json::Value::Object(entries) => {
            Value::from_pairs(entries.iter().map(|(key, value)| (key.as_str(), of_json(value))))
        }
    }
}

/// What is told of a rendering beside its document.
#[derive(Debug, Default)]
struct Notes {
    empty: AtomicUsize,
    missed: Mutex<BTreeSet<String>>,
}

impl Notes {
    fn warnings(&self, unknown: BTreeSet<String>) -> Vec<String> {
        let empty = self.empty.load(Ordering::Relaxed);
        let missed = self.missed.lock().unwrap_or_else(PoisonError::into_inner);
        let names: Vec<String> =
            missed.iter().map(|name| format!("opts['{name}']")).chain(unknown).take(NAMED_MAX).collect();
        // What is empty without a name is meant so: `{{ "," if not loop.last }}`.
        if empty == 0 || names.is_empty() {
            return Vec::new();
        }
        vec![format!("undefined values were rendered as empty text: {}", names.join(", "))]
    }
}

/// The options, which notice what is asked for in vain.
#[derive(Debug)]
struct Options {
    values: Map<String, serde_json::Value>,
    notes: Arc<Notes>,
}

impl Object for Options {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let key = key.as_str()?;
        match self.values.get(key) {
            Some(value) => Some(of_json(value)),
            None => {
                let mut missed = self.notes.missed.lock().unwrap_or_else(PoisonError::into_inner);
                if missed.len() < NAMED_MAX {
                    missed.insert(key.to_owned());
                }
                None
            }
        }
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.values.keys().map(|key| Value::from(key.as_str())).collect())
    }
}
