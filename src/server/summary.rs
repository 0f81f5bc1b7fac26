//! The start summary: what is open, for whom, and what to do with it. Made from what was really bound.

use std::{
    fmt::{self, Write as _},
    net::{IpAddr, SocketAddr},
};

use super::Addresses;
use crate::access::Access;
use crate::clock::Now;
use crate::config::{Config, Profile};
use crate::ident::ParticipantId;
use crate::relay::engine::Auth;
use crate::relay::tls::Identity;
use crate::relay::wire::response::SMALL_REALM_BYTES_MAX;
use crate::signaling::ice_servers::IceServers;

/// What there is to say.
pub(super) struct Facts<'a> {
    pub(super) config: &'a Config,
    pub(super) addresses: &'a Addresses,
    pub(super) ice_servers: &'a IceServers,
}

impl Facts<'_> {
    /// All of it, ending in a blank line.
    pub(super) fn write(&self, now: Now) -> String {
        let mut text = String::new();
        // A String takes whatever is written.
        let _ = self.write_to(&mut text, now);
        text
    }

    fn write_to(&self, out: &mut String, now: Now) -> fmt::Result {
        writeln!(out, "\nSetu {} is ready.\n", env!("CARGO_PKG_VERSION"))?;
        for (name, value) in self.table() {
            writeln!(out, "  {name:<18} {value}")?;
        }
        let warnings = self.warnings();
        if !warnings.is_empty() {
            writeln!(out, "\nMind:")?;
        }
        for warning in warnings {
            writeln!(out, "  - {warning}")?;
        }
        match self.relays_nothing() {
            true => Ok(()),
            false => self.write_rtc_configuration(out, now),
        }
    }

    fn table(&self) -> Vec<(&'static str, String)> {
        let Self {
            config, addresses, ..
        } = self;
        let certificate = if config.is_self_signed() && !addresses.tls.is_empty() {
            "  (self-signed certificate)"
        } else {
            ""
        };
        let external = config.relay.external.iter().map(|address| {
            if address.public == address.local {
                address.public.to_string()
            } else {
                format!("{} (bound to {})", address.public, address.local)
            }
        });
        let external = external.collect::<Vec<_>>().join(", ");
        let mut table = vec![
            ("Call page", self.call_page()),
            ("Connectivity check", format!("{}check", self.call_page())),
            ("Dashboard", format!("{}dashboard", self.call_page())),
            (self.http_name(), list(&addresses.http)),
            ("STUN/TURN UDP", list(&addresses.udp)),
            ("STUN/TURN TCP", list(&addresses.tcp)),
            (
                "TURN over TLS",
                format!("{}{certificate}", list(&addresses.tls)),
            ),
            ("TURN over DTLS", list(&addresses.dtls)),
            ("Relayed ports", self.relayed_ports()),
            (
                "External address",
                format!("{external}  ({})", config.external_origin),
            ),
            (
                "Profile",
                format!("{}  ({})", config.profile.name(), config.profile_reason),
            ),
        ];
        if !config.credentials.users.is_empty() {
            let names = config
                .credentials
                .users
                .iter()
                .map(|(name, _)| name.as_str());
            table.push(("Static users", names.collect::<Vec<_>>().join(", ")));
        }
        table.push(("Web origins", config.http.allowed_origins.join(", ")));
        table.push(("Who may join", self.who_may_join().to_owned()));
        if config.random_admin_token {
            let token = config.http.admin_token.expose();
            table.push(("Admin token", format!("{token}  (made just now)")));
        }
        table
    }

    fn who_may_join(&self) -> &'static str {
        match self.config.http.access {
            Access::Open => "everybody",
            Access::Token(_) => "whoever brings a signed token (JWT, HS256)",
        }
    }

    fn relayed_ports(&self) -> String {
        let range = &self.config.relay.relay_ports;
        let families = self.config.relay.external.len();
        let each = if families > 1 {
            " for each external address"
        } else {
            ""
        };
        format!(
            "{}-{}/udp  ({} ports{each})",
            range.start(),
            range.end(),
            range.len()
        )
    }

    fn http_name(&self) -> &'static str {
        match self.config.http.tls {
            Some(_) => "HTTPS, Socket.IO",
            None => "HTTP, Socket.IO",
        }
    }

    fn scheme(&self) -> &'static str {
        match self.config.http.tls {
            Some(_) => "https",
            None => "http",
        }
    }

    fn call_page(&self) -> String {
        let scheme = self.scheme();
        let local = |addr: &&SocketAddr| addr.ip().is_unspecified() || addr.ip().is_loopback();
        match self.addresses.http.iter().find(local) {
            Some(addr) if addr.ip().is_unspecified() => {
                format!("{scheme}://localhost:{}/", addr.port())
            }
            Some(addr) => format!("{scheme}://{addr}/"),
            None => self
                .addresses
                .http
                .first()
                .map_or_else(String::new, |addr| format!("{scheme}://{addr}/")),
        }
    }

    fn warnings(&self) -> Vec<String> {
        let config = self.config;
        let production = config.profile == Profile::Production;
        let mut warnings = Vec::new();
        let mut warn_if = |condition: bool, warning: &str| {
            if condition {
                warnings.push(warning.to_owned());
            }
        };
        warn_if(
            config.is_self_signed() && !self.addresses.tls.is_empty(),
            "The TLS certificate was made just now: browsers refuse turns: URLs until turn.tls_cert_file and turn.tls_key_file name a real one.",
        );
        warn_if(
            matches!(&config.turn_identity, Identity::Issued { file, .. } if !file.exists()),
            "The certificate is being ordered: until it is there, clients are shown one that they refuse. The log says how it goes.",
        );
        warn_if(
            config.relay.dtls.is_none() && !config.relay.listen_dtls.is_empty(),
            "TURN over DTLS is off: turn.tls_key_file holds no ECDSA key on P-256 or P-384. TLS takes it; for DTLS too, use such a certificate, or set turn.listen_dtls = [] and this line is gone.",
        );
        warn_if(
            self.promises_more_than_it_opens(),
            "The URLs name the external address, but TURN listens on loopback only, or not in its IP version: nobody else reaches it. See turn.listen_udp, turn.listen_tcp, turn.listen_tls.",
        );
        warn_if(
            self.relays_nothing(),
            "Nothing listens for STUN or TURN: clients are given no ICE servers.",
        );
        warn_if(
            config.relay.engine.auth == Auth::None,
            "turn.auth = \"none\": whoever reaches the TURN ports may relay.",
        );
        warn_if(
            production && config.http.access == Access::Open,
            "The relay is open: whoever reaches the HTTP port is given credentials for it. See access.mode.",
        );
        warn_if(
            config.unused_jwt_secret,
            "access.jwt_secret is set, but with access.mode = \"open\" nobody is asked for a token.",
        );
        warn_if(
            config.http.access.is_weak(),
            "access.jwt_secret is shorter than 32 bytes: whoever has one token may find it by trying. openssl rand -hex 32 makes a good one.",
        );
        warn_if(
            production && config.random_secret,
            "credentials.secret is not set: credentials handed out now are void after a restart.",
        );
        warn_if(
            config.credentials.realm.len() > SMALL_REALM_BYTES_MAX,
            "turn.realm has more than 20 bytes: whoever forges addresses can make the relay send more than 2.5 times what they send themselves.",
        );
        warn_if(
            config.relay.engine.tokens.is_some(),
            "turn.oauth_server is in every challenge: whoever forges addresses can make the relay send more than 2.5 times what they send themselves.",
        );
        warn_if(
            !production,
            "The development profile relays to private and loopback addresses; behind NAT, set turn.external_ip = \"public/private\".",
        );
        warn_if(
            config.http.tls.is_none(),
            "Browsers give the camera to pages from localhost or HTTPS only: for other machines, set http.tls_cert_file and http.tls_key_file, or put an HTTPS proxy before the HTTP port.",
        );
        warnings
    }

    fn promises_more_than_it_opens(&self) -> bool {
        let Addresses { udp, tcp, tls, .. } = self.addresses;
        let named: Option<IpAddr> = self.config.relay_host.trim_matches(['[', ']']).parse().ok();
        let is_elsewhere = |addr: &SocketAddr| {
            addr.ip().is_loopback() || named.is_some_and(|ip| ip.is_ipv4() != addr.is_ipv4())
        };
        let is_missed = |addresses: &&Vec<SocketAddr>| {
            !addresses.is_empty() && addresses.iter().all(is_elsewhere)
        };
        let is_outside = !self.config.external_ips().all(|ip| ip.is_loopback());
        is_outside && [udp, tcp, tls].iter().any(is_missed)
    }

    fn relays_nothing(&self) -> bool {
        let Addresses { udp, tcp, tls, .. } = self.addresses;
        [udp, tcp, tls].iter().all(|addresses| addresses.is_empty())
    }

    fn write_rtc_configuration(&self, out: &mut String, now: Now) -> fmt::Result {
        let Ok(participant) = ParticipantId::parse("sample") else {
            return Ok(());
        };
        let answer = self.ice_servers.for_participant(now, &participant);
        let servers = serde_json::to_string_pretty(&answer.ice_servers).map_err(|_| fmt::Error)?;
        writeln!(
            out,
            "\nFor your RTCPeerConnection, good until {}",
            answer.expires_at
        )?;
        writeln!(
            out,
            "(fresh ones: GET /ice-servers?participantId=NAME, or in session-joined):\n"
        )?;
        writeln!(out, "{{ \"iceServers\": {servers} }}\n")
    }
}

fn list(addresses: &[SocketAddr]) -> String {
    if addresses.is_empty() {
        return "off".to_owned();
    }
    let texts: Vec<_> = addresses.iter().map(SocketAddr::to_string).collect();
    texts.join(", ")
}
