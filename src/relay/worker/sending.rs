//! The way out: from what the engine says to the socket or connection that takes it.

use std::{collections::HashMap, hash::BuildHasher, mem, rc::Rc, sync::Arc};

use arrayvec::ArrayVec;
use rustc_hash::FxBuildHasher;

use crate::relay::engine::Outcome;
use crate::relay::engine::five_tuple::{FiveTuple, RelayKey, Transport};
use crate::relay::wire::frame::Frame;
use crate::relay::worker::batch::{DEPARTURES_MAX, ROOMS, Trains};
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
    /// Room for the next batch.
    pub(super) room: Outgoing<'static>,
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

/// Data for a client, and the traffic class of the datagram which brought it.
type ToClient<'b> = (FiveTuple, Frame<'b>, u8);

/// What a batch of datagrams comes to: it leaves together, once all of the batch is served.
#[derive(Default)]
pub(super) struct Outgoing<'b> {
    to_clients: Vec<ToClient<'b>>,
    to_peers: Vec<(RelayKey, ToPeer<'b>)>,
    to_neighbours: Vec<(u32, Parcel<'b>)>,
    order: Order,
}

/// In which order messages leave: those that go the same way behind each other, as they came.
#[derive(Default)]
struct Order(Vec<Place>);

/// A way, and where among the messages one is that goes it.
type Place = (u64, usize);

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
        let lengths = [
            self.to_clients.len(),
            self.to_peers.len(),
            self.to_neighbours.len(),
        ];
        lengths.into_iter().any(|length| length >= ROOMS)
    }

    /// Its room, for what is borrowed from elsewhere.
    fn into_room(self) -> Outgoing<'static> {
        Outgoing {
            to_clients: emptied(self.to_clients),
            to_peers: emptied(self.to_peers),
            to_neighbours: emptied(self.to_neighbours),
            order: self.order,
        }
    }
}

/// The vector's memory: collecting in place keeps it, where old and new elements are of one layout.
fn emptied<T, U>(vector: Vec<T>) -> Vec<U> {
    vector.into_iter().filter_map(|_| None).collect()
}

impl Order {
    /// `way` tells ways apart; what mistakes two for one leaves in more pieces, and in its order still.
    fn arrange<T>(&mut self, messages: &[T], way: impl Fn(&T) -> u64) {
        self.0.clear();
        let places = messages.iter().enumerate();
        self.0
            .extend(places.map(|(at, message)| (way(message), at)));
        self.0.sort_unstable();
    }

    fn places(&self) -> impl Iterator<Item = usize> + Clone {
        self.0.iter().map(|(_, at)| *at)
    }

    /// What goes one way, and then what goes the next.
    fn runs(&self, go_together: impl Fn(usize, usize) -> bool) -> impl Iterator<Item = &[Place]> {
        self.0
            .chunk_by(move |(_, one), (_, next)| go_together(*one, *next))
    }
}

impl Sockets {
    /// Where a batch is gathered, until it [has left](Self::deliver_last).
    pub(super) fn outgoing<'b>(&mut self) -> Outgoing<'b> {
        mem::take(&mut self.room)
    }

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
        let Outgoing {
            to_clients,
            to_peers,
            to_neighbours,
            order,
        } = outgoing;
        if !to_clients.is_empty() {
            order.arrange(to_clients, |(client, ..)| {
                FxBuildHasher.hash_one(client.client)
            });
            self.deliver_to_clients(to_clients, order);
            to_clients.clear();
        }
        if !to_peers.is_empty() {
            order.arrange(to_peers, |(relay, _)| u64::from(relay.0));
            self.deliver_to_peers(to_peers, order);
            to_peers.clear();
        }
        if !to_neighbours.is_empty() {
            order.arrange(to_neighbours, |(worker, _)| u64::from(*worker));
            self.deliver_to_neighbours(to_neighbours, order);
            to_neighbours.clear();
        }
    }

    /// The same at the end of a batch: the next one has its room.
    pub(super) fn deliver_last(&mut self, mut outgoing: Outgoing<'_>) {
        self.deliver_all(&mut outgoing);
        self.room = outgoing.into_room();
    }

    /// Sends one outcome at once.
    pub(super) fn deliver(&mut self, outcome: Outcome<'_>, traffic_class: u8) {
        let mut outgoing = self.outgoing();
        outgoing.push(outcome, traffic_class);
        self.deliver_last(outgoing);
    }

    fn deliver_to_clients(&mut self, all: &[ToClient<'_>], order: &Order) {
        let is_over_udp = |client: &FiveTuple| client.transport == Transport::Udp;
        let over_udp = order.places().map(|at| &all[at]);
        let over_udp = over_udp.filter(|(client, ..)| is_over_udp(client));
        let over_udp = over_udp.map(|(client, frame, class)| (client, *class, frame.parts()));
        let unsent = send_udp(&self.udp, &self.trains, over_udp);
        self.unsent.to_clients += unsent as u64;
        if !all.iter().all(|(client, ..)| is_over_udp(client)) {
            self.deliver_to_sessions(all, order);
        }
    }

    /// To clients that have a connection, or a DTLS session.
    fn deliver_to_sessions(&mut self, all: &[ToClient<'_>], order: &Order) {
        for run in order.runs(|a, b| all[a].0 == all[b].0) {
            let (client, ..) = all[run[0].1];
            let frames = run.iter().map(|(_, at)| &all[*at].1);
            let unsent = match client.transport {
                Transport::Udp => 0,
                Transport::Dtls => {
                    let sent = frames.map(|frame| self.dtls.send_frame(client, frame));
                    sent.filter(|sent| !sent).count()
                }
                Transport::Tcp | Transport::Tls => match self.streams.get(&client) {
                    Some(line) => send_frames(line, frames),
                    None => run.len(),
                },
            };
            self.unsent.to_clients += unsent as u64;
        }
    }

    fn deliver_to_peers(&mut self, all: &[(RelayKey, ToPeer<'_>)], order: &Order) {
        for run in order.runs(|a, b| all[a].0 == all[b].0) {
            let (relay, _) = all[run[0].1];
            let of_this = run.iter().map(|(_, at)| &all[*at].1);
            self.unsent.to_peers += self.relays.send_all(relay, &self.trains, of_this) as u64;
        }
    }

    fn deliver_to_neighbours(&mut self, all: &[(u32, Parcel<'_>)], order: &Order) {
        for run in order.runs(|a, b| all[a].0 == all[b].0) {
            let (worker, _) = all[run[0].1];
            let parcels = run.iter().map(|(_, at)| all[*at].1);
            let unsent = match self.neighbours.get(worker as usize) {
                Some(neighbour) => neighbour.deliver(parcels),
                None => run.len(),
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

/// Sends data over a connection; says how many messages were dropped.
fn send_frames<'f>(line: &Line, mut frames: impl Iterator<Item = &'f Frame<'f>>) -> usize {
    let mut dropped = 0;
    loop {
        let some = frames.by_ref().take(DEPARTURES_MAX);
        let messages: ArrayVec<Parts<'_>, DEPARTURES_MAX> = some.map(Frame::parts).collect();
        if messages.is_empty() {
            return dropped;
        }
        dropped += line.send_data(&messages);
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_goes_one_way_goes_together_and_in_its_order(
            ways in prop::collection::vec(1_u64..8, 0..=ROOMS),
        ) {
            let mut order = Order::default();
            order.arrange(&ways, |way| *way);
            let mut gone = Vec::new();
            for run in order.runs(|a, b| ways[a] == ways[b]) {
                prop_assert!(run.is_sorted_by_key(|(_, at)| *at), "{run:?}");
                gone.push(ways[run[0].1]);
            }
            prop_assert!(gone.is_sorted_by(|a, b| a < b), "in pieces: {gone:?}");
            let mut places: Vec<_> = order.places().collect();
            places.sort_unstable();
            prop_assert!(places.into_iter().eq(0..ways.len()));
        }
    }

    #[test]
    fn ways_mistaken_for_one_are_told_apart() {
        let ways = [1, 2, 1, 1];
        let mut order = Order::default();
        order.arrange(&ways, |_| 7);
        let runs = order.runs(|a, b| ways[a] == ways[b]);
        let places = runs.map(|run| run.iter().map(|(_, at)| *at).collect());
        assert_eq!(
            places.collect::<Vec<Vec<_>>>(),
            [vec![0], vec![1], vec![2, 3]]
        );
    }

    #[test]
    fn a_batch_leaves_its_room_to_the_next() {
        let full: Vec<&str> = Vec::with_capacity(100);
        let memory = full.as_ptr() as usize;
        let empty: Vec<&'static str> = emptied(full);
        assert_eq!((empty.len(), empty.capacity()), (0, 100));
        assert_eq!(empty.as_ptr() as usize, memory);
    }
}
