//! Certificates from an authority, by itself ([RFC 8555](https://www.rfc-editor.org/rfc/rfc8555)): ordered, kept in a
//! folder, renewed in good time.
//!
//! The certificate and its key are one file, which is replaced in one step: whoever shows certificates from files needs
//! to know nothing of this.

mod authority;
mod challenges;
mod order;
mod state;
mod validity;

pub use challenges::Challenges;
pub use state::certificate_file;

use std::{path::PathBuf, time::Duration};

use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use crate::clock::{Now, UnixSeconds};
use crate::relay::Listen;

use authority::Authority;
use state::State;
use validity::Validity;

/// What the operator decides.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The names that the certificate is for; the first is its subject.
    pub domains: Vec<String>,
    /// Whom the authority may write to.
    pub contact: Vec<String>,
    /// Where the authority's directory is.
    pub directory: String,
    /// Whom to trust about that, in PEM; without it, the authorities that browsers trust.
    pub directory_ca: Option<PathBuf>,
    /// Where the account and the certificate are kept.
    pub state_dir: PathBuf,
    /// Where the authority looks for proof, over HTTP.
    pub listen: Vec<Listen>,
    /// How long after a failure it is tried again, twice as long after each further one.
    pub retry_after: Duration,
}

/// Why there is no new certificate.
#[derive(Debug, thiserror::Error)]
pub enum AcmeError {
    /// A file can't be read or written.
    #[error("{}: {reason}", file.display())]
    File {
        /// Which one.
        file: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The authority, or the way there.
    #[error("{0}")]
    Authority(#[from] instant_acme::Error),
    /// The authority has refused to believe that a name is ours.
    #[error("the authority could not verify {domain}: {reason}")]
    Unverified {
        /// Which one.
        domain: String,
        /// Its words.
        reason: String,
    },
    /// It wants another kind of proof.
    #[error("the authority offers no http-01 challenge for {0}")]
    NoChallenge(String),
    /// It has not gone on in time.
    #[error("the authority takes too long")]
    Late,
    /// A request for a certificate could not be made.
    #[error("cannot ask for a certificate: {0}")]
    Request(#[from] rcgen::Error),
}

/// Sees to it that there is a certificate, for as long as the process lives.
///
/// # Errors
/// When the authority can't be spoken to at all: a file with whom to trust can't be used.
pub async fn keep(settings: Settings, challenges: Challenges) -> Result<(), AcmeError> {
    let authority = Authority::new(settings.directory_ca.as_deref())?;
    let state = State::new(&settings.state_dir);
    let mut failures = 0;
    loop {
        let now = Now::read().unix.seconds();
        let certificate = state.certificate();
        let validity = certificate.and_then(|pem| Validity::read(&pem));
        let wait = match validity {
            Some(validity) => validity.left_until_renewal(now, &settings.domains),
            None => Duration::ZERO,
        };
        if !wait.is_zero() {
            // Clocks are set; a long sleep would not notice.
            sleep(wait.min(LOOK_EVERY)).await;
            continue;
        }
        let ordered = timeout(
            ORDER_TIMEOUT,
            order::order(&settings, &authority, &state, &challenges),
        );
        let wait = match ordered.await.unwrap_or(Err(AcmeError::Late)) {
            Ok(()) => {
                failures = 0;
                info!(domains = ?settings.domains, "there is a new certificate");
                MIN_BETWEEN
            }
            Err(error) => {
                let wait = backoff(settings.retry_after, failures);
                failures += 1;
                warn!(%error, again_in = ?wait, "no new certificate");
                wait
            }
        };
        sleep(wait).await;
    }
}

/// Twice as long each time, half a day at most: authorities count attempts.
fn backoff(first: Duration, failures: u32) -> Duration {
    let factor = 2_u32.saturating_pow(failures);
    first.saturating_mul(factor).min(RETRY_MAX)
}

/// When a certificate is renewed: a third of its life before its end.
fn renewal(from: UnixSeconds, until: UnixSeconds) -> UnixSeconds {
    let life = until.0.saturating_sub(from.0);
    UnixSeconds(until.0.saturating_sub(life / 3))
}

const ORDER_TIMEOUT: Duration = Duration::from_secs(300);
const LOOK_EVERY: Duration = Duration::from_secs(3600);
/// Whatever a certificate says of itself, no two are ordered one right after the other.
const MIN_BETWEEN: Duration = Duration::from_secs(60);
const RETRY_MAX: Duration = Duration::from_secs(12 * 3600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_renewed_with_a_third_of_its_life_left() {
        let day = 24 * 3600;
        let cases = [
            (0, 90 * day, 60 * day),
            (0, 6 * day, 4 * day),
            (5, 5, 5),
            (9, 3, 3),
        ];
        for (from, until, expected) in cases {
            let at = renewal(UnixSeconds(from), UnixSeconds(until));
            assert_eq!(at, UnixSeconds(expected));
        }
    }

    #[test]
    fn failures_wait_longer_and_longer_and_not_for_ever() {
        let minute = Duration::from_secs(60);
        let waits = [0, 1, 2, 5, 20, u32::MAX].map(|failures| backoff(minute, failures));
        let minutes = waits.map(|wait| wait.as_secs() / 60);
        assert_eq!(minutes, [1, 2, 4, 32, 720, 720]);
    }
}
