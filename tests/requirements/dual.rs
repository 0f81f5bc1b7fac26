//! 58, and the rows of 54, 55, 57 and 67 about allocations with two relayed addresses
//! ([RFC 8656 §7.2](https://www.rfc-editor.org/rfc/rfc8656#section-7.2)).

use crate::bytes::*;
use crate::desk::*;
use crate::world::TOKEN;

fn dual() -> Builder {
    Builder::request(ALLOCATE).udp().additional(2)
}

#[test]
fn r54_a_token_excludes_an_additional_family() {
    let mut desk = Desk::new();
    assert_eq!(
        desk.code(dual().attr(attr::RESERVATION_TOKEN, &TOKEN.0)),
        400
    );
    assert_eq!((desk.allocations(), desk.world.open.len()), (0, 0));
}

#[test]
fn r55_one_family_attribute_excludes_the_other() {
    for family in [1, 2, 3] {
        let mut desk = Desk::new();
        assert_eq!(desk.code(dual().family(family)), 400, "{family}");
        assert_eq!((desk.allocations(), desk.world.open.len()), (0, 0));
    }
}

#[test]
fn r57_a_reserved_neighbour_excludes_an_additional_family() {
    let mut desk = Desk::new();
    assert_eq!(desk.code(dual().attr(attr::EVEN_PORT, &[0x80])), 400);
    assert_eq!((desk.allocations(), desk.world.open.len()), (0, 0));
}

#[test]
fn r58_an_additional_family_gives_two_relayed_addresses() {
    let mut desk = Desk::new();
    let answer = desk.ask(home(), ALICE, dual());
    let relayed = answer.relayed();
    assert_eq!((answer.code(), relayed.len()), (0, 2));
    assert_ne!(relayed[0].is_ipv4(), relayed[1].is_ipv4());
    assert!(!answer.has(attr::ADDRESS_ERROR_CODE));
    assert_eq!((desk.allocations(), desk.world.open.len()), (1, 2));
    assert_eq!((desk.permit(PEER), desk.permit(PEER_V6)), (0, 0));
    for peer in [PEER, PEER_V6] {
        assert_eq!(desk.send_to(peer, b"x").outward().0, peer.parse().unwrap());
    }
    assert_eq!(
        (desk.bind(0x4000, PEER), desk.bind(0x4001, PEER_V6)),
        (0, 0)
    );
    assert_eq!(desk.refresh(0).code(), 0);
    assert_eq!((desk.allocations(), desk.world.open.len()), (0, 0));
}

#[test]
fn r58_only_ipv6_can_be_additional() {
    for family in [0, 1, 3, 255] {
        let mut desk = Desk::new();
        let request = Builder::request(ALLOCATE).udp().additional(family);
        let code = desk.code(request);
        // RFC 8656 names 0x01 only; an unknown family is unsupported as much as malformed.
        assert!(
            code == 400 || family != 1 && code == 440,
            "{family}: {code}"
        );
        assert_eq!(desk.world.open.len(), 0, "{family}");
    }
    let mut desk = Desk::new();
    let short = Builder::request(ALLOCATE)
        .udp()
        .attr(attr::ADDITIONAL_ADDRESS_FAMILY, &[2]);
    assert_eq!(desk.code(short), 400);
}

#[test]
fn r58_one_address_and_the_reason_for_the_missing_one() {
    let mut desk = Desk::new();
    desk.world.has_ipv6 = false;
    let answer = desk.ask(home(), ALICE, dual());
    assert_eq!((answer.code(), answer.relayed().len()), (0, 1));
    let [family, 0, class, number, ..] = answer.get(attr::ADDRESS_ERROR_CODE).unwrap()[..] else {
        panic!("{answer:?}");
    };
    assert_eq!((family, class, number), (2, 4, 40));
    let mut desk = Desk::new();
    desk.world.relays_max = 1;
    let answer = desk.ask(home(), ALICE, dual());
    assert_eq!((answer.code(), answer.relayed().len()), (0, 1));
    let reason = answer.get(attr::ADDRESS_ERROR_CODE).unwrap();
    assert_eq!((reason[2], reason[3]), (5, 8));
    assert_eq!(desk.world.open.len(), 1);
}

#[test]
fn r58_without_any_port_there_is_508() {
    let mut desk = Desk::new();
    desk.world.relays_max = 0;
    assert_eq!(desk.code(dual()), 508);
    assert_eq!((desk.allocations(), desk.world.open.len()), (0, 0));
}

#[test]
fn r67_a_refresh_may_be_for_one_family() {
    for (gone, kept, peer) in [(1, 2, PEER_V6), (2, 1, PEER)] {
        let mut desk = Desk::new();
        assert_eq!(desk.code(dual()), 0);
        assert_eq!((desk.permit(PEER), desk.permit(PEER_V6)), (0, 0));
        assert_eq!(desk.code(good(REFRESH).family(gone).lifetime(0)), 0);
        assert_eq!((desk.allocations(), desk.world.open.len()), (1, 1));
        assert_eq!(desk.send_to(peer, b"x").outward().0, peer.parse().unwrap());
        assert_eq!(desk.code(good(REFRESH).family(gone).lifetime(600)), 443);
        assert_eq!(desk.code(good(REFRESH).family(gone).lifetime(0)), 443);
        assert_eq!(desk.code(good(REFRESH).family(kept).lifetime(0)), 0);
        assert_eq!((desk.allocations(), desk.world.open.len()), (0, 0));
    }
}

#[test]
fn r67_each_family_has_an_expiry_of_its_own() {
    let mut desk = Desk::new();
    assert_eq!(desk.code(dual()), 0);
    assert_eq!(desk.code(good(REFRESH).family(2).lifetime(1800)), 0);
    desk.wait(600);
    assert_eq!((desk.allocations(), desk.world.open.len()), (1, 1));
    assert_eq!(desk.permit(PEER_V6), 0);
    desk.send_to(PEER_V6, b"x").outward();
    desk.wait(1200);
    assert_eq!((desk.allocations(), desk.world.open.len()), (0, 0));
}
