//! Products as clients see them.

use crate::Name;
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
