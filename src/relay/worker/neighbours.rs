//! Datagrams from a client of one worker to a client of another, both relayed here: they never reach a socket in between.

use crate::relay::engine::Sender;
use crate::relay::engine::five_tuple::RelayedAddr;

/// On its way to another worker.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parcel<'p> {
    pub(super) to: RelayedAddr,
    pub(super) from: RelayedAddr,
    pub(super) sender: Sender,
    pub(super) traffic_class: u8,
    pub(super) payload: &'p [u8],
}

/// Parcels for one worker, in their order, as far as there is room.
#[derive(Debug, Default)]
pub(super) struct Parcels {
    bytes: Vec<u8>,
    labels: Vec<Label>,
}

#[derive(Debug)]
struct Label {
    to: RelayedAddr,
    from: RelayedAddr,
    sender: Sender,
    traffic_class: u8,
    payload_bytes: usize,
}

impl Parcels {
    pub(super) fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Takes one; says whether there was room.
    pub(super) fn push(&mut self, parcel: &Parcel<'_>) -> bool {
        let fits =
            self.bytes.len() + parcel.payload.len() <= BYTES_MAX && self.labels.len() < PARCELS_MAX;
        if fits {
            self.bytes.extend_from_slice(parcel.payload);
            self.labels.push(Label {
                to: parcel.to,
                from: parcel.from,
                sender: parcel.sender,
                traffic_class: parcel.traffic_class,
                payload_bytes: parcel.payload.len(),
            });
        }
        fits
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Parcel<'_>> {
        let mut at = 0;
        self.labels.iter().map(move |label| {
            let payload = &self.bytes[at..][..label.payload_bytes];
            at += label.payload_bytes;
            Parcel {
                to: label.to,
                from: label.from,
                sender: label.sender,
                traffic_class: label.traffic_class,
                payload,
            }
        })
    }

    /// Empties it; much room is given back.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(IDLE_BYTES_MAX);
        self.labels.clear();
        self.labels.shrink_to(IDLE_PARCELS_MAX);
    }
}

/// As much as a socket's buffer would hold.
const BYTES_MAX: usize = 4 * 1024 * 1024;
const PARCELS_MAX: usize = 16 * 1024;
const IDLE_BYTES_MAX: usize = 64 * 1024;
const IDLE_PARCELS_MAX: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::engine::AllocationId;

    #[test]
    fn parcels_come_out_as_they_went_in_until_there_is_no_room() {
        let mut parcels = Parcels::default();
        let addr = |port| RelayedAddr(([192, 0, 2, 1], port).into());
        let sender = |number: u16| Sender {
            id: AllocationId::parse(&format!("{number:016x}")).unwrap(),
            is_sole: number.is_multiple_of(2),
        };
        let payloads: [&[u8]; 4] = [b"one", b"", b"three", b"4"];
        for (number, payload) in (0..).zip(payloads) {
            let parcel = Parcel {
                to: addr(number),
                from: addr(number + 100),
                sender: sender(number),
                traffic_class: number as u8,
                payload,
            };
            assert!(parcels.push(&parcel));
        }
        for (number, (parcel, payload)) in (0..).zip(parcels.iter().zip(payloads)) {
            assert_eq!((parcel.to, parcel.from), (addr(number), addr(number + 100)));
            assert_eq!(parcel.sender, sender(number));
            assert_eq!(
                (parcel.traffic_class, parcel.payload),
                (number as u8, payload)
            );
        }
        let big = Parcel {
            to: addr(1),
            from: addr(2),
            sender: sender(3),
            traffic_class: 0,
            payload: &[0; 65_000],
        };
        let taken = (0..1000).take_while(|_| parcels.push(&big)).count();
        assert_eq!(taken, BYTES_MAX / 65_000);
        parcels.clear();
        assert!(parcels.is_empty() && parcels.push(&big));
    }
}
