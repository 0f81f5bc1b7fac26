//! The certificates in files that clients are shown, and which are shown next: files change, and so do their names.

use std::{fs, io, path::Path, time::Duration};

use crate::config::Config;
use crate::relay::DtlsIdentity;
use crate::relay::tls::{Certificate, Identity, Shown, TlsError};

/// Every place that shows a certificate.
#[derive(Debug)]
pub(super) struct Certificates {
    turn: Place,
    /// Where HTTP is served over TLS.
    http: Option<Place>,
}

/// One of them.
#[derive(Debug)]
struct Place {
    key: &'static str,
    identity: Identity,
    tls: Shown,
    dtls: Option<DtlsIdentity>,
    /// What was in the files when they were looked at last.
    seen: Seen,
}

/// The contents of the two files, or why they can't be had.
type Seen = [Result<Vec<u8>, io::ErrorKind>; 2];

impl Certificates {
    /// As the configuration has loaded them.
    pub(super) fn new(config: &Config) -> Self {
        let relay = &config.relay;
        let (tls, dtls) = (relay.tls.clone(), relay.dtls.clone());
        let http = config.http_identity.as_ref().zip(config.http.tls.clone());
        Self {
            turn: Place::new("turn.tls_cert_file", &config.turn_identity, tls, dtls),
            http: http.map(|(identity, tls)| Place::new("http.tls_cert_file", identity, tls, None)),
        }
    }

    /// Shows what the configuration names now, as it is now.
    pub(super) fn follow(&mut self, config: &Config) {
        self.turn.follow(&config.turn_identity);
        if let (Some(http), Some(identity)) = (&mut self.http, &config.http_identity) {
            http.follow(identity);
        }
    }

    /// Shows what is in the files now, where that has changed. The files are small, and few.
    pub(super) fn look(&mut self) {
        self.turn.look();
        if let Some(http) = &mut self.http {
            http.look();
        }
    }
}

/// How often that is to be done: programs that renew certificates replace files, links to files and folders.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(5);

impl Place {
    fn new(key: &'static str, identity: &Identity, tls: Shown, dtls: Option<DtlsIdentity>) -> Self {
        Self {
            key,
            seen: look(identity),
            identity: identity.clone(),
            tls,
            dtls,
        }
    }

    fn follow(&mut self, identity: &Identity) {
        match identity {
            Identity::Files { .. } | Identity::Issued { .. } => {}
            // Made once, at start.
            Identity::SelfSigned { .. } => return,
        }
        let seen = look(identity);
        if *identity == self.identity && seen == self.seen {
            return;
        }
        self.identity = identity.clone();
        self.seen = seen;
        self.show();
    }

    fn look(&mut self) {
        let seen = look(&self.identity);
        if seen == self.seen {
            return;
        }
        self.seen = seen;
        self.show();
    }

    fn show(&self) {
        match self.try_to_show() {
            Ok(()) => tracing::info!(key = self.key, "new clients are shown a new certificate"),
            // One of the two files may have been written, and not yet the other.
            Err(error) => {
                tracing::warn!(key = self.key, %error, "new clients are shown the earlier certificate");
            }
        }
    }

    fn try_to_show(&self) -> Result<(), TlsError> {
        let certificate = Certificate::load(self.identity.clone())?;
        self.tls.show(&certificate)?;
        let over_dtls = self.dtls.as_ref();
        if over_dtls.is_some_and(|dtls| !certificate.show_over_dtls(dtls)) {
            tracing::warn!(
                key = self.key,
                "over DTLS the earlier certificate is shown: this one is not of ECDSA on P-256 or P-384"
            );
        }
        Ok(())
    }
}

fn look(identity: &Identity) -> Seen {
    let read = |file: &Path| fs::read(file).map_err(|error| error.kind());
    match identity {
        Identity::Files { cert, key } => [read(cert), read(key)],
        Identity::Issued { file, .. } => [read(file), Ok(Vec::new())],
        Identity::SelfSigned { .. } => [Ok(Vec::new()), Ok(Vec::new())],
    }
}
