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
    /// The relay.
    pub relay: relay::Snapshot,
    /// Signaling, and Redis behind it.
    pub signaling: signaling::Snapshot,
    /// The process.
    pub process: Process,
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
            signaling: self.signaling.snapshot(),
            process: process.await.unwrap_or_default(),
        }
    }
}
