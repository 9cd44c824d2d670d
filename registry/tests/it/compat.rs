//! Products of the older system's form are registered by their own files and planned with their own defaults.

use crate::support::{API, Harness, on_every_database};
use bigdata_common::container_options::{ContainerOptions, ContainerRights};
use reqwest::Method;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// A product's folder: `NAME/VERSION` with `template.json` or `template.yaml`, and `options.json`.
struct Folder {
    name: String,
    version: String,
    template: String,
    yaml: bool,
    options: Value,
}

impl Folder {
    fn read(path: &Path) -> Self {
        let part = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
        let yaml = path.join("template.yaml").exists();
        let template = path.join(if yaml { "template.yaml" } else { "template.json" });
        let options = std::fs::read_to_string(path.join("options.json")).unwrap();
        Self {
            name: part(path.parent().unwrap()),
            version: part(path),
            template: std::fs::read_to_string(template).unwrap(),
            yaml,
            options: serde_json::from_str(&options).unwrap(),
        }
    }

    fn path(&self) -> String {
        format!("/products/{}/{}", self.name, self.version)
    }

    /// What a launch must send: the examples.
    fn required(&self) -> Map<String, Value> {
        self.options["required"].as_object().cloned().unwrap_or_default()
    }

    /// Registers it in the order of the older system's clients.
    async fn register(&self, registry: &Harness) {
        let body = json!({"name": self.name, "version": self.version, "description": "d", "logo_url": ""});
        assert_eq!(registry.post("/products", body).await.0, 201, "{}", self.path());
        let kind = if self.yaml { "application/yaml" } else { "application/json" };
        for (part, body) in [("template", self.template.clone()), ("options", self.options.to_string())] {
            let request = registry.request(Method::PUT, &format!("{}/{part}", self.path()));
            let answer = request.header("content-type", kind).body(body).send().await.unwrap();
            let status = answer.status();
            assert_eq!(status, 204, "{} {part}: {}", self.path(), answer.text().await.unwrap());
        }
    }

    /// An operator allows what the product takes.
    async fn allow(&self, registry: &Harness) -> Value {
        let needed = registry.get(&self.path()).await.1["container_rights"]["needed"].clone();
        let path = format!("{API}{}/container-rights", self.path());
        let answer = registry.request_as("root", "admin", Method::PUT, &path).json(&needed).send().await.unwrap();
        assert_eq!(answer.status(), 204);
        needed
    }

    async fn dry_run(&self, registry: &Harness, options: &Map<String, Value>) -> (u16, Value) {
        let path = format!("{}?dry_run=true", self.path());
        let (status, plan) = registry.post(&path, Value::Object(options.clone())).await;
        (status.as_u16(), plan)
    }

    /// The blueprint with the defaults and these options.
    async fn plan(&self, registry: &Harness, options: Value) -> Value {
        let mut sent = self.required();
        sent.extend(options.as_object().cloned().unwrap_or_default());
        let (status, plan) = self.dry_run(registry, &sent).await;
        assert_eq!(status, 200, "{}: {plan}", self.path());
        plan["blueprint"].clone()
    }
}

/// Every folder below that has options.
fn folders(root: &Path) -> Vec<PathBuf> {
    let below = |folder: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).map(|entries| entries.flatten().map(|entry| entry.path()).collect());
        entries.unwrap_or_default()
    };
    let mut found: Vec<PathBuf> = below(root).iter().flat_map(|name| below(name)).collect();
    found.retain(|folder| folder.join("options.json").exists());
    found.sort();
    found
}

fn own(name: &str, version: &str) -> Folder {
    Folder::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../templates/compat").join(name).join(version))
}

#[tokio::test]
async fn products_of_a_folder_are_registered_and_planned_unchanged() {
    let Some(folder) = std::env::var_os("BIGDATA_PUBLIC_TEMPLATES") else {
        eprintln!(
            "left out: BIGDATA_PUBLIC_TEMPLATES names no folder of products (NAME/VERSION/template.json, options.json)"
        );
        return;
    };
    let found = folders(Path::new(&folder));
    assert!(!found.is_empty(), "{} holds no product", folder.display());
    on_every_database(async |registry| {
        for path in &found {
            let product = Folder::read(path);
            product.register(registry).await;
            let needed = product.allow(registry).await;
            let (status, plan) = product.dry_run(registry, &product.required()).await;
            assert_eq!(status, 200, "{}: {plan}", product.path());
            let nodes = plan["blueprint"]["nodes"].as_object().unwrap();
            assert!(!nodes.is_empty(), "{}", product.path());
            println!("{} nodes {} needs {needed} warns {}", product.path(), nodes.len(), plan["warnings"]);
        }
    })
    .await;
}

#[tokio::test]
async fn our_own_products_of_the_older_form_are_registered_and_planned() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../templates/compat");
    let root_right = json!(["privileged", "host-mounts"]);
    let expected = [
        ("cassandra", json!({"nodes": 3, "services": 3, "needed": root_right})),
        ("cdh57", json!({"nodes": 5, "services": 9, "needed": root_right})),
        ("gluster", json!({"nodes": 2, "services": 3, "needed": root_right})),
        ("mariadb", json!({"nodes": 1, "services": 1, "needed": []})),
        ("minimal", json!({"nodes": 2, "services": 1, "needed": []})),
        ("mongodb", json!({"nodes": 1, "services": 2, "needed": root_right})),
        ("postgis", json!({"nodes": 1, "services": 1, "needed": []})),
        ("reference", json!({"nodes": 2, "services": 1, "needed": []})),
    ];
    let found: Vec<Folder> = folders(&root).iter().map(|path| Folder::read(path)).collect();
    on_every_database(async |registry| {
        for (name, wanted) in &expected {
            let product = found.iter().find(|product| product.name == *name).unwrap_or_else(|| panic!("{name}"));
            product.register(registry).await;
            let (status, problem) = product.dry_run(registry, &product.required()).await;
            let needed = product.allow(registry).await;
            let refused = needed.as_array().is_some_and(|needed| !needed.is_empty());
            assert_eq!(status, if refused { 403 } else { 200 }, "{name}: {problem}");
            let plan = product.plan(registry, json!({})).await;
            let count = |key: &str| plan[key].as_object().unwrap().len();
            let planned = json!({"nodes": count("nodes"), "services": count("services"), "needed": needed});
            assert_eq!(planned, *wanted, "{name}");
        }
    })
    .await;
}

#[tokio::test]
async fn the_traps_of_the_older_form() {
    on_every_database(async |registry| {
        let products = [
            own("gluster", "3.7"),
            own("cassandra", "3.0"),
            own("mongodb", "3.2"),
            own("mariadb", "10.1"),
            own("postgis", "12"),
            own("cdh57", "5.7"),
            own("reference", "1.0.0"),
            own("minimal", "1.0.0"),
        ];
        for product in &products {
            product.register(registry).await;
            product.allow(registry).await;
        }
        let [gluster, cassandra, mongodb, mariadb, postgis, cdh57, reference, minimal] = &products;

        // A size as a text, as the older documentation sends it; disks make CPUs; the names of bricks are their disks'.
        let plan = gluster.plan(registry, json!({"size": "4", "disks": 3})).await;
        assert_eq!(plan["nodes"]["glusternode3"]["cpu"], 3.0);
        assert_eq!(plan["nodes"]["glusternode3"]["disks"]["brick2"]["destination"], "/data/brick2");
        assert_eq!(plan["nodes"]["glusternode0"]["networks"]["eth1"]["networkname"], "storage");
        // A service that names a node which a small size does not have: told with its place.
        let (status, problem) = gluster.dry_run(registry, &Map::from_iter([("size".into(), json!(1))])).await;
        assert_eq!(
            (status, &problem["errors"][0]["pointer"]),
            (422, &json!("/services/peerback/nodes/0")),
            "{problem}"
        );

        // Advanced options and properties of services; the first network is the storage one.
        let plan = cassandra.plan(registry, json!({"max_heap_size": "8G", "disks": 2})).await;
        assert_eq!(plan["services"]["cassandra"]["properties"]["max_heap_size"], "8G");
        assert_eq!(plan["services"]["others"]["nodes"], json!(["cassandranode1", "cassandranode2"]));
        assert_eq!(plan["nodes"]["cassandranode0"]["networks"]["eth0"]["networkname"], "storage");

        // A service without nodes is a service all the same.
        let plan = mongodb.plan(registry, json!({})).await;
        assert_eq!(plan["services"]["others"]["nodes"], json!([]));

        // A password in `docker_opts`, with whatever it holds, stays the value of its variable; names with underscores.
        let plan = mariadb.plan(registry, json!({"password": "p\"w --privileged '"})).await;
        let words = plan["nodes"]["mysql_node0"]["docker_opts"].as_str().unwrap();
        let options = ContainerOptions::parse(words, &ContainerRights::new()).unwrap();
        assert_eq!(options.env, [("MYSQL_ROOT_PASSWORD".to_owned(), "p\"w --privileged '".to_owned())]);
        let plan = postgis.plan(registry, json!({"password": 12_345})).await;
        let words = plan["nodes"]["postgresql_node0"]["docker_opts"].as_str().unwrap();
        assert!(words.starts_with("-e POSTGRES_PASSWORD=12345 "), "{words}");

        // Dots in names of options, numbers as texts, `_` for nothing, ports that are checked and not declared, properties
        // of keys that mean nothing here, and a value that is nowhere declared renders to nothing.
        let plan = cdh57.plan(registry, json!({"slaves.number": 2, "slaves.disks": 3})).await;
        let slave = &plan["nodes"]["slave1"];
        assert_eq!(
            (&slave["cpu"], &slave["mem"], &slave["ports"]["main"]["port"]),
            (&json!(2.0), &json!(2048), &json!(22))
        );
        assert_eq!(slave["disks"].as_object().unwrap().len(), 3);
        assert!(slave["networks"]["eth1"].get("address").is_none());
        assert_eq!(slave["properties"]["number_of_disks"], "3");
        assert_eq!(slave["health"]["tcp"].as_array().map(Vec::len), Some(10), "{slave}");
        assert_eq!(plan["services"]["hadoop-hdfs-datanode"]["properties"]["hadoop_hdfs_blocksize"], "");
        assert_eq!(plan["services"]["spark-worker"]["nodes"], json!(["slave0", "slave1"]));
        // A joiner that was not used before the next node: the commas are not where they should be, and that is told.
        let none = Map::from_iter([("slaves.number".into(), json!(1)), ("master1.disks".into(), json!(0))]);
        assert_eq!(cdh57.dry_run(registry, &none).await.1["code"], "BD0015");

        // `use_custom_disks`, disks by their names, and the name of the cluster at the end of the document.
        let plan = reference.plan(registry, json!({})).await;
        assert_eq!(plan["dnsname"], "clusters--ann--reference--1__0__0--1");
        assert_eq!(plan["nodes"]["example1"]["properties"]["use_custom_disks"], "True");
        let disk = json!({"destination": "/var", "size": 1024, "persistent": true, "type": "whole"});
        assert_eq!(plan["nodes"]["example1"]["disks"]["disk5"], disk);

        // YAML, lists of ports and tags, and `_` in place of `docker_opts`.
        let plan = minimal.plan(registry, json!({"size": 3})).await;
        assert!(plan["nodes"]["example2"].get("docker_opts").is_none());
        assert_eq!(plan["services"]["service1"]["nodes"], json!(["example0", "example1", "example2"]));
    })
    .await;
}
