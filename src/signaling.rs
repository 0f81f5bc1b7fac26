//! Signaling over Socket.IO: who is in which session, and what they tell each other.
//!
//! | client event | what happens |
//! | --- | --- |
//! | `join-session` | `session-joined` to the room, `participant-joined` to the others |
//! | `leave-session` | `participant-left` to the others, `session-left` to the leaver; the relay lets go at once |
//! | `webrtc-offer`, `webrtc-answer`, `webrtc-ice-candidate`, `webrtc-signaling` | the message, restamped, to the participant it names or to the others |
//! | `get-ice-servers` | `ice-servers` to the asker |
//! | any other | nothing: clients may echo whatever they were sent |
//!
//! Clients may rely on this:
//! - A socket speaks only as the participant that it joined as, in the session that it joined.
//! - Events of one socket take effect in the order in which they were sent, and the members of a session hear of its
//!   changes in one order.
//! - Every refused request is answered with `error` to its sender alone, and acknowledged if it asked for that.
//! - Credentials are sent to nobody but the participant they were issued to, and replaced before they expire.

pub mod candidates;
pub mod ice_servers;
pub mod leases;
mod protocol;
mod service;
pub mod session;
mod socket;

use std::{
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use socketioxide::layer::SocketIoLayer;

use crate::access::{Access, HostOnly};
use crate::credentials::Credentials;
use crate::relay::Relay;
use crate::source::PerSource;
use crate::store::{Counts, Store};

use ice_servers::IceServers;
use leases::Leases;
use service::Service;
use socket::{Sockets, Transport};

/// What the operator decides about signaling.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long the relay waits for a participant whose transport was lost.
    pub revocation_grace: Duration,
    /// For how long a lost connection can be taken up again, by Socket.IO's connection state recovery; without, not.
    pub recovery: Option<Duration>,
    /// How much there may be.
    pub limits: Limits,
    /// Who may join.
    pub access: Access,
    /// What only a host may steer.
    pub host_only: HostOnly,
}

/// How much there may be; where nothing is said there is no limit.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Sockets at a time.
    pub connections: Option<usize>,
    /// Sockets at a time of each source.
    pub connections_per_source: PerSource,
    /// Events a second of each socket, and twice that at once.
    pub events_per_second: Option<u32>,
    /// Participants of one session.
    pub participants_per_session: Option<usize>,
    /// Sessions at a time.
    pub sessions: Option<usize>,
    /// The largest message that clients may send.
    pub payload_bytes: Option<usize>,
    /// How much may wait to be sent to one socket, before it is closed.
    pub outbox_bytes: Option<usize>,
}

/// The signaling server. Clones are the same server.
#[derive(Clone)]
pub struct Signaling {
    service: Arc<Service>,
    transport: Transport,
}

impl Signaling {
    /// Serves the sessions in `store`. `credentials` are those that `ice_servers` issues and that open `relay`.
    #[must_use]
    pub fn new(
        settings: Settings,
        store: Store,
        relay: Relay,
        ice_servers: Arc<IceServers>,
        credentials: Arc<Credentials>,
    ) -> Self {
        let service = Arc::new(Service {
            store,
            sockets: Sockets::default(),
            revocation_grace: settings.revocation_grace,
            ice_servers,
            credentials,
            relay,
            leases: Mutex::new(Leases::default()),
        });
        let transport = Transport::open(Arc::clone(&service));
        Self { service, transport }
    }

    /// The layer that answers `/socket.io/`; every other path passes through it.
    #[must_use]
    pub fn layer(&self) -> SocketIoLayer {
        self.transport.layer.clone()
    }

    /// How much is going on.
    pub async fn counts(&self) -> Counts {
        self.service.store.counts().await
    }

    /// Closes every connection, within about half a second.
    pub async fn stop(&self) {
        self.transport.close().await;
    }
}

impl fmt::Debug for Signaling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signaling").finish_non_exhaustive()
    }
}
