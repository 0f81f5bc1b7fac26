//! What a certificate says of itself, as far as clients look at it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use x509_cert::{
    Certificate,
    der::{Decode, Encode},
    ext::pkix::{AuthorityInfoAccessSyntax, BasicConstraints, SubjectAltName, name::GeneralName},
};

use crate::clock::UnixSeconds;

/// One certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cert {
    /// For people.
    pub(super) subject: String,
    pub(super) issuer: String,
    pub(super) not_before: UnixSeconds,
    pub(super) not_after: UnixSeconds,
    /// DNS names, wildcards among them.
    pub(super) names: Vec<String>,
    pub(super) ips: Vec<IpAddr>,
    pub(super) is_authority: bool,
    /// Whether it says where its issuer's certificate is: public authorities do.
    pub(super) names_issuer: bool,
    /// As they are compared.
    pub(super) subject_der: Vec<u8>,
    pub(super) issuer_der: Vec<u8>,
}

impl Cert {
    /// `None` for what is no certificate.
    pub(super) fn parse(der: &[u8]) -> Option<Self> {
        let cert = Certificate::from_der(der).ok()?;
        let tbs = cert.tbs_certificate();
        let names = tbs.get_extension::<SubjectAltName>().ok().flatten();
        let names = names.map_or(Vec::new(), |(_, SubjectAltName(names))| names);
        let constraints = tbs.get_extension::<BasicConstraints>().ok().flatten();
        let access = tbs
            .get_extension::<AuthorityInfoAccessSyntax>()
            .ok()
            .flatten();
        let validity = tbs.validity();
        Some(Self {
            subject: tbs.subject().to_string(),
            issuer: tbs.issuer().to_string(),
            not_before: UnixSeconds(validity.not_before.to_unix_duration().as_secs()),
            not_after: UnixSeconds(validity.not_after.to_unix_duration().as_secs()),
            names: names.iter().filter_map(dns).collect(),
            ips: names.iter().filter_map(ip).collect(),
            is_authority: constraints.is_some_and(|(_, constraints)| constraints.ca),
            names_issuer: access.is_some(),
            subject_der: tbs.subject().to_der().ok()?,
            issuer_der: tbs.issuer().to_der().ok()?,
        })
    }

    pub(super) fn is_self_signed(&self) -> bool {
        self.subject_der == self.issuer_der
    }

    /// Whether clients that come by this name or address take it ([RFC 6125 §6.4](https://www.rfc-editor.org/rfc/rfc6125#section-6.4)).
    pub(super) fn is_for(&self, host: &str) -> bool {
        if let Ok(ip) = host.trim_matches(['[', ']']).parse::<IpAddr>() {
            return self.ips.contains(&ip);
        }
        let host = host.trim_end_matches('.').to_lowercase();
        let matches = |name: &String| {
            let name = name.to_lowercase();
            match name.strip_prefix("*.") {
                Some(parent) => host.split_once('.').is_some_and(|(_, rest)| rest == parent),
                None => name == host,
            }
        };
        self.names.iter().any(matches)
    }

    /// Everything it is for.
    pub(super) fn all_names(&self) -> String {
        let ips = self.ips.iter().map(IpAddr::to_string);
        let names: Vec<_> = self.names.iter().cloned().chain(ips).collect();
        if names.is_empty() {
            "no name".to_owned()
        } else {
            names.join(", ")
        }
    }
}

fn dns(name: &GeneralName) -> Option<String> {
    let GeneralName::DnsName(name) = name else {
        return None;
    };
    Some(name.as_str().to_owned())
}

fn ip(name: &GeneralName) -> Option<IpAddr> {
    let GeneralName::IpAddress(bytes) = name else {
        return None;
    };
    let bytes = bytes.as_bytes();
    let v4 = <[u8; 4]>::try_from(bytes).map(|bytes| IpAddr::V4(Ipv4Addr::from(bytes)));
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(|bytes| IpAddr::V6(Ipv6Addr::from(bytes))))
        .ok()
}
