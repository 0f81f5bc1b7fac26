//! TCP and TLS connections, and DTLS sessions, at a time.

use std::{
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

use super::refusals::Limit;
use crate::source::{Seat, Seats, Source};

/// The seats there are.
#[derive(Debug)]
pub(super) struct Connections {
    /// All of one imagined source.
    pub(super) all: Arc<Seats>,
    pub(super) of_source: Arc<Seats>,
}

/// A connection's seats, given back when it is dropped.
#[derive(Debug)]
pub struct Connected {
    _of_all: Seat,
    _of_source: Seat,
}

impl Connections {
    pub(super) fn take(&self, source: Source) -> Result<Connected, Limit> {
        let of_source = self.of_source.take(source);
        let of_source = of_source.ok_or(Limit::ConnectionsPerSource)?;
        let of_all = self.all.take(EVERYBODY).ok_or(Limit::Connections)?;
        Ok(Connected {
            _of_all: of_all,
            _of_source: of_source,
        })
    }
}

const EVERYBODY: Source = Source(IpAddr::V6(Ipv6Addr::UNSPECIFIED));
