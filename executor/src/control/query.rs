//! The query part of a request's address.

use super::answer::Failure;
use bigdata_common::api::problem::ProblemCode;
use std::str::FromStr;

/// Decoded names and values, in their order.
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads `a=b&c=d`, percent-encoded as URLs have it (`+` for a space).
    ///
    /// # Errors
    /// When an escape is not one, or the bytes are no UTF-8.
    pub(super) fn parse(text: &str) -> Result<Self, Failure> {
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((decode(name)?, decode(value)?))
        });
        pairs.collect::<Option<_>>().map(Self).ok_or_else(|| {
            Failure::new(ProblemCode::InvalidPath, format!("the query {text:?} is not percent-encoded UTF-8"))
        })
    }

    /// The value of this name, where it is given.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The value of this name, read as a number or a word.
    ///
    /// # Errors
    /// When it is given and cannot be read so.
    pub(super) fn read<T: FromStr>(&self, name: &str) -> Result<Option<T>, Failure> {
        let read = |value: &str| {
            value.parse().map_err(|_| {
                Failure::new(ProblemCode::InvalidPath, format!("{name}={value:?} in the query is not of its form"))
            })
        };
        self.get(name).map(read).transpose()
    }
}

fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        match first {
            b'+' => bytes.push(b' '),
            b'%' => {
                let digits = rest.get(..2)?;
                if !digits.iter().all(u8::is_ascii_hexdigit) {
                    return None;
                }
                bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
                rest = &rest[2..];
            }
            other => bytes.push(*other),
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_decoded() {
        let query = Query::parse("path=%2Fa%20b+c&late=true&x&n=7").ok().unwrap();
        assert_eq!(query.get("path"), Some("/a b c"));
        assert_eq!((query.get("x"), query.get("y")), (Some(""), None));
        assert_eq!(query.read::<u64>("n").ok(), Some(Some(7)));
        assert!(query.read::<u64>("late").is_err());
        for text in ["a=%", "a=%2", "a=%zz", "a=%+1", "a=%ff"] {
            assert!(Query::parse(text).is_err(), "{text}");
        }
    }
}
