//! Who this server is over DTLS.

use std::sync::Arc;

use dimpl::{Config, DtlsCertificate};

use crate::entropy;
use crate::logging::Redacted;
use crate::relay::worker::dtls::HANDSHAKE_TIME_MAX;
use crate::relay::worker::dtls::cookie::{self, Cookies};

/// A certificate whose key can sign DTLS handshakes, and what else all sessions share.
#[derive(Clone, Debug)]
pub struct DtlsIdentity {
    pub(super) config: Arc<Config>,
    pub(super) certificate: DtlsCertificate,
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
            certificate: DtlsCertificate {
                certificate: certificate.to_vec(),
                private_key: private_key.to_vec(),
            },
            cookies: Cookies::new(Redacted::new(entropy::bytes())),
        })
    }
}

/// The largest that the handshake's datagrams get. What is relayed may be larger.
const HANDSHAKE_DATAGRAM_BYTES: usize = 1200;
