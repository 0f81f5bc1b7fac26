//! One key to be written, and the command that does it.

use std::{sync::LazyLock, time::Duration};

use redis::{Cmd, Script, cmd};
use serde_json::json;

use super::{
    change::{KeyChange, Lasting, Participants},
    keys::{KEY_TTL, PARTICIPANTS, SIGNALING, SNAPSHOT, TIMER},
};

/// A change of one key.
#[derive(Debug)]
pub(super) enum Part {
    Participants(Participants),
    Timer(Lasting),
    Signaling(Option<String>),
    Snapshot(Option<String>),
    /// Of no session.
    Other(Lasting),
}

/// How a script is named to Redis.
#[derive(Clone, Copy, Debug)]
pub(super) enum Calling {
    ByHash,
    /// Redis remembers it from then on.
    ByText,
}

impl Part {
    /// The keys that a session's change touches.
    pub(super) fn all_of(change: KeyChange) -> impl Iterator<Item = Self> {
        let KeyChange {
            participants,
            timer,
            signaling,
            snapshot,
        } = change;
        let parts = [
            participants.map(Self::Participants),
            timer.map(Self::Timer),
            signaling.map(Self::Signaling),
            snapshot.map(Self::Snapshot),
        ];
        parts.into_iter().flatten()
    }

    /// The change as it was before it was taken apart: of a session, or of another key.
    pub(super) fn undone(self) -> Result<KeyChange, Lasting> {
        let mut change = KeyChange::default();
        match self {
            Self::Participants(participants) => change.participants = Some(participants),
            Self::Timer(timer) => change.timer = Some(timer),
            Self::Signaling(signaling) => change.signaling = Some(signaling),
            Self::Snapshot(snapshot) => change.snapshot = Some(snapshot),
            Self::Other(value) => return Err(value),
        }
        Ok(change)
    }

    /// The command; `name` is the session, or the key that is of none.
    pub(super) fn command(&self, name: &str, calling: Calling) -> Cmd {
        match self {
            Self::Participants(Participants::Update { present, absent }) => {
                merge(&format!("{PARTICIPANTS}{name}"), present, absent, calling)
            }
            Self::Participants(Participants::Replace { present }) => {
                let list = (!present.is_empty()).then(|| json!(present).to_string());
                set_or_delete(&format!("{PARTICIPANTS}{name}"), list.as_deref(), KEY_TTL)
            }
            Self::Timer(value) => with_ttl(&format!("{TIMER}{name}"), value.as_ref()),
            Self::Signaling(Some(message)) => {
                let key = format!("{SIGNALING}{name}");
                let mut command = call(&NEWEST, NEWEST_TEXT, &key, calling);
                command.arg(KEY_TTL.as_millis() as u64).arg(message);
                command
            }
            Self::Signaling(None) => set_or_delete(&format!("{SIGNALING}{name}"), None, KEY_TTL),
            Self::Snapshot(value) => {
                set_or_delete(&format!("{SNAPSHOT}{name}"), value.as_deref(), KEY_TTL)
            }
            Self::Other(value) => with_ttl(name, value.as_ref()),
        }
    }
}

static MERGE: LazyLock<Script> = LazyLock::new(|| Script::new(MERGE_TEXT));
const MERGE_TEXT: &str = include_str!("participants.lua");

static NEWEST: LazyLock<Script> = LazyLock::new(|| Script::new(NEWEST_TEXT));
const NEWEST_TEXT: &str = include_str!("signaling.lua");

fn call(script: &Script, text: &str, key: &str, calling: Calling) -> Cmd {
    let (name, script) = match calling {
        Calling::ByHash => ("EVALSHA", script.get_hash()),
        Calling::ByText => ("EVAL", text),
    };
    let mut command = cmd(name);
    command.arg(script).arg(1).arg(key);
    command
}

fn merge(key: &str, present: &[String], absent: &[String], calling: Calling) -> Cmd {
    let mut command = call(&MERGE, MERGE_TEXT, key, calling);
    command
        .arg(KEY_TTL.as_secs())
        .arg(absent.len())
        .arg(absent)
        .arg(present);
    command
}

fn with_ttl(key: &str, value: Option<&(String, Duration)>) -> Cmd {
    match value {
        Some((text, ttl)) => set_or_delete(key, Some(text), *ttl),
        None => set_or_delete(key, None, Duration::ZERO),
    }
}

fn set_or_delete(key: &str, value: Option<&str>, ttl: Duration) -> Cmd {
    match value {
        Some(text) => {
            // Redis refuses a life of nothing.
            let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).max(1);
            let mut set = cmd("SET");
            set.arg(key).arg(text).arg("PX").arg(ttl_ms);
            set
        }
        None => {
            let mut delete = cmd("DEL");
            delete.arg(key);
            delete
        }
    }
}
