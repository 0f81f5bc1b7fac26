//! What is no media: requests, and memory.

use std::time::Duration;

use crate::Plan;
use crate::contestant::Running;
use crate::turn_client::TurnClient;
use crate::wire::Transport;

/// Measures one figure of a server.
pub(crate) type Figure = fn(&Running, &Plan) -> anyhow::Result<f64>;

/// Name and how it is had.
pub(crate) const FIGURES: [(&str, Figure); 3] = [
    (
        "CPU µs per cycle of Allocate, CreatePermission, Refresh 0",
        cycles,
    ),
    ("CPU µs per Binding", bindings),
    (
        "KiB per idle allocation with a permission and a channel",
        memory,
    ),
];

fn cycles(server: &Running, plan: &Plan) -> anyhow::Result<f64> {
    let peer = ([127, 0, 0, 1], 9).into();
    let cycles = plan.requests / 4;
    let (cpu, _, ()) = server.spent(|| {
        for _ in 0..cycles {
            // Anew each time, challenge and all: coturn keeps the five-tuple for a second after the Refresh.
            let mut client = TurnClient::connect(Transport::Udp, server.address(Transport::Udp))?;
            client.allocate()?;
            client.permit(peer)?;
            client.release()?;
        }
        Ok(())
    })?;
    Ok(micros_each(cpu, cycles))
}

fn bindings(server: &Running, plan: &Plan) -> anyhow::Result<f64> {
    let mut client = TurnClient::connect(Transport::Udp, server.address(Transport::Udp))?;
    let (cpu, _, ()) = server.spent(|| {
        for _ in 0..plan.requests {
            client.binding()?;
        }
        Ok(())
    })?;
    Ok(micros_each(cpu, plan.requests))
}

fn memory(server: &Running, plan: &Plan) -> anyhow::Result<f64> {
    let allocate = |number: usize| {
        let mut client = TurnClient::connect(Transport::Udp, server.address(Transport::Udp))?;
        client.allocate()?;
        client.bind(([127, 0, 0, 1], u16::try_from(1024 + number % 50_000)?).into())?;
        anyhow::Ok(client)
    };
    // What is there once, whoever comes, is there before.
    let mut kept = (0..plan.idle / 50 + 1)
        .map(allocate)
        .collect::<Result<Vec<_>, _>>()?;
    let before = server.resident_bytes()?;
    for number in 0..plan.idle {
        kept.push(allocate(number)?);
    }
    let grown = server.resident_bytes()?.saturating_sub(before);
    Ok(grown as f64 / plan.idle as f64 / 1024.0)
}

fn micros_each(cpu: Duration, count: usize) -> f64 {
    cpu.as_secs_f64() * 1e6 / count as f64
}
