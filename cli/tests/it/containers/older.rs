//! The older system's products as they were written, on small images that answer under their images' names.

use super::Boxes;
use super::disks::Disks;
use crate::engine::{lay_out, write_program};
use crate::support::{Platform, templates};
use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// It answers on the port that its image names, at the node's address.
const SERVE: &str = "#!/bin/sh\nexec httpd -f -p \"$BIGDATA_ADDRESS:$1\" -h /\n";

/// Product and version, image, port, and the options of a launch.
const PRODUCTS: [(&str, &str, &str, u16, &[&str]); 3] = [
    ("mongodb", "3.2", "registry.example:5000/mongodb:3.2", 27_017, &["size=2", "mem=64", "cpu=0.5", "disks=2"]),
    ("postgis", "12", "registry.example:5000/postgis:12", 5432, &["password=older", "mem=64", "cpu=0.5"]),
    ("reference", "1.0.0", "registry.example:5000/base:7", 22, &["size=1"]),
];

#[test]
fn older_products_run_as_they_were_written() {
    let Some(boxes) = Boxes::new() else { return };
    let root = tempfile::tempdir().unwrap();
    lay_out(root.path());
    write_program(&root.path().join("serve"), SERVE);
    for (_, _, image, port, _) in PRODUCTS {
        boxes.engine.import(image, root.path(), &[&format!("CMD [\"/serve\", \"{port}\"]")]);
    }
    // `reference` asks for two disks of its machine (`use_custom_disks`), and says no size.
    let disks = Disks::mount(1100);
    let platform = boxes.data.up(&["--no-catalog", "--config", disks.settings().to_str().unwrap()]);
    for (product, version, _, port, options) in PRODUCTS {
        let folder = templates().join("compat").join(product).join(version);
        platform.run(&["product", "register", folder.to_str().unwrap()]);
        allow(&platform, product, version);
        let words = [&["launch", product, version], options, &["--wait", "--timeout", "300"]].concat();
        let view = platform.json(&words);
        let cluster = view["dn"].as_str().unwrap();
        assert_eq!(view["status"], "ready", "{product}");
        let nodes = platform.json(&["cluster", "nodes", cluster]);
        let nodes = nodes["nodes"].as_array().unwrap();
        assert_eq!(boxes.containers().len(), nodes.len(), "{product}");
        for node in nodes {
            let address: SocketAddr = format!("{}:{port}", node["address"].as_str().unwrap()).parse().unwrap();
            // Nothing of these products says when a node answers.
            crate::support::until("the node answers", || {
                TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok().map(drop)
            });
        }
        for path in ["/var", "/storage"].iter().filter(|_| product == "reference") {
            let script = format!("echo kept >{path}/kept");
            platform.run(&["node", "exec", cluster, "example0", "--", "sh", "-c", &script]);
        }
        if product == "reference" {
            assert_eq!(disks.files(), [["kept"], ["kept"]], "each is one of the machine's");
        }
        platform.run(&["cluster", "destroy", cluster, "--wait", "--timeout", "300"]);
        assert_eq!(boxes.containers(), BTreeSet::new(), "{product}");
    }
}

/// An operator gives a product what its `docker_opts` take.
pub(super) fn allow(platform: &Platform, product: &str, version: &str) {
    let shown = platform.json(&["product", "show", product, version]);
    let needed = shown["container_rights"]["needed"].as_array().cloned().unwrap_or_default();
    let rights: Vec<&str> = needed.iter().filter_map(|right| right.as_str()).collect();
    if !rights.is_empty() {
        platform.run(&[&["product", "allow", product, version], &rights[..]].concat());
    }
}
