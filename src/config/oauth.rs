//! `turn.oauth_server` and `turn.oauth_keys`: who else may let clients in.

use base64::{Engine as _, prelude::BASE64_STANDARD};

use super::raw::Raw;
use super::secrets;
use super::source::{ConfigError, Source};
use super::values;
use crate::credentials::Tokens;
use crate::logging::Redacted;

/// `None` where neither key is set.
pub(super) fn tokens(source: &Source, raw: &Raw) -> Result<Option<Tokens>, ConfigError> {
    let turn = &raw.turn;
    let key = "turn.oauth_keys";
    let entries = secrets::secrets(source, key, &turn.oauth_keys, &turn.oauth_keys_file)?;
    let server = source.check("turn.oauth_server", values::short_text(&turn.oauth_server))?;
    match (server.is_empty(), entries.is_empty()) {
        (true, true) => return Ok(None),
        (false, true) => {
            let problem = "has no keys to open tokens with; set turn.oauth_keys too";
            return Err(source.complain("turn.oauth_server", &problem));
        }
        (true, false) => {
            let problem = "are good for no server; set turn.oauth_server too";
            return Err(source.complain(key, &problem));
        }
        (false, false) => {}
    }
    let keys = entries.iter().map(|entry| parse(entry));
    let tokens = keys.collect::<Option<Vec<_>>>();
    let tokens = tokens.and_then(|keys| Tokens::new(&server, keys));
    let problem = "must be \"id:key\" each, the key 16 or 32 bytes in base64; openssl rand -base64 32 makes a good one";
    tokens
        .map(Some)
        .ok_or_else(|| source.complain(key, &problem))
}

fn parse(entry: &str) -> Option<(String, Redacted<Vec<u8>>)> {
    let (id, key) = entry.split_once(':').filter(|(id, _)| !id.is_empty())?;
    let key = BASE64_STANDARD.decode(key).ok()?;
    Some((id.to_owned(), Redacted::new(key)))
}
