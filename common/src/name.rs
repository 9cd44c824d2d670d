//! Validated names of users, products, versions, nodes, services, disks and networks.

use serde::{Deserialize, Serialize};
use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The longest name, in bytes: what fits into one label of a host name.
pub const LENGTH_MAX: usize = 63;

/// A name: lower-case letters, digits, `.`, `_`, `-`; begins and ends with a letter or digit; no two of `.`, `_`, `-`
/// side by side; at most [`LENGTH_MAX`] bytes.
///
/// The rule makes a cluster's id reversible: `--` and `__` cannot occur inside a name (see [`crate::ClusterId`]).
/// A clone shares the text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(Arc<str>);

/// Why a text is not a [`Name`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// The text is empty.
    #[error("a name must not be empty")]
    Empty,
    /// The text is longer than [`LENGTH_MAX`] bytes.
    #[error("a name has at most {LENGTH_MAX} characters, this one has {0}")]
    TooLong(usize),
    /// A character other than the allowed ones.
    #[error("a name holds lower-case letters, digits, '.', '_' and '-' only, not {0:?}")]
    Character(char),
    /// A separator at the beginning or the end.
    #[error("a name begins and ends with a letter or digit")]
    Edge,
    /// Two separators side by side.
    #[error("a name has no two of '.', '_' and '-' side by side")]
    DoubleSeparator,
}

impl Name {
    /// The text of the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_separator(character: char) -> bool {
    matches!(character, '.' | '_' | '-')
}

impl FromStr for Name {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        if text.is_empty() {
            return Err(InvalidName::Empty);
        }
        if text.len() > LENGTH_MAX {
            return Err(InvalidName::TooLong(text.chars().count()));
        }
        let mut after_separator = false;
        for character in text.chars() {
            if !(character.is_ascii_lowercase() || character.is_ascii_digit() || is_separator(character)) {
                return Err(InvalidName::Character(character));
            }
            if after_separator && is_separator(character) {
                return Err(InvalidName::DoubleSeparator);
            }
            after_separator = is_separator(character);
        }
        if text.starts_with(is_separator) || after_separator {
            return Err(InvalidName::Edge);
        }
        Ok(Self(text.into()))
    }
}

impl TryFrom<String> for Name {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, InvalidName> {
        text.parse()
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0.as_ref().to_owned()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rule_in_examples() {
        for good in ["a", "mysql_node0", "5.7.0", "3.7.11", "eth0", "spark-worker", "0"] {
            assert_eq!(good.parse::<Name>().map(String::from).as_deref(), Ok(good));
        }
        for (bad, why) in [
            ("", InvalidName::Empty),
            ("-a", InvalidName::Edge),
            ("a.", InvalidName::Edge),
            ("a--b", InvalidName::DoubleSeparator),
            ("a._b", InvalidName::DoubleSeparator),
            ("Spark", InvalidName::Character('S')),
            ("a/b", InvalidName::Character('/')),
            ("é", InvalidName::Character('é')),
        ] {
            assert_eq!(bad.parse::<Name>(), Err(why), "{bad:?}");
        }
        assert_eq!("a".repeat(64).parse::<Name>(), Err(InvalidName::TooLong(64)));
    }
}
