//! STUN without its magic cookie (RFC 8489 §11).

use setu::relay::engine::DropReason;
use setu::relay::engine::five_tuple::Transport;

use crate::world::{ALICE, World};

#[test]
fn r15_a_classic_binding_is_refused_over_dtls_and_ignored_elsewhere() {
    let classic = [&[0, 1, 0, 0][..], b"sixteen bytes id"].concat();
    for transport in [Transport::Udp, Transport::Tcp, Transport::Tls] {
        let mut from = ALICE.address();
        from.transport = transport;
        let did = World::new().send(from, &classic);
        assert_eq!(did.dropped(), DropReason::Malformed, "{transport:?}");
    }
    let mut from = ALICE.address();
    from.transport = Transport::Dtls;
    let answer = World::new().answer_to(from, &classic).unwrap();
    // An error response of the same transaction, and in it ERROR-CODE 500.
    assert_eq!(answer[..2], [0x01, 0x11]);
    assert_eq!(answer[4..20], classic[4..]);
    assert_eq!(answer[20..22], [0x00, 0x09]);
    assert_eq!(answer[24..28], [0, 0, 5, 0]);
}

#[test]
fn r15_a_classic_allocate_is_ignored_over_dtls_too() {
    let classic = [&[0, 3, 0, 0][..], b"sixteen bytes id"].concat();
    let mut from = ALICE.address();
    from.transport = Transport::Dtls;
    assert_eq!(
        World::new().send(from, &classic).dropped(),
        DropReason::Malformed
    );
}
