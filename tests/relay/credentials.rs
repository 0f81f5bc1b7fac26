//! Who may allocate, and which peers may be reached.

use setu::clock::{Now, UnixSeconds};
use setu::ident::ParticipantId;

use crate::client::{Client, Over};
use crate::world::{PASSWORD, USER, World};

#[tokio::test]
async fn an_issued_credential_allocates_over_every_transport() {
    let world = World::start();
    let issued = world.issue(&ParticipantId::parse("श्री:alice").unwrap());
    for over in Over::ALL {
        let password = issued.password.expose();
        let mut client = Client::as_user(&world, over, &issued.username, password).await;
        assert!(client.allocate().await.is_ok(), "{over:?}");
    }
}

#[tokio::test]
async fn what_is_not_a_valid_credential_is_answered_401_and_gets_nothing() {
    let world = World::start();
    let alice = ParticipantId::parse("alice").unwrap();
    let valid = world.issue(&alice);
    let hour_ago = UnixSeconds(Now::read().unix.seconds().0 - 7200);
    let expired = world.credentials.issue(hour_ago, &alice);
    let (valid_password, expired_password) = (
        valid.password.expose().as_str(),
        expired.password.expose().as_str(),
    );
    let later = format!("9{}", valid.username);
    let other = valid.username.replace("alice", "mallory");
    let cases = [
        ("wrong password", USER, "wrong"),
        ("empty password", USER, ""),
        ("unknown user", "nobody", PASSWORD),
        ("expired", &expired.username, expired_password),
        ("moved expiry", &later, valid_password),
        ("another name", &other, valid_password),
        ("the secret itself", &valid.username, crate::world::SECRET),
    ];
    for (name, username, password) in cases {
        for over in Over::ALL {
            let mut client = Client::as_user(&world, over, username, password).await;
            assert_eq!(client.allocate().await, Err(401), "{name}, {over:?}");
        }
    }
    let snapshot = world.relay.snapshot().await;
    assert_eq!((snapshot.engine.allocations, snapshot.ports_in_use), (0, 0));
}

#[tokio::test]
async fn a_denied_peer_is_answered_403() {
    let world = World::with(|settings| {
        settings.engine.policy.deny = vec!["127.0.0.7/32".parse().unwrap()];
    });
    let mut client = Client::new(&world, Over::Udp).await;
    client.allocate().await.unwrap();
    let denied = "127.0.0.7:4000".parse().unwrap();
    assert_eq!(client.permit(denied).await.err(), Some(403));
    assert_eq!(client.bind_channel(0x4000, denied).await.err(), Some(403));
    assert!(
        client
            .permit("127.0.0.8:4000".parse().unwrap())
            .await
            .is_ok()
    );
}
