//! Which headers pass the gateway, in either direction.

use actix_web::http::header::{HeaderMap, HeaderName};
use bigdata_chassis::http::caller::roles_header;
use bigdata_chassis::http::{ROLES_HEADER, USER_HEADER};
use bigdata_chassis::secret::Token;
use bigdata_chassis::trace::{
    Cause, REQUEST_ID_HEADER as REQUEST_ID, TRACEPARENT_HEADER as TRACEPARENT, is_request_id, is_traceparent,
};
use bigdata_common::Principal;
use bigdata_common::internal::RUN_ATTEMPT_HEADER;
use hyper::header as out;
use uuid::Uuid;

/// What a tracing system adds to `traceparent`, and worth nothing without it.
const TRACESTATE: &str = "tracestate";

/// Headers of one connection, not of the message (RFC 9110 §7.6.1).
const HOP_BY_HOP: &[&str] = &[
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
/// Headers that a client cannot give a service: the gateway says who asks, and by which way.
const NOT_FROM_CLIENTS: &[&str] = &[
    "authorization",
    "cookie",
    "content-length",
    "expect",
    "forwarded",
    "host",
    "x-auth-token",
    RUN_ATTEMPT_HEADER,
    REQUEST_ID,
    TRACEPARENT,
];
/// Headers that a service or node cannot give a browser: cookies and permissions of the gateway's origin are its own.
const NOT_FROM_UPSTREAM: &[&str] =
    &["content-length", "server", "set-cookie", "clear-site-data", "strict-transport-security", REQUEST_ID];

/// How a request is named through all services: the client's own names where they are of their form, else new ones.
pub(crate) fn cause(headers: &HeaderMap) -> Cause {
    let request_id = text(headers, REQUEST_ID).filter(|id| is_request_id(id)).map(str::to_owned);
    let traceparent = own_trace(headers).map(str::to_owned);
    Cause {
        request_id: Some(request_id.unwrap_or_else(|| Uuid::now_v7().to_string())),
        traceparent: Some(traceparent.unwrap_or_else(new_trace)),
    }
}

/// The client's `traceparent`, where it can be gone on with.
fn own_trace(headers: &HeaderMap) -> Option<&str> {
    text(headers, TRACEPARENT).filter(|trace| is_traceparent(trace))
}

fn new_trace() -> String {
    let span = Uuid::new_v4().simple().to_string();
    format!("00-{}-{}-01", Uuid::new_v4().simple(), &span[..16])
}

/// The value of a header that came once.
fn text<'headers>(headers: &'headers HeaderMap, name: &str) -> Option<&'headers str> {
    let mut values = headers.get_all(name);
    let value = values.next().filter(|_| values.next().is_none())?;
    value.to_str().ok()
}

/// The client's headers that a service or node may see.
pub(crate) fn from_client(headers: &HeaderMap) -> out::HeaderMap {
    let named = named_by_connection(headers.get_all("connection").filter_map(|value| value.to_str().ok()));
    let has_trace = own_trace(headers).is_some();
    // Room for what the gateway adds, too.
    let mut kept = out::HeaderMap::with_capacity(headers.len() + 6);
    for (name, value) in headers {
        let text = name.as_str();
        let ours = text.starts_with("x-bigdata-")
            || text.starts_with("x-forwarded-")
            || NOT_FROM_CLIENTS.contains(&text)
            || (text == TRACESTATE && !has_trace);
        if ours || HOP_BY_HOP.contains(&text) || named.iter().any(|named| named == text) {
            continue;
        }
        append(&mut kept, text, value.as_bytes());
    }
    kept
}

/// The proof that the gateway may say who asks.
#[derive(Debug)]
pub(crate) struct Signature(out::HeaderValue);

impl Signature {
    /// Shows the deployment's internal token.
    ///
    /// # Errors
    /// When the token cannot stand in a header.
    pub(crate) fn new(token: &Token) -> Result<Self, out::InvalidHeaderValue> {
        let mut value = out::HeaderValue::from_str(&format!("Bearer {}", token.expose()))?;
        value.set_sensitive(true);
        Ok(Self(value))
    }

    /// Adds what the gateway itself says to a service: who asks, and the proof that it may say so.
    pub(crate) fn sign(&self, headers: &mut out::HeaderMap, principal: &Principal) {
        headers.insert(out::AUTHORIZATION, self.0.clone());
        append(headers, USER_HEADER, principal.user.as_str().as_bytes());
        append(headers, ROLES_HEADER, roles_header(principal).as_bytes());
    }
}

/// Passes a header of the request on that [`from_client`] leaves out.
pub(crate) fn pass(headers: &mut out::HeaderMap, request: &HeaderMap, name: &str) {
    if let Some(value) = request.get(name) {
        append(headers, name, value.as_bytes());
    }
}

/// Adds the request's names.
pub(crate) fn name(headers: &mut out::HeaderMap, cause: &Cause) {
    for (name, value) in cause.child().headers() {
        append(headers, name, value.as_bytes());
    }
}

fn append(headers: &mut out::HeaderMap, name: &str, value: &[u8]) {
    if let (Ok(name), Ok(value)) = (out::HeaderName::from_bytes(name.as_bytes()), out::HeaderValue::from_bytes(value)) {
        headers.append(name, value);
    }
}

/// The headers of an answer that the client may see.
pub(crate) fn from_upstream(headers: &out::HeaderMap) -> Vec<(HeaderName, actix_web::http::header::HeaderValue)> {
    let named = named_by_connection(headers.get_all("connection").iter().filter_map(|value| value.to_str().ok()));
    let mut kept = Vec::with_capacity(headers.len());
    for (name, value) in headers {
        let text = name.as_str();
        let ours = text.starts_with("access-control-") || NOT_FROM_UPSTREAM.contains(&text);
        if ours || HOP_BY_HOP.contains(&text) || named.iter().any(|named| named == text) {
            continue;
        }
        let value = actix_web::http::header::HeaderValue::from_bytes(value.as_bytes());
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(text.as_bytes()), value) {
            kept.push((name, value));
        }
    }
    kept
}

fn named_by_connection<'value>(values: impl Iterator<Item = &'value str>) -> Vec<String> {
    values.flat_map(|value| value.split(',')).map(|name| name.trim().to_ascii_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::HeaderValue;

    fn headers(fields: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn what_a_client_says_of_itself_is_dropped() {
        let kept = from_client(&headers(&[
            ("x-bigdata-user", "root"),
            ("X-Bigdata-Roles", "admin"),
            ("authorization", "Bearer stolen"),
            ("cookie", "a=b"),
            ("connection", "close, X-Hop"),
            ("x-hop", "1"),
            ("bigdata-run-attempt", "9"),
            ("transfer-encoding", "chunked"),
            ("accept", "text/plain"),
            ("idempotency-key", "k"),
            ("last-event-id", "7"),
        ]));
        let mut names: Vec<&str> = kept.keys().map(out::HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["accept", "idempotency-key", "last-event-id"]);
    }

    #[test]
    fn ids_are_passed_on_where_they_are_of_their_form() {
        let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let told = cause(&headers(&[("x-request-id", "abc-1"), ("traceparent", trace)]));
        assert_eq!(told, Cause { request_id: Some("abc-1".to_owned()), traceparent: Some(trace.to_owned()) });
        let new = cause(&headers(&[("x-request-id", "a b\"<"), ("traceparent", "00-xyz")]));
        assert!(new.request_id.as_deref().is_some_and(is_request_id), "{new:?}");
        assert!(new.traceparent.as_deref().is_some_and(is_traceparent), "{new:?}");
        assert_ne!(new.request_id, cause(&headers(&[])).request_id);
    }

    #[test]
    fn a_trace_that_names_nothing_is_begun_anew() {
        let (trace, span) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
        let none = "0".repeat(32);
        for wrong in [
            format!("ff-{trace}-{span}-01"),
            format!("01-{trace}-{span}-01-more"),
            format!("00-{trace}-{span}-01-more"),
            format!("00-{none}-{span}-01"),
            format!("00-{trace}-{}-01", &none[..16]),
            format!("00-{}-{span}-01", trace.to_uppercase()),
        ] {
            let made = cause(&headers(&[("traceparent", &wrong)])).traceparent;
            assert!(made.as_deref().is_some_and(is_traceparent) && made != Some(wrong), "{made:?}");
        }
        let twice =
            [("traceparent", format!("00-{trace}-{span}-01")), ("traceparent", format!("00-{trace}-{span}-01"))];
        let twice = headers(&twice.each_ref().map(|(name, value)| (*name, value.as_str())));
        assert!(!cause(&twice).traceparent.unwrap().contains(trace));
        // Its state goes with it.
        let state = ("tracestate", "a=1");
        let good = format!("00-{trace}-{span}-01");
        assert!(from_client(&headers(&[("traceparent", &good), state])).contains_key("tracestate"));
        assert!(!from_client(&headers(&[("traceparent", "00-xyz"), state])).contains_key("tracestate"));
    }

    #[test]
    fn cookies_and_permissions_of_an_upstream_are_dropped() {
        let mut upstream = out::HeaderMap::new();
        for (name, value) in [
            ("set-cookie", "a=b"),
            ("access-control-allow-origin", "*"),
            ("location", "/x"),
            ("retry-after", "1"),
            ("connection", "close"),
        ] {
            append(&mut upstream, name, value.as_bytes());
        }
        let mut names: Vec<String> = from_upstream(&upstream).iter().map(|(name, _)| name.to_string()).collect();
        names.sort_unstable();
        assert_eq!(names, ["location", "retry-after"]);
    }
}
