//! One case or figure at a time, of each server in turn: what drifts on the machine drifts for all of them.

use anyhow::{Context as _, ensure};

use crate::Plan;
use crate::case::{Case, Pace};
use crate::contestant::{Contestant, Running};
use crate::control::Figures;
use crate::cores::Cores;
use crate::load::{LOST_AFTER, Load};
use crate::report::Report;
use crate::search;
use crate::setup::Route;

/// Who is measured, how much of it, and what came of it so far.
pub(crate) struct Measuring {
    plan: Plan,
    cores: Cores,
    contestants: Vec<Contestant>,
    pub(crate) report: Report,
}

impl Measuring {
    pub(crate) fn new(plan: Plan, cores: Cores, contestants: &[Contestant]) -> Self {
        Self {
            plan,
            cores,
            contestants: contestants.to_vec(),
            report: Report::new(contestants),
        }
    }

    /// Media, on each server that can be asked for it.
    pub(crate) fn case(&mut self, case: &Case) -> anyhow::Result<()> {
        if case.pace != Pace::Saturated {
            self.direct(case)?;
        }
        for contestant in self.contestants.clone() {
            if contestant.serves(case) {
                self.case_on(contestant, case)
                    .with_context(|| format!("{case}, {contestant}"))?;
            }
        }
        Ok(())
    }

    /// Requests or memory, on each server that knows TURN.
    pub(crate) fn figures(&mut self, figures: &Figures) -> anyhow::Result<()> {
        for contestant in self.contestants.clone() {
            if contestant.is_turn() {
                let server = Running::start(contestant, self.cores)?;
                let values = (figures.measure)(&server, &self.plan)
                    .with_context(|| format!("{}, {contestant}", figures.rows[0].1))?;
                for ((section, name), value) in figures.rows.iter().zip(values) {
                    self.report.add(contestant, *section, name, value);
                }
            }
        }
        Ok(())
    }

    fn case_on(&mut self, contestant: Contestant, case: &Case) -> anyhow::Result<()> {
        let plan = &self.plan;
        let server = Running::start(contestant, self.cores)?;
        let mut load = Load::set_up(Route::Through(&server), case).context("setting up")?;
        load.run(case.pace, plan.warm_up, LOST_AFTER)?;
        let (cpu, wall, tally) = server.spent(|| load.run(case.pace, plan.phase, LOST_AFTER))?;
        ensure!(tally.delivered > 0, "nothing arrived");
        let near = tally.delivered as f64 / wall.as_secs_f64();
        self.report.add_case(contestant, case, (cpu, wall), tally);
        if case.pace == Pace::Saturated {
            let trial = plan.phase / TRIALS_A_PHASE;
            match search::highest_rate(&server, &mut load, near, trial)? {
                Some(held) => self.report.add_held(contestant, case, held),
                None => eprintln!("{case}: {contestant} holds no rate that was offered"),
            }
        }
        Ok(())
    }

    /// The same load without a server, for its latency.
    fn direct(&mut self, case: &Case) -> anyhow::Result<()> {
        let plan = &self.plan;
        let mut load = Load::set_up(Route::Direct, case)?;
        load.run(case.pace, plan.warm_up, LOST_AFTER)?;
        let tally = load.run(case.pace, plan.phase, LOST_AFTER)?;
        self.report.add_direct(case, tally);
        Ok(())
    }
}

/// How many trials at a rate of their own take as long as one case.
const TRIALS_A_PHASE: u32 = 8;
