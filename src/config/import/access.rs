//! Who may relay, and to whom.

use super::coturn::Coturn;
use super::draft::{Draft, printable};
use super::lines::Line;
use super::ranges::Range;
use crate::config::values;

/// Writes realm, users, secrets and peers.
pub(super) fn convert(coturn: &Coturn, draft: &mut Draft) {
    realm(coturn, draft);
    users(coturn, draft);
    secrets(coturn, draft);
    peers(coturn, draft);
}

/// Whether coturn takes time-limited credentials, and then nothing else.
fn is_time_limited(coturn: &Coturn) -> bool {
    coturn.has("use-auth-secret") || coturn.has("static-auth-secret")
}

fn realm(coturn: &Coturn, draft: &mut Draft) {
    if let Some(line) = coturn.last("realm") {
        match values::realm(&line.value) {
            Ok(realm) => draft.set("turn", "realm", realm, coturn.origin(&["realm"])),
            Err(problem) => draft.lose(line, &problem),
        }
    }
    if let (Some(line), false) = (coturn.last("server-name"), coturn.has("oauth")) {
        draft.drop(line, "it is for `oauth`, which is off");
    }
    let separator = coturn.last("rest-api-separator");
    if let Some(line) = separator.filter(|line| line.value != ":") {
        draft.lose(
            line,
            "Setu knows the colon only: whoever makes the names must write it",
        );
    }
    let family = coturn.last("allocation-default-address-family");
    if let Some(line) = family.filter(|line| line.value != "ipv4") {
        draft.lose(
            line,
            "who asks for no family is relayed over IPv4 (RFC 8656 §7.2)",
        );
    }
}

/// An empty list where there is none: Setu has well-known users in development otherwise.
fn users(coturn: &Coturn, draft: &mut Draft) {
    let mut users: Vec<String> = Vec::new();
    for line in coturn.all("user") {
        if is_time_limited(coturn) {
            draft.drop(line, "beside `use-auth-secret` coturn ignores it");
            continue;
        }
        match user(line, &users) {
            Ok(user) => users.push(user),
            Err(problem) => draft.lose(line, &problem),
        }
    }
    let is_open = !is_time_limited(coturn) && !coturn.has("user") && !coturn.has("lt-cred-mech");
    let origin = match (users.is_empty(), is_open) {
        (true, true) => {
            "coturn asked for no credentials; Setu does: add \"name:password\", or hand out credentials".to_owned()
        }
        (true, false) => "no static users".to_owned(),
        (false, _) => coturn.origin(&["user"]),
    };
    draft.set("turn", "users", users, origin);
}

fn user(line: &Line, others: &[String]) -> Result<String, String> {
    let password = line.value.split_once(':').map(|(_, password)| password);
    if password.is_some_and(|password| password.starts_with("0x")) {
        return Err(
            "a key, of which nobody can tell the password: give this user a new one in turn.users"
                .to_owned(),
        );
    }
    let mut all = others.to_vec();
    all.push(line.value.clone());
    values::users(&all)
        .map(|_| line.value.clone())
        .map_err(|problem| format!("as turn.users has it, {problem}"))
}

fn secrets(coturn: &Coturn, draft: &mut Draft) {
    let mut secrets: Vec<String> = Vec::new();
    for line in coturn.all("static-auth-secret") {
        if values::is_no_secret(&line.value) {
            draft.lose(
                line,
                "is empty or redacted; openssl rand -hex 32 makes a good one",
            );
        } else {
            secrets.push(line.value.clone());
        }
    }
    if let (Some(line), true) = (coturn.last("use-auth-secret"), secrets.is_empty()) {
        draft.lose(
            line,
            "its secret is in coturn's database: write it in credentials.secret",
        );
    }
    let mut secrets = secrets.into_iter();
    let Some(first) = secrets.next() else {
        return;
    };
    let origin = coturn.origin(&["static-auth-secret"]);
    draft.set("credentials", "secret", first, origin.clone());
    let others: Vec<_> = secrets.collect();
    if !others.is_empty() {
        draft.set("credentials", "previous_secrets", others, origin);
    }
}

/// In coturn what is allowed wins over what is denied, but not over loopback and multicast; here deny wins over all.
fn peers(coturn: &Coturn, draft: &mut Draft) {
    let allowed = ranges(coturn, "allowed-peer-ip", draft);
    let denied = ranges(coturn, "denied-peer-ip", draft);
    let mut never: Vec<_> = MULTICAST
        .iter()
        .filter_map(|text| Range::parse(text))
        .collect();
    let loopback: Vec<_> = LOOPBACK
        .iter()
        .filter_map(|text| Range::parse(text))
        .collect();
    let mut allow = Vec::new();
    match coturn.has("allow-loopback-peers") {
        true => allow.extend(LOOPBACK.map(str::to_owned)),
        false => never.extend(loopback),
    }
    let networks = |ranges: &[Range], others: &[Range]| -> Vec<String> {
        let left = ranges.iter().flat_map(|range| range.without(others));
        left.flat_map(Range::networks)
            .map(|network| network.to_string())
            .collect()
    };
    allow.extend(networks(&allowed, &never));
    allow.dedup();
    if !allow.is_empty() {
        let origin = coturn.origin(&["allow-loopback-peers", "allowed-peer-ip"]);
        draft.set("peers", "allow", allow, origin);
    } else if denied.is_empty() {
        let origin = "coturn reached private networks; Setu does not, unless you name those of your media servers here";
        draft.set("peers", "allow", Vec::<String>::new(), origin);
    }
    let deny = networks(&denied, &allowed);
    if !deny.is_empty() {
        let origin = coturn.origin(&["denied-peer-ip"]);
        draft.set("peers", "deny", deny, origin);
    }
}

fn ranges(coturn: &Coturn, name: &str, draft: &mut Draft) -> Vec<Range> {
    let mut ranges = Vec::new();
    for line in coturn.all(name) {
        match Range::parse(&line.value) {
            Some(range) => ranges.push(range),
            None => {
                let value = printable(&line.value);
                draft.lose(line, &format!("{value:?} is not an address, or first-last"));
            }
        }
    }
    ranges
}

const LOOPBACK: [&str; 2] = ["127.0.0.0/8", "::1/128"];
const MULTICAST: [&str; 2] = ["224.0.0.0-255.255.255.255", "ff00::/8"];
