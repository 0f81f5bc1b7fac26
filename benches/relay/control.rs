//! What is no media: requests, and memory.

use std::time::Duration;

use crate::Plan;
use crate::contestant::Running;
use crate::report::Section;
use crate::turn_client::{TurnClient, ensure_success};
use crate::wire::Transport;

/// Figures of a server that are had together.
pub(crate) struct Figures {
    /// Where and under which name each value stands.
    pub(crate) rows: &'static [(Section, &'static str)],
    /// A value for each row.
    pub(crate) measure: fn(&Running, &Plan) -> anyhow::Result<Vec<f64>>,
}

pub(crate) const FIGURES: [Figures; 4] = [
    Figures {
        rows: &[(
            Section::RequestCpu,
            "Allocate, CreatePermission, Refresh 0, with the challenge before",
        )],
        measure: cycles,
    },
    Figures {
        rows: &[
            (Section::RequestCpu, "Allocate, 64 clients at a time"),
            (Section::RequestRate, "Allocate, 64 clients at a time"),
        ],
        measure: allocations,
    },
    Figures {
        rows: &[(Section::RequestCpu, "Binding")],
        measure: bindings,
    },
    Figures {
        rows: &[(
            Section::Memory,
            "Idle allocation with a permission and a channel",
        )],
        measure: memory,
    },
];

fn cycles(server: &Running, plan: &Plan) -> anyhow::Result<Vec<f64>> {
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
    Ok(vec![micros_each(cpu, cycles)])
}

/// Requests are signed before, and answers looked at after: the load is no part of it but for the sockets.
fn allocations(server: &Running, plan: &Plan) -> anyhow::Result<Vec<f64>> {
    let (mut cpu, mut wall, mut allocated) = (Duration::ZERO, Duration::ZERO, Vec::new());
    while allocated.len() < plan.requests / 4 {
        let mut together = Vec::new();
        for _ in 0..TOGETHER {
            let mut client = TurnClient::connect(Transport::Udp, server.address(Transport::Udp))?;
            let request = client.signed_allocate()?;
            together.push((client, request));
        }
        let (cpu_more, wall_more, answers) = server.spent(|| {
            for (client, request) in &mut together {
                client.wire.send(&request.raw)?;
            }
            // The last first: waking for each would take longer than an answer.
            let answers = together.iter_mut().rev();
            let answers = answers.map(|(client, _)| client.wire.receive());
            Ok(answers.collect::<Result<Vec<_>, _>>()?)
        })?;
        for ((_, request), answer) in together.iter().rev().zip(answers) {
            ensure_success(request, &answer)?;
        }
        (cpu, wall) = (cpu + cpu_more, wall + wall_more);
        allocated.extend(together);
    }
    let count = allocated.len();
    Ok(vec![
        micros_each(cpu, count),
        count as f64 / wall.as_secs_f64(),
    ])
}

fn bindings(server: &Running, plan: &Plan) -> anyhow::Result<Vec<f64>> {
    let mut client = TurnClient::connect(Transport::Udp, server.address(Transport::Udp))?;
    let (cpu, _, ()) = server.spent(|| {
        for _ in 0..plan.requests {
            client.binding()?;
        }
        Ok(())
    })?;
    Ok(vec![micros_each(cpu, plan.requests)])
}

fn memory(server: &Running, plan: &Plan) -> anyhow::Result<Vec<f64>> {
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
    Ok(vec![grown as f64 / plan.idle as f64 / 1024.0])
}

fn micros_each(cpu: Duration, count: usize) -> f64 {
    cpu.as_secs_f64() * 1e6 / count as f64
}

/// Clients that ask at the same time.
const TOGETHER: usize = 64;
