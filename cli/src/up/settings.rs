//! The settings of `bigdata up`: `defaults < file < environment < flags`.

use crate::failure::{Failure, chain};
use bigdata_chassis::telemetry::LogSettings;
use bigdata_mesos::v1::Resource;
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Everything that an operator of one machine may set. What joins the services (addresses, tokens, keys, paths below the
/// data directory) is decided by `up`, and overrides what is said of it here.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Settings {
    /// Where the platform answers; a loopback address.
    pub(crate) listen: SocketAddr,
    /// Where everything is kept.
    pub(crate) data_dir: PathBuf,
    /// Whether nodes go on when the platform is stopped.
    pub(crate) keep_nodes: bool,
    /// Whether the shipped catalog is registered.
    pub(crate) catalog: bool,
    /// What nodes may use: `cpus=4,mem=8192,disk=20000` (MiB); None: what the machine has.
    pub(crate) resources: Option<String>,
    /// Where whole disks of the machine are mounted, for nodes that want one (`type: whole`). Each must be empty at first.
    pub(crate) disks: Vec<PathBuf>,
    /// Logs go to standard error instead of the data directory.
    pub(crate) log_stderr: bool,
    /// What is logged.
    pub(crate) log: LogSettings,
    /// The registry's settings.
    pub(crate) registry: bigdata_registry::Settings,
    /// The framework's settings.
    pub(crate) framework: bigdata_framework::Settings,
    /// The orchestrator's settings.
    pub(crate) orchestrator: bigdata_orchestrator::Settings,
    /// The gateway's settings.
    pub(crate) gateway: bigdata_gateway::Settings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 5000)),
            data_dir: super::data_directory::default_path(),
            keep_nodes: false,
            catalog: true,
            resources: None,
            disks: Vec::new(),
            log_stderr: false,
            log: LogSettings::default(),
            registry: bigdata_registry::Settings::default(),
            framework: bigdata_framework::Settings::default(),
            orchestrator: bigdata_orchestrator::Settings::default(),
            gateway: bigdata_gateway::Settings::default(),
        }
    }
}

impl Settings {
    /// Reads the settings.
    ///
    /// # Errors
    /// When one is unknown or not as it should be.
    pub(crate) fn load(file: Option<&Path>, flags: &[(&str, String)]) -> Result<Self, Failure> {
        let settings: Self =
            bigdata_chassis::settings::load(file, flags).map_err(|error| Failure::Usage(chain(&error)))?;
        if !settings.listen.ip().is_loopback() {
            return Err(Failure::Usage(format!(
                "{} is no loopback address, and without authentication the platform answers on this machine alone\n  next: use --listen 127.0.0.1:{}, and from afar an SSH tunnel: ssh -L {}:127.0.0.1:{} HOST",
                settings.listen,
                settings.listen.port(),
                settings.listen.port(),
                settings.listen.port()
            )));
        }
        settings.parsed_resources()?;
        Ok(settings)
    }

    /// Looks whether what the settings name is there and may be used.
    ///
    /// # Errors
    /// When something is not, with its setting.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        self.orchestrator.check().map_err(|error| Failure::Usage(chain(&error)))
    }

    /// The settings as a document. Secrets are in none: they come from files of their own, or from the environment.
    ///
    /// # Errors
    /// When a setting has no form as JSON.
    pub(crate) fn document(&self) -> Result<serde_json::Value, Failure> {
        let of = |section: serde_json::Result<serde_json::Value>| section.map_err(|error| Failure::of(&error));
        Ok(serde_json::json!({
            "listen": self.listen,
            "data_dir": self.data_dir,
            "keep_nodes": self.keep_nodes,
            "catalog": self.catalog,
            "resources": self.resources,
            "disks": self.disks,
            "log_stderr": self.log_stderr,
            "log": { "filter": self.log.filter, "json": self.log.json },
            "registry": of(serde_json::to_value(&self.registry))?,
            "framework": of(serde_json::to_value(&self.framework))?,
            "orchestrator": of(serde_json::to_value(&self.orchestrator))?,
            "gateway": of(serde_json::to_value(&self.gateway))?,
        }))
    }

    /// The same as a file that `--config` takes. What is not set is left out: TOML has no word for it.
    ///
    /// # Errors
    /// When a setting has no form as TOML.
    pub(crate) fn toml(&self) -> Result<String, Failure> {
        toml::to_string_pretty(&without_nulls(self.document()?)).map_err(|error| Failure::of(&error))
    }

    /// What nodes may use beside ports; None: what the machine has.
    ///
    /// # Errors
    /// When the text is not of its form.
    pub(crate) fn parsed_resources(&self) -> Result<Option<Vec<Resource>>, Failure> {
        let Some(text) = &self.resources else { return Ok(None) };
        let wrong = |what: &str| {
            Failure::Usage(format!(
                "resources {text:?}: {what}; write cpus=4,mem=8192,disk=20000 (mem and disk in MiB)"
            ))
        };
        let mut resources = Vec::new();
        let mut missing = vec!["cpus", "mem", "disk"];
        for part in text.split([',', ';']).map(str::trim) {
            let (name, amount) = part.split_once(['=', ':']).ok_or_else(|| wrong("a part is not name=amount"))?;
            let amount: f64 = amount.trim().parse().map_err(|_| wrong("an amount is no number"))?;
            if !(amount.is_finite() && amount > 0.0) {
                return Err(wrong("an amount must be more than 0"));
            }
            let position = missing.iter().position(|known| *known == name.trim());
            let name = missing.remove(position.ok_or_else(|| wrong("known are cpus, mem and disk, each once"))?);
            resources.push(Resource::scalar(name, amount));
        }
        if let Some(name) = missing.first() {
            return Err(wrong(&format!("{name} is missing")));
        }
        Ok(Some(resources))
    }
}

fn without_nulls(value: serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::Object(map) => {
            let set = map.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(set.map(|(name, value)| (name, without_nulls(value))).collect())
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_can_be_used() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("settings.toml");
        let flags =
            [("resources", "cpus=1,mem=2,disk=3".to_owned()), ("orchestrator.limits.processes", "7".to_owned())];
        let settings = Settings::load(None, &flags).unwrap();
        std::fs::write(&file, settings.toml().unwrap()).unwrap();
        let again = Settings::load(Some(&file), &[]).unwrap();
        assert_eq!(again.document().unwrap(), settings.document().unwrap());
        assert_eq!(again.orchestrator.limits.processes, 7);
    }

    #[test]
    fn resources_are_read_and_faults_named() {
        let parse =
            |text: &str| Settings { resources: Some(text.to_owned()), ..Settings::default() }.parsed_resources();
        assert_eq!(parse("cpus=4,mem=8192,disk=100").unwrap().unwrap().len(), 3);
        for (text, fault) in [
            ("cpus=4,mem=1", "disk is missing"),
            ("cpus=x,mem=1,disk=1", "no number"),
            ("cpus=0,mem=1,disk=1", "more than 0"),
            ("gpus=1", "known are"),
            ("4", "name=amount"),
        ] {
            let refused = parse(text).unwrap_err().to_string();
            assert!(refused.contains(fault), "{text}: {refused}");
        }
    }

    #[test]
    fn a_store_for_backups_that_is_none_is_refused() {
        for url in ["s3://", "gs://", "az://", "backups", "ftp://x/y", "/proc/backups"] {
            let settings = Settings::load(None, &[("orchestrator.backups_url", url.to_owned())]).unwrap();
            let refused = settings.check().unwrap_err();
            assert_eq!(refused.code(), 2, "{url}");
            assert!(refused.to_string().contains("orchestrator.backups_url"), "{refused}");
        }
    }

    #[test]
    fn other_addresses_than_loopback_are_refused() {
        let refused = Settings::load(None, &[("listen", "0.0.0.0:5000".to_owned())]).unwrap_err();
        assert_eq!(refused.code(), 2);
        assert!(refused.to_string().contains("no loopback address"));
    }
}
