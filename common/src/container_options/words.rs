//! Words and values of options.

use super::ContainerOptionError;

/// `NAME=SOFT[:HARD]`.
pub(super) fn limit(value: &str) -> Option<(String, i64, i64)> {
    let (name, numbers) = value.split_once('=')?;
    let (soft, hard) = numbers.split_once(':').unwrap_or((numbers, numbers));
    Some((name.to_owned(), soft.parse().ok()?, hard.parse().ok()?))
}

/// `512`, `64k`, `64m`, `1g`, in bytes.
pub(super) fn bytes(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    let lower = lower.strip_suffix('b').unwrap_or(&lower);
    let (digits, shift) = match lower.chars().last()? {
        'k' => (&lower[..lower.len() - 1], 10),
        'm' => (&lower[..lower.len() - 1], 20),
        'g' => (&lower[..lower.len() - 1], 30),
        _ => (lower, 0),
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// Words as a shell has them, without anything that a shell would do with them.
pub(super) fn split(text: &str) -> Result<Vec<String>, ContainerOptionError> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match (quote, character) {
            (Some(open), close) if open == close => quote = None,
            (None, '\'' | '"') => {
                word.get_or_insert_default();
                quote = Some(character);
            }
            (None | Some('"'), '\\') => {
                let next = characters.next().ok_or(ContainerOptionError::Unclosed)?;
                word.get_or_insert_default().push(next);
            }
            (None, blank) if blank.is_whitespace() => words.extend(word.take()),
            (_, other) => word.get_or_insert_default().push(other),
        }
    }
    if quote.is_some() {
        return Err(ContainerOptionError::Unclosed);
    }
    words.extend(word);
    Ok(words)
}

/// The candidate that is most like the word: at most two letters that differ, are missing, are too many or have changed places.
pub(super) fn nearest(word: &str, candidates: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    const LENGTH_MIN: usize = 5;
    const FAR: usize = 3;
    // Of short words and of whole lines everything, or nothing, is near.
    if !(LENGTH_MIN..64).contains(&word.len()) {
        return None;
    }
    let near = candidates.filter(|candidate| candidate.len() >= LENGTH_MIN);
    near.map(|candidate| (distance(word, candidate), candidate)).filter(|(far, _)| *far < FAR).min().map(|(_, it)| it)
}

fn distance(left: &str, right: &str) -> usize {
    let (left, right): (Vec<char>, Vec<char>) = (left.chars().collect(), right.chars().collect());
    let mut rows = vec![(0..=right.len()).collect::<Vec<usize>>()];
    for (at, one) in left.iter().enumerate() {
        let mut row = vec![at + 1];
        for (other_at, other) in right.iter().enumerate() {
            let changed = rows[at][other_at] + usize::from(one != other);
            let mut least = changed.min(rows[at][other_at + 1] + 1).min(row[other_at] + 1);
            if at > 0 && other_at > 0 && *one == right[other_at - 1] && left[at - 1] == *other {
                least = least.min(rows[at - 1][other_at - 1] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[left.len()][right.len()]
}
