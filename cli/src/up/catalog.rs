//! The shipped catalog, registered by the public API like anybody's products.

use crate::client::Api;
use crate::commands::product;
use crate::failure::Failure;
use crate::folder::ProductFolder;
use bigdata_common::api::product::ProductList;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// One product as it is embedded.
struct Shipped {
    product: &'static str,
    template: &'static str,
    yaml: bool,
    options: Option<&'static str>,
    actions: Option<&'static str>,
    orchestrator: Option<&'static str>,
}

static CATALOG: &[Shipped] = include!(concat!(env!("OUT_DIR"), "/catalog.rs"));

/// What was registered from here, by `name/version`.
type Record = BTreeMap<String, Registered>;

/// A product as it was registered from here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Registered {
    /// Hash of what was sent.
    content: String,
    /// The registry's revision after it.
    revision: String,
}

/// Every product that this program brings along.
///
/// # Errors
/// When one is not as it should be.
pub(crate) fn shipped() -> Result<Vec<ProductFolder>, Failure> {
    CATALOG
        .iter()
        .map(|shipped| {
            let request = serde_json::from_str(shipped.product)
                .map_err(|error| Failure::Failed(format!("a shipped product is not as it should be: {error}")))?;
            Ok(ProductFolder {
                request,
                template: shipped.template.to_owned(),
                yaml: shipped.yaml,
                options: shipped.options.map(str::to_owned),
                actions: shipped.actions.map(str::to_owned),
                orchestrator: shipped.orchestrator.map(str::to_owned),
            })
        })
        .collect()
}

/// Registers what is new or changed since the last start, and remembers it in `file`. What a user changed since, or took
/// out of the catalog, stays so.
///
/// # Errors
/// When the registry refuses a product, or the file cannot be written.
pub(crate) async fn register(api: &Api, file: &Path) -> Result<(), Failure> {
    let mut record: Record =
        std::fs::read(file).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
    let before = record.clone();
    for product in shipped()? {
        let name = format!("{}/{}", product.request.name, product.request.version);
        let content = product.hash();
        let known = record.get(&name);
        if known.is_some_and(|known| known.content == content) {
            continue;
        }
        if let Some(known) = known
            && current_revision(api, &name).await? != Some(known.revision.clone())
        {
            tracing::warn!(product = name, "a newer form is shipped, and the product was changed here: it stays");
            record.insert(name, Registered { content, revision: known.revision.clone() });
            continue;
        }
        match product::register(api, &product).await {
            Ok(view) => {
                record.insert(name, Registered { content, revision: view.revision });
            }
            // Somebody registered the same name first: theirs it is.
            Err(failure) if failure.code() == 4 => {
                tracing::warn!(product = name, "a product of this name exists and differs: it stays");
                record.insert(name, Registered { content, revision: String::new() });
            }
            Err(failure) => return Err(failure),
        }
    }
    if record != before {
        let text = serde_json::to_vec_pretty(&record).map_err(|error| Failure::of(&error))?;
        super::data_directory::replace(file, &text)?;
    }
    Ok(())
}

async fn current_revision(api: &Api, name: &str) -> Result<Option<String>, Failure> {
    // From the list: one that is not there is answered as one that may still come, for as long as this goes on.
    let list: ProductList = api.get("/products").await?;
    let found = list.entries.into_iter().find(|entry| format!("{}/{}", entry.name, entry.version) == name);
    Ok(found.map(|entry| entry.revision))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_product_is_shipped() {
        let products = shipped().unwrap();
        let reference = products.iter().find(|product| product.request.name.as_str() == "reference").unwrap();
        assert!(reference.options.is_some() && reference.orchestrator.is_some());
    }
}
