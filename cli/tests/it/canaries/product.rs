//! A product that has secrets, uses them in every way that there is, and is careless with them.

use serde_json::json;
use std::path::{Path, PathBuf};

/// What the user gives.
pub(super) const GIVEN: &str = "canary-given-4b7e91";
/// What the script makes and publishes as an option's new value; it writes it otherwise, so that the product's text does not hold it.
pub(super) const PUBLISHED: &str = "canary-published-9c1d77";
/// What the product does not take as a value.
pub(super) const REFUSED: &str = "CANARY-REFUSED-5F1C9E";

const TEMPLATE: &str = r#"{
  "nodes": {
    {% for n in range(opts.size) %}{{ "," if not loop.first }}
    "node{{ n }}": {
      "cpu": {% if opts.broken == 'document' %}"{{ opts.given }}"{% else %}0.1{% endif %},
      "mem": 32,
      {% if opts.broken == 'outside' %}{{ opts.given }}{% endif %}
      "command": ["sh", "work"],
      "env": {
        {% if opts.broken == 'unknown' %}"NO": "@{no:value} {{ opts.given }}",{% endif %}
        "GIVEN": "{{ opts.given }}", "MADE": "@{secret:made}", "LABEL": "{{ opts.label }}", "BROKEN": "{{ opts.broken }}"
      },
      "files": {
        "conf": "given=@{secret:given} made={{ opts.made }}\n",
        "work": "umask 077\nprintf '%s %s\\n' \"$GIVEN\" \"$MADE\" >environment\n[ \"$BROKEN\" ] || exec sleep 1000\necho \"last words $GIVEN\" >&2\nexit 3\n"
      },
      "health": { "command": ["sh", "-c", "echo $MADE; echo $MADE >&2; test -e environment"], "interval": 1 },
      "restart": { "limit": 0 },
      "stats": ["sh", "-c", "echo '{\"up\": 1}'"]
    }
    {% endfor %}
  }
}
"#;

const SCRIPT: &str = r#"#!/usr/bin/env python3
import json, os, socket, subprocess, sys

document = json.load(open(os.environ["BIGDATA_CLUSTER"]))
given, made = document["options"]["given"], document["options"]["made"]
published = "77d1c9-dehsilbup-yranac"[::-1]


def bigdata(*words, data=""):
    done = subprocess.run(["bigdata", *words], input=data, text=True, capture_output=True)
    print(words[:2], done.stdout, flush=True)
    print(done.stderr, file=sys.stderr, flush=True)
    return done.returncode


def tell(path, body):
    """As `bigdata progress` and `bigdata output` do; their words would stand on a command line."""
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(os.environ["BIGDATA_SOCKET"])
        text = json.dumps(body)
        head = f"POST /v1{path} HTTP/1.1\r\nHost: run\r\nAuthorization: Bearer {os.environ['BIGDATA_TOKEN']}\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(text)}\r\nConnection: close\r\n\r\n"
        link.sendall((head + text).encode())
        answer = b""
        while piece := link.recv(65536):
            answer += piece
    print(answer.decode(), flush=True)
    return int(answer.split()[1])


def start():
    print("says " + given, flush=True)
    print("errs " + made, file=sys.stderr, flush=True)
    assert bigdata("output", "--secret", "published", data=published) == 0
    assert tell("/progress", {"percent": 10, "message": "with " + made}) < 300
    assert tell("/output", {"key": "plain", "value": "it is " + published, "secret": False}) < 300
    web = {"role": "web", "connect": {"command": ["true"], "env": {"WORD": "@{secret:given}"}}}
    assert tell("/output", {"key": "web", "value": f"http://{given}@example.org/", "secret": False, "endpoint": web}) < 300
    web["connect"]["env"]["WORD"] = made
    assert tell("/output", {"key": "leaks", "value": "x", "secret": False, "endpoint": web}) == 400
    assert tell("/output", {"key": given, "value": "x", "secret": False}) == 400
    for node in document["nodes"]:
        assert bigdata("node", "put", node, "from-script", data=f"{given} {published}\n") == 0
        assert bigdata("node", "put", node, "late", "--late", data="@{secret:made} @{secret:given}\n") == 0
        assert bigdata("node", "exec", node, "-i", "--", "sh", "-c", "cat; echo $GIVEN >&2; exit 3", data=published) == 3


def use():
    value = document["options"][json.loads(os.environ["BIGDATA_ARGUMENTS"])["which"]]
    assert bigdata("node", "put", "node0", "used", data=value + "\n") == 0
    print("used " + value)


action = sys.argv[1]
if action in ("start", "scale"):
    start()
elif action == "use":
    use()
elif action == "backup":
    assert tell("/backups?label=with%20" + made, {"rows": 1}) < 300
elif action == "fail":
    tell("/progress", {"percent": 50, "message": "no luck with " + given})
    print("no luck with " + given, file=sys.stderr)
    sys.exit(1)
else:
    sys.exit(64)
"#;

/// Writes its folder.
pub(super) fn write(folder: &Path) -> PathBuf {
    let folder = folder.join("canary");
    std::fs::create_dir(&folder).unwrap();
    let text = json!({ "type": "string" });
    let options = json!({
        "optional": { "given": "", "made": "", "published": "", "size": 1, "label": "old", "broken": "" },
        "schema": {
            "given": { "type": "string", "secret": true, "pattern": "^[a-z0-9-]*$" },
            "made": { "type": "string", "secret": true, "generate": 24 },
            "published": { "type": "string", "secret": true },
            "size": { "type": "integer" }, "label": text, "broken": text,
        },
    });
    let which = json!({ "type": "string", "required": true });
    let actions =
        json!({ "use": { "arguments": { "which": which } }, "fail": {}, "backup": { "changes": false }, "scale": {} });
    let parts = [
        ("product.json", json!({ "name": "canary", "version": "1" }).to_string()),
        ("template.json", TEMPLATE.to_owned()),
        ("options.json", options.to_string()),
        ("actions.json", actions.to_string()),
        ("orchestrator", SCRIPT.to_owned()),
    ];
    for (file, text) in parts {
        std::fs::write(folder.join(file), text).unwrap();
    }
    folder
}
