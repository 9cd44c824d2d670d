//! Products as clients see them.

use crate::container_options::{ContainerRight, ContainerRights};
use crate::{Name, Timestamp};
use serde::{Deserialize, Serialize};

/// Body of `POST /products`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProductRequest {
    /// The product's name.
    pub name: Name,
    /// Its version.
    pub version: Name,
    /// One line for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Address of a picture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logo_url: Option<String>,
}

/// Reply of `GET /products/{name}/{version}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProductView {
    /// `products/<name>/<version>`.
    pub dn: String,
    /// The product's name.
    pub name: Name,
    /// Its version.
    pub version: Name,
    /// One line for people.
    pub description: String,
    /// Address of a picture; empty where there is none.
    pub logo_url: String,
    /// Content hash of all of it.
    pub revision: String,
    /// What a launch would still miss (`template`, `options`, `orchestrator`); empty: it can be launched.
    pub missing: Vec<String>,
    /// How many clusters of it are not destroyed.
    pub clusters: u64,
    /// What its containers may do on the machine beyond the harmless.
    #[serde(default)]
    pub container_rights: ProductRights,
}

impl ProductView {
    /// What a launch with its defaults would lack, in words: parts, and rights of its containers.
    pub fn lacking(&self) -> Vec<String> {
        let rights = self.container_rights.lacking().into_iter().map(|right| format!("the right {right}"));
        self.missing.iter().cloned().chain(rights).collect()
    }
}

/// The container rights of a product: what its `docker_opts` take, and what an operator has given. Reply of
/// `GET /products/{name}/{version}/container-rights`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ProductRights {
    /// What the template takes with the options' defaults and examples, as far as it renders with these.
    pub needed: ContainerRights,
    /// What an operator has given.
    pub given: ContainerRights,
    /// Who gave them, or took them away; None: nobody yet.
    pub by: Option<Name>,
    /// When that was.
    pub at: Option<Timestamp>,
    /// Since when they do not count: somebody who is no operator changed the template or the options then.
    pub lapsed_at: Option<Timestamp>,
}

impl ProductRights {
    /// The rights that a launch has.
    pub fn in_force(&self) -> ContainerRights {
        if self.lapsed_at.is_some() { ContainerRights::new() } else { self.given.clone() }
    }

    /// What the template takes and a launch would not have.
    pub fn lacking(&self) -> Vec<ContainerRight> {
        self.needed.difference(&self.in_force()).copied().collect()
    }
}

/// Reply of `GET /products`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProductList {
    /// The names, each once, sorted.
    pub products: Vec<Name>,
    /// Every version with its description, sorted by name, then by version.
    pub entries: Vec<ProductView>,
}

/// Reply of `GET /products/{name}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionList {
    /// The versions, the newest last.
    pub versions: Vec<Name>,
}
