//! Redis, where the sessions are to be kept in one.

use std::time::Duration;

use super::report::Finding;
use crate::config::Config;
use crate::store::redis::{Examined, RedisUrl, Unavailable, examine};

/// The line about it, and what its clock says.
pub(super) async fn look(config: &Config) -> (Finding, Option<i64>) {
    let Some(url) = &config.store.redis_url else {
        return (
            Finding::ok(CHECK, "none: this process keeps the sessions"),
            None,
        );
    };
    let examined = examine(url, PATIENCE).await;
    let ahead = examined.as_ref().ok().map(|examined| examined.ahead_millis);
    (judge(url, examined), ahead)
}

const CHECK: &str = "redis";
const PATIENCE: Duration = Duration::from_secs(4);
/// Every event waits for nobody, but other nodes hear of it that much later.
const LATENCY_MAX: Duration = Duration::from_millis(100);
/// What came before knows no users, and is not tried out.
const VERSION_MIN: (u32, u32) = (6, 0);

fn judge(url: &RedisUrl, examined: Result<Examined, Unavailable>) -> Finding {
    let redis = match examined {
        Ok(redis) => redis,
        Err(unavailable) => return away(url, &unavailable),
    };
    let at = format!("{url}: version {}", redis.version);
    if redis.role == "slave" {
        return Finding::failure(
            CHECK,
            format!("{at} is a replica, which takes no writes"),
            "set store.redis_url to its master, or to the Sentinels: redis+sentinel://HOST:26379/NAME",
        );
    }
    if is_older(&redis.version, VERSION_MIN) {
        return Finding::failure(
            CHECK,
            format!("{at} is older than 6.0"),
            "take Redis 6 or later, or Valkey",
        );
    }
    if !matches!(redis.eviction.as_str(), "noeviction" | "") {
        return Finding::warning(
            CHECK,
            format!(
                "{at} evicts keys when memory runs out (maxmemory-policy {}): sessions would be lost",
                redis.eviction
            ),
            "redis-cli CONFIG SET maxmemory-policy noeviction, and the same in redis.conf",
        );
    }
    if redis.memory_bytes_max > 0 && redis.memory_bytes > redis.memory_bytes_max / 10 * 9 {
        return Finding::warning(
            CHECK,
            format!("{at} has nearly used its maxmemory: it will refuse writes"),
            "redis-cli CONFIG SET maxmemory to more, or give Setu a Redis of its own",
        );
    }
    if redis.latency > LATENCY_MAX {
        return Finding::warning(
            CHECK,
            format!("{at} takes {} ms to answer", redis.latency.as_millis()),
            "take one that is near: other nodes hear of every event that much later",
        );
    }
    let micros = redis.latency.as_micros();
    Finding::ok(
        CHECK,
        format!(
            "{at} answers in {}.{} ms, and evicts nothing",
            micros / 1000,
            micros % 1000 / 100
        ),
    )
}

fn away(url: &RedisUrl, unavailable: &Unavailable) -> Finding {
    let found = format!("{url}: {unavailable}");
    let fix = match unavailable {
        Unavailable::PasswordMissing => {
            "write it into store.redis_url: redis://:PASSWORD@HOST:6379, or redis://USER:PASSWORD@HOST:6379; or use store.redis_url_file"
        }
        Unavailable::PasswordWrong => {
            "correct the user and password in store.redis_url (what is special in a URL as %XX); redis-cli -a tries one"
        }
        Unavailable::Forbidden(_) => {
            "give the user all commands on setu:* and the keys of sessions (ACL SETUSER)"
        }
        Unavailable::Other(_) => {
            "start Redis (systemctl start redis-server), and compare store.redis_url with its bind and port; rediss:// is for TLS only"
        }
    };
    Finding::failure(CHECK, found, fix)
}

fn is_older(version: &str, (major, minor): (u32, u32)) -> bool {
    let mut numbers = version
        .split('.')
        .map(|part| part.parse::<u32>().unwrap_or(u32::MAX));
    let found = (
        numbers.next().unwrap_or(u32::MAX),
        numbers.next().unwrap_or(u32::MAX),
    );
    found < (major, minor)
}

#[cfg(test)]
mod tests {
    use super::super::report::Status;
    use super::*;

    #[test]
    fn a_redis_is_judged() {
        let good = || Examined {
            version: "7.0.15".to_owned(),
            role: "master".to_owned(),
            eviction: "noeviction".to_owned(),
            memory_bytes_max: 100,
            ..Examined::default()
        };
        let (mut replica, mut old, mut forgetful) = (good(), good(), good());
        let (mut full, mut far) = (good(), good());
        replica.role = "slave".to_owned();
        old.version = "5.0.7".to_owned();
        forgetful.eviction = "allkeys-lru".to_owned();
        full.memory_bytes = 95;
        far.latency = Duration::from_millis(300);
        let missing = Unavailable::PasswordMissing;
        let cases = [
            (Ok(good()), Status::Ok, ""),
            (Ok(replica), Status::Failure, "master"),
            (Ok(old), Status::Failure, "Redis 6"),
            (Ok(forgetful), Status::Warning, "noeviction"),
            (Ok(full), Status::Warning, "maxmemory"),
            (Ok(far), Status::Warning, "near"),
            (Err(missing), Status::Failure, ":PASSWORD@"),
            (Err(Unavailable::PasswordWrong), Status::Failure, "correct"),
        ];
        let url = RedisUrl::parse("redis://:hunter2@localhost").unwrap();
        for (examined, status, fix) in cases {
            let finding = judge(&url, examined);
            assert_eq!(finding.status, status, "{finding:?}");
            let said = finding.fix.clone().unwrap_or_default();
            assert!(said.contains(fix), "{finding:?}");
            assert!(!format!("{finding:?}").contains("hunter2"));
        }
    }
}
