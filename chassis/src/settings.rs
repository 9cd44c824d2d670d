//! Settings: `defaults < file < BIGDATA__SECTION__KEY environment < flags`.

use serde::de::DeserializeOwned;
use std::path::Path;

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the settings cannot be used: {0}")]
pub struct SettingsError(#[from] config::ConfigError);

/// Reads settings of type `T`: its own defaults (`#[serde(default)]`), then the TOML file where one is given, then the
/// environment, then `flags` (`section.key` to value).
///
/// # Errors
/// When the file cannot be read, a key is unknown or a value is of the wrong type; the message names it.
pub fn load<T: DeserializeOwned>(file: Option<&Path>, flags: &[(&str, String)]) -> Result<T, SettingsError> {
    let mut builder = config::Config::builder();
    if let Some(file) = file {
        builder = builder.add_source(config::File::from(file).format(config::FileFormat::Toml));
    }
    builder = builder.add_source(
        config::Environment::with_prefix("BIGDATA").prefix_separator("__").separator("__").try_parsing(true),
    );
    for (key, value) in flags {
        builder = builder.set_override(*key, value.as_str())?;
    }
    Ok(builder.build()?.try_deserialize()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(default, deny_unknown_fields)]
    struct Example {
        listen: String,
        limits: Limits,
    }

    #[derive(Debug, Deserialize, PartialEq, Default)]
    #[serde(default, deny_unknown_fields)]
    struct Limits {
        nodes: u32,
    }

    impl Default for Example {
        fn default() -> Self {
            Self { listen: "127.0.0.1:5000".to_owned(), limits: Limits::default() }
        }
    }

    #[test]
    fn a_flag_outranks_the_file_and_the_file_the_default() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("settings.toml");
        std::fs::write(&file, "listen = \"127.0.0.1:1\"\n[limits]\nnodes = 7\n").unwrap();
        let flags = [("listen", "127.0.0.1:2".to_owned())];
        let example: Example = load(Some(&file), &flags).unwrap();
        assert_eq!(example, Example { listen: "127.0.0.1:2".to_owned(), limits: Limits { nodes: 7 } });
    }

    #[test]
    fn an_unknown_key_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("settings.toml");
        std::fs::write(&file, "[limits]\nnodez = 7\n").unwrap();
        let error = load::<Example>(Some(&file), &[]).unwrap_err();
        assert!(error.to_string().contains("nodez"), "{error}");
    }
}
