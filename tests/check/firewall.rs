//! Rules of nftables that keep clients or peers out.

use super::checked::Checked;
use super::vps::Vps;

fn with(rules: &str) -> Checked {
    let vps = Vps::new();
    vps.machine.nft(&format!("table inet fw {{\n{rules}\n}}\n"));
    Checked::run(&mut vps.setu(&[]), &[])
}

const POLICY: &str = "type filter hook input priority 0; policy drop; ct state established,related accept; iif lo accept;";

#[test]
fn a_right_firewall() {
    with(&format!(
        "chain in {{ {POLICY} tcp dport {{ 22, 3001, 3478, 5349 }} accept; udp dport {{ 3478, 5349 }} accept; udp dport 49160-49200 accept; }}"
    ))
    .says("firewall", "ok", "let the listeners", "")
    .and_nothing_else_than(&[]);
}

#[test]
fn a_firewall_of_several_chains_with_sets_and_limits_is_right_too() {
    with(&format!(
        "set ours {{ type inet_service; flags interval; elements = {{ 3478, 5349, 49160-49200 }} }}
         chain turn {{ meta l4proto {{ tcp, udp }} th dport @ours accept; }}
         chain in {{ {POLICY} icmp type echo-request limit rate 5/second accept; tcp dport 22 accept; jump turn; counter drop; }}"
    ))
    .and_nothing_else_than(&[]);
}

#[test]
fn all_of_udp_is_blocked() {
    let checked = with("chain in { type filter hook input priority 0; meta l4proto udp drop; }");
    checked
        .says(
            "reach.udp",
            "failure",
            "UDP is blocked",
            "udp dport 3478 accept",
        )
        .says(
            "firewall",
            "failure",
            "UDP to port 3478 (",
            "nft insert rule inet fw in",
        )
        .says("relay.udp", "failure", "UDP is blocked", "")
        .is_ok("reach.tcp");
}

#[test]
fn strangers_are_kept_from_a_listener() {
    with(&format!(
        "chain in {{ {POLICY} tcp dport {{ 22, 3001, 3478, 5349 }} accept; udp dport 49160-49200 accept; }}"
    ))
    .says("firewall", "failure", "UDP to port 3478 (turn.listen_udp) is blocked: chain inet fw in", "nft insert rule inet fw in udp dport 3478 accept")
    .and_nothing_else_than(&["firewall"]);
}

#[test]
fn strangers_are_kept_from_tls() {
    with(&format!(
        "chain in {{ {POLICY} tcp dport 3478 accept; udp dport {{ 3478, 49160-49200 }} accept; }}"
    ))
    .says(
        "firewall",
        "failure",
        "TCP to port 5349",
        "tcp dport 5349 accept",
    )
    .and_nothing_else_than(&["firewall"]);
}

#[test]
fn the_relay_range_is_closed_to_everybody() {
    with("chain in { type filter hook input priority 0; udp dport 49160-49200 drop; }")
        .says(
            "relay_ports",
            "failure",
            "does not arrive",
            "udp dport 49160-49200 accept",
        )
        .says(
            "firewall",
            "failure",
            "UDP to port 49160-49200",
            "nft insert rule inet fw in",
        );
}

#[test]
fn half_of_the_relay_range_is_closed_to_strangers() {
    with(&format!(
        "chain in {{ {POLICY} tcp dport {{ 3478, 5349 }} accept; udp dport {{ 3478, 49160-49180 }} accept; }}"
    ))
    .says("firewall", "failure", "UDP to port 49181-49200", "udp dport 49181-49200 accept")
    .and_nothing_else_than(&["firewall"]);
}

#[test]
fn nothing_gets_out_over_udp() {
    with("chain out { type filter hook output priority 0; oif lo accept; meta l4proto udp drop; }")
        .says(
            "firewall",
            "failure",
            "on its way out",
            "nft insert rule inet fw out",
        )
        .and_nothing_else_than(&["firewall"]);
}

#[test]
fn what_depends_on_where_a_client_comes_from_is_not_called_closed() {
    with(&format!(
        "chain in {{ {POLICY} ip saddr 192.0.2.0/24 accept; }}"
    ))
    .and_nothing_else_than(&[]);
}
