//! The beginnings of DTLS handshakes, and nothing more of them.

use std::net::{SocketAddr, UdpSocket};

use crate::common::DEADLINE;
use crate::mutated::Random;

pub(crate) fn socket(server: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(server).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    socket
}

/// Sends a first ClientHello; the cookie that it is answered with.
pub(crate) fn ask_for_cookie(socket: &UdpSocket, random: &mut Random) -> Vec<u8> {
    first_flight(socket, &random.bytes(32))
}

/// Brings the cookie back, and leaves the server waiting for the rest.
pub(crate) fn shake_half_a_hand(server: SocketAddr, random: &mut Random) {
    let socket = socket(server);
    let name = random.bytes(32);
    let cookie = first_flight(&socket, &name);
    socket.send(&hello(&name, 1, &cookie)).unwrap();
    let mut answer = [0; 4096];
    socket.recv(&mut answer).unwrap();
    assert_eq!((answer[0], answer[13]), (HANDSHAKE, SERVER_HELLO));
}

fn first_flight(socket: &UdpSocket, name: &[u8]) -> Vec<u8> {
    socket.send(&hello(name, 0, b"")).unwrap();
    let mut answer = [0; 256];
    socket.recv(&mut answer).unwrap();
    assert_eq!((answer[0], answer[13]), (HANDSHAKE, VERIFY_REQUEST));
    // Behind both headers and the version.
    let length = usize::from(answer[27]);
    answer[28..28 + length].to_vec()
}

/// Offers one cipher suite and one curve of DTLS 1.2; `name` is the client's random.
fn hello(name: &[u8], number: u8, cookie: &[u8]) -> Vec<u8> {
    let cookie_bytes = u8::try_from(cookie.len()).unwrap();
    let body = [
        &[254, 253][..],
        name,
        &[0, cookie_bytes],
        cookie,
        &[0, 2, 0xC0, 0x2B, 1, 0, 0, 26],
        // supported_groups, ec_point_formats, signature_algorithms, extended_master_secret.
        &[0, 10, 0, 4, 0, 2, 0, 23],
        &[0, 11, 0, 2, 1, 0],
        &[0, 13, 0, 4, 0, 2, 4, 3],
        &[0, 23, 0, 0],
    ];
    let body = body.concat();
    let length = u8::try_from(body.len()).unwrap();
    let message = [1, 0, 0, length, 0, number, 0, 0, 0, 0, 0, length];
    let record = [22, 254, 253, 0, 0, 0, 0, 0, 0, 0, number, 0, length + 12];
    [&record[..], &message, &body].concat()
}

const HANDSHAKE: u8 = 22;
const SERVER_HELLO: u8 = 2;
const VERIFY_REQUEST: u8 = 3;
