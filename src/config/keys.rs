//! The keys there are, their types, and what somebody meant who typed another.

use toml::{Table, Value};

use super::raw::{List, Raw};

/// What begins every variable of ours.
pub(super) const PREFIX: &str = "SETU_";
/// From here on (1 is equality) a word counts as a slip of the fingers.
const SIMILAR: f64 = 0.75;

/// Every key with its default, sections as tables.
pub(super) fn defaults() -> Table {
    Table::try_from(Raw::default()).unwrap_or_default()
}

/// The value of `section.key`, or of a key without section.
pub(super) fn lookup<'t>(table: &'t Table, key: &str) -> Option<&'t Value> {
    let value = match key.split_once('.') {
        Some((section, key)) => table.get(section)?.get(key)?,
        None => table.get(key)?,
    };
    (!value.is_table()).then_some(value)
}

/// What a list has in it when nobody types anything.
pub(super) fn default_entries(key: &str) -> Vec<String> {
    let defaults = defaults();
    let entries = lookup(&defaults, key).and_then(Value::as_array);
    let texts = entries.into_iter().flatten().filter_map(Value::as_str);
    texts.map(str::to_owned).collect()
}

/// Sets a key that there is.
pub(super) fn put(table: &mut Table, key: &str, value: Value) {
    match key.split_once('.') {
        Some((section, key)) => {
            if let Some(Value::Table(section)) = table.get_mut(section) {
                section.insert(key.to_owned(), value);
            }
        }
        None => {
            table.insert(key.to_owned(), value);
        }
    }
}

/// A variable's text in the type of the default; text that does not read so stays text, for [`fit`] to refuse.
pub(super) fn read_as(text: &str, default: &Value) -> Value {
    let value = match default {
        Value::Integer(_) => text.trim().parse().map(Value::Integer).ok(),
        Value::Boolean(_) => text.trim().parse().map(Value::Boolean).ok(),
        Value::Array(_) => Some(Value::from(List::split(text).0)),
        Value::String(_) | Value::Float(_) | Value::Datetime(_) | Value::Table(_) => None,
    };
    value.unwrap_or_else(|| Value::String(text.to_owned()))
}

/// The value in the type of the default, or what should have been typed.
pub(super) fn fit(value: Value, default: &Value) -> Result<Value, &'static str> {
    match (default, value) {
        (Value::String(_), value @ Value::String(_))
        | (Value::Boolean(_), value @ Value::Boolean(_)) => Ok(value),
        (Value::Integer(_), Value::Integer(number)) if u32::try_from(number).is_ok() => {
            Ok(Value::Integer(number))
        }
        (Value::Array(_), Value::String(text)) => Ok(Value::from(List::split(&text).0)),
        (Value::Array(_), Value::Array(entries)) if entries.iter().all(Value::is_str) => {
            Ok(Value::Array(entries))
        }
        (Value::Array(_), _) => Err("must be a list of texts, as in [\"one\", \"two\"]"),
        (Value::Integer(_), _) => Err("must be a whole number from 0 to 4294967295"),
        (Value::Boolean(_), _) => Err("must be true or false"),
        (Value::String(_) | Value::Float(_) | Value::Datetime(_) | Value::Table(_), _) => {
            Err("must be a text in quotes")
        }
    }
}

/// `SETU_TURN__REALM` means `turn.realm`.
pub(super) fn key_of(variable: &str) -> String {
    let name = variable.strip_prefix(PREFIX).unwrap_or(variable);
    name.to_lowercase().replace("__", ".")
}

/// The other way round.
pub(super) fn variable_of(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "__").to_uppercase())
}

/// Kubernetes sets `SETU_PORT`, `SETU_TURN_SERVICE_HOST`, `SETU_TURN_PORT_3478_UDP_ADDR` and more beside services whose
/// names begin with setu: those are nobody's slip.
pub(super) fn is_meant_for_us(key: &str) -> bool {
    let words = format!("_{key}_");
    if !key.contains('.') && (words.contains("_service_host_") || words.contains("_port_")) {
        return false;
    }
    let first_word = key.split(['.', '_']).next().unwrap_or(key);
    let similar = |name: &String| strsim::jaro_winkler(name, first_word) >= SIMILAR;
    key.contains('.') || defaults().keys().any(similar)
}

/// What to say of a key that is none; `written` turns a key into what would have been typed.
pub(super) fn unknown(key: &str, written: impl Fn(&str) -> String) -> String {
    let likeness = |known: &String| strsim::normalized_damerau_levenshtein(known, key);
    let nearest = all_keys()
        .into_iter()
        .max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    match nearest {
        Some(near) if likeness(&near) >= SIMILAR => {
            format!("{key}: unknown key; did you mean {}?", written(&near))
        }
        Some(_) | None => {
            format!("{key}: unknown key; remove it (`setu config` lists the known ones)")
        }
    }
}

/// Every key, with its section.
pub(super) fn all_keys() -> Vec<String> {
    let mut keys = Vec::new();
    for (name, value) in defaults() {
        match value.as_table() {
            Some(section) => keys.extend(section.keys().map(|key| format!("{name}.{key}"))),
            None => keys.push(name),
        }
    }
    keys
}
