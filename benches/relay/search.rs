//! The highest rate that a server bears: offered whether it keeps up or not, as senders of media do.

use std::time::Duration;

use crate::case::Pace;
use crate::contestant::Running;
use crate::load::Load;

/// What a server bears, and what that takes of it.
#[derive(Clone, Copy)]
pub(crate) struct Held {
    pub(crate) delivered_per_second: f64,
    pub(crate) lost_percent: f64,
    /// Of the time of one core. Well below a hundred, it was the load that could offer no more.
    pub(crate) busy_percent: f64,
}

/// Looks for it around a rate, up and down and then between; `None` if none was found.
pub(crate) fn highest_rate(
    server: &Running,
    load: &mut Load,
    near: f64,
    trial: Duration,
) -> anyhow::Result<Option<Held>> {
    let (mut rate, mut best) = (near, None);
    let (mut highest_held, mut lowest_lost) = (None, None);
    for _ in 0..TRIALS_MAX {
        // Once more before it counts as lost: the machine may have been elsewhere for a moment.
        let held = match offered(server, load, rate, trial)? {
            None => offered(server, load, rate, trial)?,
            held @ Some(_) => held,
        };
        if held.is_some() {
            (highest_held, best) = (Some(rate), held);
        } else {
            lowest_lost = Some(rate);
        }
        rate = match (highest_held, lowest_lost) {
            (Some(held), Some(lost)) if lost / held < CLOSE_ENOUGH => break,
            (Some(held), Some(lost)) => f64::midpoint(held, lost),
            (Some(held), None) => held * STEP,
            (None, Some(lost)) => lost / STEP,
            (None, None) => break,
        };
    }
    Ok(best)
}

/// What came of one trial, if it was offered whole and arrived in time.
fn offered(
    server: &Running,
    load: &mut Load,
    rate: f64,
    trial: Duration,
) -> anyhow::Result<Option<Held>> {
    let pace = Pace::Even(rate as u64);
    let (cpu, wall, tally) = server.spent(|| load.run(pace, trial, IN_TIME))?;
    load.settle()?;
    let seconds = trial.as_secs_f64();
    let is_offered = tally.sent as f64 >= rate * seconds * OFFERED_AT_LEAST;
    let lost_percent = tally.lost_percent();
    Ok(
        (is_offered && lost_percent < LOST_PERCENT_BELOW).then(|| Held {
            delivered_per_second: tally.delivered as f64 / seconds,
            lost_percent,
            busy_percent: 100.0 * cpu.as_secs_f64() / wall.as_secs_f64(),
        }),
    )
}

const LOST_PERCENT_BELOW: f64 = 1.0;
/// What arrives later than this behind the last one sent has waited in a queue that grows: loss that deep buffers put off.
const IN_TIME: Duration = Duration::from_millis(2);
const OFFERED_AT_LEAST: f64 = 0.99;
const STEP: f64 = 1.2;
const CLOSE_ENOUGH: f64 = 1.01;
const TRIALS_MAX: usize = 10;
