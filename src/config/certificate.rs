//! `tls_cert_file` and `tls_key_file`, of `[turn]` and of `[http]`.

use std::path::PathBuf;

use super::acme as from_authority;
use super::external::External;
use super::raw::Raw;
use super::source::{ConfigError, Source};
use crate::acme;
use crate::relay::tls::{Certificate, Identity, Shown};

/// Where the relay's certificate comes from; without files or an authority, it is made.
pub(super) fn of_turn(
    source: &Source,
    raw: &Raw,
    acme: Option<&acme::Settings>,
    external: &External,
    relay_host: &str,
) -> Result<Identity, ConfigError> {
    let (cert, key) = (&raw.turn.tls_cert_file, &raw.turn.tls_key_file);
    if let Some(named) = named(source, "turn", cert, key, acme)? {
        return Ok(named);
    }
    let publics = external.addresses.iter().map(|own| own.public.to_string());
    let mut names: Vec<_> = publics.collect();
    names.push("localhost".to_owned());
    let host = relay_host.trim_matches(['[', ']']).to_owned();
    if !names.contains(&host) {
        names.push(host);
    }
    Ok(Identity::SelfSigned { names })
}

/// Where HTTP's certificate comes from; without files or an authority there is none.
pub(super) fn of_http(
    source: &Source,
    raw: &Raw,
    acme: Option<&acme::Settings>,
) -> Result<Option<Identity>, ConfigError> {
    let (cert, key) = (&raw.http.tls_cert_file, &raw.http.tls_key_file);
    named(source, "http", cert, key, acme)
}

/// Files that are named go before what an authority issues.
fn named(
    source: &Source,
    section: &str,
    cert: &str,
    key: &str,
    acme: Option<&acme::Settings>,
) -> Result<Option<Identity>, ConfigError> {
    let files = files(source, section, cert, key)?;
    Ok(files.or_else(|| acme.map(from_authority::identity)))
}

/// What HTTPS clients are shown.
pub(super) fn shown(source: &Source, identity: &Identity) -> Result<Shown, ConfigError> {
    let certificate = Certificate::load(identity.clone());
    let shown = certificate.and_then(|certificate| certificate.tls());
    source.check("http.tls_cert_file", shown)
}

fn files(
    source: &Source,
    section: &str,
    cert: &str,
    key: &str,
) -> Result<Option<Identity>, ConfigError> {
    let complain = |typed: &str, what: &str, missing: &str| {
        let problem = format!("has no {what}; set {section}.{missing} too");
        Err(source.complain(&format!("{section}.{typed}"), &problem))
    };
    match (cert.is_empty(), key.is_empty()) {
        (true, true) => Ok(None),
        (false, false) => Ok(Some(Identity::Files {
            cert: PathBuf::from(cert),
            key: PathBuf::from(key),
        })),
        (true, false) => complain("tls_key_file", "certificate", "tls_cert_file"),
        (false, true) => complain("tls_cert_file", "private key", "tls_key_file"),
    }
}
