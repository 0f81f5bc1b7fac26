//! A ClientHello on its way: until it has come, the kernel keeps what there is of it.

use std::{
    io::{self, ErrorKind},
    net::TcpStream,
};

use rustix::{
    io::ioctl_fionread,
    net::{RecvFlags, recv},
};

use crate::relay::worker::reactor::Tcp;

/// Waits until the first TLS record has come whole, or never will. Whoever sends half of one costs no more memory here
/// than whoever sends nothing.
///
/// # Errors
/// When the connection has failed.
pub(super) async fn arrived(socket: &Tcp) -> io::Result<()> {
    socket.look(await_record).await
}

/// Says that it would block while more is to come: then whoever asks waits for more than there is now.
fn await_record(socket: &TcpStream) -> io::Result<()> {
    let mut head = [0; HEADER_BYTES];
    let (came, _) = recv(socket, &mut head, RecvFlags::PEEK)?;
    let waiting = ioctl_fionread(socket)?;
    if is_whole(&head[..came], waiting) {
        return Ok(());
    }
    Err(ErrorKind::WouldBlock.into())
}

/// Whether there is no more to wait for: the record that `head` begins is there, or it is none.
fn is_whole(head: &[u8], waiting: u64) -> bool {
    let [content, _, _, length @ ..] = head else {
        return head.is_empty() || head[0] != HANDSHAKE;
    };
    if *content != HANDSHAKE {
        return true;
    }
    let Ok(length) = <[u8; 2]>::try_from(length) else {
        return false;
    };
    let record_bytes = HEADER_BYTES as u64 + u64::from(u16::from_be_bytes(length));
    waiting >= record_bytes.min(WAITING_BYTES_MAX)
}

/// [RFC 8446 §5.1](https://www.rfc-editor.org/rfc/rfc8446#section-5.1).
const HEADER_BYTES: usize = 5;
const HANDSHAKE: u8 = 22;
/// The TLS library takes so much at once, however little there is; a ClientHello is seldom half as long.
const WAITING_BYTES_MAX: u64 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_waited_for_unless_it_is_none_or_long() {
        let cases: &[(&str, &[u8], u64, bool)] = &[
            ("the end", &[], 0, true),
            ("one byte", &[22], 1, false),
            ("half a header", &[22, 3, 1, 2], 4, false),
            ("a header", &[22, 3, 1, 2, 0], 5, false),
            ("all but a byte", &[22, 3, 1, 2, 0], 516, false),
            ("the record", &[22, 3, 1, 2, 0], 517, true),
            ("more than it", &[22, 3, 1, 2, 0], 600, true),
            ("too long a one", &[22, 3, 1, 0xFF, 0xFF], 4095, false),
            ("enough of it", &[22, 3, 1, 0xFF, 0xFF], 4096, true),
            ("an alert", &[21], 1, true),
            ("HTTP", b"GET /", 5, true),
        ];
        for (name, head, waiting, whole) in cases {
            assert_eq!(is_whole(head, *waiting), *whole, "{name}");
        }
    }
}
