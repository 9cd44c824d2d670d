//! Products' templates: Jinja2 text that renders to JSON or YAML.
//!
//! No template engine is safe inside a service (a stack overflow or a failed allocation ends the process), so templates are
//! parsed and rendered in a child, `PROGRAM __render`: one JSON document in, one out, everything else forbidden to it. Children
//! are started ahead, and wait.
//!
//! - [`engine`]: the engine as the older system's templates expect it.
//! - [`place`]: why a value cannot break out of its place.
//! - [`child`]: the child's side. [`Renderer`]: ours.

pub mod child;
pub mod engine;
pub mod place;
mod renderer;
mod words;

pub use renderer::{RenderError, Renderer};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The largest template, in bytes.
pub const SOURCE_MAX: usize = 64 * 1024;
/// The largest rendered text, in bytes.
pub const OUTPUT_MAX: usize = 1024 * 1024;

/// What a template renders to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

impl Language {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Yaml => "yaml",
        }
    }
}

/// A text that is neither `json` nor `yaml`.
#[derive(Debug, thiserror::Error)]
#[error("a template's language is json or yaml")]
pub struct UnknownLanguage;

impl std::str::FromStr for Language {
    type Err = UnknownLanguage;

    fn from_str(text: &str) -> Result<Self, UnknownLanguage> {
        match text {
            "json" => Ok(Self::Json),
            "yaml" => Ok(Self::Yaml),
            _ => Err(UnknownLanguage),
        }
    }
}

/// What the child is asked.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RenderRequest {
    /// The template.
    pub source: String,
    /// What it renders to.
    pub language: Language,
    /// Whether an undefined value is an error.
    pub strict: bool,
    /// What it sees; None: it is only parsed.
    pub context: Option<Context>,
}

/// What a template sees.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Context {
    /// The options.
    pub opts: Map<String, Value>,
    /// The user.
    pub user: String,
    /// The product's name.
    pub product: String,
    /// Its version.
    pub version: String,
    /// The cluster's distinguished name.
    pub clusterdn: String,
    /// Its id.
    pub clusterid: String,
}

/// What the child answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RenderReply {
    /// The document (null where the template was only parsed), and what may not have been meant.
    Rendered {
        /// The rendered document.
        document: Value,
        /// In words for people.
        warnings: Vec<String>,
    },
    /// What is wrong with the template, in words for people.
    Refused(String),
}
