//! What the leading master has, as its operator endpoint tells it.

use reqwest::StatusCode;
use reqwest::header::LOCATION;
use serde_json::Value;

use super::calls::reason_of;
use super::master::Masters;
use super::{Settings, StartError, http_client};

/// Why the master's state cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// No client can be made of the settings.
    #[error("the master cannot be asked")]
    Settings(#[from] StartError),
    /// Nobody leads, or it cannot be found out.
    #[error("no leading master is found: {0}")]
    NoLeader(String),
    /// The master does not tell it, or not in JSON.
    #[error("the master refused to tell its state with {status}: {reason}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The master's words.
        reason: String,
    },
    /// The master cannot be reached.
    #[error("the master does not answer")]
    Transport(#[source] reqwest::Error),
}

/// Reads `GET /state` of the leading master, JSON of the form that Mesos documents for it; its `slaves` are those of
/// `GET /slaves` where the master has that: there alone Mesos tells of reservations and volumes.
///
/// # Errors
/// See [`StateError`]; all but [`StateError::Refused`] may pass.
pub async fn master_state(settings: &Settings) -> Result<Value, StateError> {
    let mut state = read(settings, "/state").await?;
    match read(settings, "/slaves").await {
        Ok(mut agents) => {
            if let (Some(state), Some(slaves)) = (state.as_object_mut(), agents.get_mut("slaves")) {
                state.insert("slaves".to_owned(), slaves.take());
            }
        }
        Err(StateError::Refused { status: 404, .. }) => {}
        Err(error) => return Err(error),
    }
    Ok(state)
}

/// Reads `GET /roles` of the leading master: each role with its quota.
///
/// # Errors
/// As [`master_state`].
pub async fn master_roles(settings: &Settings) -> Result<Value, StateError> {
    read(settings, "/roles").await
}

async fn read(settings: &Settings, path: &str) -> Result<Value, StateError> {
    let mut masters = Masters::new(&settings.masters)?;
    let http = http_client()?;
    let tries = settings.masters.len() * 2 + 2;
    let mut last = StateError::NoLeader("each sends on to another".to_owned());
    for _ in 0..tries {
        let url = masters.locate().await.map_err(StateError::NoLeader)?;
        let asked = url.join(path).unwrap_or_else(|_| url.clone());
        let request = http.get(asked).timeout(settings.call_timeout);
        let request = match &settings.credential {
            Some(credential) => request.basic_auth(&credential.principal, Some(&credential.secret)),
            None => request,
        };
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => {
                last = StateError::Transport(error);
                masters.failed();
                continue;
            }
        };
        let status = response.status();
        let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok()).map(str::to_owned);
        match (status, location) {
            (StatusCode::OK, _) => {
                return response.json().await.map_err(|error| {
                    let is_transport = !error.is_decode();
                    if is_transport {
                        StateError::Transport(error)
                    } else {
                        StateError::Refused { status: status.as_u16(), reason: error.to_string() }
                    }
                });
            }
            (StatusCode::TEMPORARY_REDIRECT, Some(location)) => {
                if !masters.redirect(&url, &location) {
                    masters.failed();
                }
            }
            (StatusCode::SERVICE_UNAVAILABLE, _) => {
                last = StateError::NoLeader(reason_of(response).await);
                masters.failed();
            }
            _ => return Err(StateError::Refused { status: status.as_u16(), reason: reason_of(response).await }),
        }
    }
    Err(last)
}
