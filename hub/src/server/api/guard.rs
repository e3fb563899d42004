//! Keeps web pages out. The API asks for no credentials yet, and a browser on this machine would let any page that it
//! shows send requests here: straight, which browsers mark with an `Origin` or by `Sec-Fetch-Site`, or under a name that
//! the page's owner points at this machine (DNS rebinding), which shows in `Host`.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderName, Request, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::{Api, status::Refusal};

/// How a page's site stands to the hub's; every browser that is still maintained says so.
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The hub's own authority: the only origin whose pages may ask.
#[derive(Clone, Debug)]
pub(crate) struct Authority(Arc<[String]>);

impl Authority {
    /// That of a hub that listens on an address of this machine.
    pub(crate) fn of(address: SocketAddr) -> Self {
        let by_name = format!("localhost:{}", address.port());
        Self(Arc::new([format!("http://{address}"), format!("http://{by_name}")]))
    }

    fn allows(&self, headers: &HeaderMap) -> Result<(), String> {
        for host in texts(headers, &header::HOST) {
            if !is_plain_address(host) {
                return Err(format!(
                    "the hub is not called {host:?}: until clients have identities it answers to IP addresses and \
                     localhost only"
                ));
            }
        }
        for origin in texts(headers, &header::ORIGIN) {
            if !self.0.iter().any(|own| own.eq_ignore_ascii_case(origin)) {
                return Err(format!(
                    "requests of the web page {origin:?} are refused: clients have no identities yet"
                ));
            }
        }
        match texts(headers, &FETCH_SITE).find(|site| !matches!(*site, "same-origin" | "none")) {
            Some(site) => Err(format!(
                "requests of a {site} web page are refused: clients have no identities yet"
            )),
            None => Ok(()),
        }
    }
}

/// Answers requests of foreign web pages itself, and passes on all others.
pub(crate) async fn keep_pages_out(
    State(api): State<Api>,
    request: Request<Body>,
    next: Next,
) -> Response {
    match api.authority.allows(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(why) => Refusal::new(StatusCode::FORBIDDEN, "Forbidden", why).into_response(),
    }
}

fn texts<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    headers.get_all(name).iter().map(|value| value.to_str().unwrap_or("?"))
}

/// An address that nobody else can make mean something else, unlike a name. Which one does not matter: a container or a
/// forwarded port may reach the hub by another than it listens on.
fn is_plain_address(host: &str) -> bool {
    let name = without_port(host);
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
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

    fn allowed(given: &[(HeaderName, &str)]) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in given {
            headers.append(name, value.parse().expect("a header"));
        }
        Authority::of("127.0.0.1:6180".parse().expect("address")).allows(&headers).is_ok()
    }

    fn from(host: &str, origin: &str) -> bool {
        allowed(&[(header::HOST, host), (header::ORIGIN, origin)])
    }

    #[test]
    fn programs_are_let_in() {
        assert!(allowed(&[]));
        for host in ["127.0.0.1:6180", "localhost:6180", "LOCALHOST", "[::1]:6180", "10.0.2.100:80"]
        {
            assert!(allowed(&[(header::HOST, host)]), "{host}");
        }
    }

    #[test]
    fn only_the_hubs_own_pages_are_let_in() {
        assert!(from("127.0.0.1:6180", "http://127.0.0.1:6180"));
        assert!(from("localhost:6180", "http://localhost:6180"));
        for origin in [
            "http://localhost:3000",
            "http://127.0.0.1:3000",
            "http://127.0.0.1",
            "https://127.0.0.1:6180",
            "http://[::1]:6180",
            "http://127.0.0.2:6180",
            "http://evil.example",
            "http://127.0.0.1.evil.example:6180",
            "null",
            "localhost:6180",
            "",
        ] {
            assert!(!from("127.0.0.1:6180", origin), "{origin}");
        }
    }

    #[test]
    fn what_a_browser_sends_for_another_page_is_kept_out() {
        for (site, expected) in
            [("none", true), ("same-origin", true), ("same-site", false), ("cross-site", false)]
        {
            assert_eq!(allowed(&[(FETCH_SITE, site)]), expected, "{site}");
        }
    }

    #[test]
    fn the_hub_answers_to_no_name_that_somebody_else_rules() {
        for host in
            ["evil.example:6180", "127.0.0.1.evil.example", "hub", "", "localhost.evil.example"]
        {
            assert!(!allowed(&[(header::HOST, host)]), "{host}");
        }
        assert!(!allowed(&[(header::HOST, "127.0.0.1"), (header::HOST, "evil.example")]));
    }
}
