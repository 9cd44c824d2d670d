//! Which request caused the work at hand: carried through a service's tasks, on its calls to others and on its events.

use std::future::Future;
use uuid::Uuid;

/// The header that names one request through all services.
pub const REQUEST_ID_HEADER: &str = "x-request-id";
/// W3C Trace Context (<https://www.w3.org/TR/trace-context/#traceparent-header>).
pub const TRACEPARENT_HEADER: &str = "traceparent";

tokio::task_local! {
    static CURRENT: Cause;
}

/// What caused the work: a request, or an event that a request caused.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cause {
    /// The request's id; None for work that an event or a timer began.
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

    /// The headers that tell another service of it.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let pairs = [(REQUEST_ID_HEADER, &self.request_id), (TRACEPARENT_HEADER, &self.traceparent)];
        pairs.into_iter().filter_map(|(name, value)| value.as_deref().map(|value| (name, value)))
    }
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
