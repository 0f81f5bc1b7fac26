//! What is agreed on before TURN over TLS begins.

use std::sync::Arc;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{AlertDescription, Error as TlsError, pki_types::ServerName},
};

use setu::trusting::client_config;

use crate::world::{PATIENCE, World};

/// The protocol, if any, or why there is no session.
type Agreed<'a> = Result<Option<&'a [u8]>, AlertDescription>;

#[tokio::test]
async fn alpn_names_turn_or_stun_or_the_handshake_fails() {
    let world = World::start();
    let cases: [(&[&[u8]], Agreed<'_>); 6] = [
        (&[], Ok(None)),
        (&[b"stun.turn"], Ok(Some(b"stun.turn"))),
        (&[b"stun.nat-discovery"], Ok(Some(b"stun.nat-discovery"))),
        (
            &[b"stun.nat-discovery", b"stun.turn"],
            Ok(Some(b"stun.turn")),
        ),
        (&[b"http/1.1", b"stun.turn"], Ok(Some(b"stun.turn"))),
        (
            &[b"h2", b"http/1.1"],
            Err(AlertDescription::NoApplicationProtocol),
        ),
    ];
    for (offered, expected) in cases {
        let mut config = client_config().unwrap();
        config.alpn_protocols = offered.iter().map(|name| name.to_vec()).collect();
        let socket = TcpStream::connect(world.tls()).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let connected = TlsConnector::from(Arc::new(config))
            .connect(name, socket)
            .await;
        let agreed = match &connected {
            Ok(stream) => Ok(stream.get_ref().1.alpn_protocol()),
            Err(error) => match error.get_ref().and_then(|error| error.downcast_ref()) {
                Some(TlsError::AlertReceived(alert)) => Err(*alert),
                _ => panic!("{error}"),
            },
        };
        assert_eq!(agreed, expected, "{offered:?}");
    }
}

#[tokio::test]
async fn r19_tls_1_0_and_1_1_are_refused() {
    let world = World::start();
    for minor in [1, 2] {
        let body = [
            &[3, minor][..],
            &[0xAB; 32],
            // No session id; ECDHE-ECDSA and ECDHE-RSA with AES-128-CBC; no compression; no extensions.
            &[0, 0, 4, 0xC0, 0x09, 0xC0, 0x13, 1, 0],
        ]
        .concat();
        let length = u8::try_from(body.len()).unwrap();
        let hello = [&[22, 3, 1, 0, length + 4, 1, 0, 0, length][..], &body].concat();
        let mut socket = TcpStream::connect(world.tls()).await.unwrap();
        socket.write_all(&hello).await.unwrap();
        let mut answer = Vec::new();
        let closed = timeout(PATIENCE, socket.read_to_end(&mut answer)).await;
        assert!(closed.is_ok(), "still open");
        // A fatal alert, and nothing else.
        assert_eq!(
            (answer[0], answer[5], answer.len()),
            (21, 2, 7),
            "{answer:?}"
        );
    }
}
