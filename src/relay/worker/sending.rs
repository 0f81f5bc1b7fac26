//! The way out: from what the engine says to the socket or connection that takes it.

use std::{collections::HashMap, rc::Rc, sync::Arc};

use arrayvec::ArrayVec;
use rustc_hash::FxBuildHasher;

use crate::relay::engine::Outcome;
use crate::relay::engine::five_tuple::{FiveTuple, RelayKey, Transport};
use crate::relay::wire::frame::Frame;
use crate::relay::worker::batch::{DEPARTURES_MAX, Trains};
use crate::relay::worker::client_udp::ClientUdp;
use crate::relay::worker::connection::Parts;
use crate::relay::worker::dtls::Sessions;
use crate::relay::worker::line::Line;
use crate::relay::worker::mailbox::Mailbox;
use crate::relay::worker::messages::Messages;
use crate::relay::worker::neighbours::Parcel;
use crate::relay::worker::peer_tcp::PeerConnections;
use crate::relay::worker::relay_udp::{Relays, ToPeer};

/// Everything that leads out.
pub(super) struct Sockets {
    pub(super) udp: Vec<Rc<ClientUdp>>,
    pub(super) dtls: Sessions,
    pub(super) streams: HashMap<FiveTuple, Rc<Line>, FxBuildHasher>,
    pub(super) relays: Relays,
    pub(super) peers: PeerConnections,
    pub(super) trains: Trains,
    pub(super) answers: Answers,
    /// All workers, by their numbers.
    pub(super) neighbours: Arc<[Arc<Mailbox>]>,
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

/// Answers over UDP, which leave together too.
#[derive(Default)]
pub(super) struct Answers {
    messages: Messages,
    clients: ArrayVec<FiveTuple, DEPARTURES_MAX>,
}

/// What a batch of datagrams comes to: it leaves together, once all of the batch is served.
pub(super) struct Outgoing<'b> {
    to_clients: ArrayVec<(FiveTuple, Frame<'b>, u8), DEPARTURES_MAX>,
    to_peers: ArrayVec<(RelayKey, ToPeer<'b>), DEPARTURES_MAX>,
    to_neighbours: ArrayVec<(u32, Parcel<'b>), DEPARTURES_MAX>,
}

impl Default for Outgoing<'_> {
    /// Made where it lies, or it costs each batch a copy of all its room.
    #[inline(always)]
    fn default() -> Self {
        Self {
            to_clients: ArrayVec::new_const(),
            to_peers: ArrayVec::new_const(),
            to_neighbours: ArrayVec::new_const(),
        }
    }
}

impl<'b> Outgoing<'b> {
    /// Takes what leaves as a datagram; `traffic_class` is that of the datagram which brought it.
    fn push(&mut self, outcome: Outcome<'b>, traffic_class: u8) {
        match outcome {
            Outcome::ToPeer {
                relay,
                peer,
                payload,
                dont_fragment,
            } => self.to_peers.push((
                relay,
                ToPeer {
                    peer,
                    payload,
                    dont_fragment,
                    traffic_class,
                },
            )),
            Outcome::ToNeighbour {
                worker,
                to,
                from,
                sender,
                payload,
            } => self.to_neighbours.push((
                worker,
                Parcel {
                    to,
                    from,
                    sender,
                    traffic_class,
                    payload,
                },
            )),
            Outcome::ToClient { client, frame } => {
                self.to_clients.push((client, frame, traffic_class));
            }
            // The engine counts what it drops.
            Outcome::Handled | Outcome::Dropped(_) => {}
        }
    }

    fn is_empty(&self) -> bool {
        self.to_clients.is_empty() && self.to_peers.is_empty() && self.to_neighbours.is_empty()
    }

    fn is_full(&self) -> bool {
        self.to_clients.is_full() || self.to_peers.is_full() || self.to_neighbours.is_full()
    }
}

impl Sockets {
    /// Gathers one outcome of a batch.
    pub(super) fn gather<'b>(
        &mut self,
        outgoing: &mut Outgoing<'b>,
        outcome: Outcome<'b>,
        traffic_class: u8,
    ) {
        outgoing.push(outcome, traffic_class);
        if outgoing.is_full() {
            self.deliver_all(outgoing);
        }
    }

    /// Sends what is gathered, behind the answers that wait: these are older. Nothing comes on a channel before it is
    /// confirmed.
    pub(super) fn deliver_all(&mut self, outgoing: &mut Outgoing<'_>) {
        if outgoing.is_empty() {
            return;
        }
        self.send_answers();
        if !outgoing.to_clients.is_empty() {
            self.deliver_to_clients(&outgoing.to_clients);
            outgoing.to_clients.clear();
        }
        if !outgoing.to_peers.is_empty() {
            self.deliver_to_peers(&outgoing.to_peers);
            outgoing.to_peers.clear();
        }
        if !outgoing.to_neighbours.is_empty() {
            self.deliver_to_neighbours(&outgoing.to_neighbours);
            outgoing.to_neighbours.clear();
        }
    }

    /// Sends one outcome at once.
    pub(super) fn deliver(&mut self, outcome: Outcome<'_>) {
        let mut outgoing = Outgoing::default();
        outgoing.push(outcome, 0);
        self.deliver_all(&mut outgoing);
    }

    fn deliver_to_clients(&mut self, all: &[(FiveTuple, Frame<'_>, u8)]) {
        let over_udp = all
            .iter()
            .filter(|(client, ..)| client.transport == Transport::Udp);
        let over_udp = over_udp.map(|(client, frame, class)| (client, *class, frame.parts()));
        let unsent = send_udp(&self.udp, &self.trains, over_udp);
        self.unsent.to_clients += unsent as u64;
        let mut over_streams: ArrayVec<(&Rc<Line>, usize), DEPARTURES_MAX> = ArrayVec::new();
        for (at, (client, frame, _)) in all.iter().enumerate() {
            let sent = match client.transport {
                Transport::Udp => true,
                Transport::Dtls => self.dtls.send_frame(*client, frame),
                Transport::Tcp | Transport::Tls => match self.streams.get(client) {
                    Some(line) => {
                        over_streams.push((line, at));
                        true
                    }
                    None => false,
                },
            };
            self.unsent.to_clients += u64::from(!sent);
        }
        over_streams.sort_unstable_by_key(|(line, at)| (Rc::as_ptr(line), *at));
        for of_one in over_streams.chunk_by(|(a, _), (b, _)| Rc::ptr_eq(a, b)) {
            let messages = of_one.iter().map(|(_, at)| all[*at].1.parts());
            let messages: ArrayVec<Parts<'_>, DEPARTURES_MAX> = messages.collect();
            self.unsent.to_clients += of_one[0].0.send_data(&messages) as u64;
        }
    }

    /// Whatever leaves one socket leaves it together, and in its order.
    fn deliver_to_peers(&mut self, all: &[(RelayKey, ToPeer<'_>)]) {
        let [(first, _), others @ ..] = all else {
            return;
        };
        if others.iter().all(|(relay, _)| relay == first) {
            let all = all.iter().map(|(_, to_peer)| to_peer);
            self.unsent.to_peers += self.relays.send_all(*first, &self.trains, all) as u64;
            return;
        }
        let order = all.iter().enumerate();
        let mut order: ArrayVec<(u32, usize), DEPARTURES_MAX> =
            order.map(|(at, (relay, _))| (relay.0, at)).collect();
        order.sort_unstable();
        for batch in order.chunk_by(|(a, _), (b, _)| a == b) {
            let of_this = batch.iter().map(|(_, at)| &all[*at].1);
            let relay = RelayKey(batch[0].0);
            self.unsent.to_peers += self.relays.send_all(relay, &self.trains, of_this) as u64;
        }
    }

    fn deliver_to_neighbours(&mut self, all: &[(u32, Parcel<'_>)]) {
        for batch in all.chunk_by(|(a, _), (b, _)| a == b) {
            let parcels = batch.iter().map(|(_, parcel)| *parcel);
            let unsent = match self.neighbours.get(batch[0].0 as usize) {
                Some(neighbour) => neighbour.deliver(parcels),
                None => batch.len(),
            };
            self.unsent.to_peers += unsent as u64;
        }
    }

    /// Answers a request; over UDP with the next [`send_answers`](Self::send_answers).
    pub(super) fn respond(&mut self, client: FiveTuple, message: &[u8]) {
        let sent = match client.transport {
            Transport::Udp => {
                if self.answers.clients.is_full() {
                    self.send_answers();
                }
                self.answers.clients.push(client);
                self.answers.messages.push(&[message]);
                true
            }
            Transport::Dtls => self.dtls.send(client, message),
            Transport::Tcp | Transport::Tls => self
                .streams
                .get(&client)
                .is_some_and(|line| line.send_answer(message)),
        };
        self.unsent.to_clients += u64::from(!sent);
    }

    /// Sends the answers that wait.
    pub(super) fn send_answers(&mut self) {
        let Answers { messages, clients } = &mut self.answers;
        if clients.is_empty() {
            return;
        }
        let unsent = if let ([client], Some(message)) = (clients.as_slice(), messages.only()) {
            let mut sockets = self.udp.iter();
            let socket = sockets.find(|socket| socket.serves(client.server));
            usize::from(!socket.is_some_and(|socket| socket.send(*client, message)))
        } else {
            let all = clients.iter().zip(messages.iter());
            let all = all.map(|(client, message)| (client, 0, [message, &[], &[]]));
            // Few clients have several of the same length: not worth a train.
            send_udp(&self.udp, &Trains::new(false), all)
        };
        self.unsent.to_clients += unsent as u64;
        clients.clear();
        messages.clear();
    }
}

/// Sends each message from the socket that its client sent to, of which there is one; says how many were not sent.
fn send_udp<'d>(
    sockets: &[Rc<ClientUdp>],
    trains: &Trains,
    messages: impl Iterator<Item = (&'d FiveTuple, u8, [&'d [u8]; 3])> + Clone,
) -> usize {
    let unsent = sockets.iter().map(|socket| {
        let its = messages.clone();
        socket.send_all(
            trains,
            its.filter(|(client, ..)| socket.serves(client.server)),
        )
    });
    unsent.sum()
}
