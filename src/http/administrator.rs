//! Who may administer: whoever has the token, and on one's own desk whoever sits at it.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use arc_swap::ArcSwap;
use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderName, header, request::Parts, uri::Authority},
};
use subtle::ConstantTimeEq;

use super::problem::Problem;
use super::{State, bearer, origin};
use crate::logging::Redacted;
use crate::source::Source;

/// The lock before the administration's routes.
#[derive(Debug)]
pub struct AdminDoor {
    token: ArcSwap<Redacted<String>>,
    open_to_loopback: bool,
    failed: AtomicU64,
}

/// The proof that a request may administer: routes that need it take it as an argument.
#[derive(Clone, Copy, Debug)]
pub struct Admin(());

/// The proof that a request may see numbers: this machine may, whatever the profile.
#[derive(Clone, Copy, Debug)]
pub(super) struct Watcher(());

impl AdminDoor {
    /// Opens with `token`; to requests from this machine also without, if `open_to_loopback`.
    #[must_use]
    pub fn new(token: Redacted<String>, open_to_loopback: bool) -> Self {
        Self {
            token: ArcSwap::from_pointee(token),
            open_to_loopback,
            failed: AtomicU64::new(0),
        }
    }

    /// How many wrong tokens were tried.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// From now on it opens with this token alone.
    pub fn set_token(&self, token: Redacted<String>) {
        self.token.store(Arc::new(token));
    }

    /// Whether this is the token; the time it takes tells nothing but the length.
    pub(super) fn opens_with(&self, token: &str) -> bool {
        let token_of_ours = self.token.load();
        let own = token_of_ours.expose();
        !own.is_empty() && bool::from(own.as_bytes().ct_eq(token.as_bytes()))
    }

    fn admit(&self, source: Source, headers: &HeaderMap) -> Result<Admin, Problem> {
        self.admit_from(source, headers, self.open_to_loopback)
            .map(Admin)
    }

    fn admit_from(
        &self,
        source: Source,
        headers: &HeaderMap,
        open_to_loopback: bool,
    ) -> Result<(), Problem> {
        if !headers.contains_key(header::AUTHORIZATION) {
            return match open_to_loopback && is_from_this_desk(source, headers) {
                true => Ok(()),
                false => Err(Problem::unauthorized(
                    "TOKEN_REQUIRED",
                    "http.admin_token is required: Authorization: Bearer TOKEN",
                )),
            };
        }
        match bearer::token(headers).is_some_and(|token| self.opens_with(token)) {
            true => Ok(()),
            false => {
                self.failed.fetch_add(1, Ordering::Relaxed);
                Err(Problem::unauthorized(
                    "TOKEN_INVALID",
                    "this is not http.admin_token; unless it is configured, the start summary shows it",
                ))
            }
        }
    }
}

impl FromRequestParts<State> for Admin {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self, Problem> {
        state
            .admin
            .admit(bearer::source(&parts.extensions), &parts.headers)
    }
}

/// The same of a request whose answer goes on: whoever holds it can ask again.
pub(super) struct Pass {
    door: Arc<AdminDoor>,
    source: Source,
    headers: HeaderMap,
}

impl Pass {
    /// Whether the door would open now: the token can change.
    pub(super) fn holds(&self) -> bool {
        self.door.admit(self.source, &self.headers).is_ok()
    }
}

impl FromRequestParts<State> for Pass {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self, Problem> {
        let source = bearer::source(&parts.extensions);
        state.admin.admit(source, &parts.headers)?;
        Ok(Self {
            door: Arc::clone(&state.admin),
            source,
            headers: parts.headers.clone(),
        })
    }
}

impl FromRequestParts<State> for Watcher {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self, Problem> {
        let source = bearer::source(&parts.extensions);
        let admitted = state.admin.admit_from(source, &parts.headers, true);
        admitted.map(Self)
    }
}

/// Sent by a program of this machine, or by a browser for a page that this server served to this machine. Not by:
/// - a proxy for somebody elsewhere, which says so in one header or another;
/// - a page of another site, which the browser names in `Origin` or classes in `Sec-Fetch-Site`;
/// - a page of another site whose name was made to lead here (DNS rebinding), since that name is the `Host`.
fn is_from_this_desk(source: Source, headers: &HeaderMap) -> bool {
    let proxied = PROXY_HEADERS.iter().any(|name| headers.contains_key(name));
    let foreign_origin = headers
        .get(header::ORIGIN)
        .is_some_and(|origin| !origin::is_own_page(origin, headers));
    let foreign_site = headers
        .get(SEC_FETCH_SITE)
        .is_some_and(|site| site != "same-origin" && site != "none");
    source.is_loopback() && is_to_loopback(headers) && !proxied && !foreign_origin && !foreign_site
}

/// Whether the request was sent to `localhost` by name or number.
fn is_to_loopback(headers: &HeaderMap) -> bool {
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let Some(authority) = host.and_then(|host| host.parse::<Authority>().ok()) else {
        return false;
    };
    let name = authority.host().trim_matches(['[', ']']);
    let is_number = name.parse().is_ok_and(|ip| Source(ip).is_loopback());
    is_number || name.eq_ignore_ascii_case("localhost")
}

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const PROXY_HEADERS: [HeaderName; 6] = [
    header::FORWARDED,
    header::VIA,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-real-ip"),
];

#[cfg(test)]
mod tests {
    use super::*;

    const LOCAL: &str = "127.0.0.1";
    const HOST: (&str, &str) = ("host", "localhost:3001");
    const OWN_PAGE: (&str, &str) = ("origin", "http://localhost:3001");
    const REBOUND: (&str, &str) = ("host", "evil.example:3001");

    #[test]
    fn the_token_opens_from_everywhere() {
        let cases = [
            ("the token", "Bearer north", true),
            ("in small letters", "bearer north", true),
            ("no token", "Bearer ", false),
            ("another", "Bearer south", false),
            ("its beginning", "Bearer nort", false),
            ("more than it", "Bearer northh", false),
            ("another scheme", "Basic north", false),
            ("no scheme", "north", false),
        ];
        for (name, authorization, expected) in cases {
            for (open_to_loopback, source) in [(false, "192.0.2.1"), (true, LOCAL)] {
                let headers = [HOST, ("authorization", authorization)];
                let opened = opens(open_to_loopback, source, &headers);
                assert_eq!(opened, expected, "{name} from {source}");
            }
        }
    }

    /// (what it is, from where, its headers, whether it is let in)
    type Case = (
        &'static str,
        &'static str,
        &'static [(&'static str, &'static str)],
        bool,
    );

    const DESK: &[Case] = &[
        ("a program", LOCAL, &[HOST], true),
        ("over IPv6", "::1", &[("host", "[::1]:3001")], true),
        ("by number", LOCAL, &[("host", "127.0.0.1:3001")], true),
        ("from elsewhere", "192.0.2.1", &[HOST], false),
        (
            "typed by hand",
            LOCAL,
            &[HOST, ("sec-fetch-site", "none")],
            true,
        ),
        (
            "the own page",
            LOCAL,
            &[HOST, OWN_PAGE, ("sec-fetch-site", "same-origin")],
            true,
        ),
        ("an older browser", LOCAL, &[HOST, OWN_PAGE], true),
        (
            "a foreign page",
            LOCAL,
            &[HOST, ("origin", "https://evil.example")],
            false,
        ),
        (
            "another port's",
            LOCAL,
            &[HOST, ("origin", "http://localhost:3000")],
            false,
        ),
        (
            "a sandboxed frame",
            LOCAL,
            &[HOST, ("origin", "null")],
            false,
        ),
        (
            "a foreign image",
            LOCAL,
            &[HOST, ("sec-fetch-site", "cross-site")],
            false,
        ),
        (
            "another port's image",
            LOCAL,
            &[HOST, ("sec-fetch-site", "same-site")],
            false,
        ),
        ("a rebound name", LOCAL, &[REBOUND], false),
        (
            "its page",
            LOCAL,
            &[REBOUND, ("origin", "http://evil.example:3001")],
            false,
        ),
        (
            "a name that begins well",
            LOCAL,
            &[("host", "localhost.evil.example")],
            false,
        ),
        ("no host", LOCAL, &[], false),
        (
            "a proxy",
            LOCAL,
            &[HOST, ("x-forwarded-for", "127.0.0.1")],
            false,
        ),
        (
            "another proxy",
            LOCAL,
            &[HOST, ("x-real-ip", "192.0.2.1")],
            false,
        ),
        (
            "a third one",
            LOCAL,
            &[HOST, ("forwarded", "for=192.0.2.1")],
            false,
        ),
    ];

    #[test]
    fn without_a_token_it_opens_only_to_ones_own_desk() {
        for (name, source, headers, expected) in DESK {
            assert_eq!(opens(true, source, headers), *expected, "{name}");
            assert!(!opens(false, source, headers), "{name}, in production");
        }
    }

    #[test]
    fn an_empty_token_opens_nothing() {
        let door = AdminDoor::new(Redacted::new(String::new()), false);
        assert!(!door.opens_with(""));
    }

    fn opens(open_to_loopback: bool, source: &str, headers: &[(&str, &str)]) -> bool {
        let door = AdminDoor::new(Redacted::new("north".to_owned()), open_to_loopback);
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name: HeaderName = name.parse().unwrap();
            map.insert(name, value.parse().unwrap());
        }
        let source = Source(source.parse().unwrap());
        door.admit(source, &map).is_ok()
    }
}
