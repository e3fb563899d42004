//! Keeps foreign web pages out. A browser that holds an operator's certificate shows it to the hub whatever page asks: a
//! request that another site's page has made is marked by `Origin` and `Sec-Fetch-Site`, and refused. (A name that a
//! page's owner points at the hub is no danger: TLS shows the browser that the hub is not called so.)

use axum::{
    body::Body,
    http::{HeaderMap, HeaderName, Request, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::status::Refusal;

/// How a page's site stands to the hub's; every browser that is still maintained says so.
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Answers requests of foreign web pages itself, and passes on all others.
pub(crate) async fn keep_pages_out(request: Request<Body>, next: Next) -> Response {
    match check(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(why) => Refusal::new(StatusCode::FORBIDDEN, "Forbidden", why).into_response(),
    }
}

/// Whether no foreign page has made a request with these headers.
fn check(headers: &HeaderMap) -> Result<(), String> {
    let own = texts(headers, &header::HOST).next().unwrap_or_default();
    for origin in texts(headers, &header::ORIGIN) {
        let is_own =
            origin.strip_prefix("https://").is_some_and(|host| host.eq_ignore_ascii_case(own));
        if !is_own {
            return Err(format!(
                "requests of the web page {origin:?} are refused: it is not the hub's"
            ));
        }
    }
    match texts(headers, &FETCH_SITE).find(|site| !matches!(*site, "same-origin" | "none")) {
        Some(site) => {
            Err(format!("requests of a {site} web page are refused: it is not the hub's"))
        }
        None => Ok(()),
    }
}

fn texts<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    headers.get_all(name).iter().map(|value| value.to_str().unwrap_or("?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(given: &[(HeaderName, &str)]) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in given {
            headers.append(name, value.parse().expect("a header"));
        }
        check(&headers).is_ok()
    }

    fn from(host: &str, origin: &str) -> bool {
        allowed(&[(header::HOST, host), (header::ORIGIN, origin)])
    }

    #[test]
    fn programs_are_let_in_by_whatever_name() {
        assert!(allowed(&[]));
        for host in ["127.0.0.1:6180", "localhost", "[::1]:6180", "hub.example:443"] {
            assert!(allowed(&[(header::HOST, host)]), "{host}");
        }
    }

    #[test]
    fn only_the_hubs_own_pages_are_let_in() {
        assert!(from("127.0.0.1:6180", "https://127.0.0.1:6180"));
        assert!(from("hub.example:6180", "https://HUB.example:6180"));
        for origin in [
            "https://localhost:3000",
            "https://127.0.0.1:3000",
            "https://127.0.0.1",
            "http://127.0.0.1:6180",
            "https://evil.example",
            "https://127.0.0.1.evil.example:6180",
            "null",
            "127.0.0.1:6180",
            "",
        ] {
            assert!(!from("127.0.0.1:6180", origin), "{origin}");
        }
        assert!(!allowed(&[(header::ORIGIN, "https://evil.example")]));
    }

    #[test]
    fn what_a_browser_sends_for_another_page_is_kept_out() {
        for (site, expected) in
            [("none", true), ("same-origin", true), ("same-site", false), ("cross-site", false)]
        {
            assert_eq!(allowed(&[(FETCH_SITE, site)]), expected, "{site}");
        }
    }
}
