//! Calls beside the subscription.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use prost::Message;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{RequestBuilder, Response, StatusCode, Url};
use tokio::time::Instant;

use super::{Credential, Session};
use crate::v1::FrameworkId;
use crate::v1::scheduler::Call;
use crate::{PROTOBUF, STREAM_ID};

/// How much of a refusal's text is read.
const MAX_REASON_BYTES: usize = 4096;

/// A call that the master did not take.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// There is no subscription now; wait for the next `Connected`.
    #[error("not subscribed at a master")]
    NotSubscribed,
    /// The master refused it.
    #[error("the master refused the call with {status}: {reason}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The master's words.
        reason: String,
    },
    /// It is unknown whether the master has got it.
    #[error("the call did not reach the master, or its answer not us")]
    Transport(#[source] reqwest::Error),
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) http: reqwest::Client,
    pub(super) credential: Option<Credential>,
    pub(super) timeout: Duration,
    pub(super) session: RwLock<Option<Arc<Session>>>,
    /// When the master last said anything.
    pub(super) heard_at: RwLock<Option<Instant>>,
}

impl Shared {
    pub(super) fn set_session(&self, session: Option<Session>) {
        let mut current = self.session.write().unwrap_or_else(PoisonError::into_inner);
        *current = session.map(Arc::new);
    }

    pub(super) fn note_word(&self) {
        *self.heard_at.write().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    fn session(&self) -> Option<Arc<Session>> {
        let current = self.session.read().unwrap_or_else(PoisonError::into_inner);
        current.clone()
    }

    pub(super) fn post(&self, url: Url, call: &Call) -> RequestBuilder {
        let request =
            self.http.post(url).header(CONTENT_TYPE, PROTOBUF).header(ACCEPT, PROTOBUF).body(call.encode_to_vec());
        match &self.credential {
            Some(credential) => request.basic_auth(&credential.principal, Some(&credential.secret)),
            None => request,
        }
    }
}

/// The first few kilobytes of a refusal's body.
pub(super) async fn reason_of(mut response: Response) -> String {
    let mut text = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        text.extend_from_slice(&chunk);
        if text.len() >= MAX_REASON_BYTES {
            text.truncate(MAX_REASON_BYTES);
            break;
        }
    }
    String::from_utf8_lossy(&text).trim().to_owned()
}

/// Makes calls. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle(pub(super) Arc<Shared>);

impl Handle {
    /// Makes a call of the subscribed framework, whose id is filled in where it is missing.
    ///
    /// Calls that must arrive in order are made one after the other.
    ///
    /// # Errors
    /// [`CallError`]: after [`CallError::Transport`] the call may or may not have arrived.
    pub async fn call(&self, mut call: Call) -> Result<(), CallError> {
        let session = self.0.session().ok_or(CallError::NotSubscribed)?;
        call.framework_id.get_or_insert_with(|| session.framework_id.clone());
        let request =
            self.0.post(session.url.clone(), &call).header(STREAM_ID, &session.stream_id).timeout(self.0.timeout);
        let response = request.send().await.map_err(CallError::Transport)?;
        match response.status() {
            StatusCode::ACCEPTED | StatusCode::OK => Ok(()),
            status => Err(CallError::Refused { status: status.as_u16(), reason: reason_of(response).await }),
        }
    }

    /// For how long the master has said nothing, a heartbeat neither; `None` while there is no subscription.
    #[must_use]
    pub fn silent_for(&self) -> Option<Duration> {
        self.0.session()?;
        Some(self.0.heard_at.read().unwrap_or_else(PoisonError::into_inner).as_ref()?.elapsed())
    }

    /// The subscribed framework; `None` while there is no subscription.
    #[must_use]
    pub fn framework_id(&self) -> Option<FrameworkId> {
        Some(self.0.session()?.framework_id.clone())
    }
}
