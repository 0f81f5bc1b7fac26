//! Who this server is over DTLS.

use std::sync::Arc;

use arc_swap::ArcSwap;
use dimpl::{Config, DtlsCertificate};

use crate::entropy;
use crate::logging::Redacted;
use crate::relay::worker::dtls::HANDSHAKE_TIME_MAX;
use crate::relay::worker::dtls::cookie::{self, Cookies};

/// A certificate whose key can sign DTLS handshakes, and what else all sessions share. Clones show the same.
#[derive(Clone, Debug)]
pub struct DtlsIdentity {
    pub(super) config: Arc<Config>,
    certificate: Arc<ArcSwap<DtlsCertificate>>,
    pub(super) cookies: Cookies,
}

impl DtlsIdentity {
    /// `None` for a key that the DTLS library can't sign with: it knows ECDSA on P-256 and P-384, and no RSA.
    ///
    /// `certificate` and `private_key` are DER; the latter PKCS #8 or SEC 1.
    #[must_use]
    pub fn new(certificate: &[u8], private_key: &[u8]) -> Option<Self> {
        let provider = cookie::provider();
        provider.key_provider.load_private_key(private_key).ok()?;
        let config = Config::builder()
            .with_crypto_provider(provider)
            .require_client_certificate(false)
            .handshake_timeout(HANDSHAKE_TIME_MAX)
            .mtu(HANDSHAKE_DATAGRAM_BYTES)
            .build()
            .ok()?;
        Some(Self {
            config: Arc::new(config),
            certificate: Arc::new(ArcSwap::from_pointee(DtlsCertificate {
                certificate: certificate.to_vec(),
                private_key: private_key.to_vec(),
            })),
            cookies: Cookies::new(Redacted::new(entropy::bytes())),
        })
    }

    /// From now on, new sessions are shown this certificate. `false`, and no change, for a key that can't sign.
    #[must_use]
    pub fn show(&self, certificate: &[u8], private_key: &[u8]) -> bool {
        let keys = cookie::provider().key_provider;
        if keys.load_private_key(private_key).is_err() {
            return false;
        }
        self.certificate.store(Arc::new(DtlsCertificate {
            certificate: certificate.to_vec(),
            private_key: private_key.to_vec(),
        }));
        true
    }

    pub(super) fn certificate(&self) -> DtlsCertificate {
        self.certificate.load().as_ref().clone()
    }
}

/// The largest that the handshake's datagrams get. What is relayed may be larger.
const HANDSHAKE_DATAGRAM_BYTES: usize = 1200;
