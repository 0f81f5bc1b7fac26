//! `[access]` and `[store]`: who may join, and where sessions are kept.

use super::raw::Raw;
use super::source::{ConfigError, Source};
use super::{secrets, values};
use crate::access::{Access, HostOnly, Steering};
use crate::logging::Redacted;
use crate::store::{self, redis::RedisUrl};

/// Who may join, who may steer, and whether there is a secret that nobody needs.
pub(super) struct Rules {
    pub(super) access: Access,
    pub(super) host_only: HostOnly,
    pub(super) unused_secret: bool,
}

pub(super) fn rules(source: &Source, raw: &Raw) -> Result<Rules, ConfigError> {
    let keys = &raw.access;
    let is_open = source.check("access.mode", values::word(&keys.mode, &MODES))?;
    let key = "access.jwt_secret";
    let secret = secrets::secret(source, key, &keys.jwt_secret, &keys.jwt_secret_file)?;
    let kept = values::words(&keys.host_only.0, &STEERING);
    let host_only: HostOnly = source
        .check("access.host_only", kept)?
        .into_iter()
        .collect();
    if is_open && host_only != HostOnly::default() {
        let problem = "needs tokens that say who is a host; write access.mode = \"token\", or no access.host_only";
        return Err(source.complain("access.host_only", &problem));
    }
    let unused_secret = is_open && secret.is_some();
    let access = match secret {
        _ if is_open => Access::Open,
        Some(secret) => Access::Token(Redacted::new(secret)),
        None => {
            let problem = "needs the secret that tokens are signed with; set access.jwt_secret or access.jwt_secret_file";
            return Err(source.complain("access.mode", &problem));
        }
    };
    Ok(Rules {
        access,
        host_only,
        unused_secret,
    })
}

pub(super) fn store(source: &Source, raw: &Raw) -> Result<store::Settings, ConfigError> {
    let keys = &raw.store;
    let key = "store.redis_url";
    let url = secrets::secret(source, key, &keys.redis_url, &keys.redis_url_file)?;
    let key = match keys.redis_url_file.as_str() {
        "" => key,
        _ => "store.redis_url_file",
    };
    let redis_url = match url {
        Some(url) => Some(source.check(key, RedisUrl::parse(&url))?),
        None => None,
    };
    Ok(store::Settings { redis_url })
}

const MODES: [(&str, bool); 2] = [("open", true), ("token", false)];
const STEERING: [(&str, Steering); 4] = [
    ("verse", Steering::Verse),
    ("queue", Steering::Queue),
    ("timer", Steering::Timer),
    ("end", Steering::End),
];
