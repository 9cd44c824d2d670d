//! One version of a product: what publishers send, and what is checked of it.

pub mod script;
pub mod version;

use crate::options::Declaration;
use crate::template::Language;
use bigdata_chassis::secret::sha256_hex;
use bigdata_common::ProductRef;
use bigdata_common::api::problem::Fault;

/// A product.
#[derive(Debug, Clone)]
pub struct Product {
    /// Its name and version.
    pub reference: ProductRef,
    /// One line for people.
    pub description: String,
    /// Address of a picture; empty where there is none.
    pub logo_url: String,
    /// Jinja2 text.
    pub template: Option<String>,
    /// What the template renders to.
    pub language: Language,
    /// The options' declaration, as it was sent.
    pub options: Option<String>,
    /// The script.
    pub orchestrator: Option<String>,
    /// Whether an operator gave the script access to the network.
    pub reach_network: bool,
    /// Content hash of all of it.
    pub revision: String,
}

impl Product {
    /// A product that has nothing yet.
    pub fn new(reference: ProductRef, description: String, logo_url: String) -> Self {
        let mut product = Self {
            reference,
            description,
            logo_url,
            template: None,
            language: Language::Json,
            options: None,
            orchestrator: None,
            reach_network: false,
            revision: String::new(),
        };
        product.seal();
        product
    }

    /// Computes the revision anew; call it after every change.
    pub fn seal(&mut self) {
        let reach = if self.reach_network { "network" } else { "socket" };
        let parts = [
            Some(self.reference.name.as_str()),
            Some(self.reference.version.as_str()),
            Some(&self.description),
            Some(&self.logo_url),
            self.template.as_deref(),
            Some(self.language.as_str()),
            self.options.as_deref(),
            self.orchestrator.as_deref(),
            Some(reach),
        ];
        // As JSON, so that no two contents run together into the same bytes.
        let text = serde_json::to_string(&parts).expect("texts can be written as JSON");
        self.revision = sha256_hex(text.as_bytes());
    }

    /// What a launch would still miss.
    pub fn missing(&self) -> Vec<String> {
        if self.template.is_none() { vec!["template".to_owned()] } else { Vec::new() }
    }

    /// What it declares of its options; nothing where nothing was sent.
    ///
    /// # Errors
    /// Every fault; what is stored has been checked, so only an older declaration has any.
    pub fn declaration(&self) -> Result<Declaration, Vec<Fault>> {
        self.options.as_deref().map_or_else(|| Ok(Declaration::default()), Declaration::parse)
    }
}
