//! Keeps web pages of elsewhere out: a browser on this machine reaches loopback, whatever page it shows.
//!
//! A page of another site can send requests here, and by a name of its own that resolves to 127.0.0.1 (DNS rebinding)
//! even read the answers. The `Host` header gives the second away, `Origin` and `Sec-Fetch-Site` the first.

use actix_web::http::header::{HOST, HeaderMap, ORIGIN};
use actix_web::http::uri::Authority;
use actix_web::http::{Method, Uri};
use std::net::IpAddr;

/// Decides whether a request may come in.
///
/// # Errors
/// Why not, in words for the caller.
pub(crate) fn check(method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<(), String> {
    let hosts: Vec<&str> = headers.get_all(HOST).map(|value| value.to_str().unwrap_or("?")).collect();
    let [host] = hosts.as_slice() else {
        return Err("the request needs exactly one Host header".to_owned());
    };
    // A request line may carry a whole URL, and then that is the host that counts (RFC 9112 §3.2.2).
    let named = uri.authority().map(Authority::as_str);
    for host in [*host].into_iter().chain(named) {
        if !is_loopback(host) {
            return Err(format!(
                "the request is for the host {host:?}, and this gateway answers as localhost or 127.0.0.1 only"
            ));
        }
    }
    for origin in headers.get_all(ORIGIN) {
        let origin = origin.to_str().unwrap_or("?");
        if !origin.strip_prefix("http://").is_some_and(|authority| authority.eq_ignore_ascii_case(host)) {
            return Err(format!(
                "the request comes from a page of {origin:?}, and only pages of http://{host} may ask"
            ));
        }
    }
    let site = headers.get("sec-fetch-site").and_then(|value| value.to_str().ok());
    if is_changing(method) && matches!(site, Some("cross-site" | "same-site")) {
        return Err("the request comes from a page of another site, which may not change anything here".to_owned());
    }
    Ok(())
}

/// Whether a method may change something.
fn is_changing(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// Whether `authority` (a host, with or without a port) means this machine alone.
fn is_loopback(authority: &str) -> bool {
    let Some(host) = host_of(authority) else { return false };
    let host = host.to_ascii_lowercase();
    if host == "localhost" || host.ends_with(".localhost") {
        return true;
    }
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(&host);
    address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The host without its port; None where the port is none.
fn host_of(authority: &str) -> Option<&str> {
    let port_at = match authority.rfind(']') {
        Some(end) => authority[end..].find(':').map(|colon| end + colon),
        None => authority.find(':'),
    };
    match port_at {
        None => Some(authority),
        Some(colon) => authority[colon + 1..].parse::<u16>().ok().map(|_| &authority[..colon]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::{HeaderName, HeaderValue};

    fn verdict(method: Method, fields: &[(&str, &str)]) -> Result<(), String> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap());
        }
        check(&method, &Uri::from_static("/x"), &headers)
    }

    #[test]
    fn only_names_of_loopback_are_answered() {
        for host in
            ["localhost", "localhost:5000", "LOCALHOST", "a.localhost:1", "127.0.0.1", "127.9.9.9:80", "[::1]:5000"]
        {
            assert_eq!(verdict(Method::GET, &[("host", host)]), Ok(()), "{host}");
        }
        for host in
            ["", "evil.example", "127.0.0.1.evil.example", "192.168.0.1:5000", "localhost:x", "[::2]", "localhost:1:2"]
        {
            assert!(verdict(Method::GET, &[("host", host)]).is_err(), "{host}");
        }
        assert!(verdict(Method::GET, &[]).is_err());
        assert!(verdict(Method::GET, &[("host", "localhost"), ("host", "localhost")]).is_err());
    }

    #[test]
    fn a_host_in_the_request_line_counts_too() {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static("localhost"));
        assert!(check(&Method::GET, &Uri::from_static("http://evil.example/"), &headers).is_err());
        assert!(check(&Method::GET, &Uri::from_static("http://localhost/"), &headers).is_ok());
    }

    #[test]
    fn only_pages_of_our_own_may_ask() {
        let host = ("host", "localhost:5000");
        assert!(verdict(Method::POST, &[host, ("origin", "http://localhost:5000")]).is_ok());
        for origin in
            ["null", "http://localhost:3000", "https://localhost:5000", "http://evil.example", "http://127.0.0.1:5000"]
        {
            assert!(verdict(Method::GET, &[host, ("origin", origin)]).is_err(), "{origin}");
        }
    }

    #[test]
    fn pages_of_other_sites_change_nothing() {
        let host = ("host", "localhost:5000");
        assert!(verdict(Method::DELETE, &[host, ("sec-fetch-site", "cross-site")]).is_err());
        assert!(verdict(Method::POST, &[host, ("sec-fetch-site", "same-site")]).is_err());
        assert!(verdict(Method::POST, &[host, ("sec-fetch-site", "same-origin")]).is_ok());
        assert!(verdict(Method::GET, &[host, ("sec-fetch-site", "cross-site")]).is_ok());
    }
}
