//! Embeds the catalog: every folder `templates/NAME/VERSION` that holds a `product.json`.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let templates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../templates").canonicalize()?;
    println!("cargo::rerun-if-changed={}", templates.display());
    let mut products: Vec<PathBuf> = Vec::new();
    for name in folders(&templates)? {
        products.extend(folders(&name)?.into_iter().filter(|version| version.join("product.json").is_file()));
    }
    products.sort();
    let mut table = String::from("&[\n");
    for product in products {
        let text = |file: &str| {
            let path = product.join(file);
            path.is_file().then(|| format!("include_str!({:?})", path.display().to_string()))
        };
        let optional = |file: &str| text(file).map_or_else(|| "None".to_owned(), |text| format!("Some({text})"));
        let (template, yaml) = match text("template.json") {
            Some(template) => (template, false),
            None => (text("template.yaml").ok_or(io::ErrorKind::NotFound)?, true),
        };
        let described = text("product.json").ok_or(io::ErrorKind::NotFound)?;
        let (options, actions) = (optional("options.json"), optional("actions.json"));
        let orchestrator = optional("orchestrator");
        writeln!(
            table,
            "Shipped {{ product: {described}, template: {template}, yaml: {yaml}, options: {options}, actions: {actions}, orchestrator: {orchestrator} }},"
        )
        .map_err(io::Error::other)?;
    }
    table.push(']');
    let out = env::var_os("OUT_DIR").ok_or(io::ErrorKind::NotFound)?;
    fs::write(Path::new(&out).join("catalog.rs"), table)
}

fn folders(parent: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(parent)?.collect::<Result<Vec<_>, _>>()?;
    Ok(entries.into_iter().map(|entry| entry.path()).filter(|path| path.is_dir()).collect())
}
