//! What is said of nodes, for people: nothing twice, and alike of many at once. Pure.

use bigdata_common::status::NodeStatus;

/// Names that are told one by one; of more the rest is counted.
const NAMED_MAX: usize = 5;

/// What is the matter with a node that does not serve, without its name: `is launching`, `failed: exit code 3`.
pub fn trouble(status: NodeStatus, passing: Option<bool>, said: Option<&str>) -> String {
    let what = match status {
        NodeStatus::Running if passing == Some(false) => "does not pass its health checks".to_owned(),
        NodeStatus::Running => "has not passed its health checks yet".to_owned(),
        // What is said is a sentence about the node already (`it failed: exit code 3`).
        other => match said.and_then(|said| said.strip_prefix("it ")) {
            Some(rest) => return rest.to_owned(),
            None => format!("is {other}"),
        },
    };
    match said {
        Some(said) => format!("{what}: {said}"),
        None => what,
    }
}

/// What the history says of an end beside the status: `failed, attempt 1` and `exit code 3`, not `it failed: exit code 3`.
pub fn because(status: NodeStatus, said: &str) -> &str {
    said.strip_prefix(&format!("it {status}: ")).unwrap_or(said)
}

/// Lines about one thing each, the same words of several put together: `node0 … node7: no agent has 4 CPUs`. The order is
/// that of their first lines; what is said of one alone is `NAME` + `between` + words.
pub fn together<'a>(lines: impl IntoIterator<Item = (&'a str, String)>, between: &str) -> Vec<String> {
    let mut groups: Vec<(String, Vec<&str>)> = Vec::new();
    for (name, words) in lines {
        match groups.iter_mut().find(|(known, _)| *known == words) {
            Some((_, names)) => names.push(name),
            None => groups.push((words, vec![name])),
        }
    }
    let line = |(words, names): (String, Vec<&str>)| match names.as_slice() {
        [name] => format!("{name}{between}{words}"),
        names => format!("{}: {words}", listed(names)),
    };
    groups.into_iter().map(line).collect()
}

/// Reasons that begin with a node's name (`node0: …`), the same of several put together; others as they are.
pub fn reasons_together(reasons: &[String]) -> Vec<String> {
    let lines = reasons.iter().map(|reason| match reason.split_once(": ") {
        Some((name, words)) if !name.contains(' ') => (name, words.to_owned()),
        _ => ("", reason.clone()),
    });
    together(lines, ": ").into_iter().map(|line| line.strip_prefix(": ").map(str::to_owned).unwrap_or(line)).collect()
}

/// `a, b`, `node0 … node7` where they follow one another, or the first few and a count.
pub fn listed(names: &[&str]) -> String {
    let numbered: Vec<Option<(&str, u64)>> = names.iter().map(|name| numbered(name)).collect();
    let follow = numbered.windows(2).all(|pair| match pair {
        [Some((left, first)), Some((right, second))] => left == right && first + 1 == *second,
        _ => false,
    });
    match names {
        [first, .., last] if names.len() > 2 && follow => format!("{first} … {last}"),
        names if names.len() > NAMED_MAX => {
            format!("{} and {} more", names[..NAMED_MAX].join(", "), names.len() - NAMED_MAX)
        }
        names => names.join(", "),
    }
}

/// A name that ends with a number, apart.
fn numbered(name: &str) -> Option<(&str, u64)> {
    let (stem, number) = name.split_at(name.trim_end_matches(|character: char| character.is_ascii_digit()).len());
    number.parse().ok().map(|number| (stem, number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_said_twice() {
        for (status, said, wanted) in [
            (NodeStatus::Failed, Some("it failed: exit code 3"), "failed: exit code 3"),
            (NodeStatus::Failed, Some("no such image"), "is failed: no such image"),
            (
                NodeStatus::Unreachable,
                Some("its agent cannot be reached"),
                "is unreachable: its agent cannot be reached",
            ),
            (NodeStatus::Running, Some("it answers 500"), "has not passed its health checks yet: it answers 500"),
            (NodeStatus::Launching, None, "is launching"),
        ] {
            assert_eq!(trouble(status, None, said), wanted);
        }
        assert_eq!(because(NodeStatus::Failed, "it failed: exit code 3"), "exit code 3");
        assert_eq!(because(NodeStatus::Failed, "it was ended"), "it was ended");
    }

    #[test]
    fn the_same_of_many_is_said_once() {
        let reasons = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let eight: Vec<String> = (0..8).map(|number| format!("node{number}: no agent has 4 CPUs")).collect();
        assert_eq!(reasons_together(&eight), ["node0 … node7: no agent has 4 CPUs"]);
        let mixed = reasons(&["a: x", "b: y", "c: x", "it is late", "n9: z", "n10: z", "n11: z", "n13: x"]);
        assert_eq!(reasons_together(&mixed), ["a, c, n13: x", "b: y", "it is late", "n9 … n11: z"]);
        let names = ["a", "b", "c", "d", "e", "f", "g"];
        assert_eq!(listed(&names), "a, b, c, d, e and 2 more");
        assert_eq!(listed(&["n1", "n3", "n4"]), "n1, n3, n4");
    }
}
