//! Arithmetic over ranges of whole numbers, such as ports.

use crate::v1::{Range, Ranges};

impl Ranges {
    /// The ranges `pairs`, both ends included, in order and without overlap; backward ones count as empty.
    #[must_use]
    pub fn of(pairs: impl IntoIterator<Item = (u64, u64)>) -> Self {
        let range = pairs.into_iter().map(|(begin, end)| Range { begin, end }).collect();
        Ranges { range }.normalized()
    }

    /// The same numbers in ascending ranges that neither overlap nor touch.
    #[must_use]
    pub fn normalized(&self) -> Ranges {
        let mut sorted: Vec<Range> = self.range.clone();
        sorted.retain(|range| range.begin <= range.end);
        sorted.sort_unstable();
        let mut merged: Vec<Range> = Vec::with_capacity(sorted.len());
        for range in sorted {
            match merged.last_mut() {
                Some(last) if range.begin <= last.end.saturating_add(1) => {
                    last.end = last.end.max(range.end);
                }
                _ => merged.push(range),
            }
        }
        Ranges { range: merged }
    }

    /// The numbers of both.
    #[must_use]
    pub fn union(&self, other: &Ranges) -> Ranges {
        let range = self.range.iter().chain(&other.range).copied().collect();
        Ranges { range }.normalized()
    }

    /// The numbers of `self` that `other` lacks.
    #[must_use]
    pub fn difference(&self, other: &Ranges) -> Ranges {
        let holes = other.normalized();
        let mut left = Vec::new();
        for range in self.normalized().range {
            let mut begin = Some(range.begin);
            for hole in &holes.range {
                let Some(from) = begin else { break };
                if hole.end < from || hole.begin > range.end {
                    continue;
                }
                if hole.begin > from {
                    left.push(Range { begin: from, end: hole.begin - 1 });
                }
                begin = hole.end.checked_add(1).filter(|next| *next <= range.end);
            }
            if let Some(begin) = begin {
                left.push(Range { begin, end: range.end });
            }
        }
        Ranges { range: left }
    }

    /// Whether every number of `other` is here too.
    #[must_use]
    pub fn includes(&self, other: &Ranges) -> bool {
        let in_one = |range: &Range| self.range.iter().any(|own| own.begin <= range.begin && range.end <= own.end);
        other.range.iter().all(in_one) || other.difference(self).range.is_empty()
    }

    /// How many numbers there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        let length = |range: &Range| (range.end - range.begin).saturating_add(1);
        self.normalized().range.iter().map(length).fold(0, u64::saturating_add)
    }

    /// Each number, in ascending order.
    pub fn numbers(&self) -> impl Iterator<Item = u64> {
        self.normalized().range.into_iter().flat_map(|range| range.begin..=range.end)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn ranges() -> impl Strategy<Value = Ranges> {
        proptest::collection::vec((0u64..40, 0u64..40), 0..6).prop_map(Ranges::of)
    }

    fn set(ranges: &Ranges) -> BTreeSet<u64> {
        ranges.numbers().collect()
    }

    proptest! {
        #[test]
        fn ranges_are_sets_of_numbers(a in ranges(), b in ranges()) {
            let union: BTreeSet<u64> = set(&a).union(&set(&b)).copied().collect();
            let difference: BTreeSet<u64> = set(&a).difference(&set(&b)).copied().collect();
            prop_assert_eq!(set(&a.union(&b)), union);
            prop_assert_eq!(set(&a.difference(&b)), difference);
            prop_assert_eq!(a.includes(&b), set(&a).is_superset(&set(&b)));
            prop_assert_eq!(a.count(), set(&a).len() as u64);
        }
    }

    #[test]
    fn touching_ranges_become_one_and_the_largest_number_is_no_trap() {
        assert_eq!(Ranges::of([(5, 9), (1, 4)]).range, [Range { begin: 1, end: 9 }]);
        let all = Ranges::of([(0, u64::MAX)]);
        assert_eq!(all.union(&all), all);
        assert_eq!(all.difference(&all).range, []);
        assert_eq!(all.count(), u64::MAX);
    }
}
