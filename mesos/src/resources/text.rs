//! Resources as text, in the style of the agent's flag `--resources`.

use std::fmt::{Display, Formatter, Result};

use crate::v1::{Attribute, Range, Ranges, Resource, Scalar, Set, Text, ValueType};

use super::Resources;

fn joined<T>(
    items: &[T],
    formatter: &mut Formatter<'_>,
    separator: &str,
    one: impl Fn(&T, &mut Formatter<'_>) -> Result,
) -> Result {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            formatter.write_str(separator)?;
        }
        one(item, formatter)?;
    }
    Ok(())
}

impl Display for Ranges {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        formatter.write_str("[")?;
        joined(&self.range, formatter, ",", |range: &Range, formatter| {
            write!(formatter, "{}-{}", range.begin, range.end)
        })?;
        formatter.write_str("]")
    }
}

fn write_value(
    formatter: &mut Formatter<'_>,
    scalar: Option<Scalar>,
    ranges: Option<&Ranges>,
    set: Option<&Set>,
    text: Option<&Text>,
) -> Result {
    if let Some(scalar) = scalar {
        write!(formatter, "{}", scalar.value)?;
    }
    if let Some(ranges) = ranges {
        write!(formatter, "{ranges}")?;
    }
    if let Some(set) = set {
        write!(formatter, "{{{}}}", set.item.join(","))?;
    }
    if let Some(text) = text {
        formatter.write_str(&text.value)?;
    }
    Ok(())
}

impl Display for Resource {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        formatter.write_str(&self.name)?;
        if let Some(role) = self.reserved_role() {
            write!(formatter, "({role})")?;
        }
        if let (Some(id), Some(path)) = (self.persistence_id(), self.container_path()) {
            write!(formatter, "[{id}:{path}]")?;
        }
        formatter.write_str(":")?;
        let (ranges, set) = (self.ranges.as_ref(), self.set.as_ref());
        write_value(formatter, self.scalar, ranges, set, None)
    }
}

impl Display for Resources {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        joined(&self.entries, formatter, "; ", |entry, formatter| write!(formatter, "{entry}"))
    }
}

impl Display for Attribute {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        write!(formatter, "{}:", self.name)?;
        let (ranges, set, text) = (self.ranges.as_ref(), self.set.as_ref(), self.text.as_ref());
        write_value(formatter, self.scalar, ranges, set, text)
    }
}

impl Attribute {
    /// An attribute with a text, such as a rack's name.
    #[must_use]
    pub fn text(name: &str, value: &str) -> Self {
        Attribute {
            name: name.to_owned(),
            r#type: ValueType::Text as i32,
            text: Some(Text { value: value.to_owned() }),
            ..Attribute::default()
        }
    }

    /// The value as text, whatever its type.
    #[must_use]
    pub fn value_text(&self) -> String {
        let text = self.to_string();
        text[self.name.len() + 1..].to_owned()
    }
}
