//! Values in `docker_opts`, which is words: a value in the midst of a word (`-e PASSWORD={{ opts['password'] }}`) stays in it,
//! whatever it holds. One that stands by itself is words of its own.

/// The key of the words.
pub(super) const KEY: &str = "docker_opts";

/// The value as it is written behind `before`, the beginning of the words.
pub(super) fn in_place(before: &str, value: &str) -> String {
    let (mut quote, mut in_word, mut is_escaped) = (None, false, false);
    for character in before.chars() {
        match (quote, character) {
            _ if is_escaped => is_escaped = false,
            (None | Some('"'), '\\') => (is_escaped, in_word) = (true, true),
            (Some(open), close) if open == close => quote = None,
            (None, '\'' | '"') => (quote, in_word) = (Some(character), true),
            (None, blank) if blank.is_whitespace() => in_word = false,
            _ => in_word = true,
        }
    }
    if !in_word {
        return value.to_owned();
    }
    let escaped = |character: char| match quote {
        Some('\'') if character == '\'' => "'\\''".to_owned(),
        Some('\'') => character.to_string(),
        _ if matches!(character, '"' | '\\') => format!("\\{character}"),
        None if character == '\'' || character.is_whitespace() => format!("\\{character}"),
        _ => character.to_string(),
    };
    value.chars().map(escaped).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bigdata_common::container_options::ContainerOptions;

    #[test]
    fn a_value_stays_in_its_word() {
        for value in ["plain", "two words", "a'b", "a\"b", "a\\b", "' --privileged '", "\" -v /:/host \"", "\\", ""] {
            for (before, after) in
                [("-e P=", ""), ("-e 'P=", "'"), ("-e \"P=", "\""), ("--init --env=P=", " --read-only")]
            {
                let words = format!("{before}{}{after}", in_place(before, value));
                let options = ContainerOptions::parse(&words, &Default::default());
                let options = options.unwrap_or_else(|error| panic!("{words}: {error}"));
                assert_eq!(options.env, [("P".to_owned(), value.to_owned())], "{words}");
            }
        }
        for before in ["", "--init "] {
            assert_eq!(in_place(before, "-e A=1 --init"), "-e A=1 --init");
        }
    }
}
