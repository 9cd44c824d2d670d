//! A product as a folder: `product.json`, `template.json` (or `template.yaml`), `options.json`,
//! `actions.json`, `orchestrator`.

use crate::failure::Failure;
use bigdata_common::api::product::ProductRequest;
use std::path::Path;

/// See the [module](self).
#[derive(Debug, Clone)]
pub(crate) struct ProductFolder {
    /// Name, version, description, logo.
    pub(crate) request: ProductRequest,
    /// The template's text.
    pub(crate) template: String,
    /// Whether the template renders to YAML.
    pub(crate) yaml: bool,
    /// The options' text.
    pub(crate) options: Option<String>,
    /// The declaration of the script's actions.
    pub(crate) actions: Option<String>,
    /// The script.
    pub(crate) orchestrator: Option<String>,
}

impl ProductFolder {
    /// Reads a folder.
    ///
    /// # Errors
    /// When a file is missing, cannot be read, or `product.json` is not as it should be.
    pub(crate) fn read(folder: &Path) -> Result<Self, Failure> {
        let optional = |name: &str| {
            let path = folder.join(name);
            match std::fs::read_to_string(&path) {
                Ok(text) => Ok(Some(text)),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(Failure::Usage(format!("{} cannot be read: {error}", path.display()))),
            }
        };
        let missing = |name: &str| {
            Failure::Usage(format!(
                "{} has no {name}; a product's folder holds product.json, template.json (or template.yaml), options.json, actions.json and orchestrator",
                folder.display()
            ))
        };
        let product = optional("product.json")?.ok_or_else(|| missing("product.json"))?;
        let (template, yaml) = match (optional("template.json")?, optional("template.yaml")?) {
            (Some(template), None) => (template, false),
            (None, Some(template)) => (template, true),
            (None, None) => return Err(missing("template.json")),
            (Some(_), Some(_)) => {
                let text = "{} has both template.json and template.yaml; remove one"
                    .replace("{}", &folder.display().to_string());
                return Err(Failure::Usage(text));
            }
        };
        let request = serde_json::from_str(&product)
            .map_err(|error| Failure::Usage(format!("{}: {error}", folder.join("product.json").display())))?;
        let (options, actions) = (optional("options.json")?, optional("actions.json")?);
        Ok(Self { request, template, yaml, options, actions, orchestrator: optional("orchestrator")? })
    }

    /// The template's content type.
    pub(crate) fn template_type(&self) -> &'static str {
        if self.yaml { "application/yaml" } else { "application/json" }
    }

    /// A hash of everything in it.
    pub(crate) fn hash(&self) -> String {
        let parts = (&self.request, &self.template, self.yaml, &self.options, &self.actions, &self.orchestrator);
        bigdata_chassis::secret::sha256_hex(&serde_json::to_vec(&parts).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_read_whole_and_its_faults_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        let fault = |folder: &Path| ProductFolder::read(folder).unwrap_err().to_string();
        assert!(fault(folder.path()).contains("no product.json"));
        write("product.json", r#"{"name": "x", "version": "1"}"#);
        assert!(fault(folder.path()).contains("no template.json"));
        write("template.yaml", "nodes: {}");
        let product = ProductFolder::read(folder.path()).unwrap();
        assert_eq!((product.yaml, product.options.is_none(), product.orchestrator.is_none()), (true, true, true));
        let before = product.hash();
        write("orchestrator", "#!/bin/sh\n");
        assert_ne!(ProductFolder::read(folder.path()).unwrap().hash(), before);
        write("product.json", r#"{"name": "X", "version": "1"}"#);
        assert!(fault(folder.path()).contains("lower-case"));
    }
}
