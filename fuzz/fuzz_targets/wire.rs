//! A datagram, read as everything it could be.

#![no_main]

use libfuzzer_sys::fuzz_target;
use setu::relay::wire::channel_data::{ChannelData, ChannelRange};
use setu::relay::wire::classic;
use setu::relay::wire::connection::ConnectionId;
use setu::relay::wire::demux;
use setu::relay::wire::dtls_hello::{COOKIE_BYTES, ClientHello};
use setu::relay::wire::dtls_record::{may_belong_to_session, shift_clear_sequence};
use setu::relay::wire::message::{HEADER_BYTES, Message};
use setu::relay::wire::mobility::Ticket;
use setu::relay::wire::request::Request;
use setu::relay::wire::send::SendIndication;

fuzz_target!(|datagram: &[u8]| {
    let _ = demux::classify(datagram);
    let _ = (Ticket::named_in(datagram), ConnectionId::named_in(datagram));
    dtls(datagram);
    if let Some(refusal) = classic::refusal(datagram) {
        assert!(2 * (28 + refusal.len()) <= 5 * (28 + datagram.len()));
    }
    for range in [ChannelRange::Rfc8656, ChannelRange::Rfc5766] {
        if let Some(data) = ChannelData::parse(datagram.into(), range) {
            assert!(data.payload.bytes().len() + 4 <= datagram.len());
        }
    }
    let Some(message) = Message::parse(datagram) else {
        return;
    };
    let sizes = message.attributes().map(|found| found.value.len());
    let values: usize = sizes.map(|bytes| 4 + bytes.next_multiple_of(4)).sum();
    assert_eq!(HEADER_BYTES + values, datagram.len());
    let _ = message.integrities();
    let _ = SendIndication::parse(&message);
    if let Some(request) = Request::new(message, message.fingerprint()) {
        read(&request);
    }
});

fn dtls(datagram: &[u8]) {
    let _ = may_belong_to_session(datagram, false);
    let _ = may_belong_to_session(datagram, true);
    shift_clear_sequence(&mut datagram.to_vec(), 7);
    let Some(hello) = ClientHello::parse(datagram) else {
        return;
    };
    // Answers to the unproven are small.
    let answers = [hello.verify_request(&[7; COOKIE_BYTES]), hello.refusal()];
    assert!(
        answers
            .iter()
            .all(|answer| answer.len() <= datagram.len() + COOKIE_BYTES)
    );
    let _ = (hello.random(), hello.parameters(), hello.is_second());
    let first = hello.first_of_handshake();
    let first = ClientHello::parse(&first).unwrap();
    assert_eq!(
        (first.random(), first.parameters()),
        (hello.random(), hello.parameters())
    );
    assert!(!first.is_second() && first.cookie.is_empty());
}

fn read(request: &Request<'_>) {
    let _ = (request.username(), request.realm(), request.nonce());
    let _ = (request.lifetime(), request.requested_transport());
    let _ = (
        request.requested_family(),
        request.additional_family(),
        request.even_port(),
    );
    let _ = (
        request.user_hash(),
        request.password_algorithm(),
        request.password_algorithms(),
    );
    let _ = (request.integrities(), request.connection_id());
    let _ = (request.reservation_token(), request.channel_number());
    let _ = (
        request.peer(),
        request.peers(),
        request.unknown_attributes(),
    );
}
