//! The service manager (systemd, or whoever speaks as it does): what it is told, and what it has opened for us.

use std::{env, time::Duration};

use listenfd::ListenFd;
use sd_notify::NotifyState;
use tokio::{task::JoinHandle, time::timeout};
use tracing::{debug, warn};

use crate::relay::{Inherited, Relay};
use crate::signaling::Signaling;

/// The sockets that it passes ([sd_listen_fds](https://www.freedesktop.org/software/systemd/man/latest/sd_listen_fds.html)).
///
/// To be called once, before any thread is there: it clears the variables that name them.
#[must_use]
pub fn inherited() -> Inherited {
    let mut passed = ListenFd::from_env();
    let (mut streams, mut datagrams) = (Vec::new(), Vec::new());
    for index in 0..passed.len() {
        if let Ok(Some(listener)) = passed.take_tcp_listener(index) {
            streams.push(listener);
        } else if let Ok(Some(socket)) = passed.take_udp_socket(index) {
            datagrams.push(socket);
        } else {
            warn!(
                index,
                "a passed descriptor is no TCP listener and no UDP socket: it is not used"
            );
        }
    }
    Inherited::new(streams, datagrams)
}

/// Everything is open.
pub(super) fn ready() {
    tell(&[NotifyState::Ready, NotifyState::Status("serving")]);
}

/// The configuration is being loaded anew, until it is [`ready`] again.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(since) => tell(&[NotifyState::Reloading, since]),
        Err(error) => debug!(%error, "there is no monotonic clock to be told of"),
    }
}

/// The end has begun, and may take so long.
pub(super) fn stopping(within: Duration) {
    let micros = u32::try_from((within + STOP_SLACK).as_micros()).unwrap_or(u32::MAX);
    tell(&[
        NotifyState::Stopping,
        NotifyState::ExtendTimeoutUsec(micros),
        NotifyState::Status("waiting for calls to end"),
    ]);
}

/// Tells it now and then what is going on, and that this process lives, as often as it wants to hear that: while every
/// worker and this runtime answer. Nothing where there is none.
pub(super) fn keep_informed(relay: Relay, signaling: Signaling) -> Option<JoinHandle<()>> {
    env::var_os("NOTIFY_SOCKET")?;
    let watchdog = sd_notify::watchdog_enabled();
    let every = watchdog.map_or(STATUS_EVERY, |within| within / 3);
    Some(tokio::spawn(async move {
        loop {
            tokio::time::sleep(every).await;
            let here = signaling.census().here;
            match timeout(every, relay.answers()).await {
                Ok(true) => {
                    let (participants, sessions) = (here.participants, here.sessions);
                    let status = format!("{participants} participants in {sessions} sessions");
                    tell(&[NotifyState::Watchdog, NotifyState::Status(&status)]);
                }
                Ok(false) | Err(_) => warn!("a relay worker does not answer"),
            }
        }
    }))
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        debug!(%error, "the service manager cannot be told");
    }
}

const STATUS_EVERY: Duration = Duration::from_secs(10);
/// What comes after the waiting.
const STOP_SLACK: Duration = Duration::from_secs(3);
