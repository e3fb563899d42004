//! Keeps web pages out. The API asks for no credentials yet, and a browser on this machine would let any page that it
//! shows send requests here: straight, which browsers mark with an `Origin`, or under a name that the page's owner
//! points at this machine, which shows in `Host`.

use std::net::IpAddr;

use axum::{
    body::Body,
    http::{HeaderMap, Request, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::status::Refusal;

/// Answers requests of foreign web pages itself, and passes on all others.
pub(crate) async fn keep_pages_out(request: Request<Body>, next: Next) -> Response {
    match check(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(why) => Refusal::new(StatusCode::FORBIDDEN, "Forbidden", why).into_response(),
    }
}

fn check(headers: &HeaderMap) -> Result<(), String> {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    if let Some(host) = text(header::HOST)
        && !is_plain_address(host)
    {
        return Err(format!(
            "the hub is not called {host:?}: until clients have identities it answers to IP addresses and localhost only"
        ));
    }
    match text(header::ORIGIN) {
        Some(origin)
            if !origin.split_once("://").is_some_and(|(_, host)| is_this_machine(host)) =>
        {
            Err(format!(
                "requests of the web page {origin:?} are refused: clients have no identities yet"
            ))
        }
        _ => Ok(()),
    }
}

/// An address that nobody else can make mean something else, unlike a name.
fn is_plain_address(host: &str) -> bool {
    let name = without_port(host);
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

fn is_this_machine(host: &str) -> bool {
    let name = without_port(host);
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

fn without_port(host: &str) -> &str {
    if let Some(rest) = host.strip_prefix('[') {
        return rest.split(']').next().unwrap_or_default();
    }
    host.split(':').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(host: &str, origin: &str) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in [(header::HOST, host), (header::ORIGIN, origin)] {
            if !value.is_empty() {
                headers.insert(name, value.parse().expect("a header"));
            }
        }
        check(&headers).is_ok()
    }

    #[test]
    fn programs_are_let_in() {
        for host in
            ["", "127.0.0.1:6180", "localhost:6180", "LOCALHOST", "[::1]:6180", "10.0.2.100:6180"]
        {
            assert!(allowed(host, ""), "{host}");
        }
        assert!(allowed("127.0.0.1:6180", "http://127.0.0.1:6180"));
        assert!(allowed("localhost:6180", "http://localhost:3000"));
    }

    #[test]
    fn foreign_pages_are_kept_out() {
        for host in ["evil.example:6180", "127.0.0.1.evil.example", "hub"] {
            assert!(!allowed(host, ""), "{host}");
        }
        for origin in [
            "http://evil.example",
            "https://10.0.0.1",
            "null",
            "http://127.0.0.1.evil.example",
            "localhost",
        ] {
            assert!(!allowed("127.0.0.1:6180", origin), "{origin}");
        }
    }
}
