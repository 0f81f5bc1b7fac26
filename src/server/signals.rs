//! What the process is asked for by signals.

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// To load the configuration anew: SIGHUP.
    Reload,
    /// To end: SIGTERM, or Ctrl-C.
    End,
}

/// The signals that this process listens to. None of those it has heard is lost.
#[derive(Debug)]
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Signals {
    /// Listens from now on, in place of what the system would do. Needs a tokio runtime around it.
    ///
    /// # Errors
    /// When signals can't be listened to.
    pub fn listen() -> anyhow::Result<Self> {
        let listen = |kind, name| signal(kind).context(format!("cannot listen to {name}"));
        Ok(Self {
            interrupt: listen(SignalKind::interrupt(), "SIGINT")?,
            terminate: listen(SignalKind::terminate(), "SIGTERM")?,
            hang_up: listen(SignalKind::hangup(), "SIGHUP")?,
        })
    }

    /// Waits for the next one.
    pub async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.interrupt.recv() => Asked::End,
            _ = self.terminate.recv() => Asked::End,
            _ = self.hang_up.recv() => Asked::Reload,
        }
    }
}
