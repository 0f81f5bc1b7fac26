//! What can be tried out: the running server, or a relay that is started for the moment on the same addresses.

use std::{net::SocketAddr, sync::Arc};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use super::http::Site;
use super::listeners::Doors;
use super::turn::Login;
use crate::access::Access;
use crate::clock::Now;
use crate::config::Config;
use crate::credentials::{Credential, Credentials};
use crate::ident::ParticipantId;
use crate::logging::Redacted;
use crate::relay::engine::five_tuple::Transport;
use crate::relay::{Bound, ExternalAddr, Relay, StartError, from_here};

/// A relay that serves.
pub(super) struct Stage {
    pub(super) is_running: bool,
    bound: Bound,
    /// Each with where it comes from, the most telling first.
    pub(super) logins: Vec<(Source, Login)>,
    /// Ours, started for the moment.
    relay: Option<Relay>,
}

/// Where a credential comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// Signed with `credentials.secret`.
    Secret,
    /// One of `turn.users`.
    User,
    /// The running server has handed it out.
    Server,
}

impl Stage {
    /// The running server where there is one, else a relay on what is free.
    ///
    /// # Errors
    /// When no relay can be started.
    pub(super) async fn set(config: &Config, doors: &Doors) -> Result<Self, StartError> {
        let is_running = doors.is_running();
        let usable = |door: &super::listeners::Door| door.usable(is_running).collect::<Vec<_>>();
        let mut settings = config.relay.clone();
        settings.listen_udp = usable(&doors.udp);
        settings.listen_tcp = usable(&doors.tcp);
        settings.listen_tls = usable(&doors.tls);
        settings.listen_dtls = usable(&doors.dtls);
        if is_running {
            let addrs = |listens: &[crate::relay::Listen]| {
                listens.iter().map(|listen| listen.addr).collect()
            };
            let bound = Bound {
                udp: addrs(&settings.listen_udp),
                tcp: addrs(&settings.listen_tcp),
                tls: addrs(&settings.listen_tls),
                dtls: addrs(&settings.listen_dtls),
            };
            return Ok(Self {
                is_running,
                bound,
                logins: logins_of_running(config).await,
                relay: None,
            });
        }
        // The alternate port is among the addresses already.
        settings.alternate_port = None;
        settings.workers = 1;
        let credentials = Arc::new(Credentials::new(config.credentials.clone()));
        let logins = signed(&credentials).map(|login| (Source::Secret, login));
        let relay = Relay::start(settings, credentials)?;
        Ok(Self {
            is_running,
            bound: relay.bound().clone(),
            logins: logins.into_iter().collect(),
            relay: Some(relay),
        })
    }

    /// Where clients from elsewhere would go, if anything listens for them.
    pub(super) fn outside(&self, over: Transport, external: &ExternalAddr) -> Option<SocketAddr> {
        let leads_here = |addr: &&SocketAddr| {
            let ip = addr.ip();
            let same_family = ip.is_ipv4() == external.public.is_ipv4();
            // Behind NAT without a mapping, it may be any of this machine's addresses.
            let any_inside = external.local.is_unspecified() && !ip.is_loopback();
            same_family
                && (ip.is_unspecified()
                    || ip == external.public
                    || ip == external.local
                    || any_inside)
        };
        let addr = self.listeners(over).iter().find(leads_here)?;
        Some(SocketAddr::new(external.public, addr.port()))
    }

    /// Where a client on this machine would go.
    pub(super) fn inside(&self, over: Transport) -> Option<SocketAddr> {
        let addr = self.listeners(over).first()?;
        Some(SocketAddr::new(from_here(addr.ip()), addr.port()))
    }

    pub(super) fn listeners(&self, over: Transport) -> &[SocketAddr] {
        match over {
            Transport::Udp => &self.bound.udp,
            Transport::Tcp => &self.bound.tcp,
            Transport::Tls => &self.bound.tls,
            Transport::Dtls => &self.bound.dtls,
        }
    }

    /// Leaves everything as it was.
    pub(super) async fn strike(self) {
        if let Some(relay) = self.relay {
            relay.stop().await;
        }
    }
}

async fn logins_of_running(config: &Config) -> Vec<(Source, Login)> {
    let mut logins = Vec::new();
    if !config.random_secret {
        let credentials = Credentials::new(config.credentials.clone());
        logins.extend(signed(&credentials).map(|login| (Source::Secret, login)));
    }
    let users = config.credentials.users.first();
    logins.extend(users.map(|(name, password)| {
        let login = Login {
            username: name.clone(),
            password: password.clone(),
        };
        (Source::User, login)
    }));
    let handed_out = handed_out(config).await;
    logins.extend(handed_out.map(|login| (Source::Server, login)));
    logins
}

/// A credential as any participant gets it.
fn signed(credentials: &Credentials) -> Option<Login> {
    let participant = ParticipantId::parse(PARTICIPANT).ok()?;
    let Credential {
        username, password, ..
    } = credentials.issue(Now::read().unix.seconds(), &participant);
    Some(Login { username, password })
}

/// What the running server gives to whoever asks it over HTTP, or to the administrator.
async fn handed_out(config: &Config) -> Option<Login> {
    let site = Site::of(config)?;
    let bearer = match (&config.http.access, config.random_admin_token) {
        (_, false) => Some(config.http.admin_token.expose().clone()),
        (Access::Token(secret), true) => Some(jwt(secret)),
        (Access::Open, true) => None,
    };
    let path = format!("/ice-servers?participantId={PARTICIPANT}");
    let answer = site.get(&path, bearer.as_deref()).await;
    let answer: Value = serde_json::from_str(&answer.ok()?.body).ok()?;
    let servers = answer["iceServers"].as_array()?;
    servers.iter().find_map(|server| {
        Some(Login {
            username: server["username"].as_str()?.to_owned(),
            password: Redacted::new(server["credential"].as_str()?.to_owned()),
        })
    })
}

/// As the application signs its own, for a minute.
fn jwt(secret: &Redacted<String>) -> String {
    let encode = |part: Value| BASE64_URL_SAFE_NO_PAD.encode(part.to_string());
    let expiry = Now::read().unix.seconds().0.saturating_add(60);
    let header = encode(json!({ "alg": "HS256", "typ": "JWT" }));
    let claims = encode(json!({ "sub": PARTICIPANT, "exp": expiry }));
    let signed = format!("{header}.{claims}");
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes())
        .expect("HMAC takes keys of any length");
    mac.update(signed.as_bytes());
    let signature = BASE64_URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
    format!("{signed}.{signature}")
}

const PARTICIPANT: &str = "setu-check";
