//! Hostile templates: each ends in words within about a second, and whoever asked lives and has not grown.

use crate::support::render_program;
use crate::templates::context;
use bigdata_registry::template::{Language, RenderError, Renderer};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// The longest that an attack may take. The child's own limit is 1 s of CPU; the machine may be busy.
const LIMIT: Duration = Duration::from_secs(20);
/// How much the asking process may grow over all attacks, each of which wants far more; other tests run in it meanwhile.
const GROWTH_MAX_KIB: u64 = 200 * 1024;

fn attacks() -> Vec<(&'static str, String)> {
    let doubling: String = (0..30).map(|n| format!("{{% set a{} = a{n} ~ a{n} %}}", n + 1)).collect();
    let replaces = "|replace('a', 'aaaaaaaaaaaaaaaaaaaa')".repeat(10);
    let elifs: String = (0..2000).map(|n| format!("{{% elif {n} %}}")).collect();
    vec![
        ("a huge range", "{% for i in range(1000000000) %}{% endfor %}".to_owned()),
        ("nested loops without output", {
            let open = "{% for i in range(99999) %}".repeat(3);
            format!("{open}{}", "{% endfor %}".repeat(3))
        }),
        ("endless output", {
            let open = "{% for i in range(99999) %}".repeat(2);
            format!("{open}xxxxxxxxxx{}", "{% endfor %}".repeat(2))
        }),
        ("strings doubled by sets", format!("{{% set a0 = 'xxxxxxxx' %}}{doubling}\"{{{{ a30 }}}}\"")),
        (
            "strings doubled in a loop",
            "{% set n = namespace(s='x') %}{% for i in range(99) %}{% set n.s = n.s ~ n.s %}{% endfor %}".to_owned(),
        ),
        ("chained replaces", format!("\"{{{{ 'aaaaaaaaaa'{replaces} }}}}\"")),
        ("a huge repetition", "{{ 'x' * 1000000000000 }}".to_owned()),
        ("many large repetitions", "{{ 'x' * 99999999 }}".repeat(100)),
        ("a huge format", "{{ '%1000000000d'|format(1) }}".to_owned()),
        ("a macro that calls itself", "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}".to_owned()),
        ("a template that includes itself", "{% include 'main' %}".to_owned()),
        ("8,000 chained additions", format!("{{{{ 1{} }}}}", "+1".repeat(8000))),
        ("30,000 parentheses", format!("{{{{ {}1{} }}}}", "(".repeat(30_000), ")".repeat(30_000))),
        ("2,000 elifs that do nothing", format!("{{% if 0 %}}{elifs}{{% endif %}}")),
        ("deeply nested ifs", format!("{}{}", "{% if 1 %}".repeat(2500), "{% endif %}".repeat(2500))),
        ("lists in lists", format!("{{{{ {}{} }}}}", "[".repeat(20_000), "]".repeat(20_000))),
        ("a file", "{% include '/etc/passwd' %}".to_owned()),
        ("an import", "{% import '/etc/passwd' as p %}".to_owned()),
        ("the environment", "{{ get_env('HOME') }}".to_owned()),
        ("the engine's state", "{{ debug() }}".to_owned()),
    ]
}

/// Resident memory of this process.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn every_attack_ends_and_the_parent_lives() {
    let renderer = Renderer::new(render_program(), 2);
    let before = resident_kib();
    let mut slowest = (Duration::ZERO, "");
    for (name, source) in attacks() {
        for (language, word) in [(Language::Json, "json"), (Language::Yaml, "yaml")] {
            let begun = Instant::now();
            let result = renderer.render(&source, language, false, context(json!({}))).await;
            let took = begun.elapsed();
            assert!(took < LIMIT, "{name} as {word} took {took:?}");
            if took > slowest.0 {
                slowest = (took, name);
            }
            match result {
                Err(RenderError::Template(words)) => assert!(!words.is_empty(), "{name}"),
                Err(other) => panic!("{name} as {word}: {other:?}"),
                // Harmless after all: the 2,000 elifs choose a branch that is empty, which YAML takes for null.
                Ok((document, _)) => assert!(document.to_string().len() < 100, "{name} as {word}: {document}"),
            }
        }
    }
    let grown = resident_kib().saturating_sub(before);
    println!("slowest: {} in {:?}; grown by {grown} KiB", slowest.1, slowest.0);
    assert!(grown < GROWTH_MAX_KIB, "grown by {grown} KiB");
    let after = renderer.render("{{ 1 + 1 }}", Language::Json, false, context(json!({}))).await.unwrap();
    assert_eq!(after.0, json!(2));
}

#[tokio::test]
async fn yaml_bombs_end_too() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let aliases = vec![format!("*a{}", level - 1); 9].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
    }
    let renderer = Renderer::new(render_program(), 1);
    let begun = Instant::now();
    let result = renderer.render(&bomb, Language::Yaml, false, context(json!({}))).await;
    assert!(matches!(result, Err(RenderError::Template(_))), "{result:?}");
    assert!(begun.elapsed() < LIMIT);
}

#[tokio::test]
async fn templates_and_outputs_have_a_largest_size() {
    let renderer = Renderer::new(render_program(), 1);
    let long = "x".repeat(64 * 1024 + 1);
    assert!(matches!(renderer.check(&long, Language::Json).await, Err(RenderError::Template(_))));
    let wide = "\"{% for i in range(20000) %}xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx{% endfor %}\"";
    let refused = renderer.render(wide, Language::Json, false, context(json!({}))).await;
    assert!(refused.unwrap_err().to_string().contains("1048576"));
}

#[tokio::test]
async fn many_hostile_templates_at_once_do_not_stop_an_honest_one() {
    let renderer = std::sync::Arc::new(Renderer::new(render_program(), 4));
    let hostile: Vec<_> = (0..8)
        .map(|_| {
            let renderer = std::sync::Arc::clone(&renderer);
            tokio::spawn(async move {
                let source =
                    "{% set n = namespace(s='x') %}{% for i in range(99) %}{% set n.s = n.s ~ n.s %}{% endfor %}";
                renderer.render(source, Language::Json, false, context(json!({}))).await.is_err()
            })
        })
        .collect();
    let honest = renderer.render("[1]", Language::Json, false, context(json!({}))).await.unwrap();
    assert_eq!(honest.0, json!([1]));
    for attack in hostile {
        assert!(attack.await.unwrap());
    }
}

/// A renderer's program that notes every child, the first of which somebody kills when it has been asked.
fn noted_program(folder: &Path) -> PathBuf {
    let (program, renders) = (folder.join("noted"), render_program());
    let (folder, renders) = (folder.display(), renders.display());
    let text = format!(
        "#!/bin/sh\necho $$ >>'{folder}/children'\nif mkdir '{folder}/struck'; then head -c 1; kill -9 $$; fi\n\
         exec '{renders}' \"$@\"\n"
    );
    // A process of its own writes it: children that this one starts meanwhile would hold it open, and it could not be run.
    let write = ["-c", "printf %s \"$1\" >\"$0\" && chmod 755 \"$0\""];
    assert!(Command::new("sh").args(write).arg(&program).arg(text).status().unwrap().success());
    program
}

#[tokio::test]
async fn a_child_waits_for_the_next_template_and_that_one_was_killed_is_no_template_s_fault() {
    let folder = tempfile::tempdir().unwrap();
    let renderer = Renderer::new(noted_program(folder.path()), 2);
    let render = || renderer.render("[1]", Language::Json, false, context(json!({})));
    assert_eq!(render().await.unwrap().0, json!([1]), "another one is asked");
    let begun = Instant::now();
    let waiting = loop {
        let noted = std::fs::read_to_string(folder.path().join("children")).unwrap();
        // After the one that was killed and the one that served.
        if let Some(child) = noted.lines().nth(2) {
            break child.to_owned();
        }
        assert!(begun.elapsed() < LIMIT, "{noted}");
        tokio::task::yield_now().await;
    };
    while Path::new("/proc").join(&waiting).exists() {
        assert!(begun.elapsed() < LIMIT, "nobody asked the one that waits");
        assert_eq!(render().await.unwrap().0, json!([1]));
    }
}
