//! Values as they are meant: `"2"` where a number is wanted, `12345` where a text is.

use serde_json::{Number, Value};
use std::fmt;

/// What an option's values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A whole number.
    Integer,
    /// Any number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// A text.
    Text,
    /// A list.
    List,
    /// An object.
    Object,
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Integer => "a whole number",
            Self::Number => "a number",
            Self::Boolean => "true or false",
            Self::Text => "a text",
            Self::List => "a list",
            Self::Object => "an object",
        })
    }
}

impl Kind {
    /// The kind of a schema's `type`.
    pub fn of_schema(word: &str) -> Option<Self> {
        match word {
            "integer" => Some(Self::Integer),
            "number" => Some(Self::Number),
            "boolean" => Some(Self::Boolean),
            "string" => Some(Self::Text),
            "array" => Some(Self::List),
            "object" => Some(Self::Object),
            _ => None,
        }
    }

    /// The kind of a default: a whole number may be meant as any number (`cpu`), null says nothing.
    pub fn of_default(value: &Value) -> Option<Self> {
        match value {
            Value::Null => None,
            Value::Bool(_) => Some(Self::Boolean),
            Value::Number(_) => Some(Self::Number),
            Value::String(_) => Some(Self::Text),
            Value::Array(_) => Some(Self::List),
            Value::Object(_) => Some(Self::Object),
        }
    }

    /// The value as this kind; None where it is none.
    pub fn convert(self, value: &Value) -> Option<Value> {
        match (self, value) {
            (Self::Integer, Value::Number(number)) => whole(number),
            (Self::Integer, Value::String(text)) => text.trim().parse::<i64>().ok().map(Value::from),
            (Self::Number, Value::Number(number)) => Some(whole(number).unwrap_or_else(|| value.clone())),
            (Self::Number, Value::String(text)) => number(text.trim()),
            (Self::Boolean, Value::String(text)) => match text.trim() {
                "true" | "True" => Some(Value::Bool(true)),
                "false" | "False" => Some(Value::Bool(false)),
                _ => None,
            },
            // Forms of the older system have number fields only.
            (Self::Text, Value::Number(number)) => Some(Value::String(number.to_string())),
            (Self::Boolean, Value::Bool(_))
            | (Self::Text, Value::String(_))
            | (Self::List, Value::Array(_))
            | (Self::Object, Value::Object(_)) => Some(value.clone()),
            (
                Self::Integer | Self::Number | Self::Boolean | Self::Text | Self::List | Self::Object,
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_),
            ) => None,
        }
    }
}

/// Beyond this a number with a fraction's type no longer holds every whole number.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

fn whole(number: &Number) -> Option<Value> {
    if number.is_i64() || number.is_u64() {
        return Some(Value::Number(number.clone()));
    }
    let float = number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() <= EXACT_MAX)?;
    format!("{float:.0}").parse::<i64>().ok().map(Value::from)
}

fn number(text: &str) -> Option<Value> {
    if let Ok(whole) = text.parse::<i64>() {
        return Some(Value::from(whole));
    }
    // `inf`, `nan` and the like are numbers for Rust and not for JSON.
    if !text.starts_with(|character: char| character.is_ascii_digit() || matches!(character, '-' | '.')) {
        return None;
    }
    text.parse::<f64>().ok().and_then(Number::from_f64).map(Value::Number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_taken_for_what() {
        for (kind, value, wanted) in [
            (Kind::Integer, json!(2), Some(json!(2))),
            (Kind::Integer, json!(2.0), Some(json!(2))),
            (Kind::Integer, json!(2.5), None),
            (Kind::Integer, json!("2"), Some(json!(2))),
            (Kind::Integer, json!(" 2 "), Some(json!(2))),
            (Kind::Integer, json!("2.5"), None),
            (Kind::Integer, json!("two"), None),
            (Kind::Integer, json!(true), None),
            (Kind::Integer, json!(null), None),
            (Kind::Number, json!("0.5"), Some(json!(0.5))),
            (Kind::Number, json!("inf"), None),
            (Kind::Number, json!("1e400"), None),
            (Kind::Number, json!(1.0), Some(json!(1))),
            (Kind::Boolean, json!("true"), Some(json!(true))),
            (Kind::Boolean, json!(1), None),
            (Kind::Text, json!(12345), Some(json!("12345"))),
            (Kind::Text, json!(["a"]), None),
            (Kind::List, json!([1]), Some(json!([1]))),
            (Kind::Object, json!([1]), None),
        ] {
            assert_eq!(kind.convert(&value), wanted, "{kind:?} of {value}");
        }
    }
}
