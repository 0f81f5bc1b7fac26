//! Datagrams, whichever way.

use std::net::SocketAddr;

use proptest::prelude::*;
use setu::relay::engine::five_tuple::RelayKey;

use super::reference::{PEERS, family_of, is_forbidden};
use super::{Play, Scene, number, peer, station, tuple};
use crate::bytes::*;
use crate::world::Did;

#[derive(Clone, Debug)]
pub(super) enum Operation {
    Send {
        station: usize,
        peer: usize,
    },
    ChannelData {
        station: usize,
        number: u16,
    },
    PeerSends {
        station: usize,
        family: u8,
        peer: usize,
    },
}

pub(super) fn operation(scene: &Scene) -> impl Strategy<Value = Operation> + use<> {
    let (station, peer) = (|| station(scene), || peer(scene));
    prop_oneof![
        (station(), peer()).prop_map(|(station, peer)| Operation::Send { station, peer }),
        (station(), number())
            .prop_map(|(station, number)| Operation::ChannelData { station, number }),
        (station(), 1..3_u8, peer()).prop_map(|(station, family, peer)| {
            Operation::PeerSends {
                station,
                family,
                peer,
            }
        }),
    ]
}

impl Play {
    pub(super) fn relay(&mut self, operation: &Operation) -> Result<(), TestCaseError> {
        match *operation {
            Operation::Send { station, peer } => self.send(station, peer),
            Operation::ChannelData { station, number } => self.channel_data(station, number),
            Operation::PeerSends {
                station,
                family,
                peer,
            } => self.peer_sends(station, family, peer),
        }
    }

    fn send(&mut self, station: usize, peer: usize) -> Result<(), TestCaseError> {
        if self.is_spliced(station) {
            return Ok(());
        }
        let send = Builder::indication(SEND).peer(PEERS[peer]);
        let got = self
            .desk
            .send(tuple(station), &send.data(b"payload").done());
        let peer: SocketAddr = PEERS[peer].parse().unwrap();
        let allocation = self.model.sender(station);
        if allocation.is_some_and(|allocation| allocation.sends_to(peer)) {
            prop_assert_eq!(got.outward(), (peer, b"payload".to_vec()));
        } else {
            prop_assert!(got.is_silence());
        }
        Ok(())
    }

    fn channel_data(&mut self, station: usize, number: u16) -> Result<(), TestCaseError> {
        if self.is_spliced(station) {
            return Ok(());
        }
        let data = channel_data(number, 4, b"data");
        let got = self.desk.send(tuple(station), &data);
        // What is no channel's number is no data.
        let allocation = match number {
            0x4000..=0x4FFF => self.model.sender(station),
            _ => None,
        };
        let peer = allocation.and_then(|allocation| {
            let (peer, _) = allocation.channels.get(&number)?;
            allocation.sends_to(*peer).then_some(*peer)
        });
        match peer {
            Some(peer) => prop_assert_eq!(got.outward(), (peer, b"data".to_vec())),
            None => prop_assert!(got.is_silence()),
        }
        Ok(())
    }

    fn peer_sends(&mut self, station: usize, family: u8, peer: usize) -> Result<(), TestCaseError> {
        let peer: SocketAddr = PEERS[peer].parse().unwrap();
        let key = self.model.key_at(station);
        let Some((key, allocation)) =
            key.and_then(|key| self.model.allocations.get_key_value(&key))
        else {
            return Ok(());
        };
        let Some((relay, _)) = allocation.halves.get(&family) else {
            return Ok(());
        };
        // A socket hears its own family only, and one that listens hears no datagrams.
        if family_of(peer) != family || is_forbidden(peer) || allocation.is_tcp {
            return Ok(());
        }
        let world = &mut self.desk.world;
        let did = world.peer_sends_to(RelayKey(*relay), &peer.to_string(), b"four");
        if !allocation.permissions.contains_key(&peer.ip()) {
            prop_assert!(matches!(did, Did::Dropped(_)));
            return Ok(());
        }
        let Did::ToClient(to, bytes) = did else {
            return Err(TestCaseError::fail(format!("{did:?}")));
        };
        prop_assert_eq!(to, tuple(*key));
        let mut channels = allocation.channels.iter();
        match channels.find(|(_, (bound, _))| *bound == peer) {
            Some((number, _)) => prop_assert_eq!(bytes, channel_data(*number, 4, b"four")),
            None => {
                let data = Parsed::read(&bytes);
                prop_assert_eq!(data.get(attr::DATA), Some(&b"four"[..]));
                prop_assert_eq!(data.address(attr::XOR_PEER_ADDRESS), peer);
            }
        }
        Ok(())
    }
}
