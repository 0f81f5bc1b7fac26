//! `store.redis_url`: where Redis is, and how it is arranged.

use std::{fmt, path::PathBuf, str::FromStr};

use percent_encoding::percent_decode_str;

use crate::logging::Redacted;

/// Where Redis is: one server, a master that Sentinels know, or a Cluster.
///
/// ```text
/// redis://[user:password@]host[:port][/database]
/// redis+sentinel://[user:password@]sentinel[:port],…/service[/database]
/// redis-cluster://[user:password@]host[:port],…
/// ```
///
/// `rediss` in place of `redis` speaks TLS. Options follow a `?`: `ca=FILE` trusts the certificates in a PEM file
/// instead of the public authorities; `sentinel_username` and `sentinel_password` are for the Sentinels themselves.
/// What is special in a URL is written as `%XX`. Printed without its secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisUrl {
    pub(super) arrangement: Arrangement,
    pub(super) is_tls: bool,
    pub(super) hosts: Vec<(String, u16)>,
    pub(super) database: i64,
    /// For Redis itself.
    pub(super) login: Option<Login>,
    /// PEM certificates to trust instead of the public authorities.
    pub(super) ca: Option<PathBuf>,
}

/// What stands at the addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Arrangement {
    Single,
    Sentinel {
        service: String,
        login: Option<Login>,
    },
    Cluster,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Login {
    /// Without one, Redis takes its default user.
    pub(super) username: Option<String>,
    pub(super) password: Redacted<String>,
}

impl RedisUrl {
    /// Every host with its port: Redis itself, or its Sentinels.
    pub fn hosts(&self) -> impl Iterator<Item = (&str, u16)> {
        self.hosts.iter().map(|(host, port)| (host.as_str(), *port))
    }

    /// Reads the URL.
    ///
    /// # Errors
    /// One line that says what to write instead. It repeats nothing of the text: any part may be a piece of a password.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (scheme, rest) = text.split_once("://").ok_or(SCHEMES)?;
        let (rest, options) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        if path.contains('@') {
            return Err("a / in the user name or password must be written as %2F".to_owned());
        }
        let (login, hosts) = match authority.rsplit_once('@') {
            Some((login, hosts)) => (Some(parse_login(login)?), hosts),
            None => (None, authority),
        };
        let (options, is_tls) = (Options::parse(options)?, scheme.starts_with("rediss"));
        let (arrangement, database) = parse_arrangement(scheme, path, &options)?;
        options.fit(&arrangement, is_tls)?;
        let hosts = parse_hosts(hosts, &arrangement)?;
        Ok(Self {
            arrangement,
            is_tls,
            hosts,
            database,
            login,
            ca: options.ca.map(PathBuf::from),
        })
    }
}

impl FromStr for RedisUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::parse(text)
    }
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_tls { "rediss" } else { "redis" })?;
        f.write_str(match &self.arrangement {
            Arrangement::Single => "://",
            Arrangement::Sentinel { .. } => "+sentinel://",
            Arrangement::Cluster => "-cluster://",
        })?;
        if self.login.is_some() {
            f.write_str("[redacted]@")?;
        }
        for (at, (host, port)) in self.hosts.iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            if host.contains(':') {
                write!(f, "{comma}[{host}]:{port}")?;
            } else {
                write!(f, "{comma}{host}:{port}")?;
            }
        }
        match &self.arrangement {
            Arrangement::Single => write!(f, "/{}", self.database),
            Arrangement::Sentinel { service, .. } => write!(f, "/{service}/{}", self.database),
            Arrangement::Cluster => Ok(()),
        }
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What follows the `?`.
#[derive(Default)]
struct Options {
    ca: Option<String>,
    sentinel_username: Option<String>,
    sentinel_password: Option<String>,
}

impl Options {
    fn parse(text: &str) -> Result<Self, String> {
        let mut options = Self::default();
        for option in text.split('&').filter(|option| !option.is_empty()) {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            let target = match name {
                "ca" => &mut options.ca,
                "sentinel_username" => &mut options.sentinel_username,
                "sentinel_password" => &mut options.sentinel_password,
                _ => return Err(OPTIONS.to_owned()),
            };
            let value = decode(value)?;
            if value.is_empty() {
                return Err("an option after the ? has no value: write name=value".to_owned());
            }
            *target = Some(value);
        }
        Ok(options)
    }

    fn sentinel_login(&self) -> Result<Option<Login>, String> {
        match (&self.sentinel_username, &self.sentinel_password) {
            (None, None) => Ok(None),
            (Some(_), None) => {
                Err("sentinel_username needs a sentinel_password beside it".to_owned())
            }
            (username, Some(password)) => Ok(Some(Login {
                username: username.clone(),
                password: Redacted::new(password.clone()),
            })),
        }
    }

    fn fit(&self, arrangement: &Arrangement, is_tls: bool) -> Result<(), String> {
        let is_for_sentinels = self.sentinel_username.is_some() || self.sentinel_password.is_some();
        if is_for_sentinels && !matches!(arrangement, Arrangement::Sentinel { .. }) {
            return Err(
                "sentinel_username and sentinel_password are for redis+sentinel:// only".to_owned(),
            );
        }
        if self.ca.is_some() && !is_tls {
            return Err("ca is for TLS only: write rediss instead of redis".to_owned());
        }
        Ok(())
    }
}

const SCHEMES: &str =
    "must start with redis://, redis+sentinel:// or redis-cluster:// (rediss for TLS)";
const OPTIONS: &str = "the options after the ? are ca, sentinel_username and sentinel_password; \
                       a ? in a password must be written as %3F";
const PORTS: &str = "a port must be a number from 1 to 65535; an IPv6 address must be written as \
                     [address]:port, and : / ? @ in a password as %3A %2F %3F %40";
const CLUSTER_DATABASE: &str = "a Cluster has database 0 only; end the URL after the hosts";
const SERVICE: &str =
    "must name the master that the Sentinels watch: redis+sentinel://host:26379/mymaster";
const REDIS_PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

fn parse_arrangement(
    scheme: &str,
    path: &str,
    options: &Options,
) -> Result<(Arrangement, i64), String> {
    match scheme {
        "redis" | "rediss" => Ok((Arrangement::Single, parse_database(path)?)),
        "redis+sentinel" | "rediss+sentinel" => {
            let (service, database) = path.split_once('/').unwrap_or((path, ""));
            let (service, login) = (decode(service)?, options.sentinel_login()?);
            if service.is_empty() {
                return Err(SERVICE.to_owned());
            }
            let arrangement = Arrangement::Sentinel { service, login };
            Ok((arrangement, parse_database(database)?))
        }
        "redis-cluster" | "rediss-cluster" if matches!(path, "" | "0") => {
            Ok((Arrangement::Cluster, 0))
        }
        "redis-cluster" | "rediss-cluster" => Err(CLUSTER_DATABASE.to_owned()),
        _ => Err(SCHEMES.to_owned()),
    }
}

fn parse_login(text: &str) -> Result<Login, String> {
    let (username, password) = text
        .split_once(':')
        .ok_or("the part before @ must be user:password, or :password without a user")?;
    let username = decode(username)?;
    if password.is_empty() {
        return Err("the password before @ is empty: leave out all up to the @".to_owned());
    }
    Ok(Login {
        username: Some(username).filter(|username| !username.is_empty()),
        password: Redacted::new(decode(password)?),
    })
}

fn parse_hosts(text: &str, arrangement: &Arrangement) -> Result<Vec<(String, u16)>, String> {
    let default_port = match arrangement {
        Arrangement::Single | Arrangement::Cluster => REDIS_PORT,
        Arrangement::Sentinel { .. } => SENTINEL_PORT,
    };
    let hosts: Vec<_> = text
        .split(',')
        .map(|host| parse_host(host, default_port))
        .collect::<Result<_, _>>()?;
    if hosts.len() > 1 && *arrangement == Arrangement::Single {
        return Err("several hosts need redis+sentinel:// or redis-cluster://".to_owned());
    }
    Ok(hosts)
}

fn parse_host(text: &str, default_port: u16) -> Result<(String, u16), String> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, port) = rest.split_once(']').ok_or(PORTS)?;
        (host, Some(port).filter(|port| !port.is_empty()))
    } else {
        let at = text.find(':').unwrap_or(text.len());
        (
            &text[..at],
            Some(&text[at..]).filter(|port| !port.is_empty()),
        )
    };
    if host.is_empty() {
        return Err("a host is missing: redis://localhost:6379".to_owned());
    }
    let port = match port {
        Some(port) => {
            let number = port.strip_prefix(':').and_then(|port| port.parse().ok());
            number.filter(|number| *number != 0).ok_or(PORTS)?
        }
        None => default_port,
    };
    Ok((host.to_owned(), port))
}

fn parse_database(text: &str) -> Result<i64, String> {
    if text.is_empty() {
        return Ok(0);
    }
    let number: Result<u32, _> = text.parse();
    number
        .map(i64::from)
        .map_err(|_| "the database after the last / must be a number".to_owned())
}

fn decode(text: &str) -> Result<String, String> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded
        .map(String::from)
        .map_err(|_| "%XX must stand for UTF-8".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_arrangement_is_read_and_printed_without_its_secrets() {
        let cases = [
            ("redis://localhost", "redis://localhost:6379/0"),
            (
                "redis://:pw@[::1]:7000/3",
                "redis://[redacted]@[::1]:7000/3",
            ),
            (
                "rediss://me:p%40ss@h:1?ca=/etc/ca.pem",
                "rediss://[redacted]@h:1/0",
            ),
            (
                "redis+sentinel://a,b:2/main",
                "redis+sentinel://a:26379,b:2/main/0",
            ),
            (
                "rediss+sentinel://u:p@a:1/main/4?sentinel_password=x",
                "rediss+sentinel://[redacted]@a:1/main/4",
            ),
            (
                "redis-cluster://a:1,b:2,c",
                "redis-cluster://a:1,b:2,c:6379",
            ),
            ("rediss-cluster://a:1/0", "rediss-cluster://a:1"),
        ];
        for (text, printed) in cases {
            let url = RedisUrl::parse(text).unwrap();
            assert_eq!(url.to_string(), printed, "{text}");
            assert_eq!(format!("{url:?}"), printed, "{text}");
        }
        let url = RedisUrl::parse("redis://me:p%40s%3As@h").unwrap();
        let login = url.login.unwrap();
        assert_eq!(login.username.as_deref(), Some("me"));
        assert_eq!(login.password.expose(), "p@s:s");
    }

    #[test]
    fn a_refusal_says_the_fix_and_repeats_nothing() {
        let cases = [
            ("", "redis://"),
            ("localhost:6379", "redis://"),
            ("http://secret", "redis://"),
            ("redis://", "host"),
            ("redis://:secret@", "host"),
            ("redis://secret@h", "user:password"),
            ("redis://u:se/cret@h", "%2F"),
            ("redis://u:se?cret@h", "%3F"),
            ("redis://u:secret:1", "port"),
            ("redis://h:0", "port"),
            ("redis://::1", "host"),
            ("redis://[::1", "IPv6"),
            ("redis://[::1]secret", "IPv6"),
            ("redis://:@h", "password"),
            ("redis://h/secret", "number"),
            ("redis://a,b", "redis+sentinel://"),
            ("redis://h?secret=1", "options"),
            ("redis://h?ca=/x", "rediss"),
            ("rediss://h?ca=", "value"),
            ("redis://h?sentinel_password=secret", "redis+sentinel://"),
            ("redis+sentinel://h", "mymaster"),
            (
                "redis+sentinel://h/m?sentinel_username=secret",
                "sentinel_password",
            ),
            ("redis-cluster://h/1", "database 0"),
            ("redis://u:%ff@h", "UTF-8"),
        ];
        for (text, fix) in cases {
            let said = RedisUrl::parse(text).unwrap_err();
            assert!(said.contains(fix), "{text}: {said}");
            assert!(
                !said.contains("secret") && !said.contains('\n'),
                "{text}: {said}"
            );
        }
    }
}
