//! Which request caused the work at hand: carried through a service's tasks, on its calls to others and on its events.

use bigdata_common::internal::Origin;
use std::future::Future;
use tracing::{Instrument, Span};
use uuid::Uuid;

/// The header that names one request through all services.
pub const REQUEST_ID_HEADER: &str = "x-request-id";
/// W3C Trace Context (<https://www.w3.org/TR/trace-context/#traceparent-header>).
pub const TRACEPARENT_HEADER: &str = "traceparent";

/// Whether a text is a request's id as it is handed on: at most 128 letters, digits and `-_.:`.
pub fn is_request_id(text: &str) -> bool {
    (1..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte))
}

/// Whether a text is a traceparent that can be gone on with: version 00 (longer ones of later versions are begun anew),
/// and neither of its ids without a digit that counts.
pub fn is_traceparent(text: &str) -> bool {
    let is_hexadecimal = |part: &str| part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let is_id = |part: &str| is_hexadecimal(part) && part.bytes().any(|byte| byte != b'0');
    let mut parts = text.split('-');
    let (version, trace, span, flags) = (parts.next(), parts.next(), parts.next(), parts.next());
    let of_length = |part: Option<&str>, length: usize, good: &dyn Fn(&str) -> bool| {
        part.is_some_and(|part| part.len() == length && good(part))
    };
    version == Some("00")
        && of_length(trace, 32, &is_id)
        && of_length(span, 16, &is_id)
        && of_length(flags, 2, &is_hexadecimal)
        && parts.next().is_none()
}

tokio::task_local! {
    static CURRENT: Cause;
}

/// What caused the work: a request, or an event that a request caused.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cause {
    /// The request's id; None for work that no request began.
    pub request_id: Option<String>,
    /// The trace that it belongs to.
    pub traceparent: Option<String>,
}

impl Cause {
    /// What caused the work of the current task; nothing outside of [`within`].
    pub fn current() -> Self {
        CURRENT.try_with(Clone::clone).unwrap_or_default()
    }

    /// The same trace, with a span of its own for what is called now.
    pub fn child(&self) -> Self {
        let child = self.traceparent.as_deref().and_then(|parent| {
            let mut parts = parent.split('-');
            let (version, trace, _, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
            let span = Uuid::new_v4().simple().to_string();
            Some(format!("{version}-{trace}-{}-{flags}", &span[..16]))
        });
        Self { request_id: self.request_id.clone(), traceparent: child }
    }

    /// As what is kept with an operation; None where nothing is known.
    pub fn origin(self) -> Option<Origin> {
        let Self { request_id, traceparent } = self;
        (request_id.is_some() || traceparent.is_some()).then_some(Origin { request_id, traceparent })
    }

    /// The trace's id, by which its lines are found whatever span they are of.
    pub fn trace_id(&self) -> Option<&str> {
        self.traceparent.as_deref()?.split('-').nth(1)
    }

    /// The headers that tell another service of it.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let pairs = [(REQUEST_ID_HEADER, &self.request_id), (TRACEPARENT_HEADER, &self.traceparent)];
        pairs.into_iter().filter_map(|(name, value)| value.as_deref().map(|value| (name, value)))
    }
}

impl From<Origin> for Cause {
    fn from(Origin { request_id, traceparent }: Origin) -> Self {
        Self { request_id, traceparent }
    }
}

/// Does `work` as caused by `cause`, in a span whose lines name it.
pub async fn within_span<F: Future>(cause: Cause, span: Span, work: F) -> F::Output {
    within(cause, work).instrument(span).await
}

/// Does `work` as caused by `cause`.
pub async fn within<F: Future>(cause: Cause, work: F) -> F::Output {
    CURRENT.scope(cause, work).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_call_stays_in_its_trace_with_a_span_of_its_own() {
        let cause = Cause {
            request_id: Some("r-1".to_owned()),
            traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
        };
        let child = within(cause.clone(), async { Cause::current().child() }).await;
        let (before, after) = (cause.traceparent.unwrap(), child.traceparent.clone().unwrap());
        assert_eq!((&after[..36], &after[52..]), (&before[..36], &before[52..]));
        assert_ne!(after, before);
        assert_eq!(child.headers().next(), Some((REQUEST_ID_HEADER, "r-1")));
        assert_eq!(Cause::current(), Cause::default());
    }
}
