//! Templates as people write them, through the real child.

use crate::support::render_program;
use bigdata_registry::template::{Context, Language, RenderError, Renderer};
use serde_json::{Value, json};
use std::collections::BTreeSet;

pub(crate) fn context(opts: Value) -> Context {
    let Value::Object(opts) = opts else { panic!("options are an object") };
    let text = str::to_owned;
    Context {
        opts,
        user: text("ann"),
        product: text("demo"),
        version: text("1.0"),
        clusterdn: text("clusters/ann/demo/1.0/1"),
        clusterid: text("clusters--ann--demo--1__0--1"),
    }
}

async fn render(language: Language, source: &str, opts: Value) -> Result<(Value, Vec<String>), RenderError> {
    Renderer::new(render_program(), 4).render(source, language, false, context(opts)).await
}

async fn json_of(source: &str, opts: Value) -> Value {
    render(Language::Json, source, opts).await.unwrap_or_else(|error| panic!("{source}: {error}")).0
}

async fn refused(source: &str, opts: Value) -> String {
    match render(Language::Json, source, opts).await {
        Ok((document, _)) => panic!("{source} rendered to {document}"),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn every_idiom_of_the_older_templates() {
    for (source, opts, wanted) in [
        ("[{{ opts['size'] }}, {{ opts.size }}]", json!({"size": 2}), json!([2, 2])),
        ("\"{{ opts['a.b'] }}\"", json!({"a.b": "4G"}), json!("4G")),
        (
            "{% set comma = joiner(\",\") %}[{% for n in range(0, opts['size']) %}{{ comma() }} \"n{{ n }}\"{% endfor %}]",
            json!({"size": 3}),
            json!(["n0", "n1", "n2"]),
        ),
        (
            "[{% for n in range(2) %}{% set comma = joiner(',') %}{% for k in range(2) %}{{ comma() }}{{ k }}{% endfor %}{{ ',' if not loop.last }}{% endfor %}]",
            json!({}),
            json!([0, 1, 0, 1]),
        ),
        (
            "{% macro m(n) %}{\"k{{ n }}\": \"{{ opts['x'] }}\"}{% endmacro %}[{{ m(1) }}, {{ m(2) }}]",
            json!({"x": "a\"b"}),
            json!([{"k1": "a\"b"}, {"k2": "a\"b"}]),
        ),
        ("{% set block %}{\"a\": 1}{% endset %}[{{ block }}]", json!({}), json!([{"a": 1}])),
        ("[{{ opts['ports']|join(', ') }}]", json!({"ports": [1, 2]}), json!([1, 2])),
        ("[{{ opts['names']|join(', ') }}]", json!({"names": ["1", "2"]}), Value::Null),
        ("{{ opts|tojson }}", json!({"a": "x\"y", "b": [1, null]}), json!({"a": "x\"y", "b": [1, null]})),
        ("{{ opts['list'] }}", json!({"list": ["a", {"b": true}]}), json!(["a", {"b": true}])),
        (
            "[{{ opts['flag'] }}, {{ none }}, {{ 1.5 }}, {{ true }}]",
            json!({"flag": false}),
            json!([false, null, 1.5, true]),
        ),
        ("{{ 1 if opts['mode'] == 'x' else 2 }}", json!({"mode": "x"}), json!(1)),
        (
            "\"{{ opts['name'].upper() }}-{{ opts['name']|length }}-{{ opts.get('no', 'd') }}\"",
            json!({"name": "ab"}),
            json!("AB-2-d"),
        ),
        (
            "[{% for k, v in opts.items() %}\"{{ k }}={{ v }}\"{{ \",\" if not loop.last }}{% endfor %}]",
            json!({"a": 1, "b": "2"}),
            json!(["a=1", "b=2"]),
        ),
        ("{{ opts['n']|int }}", json!({"n": "7"}), json!(7)),
        ("\"{{ opts['no']|default('d') }}\"", json!({}), json!("d")),
        (
            "[{% for n in range(9) %}{% if n == 2 %}{% break %}{% endif %}{{ n }},{% endfor %}0]",
            json!({}),
            json!([0, 1, 0]),
        ),
        (
            "\"{{ user }} {{ product }} {{ version }} {{ clusterdn }} {{ clusterid }}\"",
            json!({}),
            json!("ann demo 1.0 clusters/ann/demo/1.0/1 clusters--ann--demo--1__0--1"),
        ),
        ("\"{{ 'a' ~ opts['x'] ~ 'b' }}\"", json!({"x": "\"\\\n"}), json!("a\"\\\nb")),
        ("{\"cpu\": {{ opts['cpu'] }}}", json!({"cpu": "2"}), json!({"cpu": 2})),
        ("\"@{secret:pw} {{ opts['pw'] }}\"", json!({"pw": "@{secret:pw}"}), json!("@{secret:pw} @{secret:pw}")),
    ] {
        if wanted.is_null() {
            // Not JSON for other reasons; it must end in words, not in a death.
            refused(source, opts).await;
        } else {
            assert_eq!(json_of(source, opts).await, wanted, "{source}");
        }
    }
}

#[tokio::test]
async fn no_value_breaks_out_of_its_place() {
    let evil = "x\", \"privileged\": \"yes";
    assert_eq!(json_of("{\"a\": \"{{ opts['x'] }}\"}", json!({"x": evil})).await, json!({"a": evil}));
    assert_eq!(json_of("{\"{{ opts['x'] }}\": 1}", json!({"x": evil})).await, json!({evil: 1}));
    for (source, value) in [
        ("{\"a\": {{ opts['x'] }}}", "1, \"b\": 2"),
        ("{\"a\": {{ opts['x'] }}}", "[1, 2]"),
        ("{\"a\": {{ opts['x'] }}}", "{}"),
        ("[{{ opts['x'] }}]", "1, 2"),
        ("[{{ opts['x'] }}]", "text"),
        ("[{{ opts['x'] }}]", "\"quoted\""),
        ("\"\\{{ opts['x'] }}\"", "\""),
        ("{% macro m() %}[{{ opts['x'] }}]{% endmacro %}{{ m() }}", "1, 2"),
        ("{% set s %}{{ opts['x'] }}{% endset %}[{{ s }}]", "1, 2"),
        ("[\"{{ opts['x']|tojson }}\"]", ", "),
        ("[\"{{ opts }}\"]", ", "),
        ("[{{ opts['x']|escape }}]", "1, 2"),
        ("{% set s %}Y{% endset %}[{{ s|replace('Y', opts['x']) }}]", "1, 2"),
        ("{% set s %}1{% endset %}[{{ [s, opts['x']]|join(',') }}]", "2, 3"),
    ] {
        let words = refused(source, json!({"x": value})).await;
        assert!(words.contains("quotes") || words.contains("backslash") || words.contains("JSON"), "{source}: {words}");
    }
    let (document, _) = render(
        Language::Yaml,
        "a: {{ opts['x'] }}\nb: '{{ opts['x'] }}'\nc: {{ opts['l'] }}\nd: {{ opts['n'] }}\n",
        json!({"x": "1\nprivileged: \"yes\" # '", "l": [1, "a: b"], "n": 3}),
    )
    .await
    .unwrap();
    let evil = "1\nprivileged: \"yes\" # '";
    assert_eq!(document, json!({"a": evil, "b": evil, "c": [1, "a: b"], "d": 3}));
}

#[tokio::test]
async fn a_value_in_docker_opts_stays_in_its_word() {
    let evil = "x\" --privileged '-v' /:/host \\";
    let wanted = "-e P=x\\\"\\ --privileged\\ \\'-v\\'\\ /:/host\\ \\\\ --init";
    let json = r#"{"nodes": {"n": { "docker_opts" : "-e P={{ opts['x'] }} --init", "other": "{{ opts['x'] }}" }}}"#;
    let yaml = "nodes:\n  n:\n    docker_opts: -e P={{ opts['x'] }} --init\n    other: '{{ opts['x'] }}'\n";
    for (language, source) in [(Language::Json, json), (Language::Yaml, yaml)] {
        let (document, _) = render(language, source, json!({"x": evil})).await.unwrap();
        assert_eq!(document["nodes"]["n"], json!({"docker_opts": wanted, "other": evil}));
    }
    // What stands by itself is words.
    let source = r#"{"docker_opts": "{{ opts['x'] }} {{ opts['x'] }}", "n": [{"docker_opts": "A={{ opts['x'] }}"}]}"#;
    let document = json_of(source, json!({"x": "-e A=1"})).await;
    assert_eq!(document, json!({"docker_opts": "-e A=1 -e A=1", "n": [{"docker_opts": "A=-e\\ A=1"}]}));
}

#[tokio::test]
async fn undefined_values_are_told_and_strict_products_refuse_them() {
    let source = "\"{{ opts['a.b'] }}{{ instancename }}\"";
    let (document, warnings) = render(Language::Json, source, json!({})).await.unwrap();
    assert_eq!(document, json!(""));
    assert!(
        warnings.len() == 1 && warnings[0].contains("opts['a.b']") && warnings[0].contains("instancename"),
        "{warnings:?}"
    );
    for (source, wanted) in [
        (source, "line 1: opts['a.b'] is not defined"),
        ("\"{{ opts['a.b']|default('x') }}\n{{ instancename }}\"", "line 2: instancename is not defined"),
    ] {
        let strict = Renderer::new(render_program(), 1).render(source, Language::Json, true, context(json!({}))).await;
        assert_eq!(strict.unwrap_err().to_string(), wanted);
    }
}

#[tokio::test]
async fn our_own_templates_in_the_older_style_render_and_describe_clusters() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/templates");
    let mut rendered = 0;
    for (name, opts, nodes) in [
        ("ring.json", json!({"size": 3, "disks": 2, "cpu": 1, "mem": 512, "heap": "4G"}), 3),
        ("ring.json", json!({"size": 1, "disks": 1, "cpu": 1, "mem": 512, "heap": "4G"}), 1),
        ("masters.json", json!({"slaves.number": 2, "master.disks": 1, "slaves.disks": 3}), 4),
        ("single.json", json!({"password": "p\"w", "cpu": 2, "mem": "2048"}), 1),
        ("macros.json", json!({"image": "i:1", "slaves.number": 3, "slaves.disks": 2, "heap": 100}), 4),
        ("flow.yaml", json!({"size": 2, "greeting": "a: \"b\" # c"}), 2),
    ] {
        let source = std::fs::read_to_string(folder.join(name)).unwrap();
        let language = if name.ends_with("yaml") { Language::Yaml } else { Language::Json };
        let (document, _) = render(language, &source, opts).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        let id = "clusters--ann--demo--1__0--1".parse().unwrap();
        let read = bigdata_registry::blueprint::read(&document, &id, &BTreeSet::new());
        let read = read.unwrap_or_else(|faults| panic!("{name}: {faults:?}"));
        assert_eq!(read.blueprint.nodes.len(), nodes, "{name}");
        rendered += 1;
    }
    assert_eq!(rendered, 6);
}

#[tokio::test]
async fn a_value_that_is_called_safe_stays_in_its_place() {
    let hostile = json!({"x": "a\", \"command\": \"evil"});
    for source in [
        "{\"a\": \"{{ opts.x|safe }}\"}",
        "{\"a\": \"{{ opts['x']|string|safe }}\"}",
        "{\"a\": \"{{ [opts.x|safe, opts.x|safe]|first }}\"}",
    ] {
        assert_eq!(json_of(source, hostile.clone()).await, json!({"a": "a\", \"command\": \"evil"}), "{source}");
    }
    let (document, _) = render(Language::Yaml, "a: {{ opts.x|safe }}\n", json!({"x": "1\nb: 2"})).await.unwrap();
    assert_eq!(document, json!({"a": "1\nb: 2"}));
    // What a macro wrote is complete whether it is called safe or not.
    let source = "{% macro m() %}{\"k\": \"{{ opts.x }}\"}{% endmacro %}[{{ m()|safe }}]";
    assert_eq!(json_of(source, hostile.clone()).await, json!([{"k": hostile["x"]}]));
}
