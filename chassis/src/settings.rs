//! Settings: `defaults < file < BIGDATA__SECTION__KEY environment < flags`.

use config::ConfigError;
use serde::de::{DeserializeOwned, IgnoredAny};
use std::collections::BTreeMap;
use std::path::Path;

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the settings cannot be used: {0}")]
pub struct SettingsError(#[from] ConfigError);

/// Reads settings of type `T`: its own defaults (`#[serde(default)]`), then the TOML file where one is given, then the
/// environment, then `flags` (`section.key` to value).
///
/// # Errors
/// When the file cannot be read, a key is unknown or a value is of the wrong type; the message names it.
pub fn load<T: DeserializeOwned>(file: Option<&Path>, flags: &[(&str, String)]) -> Result<T, SettingsError> {
    Ok(sources(file, environment(), flags)?.try_deserialize()?)
}

/// The settings of several services in one file: each reads its own section and those that it shares with the others.
#[derive(Debug, Clone)]
pub struct Sections(config::Config);

impl Sections {
    /// Reads file and environment.
    ///
    /// # Errors
    /// When the file cannot be read, or has a section that is not among `known`; the message names it.
    pub fn read(file: Option<&Path>, known: &[&str]) -> Result<Self, SettingsError> {
        let config = sources(file, environment(), &[])?;
        let present: BTreeMap<String, IgnoredAny> = config.clone().try_deserialize()?;
        match present.keys().find(|section| !known.contains(&section.as_str())) {
            None => Ok(Self(config)),
            Some(unknown) => {
                Err(ConfigError::Message(format!("there is no section `{unknown}`; there are {}", known.join(", ")))
                    .into())
            }
        }
    }

    /// One section; its defaults where nobody says anything.
    ///
    /// # Errors
    /// When a key is unknown, missing, or a value is of the wrong type; the message names it.
    pub fn section<T: DeserializeOwned>(&self, name: &str) -> Result<T, SettingsError> {
        let said = self.0.get::<T>(name);
        let empty = || config::Config::default().try_deserialize();
        match said {
            Err(ConfigError::NotFound(missing)) if missing == name => {
                empty().map_err(|error| ConfigError::Message(format!("section `{name}`: {error}")).into())
            }
            said => Ok(said?),
        }
    }
}

/// The variables. They are texts, and each setting reads its own kind out of one: a sum or a password of digits is no number.
fn environment() -> config::Environment {
    config::Environment::with_prefix("BIGDATA").prefix_separator("__").separator("__")
}

fn sources(
    file: Option<&Path>,
    environment: config::Environment,
    flags: &[(&str, String)],
) -> Result<config::Config, ConfigError> {
    let mut builder = config::Config::builder();
    if let Some(file) = file {
        builder = builder.add_source(config::File::from(file).format(config::FileFormat::Toml));
    }
    builder = builder.add_source(environment);
    for (key, value) in flags {
        builder = builder.set_override(*key, value.as_str())?;
    }
    builder.build()
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
    fn a_variable_is_read_as_its_setting_wants_it() {
        let variables = [("BIGDATA__LISTEN", "007"), ("BIGDATA__LIMITS__NODES", "7")];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let read = sources(None, environment().source(Some(variables.into_iter().collect())), &[]).unwrap();
        let example: Example = read.try_deserialize().unwrap();
        assert_eq!(example, Example { listen: "007".to_owned(), limits: Limits { nodes: 7 } });
    }

    #[test]
    fn an_unknown_key_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("settings.toml");
        std::fs::write(&file, "[limits]\nnodez = 7\n").unwrap();
        let error = load::<Example>(Some(&file), &[]).unwrap_err();
        assert!(error.to_string().contains("nodez"), "{error}");
    }

    #[test]
    fn services_share_a_file_and_read_their_own_section() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("fleet.toml");
        std::fs::write(&file, "[first]\nnodes = 7\n[second]\nlisten = \"127.0.0.1:2\"\n").unwrap();
        let sections = Sections::read(Some(&file), &["first", "second", "third"]).unwrap();
        assert_eq!(sections.section::<Limits>("first").unwrap(), Limits { nodes: 7 });
        assert_eq!(sections.section::<Limits>("third").unwrap(), Limits::default());
        let wrong = sections.section::<Limits>("second").unwrap_err().to_string();
        assert!(wrong.contains("listen"), "{wrong}");
        let unknown = Sections::read(Some(&file), &["first"]).unwrap_err().to_string();
        assert!(unknown.contains("second"), "{unknown}");
    }
}
