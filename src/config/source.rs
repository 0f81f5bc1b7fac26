//! Where each value was typed: the file, the environment over it, and what to say when one is wrong.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt, fs, io,
    path::{Path, PathBuf},
};

use toml::{Table, Value};

use super::keys::{
    PREFIX, defaults, fit, is_meant_for_us, key_of, lookup, put, read_as, unknown, variable_of,
};
use super::raw::{Raw, SECRET_KEYS};

/// Why the configuration is refused: one line that names the file or variable, the key, the value and the fix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{origin}: {complaint}")]
pub struct ConfigError {
    origin: String,
    complaint: String,
}

/// All values, each known by its origin.
#[derive(Clone, Debug, Default)]
pub(super) struct Source {
    file: Option<PathBuf>,
    typed_in_file: Table,
    /// Key to the environment variable that set it.
    variables: BTreeMap<String, String>,
    /// Defaults, file and environment laid over each other.
    merged: Table,
}

/// The file that is read when none is named, if it exists.
const DEFAULT_FILE: &str = "turn.toml";
/// The variables of the system that Setu replaces, and the keys they stand for.
const LEGACY_PORT: &str = "SOCKET_PORT";
const LEGACY_ORIGINS: &str = "NEXT_PUBLIC_APP_URL";
const LEGACY_REDIS: &str = "REDIS_URL";

impl Source {
    /// Reads `path`, or `turn.toml` if there is one, and lays the environment over it.
    pub(super) fn read(
        path: Option<&Path>,
        env: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let (file, typed_in_file) = read_file(path)?;
        let mut source = Self {
            file,
            typed_in_file,
            variables: BTreeMap::new(),
            merged: defaults(),
        };
        source.take_file()?;
        let (ours, theirs): (Vec<_>, Vec<_>) =
            env.partition(|(variable, _)| variable.starts_with(PREFIX));
        for (variable, text) in ours {
            source.take_variable(&variable, &text)?;
        }
        for (variable, text) in theirs {
            source.take_legacy(&variable, &text)?;
        }
        Ok(source)
    }

    /// The text of a file alone, without an environment.
    pub(super) fn of_text(text: &str) -> Result<Self, ConfigError> {
        let file = PathBuf::from(DEFAULT_FILE);
        let mut source = Self {
            typed_in_file: parse(&file, text)?,
            file: Some(file),
            variables: BTreeMap::new(),
            merged: defaults(),
        };
        source.take_file()?;
        Ok(source)
    }

    /// All values in their types.
    pub(super) fn raw(&self) -> Result<Raw, ConfigError> {
        let merged = self.merged.clone();
        merged
            .try_into()
            .map_err(|error: toml::de::Error| ConfigError {
                origin: self.file_name(),
                complaint: one_line(error.message()),
            })
    }

    /// What a key is set to.
    pub(super) fn value(&self, key: &str) -> Option<&Value> {
        lookup(&self.merged, key)
    }

    /// Takes a key's value from another source.
    pub(super) fn keep(&mut self, key: &str, of: &Self) {
        if let Some(value) = of.value(key) {
            put(&mut self.merged, key, value.clone());
        }
    }

    /// The value, or the complaint about the key's value with the key's origin.
    pub(super) fn check<T>(
        &self,
        key: &str,
        checked: Result<T, impl fmt::Display>,
    ) -> Result<T, ConfigError> {
        checked.map_err(|problem| self.complain(key, &problem))
    }

    /// "turn.toml: turn.relay_ports = "9-1": …".
    pub(super) fn complain(&self, key: &str, problem: &impl fmt::Display) -> ConfigError {
        let value = match lookup(&self.merged, key) {
            Some(_) if SECRET_KEYS.contains(&key) => "[redacted]".to_owned(),
            Some(value) => shown(value),
            None => "(nothing)".to_owned(),
        };
        ConfigError {
            origin: self.origin(key),
            complaint: format!("{key} = {value}: {}", one_line(&problem.to_string())),
        }
    }

    /// Whether somebody typed this key, and it is not left to its default. The replaced system knew a port only, and
    /// not which families the machine must have.
    pub(super) fn is_typed(&self, key: &str) -> bool {
        let variable = self.variables.get(key);
        variable.is_none_or(|name| name != LEGACY_PORT)
            && lookup(&self.merged, key) != lookup(&defaults(), key)
    }

    fn origin(&self, key: &str) -> String {
        match self.variables.get(key) {
            Some(variable) => format!("environment variable {variable}"),
            None if lookup(&self.typed_in_file, key).is_some() => self.file_name(),
            None => "configuration".to_owned(),
        }
    }

    fn file_name(&self) -> String {
        let file = self.file.as_deref().unwrap_or(Path::new(DEFAULT_FILE));
        file.display().to_string()
    }

    fn take_file(&mut self) -> Result<(), ConfigError> {
        let mut flat = Vec::new();
        for (name, value) in &self.typed_in_file {
            match value {
                Value::Table(section) => {
                    let keys = section.iter();
                    flat.extend(keys.map(|(key, value)| (format!("{name}.{key}"), value.clone())));
                }
                Value::String(_)
                | Value::Integer(_)
                | Value::Float(_)
                | Value::Boolean(_)
                | Value::Datetime(_)
                | Value::Array(_) => flat.push((name.clone(), value.clone())),
            }
        }
        for (key, value) in flat {
            let Some(default) = lookup(&self.merged, &key) else {
                return Err(ConfigError {
                    origin: self.file_name(),
                    complaint: unknown(&key, str::to_owned),
                });
            };
            let fits = fit(value.clone(), default);
            put(&mut self.merged, &key, value);
            let fitting = self.check(&key, fits)?;
            put(&mut self.merged, &key, fitting);
        }
        Ok(())
    }

    fn take_variable(&mut self, variable: &str, text: &str) -> Result<(), ConfigError> {
        let key = key_of(variable);
        if lookup(&self.merged, &key).is_some() {
            return self.set(&key, variable, text);
        }
        if !is_meant_for_us(&key) {
            return Ok(());
        }
        Err(ConfigError {
            origin: format!("environment variable {variable}"),
            complaint: unknown(&key, variable_of),
        })
    }

    /// Where a variable of ours sets the same, theirs may be anything.
    fn take_legacy(&mut self, variable: &str, text: &str) -> Result<(), ConfigError> {
        let key = match variable {
            LEGACY_PORT => "http.listen",
            LEGACY_ORIGINS => "http.allowed_origins",
            LEGACY_REDIS => "store.redis_url",
            _ => return Ok(()),
        };
        if text.is_empty() || self.variables.contains_key(key) {
            return Ok(());
        }
        if variable != LEGACY_PORT {
            return self.set(key, variable, text);
        }
        let port: u16 = text.trim().parse().map_err(|_| ConfigError {
            origin: format!("environment variable {variable}"),
            complaint: format!("{text:?} is no port; write a number up to 65535, such as 3001"),
        })?;
        self.set(key, variable, &format!("0.0.0.0:{port}, [::]:{port}"))
    }

    fn set(&mut self, key: &str, variable: &str, text: &str) -> Result<(), ConfigError> {
        self.variables.insert(key.to_owned(), variable.to_owned());
        let Some(default) = lookup(&self.merged, key).cloned() else {
            return Ok(());
        };
        put(&mut self.merged, key, Value::String(text.to_owned()));
        let fits = fit(read_as(text, &default), &default);
        let fitting = self.check(key, fits)?;
        put(&mut self.merged, key, fitting);
        Ok(())
    }
}

/// The variables as text. Those of others may be anything.
pub(super) fn texts(
    env: impl Iterator<Item = (OsString, OsString)>,
) -> Result<Vec<(String, String)>, ConfigError> {
    let mut texts = Vec::new();
    for (variable, text) in env {
        let Ok(variable) = variable.into_string() else {
            continue;
        };
        match text.into_string() {
            Ok(text) => texts.push((variable, text)),
            Err(_) if is_read(&variable) => {
                return Err(ConfigError {
                    origin: format!("environment variable {variable}"),
                    complaint: "is not UTF-8; set it anew, or unset it".to_owned(),
                });
            }
            Err(_) => {}
        }
    }
    Ok(texts)
}

fn is_read(variable: &str) -> bool {
    variable.starts_with(PREFIX) || [LEGACY_PORT, LEGACY_ORIGINS, LEGACY_REDIS].contains(&variable)
}

fn read_file(path: Option<&Path>) -> Result<(Option<PathBuf>, Table), ConfigError> {
    let file = path.unwrap_or(Path::new(DEFAULT_FILE));
    let text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if path.is_none() && error.kind() == io::ErrorKind::NotFound => {
            return Ok((None, Table::new()));
        }
        Err(error) => {
            return Err(ConfigError {
                origin: file.display().to_string(),
                complaint: format!("cannot be read: {error}"),
            });
        }
    };
    Ok((Some(file.to_owned()), parse(file, &text)?))
}

fn parse(file: &Path, text: &str) -> Result<Table, ConfigError> {
    text.parse().map_err(|error: toml::de::Error| {
        let before = error.span().and_then(|span| text.get(..span.start));
        let line = before.map_or(1, |before| before.matches('\n').count() + 1);
        ConfigError {
            origin: file.display().to_string(),
            complaint: format!("line {line}: {}", one_line(error.message())),
        }
    })
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => format!("{text:?}"),
        Value::Array(entries) => {
            let texts: Vec<_> = entries
                .iter()
                .map(|entry| shown(entry).replace('"', ""))
                .collect();
            format!("{:?}", texts.join(", "))
        }
        Value::Integer(_)
        | Value::Float(_)
        | Value::Boolean(_)
        | Value::Datetime(_)
        | Value::Table(_) => one_line(&value.to_string()),
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
