//! Each kind of value, parsed once. A refusal says what is wrong and what to write instead.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    ops::RangeInclusive,
    time::Duration,
};

use ipnet::IpNet;

use crate::credentials::opaque_string;
use crate::logging::Redacted;
use crate::relay::Listen;

/// Addresses to listen on. `required` is false for defaults: a machine may have no IPv6. `example` is what to write.
pub(super) fn listeners(
    entries: &[String],
    required: bool,
    example: impl Fn() -> String,
) -> Result<Vec<Listen>, String> {
    let mut listeners: Vec<Listen> = Vec::new();
    for entry in entries {
        let addr = entry.trim().parse::<SocketAddr>().map_err(|_| {
            let example = example();
            format!("{entry:?} is no address with a port; write {example}")
        })?;
        let twice = |other: &Listen| other.addr == addr && addr.port() != 0;
        if listeners.iter().any(twice) {
            return Err(format!("{addr} is there twice; remove one"));
        }
        listeners.push(Listen {
            addr,
            required: required || addr.is_ipv4(),
        });
    }
    Ok(listeners)
}

/// `first-last`, or one port.
pub(super) fn port_range(text: &str) -> Result<RangeInclusive<u16>, String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let port = |text: &str| text.trim().parse::<u32>().map_err(|_| RANGE_FIX.to_owned());
    let (first, last) = (port(first)?, port(last)?);
    if first > last {
        return Err(format!("begins after its end; write {last}-{first}"));
    }
    let Ok(last) = u16::try_from(last) else {
        return Err(format!("ends above 65535; {RANGE_FIX}"));
    };
    match u16::try_from(first) {
        Ok(first) if first >= 1024 => Ok(first..=last),
        Ok(_) | Err(_) => Err(format!("begins below 1024; {RANGE_FIX}")),
    }
}

/// Whole seconds within bounds: `24h`, `90m`, `1h 30m`.
pub(super) fn duration(text: &str, bounds: RangeInclusive<Duration>) -> Result<Duration, String> {
    let fix = || {
        let (min, max) = (*bounds.start(), *bounds.end());
        format!(
            "must be a time from {} to {}, such as 30s, 90m or 24h",
            humantime::format_duration(min),
            humantime::format_duration(max)
        )
    };
    let duration = humantime::parse_duration(text).map_err(|_| fix())?;
    let whole = duration.subsec_nanos() == 0;
    if whole && bounds.contains(&duration) {
        Ok(duration)
    } else {
        Err(fix())
    }
}

/// `10.0.0.0/8`, or one address.
pub(super) fn networks(entries: &[String]) -> Result<Vec<IpNet>, String> {
    let parse = |entry: &String| {
        let network = entry.parse::<IpNet>();
        let one_address = || entry.parse::<IpAddr>().map(IpNet::from);
        network.or_else(|_| one_address()).map_err(|_| {
            format!("{entry:?} is no network; write 10.0.0.0/8, 2001:db8::/32 or one address")
        })
    };
    entries.iter().map(parse).collect()
}

/// Web origins as browsers send them: scheme, host and port, nothing behind.
pub(super) fn origins(entries: &[String]) -> Result<Vec<String>, String> {
    let parse = |entry: &String| {
        let fix =
            || format!("{entry:?} is no web origin; write https://app.example.org, without a path");
        let lower = entry.trim().trim_end_matches('/').to_lowercase();
        let (scheme, authority) = lower.split_once("://").ok_or_else(fix)?;
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
        let fits = matches!(scheme, "http" | "https") && !authority.is_empty();
        if !fits || !authority.chars().all(plain) {
            return Err(fix());
        }
        // Browsers leave out the port that the scheme implies.
        let implied = if scheme == "http" { ":80" } else { ":443" };
        let authority = authority.strip_suffix(implied).unwrap_or(authority);
        if authority.is_empty() || authority.starts_with(':') {
            return Err(fix());
        }
        Ok(format!("{scheme}://{authority}"))
    };
    entries.iter().map(parse).collect()
}

/// `name:password`; the password may hold colons.
pub(super) fn users(entries: &[String]) -> Result<Vec<(String, Redacted<String>)>, String> {
    let mut users: Vec<(String, Redacted<String>)> = Vec::new();
    for (at, entry) in entries.iter().enumerate() {
        let place = at + 1;
        let (name, password) = match entry.split_once(':') {
            Some((name, password)) if !name.is_empty() && !password.is_empty() => (name, password),
            Some(_) | None => return Err(format!("entry {place} must be name:password")),
        };
        let Some(name) = opaque_string(name) else {
            return Err(format!("the name of entry {place} {OPAQUE_FIX}"));
        };
        let Some(password) = opaque_string(password) else {
            return Err(format!("the password of entry {place} {OPAQUE_FIX}"));
        };
        if is_no_secret(&password) {
            return Err(format!(
                "the password of entry {place} is empty or redacted"
            ));
        }
        if name.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(format!(
                "the name of entry {place} has only digits, like the expiry of a time-limited user; choose another"
            ));
        }
        if users.iter().any(|(other, _)| *other == name) {
            return Err(format!(
                "entry {place} names a user for the second time; remove one"
            ));
        }
        users.push((name, Redacted::new(password)));
    }
    Ok(users)
}

/// Blank, or what [`Redacted`] values are printed as.
pub(super) fn is_no_secret(text: &str) -> bool {
    matches!(text.trim(), "" | "[redacted]")
}

/// The name or address in `turn:` URLs, without port.
pub(super) fn host(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-.".contains(c);
    let is_name = !text.is_empty() && text.chars().all(plain);
    if let Ok(v6) = text.trim_matches(['[', ']']).parse::<Ipv6Addr>() {
        return Ok(format!("[{v6}]"));
    }
    if is_name && text.len() <= 253 {
        return Ok(text.to_owned());
    }
    Err("must be a DNS name or an address, without scheme and port: turn.example.org".to_owned())
}

/// DNS names as they stand in certificates. Over HTTP nobody can prove a wildcard.
pub(super) fn domains(entries: &[String]) -> Result<Vec<String>, String> {
    let parse = |entry: &String| {
        let name = entry.trim().trim_end_matches('.').to_ascii_lowercase();
        let is_label = |label: &str| {
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
            (1..=63).contains(&label.len()) && label.chars().all(plain)
        };
        let is_name = name.len() <= 253 && name.split('.').all(is_label);
        if is_name && name.parse::<IpAddr>().is_err() {
            return Ok(name);
        }
        Err(format!(
            "{entry:?} must be a DNS name, without a star: turn.example.org"
        ))
    };
    entries.iter().map(parse).collect()
}

/// Where something is asked for over TLS.
pub(super) fn https_url(text: &str) -> Result<String, String> {
    let rest = text.strip_prefix("https://").unwrap_or_default();
    match rest.is_empty() || rest.starts_with('/') {
        true => Err("must be a URL that begins with https://".to_owned()),
        false => Ok(text.to_owned()),
    }
}

/// REALM and SOFTWARE hold at most 127 characters ([RFC 8489 §14.9](https://www.rfc-editor.org/rfc/rfc8489#section-14.9)).
pub(super) fn short_text(text: &str) -> Result<String, String> {
    let printable = |c: char| !c.is_control() && c != '"' && c != '\\';
    if text.chars().count() <= 127 && text.chars().all(printable) {
        return Ok(text.to_owned());
    }
    Err("must have at most 127 characters, no quotes, backslashes or line ends".to_owned())
}

/// Not empty, and short in the one spelling that keys are derived from.
pub(super) fn realm(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("must not be empty; write your domain".to_owned());
    }
    let prepared = opaque_string(text).ok_or(OPAQUE_FIX)?;
    short_text(&prepared)
}

/// One of a few words.
pub(super) fn word<T: Copy>(text: &str, words: &[(&str, T)]) -> Result<T, String> {
    let found = words.iter().find(|(word, _)| *word == text);
    found.map(|(_, meaning)| *meaning).ok_or_else(|| {
        let names: Vec<_> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
        format!("must be {}", names.join(" or "))
    })
}

/// A list of a few words.
pub(super) fn words<T: Copy>(entries: &[String], words: &[(&str, T)]) -> Result<Vec<T>, String> {
    let parse = |entry: &String| {
        let found = words.iter().find(|(word, _)| word == entry);
        found.map(|(_, meaning)| *meaning).ok_or_else(|| {
            let names: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            format!("{entry:?} is none of {}; remove it", names.join(", "))
        })
    };
    entries.iter().map(parse).collect()
}

const OPAQUE_FIX: &str = "holds a control, invisible, private or unassigned character; remove it";
const RANGE_FIX: &str = "write a range within 1024-65535, such as 49160-49200";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r63_port_ranges_lie_above_1023() {
        let cases = [
            ("49160-49200", Some(49160..=49200)),
            ("50000", Some(50000..=50000)),
            (" 1024 - 65535 ", Some(1024..=65535)),
            ("49200-49160", None),
            ("49160-70000", None),
            ("80-90", None),
            ("a-b", None),
            ("", None),
            ("-1", None),
        ];
        for (text, expected) in cases {
            assert_eq!(port_range(text).ok(), expected, "{text:?}");
        }
    }

    #[test]
    fn origins_are_written_as_browsers_write_them() {
        let cases = [
            ("http://localhost:3000", Some("http://localhost:3000")),
            ("https://App.Example.org/", Some("https://app.example.org")),
            (
                "https://app.example.org:443",
                Some("https://app.example.org"),
            ),
            ("http://[::1]:3000", Some("http://[::1]:3000")),
            ("https://app.example.org/path", None),
            ("app.example.org", None),
            ("*", None),
            ("https://", None),
            ("https://:443", None),
            ("https://:8443", None),
            ("ftp://app.example.org", None),
        ];
        for (text, expected) in cases {
            let origins = origins(&[text.to_owned()]).ok();
            let expected = expected.map(|origin| vec![origin.to_owned()]);
            assert_eq!(origins, expected, "{text:?}");
        }
    }

    #[test]
    fn a_users_complaint_names_the_place_not_the_password() {
        let entries = ["alice:pass:word", "bob"].map(str::to_owned);
        let alice = users(&entries[..1]).unwrap();
        assert_eq!(alice[0].0, "alice");
        assert_eq!(alice[0].1.expose(), "pass:word");
        assert_eq!(
            users(&entries).unwrap_err(),
            "entry 2 must be name:password"
        );
        assert!(users(&["1700000000:x".to_owned()]).is_err());
    }

    #[test]
    fn users_have_one_spelling() {
        let users = |entries: &[&str]| {
            let entries: Vec<_> = entries.iter().map(|&entry| entry.to_owned()).collect();
            users(&entries)
        };
        let rene = users(&["Rene\u{301}:cafe\u{301}\u{a0}noir"]).unwrap();
        assert_eq!(rene[0].0, "Ren\u{e9}");
        assert_eq!(rene[0].1.expose(), "caf\u{e9} noir");
        assert!(users(&["Rene\u{301}:a", "Ren\u{e9}:b"]).is_err());
        assert_eq!(realm("cafe\u{301}.example").unwrap(), "caf\u{e9}.example");
    }

    #[test]
    fn domains_are_names_in_small_letters() {
        let cases = [
            ("Turn.Example.org.", Some("turn.example.org")),
            ("localhost", Some("localhost")),
            ("*.example.org", None),
            ("192.0.2.1", None),
            ("a..b", None),
            ("", None),
        ];
        for (text, expected) in cases {
            let domains = domains(&[text.to_owned()]).ok();
            let expected = expected.map(|name| vec![name.to_owned()]);
            assert_eq!(domains, expected, "{text:?}");
        }
    }

    #[test]
    fn hosts_lose_no_brackets() {
        let cases = [
            ("turn.example.org", Some("turn.example.org")),
            ("192.0.2.1", Some("192.0.2.1")),
            ("2001:db8::1", Some("[2001:db8::1]")),
            ("[2001:db8::1]", Some("[2001:db8::1]")),
            ("turn.example.org:3478", None),
            ("turn:turn.example.org", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(host(text).ok().as_deref(), expected, "{text:?}");
        }
    }
}
