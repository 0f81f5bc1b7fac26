//! The certificates in files that clients are shown, and which are shown next.

use crate::config::Config;
use crate::relay::DtlsIdentity;
use crate::relay::tls::{Certificate, Identity, Shown, TlsError};

/// Where certificates are shown.
#[derive(Debug)]
pub(super) struct Certificates {
    turn: Place,
}

/// One of the places.
#[derive(Debug)]
struct Place {
    key: &'static str,
    identity: Identity,
    tls: Shown,
    dtls: Option<DtlsIdentity>,
}

impl Certificates {
    /// As the configuration has loaded them.
    pub(super) fn new(config: &Config) -> Self {
        Self {
            turn: Place {
                key: "turn.tls_cert_file",
                identity: config.turn_identity.clone(),
                tls: config.relay.tls.clone(),
                dtls: config.relay.dtls.clone(),
            },
        }
    }

    /// Shows what the configuration names now, as it is now.
    pub(super) fn follow(&mut self, config: &Config) {
        self.turn.follow(&config.turn_identity);
    }
}

impl Place {
    fn follow(&mut self, identity: &Identity) {
        match identity {
            Identity::Files { .. } => {}
            // Made once, at start.
            Identity::SelfSigned { .. } => return,
        }
        match self.show(identity.clone()) {
            Ok(()) => self.identity = identity.clone(),
            Err(error) => tracing::error!(key = self.key, %error, "the earlier certificate stays"),
        }
    }

    fn show(&self, identity: Identity) -> Result<(), TlsError> {
        let certificate = Certificate::load(identity)?;
        self.tls.show(&certificate)?;
        let over_dtls = self.dtls.as_ref();
        if over_dtls.is_some_and(|dtls| !certificate.show_over_dtls(dtls)) {
            tracing::warn!(
                key = self.key,
                "over DTLS the earlier certificate stays: this one is not of ECDSA on P-256 or P-384"
            );
        }
        Ok(())
    }
}
