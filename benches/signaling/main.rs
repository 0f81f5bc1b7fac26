//! The signaling under load: Setu and a minimal Node socket.io server that forwards the same, side by side.
//!
//! `cargo bench --bench signaling` needs Node, and `npm ci` in benches/node. Each round starts both servers anew, one
//! after the other, on a core of their own; this program, the load, has another. Compare the ratios: the absolute
//! figures are this machine's.

#[path = "../common/cores.rs"]
mod cores;
#[path = "../common/process.rs"]
mod process;

mod client;
mod contestant;
mod crowd;
mod report;
mod wire;

use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;

use contestant::{Contestant, Running};
use cores::Cores;
use crowd::{Crowd, SESSION_SOCKETS};
use report::{Latency, Measured};

/// What can be said behind `cargo bench --bench signaling --`.
#[derive(Parser)]
struct Arguments {
    /// A few hundred sockets, a second for each phase, one round: shows that it works, and no figure to trust.
    #[arg(long)]
    quick: bool,
    /// How many sockets join, in sessions of five.
    #[arg(long)]
    sockets: Option<usize>,
    /// How often all of it is measured; the medians are shown.
    #[arg(long)]
    rounds: Option<usize>,
    /// Measures this server alone.
    #[arg(long)]
    only: Option<Contestant>,
    /// Says cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

/// How much of everything.
struct Plan {
    sockets: usize,
    /// How many of the sockets send and receive; the others stay idle.
    active: usize,
    rounds: usize,
    events_per_second: u32,
    warm_up: Duration,
    phase: Duration,
}

impl Plan {
    fn of(arguments: &Arguments) -> Self {
        let (sockets, rounds, events_per_second, warm_up, phase) = if arguments.quick {
            (300, 1, 1_000, 200, 1_000)
        } else {
            (10_000, 5, 5_000, 1_000, 5_000)
        };
        let sockets = arguments.sockets.unwrap_or(sockets).max(1);
        let sockets = sockets.next_multiple_of(SESSION_SOCKETS);
        Self {
            sockets,
            active: sockets.min(ACTIVE_MAX),
            rounds: arguments.rounds.unwrap_or(rounds).max(1),
            events_per_second,
            warm_up: Duration::from_millis(warm_up),
            phase: Duration::from_millis(phase),
        }
    }
}

/// Sockets that take part in the forwarding: enough that each is seldom heard of.
const ACTIVE_MAX: usize = 1_000;

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let plan = Plan::of(&arguments);
    let contestants = match arguments.only {
        Some(contestant) => vec![contestant],
        None => vec![Contestant::Setu, Contestant::Node],
    };
    cores::allow_sockets(plan.sockets)?;
    let cores = Cores::split()?;
    let mut measured: Vec<(Contestant, Vec<Measured>)> = Vec::new();
    for round in 1..=plan.rounds {
        for &contestant in &contestants {
            eprintln!("round {round} of {}: {contestant}", plan.rounds);
            let figures = measure(contestant, cores, &plan)
                .with_context(|| format!("round {round}, {contestant}"))?;
            match measured.iter_mut().find(|(who, _)| *who == contestant) {
                Some((_, rounds)) => rounds.push(figures),
                None => measured.push((contestant, vec![figures])),
            }
        }
    }
    println!(
        "{} sockets in sessions of {SESSION_SOCKETS}, {} of them active; paced at {} events/s; medians of {} rounds.\n",
        plan.sockets, plan.active, plan.events_per_second, plan.rounds
    );
    print!("{}", report::table(&measured));
    Ok(())
}

/// One server from its start to its end.
fn measure(contestant: Contestant, cores: Cores, plan: &Plan) -> anyhow::Result<Measured> {
    let server = Running::start(contestant, cores)?;
    let resident_before = server.resident_bytes()?;
    let (connecting, mut crowd) = server.spent(|| {
        let crowd = Crowd::connect(server.address, plan.sockets)?;
        Ok((plan.sockets, crowd))
    })?;
    let (joining, ()) = server.spent(|| Ok((plan.sockets, crowd.join()?)))?;
    crowd.idle(plan.warm_up)?;
    let resident_bytes = server.resident_bytes()?.saturating_sub(resident_before);

    crowd.pace(plan.active, plan.events_per_second, plan.warm_up)?;
    let (paced, latencies) = server.spent(|| {
        let latencies = crowd.pace(plan.active, plan.events_per_second, plan.phase)?;
        Ok((latencies.len(), latencies))
    })?;

    crowd.release(plan.active)?;
    crowd.circulate(plan.warm_up)?;
    let (saturated, ()) = server.spent(|| Ok((crowd.circulate(plan.phase)?, ())))?;
    crowd.collect()?;

    Ok(Measured {
        connecting,
        joining,
        resident_bytes_per_socket: resident_bytes as f64 / plan.sockets as f64,
        paced,
        latency: Latency::of(latencies),
        saturated,
    })
}
