//! What a certificate says of itself: from when until when it is good, and for whom.

use std::time::Duration;

use tokio_rustls::rustls::pki_types::{CertificateDer, pem::PemObject};
use x509_cert::{
    Certificate,
    der::Decode,
    ext::pkix::{SubjectAltName, name::GeneralName},
};

use super::renewal;
use crate::clock::UnixSeconds;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Validity {
    from: UnixSeconds,
    until: UnixSeconds,
    names: Vec<String>,
}

impl Validity {
    /// Of the first certificate in a PEM file.
    pub(super) fn read(pem: &[u8]) -> Option<Self> {
        let first = CertificateDer::from_pem_slice(pem).ok()?;
        let certificate = Certificate::from_der(&first).ok()?;
        let body = certificate.tbs_certificate();
        let validity = body.validity();
        let seconds = |time: &x509_cert::time::Time| UnixSeconds(time.to_unix_duration().as_secs());
        let (_, names) = body.get_extension::<SubjectAltName>().ok()??;
        let names = names.0.iter().filter_map(|name| {
            if let GeneralName::DnsName(name) = name {
                return Some(name.as_str().to_owned());
            }
            None
        });
        Some(Self {
            from: seconds(&validity.not_before),
            until: seconds(&validity.not_after),
            names: names.collect(),
        })
    }

    /// How long it may stay; not at all, if it is not for all of these.
    pub(super) fn left_until_renewal(&self, now: UnixSeconds, domains: &[String]) -> Duration {
        let is_named = |domain: &String| self.names.iter().any(|name| name == domain);
        if !domains.iter().all(is_named) {
            return Duration::ZERO;
        }
        let at = renewal(self.from, self.until);
        Duration::from_secs(at.0.saturating_sub(now.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_read_and_kept_for_two_thirds_of_its_life() {
        let names = ["a.example".to_owned(), "b.example".to_owned()];
        let mut params = rcgen::CertificateParams::new(names.to_vec()).unwrap();
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2026, 4, 1);
        let key = rcgen::KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem() + &key.serialize_pem();
        let validity = Validity::read(pem.as_bytes()).unwrap();
        let from = validity.from;
        assert_eq!(from, UnixSeconds(1_767_225_600));
        assert_eq!(validity.until, UnixSeconds(1_775_001_600));
        let day = 24 * 3600;
        let left = |days, names: &[String]| {
            let at = UnixSeconds(from.0 + days * day);
            validity.left_until_renewal(at, names).as_secs() / day
        };
        assert_eq!(
            [left(0, &names), left(59, &names), left(60, &names)],
            [60, 1, 0]
        );
        assert_eq!(left(0, &["b.example".to_owned()]), 60);
        assert_eq!(left(0, &["c.example".to_owned()]), 0);
        assert_eq!(Validity::read(b"nothing"), None);
    }
}
