//! The names of all keys. The first three belong to the contract; ours begin with `setu:`.

use std::time::Duration;

pub(super) const PARTICIPANTS: &str = "participants:";
pub(super) const TIMER: &str = "timer:";
pub(super) const SIGNALING: &str = "signaling:";

/// The log that all nodes write and read.
pub(super) const LOG: &str = "setu:log";
/// The one field of the log's entries.
pub(super) const FIELD: &str = "e";
pub(super) const SNAPSHOT: &str = "setu:session:";
pub(super) const REVOKED: &str = "setu:revoked:";
pub(super) const NODE: &str = "setu:node:";
pub(super) const SECRET: &str = "setu:secret";

/// Keys of a session live so long after they were last written.
pub(super) const KEY_TTL: Duration = Duration::from_secs(3600);
