//! Peers limited to what was signaled, on the wire.

use setu::ident::{ParticipantId, SessionId, UserId};
use setu::relay::engine::signaled::PeerMode;
use tokio::{net::UdpSocket, time::timeout};

use crate::client::{Client, Over};
use crate::world::{PATIENCE, World};

#[tokio::test]
async fn a_peer_is_answered_403_until_it_was_signaled_in_a_session_of_the_participant() {
    let world = World::with(|settings| settings.engine.peer_mode = PeerMode::Signaled);
    let (alice, session) = (
        ParticipantId::parse("alice").unwrap(),
        SessionId::parse("reading").unwrap(),
    );
    let (user, signaled) = (UserId::of(&alice), world.relay.signaled());
    assert_eq!(world.relay.peer_mode(), PeerMode::Signaled);
    let issued = world.issue(&alice);
    // 127.0.0.1 is the relayed address, and so admitted.
    let peer = UdpSocket::bind("127.0.0.7:0").await.unwrap();
    let peer_addr = peer.local_addr().unwrap();
    for (over, refused) in Over::ALL.into_iter().zip([3, 7, 11]) {
        let password = issued.password.expose();
        let mut client = Client::as_user(&world, over, &issued.username, password).await;
        client.allocate().await.unwrap();
        assert_eq!(client.permit(peer_addr).await.err(), Some(403), "{over:?}");
        assert_eq!(
            client.bind_channel(0x4000, peer_addr).await.err(),
            Some(403)
        );
        signaled.enter(&user, &session);
        assert_eq!(client.permit(peer_addr).await.err(), Some(403));
        let snapshot = world.relay.snapshot().await;
        assert_eq!(snapshot.engine.unsignaled_refused, refused);

        assert!(signaled.saw(&session, [peer_addr.ip()]));
        client.permit(peer_addr).await.unwrap();
        client.bind_channel(0x4000, peer_addr).await.unwrap();
        client.send_channel_data(0x4000, b"namaste").await;
        let mut buffer = [0; 64];
        let received = timeout(PATIENCE, peer.recv(&mut buffer)).await;
        assert_eq!(&buffer[..received.unwrap().unwrap()], b"namaste");
        signaled.end(&session);
        assert_eq!(client.permit(peer_addr).await.err(), Some(403));
    }
}

#[tokio::test]
async fn relayed_addresses_of_the_cluster_and_static_users_peers_need_no_signaling() {
    let world = World::with(|settings| settings.engine.peer_mode = PeerMode::Signaled);
    let issued = world.issue(&ParticipantId::parse("alice").unwrap());
    let (name, password) = (&issued.username, issued.password.expose());
    let mut alice = Client::as_user(&world, Over::Udp, name, password).await;
    let own = alice.allocate().await.unwrap();
    let other_node = "127.0.0.9:49160".parse().unwrap();
    alice.permit(own).await.unwrap();
    assert_eq!(alice.permit(other_node).await.err(), Some(403));
    world.relay.signaled().set_cluster(vec![other_node.ip()]);
    alice.permit(other_node).await.unwrap();

    let mut fixed = Client::new(&world, Over::Udp).await;
    fixed.allocate().await.unwrap();
    fixed.permit("127.0.0.8:1".parse().unwrap()).await.unwrap();
}
