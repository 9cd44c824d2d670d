//! The order of versions as people have it: 3.9 before 3.10.

use std::cmp::Ordering;

/// Compares two versions: runs of digits by their number, everything else by its letters.
pub fn compare(left: &str, right: &str) -> Ordering {
    let (mut left_parts, mut right_parts) = (parts(left), parts(right));
    loop {
        let order = match (left_parts.next(), right_parts.next()) {
            (None, None) => return left.cmp(right),
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
            (Some(left), Some(right)) => compare_parts(left, right),
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

fn parts(version: &str) -> impl Iterator<Item = &str> {
    let mut rest = version;
    std::iter::from_fn(move || {
        let digits = rest.chars().next()?.is_ascii_digit();
        let end = rest.find(|character: char| character.is_ascii_digit() != digits).unwrap_or(rest.len());
        let (part, after) = rest.split_at(end);
        rest = after;
        Some(part)
    })
}

fn compare_parts(left: &str, right: &str) -> Ordering {
    let is_number = |part: &str| part.starts_with(|character: char| character.is_ascii_digit());
    match (is_number(left), is_number(right)) {
        (true, true) => {
            let (left, right) = (left.trim_start_matches('0'), right.trim_start_matches('0'));
            left.len().cmp(&right.len()).then_with(|| left.cmp(right))
        }
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
        (false, false) => left.cmp(right),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn versions_in_their_order() {
        let mut versions = ["3.10", "3.9", "3.9.1", "10", "5.7.0", "5.7.0-beta", "1.0", "01.0"];
        versions.sort_by(|left, right| super::compare(left, right));
        assert_eq!(versions, ["01.0", "1.0", "3.9", "3.9.1", "3.10", "5.7.0", "5.7.0-beta", "10"]);
    }
}
