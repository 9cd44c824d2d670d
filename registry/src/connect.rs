//! A client's command as a line for a shell. Pure.

use bigdata_common::ClusterDn;
use bigdata_common::event::Connect;

const SECRET_OPEN: &str = "@{secret:";

/// The line; it reads secrets from the platform when it is run. None where there is no command, or a variable that no shell
/// can set.
pub(crate) fn line(dn: &ClusterDn, connect: &Connect) -> Option<String> {
    let mut words = Vec::with_capacity(connect.env.len() + connect.command.len());
    for (name, value) in &connect.env {
        let starts_well = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
        if !starts_well || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return None;
        }
        words.push(format!("{name}={}", filled(dn, value)));
    }
    let (program, arguments) = connect.command.split_first()?;
    if connect.command.iter().any(|word| word.contains('\0')) {
        return None;
    }
    // With an equals sign it would be one more variable.
    words.push(if program.contains('=') { in_quotes(program) } else { quoted(program) });
    words.extend(arguments.iter().map(|word| quoted(word)));
    Some(words.join(" "))
}

/// A value whose secrets are read by the shell.
fn filled(dn: &ClusterDn, value: &str) -> String {
    let mut out = String::new();
    let mut rest = value;
    while let Some((before, name, behind)) = next_secret(rest) {
        if !before.is_empty() {
            out.push_str(&quoted(before));
        }
        out.push_str(&format!("\"$(bigdata cluster secrets {dn} {})\"", quoted(name)));
        rest = behind;
    }
    if !rest.is_empty() || out.is_empty() {
        out.push_str(&quoted(rest));
    }
    out
}

fn next_secret(text: &str) -> Option<(&str, &str, &str)> {
    let (before, after) = text.split_once(SECRET_OPEN)?;
    let (name, behind) = after.split_once('}')?;
    Some((before, name, behind))
}

/// A word that the shell takes as it stands; some shells replace one that begins with an equals sign.
fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_@%+:,./-=".contains(&byte);
    match !word.is_empty() && !word.starts_with('=') && word.bytes().all(plain) {
        true => word.to_owned(),
        false => in_quotes(word),
    }
}

fn in_quotes(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use indexmap::IndexMap;
    use std::process::Command;

    fn connect(command: &[&str], env: &[(&str, &str)]) -> Connect {
        let env: IndexMap<String, String> =
            env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Connect { command: command.iter().map(|word| (*word).to_owned()).collect(), env }
    }

    fn dn() -> ClusterDn {
        "clusters/ann/mariadb/10.11/1".parse().unwrap()
    }

    #[test]
    fn the_line_that_is_shown() {
        let client = connect(&["mysql", "--host=127.64.0.1", "-u", "app"], &[("MYSQL_PWD", "@{secret:password}")]);
        assert_eq!(
            line(&dn(), &client).unwrap(),
            "MYSQL_PWD=\"$(bigdata cluster secrets clusters/ann/mariadb/10.11/1 password)\" mysql --host=127.64.0.1 -u app"
        );
        for unusable in [connect(&[], &[]), connect(&["x"], &[("A B", "1")]), connect(&["x"], &[("1A", "1")])] {
            assert_eq!(line(&dn(), &unusable), None);
        }
        assert_eq!(line(&dn(), &connect(&["x"], &[("", "1")])), None);
        assert_eq!(line(&dn(), &connect(&["a=b", "=c"], &[])).unwrap(), "'a=b' '=c'");
    }

    #[test]
    fn a_shell_takes_every_word_as_it_stands() {
        let hostile = ["a b", "$(false)", "`false`", "it's", "\"", "", "~", "*", "a=b", "--x=y", "é\nnew", "\\", "!"];
        let mut words = vec!["printf", "%s|"];
        words.extend(hostile);
        let env = [("SAID", "pre '@{secret:it's}' $(false) @{secret:b}")];
        // In place of the platform's own program: it says what it was asked for.
        let stand_in = "bigdata() { printf '<%s>' \"$*\"; }\n";
        let said = line(&dn(), &connect(&["env"], &env)).unwrap();
        let script = format!("{stand_in}{}\n{said} | grep -a ^SAID", line(&dn(), &connect(&words, &[])).unwrap());
        let output = Command::new("/bin/sh").arg("-c").arg(script).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let wanted: String = hostile.iter().map(|word| format!("{word}|")).collect();
        let dn = dn();
        let secrets = format!("SAID=pre '<cluster secrets {dn} it's>' $(false) <cluster secrets {dn} b>\n");
        assert_eq!(text, format!("{wanted}{secrets}"));
    }
}
