//! Which headers pass the gateway, in either direction.

use actix_web::http::header::{HeaderMap, HeaderName};
use bigdata_chassis::http::caller::roles_header;
use bigdata_chassis::http::{ROLES_HEADER, USER_HEADER};
use bigdata_chassis::secret::Token;
use bigdata_common::Principal;
use hyper::header as out;
use uuid::Uuid;

/// The header that names one request through all services.
pub(crate) const REQUEST_ID: &str = "x-request-id";
/// W3C trace context.
const TRACEPARENT: &str = "traceparent";

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
    REQUEST_ID,
    TRACEPARENT,
];
/// Headers that a service or node cannot give a browser: cookies and permissions of the gateway's origin are its own.
const NOT_FROM_UPSTREAM: &[&str] =
    &["content-length", "server", "set-cookie", "clear-site-data", "strict-transport-security", REQUEST_ID];

/// How a request names itself through all services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RequestIds {
    /// `X-Request-Id`.
    pub(crate) request: String,
    /// `traceparent`.
    pub(crate) trace: String,
}

impl RequestIds {
    /// The client's own where they are of their form, else new ones.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let request = text(REQUEST_ID).filter(|id| is_request_id(id)).map(str::to_owned);
        let trace = text(TRACEPARENT).filter(|trace| is_traceparent(trace)).map(str::to_owned);
        Self {
            request: request.unwrap_or_else(|| Uuid::now_v7().to_string()),
            trace: trace.unwrap_or_else(|| {
                let span = Uuid::new_v4().simple().to_string();
                format!("00-{}-{}-01", Uuid::new_v4().simple(), &span[..16])
            }),
        }
    }
}

fn is_request_id(text: &str) -> bool {
    (1..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte))
}

fn is_traceparent(text: &str) -> bool {
    let lengths: Vec<usize> = text.split('-').map(str::len).collect();
    lengths == [2, 32, 16, 2] && text.bytes().all(|byte| byte == b'-' || matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The client's headers that a service or node may see.
pub(crate) fn from_client(headers: &HeaderMap) -> out::HeaderMap {
    let named = named_by_connection(headers.get_all("connection").filter_map(|value| value.to_str().ok()));
    let mut kept = out::HeaderMap::new();
    for (name, value) in headers {
        let text = name.as_str();
        let ours =
            text.starts_with("x-bigdata-") || text.starts_with("x-forwarded-") || NOT_FROM_CLIENTS.contains(&text);
        if ours || HOP_BY_HOP.contains(&text) || named.iter().any(|named| named == text) {
            continue;
        }
        append(&mut kept, text, value.as_bytes());
    }
    kept
}

/// Adds what the gateway itself says to a service: who asks, and the proof that it may say so.
pub(crate) fn sign(headers: &mut out::HeaderMap, token: &Token, principal: &Principal) {
    append(headers, "authorization", format!("Bearer {}", token.expose()).as_bytes());
    append(headers, USER_HEADER, principal.user.as_str().as_bytes());
    append(headers, ROLES_HEADER, roles_header(principal).as_bytes());
}

/// Adds the request's names.
pub(crate) fn name(headers: &mut out::HeaderMap, ids: &RequestIds) {
    append(headers, REQUEST_ID, ids.request.as_bytes());
    append(headers, TRACEPARENT, ids.trace.as_bytes());
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
        let ids = RequestIds::of(&headers(&[("x-request-id", "abc-1"), ("traceparent", trace)]));
        assert_eq!(ids, RequestIds { request: "abc-1".to_owned(), trace: trace.to_owned() });
        let ids = RequestIds::of(&headers(&[("x-request-id", "a b\"<"), ("traceparent", "00-xyz")]));
        assert!(is_request_id(&ids.request) && is_traceparent(&ids.trace), "{ids:?}");
        assert_ne!(ids.request, RequestIds::of(&headers(&[])).request);
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
