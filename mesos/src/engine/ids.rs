//! Ids that come from outside become parts of paths and keys.

/// The longest name of a file.
const MAX_BYTES: usize = 255;

/// Refuses ids that Mesos refuses: empty, too long, `.`, `..`, or with a slash or a control character. The error is the
/// end of a sentence about the id.
pub(crate) fn check_id(id: &str) -> Result<(), &'static str> {
    let bad = |sign: char| sign.is_control() || sign == '/' || sign == '\\';
    match id {
        "" => Err("must not be empty"),
        "." | ".." => Err("is disallowed"),
        _ if id.len() > MAX_BYTES => Err("must not be longer than 255 bytes"),
        _ if id.contains(bad) => Err("contains invalid characters"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_safe_name_of_a_file() {
        for id in ["a", "f-0001", "Ünï", "a b", "...", &"x".repeat(255)] {
            assert_eq!(check_id(id), Ok(()), "{id}");
        }
        for id in ["", ".", "..", "a/b", "a\\b", "a\0", "a\n", &"x".repeat(256)] {
            assert!(check_id(id).is_err(), "{id:?}");
        }
    }
}
