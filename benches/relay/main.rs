//! The relay under load: Setu, coturn, and a bare batched UDP forwarder that knows nothing of TURN, side by side.
//!
//! `cargo bench --bench relay`. The forwarder is the floor of any relay that goes through kernel sockets. Each round
//! starts every server anew, one after the other, on a core of their own; this program, the load, has another. Compare
//! the ratios: the absolute figures are this machine's.
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
mod report;
mod search;
mod setup;
mod turn_client;
mod wire;

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, ensure};
use clap::Parser;

use case::{Case, Pace};
use contestant::{Contestant, Running};
use cores::Cores;
use load::{LOST_AFTER, Load};
use report::Report;
use setup::Route;

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
    let mut report = Report::new(&contestants);
    for round in 1..=plan.rounds {
        measure_direct(&plan, &cases, &mut report)?;
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
        measure_case(&server, plan, case, report).with_context(|| case.to_string())?;
    }
    for figures in control::FIGURES {
        let wanted = |(_, name): &(_, &str)| arguments.wants(name);
        if figures.rows.iter().any(wanted) && contestant.is_turn() {
            let server = Running::start(contestant, cores)?;
            let values = (figures.measure)(&server, plan)
                .with_context(|| format!("measuring {}", figures.rows[0].1))?;
            for ((section, name), value) in figures.rows.iter().zip(values) {
                report.add(contestant, *section, name, value);
            }
        }
    }
    Ok(())
}

fn measure_case(
    server: &Running,
    plan: &Plan,
    case: &Case,
    report: &mut Report,
) -> anyhow::Result<()> {
    let mut load = Load::set_up(Route::Through(server), case).context("setting up")?;
    load.run(case.pace, plan.warm_up, LOST_AFTER)?;
    let (cpu, wall, tally) = server.spent(|| load.run(case.pace, plan.phase, LOST_AFTER))?;
    ensure!(tally.delivered > 0, "nothing arrived");
    let near = tally.delivered as f64 / wall.as_secs_f64();
    report.add_case(server.contestant, case, (cpu, wall), tally);
    if case.pace == Pace::Saturated {
        let trial = plan.phase / TRIALS_A_PHASE;
        match search::highest_rate(server, &mut load, near, trial)? {
            Some(held) => report.add_held(server.contestant, case, held),
            None => eprintln!(
                "{case}: {} holds no rate that was offered",
                server.contestant
            ),
        }
    }
    Ok(())
}

/// The same load without a server, where latency is measured.
fn measure_direct(plan: &Plan, cases: &[Case], report: &mut Report) -> anyhow::Result<()> {
    for case in cases.iter().filter(|case| case.pace != Pace::Saturated) {
        let mut load = Load::set_up(Route::Direct, case)?;
        load.run(case.pace, plan.warm_up, LOST_AFTER)?;
        report.add_direct(case, load.run(case.pace, plan.phase, LOST_AFTER)?);
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
/// How many trials at a rate of their own take as long as one case.
const TRIALS_A_PHASE: u32 = 8;
