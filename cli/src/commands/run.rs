//! `bigdata progress` and `bigdata output`: what a product's script tells of its own run.

use crate::client::escaped;
use crate::context::Context;
use crate::failure::Failure;
use bigdata_common::event::{Connect, EndpointRole};
use clap::Args;
use indexmap::IndexMap;
use reqwest::Method;
use serde_json::json;
use std::io::Read;

/// Tells how far the script is.
#[derive(Debug, Args)]
pub(crate) struct Progress {
    /// Per cent
    #[arg(value_parser = clap::value_parser!(u8).range(0..=100))]
    percent: u8,
    /// What is going on
    message: Vec<String>,
}

/// Publishes values.
#[derive(Debug, Args)]
pub(crate) struct Output {
    /// KEY=VALUE, or KEY alone: its value is read from standard input
    #[arg(required = true, value_name = "KEY=VALUE")]
    values: Vec<String>,
    /// They are secret: masked wherever they are read
    #[arg(long, conflicts_with = "endpoint")]
    secret: bool,
    /// They are addresses of the cluster, of this role (`web`, `writer`, ...)
    #[arg(long, value_name = "ROLE", num_args = 0..=1, default_missing_value = "", require_equals = true)]
    endpoint: Option<String>,
    /// The command line of a client that opens the endpoint, in the shell's words
    #[arg(long, value_name = "WORDS", requires = "endpoint")]
    client: Option<String>,
    /// A variable of that client: @{secret:NAME} stands for a secret option
    #[arg(long, value_name = "NAME=VALUE", requires = "client")]
    client_env: Vec<String>,
    /// Withdraw what was published as KEY
    #[arg(long, conflicts_with_all = ["secret", "endpoint"])]
    remove: bool,
}

/// Sends the progress.
///
/// # Errors
/// See [`Failure`].
pub(crate) async fn progress(command: Progress, context: &Context) -> Result<(), Failure> {
    let api = context.script_api()?;
    let body = json!({ "percent": command.percent, "message": command.message.join(" ") });
    api.send(api.request(Method::POST, "/progress").json(&body)).await.map(drop)
}

/// Sends the values, one by one over one connection.
///
/// # Errors
/// See [`Failure`].
pub(crate) async fn output(command: Output, context: &Context) -> Result<(), Failure> {
    let api = context.script_api()?;
    let connect = command.client.as_deref().map(|words| connect(words, &command.client_env)).transpose()?;
    let endpoint = command.endpoint.map(|role| EndpointRole { role, connect });
    for pair in &command.values {
        if command.remove {
            api.send(api.request(Method::DELETE, &format!("/output/{}", escaped(pair)))).await?;
            continue;
        }
        let (key, value) = match pair.split_once('=') {
            Some((key, value)) => (key, value.to_owned()),
            None => (pair.as_str(), from_input()?),
        };
        let body = json!({ "key": key, "value": value, "secret": command.secret, "endpoint": endpoint });
        api.send(api.request(Method::POST, "/output").json(&body)).await?;
    }
    Ok(())
}

fn from_input() -> Result<String, Failure> {
    let mut text = String::new();
    std::io::stdin().lock().read_to_string(&mut text)?;
    Ok(text.trim_end_matches('\n').to_owned())
}

fn connect(line: &str, variables: &[String]) -> Result<Connect, Failure> {
    let command =
        words(line).ok_or_else(|| Failure::Usage(format!("--client {line:?}: a quotation mark has no end")))?;
    let mut env = IndexMap::new();
    for variable in variables {
        let wrong = || Failure::Usage(format!("--client-env {variable:?} is not of the form NAME=VALUE"));
        let (name, value) = variable.split_once('=').ok_or_else(wrong)?;
        env.insert(name.to_owned(), value.to_owned());
    }
    Ok(Connect { command, env })
}

/// The words of a line as a shell splits it (POSIX, 2.2: quoting), without any expansion. None: a quotation has no end.
fn words(line: &str) -> Option<Vec<String>> {
    let (mut words, mut word) = (Vec::new(), None::<String>);
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match character {
            space if space.is_whitespace() => words.extend(word.take()),
            '\'' => word.get_or_insert_default().extend(until(&mut characters, '\'')?),
            '"' => word.get_or_insert_default().extend(until(&mut characters, '"')?),
            '\\' => word.get_or_insert_default().push(characters.next()?),
            plain => word.get_or_insert_default().push(plain),
        }
    }
    words.extend(word);
    Some(words)
}

/// What stands before the closing mark; within double ones a backslash takes the meaning of `$`, `` ` ``, `"` and itself.
fn until(characters: &mut std::str::Chars<'_>, mark: char) -> Option<Vec<char>> {
    let mut inner = Vec::new();
    loop {
        match characters.next()? {
            character if character == mark => return Some(inner),
            '\\' if mark == '"' => match characters.next()? {
                escaped @ ('$' | '`' | '"' | '\\') => inner.push(escaped),
                other => inner.extend(['\\', other]),
            },
            character => inner.push(character),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_split_as_a_shell_does() {
        for (line, expected) in [
            ("mariadb -h 127.0.0.1  -P 3306", Some(vec!["mariadb", "-h", "127.0.0.1", "-P", "3306"])),
            ("a 'b c' \"d \\\"e\\\" \\n\" f\\ g ''", Some(vec!["a", "b c", "d \"e\" \\n", "f g", ""])),
            ("x'y'z", Some(vec!["xyz"])),
            ("", Some(vec![])),
            ("a 'b", None),
            ("a \"b", None),
            ("a\\", None),
        ] {
            let expected = expected.map(|words| words.into_iter().map(str::to_owned).collect::<Vec<_>>());
            assert_eq!(words(line), expected, "{line}");
        }
    }
}
