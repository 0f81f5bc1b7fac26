//! Everything that is counted, at one moment.

use super::State;
use crate::clock::{Now, UnixMillis};
use crate::metrics::process::Process;
use crate::relay;
use crate::signaling;

/// This node in numbers.
#[derive(Clone, Debug)]
pub struct Stats {
    /// When the process began.
    pub started: UnixMillis,
    /// When this was asked.
    pub at: Now,
    /// Whether new work is welcome.
    pub is_ready: bool,
    /// The relay.
    pub relay: relay::Snapshot,
    /// Signaling, and Redis behind it.
    pub signaling: signaling::Snapshot,
    /// HTTP.
    pub http: Http,
    /// The process.
    pub process: Process,
}

/// What HTTP has refused since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Http {
    /// Wrong admin tokens.
    pub failed_logins: u64,
    /// Connections of sources that had as many as they may.
    pub connections_refused: u64,
    /// Credentials to sources that were given as many as they may.
    pub credentials_refused: u64,
}

impl State {
    /// Asks every wing, which goes through its sessions and connections once: fit for once a second.
    pub async fn stats(&self) -> Stats {
        // The system's files are in memory, but there may be thousands of sockets.
        let process = tokio::task::spawn_blocking(Process::read);
        let relay = self.relay.snapshot().await;
        Stats {
            started: self.started,
            at: Now::read(),
            relay,
            is_ready: self.readiness.is_ready(),
            signaling: self.signaling.snapshot(),
            http: Http {
                failed_logins: self.admin.failed(),
                connections_refused: self.room.refused(),
                credentials_refused: self.credentials_per_minute.refused(),
            },
            process: process.await.unwrap_or_default(),
        }
    }
}
