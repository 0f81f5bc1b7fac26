//! The relay under load: Setu, coturn, and a bare batched UDP forwarder that knows nothing of TURN, side by side.
//!
//! `cargo bench --bench relay`. The forwarder is the floor of any relay that goes through kernel sockets. Each round
//! starts every server anew, one after the other, on a core of their own; this program, the load, has another. Compare
//! the ratios: the absolute figures are this machine's.

#[path = "../common/cores.rs"]
mod cores;
#[path = "../common/process.rs"]
mod process;

mod contestant;
mod control;
mod flows;
mod forwarder;
mod report;
mod turn_client;
mod wire;

use std::{net::SocketAddr, time::Duration};

use anyhow::Context as _;
use clap::Parser;

use contestant::{Contestant, Running};
use cores::Cores;
use flows::{Case, Direction, Load};
use report::Report;
use wire::Transport;

/// What can be said behind `cargo bench --bench relay --`.
#[derive(Parser)]
struct Arguments {
    /// Few clients, a moment for each case, one round: shows that it works, and no figure to trust.
    #[arg(long)]
    quick: bool,
    /// How often all of it is measured; the medians are shown.
    #[arg(long)]
    rounds: Option<usize>,
    /// Seconds for each case.
    #[arg(long)]
    seconds: Option<f64>,
    /// Measures these servers alone.
    #[arg(long)]
    only: Vec<Contestant>,
    /// Measures only cases whose name contains this.
    #[arg(long)]
    case: Option<String>,
    /// Be the forwarder, on this address.
    #[arg(long, hide = true)]
    forward: Option<SocketAddr>,
    /// Says cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

/// How much of everything.
pub(crate) struct Plan {
    rounds: usize,
    /// One case, after its warm-up.
    phase: Duration,
    warm_up: Duration,
    /// Idle allocations whose memory is measured.
    idle: usize,
    /// Cycles of Allocate, CreatePermission, Refresh 0, and Binding requests.
    requests: usize,
}

impl Plan {
    fn of(arguments: &Arguments) -> Self {
        let (rounds, seconds, warm_up, idle, requests) = if arguments.quick {
            (1, 0.2, 50, 100, 200)
        } else {
            (5, 2.0, 300, 5_000, 20_000)
        };
        Self {
            rounds: arguments.rounds.unwrap_or(rounds).max(1),
            phase: Duration::from_secs_f64(arguments.seconds.unwrap_or(seconds)),
            warm_up: Duration::from_millis(warm_up),
            idle,
            requests,
        }
    }
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if let Some(address) = arguments.forward {
        return forwarder::run(address);
    }
    let plan = Plan::of(&arguments);
    cores::allow_sockets(2 * plan.idle + SOCKETS_BESIDE)?;
    let cores = Cores::split()?;
    let contestants = contestants(&arguments);
    let cases = cases(&arguments);
    let mut report = Report::new(&contestants);
    for round in 1..=plan.rounds {
        for &contestant in &contestants {
            eprintln!("round {round} of {}: {contestant}", plan.rounds);
            measure(contestant, cores, &plan, &arguments, &cases, &mut report)
                .with_context(|| format!("round {round}, {contestant}"))?;
        }
    }
    println!(
        "Medians of {} rounds, {:.1} s a case; one core for the server, one for the load.\n",
        plan.rounds,
        plan.phase.as_secs_f64()
    );
    print!("{}", report.tables());
    Ok(())
}

fn measure(
    contestant: Contestant,
    cores: Cores,
    plan: &Plan,
    arguments: &Arguments,
    cases: &[Case],
    report: &mut Report,
) -> anyhow::Result<()> {
    for case in cases.iter().filter(|case| contestant.serves(case)) {
        let server = Running::start(contestant, cores)?;
        let mut load = Load::set_up(&server, case).with_context(|| format!("setting up {case}"))?;
        load.run(plan.warm_up)?;
        let (cpu, wall, tally) = server.spent(|| load.run(plan.phase))?;
        report.add_case(contestant, case, cpu, wall, tally);
    }
    for (name, figure) in control::FIGURES {
        let wanted = arguments
            .case
            .as_ref()
            .is_none_or(|part| name.contains(part.as_str()));
        if wanted && contestant.is_turn() {
            let server = Running::start(contestant, cores)?;
            let value = figure(&server, plan).with_context(|| format!("measuring {name}"))?;
            report.add_figure(contestant, name, value);
        }
    }
    Ok(())
}

fn contestants(arguments: &Arguments) -> Vec<Contestant> {
    let all = [Contestant::Setu, Contestant::Coturn, Contestant::Forwarder];
    let asked = |who: &Contestant| arguments.only.is_empty() || arguments.only.contains(who);
    let (found, missing): (Vec<_>, Vec<_>) = all
        .into_iter()
        .filter(asked)
        .partition(|who| who.is_installed());
    for who in missing {
        eprintln!("{who} is left out: apt-get install coturn");
    }
    found
}

/// Every case, the most telling ones first.
fn cases(arguments: &Arguments) -> Vec<Case> {
    use Direction::{Down, RelayToRelay, Up};
    use Transport::{Tcp, Tls, Udp};
    let paced = Some(50_000);
    let all = [
        (Udp, Up, 100, 160, paced, 1),
        (Udp, Down, 100, 160, paced, 1),
        (Udp, RelayToRelay, 100, 160, Some(25_000), 1),
        (Udp, Up, 1, 160, None, 1),
        (Udp, Up, 10, 160, None, 1),
        (Udp, Up, 100, 160, None, 1),
        (Udp, Up, 1000, 160, None, 1),
        (Udp, Up, 100, 160, None, 16),
        (Udp, Up, 100, 1200, None, 1),
        (Udp, Down, 1, 160, None, 1),
        (Udp, Down, 10, 160, None, 1),
        (Udp, Down, 100, 160, None, 1),
        (Udp, Down, 1000, 160, None, 1),
        (Udp, Down, 100, 160, None, 16),
        (Udp, Down, 100, 1200, None, 1),
        (Udp, RelayToRelay, 100, 160, None, 1),
        (Udp, RelayToRelay, 100, 1200, None, 1),
        (Tcp, Up, 100, 160, None, 1),
        (Tcp, Down, 100, 160, None, 1),
        (Tls, Up, 100, 160, None, 1),
        (Tls, Down, 100, 160, None, 1),
    ];
    all.into_iter()
        .map(
            |(transport, direction, clients, payload_bytes, packets_per_second, train)| Case {
                transport,
                direction,
                clients: if arguments.quick {
                    clients.min(10)
                } else {
                    clients
                },
                payload_bytes,
                packets_per_second: packets_per_second
                    .map(|rate| if arguments.quick { rate / 10 } else { rate }),
                train,
            },
        )
        .filter(|case| {
            let part = arguments.case.as_ref();
            part.is_none_or(|part| case.to_string().contains(part.as_str()))
        })
        .collect()
}

/// Peers, listeners, and what the load opens besides.
const SOCKETS_BESIDE: usize = 4_096;
