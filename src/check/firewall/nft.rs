//! What `nft -j list ruleset` prints, read as [`Chain`]s.

use std::{collections::HashMap, net::IpAddr, ops::RangeInclusive, sync::Arc};

use ipnet::IpNet;
use serde_json::Value;

use super::rules::{Action, Chain, Match, Rule, Syntax};
use crate::check::sockets::Protocol;

/// The base chains of type filter on a local packet's way in and out.
pub(super) fn parse(text: &str) -> Vec<Chain> {
    let Ok(ruleset) = serde_json::from_str::<Value>(text) else {
        return Vec::new();
    };
    let items = ruleset["nftables"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    let mut rules: HashMap<(String, String), Vec<Rule>> = HashMap::new();
    let sets = Sets::of(items);
    for rule in items.iter().filter_map(|item| item.get("rule")) {
        let (table, chain) = (table_of(rule), text_of(&rule["chain"]));
        let read = read_rule(rule, &table, &sets);
        rules.entry((table, chain)).or_default().extend(read);
    }
    let of_table = |wanted: &str| {
        let inside = rules.iter().filter(|((table, _), _)| table == wanted);
        let named = inside.map(|((_, chain), rules)| (chain.clone(), rules.clone()));
        Arc::new(named.collect::<HashMap<_, _>>())
    };
    let base = |chain: &Value| {
        let is_in = match chain["hook"].as_str()? {
            "input" | "prerouting" => true,
            "output" | "postrouting" => false,
            _ => return None,
        };
        if chain["type"].as_str()? != "filter" {
            return None;
        }
        let families = match chain["family"].as_str()? {
            "inet" => (true, true),
            "ip" => (true, false),
            "ip6" => (false, true),
            _ => return None,
        };
        let (table, name) = (table_of(chain), text_of(&chain["name"]));
        let others = of_table(&table);
        Some(Chain {
            is_in,
            families,
            drops_by_default: chain["policy"].as_str() == Some("drop"),
            rules: others.get(&name).cloned().unwrap_or_default(),
            name: format!("{table} {name}"),
            others,
            syntax: Syntax::Nft,
        })
    };
    let chains = items.iter().filter_map(|item| item.get("chain"));
    chains.filter_map(base).collect()
}

/// "inet filter".
fn table_of(item: &Value) -> String {
    format!("{} {}", text_of(&item["family"]), text_of(&item["table"]))
}

fn text_of(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The elements of named sets.
struct Sets(HashMap<(String, String), Value>);

impl Sets {
    fn of(items: &[Value]) -> Self {
        let sets = items.iter().filter_map(|item| item.get("set"));
        let named = sets.map(|set| {
            let elements = set.get("elem").cloned().unwrap_or(Value::Array(Vec::new()));
            ((table_of(set), text_of(&set["name"])), elements)
        });
        Self(named.collect())
    }
}

/// One rule; a verdict map is one for each of its entries.
fn read_rule(rule: &Value, table: &str, sets: &Sets) -> Vec<Rule> {
    let mut matches = Vec::new();
    let mut rules = Vec::new();
    let expressions = rule["expr"].as_array().map_or(&[][..], Vec::as_slice);
    for expression in expressions {
        let Some((kind, body)) = expression
            .as_object()
            .and_then(|object| object.iter().next())
        else {
            continue;
        };
        let action = match kind.as_str() {
            "match" => {
                matches.push(read_match(body, table, sets));
                continue;
            }
            "vmap" => {
                rules.extend(read_map(body, &matches, table, sets));
                continue;
            }
            "counter" | "log" | "mangle" | "notrack" | "comment" | "ct helper" | "meter" => {
                continue;
            }
            "accept" => Action::Accept,
            "drop" | "reject" => Action::Drop,
            "return" => Action::Return,
            "jump" => Action::Jump(text_of(&body["target"])),
            "goto" => Action::Goto(text_of(&body["target"])),
            // Limits, extensions of iptables, and what is still to come.
            _ => {
                matches.push(Match::Unknown);
                continue;
            }
        };
        rules.push(written(matches.clone(), action));
    }
    rules
}

fn written(matches: Vec<Match>, action: Action) -> Rule {
    let text = matches.iter().map(describe).chain([match &action {
        Action::Accept => "accept".to_owned(),
        Action::Drop => "drop".to_owned(),
        Action::Jump(target) => format!("jump {target}"),
        Action::Goto(target) => format!("goto {target}"),
        Action::Return => "return".to_owned(),
        Action::Nothing => String::new(),
    }]);
    Rule {
        text: text.collect::<Vec<_>>().join(" "),
        matches,
        action,
    }
}

fn describe(one: &Match) -> String {
    let not = |negated: bool| if negated { "!= " } else { "" };
    let ranges = |ranges: &[RangeInclusive<u16>]| {
        let texts = ranges
            .iter()
            .map(|range| match range.start() == range.end() {
                true => range.start().to_string(),
                false => format!("{}-{}", range.start(), range.end()),
            });
        texts.collect::<Vec<_>>().join(", ")
    };
    match one {
        Match::Protocol(numbers, negated) => {
            let names = numbers.iter().map(|number| match number {
                17 => "udp".to_owned(),
                6 => "tcp".to_owned(),
                number => number.to_string(),
            });
            format!(
                "l4proto {}{}",
                not(*negated),
                names.collect::<Vec<_>>().join(", ")
            )
        }
        Match::Port(protocol, ports, negated) => {
            let name = protocol.map_or("th", Protocol::name);
            format!("{name} dport {}{}", not(*negated), ranges(ports))
        }
        Match::Address(networks, negated) => {
            let names: Vec<_> = networks.iter().map(IpNet::to_string).collect();
            format!("daddr {}{}", not(*negated), names.join(", "))
        }
        Match::Interface(names, negated) => format!("iif {}{}", not(*negated), names.join(", ")),
        Match::Family(is_v6) => format!("nfproto {}", if *is_v6 { "ipv6" } else { "ipv4" }),
        Match::New(_) => "ct state …".to_owned(),
        Match::Unknown => "…".to_owned(),
    }
}

fn read_map(body: &Value, before: &[Match], table: &str, sets: &Sets) -> Vec<Rule> {
    let entries = body["data"]["set"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    let read = |entry: &Value| {
        let (key, verdict) = (entry.get(0)?, entry.get(1)?);
        let one = serde_json::json!({ "op": "==", "left": body["key"], "right": key });
        let (kind, target) = verdict.as_object()?.iter().next()?;
        let action = match kind.as_str() {
            "accept" => Action::Accept,
            "drop" => Action::Drop,
            "return" => Action::Return,
            "jump" => Action::Jump(text_of(&target["target"])),
            "goto" => Action::Goto(text_of(&target["target"])),
            _ => Action::Nothing,
        };
        let matches = [before, &[read_match(&one, table, sets)]].concat();
        Some(written(matches, action))
    };
    if body["data"]["set"].is_array() {
        return entries.iter().filter_map(read).collect();
    }
    // A named map, whose verdicts are elsewhere.
    vec![written(
        [before, &[Match::Unknown]].concat(),
        Action::Accept,
    )]
}

fn read_match(body: &Value, table: &str, sets: &Sets) -> Match {
    let negated = body["op"].as_str() == Some("!=");
    let mut right = &body["right"];
    if let Some(name) = right.as_str().and_then(|text| text.strip_prefix('@')) {
        match sets.0.get(&(table.to_owned(), name.to_owned())) {
            Some(elements) => right = elements,
            None => return Match::Unknown,
        }
    }
    let values = values(right);
    let left = &body["left"];
    let read = if let Some(payload) = left.get("payload") {
        let (protocol, field) = (text_of(&payload["protocol"]), text_of(&payload["field"]));
        read_payload(&protocol, &field, &values, negated)
    } else if let Some(meta) = left.get("meta") {
        read_meta(&text_of(&meta["key"]), &values, negated)
    } else if left["ct"]["key"].as_str() == Some("state") {
        let names_new = values.iter().any(|value| value.as_str() == Some("new"));
        Some(Match::New(names_new != negated))
    } else {
        None
    };
    read.unwrap_or(Match::Unknown)
}

fn read_payload(protocol: &str, field: &str, values: &[&Value], negated: bool) -> Option<Match> {
    match (protocol, field) {
        ("udp", "dport") => {
            ports(values).map(|ports| Match::Port(Some(Protocol::Udp), ports, negated))
        }
        ("tcp", "dport") => {
            ports(values).map(|ports| Match::Port(Some(Protocol::Tcp), ports, negated))
        }
        ("th", "dport") => ports(values).map(|ports| Match::Port(None, ports, negated)),
        ("ip" | "ip6", "daddr") => {
            let networks: Option<Vec<_>> = values.iter().map(|value| network(value)).collect();
            networks.map(|networks| Match::Address(networks, negated))
        }
        ("ip", "protocol") | ("ip6", "nexthdr") => {
            numbers(values).map(|numbers| Match::Protocol(numbers, negated))
        }
        _ => None,
    }
}

fn read_meta(key: &str, values: &[&Value], negated: bool) -> Option<Match> {
    match key {
        "l4proto" => numbers(values).map(|numbers| Match::Protocol(numbers, negated)),
        "nfproto" | "protocol" => {
            let is_v6 = matches!(values.first()?.as_str()?, "ipv6" | "ip6");
            Some(Match::Family(is_v6 != negated))
        }
        "iif" | "iifname" | "oif" | "oifname" => {
            let names: Option<Vec<_>> = values
                .iter()
                .map(|value| value.as_str().map(str::to_owned))
                .collect();
            names.map(|names| Match::Interface(names, negated))
        }
        _ => None,
    }
}

/// What may stand on the right: one value, or several.
fn values(right: &Value) -> Vec<&Value> {
    let right = right.get("set").unwrap_or(right);
    let Some(values) = right.as_array() else {
        return vec![right];
    };
    // With a comment or a timeout it is within.
    let bare = |value| Value::pointer(value, "/elem/val").unwrap_or(value);
    values.iter().map(bare).collect()
}

fn ports(values: &[&Value]) -> Option<Vec<RangeInclusive<u16>>> {
    let number = |value: &Value| u16::try_from(value.as_u64()?).ok();
    let read = |value: &&Value| match value.get("range") {
        Some(range) => Some(number(range.get(0)?)?..=number(range.get(1)?)?),
        None => number(value).map(|port| port..=port),
    };
    values.iter().map(read).collect()
}

fn numbers(values: &[&Value]) -> Option<Vec<u8>> {
    let read = |value: &&Value| match value.as_str() {
        Some("udp") => Some(17),
        Some("tcp") => Some(6),
        // Some other, or a range of them.
        Some(_) => Some(0),
        None => u8::try_from(value.as_u64()?).ok(),
    };
    values.iter().map(read).collect()
}

fn network(value: &Value) -> Option<IpNet> {
    if let Some(prefix) = value.get("prefix") {
        let ip: IpAddr = prefix["addr"].as_str()?.parse().ok()?;
        return IpNet::new(ip, u8::try_from(prefix["len"].as_u64()?).ok()?).ok();
    }
    let ip: IpAddr = value.as_str()?.parse().ok()?;
    Some(ip.into())
}

#[cfg(test)]
mod tests {
    use super::super::rules::{Packet, Verdict};
    use super::*;

    #[test]
    fn rulesets_are_understood() {
        let cases = [
            ("no rules", r#"[]"#, Some(true)),
            (
                "a rule that drops",
                r#"[{"match":{"op":"==","left":{"payload":{"protocol":"udp","field":"dport"}},"right":3478}},{"drop":null}]"#,
                Some(false),
            ),
            (
                "another protocol",
                r#"[{"match":{"op":"==","left":{"payload":{"protocol":"tcp","field":"dport"}},"right":3478}},{"drop":null}]"#,
                Some(true),
            ),
            (
                "a set with a range",
                r#"[{"match":{"op":"==","left":{"payload":{"protocol":"udp","field":"dport"}},"right":{"set":[53,{"range":[3000,4000]}]}}},{"reject":null}]"#,
                Some(false),
            ),
            (
                "what is established",
                r#"[{"match":{"op":"in","left":{"ct":{"key":"state"}},"right":["established","related"]}},{"drop":null}]"#,
                Some(true),
            ),
            (
                "all of UDP",
                r#"[{"match":{"op":"==","left":{"meta":{"key":"l4proto"}},"right":"udp"}},{"drop":null}]"#,
                Some(false),
            ),
            (
                "from somewhere",
                r#"[{"match":{"op":"==","left":{"payload":{"protocol":"ip","field":"saddr"}},"right":"192.0.2.7"}},{"drop":null}]"#,
                Some(true),
            ),
            (
                "a limit",
                r#"[{"limit":{"rate":5}},{"accept":null}]"#,
                Some(true),
            ),
        ];
        for (name, expr, open) in cases {
            assert_eq!(opens(&[rule("input", expr)], "accept"), open, "{name}");
        }
    }

    #[test]
    fn a_policy_that_drops_needs_a_rule_that_accepts() {
        let accept = |port: &str| {
            format!(
                r#"[{{"match":{{"op":"==","left":{{"payload":{{"protocol":"udp","field":"dport"}}}},"right":{port}}}}},{{"accept":null}}]"#
            )
        };
        let lo =
            r#"[{"match":{"op":"==","left":{"meta":{"key":"iif"}},"right":"lo"}},{"accept":null}]"#;
        let from = r#"[{"match":{"op":"==","left":{"payload":{"protocol":"ip","field":"saddr"}},"right":"192.0.2.7"}},{"accept":null}]"#;
        let jump = r#"[{"jump":{"target":"more"}}]"#;
        let map = r#"[{"vmap":{"key":{"payload":{"protocol":"udp","field":"dport"}},"data":{"set":[[53,{"drop":null}],[3478,{"accept":null}]]}}}]"#;
        let cases = [
            ("nothing", vec![], Some(false)),
            ("loopback only", vec![rule("input", lo)], Some(false)),
            ("the port", vec![rule("input", &accept("3478"))], Some(true)),
            (
                "another port",
                vec![rule("input", &accept("3479"))],
                Some(false),
            ),
            ("somebody", vec![rule("input", from)], None),
            (
                "in another chain",
                vec![rule("input", jump), rule("more", &accept("3478"))],
                Some(true),
            ),
            ("by a map", vec![rule("input", map)], Some(true)),
        ];
        for (name, rules, open) in cases {
            assert_eq!(opens(&rules, "drop"), open, "{name}");
        }
    }

    fn rule(chain: &str, expr: &str) -> String {
        format!(
            r#"{{"rule":{{"family":"inet","table":"filter","chain":"{chain}","expr":{expr}}}}}"#
        )
    }

    /// `None`: nobody knows.
    fn opens(rules: &[String], policy: &str) -> Option<bool> {
        let chain = format!(
            r#"{{"chain":{{"family":"inet","table":"filter","name":"input","type":"filter","hook":"input","prio":0,"policy":"{policy}"}}}}"#
        );
        let items = [&[chain][..], rules].concat().join(",");
        let chains = parse(&format!(r#"{{"nftables":[{items}]}}"#));
        let packet = Packet {
            interface: Some("eth0".to_owned()),
            ..Packet::to(Protocol::Udp, "198.51.100.1:3478".parse().unwrap())
        };
        match chains[0].judge(&packet) {
            Verdict::Open => Some(true),
            Verdict::Closed(_) => Some(false),
            Verdict::Unknown => None,
        }
    }
}
