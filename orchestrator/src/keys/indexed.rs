//! Keys with the indices of their changes, by which a client waits for the next one.

use std::collections::BTreeMap;

/// A value, and when it came and changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) value: String,
    /// The index with which the key came.
    pub(crate) created: u64,
    /// The index with which its value changed last.
    pub(crate) modified: u64,
}

/// All keys of a run, as they were looked at last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Indexed {
    /// Counts the looks that found a change, from 1; 0 before the first.
    pub(crate) index: u64,
    pub(crate) entries: BTreeMap<String, Entry>,
    /// The index with which a key went last.
    pub(crate) removed: u64,
}

impl Indexed {
    /// Takes the keys as they are now.
    pub(crate) fn renew(&mut self, keys: BTreeMap<String, String>) {
        let index = self.index + 1;
        let mut former = std::mem::take(&mut self.entries);
        let mut is_changed = self.index == 0;
        for (key, value) in keys {
            let entry = match former.remove(&key) {
                Some(entry) if entry.value == value => entry,
                found => {
                    is_changed = true;
                    Entry { value, created: found.map_or(index, |entry| entry.created), modified: index }
                }
            };
            self.entries.insert(key, entry);
        }
        if !former.is_empty() {
            self.removed = index;
        }
        if is_changed || !former.is_empty() {
            self.index = index;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_counts_and_nothing_else() {
        let mut indexed = Indexed::default();
        let mut look = |texts: &[(&str, &str)]| {
            indexed.renew(texts.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect());
            let entries =
                indexed.entries.iter().map(|(key, it)| format!("{key}={}/{}/{}", it.value, it.created, it.modified));
            (indexed.index, indexed.removed, entries.collect::<Vec<_>>().join(" "))
        };
        let found = |index: u64, removed: u64, entries: &str| (index, removed, entries.to_owned());
        assert_eq!(look(&[]), found(1, 0, ""));
        assert_eq!(look(&[("a", "1"), ("b", "1")]), found(2, 0, "a=1/2/2 b=1/2/2"));
        assert_eq!(look(&[("a", "1"), ("b", "1")]), found(2, 0, "a=1/2/2 b=1/2/2"));
        assert_eq!(look(&[("a", "2"), ("b", "1")]), found(3, 0, "a=2/2/3 b=1/2/2"));
        assert_eq!(look(&[("b", "1")]), found(4, 4, "b=1/2/2"));
        assert_eq!(look(&[("a", "2"), ("b", "1")]), found(5, 4, "a=2/5/5 b=1/2/2"));
    }
}
