//! A DTLS client over a connected UDP socket.

use std::{io, sync::Arc, time::Instant};

use dimpl::{Config, DtlsCertificate, Output, crypto::rust_crypto};
use tokio::{net::UdpSocket, time::timeout_at};

use crate::clock::Now;

pub(super) struct Dtls {
    socket: UdpSocket,
    dtls: dimpl::Dtls,
    resend_at: Instant,
    is_connected: bool,
    is_closed: bool,
}

impl Dtls {
    /// Shakes hands, for as long as the caller cares to wait.
    pub(super) async fn connect(socket: UdpSocket) -> io::Result<Self> {
        let config = Config::builder().with_crypto_provider(rust_crypto::default_provider());
        let config = config.build().map_err(io::Error::other)?;
        let made = rcgen::generate_simple_self_signed(vec!["setu check".to_owned()]);
        let made = made.map_err(io::Error::other)?;
        let certificate = DtlsCertificate {
            certificate: made.cert.der().to_vec(),
            private_key: made.signing_key.serialize_der(),
        };
        let now = Now::read().mono;
        let mut dtls = dimpl::Dtls::new_12(Arc::new(config), certificate, now);
        dtls.set_active(true);
        dtls.handle_timeout(now).map_err(io::Error::other)?;
        let mut client = Self {
            socket,
            dtls,
            resend_at: now,
            is_connected: false,
            is_closed: false,
        };
        client.flush().await?;
        while !client.is_connected {
            client.wait().await?;
            client.flush().await?;
        }
        Ok(client)
    }

    pub(super) async fn send(&mut self, message: &[u8]) -> io::Result<()> {
        let sent = self.dtls.send_application_data(message);
        sent.map_err(io::Error::other)?;
        self.flush().await.map(drop)
    }

    pub(super) async fn receive(&mut self) -> io::Result<Vec<u8>> {
        loop {
            if let Some(message) = self.flush().await? {
                return Ok(message);
            }
            if self.is_closed {
                return Err(io::Error::other("the server closed the session"));
            }
            self.wait().await?;
        }
    }

    /// Sends what is to be sent, up to the next message that has come.
    async fn flush(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut room = vec![0; ROOM_BYTES];
        loop {
            match self.dtls.poll_output(&mut room) {
                Output::Packet(datagram) => {
                    self.socket.send(datagram).await?;
                }
                Output::ApplicationData(message) => return Ok(Some(message.to_vec())),
                Output::Connected => self.is_connected = true,
                Output::CloseNotify => self.is_closed = true,
                Output::Timeout(at) => {
                    self.resend_at = at;
                    return Ok(None);
                }
                Output::PeerCert(_)
                | Output::KeyingMaterial(..)
                | Output::BufferTooSmall { .. }
                | _ => {}
            }
        }
    }

    async fn wait(&mut self) -> io::Result<()> {
        let mut datagram = vec![0; ROOM_BYTES];
        let received = self.socket.recv(&mut datagram);
        let received = timeout_at(self.resend_at.into(), received).await;
        let timely = self.dtls.handle_timeout(Now::read().mono);
        timely.map_err(io::Error::other)?;
        if let Ok(received) = received {
            let bytes = received?;
            let handled = self.dtls.handle_packet(&datagram[..bytes]);
            handled.map_err(io::Error::other)?;
        }
        Ok(())
    }
}

/// Says goodbye, so that the server need not wait for it.
impl Drop for Dtls {
    fn drop(&mut self) {
        if self.is_closed || self.dtls.close().is_err() {
            return;
        }
        let mut room = [0; 256];
        while let Output::Packet(datagram) = self.dtls.poll_output(&mut room) {
            let _ = self.socket.try_send(datagram);
        }
    }
}

const ROOM_BYTES: usize = 65_536;
