//! Certificates, right and wrong.

use std::fs;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};

use super::checked::Checked;
use super::common::Folder;
use super::vps::{ADDRESS, Vps};

pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its own certificate and those above, but for the root's.
    above: String,
}

pub(crate) struct Issued {
    pem: String,
    above: String,
    key: String,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        Self {
            issuer: Issuer::new(authority(name), key),
            above: String::new(),
        }
    }

    pub(crate) fn below(&self, name: &str) -> Self {
        let (key, params) = (KeyPair::generate().unwrap(), authority(name));
        let pem = params.signed_by(&key, &self.issuer).unwrap().pem();
        Self {
            issuer: Issuer::new(params, key),
            above: format!("{pem}{}", self.above),
        }
    }

    pub(crate) fn issue(&self, names: &[&str]) -> Issued {
        self.issue_with(names, |_| ())
    }

    pub(crate) fn issue_with(
        &self,
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Issued {
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        Issued {
            pem: params.signed_by(&key, &self.issuer).unwrap().pem(),
            above: self.above.clone(),
            key: key.serialize_pem(),
        }
    }
}

impl Issued {
    pub(crate) fn write(&self, folder: &Folder, name: &str) {
        folder.write(
            &format!("{name}.pem"),
            &format!("{}{}", self.pem, self.above),
        );
        folder.write(&format!("{name}.key"), &self.key);
    }
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
        .distinguished_name
        .push(DnType::CommonName, name.trim_start_matches("CN="));
    params
}

/// The certificate in place of the good one.
fn with(vps: &Vps, issued: &Issued) -> Checked {
    issued.write(&vps.folder, "other");
    let file = |name: &str| vps.folder.0.join(name).display().to_string();
    Checked::run(
        &mut vps.setu(&[
            ("SETU_TURN__TLS_CERT_FILE", &file("other.pem")),
            ("SETU_TURN__TLS_KEY_FILE", &file("other.key")),
        ]),
        &[],
    )
}

/// What is wrong with it, and nothing else is.
#[track_caller]
fn is_wrong(vps: &Vps, issued: &Issued, status: &str, found: &str, fix: &str) {
    with(vps, issued)
        .says("certificate", status, found, fix)
        .and_nothing_else_than(&["certificate"]);
}

const NAME: [&str; 1] = [ADDRESS];

#[test]
fn an_expired_certificate() {
    let vps = Vps::new();
    let issued = Authority::new("CN=Test Root").issue_with(&NAME, |params| {
        params.not_after = date_time_ymd(2024, 3, 1);
    });
    is_wrong(&vps, &issued, "failure", "expired on 2024-03-01", "renew");
}

#[test]
fn a_certificate_of_tomorrow_is_the_clocks_fault() {
    let vps = Vps::new();
    let issued = Authority::new("CN=Test Root").issue_with(&NAME, |params| {
        params.not_before = date_time_ymd(2090, 1, 1);
        params.not_after = date_time_ymd(2091, 1, 1);
    });
    with(&vps, &issued)
        .says(
            "certificate",
            "failure",
            "not good before 2090-01-01",
            "clock",
        )
        .says(
            "clock",
            "failure",
            "behind the first day of the certificate",
            "timedatectl",
        )
        .and_nothing_else_than(&["certificate", "clock"]);
}

#[test]
fn a_certificate_for_another_name() {
    let vps = Vps::new();
    let issued = Authority::new("CN=Test Root").issue(&["other.example.org"]);
    let (found, fix) = (
        "it is for other.example.org",
        "turn.host = \"other.example.org\"",
    );
    is_wrong(&vps, &issued, "failure", found, fix);
}

#[test]
fn a_key_of_another_certificate() {
    let vps = Vps::new();
    Authority::new("CN=Test Root")
        .issue(&NAME)
        .write(&vps.folder, "other");
    let file = vps.folder.0.join("other.key").display().to_string();
    Checked::run(&mut vps.setu(&[("SETU_TURN__TLS_KEY_FILE", &file)]), &[]).says(
        "configuration",
        "failure",
        "other.key does not fit",
        "the key that the certificate was made for",
    );
}

#[test]
fn a_chain_with_its_intermediate_is_right_and_without_it_is_not() {
    let vps = Vps::new();
    let issued = Authority::new("CN=Test Root")
        .below("CN=Test Intermediate")
        .issue(&NAME);
    with(&vps, &issued)
        .is_ok("certificate")
        .and_nothing_else_than(&[]);
    let alone = Issued {
        above: String::new(),
        ..issued
    };
    let found = "intermediate certificate of CN=Test Intermediate is missing";
    is_wrong(&vps, &alone, "failure", found, "fullchain.pem");
}

#[test]
fn a_chain_of_another_certificate() {
    let vps = Vps::new();
    let other = Authority::new("CN=Other Root")
        .below("CN=Other Intermediate")
        .issue(&NAME);
    let issued = Authority::new("CN=Test Root")
        .below("CN=Test Intermediate")
        .issue(&NAME);
    let mixed = Issued {
        above: other.above,
        ..issued
    };
    is_wrong(
        &vps,
        &mixed,
        "failure",
        "the chain is broken",
        "fullchain.pem",
    );
}

#[test]
fn no_certificate_in_production() {
    let vps = Vps::new();
    let made = [
        ("SETU_TURN__TLS_CERT_FILE", ""),
        ("SETU_TURN__TLS_KEY_FILE", ""),
    ];
    Checked::run(&mut vps.setu(&made), &[])
        .says(
            "certificate",
            "warning",
            "browsers refuse it",
            "turn.tls_cert_file",
        )
        .and_nothing_else_than(&["certificate"]);
}

#[test]
fn https_on_the_http_port_is_right() {
    let vps = Vps::new();
    let https = ["good.pem", "good.key"].map(|name| vps.folder.0.join(name).display().to_string());
    let https = [
        ("SETU_HTTP__TLS_CERT_FILE", &*https[0]),
        ("SETU_HTTP__TLS_KEY_FILE", &*https[1]),
    ];
    Checked::run(&mut vps.setu(&https), &[]).and_nothing_else_than(&[]);
    let _server = vps.serve(&https);
    Checked::run(&mut vps.setu(&https), &[])
        .is_ok("port.http")
        .says("http", "ok", "https://127.0.0.1:3001 is ready", "")
        .and_nothing_else_than(&[]);
    // The credential that the server hands out is fetched over TLS too.
    let unknown = [&https[..], &[("SETU_CREDENTIALS__SECRET", "")]].concat();
    Checked::run(&mut vps.setu(&unknown), &[]).is_ok("relay.tls");
    Checked::run(&mut vps.setu(&[]), &[])
        .says(
            "http",
            "failure",
            "does not answer at http://127.0.0.1:3001",
            "http.tls_cert_file",
        )
        .and_nothing_else_than(&["http"]);
}

#[test]
fn an_expired_certificate_of_https_alone() {
    let vps = Vps::new();
    let issued = Authority::new("CN=Test Root").issue_with(&["app.example.org"], |params| {
        params.not_after = date_time_ymd(2024, 3, 1);
    });
    issued.write(&vps.folder, "other");
    let file = |name: &str| vps.folder.0.join(name).display().to_string();
    Checked::run(
        &mut vps.setu(&[
            ("SETU_HTTP__TLS_CERT_FILE", &file("other.pem")),
            ("SETU_HTTP__TLS_KEY_FILE", &file("other.key")),
        ]),
        &[],
    )
    .is_ok("certificate")
    .says(
        "certificate.http",
        "failure",
        "expired on 2024-03-01",
        "http.tls_cert_file",
    )
    .and_nothing_else_than(&["certificate.http"]);
}

#[test]
fn a_certificate_from_an_authority_that_the_server_asks_itself() {
    let vps = Vps::new().hosts(&format!(
        "127.0.0.1 localhost\n{ADDRESS} turn.example.org\n"
    ));
    let folder = vps.folder.0.display().to_string();
    let check = || {
        let variables = [
            ("SETU_TURN__HOST", "turn.example.org"),
            ("SETU_TURN__TLS_CERT_FILE", ""),
            ("SETU_TURN__TLS_KEY_FILE", ""),
            ("SETU_ACME__DOMAINS", "turn.example.org"),
            ("SETU_ACME__STATE_DIR", &folder),
        ];
        Checked::run(&mut vps.setu(&variables), &[])
    };
    check()
        .says(
            "certificate",
            "note",
            "none from the authority",
            "acme.listen",
        )
        .and_nothing_else_than(&[]);
    let place = |issued: &Issued| {
        let text = format!("{}{}{}", issued.pem, issued.above, issued.key);
        fs::write(setu::acme::certificate_file(&vps.folder.0), text).unwrap();
    };
    let authority = Authority::new("CN=Test Root");
    place(&authority.issue(&["turn.example.org"]));
    check().is_ok("certificate").and_nothing_else_than(&[]);
    place(&authority.issue_with(&["turn.example.org"], |params| {
        params.not_after = date_time_ymd(2024, 3, 1);
    }));
    check().says(
        "certificate",
        "failure",
        "expired on 2024-03-01",
        "acme.listen",
    );
}

#[test]
fn a_certificate_that_the_running_server_does_not_show() {
    let vps = Vps::new();
    let _server = vps.serve(&[]);
    // One that was renewed in its place is shown within seconds.
    let issued = Authority::new("CN=Test Root").issue(&NAME);
    let found = "the running server shows another one";
    is_wrong(&vps, &issued, "warning", found, "restart");
}
