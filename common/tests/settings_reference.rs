//! docs/settings.md is made from the settings' own doc comments and defaults. `UPDATE=1` writes it anew.
//!
//! The sources are read line by line, in the form that rustfmt gives them; whatever is not understood fails the test with
//! its place, so that nothing is left out of the page unnoticed.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt::Write;
use std::path::{Path, PathBuf};

/// Section, file, and the struct that is read from it.
const SECTIONS: &[(&str, &str, &str)] = &[
    ("database", "chassis/src/db.rs", "DatabaseSettings"),
    ("bus", "chassis/src/bus/rabbitmq", "BusSettings"),
    ("log", "chassis/src/telemetry.rs", "LogSettings"),
    ("internal", "chassis/src/program.rs", "InternalSettings"),
    ("registry", "registry/src/settings.rs", "Settings"),
    ("framework", "framework/src/settings.rs", "Settings"),
    ("orchestrator", "orchestrator/src/settings.rs", "Settings"),
    ("gateway", "gateway/src/settings.rs", "Settings"),
];

const HEAD: &str = "\
# Settings

Made from the sources by `UPDATE=1 cargo test -p bigdata-common --test settings_reference`; do not edit it.

One TOML file serves every service of a fleet: each reads the shared sections (`database`, `bus`, `log`, `internal`) and the
one of its own name. The environment outranks the file: `BIGDATA__REGISTRY__LISTEN` is `listen` of `[registry]`, and two
underscores also lead into a table (`BIGDATA__ORCHESTRATOR__LIMITS__PROCESSES`). A key that is not on this page is refused.
`bigdata-registry --config FILE --check` reads everything, says what is wrong, and ends. How the parts fit together is in
[fleet.md](fleet.md).

";

struct Field {
    name: String,
    kind: String,
    meaning: String,
    /// The function that serde asks for a missing value.
    default_function: Option<String>,
}

struct Source {
    name: String,
    text: String,
}

#[test]
fn the_settings_page_is_up_to_date() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut page = HEAD.to_owned();
    for (section, file, structure) in SECTIONS {
        let source = Source::read(&root, file, structure);
        source.describe(section, structure, None, &mut page);
    }
    let page = format!("{}\n", page.trim_end());
    let file = root.join("docs/settings.md");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&file, &page).unwrap();
    }
    let written = std::fs::read_to_string(&file).unwrap_or_default();
    let differs = page.lines().zip(written.lines().chain(std::iter::repeat(""))).find(|(new, old)| new != old);
    assert!(
        written == page,
        "docs/settings.md is outdated ({differs:?}): UPDATE=1 cargo test -p bigdata-common --test settings_reference"
    );
}

impl Source {
    /// The file, or the one of the folder, that has `struct NAME {`.
    fn read(root: &Path, path: &str, structure: &str) -> Self {
        let path = root.join(path);
        let files: Vec<PathBuf> = match path.is_dir() {
            true => std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()).collect(),
            false => vec![path.clone()],
        };
        let read = |file: PathBuf| {
            let text = std::fs::read_to_string(&file).unwrap();
            Self { name: file.display().to_string(), text }
        };
        let found = files.into_iter().map(read).find(|source| source.has_struct(structure));
        found.unwrap_or_else(|| panic!("{} has no struct {structure}", path.display()))
    }

    fn has_struct(&self, name: &str) -> bool {
        self.text.lines().any(|line| line.ends_with(&format!("struct {name} {{")))
    }

    /// Writes a section: its table of keys, then the tables in it. `given` is its value in the default of what is around it.
    fn describe(&self, section: &str, structure: &str, given: Option<&str>, page: &mut String) {
        let (introduction, fields) = self.fields(structure);
        let _ = writeln!(page, "## `[{section}]`\n\n{introduction}\n\n| key | default | |\n|---|---|---|");
        let mut inner = Vec::new();
        for field in fields {
            let default = self.default_of(structure, &field, given);
            let kind = field.kind.trim_start_matches("Option<").trim_end_matches('>').to_owned();
            if let Some(entry) = kind.strip_prefix("BTreeMap<Name, ").filter(|entry| self.has_struct(entry)) {
                let _ = writeln!(page, "| `{}` | none | {}{} |", field.name, field.meaning, self.keys_in_words(entry));
                inner.push((format!("{}.NAME", field.name), entry.to_owned(), None));
                continue;
            }
            let is_table = self.has_struct(&kind);
            let shown = match default.as_deref() {
                Some("None") => "none".to_owned(),
                Some(_) if is_table => {
                    inner.push((field.name, kind, default));
                    continue;
                }
                Some(text) => format!("`{}`", self.toml(text)),
                None if field.kind.starts_with("Option<") => "none".to_owned(),
                None => "**required**".to_owned(),
            };
            let keys = if is_table { self.keys_in_words(&kind) } else { String::new() };
            let _ = writeln!(page, "| `{}` | {shown} | {}{keys} |", field.name, field.meaning);
        }
        page.push('\n');
        for (name, kind, default) in inner {
            self.describe(&format!("{section}.{name}"), &kind, default.as_deref(), page);
        }
    }

    /// What a table without a default has in it.
    fn keys_in_words(&self, structure: &str) -> String {
        let keys: Vec<String> = self.fields(structure).1.into_iter().map(|field| field.name).collect();
        format!(" A table of `{}`.", keys.join("`, `"))
    }

    /// The doc comment of a struct, and its fields that can be set.
    fn fields(&self, structure: &str) -> (String, Vec<Field>) {
        let (mut comment, mut attributes, mut introduction) = (String::new(), String::new(), None);
        let mut fields = Vec::new();
        for line in self.text.lines().map(str::trim) {
            if let Some(words) = line.strip_prefix("///") {
                comment.push_str(words);
                continue;
            } else if line.starts_with("#[") {
                attributes.push_str(line);
                continue;
            } else if line.ends_with(&format!("struct {structure} {{")) {
                introduction = Some(plain(&comment));
            } else if introduction.is_some() {
                if line == "}" {
                    break;
                }
                if !attributes.contains("serde(skip)") {
                    fields.push(self.field(line, &comment, &attributes));
                }
            }
            comment.clear();
            attributes.clear();
        }
        (introduction.unwrap_or_default(), fields)
    }

    fn field(&self, line: &str, comment: &str, attributes: &str) -> Field {
        let named = line.strip_prefix("pub(crate) ").unwrap_or(line).trim_start_matches("pub ");
        let Some((name, kind)) = named.trim_end_matches(',').split_once(": ") else {
            panic!("{}: `{line}` is not understood as a field", self.name)
        };
        assert!(!comment.is_empty(), "{}: `{name}` has no doc comment", self.name);
        let default_function = attributes.split_once("default = \"").and_then(|(_, rest)| rest.split('"').next());
        Field {
            name: name.to_owned(),
            kind: kind.to_owned(),
            meaning: plain(comment),
            default_function: default_function.map(str::to_owned),
        }
    }

    /// The Rust expression of a field's default, if it has one.
    fn default_of(&self, structure: &str, field: &Field, given: Option<&str>) -> Option<String> {
        if let Some(function) = &field.default_function {
            return self.block(&format!("fn {function}() "));
        }
        let values = match given.and_then(|text| text.split_once('{')) {
            Some((_, values)) => values.to_owned(),
            None => self.block(&format!("impl Default for {structure} "))?.split_once("Self {")?.1.to_owned(),
        };
        let values = format!(" {values}");
        values.split_once(&format!(" {}: ", field.name)).map(|(_, after)| expression(after))
    }

    /// What stands between the braces of what begins with `head`, on one line.
    fn block(&self, head: &str) -> Option<String> {
        let mut lines = self.text.lines().skip_while(|line| !line.trim_start().starts_with(head));
        let first = lines.next()?;
        let end = format!("{}}}", " ".repeat(first.len() - first.trim_start().len()));
        let body: Vec<&str> = lines.take_while(|line| *line != end).map(str::trim).collect();
        Some(body.join(" "))
    }

    /// A Rust expression as TOML has it.
    fn toml(&self, rust: &str) -> String {
        let rust = rust.trim();
        let quoted = |text: &str| text.starts_with('"') && text.ends_with('"');
        let argument = |name: &str| rust.strip_prefix(name)?.strip_prefix('(')?.strip_suffix(')').map(str::to_owned);
        if quoted(rust) || rust == "true" || rust == "false" {
            return rust.to_owned();
        }
        if let Some(text) = rust.strip_suffix(".to_owned()").filter(|text| quoted(text)) {
            return text.to_owned();
        }
        if let Some(url) = rust.strip_suffix(".into()").filter(|text| text.starts_with("SocketAddr::")) {
            return self.toml(url).replacen('"', "\"http://", 1);
        }
        if let Some(path) = argument("PathBuf::from").filter(|text| quoted(text)) {
            return path;
        }
        if let Some(address) = argument("SocketAddr::from") {
            let (host, port) = address.trim_matches(['(', ')']).rsplit_once(", ").unwrap_or((&address, "?"));
            let host = host.trim_matches(['[', ']']).replace(", ", ".").replace("Ipv4Addr::LOCALHOST", "127.0.0.1");
            return format!("\"{host}:{port}\"");
        }
        if let Some(items) = rust.strip_prefix("vec![").and_then(|items| items.strip_suffix(']')) {
            let items: Vec<String> = items.split(", ").map(|item| self.toml(item)).collect();
            return format!("[{}]", items.join(", "));
        }
        if let Some((_, variant)) = rust.split_once("::").filter(|(_, word)| word.chars().all(char::is_alphanumeric)) {
            return format!("\"{}\"", variant.to_lowercase());
        }
        number(rust)
            .unwrap_or_else(|| panic!("{}: the default `{rust}` is not understood; teach `toml` its form", self.name))
    }
}

/// The first expression of `text`, which ends at a comma outside of brackets and quotes.
fn expression(text: &str) -> String {
    let (mut depth, mut in_text) = (0_i32, false);
    let end = text.char_indices().find(|&(_, letter)| {
        match letter {
            '"' => in_text = !in_text,
            '(' | '[' | '{' if !in_text => depth += 1,
            ')' | ']' | '}' if !in_text => depth -= 1,
            _ => {}
        }
        !in_text && (depth < 0 || (depth == 0 && letter == ','))
    });
    text[..end.map_or(text.len(), |(at, _)| at)].trim().to_owned()
}

/// A number, a product of numbers or a shifted one.
fn number(rust: &str) -> Option<String> {
    let rust = rust.replace('_', "");
    if let Some((value, by)) = rust.split_once(" << ") {
        return Some((value.parse::<u64>().ok()? << by.parse::<u32>().ok()?).to_string());
    }
    let factors: Option<Vec<f64>> = rust.split(" * ").map(|factor| factor.parse().ok()).collect();
    let product: f64 = factors?.iter().product();
    Some(if rust.contains('.') && product.fract() == 0.0 { format!("{product:.1}") } else { product.to_string() })
}

/// A doc comment as a line of Markdown: no links to code, no bar that would end a cell.
fn plain(comment: &str) -> String {
    comment.trim().replace("[`", "`").replace("`]", "`").replace('|', "\\|")
}

#[test]
fn defaults_are_read_as_rust_has_them() {
    let source = Source { name: "example".to_owned(), text: String::new() };
    for (rust, toml) in [
        ("\"a, b\".to_owned()", "\"a, b\""),
        ("SocketAddr::from(([127, 0, 0, 1], 5001))", "\"127.0.0.1:5001\""),
        ("SocketAddr::from((Ipv4Addr::LOCALHOST, 5001)).into()", "\"http://127.0.0.1:5001\""),
        ("vec![\"bigdata\".to_owned(), \"executor\".to_owned()]", "[\"bigdata\", \"executor\"]"),
        ("4.0 * 7.0 * 24.0 * 3600.0", "2419200.0"),
        ("30 * 24 * 60 * 60 * 1000", "2592000000"),
        ("4 << 20", "4194304"),
        ("30_000", "30000"),
        ("0.05", "0.05"),
        ("Termination::Wipe", "\"wipe\""),
    ] {
        assert_eq!(source.toml(rust), toml);
    }
    assert_eq!(expression("Overhead { cpus: 1.0, mem: 2.0 }, next: 3"), "Overhead { cpus: 1.0, mem: 2.0 }");
    assert_eq!(expression("\"a, b\".to_owned(), next: 3"), "\"a, b\".to_owned()");
}
