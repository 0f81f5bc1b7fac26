//! The running server, as this machine asks it over HTTP or HTTPS.

use std::{io, net::SocketAddr};

use serde_json::Value;

use super::report::Finding;
use super::web::{self, Answer, Scheme};
use crate::config::Config;
use crate::relay::from_here;

/// Where it is asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Site {
    pub(super) addr: SocketAddr,
    scheme: Scheme,
}

impl Site {
    /// The first address of `http.listen`.
    pub(super) fn of(config: &Config) -> Option<Self> {
        let addr = config.http.listen.first()?.addr;
        Some(Self {
            addr: SocketAddr::new(from_here(addr.ip()), addr.port()),
            scheme: match config.http_identity {
                Some(_) => Scheme::Https,
                None => Scheme::Http,
            },
        })
    }

    /// `GET path`, perhaps with a token.
    pub(super) async fn get(self, path: &str, bearer: Option<&str>) -> io::Result<Answer> {
        let host = self.addr.to_string();
        web::get(self.scheme, self.addr, &host, path, bearer).await
    }

    /// Whether it takes new work.
    pub(super) async fn ready(self) -> Finding {
        let Self { addr, scheme } = self;
        let name = scheme.name();
        match self.get("/ready", None).await {
            Ok(answer) if answer.status == 200 => {
                Finding::ok(CHECK, format!("{name}://{addr} is ready"))
            }
            Ok(answer) => Finding::warning(
                CHECK,
                format!(
                    "{name}://{addr}/ready answers {}: the server starts, or is about to end",
                    answer.status
                ),
                "try again in a moment, and see its log",
            ),
            Err(error) => Finding::failure(
                CHECK,
                format!("the running server does not answer at {name}://{addr}: {error}"),
                "let the port in on loopback too, or restart the server: it may have been started with another http.listen or http.tls_cert_file",
            ),
        }
    }

    /// What a running server of our kind says of itself.
    pub(super) async fn health(self) -> Option<Value> {
        let answer = self.get("/health", None).await.ok()?;
        let health: Value = serde_json::from_str(&answer.body).ok()?;
        health["activeSessions"].is_u64().then_some(health)
    }
}

const CHECK: &str = "http";
