//! What keeps the sources as they are meant to be: the layers between the crates, sizes, and documents that lead somewhere.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Which of our crates each may use; tests may use what they test with.
const LAYERS: &[(&str, &[&str])] = &[
    ("bigdata-common", &[]),
    ("bigdata-mesos", &[]),
    ("bigdata-sandbox", &[]),
    ("bigdata-chassis", &["bigdata-common"]),
    ("bigdata-registry", &["bigdata-chassis", "bigdata-common", "bigdata-sandbox"]),
    ("bigdata-orchestrator", &["bigdata-chassis", "bigdata-common", "bigdata-sandbox"]),
    ("bigdata-gateway", &["bigdata-chassis", "bigdata-common"]),
    ("bigdata-framework", &["bigdata-chassis", "bigdata-common", "bigdata-mesos"]),
    ("bigdata-executor", &["bigdata-chassis", "bigdata-common", "bigdata-mesos", "bigdata-sandbox"]),
    (
        "bigdata-cli",
        &[
            "bigdata-chassis",
            "bigdata-common",
            "bigdata-executor",
            "bigdata-framework",
            "bigdata-gateway",
            "bigdata-mesos",
            "bigdata-orchestrator",
            "bigdata-registry",
            "bigdata-sandbox",
        ],
    ),
];
/// What `common` must never need.
const NOT_IN_COMMON: [&str; 4] = ["tokio", "sqlx", "actix-web", "lapin"];
/// Lines of a file, and of a function, past which a warning is printed.
const FILE_LINES: usize = 500;
const FUNCTION_LINES: usize = 120;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

#[test]
fn crates_use_what_their_layer_may() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let allowed: BTreeMap<&str, BTreeSet<&str>> =
        LAYERS.iter().map(|(name, uses)| (*name, uses.iter().copied().collect())).collect();
    let packages = metadata["packages"].as_array().unwrap();
    let mut seen = BTreeSet::new();
    for package in packages {
        let name = package["name"].as_str().unwrap();
        let may = allowed.get(name).unwrap_or_else(|| panic!("{name} has no layer: add it to the table"));
        seen.insert(name);
        let uses = package["dependencies"].as_array().unwrap().iter().filter(|it| it["kind"].is_null());
        let uses: BTreeSet<&str> = uses.map(|it| it["name"].as_str().unwrap()).collect();
        let ours: BTreeSet<&str> = uses.iter().copied().filter(|it| allowed.contains_key(it)).collect();
        assert!(ours.is_subset(may), "{name} uses {:?}, which its layer may not", ours.difference(may));
        if name == "bigdata-common" {
            assert!(NOT_IN_COMMON.iter().all(|it| !uses.contains(it)), "{name} uses {uses:?}");
        }
    }
    assert_eq!(seen, allowed.keys().copied().collect());
}

fn sources() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = LAYERS
        .iter()
        .flat_map(|(name, _)| ["src", "tests"].map(|part| root().join(&name["bigdata-".len()..]).join(part)))
        .collect();
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            match path.extension() {
                _ if path.is_dir() => folders.push(path),
                Some(extension) if extension == "rs" => files.push(path),
                _ => {}
            }
        }
    }
    files.sort();
    assert!(files.len() > 100, "the sources are not where they were");
    files
}

/// The first line and the length of each function: from its `fn` to the brace at the same depth, as rustfmt sets it.
fn functions(text: &str) -> Vec<(usize, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let indent = |line: &str| line.len() - line.trim_start().len();
    let is_function = |line: &str| {
        let mut words = line.split_whitespace().skip_while(|word| {
            word.starts_with("pub") || ["async", "const", "crate)", "super)", "unsafe"].contains(word)
        });
        words.next() == Some("fn")
    };
    let on_one_line = |line: &str| line.ends_with(';') || line.ends_with('}');
    let starts = lines.iter().enumerate().filter(|(_, line)| is_function(line) && !on_one_line(line.trim_end()));
    starts
        .filter_map(|(start, line)| {
            let depth = indent(line);
            let ends = |(_, line): &(usize, &&str)| indent(line) == depth && line.trim_start().starts_with('}');
            let length = lines[start..].iter().enumerate().find(ends).map(|(offset, _)| offset + 1)?;
            Some((start + 1, length))
        })
        .collect()
}

#[test]
fn sizes_are_watched_and_nothing_is_left_for_later() {
    let for_later = ["TO", "FIX"].map(|half| format!("{half}{}", if half == "TO" { "DO" } else { "ME" }));
    let mut left = Vec::new();
    for file in sources() {
        let text = std::fs::read_to_string(&file).unwrap();
        let name = file.strip_prefix(root()).unwrap().display().to_string();
        if text.lines().count() > FILE_LINES {
            println!("warning: {name} has {} lines", text.lines().count());
        }
        for (line, length) in functions(&text).into_iter().filter(|(_, length)| *length > FUNCTION_LINES) {
            println!("warning: {name}:{line}: a function of {length} lines");
        }
        for (number, line) in text.lines().enumerate() {
            if for_later.iter().any(|word| line.contains(word.as_str())) {
                left.push(format!("{name}:{}", number + 1));
            }
        }
    }
    assert_eq!(left, Vec::<String>::new(), "work that is left for later belongs into the issues");
}

/// The paths in a document that begin with a folder of the project, as they stand in its code spans.
fn named_paths(text: &str) -> Vec<&str> {
    let folders = std::fs::read_dir(root()).unwrap().flatten().filter(|entry| entry.path().is_dir());
    let folders = folders.map(|entry| entry.file_name().into_string().unwrap());
    // What a build makes is not there before it.
    let folders: BTreeSet<String> = folders.filter(|name| name != "target").collect();
    let is_path = |span: &&str| {
        let plain = span.chars().all(|letter| letter.is_ascii_alphanumeric() || "/._-".contains(letter));
        plain && span.split_once('/').is_some_and(|(first, _)| folders.contains(first))
    };
    text.split('`').skip(1).step_by(2).filter(is_path).collect()
}

#[test]
fn documents_name_files_that_there_are() {
    let mut documents = vec![root().join("README.md"), root().join("ARCHITECTURE.md")];
    for folder in ["docs", "docs/decisions"] {
        let entries = std::fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().path());
        documents.extend(entries.filter(|path| path.extension().is_some_and(|extension| extension == "md")));
    }
    let (mut found, mut missing) = (0, Vec::new());
    for document in documents {
        let text = std::fs::read_to_string(&document).unwrap();
        for path in named_paths(&text) {
            found += 1;
            if !root().join(path).exists() {
                missing.push(format!("{}: {path}", document.strip_prefix(root()).unwrap().display()));
            }
        }
    }
    assert!(found > 20, "the documents name {found} files only");
    assert_eq!(missing, Vec::<String>::new(), "moved or removed");
}

#[test]
fn functions_are_measured() {
    let text = "impl A {\n    pub(crate) async fn a(\n        x: u8,\n    ) {\n        b();\n    }\n    fn c() {}\n}\nfn d() {\n    fn e() {\n    }\n}\n";
    assert_eq!(functions(text), [(2, 5), (9, 4), (10, 2)]);
}
