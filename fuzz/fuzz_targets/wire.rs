//! A datagram, read as everything it could be.

#![no_main]

use libfuzzer_sys::fuzz_target;
use setu::relay::wire::channel_data::{ChannelData, ChannelRange};
use setu::relay::wire::demux;
use setu::relay::wire::message::{HEADER_BYTES, Message};
use setu::relay::wire::request::Request;
use setu::relay::wire::send::SendIndication;

fuzz_target!(|datagram: &[u8]| {
    let _ = demux::classify(datagram);
    for range in [ChannelRange::Rfc8656, ChannelRange::Rfc5766] {
        if let Some(data) = ChannelData::parse(datagram, range) {
            assert!(data.payload.len() + 4 <= datagram.len());
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
