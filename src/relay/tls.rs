//! TURN over TLS and DTLS: the certificate shown, from files or made at start, and what is agreed on.

mod shown;

pub use shown::Shown;

use std::path::{Path, PathBuf};

use rcgen::{CertificateParams, KeyPair};
use tokio_rustls::rustls::{
    self,
    crypto::ring,
    pki_types::{
        CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer,
        pem::{self, PemObject},
    },
    sign::CertifiedKey,
};

use crate::relay::DtlsIdentity;

/// Where the certificate and its private key come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// PEM files: the chain with the server's own certificate first, and its key.
    Files {
        /// The certificate chain.
        cert: PathBuf,
        /// The private key: PKCS #8, PKCS #1 or SEC 1.
        key: PathBuf,
    },
    /// A PEM file that holds both, once there is one; until then, made for these names.
    Issued {
        /// The certificate chain and the private key.
        file: PathBuf,
        /// The names that it is to be for.
        names: Vec<String>,
    },
    /// Made at start; clients can't verify it.
    SelfSigned {
        /// DNS names and IP addresses that the certificate is for.
        names: Vec<String>,
    },
}

/// Why there is no certificate to show.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file can't be read, or not as PEM.
    #[error("{}: {reason}; name a PEM file that this user may read", file.display())]
    File {
        /// The file at fault.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The two files don't belong together, or the key is of a kind that can't sign.
    #[error("{} does not fit {}: {reason}; name the key that the certificate was made for", key.display(), cert.display())]
    Mismatch {
        /// The certificate chain.
        cert: PathBuf,
        /// The private key.
        key: PathBuf,
        /// What the TLS library says.
        reason: rustls::Error,
    },
    /// No certificate could be made for the names given.
    #[error("cannot make a self-signed certificate: {0}")]
    SelfSigned(#[from] rcgen::Error),
    /// The TLS library refuses a certificate just made.
    #[error("cannot use the self-signed certificate: {0}")]
    Refused(#[from] rustls::Error),
}

/// A certificate chain and its private key.
#[derive(Debug)]
pub struct Certificate {
    identity: Identity,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Certificate {
    /// Reads it, or makes it.
    ///
    /// # Errors
    /// When a file is missing, or holds no certificate or key.
    pub fn load(identity: Identity) -> Result<Self, TlsError> {
        let (chain, key) = match &identity {
            Identity::Files { cert, key } => (read_chain(cert)?, read_key(key)?),
            Identity::Issued { file, .. } if file.exists() => (read_chain(file)?, read_key(file)?),
            Identity::Issued { names, .. } | Identity::SelfSigned { names } => {
                self_signed(names.clone())?
            }
        };
        Ok(Self {
            identity,
            chain,
            key,
        })
    }

    /// What TLS clients are shown, this one first.
    ///
    /// # Errors
    /// When certificate and key don't fit, or the key is of a kind that can't sign.
    pub fn tls(&self) -> Result<Shown, TlsError> {
        self.certified().map(Shown::new)
    }

    /// The same over DTLS 1.2, which shows the first of the chain alone; `None` for a key other than ECDSA on P-256 or
    /// P-384.
    #[must_use]
    pub fn dtls(&self) -> Option<DtlsIdentity> {
        DtlsIdentity::new(self.chain.first()?, self.key.secret_der())
    }

    /// Clients over DTLS, too, are shown this one from now on. `false` for a key other than ECDSA on P-256 or P-384:
    /// then they are shown the earlier one.
    #[must_use]
    pub fn show_over_dtls(&self, identity: &DtlsIdentity) -> bool {
        let first = self.chain.first();
        first.is_some_and(|first| identity.show(first, self.key.secret_der()))
    }

    fn certified(&self) -> Result<CertifiedKey, TlsError> {
        let provider = ring::default_provider();
        let certified = CertifiedKey::from_der(self.chain.clone(), self.key.clone_key(), &provider);
        certified.map_err(|reason| match &self.identity {
            Identity::Files { cert, key } => TlsError::Mismatch {
                cert: cert.clone(),
                key: key.clone(),
                reason,
            },
            Identity::Issued { file, .. } => TlsError::Mismatch {
                cert: file.clone(),
                key: file.clone(),
                reason,
            },
            Identity::SelfSigned { .. } => TlsError::Refused(reason),
        })
    }
}

fn read_chain(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain: Vec<_> = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect)
        .map_err(|error| unreadable(file, "certificate", &error))?;
    if chain.is_empty() {
        return Err(unreadable(file, "certificate", &pem::Error::NoItemsFound));
    }
    Ok(chain)
}

fn read_key(file: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(file).map_err(|error| unreadable(file, "private key", &error))
}

fn unreadable(file: &Path, wanted: &str, error: &pem::Error) -> TlsError {
    let reason = if let pem::Error::Io(error) = error {
        error.to_string()
    } else if let pem::Error::NoItemsFound = error {
        format!("holds no PEM {wanted}")
    } else {
        format!("is no PEM {wanted}: {error}")
    };
    TlsError::File {
        file: file.to_owned(),
        reason,
    }
}

/// On P-256.
fn self_signed(
    names: Vec<String>,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), rcgen::Error> {
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new(names)?.self_signed(&key)?;
    let private = PrivatePkcs8KeyDer::from(key.serialize_der());
    Ok((vec![certificate.der().clone()], private.into()))
}

/// TURN, and STUN alone ([RFC 7443 §3](https://www.rfc-editor.org/rfc/rfc7443#section-3)): one of those that a client
/// names is agreed on. One that names others only is refused with no_application_protocol
/// ([RFC 7301 §3.2](https://www.rfc-editor.org/rfc/rfc7301#section-3.2)); one that names none is served as ever.
pub(super) const ALPN_PROTOCOLS: [&[u8]; 2] = [b"stun.turn", b"stun.nat-discovery"];

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_certificate_is_made_for_names_and_addresses() {
        let names = ["turn.example.org", "203.0.113.9", "2001:db8::9"];
        let names = names.map(str::to_owned).to_vec();
        let certificate = Certificate::load(Identity::SelfSigned { names }).unwrap();
        assert!(certificate.tls().is_ok() && certificate.dtls().is_some());
    }

    #[test]
    fn an_error_names_the_file_and_what_is_wrong_with_it() {
        let dir = Folder::with_two_identities();
        let cases = [
            ("one.pem", "one.key", None),
            ("none.pem", "one.key", Some(("none.pem", "No such file"))),
            ("one.pem", "none.key", Some(("none.key", "No such file"))),
            (
                "one.key",
                "one.key",
                Some(("one.key", "holds no PEM certificate")),
            ),
            (
                "one.pem",
                "one.pem",
                Some(("one.pem", "holds no PEM private key")),
            ),
            (
                "one.pem",
                "two.key",
                Some(("two.key does not fit", "one.pem")),
            ),
            (
                "cut.pem",
                "one.key",
                Some(("cut.pem", "is no PEM certificate")),
            ),
        ];
        for (cert, key, wrong) in cases {
            let (cert, key) = (dir.0.join(cert), dir.0.join(key));
            let name = format!("{} {}", cert.display(), key.display());
            let loaded = Certificate::load(Identity::Files { cert, key });
            let said = loaded.and_then(|certificate| certificate.tls());
            let said = said.err().map(|error| error.to_string());
            match (said, wrong) {
                (None, None) => {}
                (Some(said), Some((file, reason))) => {
                    assert!(
                        said.contains(file) && said.contains(reason),
                        "{name}: {said}"
                    );
                }
                (said, _) => panic!("{name}: {said:?}"),
            }
        }
    }

    /// Removed with its files at the end of the test.
    struct Folder(PathBuf);

    impl Folder {
        fn with_two_identities() -> Self {
            let dir = std::env::temp_dir().join(format!("setu-tls-{}", std::process::id()));
            fs::create_dir_all(&dir).unwrap();
            for name in ["one", "two"] {
                let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
                let pem = made.cert.pem();
                fs::write(dir.join(format!("{name}.pem")), &pem).unwrap();
                fs::write(
                    dir.join(format!("{name}.key")),
                    made.signing_key.serialize_pem(),
                )
                .unwrap();
                fs::write(dir.join("cut.pem"), &pem[..pem.len() / 2]).unwrap();
            }
            Self(dir)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}
