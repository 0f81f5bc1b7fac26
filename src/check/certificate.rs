//! The certificates that TLS clients are shown: their chains, names and days.

use std::{net::SocketAddr, path::Path, time::Duration};

use tokio_rustls::rustls::pki_types::{CertificateDer, pem::PemObject};

use super::http::Site;
use super::report::Finding;
use super::stage::Stage;
use super::turn::Client;
use super::x509::Cert;
use crate::clock::{Now, UnixSeconds};
use crate::config::{Config, Profile};
use crate::relay::engine::five_tuple::Transport;
use crate::relay::tls::Identity;

/// What a certificate is judged by.
struct Facts<'a> {
    check: &'static str,
    key: &'a str,
    /// By which name clients come, and the key that says so; unless nobody says.
    host: Option<(&'a str, &'a str)>,
    chain: &'a [Cert],
    /// Whether the server orders and renews it by itself.
    is_issued: bool,
    /// Whether public authorities, or those that this machine trusts, stand behind the last one.
    is_known: bool,
    /// Whether the running server shows another.
    is_stale: bool,
    now: UnixSeconds,
}

/// A line for each certificate that clients are shown: TURN's, and HTTP's where it has one of its own.
pub(super) async fn examine(config: &Config, stage: &Stage) -> Vec<Finding> {
    let shown = shown(stage.inside(Transport::Tls).filter(|_| stage.is_running)).await;
    let mut findings = vec![of_turn(config, shown.as_deref())];
    let turn = is_turn_over_tls(config).then_some(&config.turn_identity);
    let https = config.http_identity.as_ref();
    if let Some(own) = https.filter(|https| Some(*https) != turn) {
        let site = Site::of(config).filter(|_| stage.is_running);
        let shown = self::shown(site.map(|site| site.addr)).await;
        let key = "http.tls_cert_file";
        findings.extend(of_file(
            "certificate.http",
            own,
            key,
            None,
            shown.as_deref(),
        ));
    }
    findings
}

/// What the server there shows over TLS.
async fn shown(server: Option<SocketAddr>) -> Option<Vec<u8>> {
    let client = Client::connect(Transport::Tls, server?).await.ok()?;
    client.certificate().map(<[u8]>::to_vec)
}

fn is_turn_over_tls(config: &Config) -> bool {
    !(config.relay.listen_tls.is_empty() && config.relay.listen_dtls.is_empty())
}

fn of_turn(config: &Config, shown: Option<&[u8]>) -> Finding {
    let check = "certificate";
    if !is_turn_over_tls(config) {
        return Finding::ok(check, "nothing listens for TLS");
    }
    let host = (config.relay_host.as_str(), "turn.host");
    let key = "turn.tls_cert_file";
    let Some(finding) = of_file(check, &config.turn_identity, key, Some(host), shown) else {
        let found = "made at each start: browsers refuse it, and turns: URLs with it";
        return match config.profile {
            Profile::Development => Finding::ok(check, found),
            Profile::Production => Finding::warning(
                check,
                found,
                "set turn.host, turn.tls_cert_file and turn.tls_key_file: certbot certonly --standalone -d NAME gets a certificate; or turn TLS off with turn.listen_tls = []",
            ),
        };
    };
    match config.relay.dtls.is_none() && finding.fix.is_none() {
        true => Finding {
            found: format!(
                "{}; its key is none that DTLS takes, so that DTLS is off",
                finding.found
            ),
            ..finding
        },
        false => finding,
    }
}

/// `None` where it is made at each start.
fn of_file(
    check: &'static str,
    identity: &Identity,
    key: &str,
    host: Option<(&str, &str)>,
    shown: Option<&[u8]>,
) -> Option<Finding> {
    let file = file(identity)?;
    let is_issued = matches!(identity, Identity::Issued { .. });
    let ders = read(file);
    if is_issued && ders.is_empty() {
        let found = format!(
            "none from the authority in {} yet: the running server orders it, and until then shows one that browsers refuse",
            file.display()
        );
        return Some(Finding::note(check, found).with_fix(REISSUE));
    }
    let chain: Option<Vec<_>> = ders.iter().map(|der| Cert::parse(der)).collect();
    let Some(chain) = chain.filter(|chain| !chain.is_empty()) else {
        return Some(Finding::failure(
            check,
            format!("{} holds something that is no certificate", file.display()),
            format!("set {key} to the PEM file with the chain (fullchain.pem)"),
        ));
    };
    let is_stale =
        shown.is_some_and(|shown| ders.first().is_some_and(|first| first.as_ref() != shown));
    Some(judge(&Facts {
        check,
        key,
        host,
        is_issued,
        is_known: is_known(&chain),
        is_stale,
        now: Now::read().unix.seconds(),
        chain: &chain,
    }))
}

/// What to do where the authority gives none.
const REISSUE: &str = "see the server's log for what the authority answers, and let the internet reach acme.listen over port 80";

/// When the first certificate of TURN's file begins to be good: no clock is right that is before it.
pub(super) fn not_before(config: &Config) -> Option<UnixSeconds> {
    let ders = read(file(&config.turn_identity)?);
    Some(Cert::parse(ders.first()?)?.not_before)
}

/// The PEM file, unless the certificate is made at each start.
fn file(identity: &Identity) -> Option<&Path> {
    match identity {
        Identity::Files { cert, .. } => Some(cert),
        Identity::Issued { file, .. } => Some(file),
        Identity::SelfSigned { .. } => None,
    }
}

/// The certificates among what it holds.
fn read(file: &Path) -> Vec<CertificateDer<'static>> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect);
    read.unwrap_or_default()
}

/// Where Debian, Fedora and Alpine keep the authorities that they trust.
const STORES: [&str; 3] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
];

fn is_known(chain: &[Cert]) -> bool {
    let Some(last) = chain.last() else {
        return false;
    };
    let public = webpki_roots::TLS_SERVER_ROOTS.iter();
    let mut subjects = public.map(|root| root.subject.as_ref());
    let issuer = contents(&last.issuer_der);
    if subjects.any(|subject| subject == issuer) {
        return true;
    }
    let trusted = STORES.iter().flat_map(|store| read(Path::new(store)));
    let mut trusted = trusted.filter_map(|der| Cert::parse(&der));
    trusted.any(|root| root.subject_der == last.issuer_der)
}

/// A DER value without its tag and length, as lists of roots have names.
fn contents(der: &[u8]) -> &[u8] {
    let skipped = match der.get(1) {
        Some(long @ 0x80..) => 2 + usize::from(long & 0x7F),
        Some(_) | None => 2,
    };
    der.get(skipped..).unwrap_or_default()
}

fn judge(facts: &Facts<'_>) -> Finding {
    let Some((leaf, last)) = facts.chain.first().zip(facts.chain.last()) else {
        return Finding::failure(facts.check, "there is none", format!("set {}", facts.key));
    };
    let wrong = [dates, order, names, authority, days_left, stale];
    if let Some(finding) = wrong.iter().find_map(|wrong| wrong(facts, leaf)) {
        return finding;
    }
    let authority = match facts.is_known {
        true => "",
        false => ", an authority of your own: only clients that trust it connect",
    };
    Finding::ok(
        facts.check,
        format!(
            "for {}, by {}{authority}, good for {} days",
            leaf.all_names(),
            last.issuer,
            days(facts, leaf)
        ),
    )
}

fn dates(facts: &Facts<'_>, leaf: &Cert) -> Option<Finding> {
    let (check, now) = (facts.check, facts.now);
    if leaf.not_before > now {
        return Some(Finding::failure(
            check,
            format!(
                "it is not good before {}, and the clock says {}",
                date(leaf.not_before),
                date(now)
            ),
            "set the clock (timedatectl set-ntp true); if the clock is right, get another certificate",
        ));
    }
    // Clients have the roots themselves.
    let (own, above) = facts.chain.split_first()?;
    let intermediates = above.iter().filter(|cert| !cert.is_self_signed());
    let mut counting = [own].into_iter().chain(intermediates);
    let expired = counting.find(|cert| cert.not_after <= now)?;
    let ago = now.0.saturating_sub(expired.not_after.0) / DAY_SECONDS;
    let clock = match ago {
        0..=1 => "; if it should be good, the clock is ahead",
        _ => "",
    };
    Some(Finding::failure(
        check,
        format!(
            "the certificate of {} expired on {}, {ago} days ago{clock}",
            expired.subject,
            date(expired.not_after)
        ),
        match facts.is_issued {
            true => REISSUE.to_owned(),
            false => format!(
                "renew it (certbot renew), and let {} name the new one",
                facts.key
            ),
        },
    ))
}

fn names(facts: &Facts<'_>, leaf: &Cert) -> Option<Finding> {
    let (host, host_key) = facts.host?;
    if leaf.is_for(host) {
        return None;
    }
    let first = leaf.names.iter().find(|name| !name.starts_with('*'));
    let rename = first.map(|name| format!("set {host_key} = \"{name}\", or "));
    Some(Finding::failure(
        facts.check,
        format!("it is for {}, but clients come to {host}", leaf.all_names()),
        format!("{}get a certificate for {host}", rename.unwrap_or_default()),
    ))
}

/// Itself, or one whose intermediate is missing.
fn authority(facts: &Facts<'_>, leaf: &Cert) -> Option<Finding> {
    let Facts { check, key, .. } = *facts;
    let host = facts.host.map_or("NAME", |(host, _)| host);
    if leaf.is_self_signed() {
        return Some(Finding::warning(
            check,
            format!(
                "it is self-signed, for {}: browsers refuse it",
                leaf.all_names()
            ),
            format!(
                "set {key} to one from an authority that browsers know: certbot certonly --standalone -d {host}"
            ),
        ));
    }
    let last = facts.chain.last()?;
    if facts.is_known || last.is_self_signed() {
        return None;
    }
    let words = last.issuer.to_lowercase();
    let known = ["intermediate", "issuing", "sub ca", "subca"];
    let sounds_like_one = known.iter().any(|word| words.contains(word));
    (last.names_issuer || sounds_like_one).then(|| {
        Finding::failure(
            check,
            format!(
                "the chain is incomplete: the intermediate certificate of {} is missing",
                last.issuer
            ),
            format!("append it to {key} (fullchain.pem instead of cert.pem)"),
        )
    })
}

fn days_left(facts: &Facts<'_>, leaf: &Cert) -> Option<Finding> {
    let days = days(facts, leaf);
    (days < DAYS_LEFT_MIN).then(|| {
        Finding::warning(
            facts.check,
            format!("it expires in {days} days, on {}", date(leaf.not_after)),
            match facts.is_issued {
                true => REISSUE,
                false => {
                    "renew it now (certbot renew), and see why that has not happened by itself"
                }
            },
        )
    })
}

fn stale(facts: &Facts<'_>, _: &Cert) -> Option<Finding> {
    facts.is_stale.then(|| {
        Finding::warning(
            facts.check,
            format!(
                "the running server shows another one than {} names",
                facts.key
            ),
            "let it load its files anew (kill -HUP its process), or restart it",
        )
    })
}

fn days(facts: &Facts<'_>, leaf: &Cert) -> u64 {
    leaf.not_after.0.saturating_sub(facts.now.0) / DAY_SECONDS
}

/// Each must have been issued by the next.
fn order(facts: &Facts<'_>, _: &Cert) -> Option<Finding> {
    let mut pairs = facts.chain.windows(2);
    let [cert, next] = pairs.find(|pair| pair[0].issuer_der != pair[1].subject_der)? else {
        return None;
    };
    Some(Finding::failure(
        facts.check,
        format!(
            "the chain is broken: {} was issued by {}, but {} follows",
            cert.subject, cert.issuer, next.subject
        ),
        format!(
            "put into {} the server's own certificate, then its issuer's, and so on (fullchain.pem)",
            facts.key
        ),
    ))
}

fn date(moment: UnixSeconds) -> String {
    let text = moment.millis().iso8601();
    text.split('T').next().unwrap_or_default().to_owned()
}

const DAY_SECONDS: u64 = Duration::from_secs(24 * 3600).as_secs();
const DAYS_LEFT_MIN: u64 = 14;

#[cfg(test)]
mod tests {
    use super::super::report::Status;
    use super::*;

    #[test]
    fn a_chain_is_judged() {
        let leaf = || cert("CN=turn", "CN=CA");
        let by = |issuer: &str| cert("CN=turn", issuer);
        let next = |subject: &str| cert(subject, "CN=Root");
        holds(&[
            ("good", vec![leaf()], Status::Ok, ""),
            (
                "with its issuer",
                vec![leaf(), next("CN=CA")],
                Status::Ok,
                "",
            ),
            (
                "out of order",
                vec![leaf(), next("CN=B")],
                Status::Failure,
                "fullchain.pem",
            ),
            (
                "self-signed",
                vec![by("CN=turn")],
                Status::Warning,
                "authority",
            ),
            (
                "without its issuer",
                vec![by("CN=Issuing CA 1")],
                Status::Failure,
                "append",
            ),
        ]);
    }

    #[test]
    fn days_and_names_are_judged() {
        let until = |moment| Cert {
            not_after: UnixSeconds(moment),
            ..cert("CN=turn", "CN=CA")
        };
        let from = |moment| Cert {
            not_before: UnixSeconds(moment),
            ..cert("CN=turn", "CN=CA")
        };
        let named = |name: &str| Cert {
            names: vec![name.to_owned()],
            ..cert("CN=turn", "CN=CA")
        };
        let soon = NOW + 5 * DAY_SECONDS;
        holds(&[
            ("expired", vec![until(NOW - 1)], Status::Failure, "renew"),
            ("soon", vec![until(soon)], Status::Warning, "renew"),
            ("not yet", vec![from(NOW + 9)], Status::Failure, "clock"),
            (
                "another's",
                vec![named("a.example")],
                Status::Failure,
                "turn.host = \"a.example\"",
            ),
            ("for all", vec![named("*.example.org")], Status::Ok, ""),
        ]);
    }

    #[track_caller]
    fn holds(cases: &[(&str, Vec<Cert>, Status, &str)]) {
        for (name, chain, status, fix) in cases {
            let finding = judge(&Facts {
                check: "certificate",
                key: "turn.tls_cert_file",
                host: Some(("turn.example.org", "turn.host")),
                chain,
                is_issued: false,
                is_known: false,
                is_stale: false,
                now: UnixSeconds(NOW),
            });
            assert_eq!(finding.status, *status, "{name}: {finding:?}");
            let said = finding.fix.clone().unwrap_or_default();
            assert!(said.contains(fix), "{name}: {finding:?}");
        }
    }

    #[test]
    fn a_made_certificate_is_read() {
        let names = ["turn.example.org", "192.0.2.1"].map(str::to_owned);
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let cert = Cert::parse(made.cert.der()).unwrap();
        assert!(cert.is_for("turn.example.org") && cert.is_for("192.0.2.1"));
        assert!(!cert.is_for("example.org") && cert.is_self_signed());
        assert_eq!(contents(&[0x30, 0x81, 2, 1, 2]), [2, 1, 2][1..].to_vec());
    }

    const NOW: u64 = 1_700_000_000;

    fn cert(subject: &str, issuer: &str) -> Cert {
        Cert {
            subject: subject.to_owned(),
            issuer: issuer.to_owned(),
            not_before: UnixSeconds(NOW - 100),
            not_after: UnixSeconds(NOW + 90 * DAY_SECONDS),
            names: vec!["turn.example.org".to_owned()],
            ips: Vec::new(),
            is_authority: false,
            names_issuer: false,
            subject_der: subject.as_bytes().to_vec(),
            issuer_der: issuer.as_bytes().to_vec(),
        }
    }
}
