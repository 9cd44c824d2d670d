//! What always holds, as a service finds it now. Every service answers `GET /internal/v1/invariants` with [`Invariants`];
//! the gateway adds them up.

use serde::{Deserialize, Serialize};

/// What was checked, and what does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Invariants {
    /// What was looked at, also where nothing was found.
    pub checked: Vec<Checked>,
    /// What does not hold; empty: all is well.
    pub violations: Vec<Violation>,
}

/// One invariant that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// The invariant, as a sentence (`every accepted launch has exactly one cluster`).
    pub name: String,
    /// How many things it was held against: 0 says that there was nothing to look at.
    pub subjects: u64,
}

/// One thing for which an invariant does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// The name of the invariant, as in [`Checked::name`].
    pub invariant: String,
    /// What it does not hold for: a cluster's id, an operation, a task.
    pub subject: String,
    /// What was found instead.
    pub detail: String,
}

impl Invariants {
    /// Notes that `name` was held against `subjects` things, and for which of them (subject, detail) it does not hold.
    pub fn add(&mut self, name: &str, subjects: u64, broken: impl IntoIterator<Item = (String, String)>) {
        self.checked.push(Checked { name: name.to_owned(), subjects });
        self.violations.extend(broken.into_iter().map(|(subject, detail)| Violation {
            invariant: name.to_owned(),
            subject,
            detail,
        }));
    }

    /// Takes over what another service found.
    pub fn merge(&mut self, other: Self) {
        self.checked.extend(other.checked);
        self.violations.extend(other.violations);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_of_several_services_are_told_together() {
        let mut all = Invariants::default();
        all.add("a", 2, [("x".to_owned(), "it is gone".to_owned())]);
        let mut other = Invariants::default();
        other.add("b", 0, []);
        all.merge(other);
        assert_eq!(all.checked.iter().map(|checked| checked.subjects).collect::<Vec<_>>(), [2, 0]);
        assert_eq!(all.violations[0].invariant, "a");
    }
}
