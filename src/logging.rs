//! What may be logged, and how.

use std::{
    fmt,
    io::{self, IsTerminal},
    str::FromStr,
};

use tracing_subscriber::{
    Registry,
    filter::{LevelFilter, Targets},
    layer::SubscriberExt as _,
    reload,
    util::SubscriberInitExt as _,
};

/// What the operator decides about logs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which records are written.
    pub level: Level,
    /// How they are written.
    pub format: Format,
}

/// One level for everything, or levels for modules: `info`, or `info,setu::relay=debug`.
#[derive(Clone, Debug, PartialEq)]
pub struct Level(Targets);

/// What a record looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One readable line each.
    Human,
    /// One JSON object each.
    Json,
}

/// The levels in force, for as long as the process lives. Clones are the same ones.
#[derive(Clone, Debug)]
pub struct Levels(reload::Handle<Targets, Registry>);

/// Writes records to the standard error from now on; the standard output is for what was asked for.
///
/// A second call changes nothing, and what it returns can't: the first one has the process.
pub fn init(settings: &Settings) -> Levels {
    let layer = tracing_subscriber::fmt::layer()
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr);
    let (levels, handle) = reload::Layer::new(settings.level.0.clone());
    let registry = tracing_subscriber::registry().with(levels);
    let started = match settings.format {
        Format::Human => registry.with(layer).try_init(),
        Format::Json => registry.with(layer.json()).try_init(),
    };
    if started.is_err() {
        tracing::debug!("logs were set up before");
    }
    Levels(handle)
}

impl Levels {
    /// What is in force; nothing where something else writes this process's records.
    #[must_use]
    pub fn current(&self) -> Option<Level> {
        self.0.clone_current().map(Level)
    }

    /// Puts another level in force, from the next record on.
    ///
    /// # Errors
    /// Where something else writes this process's records.
    pub fn set(&self, level: Level) -> Result<(), NotInForce> {
        self.0.reload(level.0).map_err(|_| NotInForce)
    }
}

/// The process's records are written by something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("something else writes this process's records")]
pub struct NotInForce;

/// As it may be typed: what was said twice, once.
impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Level {
    type Err = LevelError;

    fn from_str(text: &str) -> Result<Self, LevelError> {
        let is_level = |part: &str| {
            let level = part.rsplit_once('=').map_or(part, |(_, level)| level);
            // The library reads an empty text as a level too.
            !level.is_empty() && level.parse::<LevelFilter>().is_ok()
        };
        // A bare word would count as a module's name: `inof` must not silently log everything of a module `inof`.
        if !text.split(',').all(is_level) {
            return Err(LevelError);
        }
        text.parse().map(Self).map_err(|_| LevelError)
    }
}

/// The text names no level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be error, warn, info, debug, trace or off, or such levels for modules: info,setu::relay=debug"
)]
pub struct LevelError;

/// A secret on its way through configuration and code: never printed.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Redacted<T>(T);

impl<T> Redacted<T> {
    /// Wraps a secret.
    pub fn new(secret: T) -> Self {
        Self(secret)
    }

    /// The secret itself, for the one place that needs it.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl<T> fmt::Debug for Redacted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl<T> fmt::Display for Redacted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_one_word_or_words_for_modules() {
        let good = ["info", "off", "warn,setu::relay=trace", "setu=debug"];
        let bad = ["", "inof", "info,", "setu::relay", "setu=loud"];
        for text in good {
            assert!(text.parse::<Level>().is_ok(), "{text:?}");
        }
        for text in bad {
            assert_eq!(text.parse::<Level>(), Err(LevelError), "{text:?}");
        }
    }

    #[test]
    fn a_level_reads_back_as_it_was_written() {
        let cases = [
            "info",
            "off",
            "warn,setu::relay=trace",
            "debug,setu=off,a=warn",
        ];
        for text in cases {
            let level: Level = text.parse().unwrap();
            assert_eq!(level.to_string().parse(), Ok(level), "{text}");
        }
    }

    #[test]
    fn levels_change_what_is_written_while_the_process_runs() {
        let (layer, handle) = reload::Layer::new("info".parse::<Level>().unwrap().0);
        let levels = Levels(handle);
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::with_default(subscriber, || {
            let enabled = || {
                [
                    tracing::enabled!(target: "setu::relay", tracing::Level::DEBUG),
                    tracing::enabled!(target: "setu::http", tracing::Level::DEBUG),
                ]
            };
            assert_eq!(enabled(), [false, false]);
            let level: Level = "info,setu::relay=debug".parse().unwrap();
            assert_eq!(levels.set(level.clone()), Ok(()));
            assert_eq!(enabled(), [true, false]);
            assert_eq!(levels.current(), Some(level));
        });
        assert_eq!(levels.current(), None, "its subscriber is gone");
        assert_eq!(levels.set("off".parse().unwrap()), Err(NotInForce));
    }
}
