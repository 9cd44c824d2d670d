//! Takes secret values out of what a child wrote, before it is stored or told.

use std::sync::{Arc, PoisonError, RwLock};

/// What stands in a secret's place.
pub const MASK: &str = "********";
/// Shorter values are no secrets, and masking them would make a log unreadable.
const LENGTH_MIN: usize = 3;
/// Lines of a secret of several lines are masked from this length on.
const PART_LENGTH_MIN: usize = 8;

/// The secret values that a child knows. Clones share them.
#[derive(Clone, Default)]
pub struct Mask(Arc<RwLock<Vec<String>>>);

impl Mask {
    /// Masks these values.
    pub fn of<'a>(values: impl IntoIterator<Item = &'a str>) -> Self {
        let mask = Self::default();
        values.into_iter().for_each(|value| mask.add(value));
        mask
    }

    /// Masks one more value: as it is, as it stands in JSON, and each line of it.
    pub fn add(&self, value: &str) {
        let json = serde_json::to_string(value).unwrap_or_default();
        let lines = value.lines().map(str::trim).filter(|line| value.contains('\n') && line.len() >= PART_LENGTH_MIN);
        let inner = json.get(1..json.len().saturating_sub(1)).unwrap_or_default();
        let whole = [value.trim(), inner].into_iter().filter(|text| text.len() >= LENGTH_MIN);
        let mut texts = self.0.write().unwrap_or_else(PoisonError::into_inner);
        texts.extend(whole.chain(lines).map(str::to_owned));
        // The longer first: one secret may be a part of another.
        texts.sort_by(|left, right| right.len().cmp(&left.len()).then_with(|| left.cmp(right)));
        texts.dedup();
    }

    /// The text without secrets.
    pub fn text(&self, text: &str) -> String {
        let secrets = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut masked = text.to_owned();
        for secret in secrets.iter().filter(|secret| text.contains(secret.as_str())) {
            masked = masked.replace(secret.as_str(), MASK);
        }
        masked
    }

    /// The beginning of a line without secrets, nor the beginning of one at the place where it was cut.
    pub fn cut_text(&self, text: &str) -> String {
        let secrets = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let begun = |secret: &String| {
            let ends = secret.char_indices().map(|(at, _)| at).skip(1).collect::<Vec<_>>();
            ends.into_iter().rev().find(|end| text.ends_with(&secret[..*end])).unwrap_or(0)
        };
        let dropped = secrets.iter().map(begun).max().unwrap_or(0);
        drop(secrets);
        self.text(&text[..text.len() - dropped])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_do_not_come_through() {
        let mask = Mask::of(["hunter2", "hunter2-long", "a\"b c", "-----BEGIN\nfirst-of-key\nx\n", "ab", ""]);
        for (text, expected) in [
            ("the password is hunter2.", "the password is ********."),
            ("hunter2-long hunter2", "******** ********"),
            (r#"{"p":"a\"b c"}"#, r#"{"p":"********"}"#),
            ("line first-of-key of it", "line ******** of it"),
            ("ab", "ab"),
        ] {
            assert_eq!(mask.text(text), expected);
        }
        mask.add("later");
        assert_eq!(mask.text("see later"), "see ********");
    }

    #[test]
    fn a_cut_line_does_not_end_in_the_beginning_of_a_secret() {
        let mask = Mask::of(["hunter2"]);
        assert_eq!(mask.cut_text("password hunt"), "password ");
        assert_eq!(mask.cut_text("hunter2 hunter2"), "******** ********");
        assert_eq!(mask.cut_text("plain"), "plain");
    }
}
