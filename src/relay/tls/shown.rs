//! The certificate that clients are shown, which can be exchanged: whoever is connected does not notice.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio_rustls::rustls::{
    self, ServerConfig,
    crypto::ring,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::{Certificate, TlsError};

/// What TLS clients are shown. Clones show the same.
#[derive(Clone, Debug)]
pub struct Shown(Arc<ArcSwap<CertifiedKey>>);

impl Shown {
    pub(super) fn new(certified: CertifiedKey) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(certified)))
    }

    /// From now on, new clients are shown this one.
    ///
    /// # Errors
    /// When certificate and key don't fit; then nothing has changed.
    pub fn show(&self, certificate: &Certificate) -> Result<(), TlsError> {
        self.0.store(Arc::new(certificate.certified()?));
        Ok(())
    }

    /// TLS 1.2 and 1.3 without client certificates. Of the protocols that a client names, one of `alpn` is agreed on.
    ///
    /// # Errors
    /// When the TLS library lacks a cipher suite.
    pub fn config(&self, alpn: &[&[u8]]) -> Result<Arc<ServerConfig>, rustls::Error> {
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(self.clone()));
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        Ok(Arc::new(config))
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}
