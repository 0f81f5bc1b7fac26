//! The real binary among those who mean it harm: what it relays to, what it keeps, what it costs.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use common::Setu;

mod floods;
mod hellos;
mod mutated;
mod peers;
mod process;

#[path = "../relay/client.rs"]
#[allow(dead_code, reason = "each test target uses its part")]
mod client;
#[path = "../common/mod.rs"]
#[allow(dead_code, reason = "each test target uses its part")]
mod common;
#[path = "../relay/world.rs"]
#[allow(dead_code, reason = "each test target uses its part")]
mod world;

/// The binary with relay ports of its own, in development: private and loopback peers are allowed.
fn start(variables: &[(&str, &str)]) -> Setu {
    let ports = world::free_range();
    let ports = format!("{}-{}", ports.start(), ports.end());
    let mut all = vec![("SETU_TURN__RELAY_PORTS", ports.as_str())];
    all.extend_from_slice(variables);
    Setu::start(&all)
}
