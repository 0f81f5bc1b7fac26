//! A call of four, all of it relayed over TLS, that goes on whatever the operator changes.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    sync::watch,
    task::JoinSet,
    time::{interval, timeout},
};

use crate::certificates;
use crate::client::{Client, Over};
use crate::common::{DEADLINE, Folder};
use crate::process::Setu;

const PEOPLE: usize = 4;
const CHANNEL: u16 = 0x4000;
const EVERY: Duration = Duration::from_millis(5);

#[tokio::test(flavor = "multi_thread")]
async fn a_call_over_tls_loses_nothing_while_certificate_secret_and_limits_change() {
    let folder = Folder::new();
    let (old, new) = (
        certificates::make(&folder, "old"),
        certificates::make(&folder, "new"),
    );
    let config = |name: &str, more: &str| {
        let dir = folder.0.display();
        format!(
            "[turn]\nusers = [\"alice:north\"]\ntls_cert_file = \"{dir}/{name}.pem\"\n\
             tls_key_file = \"{dir}/{name}.key\"\n{more}"
        )
    };
    let first = config("old", "[credentials]\nsecret = \"one\"\n");
    let rotated = "[credentials]\nsecret = \"two\"\nprevious_secrets = [\"one\"]\n";
    let changes = [
        config("new", "[credentials]\nsecret = \"one\"\n"),
        config("new", rotated),
        config(
            "new",
            &format!("{rotated}[limits]\nallocations_per_user = 1\n"),
        ),
        config(
            "old",
            &format!("{rotated}[limits]\nbytes_per_second_per_user = 100000000\n"),
        ),
        config(
            "new",
            &format!("{rotated}[peers]\ndeny = [\"203.0.113.0/24\"]\n"),
        ),
    ];
    let setu = Setu::start(&first);
    assert_eq!(certificates::shown(setu.tls).await, old);
    let (end, ended) = watch::channel(false);
    let (tell, mut told): (Vec<_>, Vec<_>) = (0..PEOPLE).map(|_| watch::channel(0)).unzip();
    let call = tokio::spawn(call(setu.tls, tell, ended));
    for config in changes {
        // So that each change falls into the middle of talk.
        goes_on(&mut told).await;
        let line = setu.reload(&config);
        assert!(
            line.contains("loaded anew") && line.contains(r#"needs_restart="""#),
            "{line}"
        );
    }
    goes_on(&mut told).await;
    end.send_replace(true);
    let heard = call.await.unwrap();
    assert!(heard.iter().all(|frames| *frames >= 100), "{heard:?}");
    assert_eq!(certificates::shown(setu.tls).await, new);
}

/// Until everybody has heard twenty frames more of everybody else.
async fn goes_on(told: &mut [watch::Receiver<u32>]) {
    for heard in told {
        let enough = *heard.borrow() + 20;
        let more = heard.wait_for(|heard| *heard >= enough);
        timeout(DEADLINE, more).await.unwrap().unwrap();
    }
}

/// Everybody tells everybody else frame after frame until the end: how many each heard of each other, none of them lost.
/// Meanwhile `tell` has how many each has heard of everybody else.
async fn call(
    server: SocketAddr,
    tell: Vec<watch::Sender<u32>>,
    ended: watch::Receiver<bool>,
) -> Vec<u32> {
    let (mut people, mut relayed) = (Vec::new(), Vec::new());
    for _ in 0..PEOPLE {
        let mut client = Client::with(server, Over::Tls, "alice", "north").await;
        relayed.push(client.allocate().await.unwrap());
        people.push(client);
    }
    for (own, client) in people.iter_mut().enumerate() {
        for (number, other) in others(own, &relayed) {
            client.bind_channel(number, other).await.unwrap();
        }
    }
    let mut talks = JoinSet::new();
    for (client, tell) in people.into_iter().zip(tell) {
        talks.spawn(talk(client, tell, ended.clone()));
    }
    talks.join_all().await.concat()
}

fn others(own: usize, relayed: &[SocketAddr]) -> Vec<(u16, SocketAddr)> {
    let others = relayed
        .iter()
        .enumerate()
        .filter(|(other, _)| *other != own);
    (CHANNEL..).zip(others.map(|(_, addr)| *addr)).collect()
}

/// A frame is its number, and whether it is the last.
async fn talk(
    mut client: Client,
    tell: watch::Sender<u32>,
    ended: watch::Receiver<bool>,
) -> Vec<u32> {
    let (mut heard, mut silent) = (vec![0; PEOPLE - 1], 0);
    let mut ticks = interval(EVERY);
    let (mut sent, mut is_last) = (0_u32, false);
    while silent < PEOPLE - 1 || !is_last {
        tokio::select! {
            _ = ticks.tick(), if !is_last => {
                is_last = *ended.borrow();
                let frame = [&sent.to_be_bytes()[..], &[u8::from(is_last)]].concat();
                for (number, _) in (CHANNEL..).zip(&heard) {
                    client.send_channel_data(number, &frame).await;
                }
                sent += 1;
            }
            message = client.receive() => {
                let of = usize::from(u16::from_be_bytes([message[0], message[1]]) - CHANNEL);
                let frame = u32::from_be_bytes(message[4..8].try_into().unwrap());
                assert_eq!(frame, heard[of], "a frame was lost");
                heard[of] += 1;
                tell.send_replace(heard.iter().copied().min().unwrap());
                silent += usize::from(message[8] == 1);
            }
        }
    }
    heard
}
