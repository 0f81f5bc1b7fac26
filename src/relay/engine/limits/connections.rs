//! TCP and TLS connections, and DTLS sessions, at a time.

use std::{
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

use super::refusals::Limit;
use crate::source::{PerSource, Seat, Seats, Source};

/// The seats there are.
#[derive(Debug)]
pub(super) struct Connections {
    /// All of one imagined source.
    all: Arc<Seats>,
    of_source: Arc<Seats>,
}

/// A connection's seats, given back when it is dropped.
#[derive(Debug)]
pub struct Connected {
    _of_all: Seat,
    _of_source: Seat,
}

impl Connections {
    pub(super) fn new(all_max: Option<u32>, of_source_max: PerSource) -> Self {
        Self {
            all: Seats::new(PerSource::everywhere(all_max)),
            of_source: Seats::new(of_source_max),
        }
    }

    pub(super) fn set_limits(&self, all_max: Option<u32>, of_source_max: PerSource) {
        self.all.set_limit(PerSource::everywhere(all_max));
        self.of_source.set_limit(of_source_max);
    }

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
