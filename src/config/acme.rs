//! `[acme]`: certificates from an authority.

use std::{path::PathBuf, time::Duration};

use super::raw::Raw;
use super::source::{ConfigError, Source};
use super::{relaying, values};
use crate::acme::{self, Settings};
use crate::relay::tls::Identity;

/// `None` where no domain is named.
pub(super) fn settings(source: &Source, raw: &Raw) -> Result<Option<Settings>, ConfigError> {
    let keys = &raw.acme;
    if keys.domains.0.is_empty() {
        return Ok(None);
    }
    let domains = source.check("acme.domains", values::domains(&keys.domains.0))?;
    let directory = source.check("acme.directory", values::https_url(&keys.directory))?;
    let listen = relaying::listeners(source, "acme.listen", &keys.listen)?;
    if listen.is_empty() {
        let problem = "must not be empty: the authority looks for proof there; write 0.0.0.0:80";
        return Err(source.complain("acme.listen", &problem));
    }
    if keys.state_dir.is_empty() {
        let problem = "must not be empty; write /var/lib/setu/acme";
        return Err(source.complain("acme.state_dir", &problem));
    }
    let contact = keys
        .contact
        .0
        .iter()
        .map(|entry| match entry.contains(':') {
            true => entry.clone(),
            false => format!("mailto:{entry}"),
        });
    Ok(Some(Settings {
        domains,
        contact: contact.collect(),
        directory,
        directory_ca: (!keys.directory_ca_file.is_empty())
            .then(|| PathBuf::from(&keys.directory_ca_file)),
        state_dir: PathBuf::from(&keys.state_dir),
        listen,
        retry_after: RETRY_AFTER,
    }))
}

/// Where such a certificate is once there is one; until then one is made for these names.
pub(super) fn identity(settings: &Settings) -> Identity {
    Identity::Issued {
        file: acme::certificate_file(&settings.state_dir),
        names: settings.domains.clone(),
    }
}

const RETRY_AFTER: Duration = Duration::from_secs(60);
