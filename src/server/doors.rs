//! The ways in over HTTP: for everybody, and for those who watch.

use std::net::SocketAddr;

use tokio::{join, sync::watch, task::JoinHandle};
use tokio_rustls::TlsAcceptor;

use crate::http::{
    self,
    forwarded::TrustedProxies,
    listeners::{ListenError, Listeners, Room},
};
use crate::relay::{Inherited, Listen};
use crate::source::PerSource;

/// Bound, listening, and not yet served.
pub(super) struct Doors {
    everybody: Listeners,
    watchers: Listeners,
}

impl Doors {
    /// Binds all of them that are not `inherited`.
    pub(super) fn bind(
        settings: &http::Settings,
        inherited: &mut Inherited,
    ) -> Result<Self, ListenError> {
        let mut bind = |key, listen: &[Listen]| Listeners::bind(key, listen, inherited);
        Ok(Self {
            everybody: bind("http.listen", &settings.listen)?,
            watchers: bind("metrics.listen", &settings.metrics_listen)?,
        })
    }

    /// Where everybody comes in.
    pub(super) fn http(&self) -> Vec<SocketAddr> {
        self.everybody.bound()
    }

    /// Where those come in who watch.
    pub(super) fn metrics(&self) -> Vec<SocketAddr> {
        self.watchers.bound()
    }

    /// Serves until `stop` says so: everybody over TLS where there is something for it, watchers in clear.
    pub(super) fn open(
        self,
        state: &http::State,
        tls: Option<TlsAcceptor>,
        stop: watch::Receiver<bool>,
    ) -> JoinHandle<()> {
        let Self {
            everybody,
            watchers,
        } = self;
        let everybody = everybody.serve(
            http::router(state.clone()),
            tls,
            state.room.clone(),
            stop.clone(),
        );
        let nobodys_proxy = TrustedProxies::new(Vec::new());
        let room = Room::new(WATCHERS_MAX, PerSource::default(), nobodys_proxy);
        let watchers = watchers.serve(http::metrics::router(state.clone()), None, room, stop);
        tokio::spawn(async {
            join!(everybody, watchers);
        })
    }
}

/// More than watch anything.
const WATCHERS_MAX: Option<usize> = Some(64);
