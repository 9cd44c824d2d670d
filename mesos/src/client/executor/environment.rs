//! The variables that an agent gives an executor.

use std::path::PathBuf;
use std::time::Duration;

use crate::call::executor::Caller;

/// A variable that is missing or cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvironmentError {
    /// Not set, or empty.
    #[error("{0} is not set: an executor is started by a Mesos agent")]
    Missing(&'static str),
    /// Not of the form that Mesos gives it.
    #[error("{name} has the strange value '{value}'")]
    Strange {
        /// The variable.
        name: &'static str,
        /// Its value.
        value: String,
    },
}

/// What an executor knows from its environment.
#[derive(Clone)]
pub struct ExecutorEnvironment {
    /// `host:port` of the agent.
    pub agent_endpoint: String,
    /// Who this executor is.
    pub caller: Caller,
    /// The sandbox.
    pub directory: PathBuf,
    /// Whether the executor outlives its agent's restarts.
    pub checkpoint: bool,
    /// How long the agent is waited for.
    pub recovery_timeout: Duration,
    /// The longest wait between two attempts to subscribe.
    pub subscription_backoff_max: Duration,
    /// Time from the request to end until force is used.
    pub shutdown_grace_period: Duration,
    /// Sent as a bearer token where the agent gave one.
    pub token: Option<String>,
}

impl std::fmt::Debug for ExecutorEnvironment {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("ExecutorEnvironment")
            .field("agent_endpoint", &self.agent_endpoint)
            .field("caller", &self.caller)
            .field("directory", &self.directory)
            .finish_non_exhaustive()
    }
}

impl ExecutorEnvironment {
    /// Reads this process's environment.
    ///
    /// # Errors
    /// [`EnvironmentError`] names the first variable that is not as it should be.
    pub fn from_process() -> Result<Self, EnvironmentError> {
        Self::read(|name| std::env::var(name).ok())
    }

    /// Reads the environment that `variable` looks up.
    ///
    /// # Errors
    /// [`EnvironmentError`] names the first variable that is not as it should be.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, EnvironmentError> {
        let optional = |name: &str| variable(name).filter(|value| !value.is_empty());
        let required = |name| optional(name).ok_or(EnvironmentError::Missing(name));
        let duration = |name, default: Duration| match optional(name) {
            None => Ok(default),
            Some(value) => parse_duration(&value).ok_or(EnvironmentError::Strange { name, value }),
        };
        let endpoint = required("MESOS_AGENT_ENDPOINT")?;
        Ok(ExecutorEnvironment {
            agent_endpoint: endpoint.trim_start_matches("http://").to_owned(),
            caller: Caller {
                executor_id: required("MESOS_EXECUTOR_ID")?.into(),
                framework_id: required("MESOS_FRAMEWORK_ID")?.into(),
            },
            directory: required("MESOS_DIRECTORY")?.into(),
            checkpoint: optional("MESOS_CHECKPOINT").as_deref() == Some("1"),
            recovery_timeout: duration("MESOS_RECOVERY_TIMEOUT", Duration::from_secs(15 * 60))?,
            subscription_backoff_max: duration("MESOS_SUBSCRIPTION_BACKOFF_MAX", Duration::from_secs(2))?,
            shutdown_grace_period: duration("MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD", Duration::from_secs(5))?,
            token: optional("MESOS_EXECUTOR_AUTHENTICATION_TOKEN"),
        })
    }
}

/// A length of time as Mesos prints it, such as `15mins` or `1.5secs`.
fn parse_duration(text: &str) -> Option<Duration> {
    let unit_at = text.find(|sign: char| sign.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(unit_at);
    let seconds = match unit {
        "ns" => 1e-9,
        "us" => 1e-6,
        "ms" => 1e-3,
        "secs" => 1.0,
        "mins" => 60.0,
        "hrs" => 3600.0,
        "days" => 86_400.0,
        "weeks" => 604_800.0,
        _ => return None,
    };
    let number: f64 = number.parse().ok()?;
    Duration::try_from_secs_f64(number * seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variable(name: &str) -> Option<String> {
        let value = match name {
            "MESOS_AGENT_ENDPOINT" => "127.0.1.1:5051",
            "MESOS_FRAMEWORK_ID" => "f-1",
            "MESOS_EXECUTOR_ID" => "e-1",
            "MESOS_DIRECTORY" => "/sandbox",
            "MESOS_CHECKPOINT" => "1",
            "MESOS_RECOVERY_TIMEOUT" => "15mins",
            "MESOS_SUBSCRIPTION_BACKOFF_MAX" => "1.5secs",
            _ => return None,
        };
        Some(value.to_owned())
    }

    #[test]
    fn what_an_agent_gives_is_read() {
        let environment = ExecutorEnvironment::read(variable).unwrap();
        assert_eq!(environment.agent_endpoint, "127.0.1.1:5051");
        assert_eq!(environment.caller.executor_id.as_str(), "e-1");
        assert!(environment.checkpoint);
        assert_eq!(environment.recovery_timeout, Duration::from_secs(900));
        assert_eq!(environment.subscription_backoff_max, Duration::from_millis(1500));
        assert_eq!(environment.shutdown_grace_period, Duration::from_secs(5));
        assert_eq!(environment.token, None);
    }

    #[test]
    fn what_is_missing_or_strange_is_named() {
        let missing = ExecutorEnvironment::read(|name| variable(name).filter(|_| name != "MESOS_EXECUTOR_ID"));
        assert_eq!(missing.unwrap_err(), EnvironmentError::Missing("MESOS_EXECUTOR_ID"));
        let strange = ExecutorEnvironment::read(|name| match name {
            "MESOS_RECOVERY_TIMEOUT" => Some("soon".to_owned()),
            _ => variable(name),
        });
        assert!(matches!(strange, Err(EnvironmentError::Strange { .. })));
    }

    #[test]
    fn lengths_of_time_are_read_as_mesos_prints_them() {
        for (text, expected) in [
            ("5secs", Some(5_000)),
            ("250ms", Some(250)),
            ("2hrs", Some(7_200_000)),
            ("1weeks", Some(604_800_000)),
            ("5", None),
            ("secs", None),
            ("-1secs", None),
            ("1e400secs", None),
            ("5 secs", None),
        ] {
            assert_eq!(parse_duration(text), expected.map(Duration::from_millis), "{text}");
        }
    }
}
