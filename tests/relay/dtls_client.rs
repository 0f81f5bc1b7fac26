//! A DTLS client over a UDP socket of its own: the library's other half.

use std::{net::SocketAddr, sync::Arc, time::Instant};

use dimpl::{Config, Dtls, DtlsCertificate, Output, crypto::rust_crypto};
use setu::clock::Now;
use tokio::{net::UdpSocket, time::timeout_at};

pub(crate) struct DtlsClient {
    pub(crate) socket: UdpSocket,
    /// What the server has shown.
    #[allow(dead_code, reason = "each test target uses its part")]
    pub(crate) shown: Vec<u8>,
    dtls: Dtls,
    resend_at: Instant,
    is_connected: bool,
    is_closed: bool,
}

impl DtlsClient {
    /// Connected to nothing yet.
    pub(crate) async fn to(server: SocketAddr, from: SocketAddr) -> Self {
        let socket = UdpSocket::bind(from).await.unwrap();
        socket.connect(server).await.unwrap();
        Self::over(socket)
    }

    /// A client that begins anew on a socket.
    pub(crate) fn over(socket: UdpSocket) -> Self {
        let config = Config::builder().with_crypto_provider(rust_crypto::default_provider());
        let made = rcgen::generate_simple_self_signed(vec!["client".to_owned()]).unwrap();
        let certificate = DtlsCertificate {
            certificate: made.cert.der().to_vec(),
            private_key: made.signing_key.serialize_der(),
        };
        let now = Now::read().mono;
        let mut dtls = Dtls::new_12(Arc::new(config.build().unwrap()), certificate, now);
        dtls.set_active(true);
        dtls.handle_timeout(now).unwrap();
        Self {
            socket,
            shown: Vec::new(),
            dtls,
            resend_at: now,
            is_connected: false,
            is_closed: false,
        }
    }

    /// Shakes hands.
    pub(crate) async fn connect(&mut self) {
        while !self.is_connected {
            assert!(self.flush().await.is_none(), "data before the handshake");
            if !self.is_connected {
                self.wait().await;
            }
        }
    }

    pub(crate) async fn send(&mut self, message: &[u8]) {
        self.dtls.send_application_data(message).unwrap();
        assert!(self.flush().await.is_none(), "an answer was not awaited");
    }

    /// `None` when the server has said goodbye.
    pub(crate) async fn receive(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(message) = self.flush().await {
                return Some(message);
            }
            if self.is_closed {
                return None;
            }
            self.wait().await;
        }
    }

    /// Goes away without a word.
    pub(crate) fn vanish(mut self) {
        self.is_closed = true;
    }

    /// Sends what is to be sent, up to the next message that has come.
    async fn flush(&mut self) -> Option<Vec<u8>> {
        let mut room = vec![0; 65_536];
        loop {
            match self.dtls.poll_output(&mut room) {
                Output::Packet(datagram) => {
                    self.socket.send(datagram).await.unwrap();
                }
                Output::ApplicationData(message) => return Some(message.to_vec()),
                Output::Connected => self.is_connected = true,
                Output::CloseNotify => self.is_closed = true,
                Output::Timeout(at) => {
                    self.resend_at = at;
                    return None;
                }
                Output::PeerCert(shown) => self.shown = shown.to_vec(),
                Output::KeyingMaterial(..) | Output::BufferTooSmall { .. } | _ => {}
            }
        }
    }

    async fn wait(&mut self) {
        let mut datagram = vec![0; 65_536];
        let received = self.socket.recv(&mut datagram);
        let received = timeout_at(self.resend_at.into(), received).await;
        self.dtls.handle_timeout(Now::read().mono).unwrap();
        if let Ok(received) = received {
            let bytes = received.unwrap();
            self.dtls.handle_packet(&datagram[..bytes]).unwrap();
        }
    }
}

/// Says goodbye.
impl Drop for DtlsClient {
    fn drop(&mut self) {
        if self.is_closed || self.dtls.close().is_err() {
            return;
        }
        let mut room = [0; 256];
        while let Output::Packet(datagram) = self.dtls.poll_output(&mut room) {
            // Whoever is not there any more need not hear it.
            let _ = self.socket.try_send(datagram);
        }
    }
}
