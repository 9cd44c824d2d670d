//! Times as people write them: `500ms`, `30s`, `2m`, `1h`, `7d`; a bare number is seconds. Pure.

const UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// What is wanted where a text is no time.
pub const WANTED: &str = "a time is wanted, such as \"30s\", \"2m\", \"1h\" or \"7d\"";

/// The milliseconds of a text; None where it is no time, or more than fits.
pub fn millis(text: &str) -> Option<u64> {
    let text = text.trim();
    let end = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let number: u64 = number.parse().ok()?;
    let unit = if unit.is_empty() { "s" } else { unit.trim_start() };
    let (_, factor) = UNITS.iter().find(|(word, _)| *word == unit)?;
    number.checked_mul(*factor)
}

/// The time in the largest unit that it is a whole number of.
pub fn text(millis: u64) -> String {
    let whole = UNITS.iter().rev().find(|(_, factor)| millis > 0 && millis.is_multiple_of(*factor));
    let (unit, factor) = whole.unwrap_or(&UNITS[1]);
    format!("{}{unit}", millis / factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_written() {
        for (written, read) in [("30s", 30_000), ("2m", 120_000), ("1h", 3_600_000), ("7d", 604_800_000), ("1ms", 1)] {
            assert_eq!(millis(written), Some(read));
            assert_eq!(text(read), written);
        }
        assert_eq!((millis("90"), millis(" 5 s "), text(90_000)), (Some(90_000), Some(5000), "90s".to_owned()));
        assert_eq!((millis("0"), text(0)), (Some(0), "0s".to_owned()));
        for hostile in ["", "s", "-1s", "1.5h", "1w", "1s1s", "99999999999999999999d", "18446744073709551615d", "١s"] {
            assert_eq!(millis(hostile), None, "{hostile:?}");
        }
    }
}
