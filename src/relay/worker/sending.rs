//! The way out: from what the engine says to the socket or connection that takes it.

use std::{collections::HashMap, rc::Rc};

use rustc_hash::FxBuildHasher;

use crate::relay::engine::Outcome;
use crate::relay::engine::five_tuple::{FiveTuple, Transport};
use crate::relay::worker::client_udp::ClientUdp;
use crate::relay::worker::dtls::Sessions;
use crate::relay::worker::outbox::Outbox;
use crate::relay::worker::peer_tcp::PeerConnections;
use crate::relay::worker::relay_udp::Relays;

/// Everything that leads out.
pub(super) struct Sockets {
    pub(super) udp: Vec<Rc<ClientUdp>>,
    pub(super) dtls: Sessions,
    pub(super) streams: HashMap<FiveTuple, Rc<Outbox>, FxBuildHasher>,
    pub(super) relays: Relays,
    pub(super) peers: PeerConnections,
    pub(super) unsent: Unsent,
}

/// What the engine wanted sent and the kernel, or a slow reader, did not take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unsent {
    /// Datagrams for peers.
    pub to_peers: u64,
    /// Messages for clients.
    pub to_clients: u64,
}

impl Sockets {
    pub(super) fn deliver(&mut self, outcome: Outcome<'_>) {
        match outcome {
            Outcome::ToPeer {
                relay,
                peer,
                payload,
                dont_fragment,
            } => {
                let sent = self.relays.send(relay, peer, payload, dont_fragment);
                let sent = sent.is_ok();
                self.unsent.to_peers += u64::from(!sent);
            }
            Outcome::ToClient { client, bytes } => {
                let sent = match client.transport {
                    Transport::Udp => self.send_udp(client, bytes),
                    Transport::Dtls => self.dtls.send(client, bytes),
                    Transport::Tcp | Transport::Tls => self
                        .streams
                        .get(&client)
                        .is_some_and(|outbox| outbox.push_data(bytes)),
                };
                self.unsent.to_clients += u64::from(!sent);
            }
            // The engine counts what it drops.
            Outcome::Handled | Outcome::Dropped(_) => {}
        }
    }

    pub(super) fn respond(&mut self, client: FiveTuple, message: &[u8]) {
        let sent = match client.transport {
            Transport::Udp => self.send_udp(client, message),
            Transport::Dtls => self.dtls.send(client, message),
            Transport::Tcp | Transport::Tls => self
                .streams
                .get(&client)
                .is_some_and(|outbox| outbox.push_answer(message)),
        };
        self.unsent.to_clients += u64::from(!sent);
    }

    fn send_udp(&self, client: FiveTuple, datagram: &[u8]) -> bool {
        let socket = self.udp.iter().find(|socket| socket.serves(client.server));
        socket.is_some_and(|socket| socket.send(client, datagram).is_ok())
    }
}
