//! Every dependency has a licence that an Apache-2.0 product may ship, and none is one that the project has ruled out.

use serde_json::Value;
use std::process::Command;

/// Licences that may be shipped. A dependency that offers a choice needs one of them.
const ALLOWED: &[&str] = &[
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Crates that must not come in, with the reason.
const BANNED: &[(&str, &str)] = &[
    ("aws-lc-sys", "one TLS provider, and it is ring"),
    ("openssl-sys", "one TLS provider, and it is ring"),
    ("native-tls", "one TLS provider, and it is ring"),
    ("actix-governor", "it is under the GPL"),
    ("async-std", "one runtime, and it is tokio"),
];

fn packages() -> Vec<Value> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--offline", "--filter-platform", "x86_64-unknown-linux-gnu"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
    metadata["packages"].as_array().expect("there are packages").clone()
}

/// Whether an SPDX expression (`A OR B`, `(A OR B) AND C`, the older `A/B`) can be met with allowed licences.
fn may_be_shipped(expression: &str) -> bool {
    let conjunction =
        |part: &str| part.split(" AND ").all(|term| ALLOWED.contains(&term.trim().trim_matches(['(', ')']).trim()));
    if let Some((group, rest)) = expression.strip_prefix('(').and_then(|text| text.split_once(") AND ")) {
        return may_be_shipped(group) && may_be_shipped(rest);
    }
    expression.replace('/', " OR ").split(" OR ").any(|choice| conjunction(choice.trim()))
}

#[test]
fn every_licence_may_be_shipped() {
    let refused: Vec<String> = packages()
        .iter()
        .filter(|package| !may_be_shipped(package["license"].as_str().unwrap_or("none given")))
        .map(|package| format!("{} ({})", package["name"], package["license"]))
        .collect();
    assert!(refused.is_empty(), "licences that are not on the list: {refused:#?}");
}

#[test]
fn nothing_banned_is_built() {
    let packages = packages();
    for (name, reason) in BANNED {
        assert!(!packages.iter().any(|package| package["name"] == *name), "{name} has come in: {reason}");
    }
}

#[test]
fn the_licence_rule_in_examples() {
    for good in ["MIT", "GPL-3.0 OR MIT", "MIT/Apache-2.0", "(MIT OR Apache-2.0) AND Unicode-3.0", "Apache-2.0 AND ISC"]
    {
        assert!(may_be_shipped(good), "{good}");
    }
    for bad in ["GPL-3.0-or-later", "none given", "(MIT OR Apache-2.0) AND GPL-2.0", "MIT AND SSPL-1.0"] {
        assert!(!may_be_shipped(bad), "{bad}");
    }
}
