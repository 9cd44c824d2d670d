//! What a product asks of a launch: groups of options with defaults, and a schema beside them.
//!
//! [`Declaration::parse`] reads and checks what a publisher sends; [`Declaration::resolve`] makes of a launch's flat map
//! the values that the template sees. Both name every fault with its pointer. Pure but for the generated secrets.

mod change;
mod convert;
mod declare;
mod resolve;

pub use convert::Kind;
pub use resolve::{MASK, Resolved};

use indexmap::IndexMap;
use serde_json::Value;

/// Which group an option stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// Every launch must send it; its value is an example.
    Required,
    /// Its value is a default.
    Optional,
    /// As optional, for those who know.
    Advanced,
}

/// One option.
#[derive(Debug)]
pub struct Declared {
    /// Where it stands.
    pub group: Group,
    /// The example or default.
    pub default: Value,
    /// What its values are; None: anything.
    pub kind: Option<Kind>,
    /// Whether its value is sealed and masked.
    pub secret: bool,
    /// The length of the password that is made where none is sent.
    pub generate: Option<usize>,
    /// Whether its value names a backup (`"format": "backup"`), or is empty.
    pub backup: bool,
    schema: Option<jsonschema::Validator>,
}

/// What a product declares of its options.
#[derive(Debug, Default)]
pub struct Declaration {
    /// The options by name, in the order of the groups.
    pub options: IndexMap<String, Declared>,
    /// Whether an undefined value in the template is an error.
    pub strict: bool,
}
