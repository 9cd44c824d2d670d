//! Why a value cannot break out of its place.
//!
//! The engine's formatter wraps each text that an expression writes in marks (Unicode noncharacters, which no source or value
//! may hold), and each list, object or `tojson` result in another pair. The structure of the document is then read from
//! what is *outside* the marks: inside a JSON string a marked text is escaped; outside of strings it must be a number, true,
//! false, null, a single comma or blank. What macros and `set` blocks capture carries its marks along.

use super::words;
use serde_json::Value;

/// Begins a text.
pub const TEXT: char = '\u{FDD0}';
/// Begins JSON that is complete in itself.
pub const JSON: char = '\u{FDD1}';
/// Ends either.
pub const END: char = '\u{FDD2}';

/// Whether a text holds one of the marks.
pub fn has_marks(text: &str) -> bool {
    text.contains([TEXT, JSON, END])
}

/// The text without marks.
pub fn without_marks(text: &str) -> String {
    text.chars().filter(|character| !matches!(*character, TEXT | JSON | END)).collect()
}

/// A piece of what the engine wrote.
enum Piece<'text> {
    /// The template's own text.
    Own(&'text str),
    /// A text of an expression.
    Text(&'text str),
    /// JSON of an expression.
    Json(&'text str),
}

fn pieces(marked: &str) -> Result<Vec<Piece<'_>>, String> {
    let mut pieces = Vec::new();
    let mut rest = marked;
    while let Some(start) = rest.find([TEXT, JSON, END]) {
        let (own, from) = rest.split_at(start);
        pieces.push(Piece::Own(own));
        let torn = || "a captured text was cut apart; use it whole".to_owned();
        let kind = from.chars().next().ok_or_else(torn)?;
        let inner = &from[kind.len_utf8()..];
        let end = inner.find([TEXT, JSON, END]).filter(|end| inner[*end..].starts_with(END)).ok_or_else(torn)?;
        pieces.push(match kind {
            TEXT => Piece::Text(&inner[..end]),
            JSON => Piece::Json(&inner[..end]),
            _ => return Err(torn()),
        });
        rest = &inner[end + END.len_utf8()..];
    }
    pieces.push(Piece::Own(rest));
    Ok(pieces)
}

/// Whether a text outside of strings leaves the structure as it is.
fn is_scalar(text: &str) -> bool {
    matches!(text, "true" | "false" | "null") || text.parse::<serde_json::Number>().is_ok()
}

fn shown(text: &str) -> String {
    const SHOWN_MAX: usize = 60;
    let short: String = text.chars().take(SHOWN_MAX).collect();
    if short.len() < text.len() { format!("{short:?}…") } else { format!("{short:?}") }
}

/// Whether what comes next is the value of the key of words.
fn is_after_words_key(output: &str) -> bool {
    let key = output.trim_end().strip_suffix(':').and_then(|rest| rest.trim_end().strip_suffix('"'));
    key.and_then(|rest| rest.strip_suffix(words::KEY)).is_some_and(|rest| rest.ends_with('"'))
}

/// The JSON text of what the engine wrote.
///
/// # Errors
/// Where a value would change the structure, in words with its line.
pub fn to_json(marked: &str) -> Result<String, String> {
    let mut output = String::with_capacity(marked.len());
    let (mut in_string, mut after_backslash, mut line) = (false, false, 1usize);
    // Where the last string begins, where it is one of words.
    let mut words_from = None;
    for piece in pieces(marked)? {
        match piece {
            Piece::Own(own) => {
                for character in own.chars() {
                    line += usize::from(character == '\n');
                    match character {
                        _ if after_backslash => after_backslash = false,
                        '\\' if in_string => after_backslash = true,
                        '"' => {
                            in_string = !in_string;
                            words_from = (in_string && is_after_words_key(&output)).then_some(output.len() + 1);
                        }
                        _ => {}
                    }
                    output.push(character);
                }
            }
            Piece::Text(text) if after_backslash => {
                return Err(format!("line {line}: the expression that gives {} stands after a backslash", shown(text)));
            }
            Piece::Text(text) if in_string => {
                let before = words_from.map(|from| serde_json::from_str(&format!("\"{}\"", &output[from..])));
                let quoted = match before {
                    Some(before) => Value::from(words::in_place(&before.unwrap_or_else(|_| String::new()), text)),
                    None => Value::from(text),
                };
                let quoted = quoted.to_string();
                output.push_str(&quoted[1..quoted.len() - 1]);
            }
            Piece::Text(text) => {
                let trimmed = text.trim();
                if !(trimmed.is_empty() || trimmed == "," || is_scalar(trimmed)) {
                    return Err(format!(
                        "line {line}: the text {} stands outside of quotes, where it would change the document; put the \
                         expression into quotes, give the option a number's type, or use `| tojson`",
                        shown(text)
                    ));
                }
                output.push_str(text);
            }
            Piece::Json(json) if in_string => {
                return Err(format!("line {line}: {} brings quotes of its own and stands inside quotes", shown(json)));
            }
            Piece::Json(json) => output.push_str(json),
        }
    }
    Ok(output)
}

/// What the engine wrote, as YAML whose values are placeholders; [`Placeholders::fill`] puts the values into the parsed
/// document. So the structure is known before any value is seen.
///
/// # Errors
/// As [`to_json`].
pub fn to_yaml(marked: &str) -> Result<(String, Placeholders), String> {
    let pieces = pieces(marked)?;
    let mut stem = "valueq".to_owned();
    while pieces.iter().any(|piece| matches!(piece, Piece::Own(own) if own.contains(&stem))) {
        stem.push('q');
    }
    let mut placeholders = Placeholders { stem, values: Vec::new() };
    let mut output = String::with_capacity(marked.len());
    for piece in pieces {
        match piece {
            Piece::Own(own) => output.push_str(own),
            Piece::Text(text) if text.trim().is_empty() || text.trim() == "," => output.push_str(text),
            Piece::Text(text) => output.push_str(&placeholders.add(Held::Text(text.to_owned()))),
            Piece::Json(json) => {
                let value = serde_json::from_str(json).map_err(|error| error.to_string())?;
                output.push_str(&placeholders.add(Held::Json(value)));
            }
        }
    }
    Ok((output, placeholders))
}

enum Held {
    Text(String),
    Json(Value),
}

/// What a text of a parsed document is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Key,
    Value,
    Words,
}

/// Values that wait for their places in a parsed document.
pub struct Placeholders {
    stem: String,
    values: Vec<Held>,
}

impl Placeholders {
    fn add(&mut self, held: Held) -> String {
        self.values.push(held);
        format!("{}{}z", self.stem, self.values.len() - 1)
    }

    /// Puts the values into the document's texts and keys.
    ///
    /// # Errors
    /// Where a list or object stands in the middle of a text.
    pub fn fill(&self, document: Value) -> Result<Value, String> {
        match document {
            Value::String(text) => self.fill_text(&text, Kind::Value),
            Value::Array(items) => {
                items.into_iter().map(|item| self.fill(item)).collect::<Result<_, _>>().map(Value::Array)
            }
            Value::Object(entries) => {
                let mut object = serde_json::Map::new();
                for (key, value) in entries {
                    let key = match self.fill_text(&key, Kind::Key)? {
                        Value::String(key) => key,
                        _ => return Err("a list or object stands as a key".to_owned()),
                    };
                    let value = match value {
                        Value::String(text) if key == words::KEY => self.fill_text(&text, Kind::Words)?,
                        value => self.fill(value)?,
                    };
                    if object.insert(key.clone(), value).is_some() {
                        return Err(format!("the key {key:?} stands twice in one place"));
                    }
                }
                Ok(Value::Object(object))
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => Ok(document),
        }
    }

    fn fill_text(&self, text: &str, kind: Kind) -> Result<Value, String> {
        let mut output = String::new();
        let mut rest = text;
        while let Some(start) = rest.find(&self.stem) {
            output.push_str(&rest[..start]);
            let after = &rest[start + self.stem.len()..];
            let end = after.find('z').ok_or("a value's place was torn apart")?;
            let held = after[..end].parse::<usize>().ok().and_then(|index| self.values.get(index));
            match held.ok_or("a value's place was torn apart")? {
                Held::Text(value) if kind == Kind::Words => {
                    let value = words::in_place(&output, value);
                    output.push_str(&value);
                }
                Held::Text(value) => output.push_str(value),
                Held::Json(value) if kind != Kind::Key && output.is_empty() && start == 0 && after.len() == end + 1 => {
                    return Ok(value.clone());
                }
                Held::Json(value) => {
                    return Err(format!("{} stands in the middle of a text", shown(&value.to_string())));
                }
            }
            rest = &after[end + 1..];
        }
        output.push_str(rest);
        Ok(Value::String(output))
    }
}
