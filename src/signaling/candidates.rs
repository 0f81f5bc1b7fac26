//! The addresses in a signaling message: where its sender may be reached.
//!
//! Messages pass through as they came, so this reads their text, wherever in it a candidate
//! ([RFC 8839 §5.1](https://www.rfc-editor.org/rfc/rfc8839#section-5.1)) or a description's connection data
//! ([RFC 8866 §5.7](https://www.rfc-editor.org/rfc/rfc8866#section-5.7)) may be. Who writes an address where no client
//! would look for it has only named one more of their own.

use std::{net::IpAddr, ops::BitOrAssign};

use serde::Serialize;

/// How many addresses of one message are read.
pub const ADDRESSES_MAX: usize = 256;

/// The IP addresses in the JSON text of a message's `data`, each once. Names (`….local` among them) and unspecified
/// addresses are none.
#[must_use]
pub fn addresses(data: &str) -> Vec<IpAddr> {
    let mut found = Vec::new();
    for line in lines_after(CANDIDATE, data) {
        for address in of_candidate(line) {
            note(&mut found, address);
        }
    }
    for line in lines_after(CONNECTION, data) {
        for address in of_connection(line) {
            note(&mut found, address);
        }
    }
    found
}

/// Of which kinds the candidates in a message are ([RFC 8445 §5.1.1](https://www.rfc-editor.org/rfc/rfc8445#section-5.1.1)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Kinds {
    /// An address of the sender's own.
    pub host: bool,
    /// One that a STUN server has seen.
    pub srflx: bool,
    /// One that a peer has seen.
    pub prflx: bool,
    /// One on a relay.
    pub relay: bool,
}

impl BitOrAssign for Kinds {
    fn bitor_assign(&mut self, more: Self) {
        self.host |= more.host;
        self.srflx |= more.srflx;
        self.prflx |= more.prflx;
        self.relay |= more.relay;
    }
}

/// The kinds of the candidates in the JSON text of a message's `data`.
#[must_use]
pub fn kinds(data: &str) -> Kinds {
    let mut found = Kinds::default();
    for line in lines_after(CANDIDATE, data) {
        let mut words = line.split_ascii_whitespace();
        match words.by_ref().skip_while(|word| *word != "typ").nth(1) {
            Some("host") => found.host = true,
            Some("srflx") => found.srflx = true,
            Some("prflx") => found.prflx = true,
            Some("relay") => found.relay = true,
            Some(_) | None => {}
        }
    }
    found
}

/// What follows each mark, to the end of its line.
fn lines_after<'t>(mark: &'static str, text: &'t str) -> impl Iterator<Item = &'t str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let start = rest.find(mark)? + mark.len();
        let line = line(&rest[start..]);
        rest = &rest[start + line.len()..];
        Some(line)
    })
}

/// To the end of the line or string: as JSON escapes it, once or twice. `\/` is a slash.
fn line(text: &str) -> &str {
    let bytes = text.as_bytes();
    let ends = |at: &usize| match bytes[*at] {
        b'"' | b'\r' | b'\n' => true,
        b'\\' => bytes.get(at + 1) != Some(&b'/'),
        _ => false,
    };
    let end = (0..bytes.len()).find(ends).unwrap_or(bytes.len());
    &text[..end]
}

/// `foundation component transport priority ADDRESS port typ type raddr ADDRESS rport port …`
fn of_candidate(line: &str) -> impl Iterator<Item = &str> {
    let mut words = line.split_ascii_whitespace();
    let address = words.nth(4);
    let related = words.skip_while(|word| *word != "raddr").nth(1);
    address.into_iter().chain(related)
}

/// `4 ADDRESS/ttl`, `6 ADDRESS`
fn of_connection(line: &str) -> impl Iterator<Item = &str> {
    let address = line.split_ascii_whitespace().nth(1);
    address
        .and_then(|word| word.split(['/', '\\']).next())
        .into_iter()
}

fn note(found: &mut Vec<IpAddr>, address: &str) {
    let Ok(ip) = address.parse::<IpAddr>() else {
        return;
    };
    if !ip.is_unspecified() && found.len() < ADDRESSES_MAX && !found.contains(&ip) {
        found.push(ip);
    }
}

const CANDIDATE: &str = "candidate:";
const CONNECTION: &str = "c=IN IP";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn candidates_of_clients() {
        let cases: &[(&str, &str, &[&str])] = &[
            (
                "host",
                "candidate:1467250027 1 udp 2122260223 192.168.1.5 46243 typ host generation 0 ufrag x network-id 1",
                &["192.168.1.5"],
            ),
            (
                "server-reflexive",
                "candidate:842163049 1 udp 1677729535 203.0.113.9 46154 typ srflx raddr 10.0.0.5 rport 46154 generation 0",
                &["203.0.113.9", "10.0.0.5"],
            ),
            (
                "relayed, its base hidden",
                "candidate:2 1 UDP 92217087 198.51.100.1 49160 typ relay raddr 0.0.0.0 rport 0",
                &["198.51.100.1"],
            ),
            (
                "IPv6 over TCP",
                "candidate:3 2 tcp 1518280447 2001:db8::5 9 typ host tcptype active",
                &["2001:db8::5"],
            ),
            (
                "a name",
                "candidate:4 1 udp 2113937151 7d3e5f6a-1f6c-4a7e.local 50000 typ host",
                &[],
            ),
            (
                "a name, reflexive to an address",
                "candidate:4 1 udp 1 203.0.113.9 5 typ srflx raddr x.local rport 1",
                &["203.0.113.9"],
            ),
            (
                "a foundation with a slash",
                "candidate:a/b+ 1 udp 1 203.0.113.9 5 typ host",
                &["203.0.113.9"],
            ),
            (
                "a line of a description",
                "a=candidate:1 1 udp 1 203.0.113.9 5 typ host",
                &["203.0.113.9"],
            ),
            ("the end", "", &[]),
            ("the end, marked", "candidate:", &[]),
            ("cut short", "candidate:1 1 udp 1", &[]),
            (
                "raddr of nothing",
                "candidate:1 1 udp 1 203.0.113.9 5 typ host raddr",
                &["203.0.113.9"],
            ),
            (
                "no address",
                "candidate:1 1 udp 1 203.0.113.256 5 typ host",
                &[],
            ),
        ];
        for (name, candidate, expected) in cases {
            let init = json!({ "candidate": candidate, "sdpMid": "0", "sdpMLineIndex": 0 });
            let shapes = [
                init.to_string(),
                json!({ "candidate": init }).to_string(),
                json!([candidate]).to_string(),
                json!(candidate).to_string(),
                // Text within text, and slashes escaped.
                json!(init.to_string()).to_string(),
                init.to_string().replace('/', "\\/"),
            ];
            for shape in shapes {
                assert_eq!(addresses(&shape), ips(expected), "{name}: {shape}");
            }
        }
    }

    #[test]
    fn descriptions_of_clients() {
        let sdp = [
            "v=0",
            "o=- 46117317 2 IN IP4 192.0.2.200",
            "s=-",
            "c=IN IP4 0.0.0.0",
            "m=audio 49170 UDP/TLS/RTP/SAVPF 111",
            "c=IN IP4 203.0.113.9",
            "a=rtcp:9 IN IP4 0.0.0.0",
            "a=candidate:1 1 udp 2 192.168.1.5 46243 typ host",
            "a=candidate:2 1 udp 1 203.0.113.9 46243 typ srflx raddr 192.168.1.5 rport 46243",
            "a=end-of-candidates",
            "m=video 9 UDP/TLS/RTP/SAVPF 96",
            "c=IN IP6 2001:db8::5",
            "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
            "c=IN IP4 192.0.2.7/127",
            "",
        ];
        let expected = ["192.168.1.5", "203.0.113.9", "2001:db8::5", "192.0.2.7"];
        for end in ["\r\n", "\n"] {
            let description = json!({ "type": "offer", "sdp": sdp.join(end) });
            for shape in [
                description.to_string(),
                description.to_string().replace('/', "\\/"),
                json!({ "offer": description }).to_string(),
                json!(description.to_string()).to_string(),
                // With line ends that JSON would have escaped.
                sdp.join(end),
            ] {
                assert_eq!(addresses(&shape), ips(&expected), "{shape}");
            }
        }
    }

    #[test]
    fn no_more_than_the_first_few_hundred_are_read() {
        let line = |n: usize| {
            format!(
                "a=candidate:1 1 udp 1 10.0.{}.{} 9 typ host\\r\\n",
                n / 256,
                n % 256
            )
        };
        let sdp: String = (0..2000).map(line).collect();
        let found = addresses(&sdp);
        assert_eq!(found.len(), ADDRESSES_MAX);
        assert_eq!(found[255], IpAddr::from([10, 0, 0, 255]));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_text_yields_addresses_that_stand_in_it(text in text()) {
            let found = addresses(&text);
            prop_assert!(found.len() <= ADDRESSES_MAX);
            for (at, ip) in found.iter().enumerate() {
                prop_assert!(!ip.is_unspecified() && !found[..at].contains(ip));
                if ip.is_ipv4() {
                    prop_assert!(text.contains(&ip.to_string()));
                }
            }
        }

        #[test]
        fn an_address_is_found_whatever_stands_around_its_line(before in ".*", after in ".*", ip: [u8; 4]) {
            let ip = IpAddr::from(ip);
            let candidate = format!("{before}\na=candidate:1 1 udp 1 {ip} 9 typ host\n{after}");
            let found = addresses(&json!({ "sdp": candidate }).to_string());
            prop_assert_eq!(found.contains(&ip), !ip.is_unspecified());
        }
    }

    /// Noise, and what may be taken for a candidate.
    fn text() -> impl Strategy<Value = String> {
        let part = prop_oneof![
            Just(CANDIDATE.to_owned()),
            Just(CONNECTION.to_owned()),
            Just("1 1 udp 1 ".to_owned()),
            Just(" raddr ".to_owned()),
            Just("\\r\\n".to_owned()),
            Just("\"\\/\\".to_owned()),
            any::<[u8; 4]>().prop_map(|ip| IpAddr::from(ip).to_string()),
            any::<[u16; 8]>().prop_map(|ip| IpAddr::from(ip).to_string()),
            ".{0,20}",
        ];
        proptest::collection::vec(part, 0..40).prop_map(|parts| parts.concat())
    }

    fn ips(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn the_kinds_of_candidates_are_read_wherever_they_are() {
        let kinds_of = |host, srflx, prflx, relay| Kinds {
            host,
            srflx,
            prflx,
            relay,
        };
        let cases = [
            (
                r#"{"candidate":"candidate:1 1 udp 2122260223 192.0.2.1 54321 typ host generation 0"}"#,
                kinds_of(true, false, false, false),
            ),
            (
                r#"{"sdp":"v=0\r\na=candidate:1 1 udp 1 192.0.2.1 1 typ srflx raddr 10.0.0.1 rport 1\r\na=candidate:2 1 udp 1 192.0.2.2 2 typ relay\r\n"}"#,
                kinds_of(false, true, false, true),
            ),
            (
                r#"{"candidate":"candidate:1 1 udp 1 192.0.2.1 1 typ"}"#,
                Kinds::default(),
            ),
            (r#"{"candidate":"typ host"}"#, Kinds::default()),
            ("null", Kinds::default()),
        ];
        for (data, expected) in cases {
            assert_eq!(kinds(data), expected, "{data}");
        }
    }
}
