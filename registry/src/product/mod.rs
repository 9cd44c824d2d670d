//! One version of a product: what publishers send, and what is checked of it.

pub mod script;
pub mod version;

use crate::actions::Actions;
use crate::options::Declaration;
use crate::template::Language;
use bigdata_chassis::secret::sha256_hex;
use bigdata_common::api::problem::Fault;
use bigdata_common::api::product::ProductRights;
use bigdata_common::container_options::ContainerRight;
use bigdata_common::{Name, Principal, ProductRef, Role, Timestamp};
use serde::{Deserialize, Serialize};

/// A product. As JSON it is kept for the clusters that were made of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
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
    /// What the script can be asked for, as it was sent.
    #[serde(default)]
    pub actions: Option<String>,
    /// Whether an operator gave the script access to the network.
    pub reach_network: bool,
    /// What its containers may do on the machine.
    #[serde(default)]
    pub container_rights: ProductRights,
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
            actions: None,
            reach_network: false,
            container_rights: ProductRights::default(),
            revision: String::new(),
        };
        product.seal();
        product
    }

    /// Computes the revision anew; call it after every change.
    pub fn seal(&mut self) {
        let reach = if self.reach_network { "network" } else { "socket" };
        let mut parts = vec![
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
        // Products without them keep the revision that they had before there were any.
        parts.extend(self.actions.as_deref().map(Some));
        let rights: Vec<&str> = self.container_rights.in_force().into_iter().map(ContainerRight::as_str).collect();
        let rights = format!("container-rights {}", rights.join(" "));
        parts.extend((!self.container_rights.in_force().is_empty()).then_some(Some(rights.as_str())));
        // As JSON, so that no two contents run together into the same bytes.
        let text = serde_json::to_string(&parts).expect("texts can be written as JSON");
        self.revision = sha256_hex(text.as_bytes());
    }

    /// Gives it another template. Unless an operator does that, container rights that were given lapse: they were given for
    /// what it was.
    pub fn set_template(&mut self, source: String, language: Language, by: &Principal, now: Timestamp) {
        if self.template.as_ref() != Some(&source) || self.language != language {
            self.lapse(by, now);
        }
        (self.template, self.language) = (Some(source), language);
    }

    /// Gives it other options; see [`Product::set_template`].
    pub fn set_options(&mut self, options: String, by: &Principal, now: Timestamp) {
        if self.options.as_ref() != Some(&options) {
            self.lapse(by, now);
        }
        self.options = Some(options);
    }

    /// Gives it another script, or none; see [`Product::set_template`]. The reach into the network lapses, too: both were
    /// given for what the script was.
    pub fn set_orchestrator(&mut self, source: Option<String>, by: &Principal, now: Timestamp) {
        if self.orchestrator != source {
            self.lapse(by, now);
            self.reach_network &= by.has(Role::Admin);
        }
        self.orchestrator = source;
    }

    fn lapse(&mut self, by: &Principal, now: Timestamp) {
        let rights = &mut self.container_rights;
        if !by.has(Role::Admin) && !rights.given.is_empty() {
            rights.lapsed_at.get_or_insert(now);
        }
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

    /// What its script can be asked for, by a declaration of its options.
    ///
    /// # Errors
    /// Every fault; also where an option that an action names is not declared, or is a secret.
    pub fn declared_actions(&self, declaration: &Declaration) -> Result<Actions, Vec<Fault>> {
        let actions = self.actions.as_deref().map_or_else(|| Ok(Actions::default()), Actions::parse)?;
        let fault = |(name, key, option): (&Name, &str, &str)| {
            let words = match declaration.options.get(option) {
                None => "the product declares no such option",
                Some(declared) if declared.secret => "a secret says nothing in the open",
                Some(_) => return None,
            };
            Some(Fault::new(format!("/{name}/{key}"), format!("@{{option:{option}}}: {words}")))
        };
        let faults: Vec<Fault> = actions.options().filter_map(fault).collect();
        if faults.is_empty() { Ok(actions) } else { Err(faults) }
    }
}
