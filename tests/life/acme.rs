//! Certificates that come by themselves from an authority, and go on coming.

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use rcgen::{CertificateParams, KeyPair};
use setu::acme::{self, Challenges, Settings};
use setu::http::{
    forwarded::TrustedProxies,
    listeners::{Listeners, Room},
};
use setu::relay::{Inherited, Listen};
use setu::source::PerSource;
use tokio::{sync::watch, time::timeout};

use crate::authority::Authority;
use crate::certificates;
use crate::common::{DEADLINE, Folder};
use crate::https;
use crate::process::Setu;

#[tokio::test(flavor = "multi_thread")]
async fn one_certificate_comes_for_http_and_turn_and_is_kept() {
    let folder = Folder::new();
    let authority = Authority::start(&folder, 0).await;
    let dir = folder.0.display();
    let toml = format!(
        "[acme]\ndomains = [\"localhost\", \"other.example\"]\ncontact = [\"admin@example.org\"]\n\
         directory = \"{}\"\ndirectory_ca_file = \"{dir}/root.pem\"\nstate_dir = \"{dir}/state\"\n\
         listen = [\"127.0.0.1:0\"]\n",
        authority.directory
    );
    let mut setu = Setu::start_in(folder, &toml, |_| {});
    // Until there is one, another is shown, and everything works but what wants to trust it.
    let made = certificates::shown(setu.tls).await;
    authority.looks_at(setu.acme);
    setu.line("there is a new certificate");
    for _ in ["http", "turn"] {
        setu.line("new clients are shown a new certificate");
    }
    let issued = certificates::shown(setu.tls).await;
    assert_ne!(issued, made);
    assert_eq!(certificates::shown(setu.http).await, issued);
    assert_eq!(certificates::shown_over_dtls(setu.dtls).await, issued);
    // A client that trusts the authority trusts the server.
    let answer = https::ask(setu.http, &authority.root, "/health").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let servers = https::ask(
        setu.http,
        &authority.root,
        "/ice-servers?participantId=alice",
    )
    .await;
    assert!(servers.contains("turns:localhost:"), "{servers}");
    let state = setu.folder.0.join("state");
    for (path, mode) in [
        ("", 0o700),
        ("account.json", 0o600),
        ("certificate.pem", 0o600),
    ] {
        let found = fs::metadata(state.join(path)).unwrap().permissions().mode() & 0o777;
        assert_eq!(found, mode, "{path:?}");
    }
    setu.signal("TERM");
    assert!(setu.wait().success());

    // The next process has it from its start, and orders none.
    let setu = setu.again(&toml);
    assert_eq!(certificates::shown(setu.tls).await, issued);
    assert_eq!(certificates::shown(setu.http).await, issued);
    assert_eq!((authority.accounts(), authority.orders()), (1, 1));
}

#[tokio::test]
async fn an_authority_that_fails_is_asked_again_with_the_same_account() {
    let folder = Folder::new();
    let authority = Authority::start(&folder, 2).await;
    let file = keep(&folder, &authority).await;
    until(&file, |_| true).await;
    assert_eq!((authority.accounts(), authority.orders()), (1, 3));
}

#[tokio::test]
async fn a_certificate_is_renewed_in_good_time_and_not_before() {
    for (name, from, until_day, is_renewed) in [
        ("a third is left", -61, 29, true),
        ("more is left", -59, 31, false),
        ("it is over", -91, -1, true),
    ] {
        let folder = Folder::new();
        let authority = Authority::start(&folder, 0).await;
        let before = old_certificate(&folder, from, until_day);
        let file = keep(&folder, &authority).await;
        if is_renewed {
            until(&file, |now| now != before).await;
        }
        // Nothing tells of what is not done: another one is ordered first, and then it would have been.
        let witness = Folder::new();
        let other = keep(&witness, &authority_of(&witness).await).await;
        until(&other, |_| true).await;
        assert_eq!(authority.orders(), usize::from(is_renewed), "{name}");
    }
}

async fn authority_of(folder: &Folder) -> Authority {
    Authority::start(folder, 0).await
}

/// Keeps a certificate for `localhost` until the test is over: where it will be.
async fn keep(folder: &Folder, authority: &Authority) -> PathBuf {
    let listen = Listen {
        addr: SocketAddr::from(([127, 0, 0, 1], 0)),
        required: true,
    };
    let challenges = Challenges::default();
    let listeners = Listeners::bind("acme.listen", &[listen], &mut Inherited::default()).unwrap();
    authority.looks_at(listeners.bound()[0]);
    let room = Room::new(None, PerSource::default(), TrustedProxies::new(Vec::new()));
    let (never, stopped) = watch::channel(false);
    let router = challenges.router();
    tokio::spawn(async move {
        listeners.serve(router, None, room, stopped).await;
        drop(never);
    });
    let state_dir = folder.0.join("state");
    let file = acme::certificate_file(&state_dir);
    let settings = Settings {
        domains: vec!["localhost".to_owned()],
        contact: Vec::new(),
        directory: authority.directory.clone(),
        directory_ca: Some(folder.0.join("root.pem")),
        state_dir,
        listen: Vec::new(),
        retry_after: Duration::from_millis(20),
    };
    tokio::spawn(acme::keep(settings, challenges));
    file
}

fn old_certificate(folder: &Folder, from: i64, until: i64) -> Vec<u8> {
    let day = |days: i64| {
        let today = rcgen::date_time_ymd(1970, 1, 1)
            + Duration::from_secs(setu::clock::Now::read().unix.seconds().0);
        match u64::try_from(days) {
            Ok(days) => today + Duration::from_secs(days * 24 * 3600),
            Err(_) => today - Duration::from_secs(days.unsigned_abs() * 24 * 3600),
        }
    };
    let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    (params.not_before, params.not_after) = (day(from), day(until));
    let key = KeyPair::generate().unwrap();
    let pem = params.self_signed(&key).unwrap().pem() + &key.serialize_pem();
    fs::create_dir_all(folder.0.join("state")).unwrap();
    fs::write(folder.0.join("state/certificate.pem"), &pem).unwrap();
    pem.into_bytes()
}

async fn until(file: &Path, is_it: impl Fn(Vec<u8>) -> bool) {
    let look = async {
        while !fs::read(file).is_ok_and(&is_it) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(DEADLINE, look).await.unwrap();
}
