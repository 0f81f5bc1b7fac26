//! The way to certificates from an authority: where it looks for proof, and who asks it.

use std::net::SocketAddr;

use tokio::sync::watch;
use tracing::error;

use crate::acme::{self, Challenges, Settings};
use crate::http::{
    forwarded::TrustedProxies,
    listeners::{ListenError, Listeners, Room},
};
use crate::relay::Inherited;
use crate::source::PerSource;

/// Bound, and not yet served.
pub(super) struct Issuing {
    settings: Settings,
    listeners: Listeners,
}

impl Issuing {
    /// Nothing, where no authority is asked.
    pub(super) fn bind(
        settings: Option<&Settings>,
        inherited: &mut Inherited,
    ) -> Result<Option<Self>, ListenError> {
        let Some(settings) = settings else {
            return Ok(None);
        };
        Ok(Some(Self {
            listeners: Listeners::bind("acme.listen", &settings.listen, inherited)?,
            settings: settings.clone(),
        }))
    }

    pub(super) fn bound(&self) -> Vec<SocketAddr> {
        self.listeners.bound()
    }

    /// Answers the authority until `stopped`, and sees to it that there is a certificate. Whoever shows it finds it in
    /// its file.
    pub(super) fn start(self, stopped: watch::Receiver<bool>) {
        let challenges = Challenges::default();
        let nobody = TrustedProxies::new(Vec::new());
        let room = Room::new(Some(CONNECTIONS_MAX), PerSource::default(), nobody);
        let router = challenges.router();
        tokio::spawn(self.listeners.serve(router, None, room, stopped));
        tokio::spawn(async move {
            if let Err(error) = acme::keep(self.settings, challenges).await {
                error!(%error, "no certificates are ordered");
            }
        });
    }
}

/// An authority looks from a few places at a time; everybody else has nothing to seek there.
const CONNECTIONS_MAX: usize = 64;
