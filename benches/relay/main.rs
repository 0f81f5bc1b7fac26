//! The relay under load: Setu, coturn, and a bare batched UDP forwarder that knows nothing of TURN, side by side.
//!
//! `cargo bench --bench relay`. The forwarder is the floor of any relay that goes through kernel sockets. Each case of
//! each round starts every server anew, one right after the other, on a core of their own; this program, the load, has
//! another. Compare the ratios: the absolute figures are this machine's.
//!
//! Paced cases give latency, beside that of a direct hop over loopback, and CPU where a server is mostly idle. Saturated
//! ones give CPU where it never is: with so many packets under way that none is lost, and then at the highest rate that
//! can be offered, whether the server keeps up or not, with less than one in a hundred lost or late.

#[path = "../common/cores.rs"]
mod cores;
#[path = "../common/process.rs"]
mod process;

mod batch;
mod case;
mod contestant;
mod control;
mod ends;
mod forwarder;
mod load;
mod measuring;
mod report;
mod search;
mod setup;
mod turn_client;
mod wire;

use std::{net::SocketAddr, time::Duration};

use clap::Parser;

use case::Case;
use contestant::Contestant;
use cores::Cores;
use measuring::Measuring;

/// What can be said behind `cargo bench --bench relay --`.
#[derive(Parser)]
struct Arguments {
    /// Few clients, a moment for each case, one round: shows that it works, and no figure to trust.
    #[arg(long)]
    quick: bool,
    /// Every combination of transport, direction, clients and size instead of the telling ones: hours.
    #[arg(long)]
    all: bool,
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

impl Arguments {
    fn wants(&self, name: &str) -> bool {
        self.case.as_ref().is_none_or(|part| name.contains(part))
    }
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
            (1, 0.1, 50, 100, 200)
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
    let mut figures = control::FIGURES.iter();
    anyhow::ensure!(
        !cases.is_empty() || figures.any(|figures| arguments.wants(figures.rows[0].1)),
        "no case has that in its name: --all with --quick prints them all"
    );
    let rounds = plan.rounds;
    println!(
        "Medians of {rounds} rounds, {:.1} s a case; one core for the server, one for the load.",
        plan.phase.as_secs_f64()
    );
    let mut measuring = Measuring::new(plan, cores, &contestants);
    for round in 1..=rounds {
        for case in &cases {
            eprintln!("round {round} of {rounds}: {case}");
            measuring.case(case)?;
        }
        for figures in &control::FIGURES {
            let name = figures.rows[0].1;
            if arguments.wants(name) {
                eprintln!("round {round} of {rounds}: {name}");
                measuring.figures(figures)?;
            }
        }
    }
    print!("{}", measuring.report.tables());
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

fn cases(arguments: &Arguments) -> Vec<Case> {
    let mut cases = if arguments.all {
        Case::all()
    } else {
        Case::telling()
    };
    if arguments.quick {
        cases = cases.into_iter().map(Case::in_brief).collect();
        // What differed in the number of clients alone.
        cases.dedup();
    }
    cases.retain(|case| arguments.wants(&case.to_string()));
    cases
}

/// Peers, listeners, and what the load opens besides.
const SOCKETS_BESIDE: usize = 4_096;
