//! Strict JSON: duplicate keys refused, depth bounded, every fault with its pointer.

use super::ApiError;
use bigdata_common::api::problem::{Fault, ProblemCode};
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::fmt;

/// Levels of nesting beyond which a document is refused.
pub const DEPTH_MAX: usize = 64;

/// Reads a document into a value.
///
/// # Errors
/// A fault at the place of a duplicate key, at excessive depth, or at the root with line and column for bad syntax.
pub fn parse(bytes: &[u8]) -> Result<Value, Fault> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let seed = Strict { pointer: String::new(), depth: 0 };
    let value = seed.deserialize(&mut deserializer).map_err(|error| fault(&error))?;
    deserializer.end().map_err(|error| fault(&error))?;
    Ok(value)
}

/// Reads a request's body into `T`.
///
/// # Errors
/// 400, with the pointer of the fault.
pub fn body<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    let value = parse(bytes).map_err(|fault| {
        let detail = format!("the body is not the JSON that it should be: {}", fault.detail);
        ApiError::with_faults(ProblemCode::MalformedBody, detail, vec![fault])
    })?;
    from_value(value).map_err(|fault| {
        let detail =
            format!("{}: {}", if fault.pointer.is_empty() { "the body" } else { &fault.pointer }, fault.detail);
        ApiError::with_faults(ProblemCode::InvalidField, detail, vec![fault])
    })
}

/// Reads a value into `T`.
///
/// # Errors
/// The first fault, with its pointer.
pub fn from_value<T: DeserializeOwned>(value: Value) -> Result<T, Fault> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let mut pointer = String::new();
        for segment in error.path() {
            use serde_path_to_error::Segment;
            match segment {
                Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
                Segment::Map { key } => pointer.push_str(&format!("/{}", escape(key))),
                Segment::Enum { variant } => pointer.push_str(&format!("/{}", escape(variant))),
                Segment::Unknown => {}
            }
        }
        Fault::new(pointer, error.inner().to_string())
    })
}

/// Escapes one segment of a JSON pointer (RFC 6901 §3).
pub fn escape(segment: &str) -> String {
    segment.replace('~', "~0").replace('/', "~1")
}

/// Separates the pointer from the words in the texts of errors raised by [`Strict`].
const MARK: char = '\u{1}';

fn fault(error: &serde_json::Error) -> Fault {
    let text = error.to_string();
    match text.split_once(MARK).and_then(|(_, rest)| rest.split_once(MARK)) {
        Some((pointer, detail)) => {
            let detail = detail.rsplit_once(" at line").map_or(detail, |(words, _)| words);
            Fault::new(pointer, detail)
        }
        None => Fault::new("", text),
    }
}

struct Strict {
    pointer: String,
    depth: usize,
}

impl Strict {
    fn below(&self, segment: &str) -> Self {
        Self { pointer: format!("{}/{}", self.pointer, escape(segment)), depth: self.depth + 1 }
    }

    fn check_depth<E: Error>(&self) -> Result<(), E> {
        if self.depth < DEPTH_MAX {
            return Ok(());
        }
        Err(E::custom(format!("{MARK}{}{MARK}nested deeper than {DEPTH_MAX} levels", self.pointer)))
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        self.check_depth()?;
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(self.below(&array.len().to_string()))? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        self.check_depth()?;
        let mut object = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let below = self.below(&key);
            if object.contains_key(&key) {
                return Err(A::Error::custom(format!(
                    "{MARK}{}{MARK}the key {key:?} stands here twice",
                    below.pointer
                )));
            }
            let value = entries.next_value_seed(below)?;
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_and_where() {
        let long = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
        for (text, pointer, words) in [
            (r#"{"a":{"b/c":1,"b/c":2}}"#, "/a/b~1c", "twice"),
            (r#"{"a":1} x"#, "", "trailing"),
            (r#"{"a":"#, "", "EOF"),
            (long.as_str(), "/0/0/0/0", "deeper"),
        ] {
            let fault = parse(text.as_bytes()).unwrap_err();
            assert!(fault.pointer.starts_with(pointer) && fault.detail.contains(words), "{fault:?}");
        }
    }

    #[test]
    fn a_value_comes_through_as_it_is() {
        let text = r#"{"z":[1,-2,3.5,"x",null,true,{}],"a":{}}"#;
        assert_eq!(parse(text.as_bytes()).unwrap().to_string(), text);
    }
}
