//! What every command is given: where the platform is, and how to print.

use crate::client::Api;
use crate::failure::Failure;
use crate::output::Output;
use std::path::PathBuf;

/// Where a platform listens when nothing else is said.
pub(crate) const DEFAULT_URL: &str = "http://127.0.0.1:5000";

/// See the [module](self).
#[derive(Debug, Clone)]
pub(crate) struct Context {
    /// How to print.
    pub(crate) output: Output,
    /// Where the platform is.
    pub(crate) url: String,
    /// The socket and token of the run that this process belongs to, inside a product's script.
    script: Option<(PathBuf, String)>,
}

impl Context {
    /// A context for the platform at `url`; inside a product's script, for its socket too.
    pub(crate) fn new(url: String, json: bool) -> Self {
        let script = std::env::var_os("BIGDATA_SOCKET")
            .filter(|socket| !socket.is_empty())
            .map(|socket| (PathBuf::from(socket), std::env::var("BIGDATA_TOKEN").unwrap_or_default()));
        Self { output: Output::new(json), url, script }
    }

    /// The public API.
    ///
    /// # Errors
    /// When the address is none.
    pub(crate) fn api(&self) -> Result<Api, Failure> {
        Api::public(&self.url)
    }

    /// Whether this process belongs to a run of a product's script.
    pub(crate) fn in_script(&self) -> bool {
        self.script.is_some()
    }

    /// The run's socket.
    ///
    /// # Errors
    /// When this process belongs to no run.
    pub(crate) fn script_api(&self) -> Result<Api, Failure> {
        match &self.script {
            Some((socket, token)) => Api::script(socket, token.clone()),
            None => Err(Failure::Usage(
                "this works inside a product's script only, where BIGDATA_SOCKET is set; name the CLUSTER otherwise"
                    .to_owned(),
            )),
        }
    }
}
