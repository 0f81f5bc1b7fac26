//! Media under way: each flow sends from one end, and what arrives at the other end is checked and counted.

use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};
use setu::clock::Now;

use crate::batch::Batch;
use crate::case::{Case, Pace};
use crate::ends::{End, Flow};
use crate::setup::{Route, Setup};

/// What came of it.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) sent: u64,
    pub(crate) delivered: u64,
    /// How long packets were under way; unless saturated.
    pub(crate) latencies: Vec<Duration>,
}

impl Tally {
    /// Of what was sent, in percent.
    pub(crate) fn lost_percent(&self) -> f64 {
        let arrived = self.delivered as f64 / self.sent.max(1) as f64;
        (100.0 * (1.0 - arrived)).max(0.0)
    }
}

/// A case, set up on one server.
pub(crate) struct Load {
    flows: Vec<Flow>,
    ends: Vec<End>,
    poll: Poll,
    events: Events,
    batch: Batch,
    train: usize,
    payload_bytes: usize,
    arriving_header_bytes: usize,
    base: Instant,
    turn: usize,
    in_flight: u64,
}

impl Load {
    pub(crate) fn set_up(route: Route<'_>, case: &Case) -> anyhow::Result<Self> {
        let Setup {
            mut ends,
            flows,
            arriving_header_bytes,
        } = Setup::new(route, case)?;
        let poll = Poll::new()?;
        for (number, end) in ends.iter_mut().enumerate() {
            end.register(&poll, Token(number))?;
        }
        Ok(Self {
            flows,
            ends,
            poll,
            events: Events::with_capacity(1024),
            batch: Batch::new(),
            train: case.train,
            payload_bytes: case.payload_bytes,
            arriving_header_bytes,
            base: Now::read().mono,
            turn: 0,
            in_flight: 0,
        })
    }

    /// Sends and receives for so long, and then receives what comes within `patience`.
    pub(crate) fn run(
        &mut self,
        pace: Pace,
        span: Duration,
        patience: Duration,
    ) -> anyhow::Result<Tally> {
        let mut tally = Tally::default();
        let begin = Now::read().mono;
        let mut heard = begin;
        loop {
            let now = Now::read().mono;
            let elapsed = now - begin;
            if elapsed >= span {
                break;
            }
            let due = match pace {
                Pace::Saturated => WINDOW.saturating_sub(self.in_flight).min(SENDS_PER_TURN),
                Pace::Even(rate) => due(rate, elapsed, tally.sent).min(SENDS_PER_TURN),
                Pace::Bursts(rate) => {
                    let ticks = u64::try_from(elapsed.as_millis())?;
                    due(rate, Duration::from_millis(ticks), tally.sent).min(BURST_PART)
                }
            };
            self.send(due / self.train as u64, now, &mut tally)?;
            if self.receive(pace, &mut tally)? > 0 {
                heard = now;
            } else if now - heard > LOST_AFTER {
                // Nothing of what is missing will come: a full window would stand still.
                self.in_flight = 0;
                heard = now;
            }
        }
        let end = Now::read().mono + patience;
        while self.in_flight > 0 && Now::read().mono < end {
            self.receive(pace, &mut tally)?;
        }
        self.in_flight = 0;
        Ok(tally)
    }

    /// Receives until nothing more comes, and forgets it.
    pub(crate) fn settle(&mut self) -> anyhow::Result<()> {
        let begin = Now::read().mono;
        let mut heard = begin;
        loop {
            let now = Now::read().mono;
            if self.receive(Pace::Saturated, &mut Tally::default())? > 0 {
                heard = now;
            }
            if now - heard > QUIET || now - begin > SETTLED_AFTER {
                return Ok(());
            }
        }
    }

    /// Lets so many trains leave, each from the flow whose turn it is; those of one end together.
    fn send(&mut self, mut trains: u64, now: Instant, tally: &mut Tally) -> anyhow::Result<()> {
        let nanos = u64::try_from((now - self.base).as_nanos())?;
        while trains > 0 {
            let wanted = usize::try_from(trains)?;
            let rest = &mut self.flows[self.turn..];
            let from = rest[0].from;
            let together = rest
                .iter()
                .take(wanted)
                .take_while(|flow| flow.from == from)
                .count();
            let flows = &mut rest[..together];
            for flow in &mut *flows {
                flow.stamp(nanos);
            }
            let taken = self.ends[from].send(flows)?;
            self.turn = (self.turn + together) % self.flows.len();
            tally.sent += (together * self.train) as u64;
            self.in_flight += (taken * self.train) as u64;
            trains -= together as u64;
        }
        Ok(())
    }

    fn receive(&mut self, pace: Pace, tally: &mut Tally) -> anyhow::Result<u64> {
        self.poll.poll(&mut self.events, Some(Duration::ZERO))?;
        let before = tally.delivered;
        for event in &self.events {
            let now = Now::read().mono;
            let (base, header) = (self.base, self.arriving_header_bytes);
            let arriving_bytes = header + self.payload_bytes;
            let mut take = |message: &[u8]| {
                if message.len() != arriving_bytes {
                    return;
                }
                let nanos = message.get(header..header + 8);
                let Some(nanos) = nanos.and_then(|bytes| bytes.try_into().ok()) else {
                    return;
                };
                tally.delivered += 1;
                if pace != Pace::Saturated {
                    let sent = base + Duration::from_nanos(u64::from_be_bytes(nanos));
                    tally.latencies.push(now.saturating_duration_since(sent));
                }
            };
            self.ends[event.token().0].receive(&mut self.batch, &mut take)?;
        }
        let delivered = tally.delivered - before;
        self.in_flight = self.in_flight.saturating_sub(delivered);
        Ok(delivered)
    }
}

fn due(rate: u64, elapsed: Duration, sent: u64) -> u64 {
    ((rate as f64 * elapsed.as_secs_f64()) as u64).saturating_sub(sent)
}

/// Packets under way at a time, where the server sets the pace: never idle, and no buffer overflows.
const WINDOW: u64 = 256;
const SENDS_PER_TURN: u64 = 64;
/// Between these parts of a burst it is received, so that what arrives does not wait for the load itself.
const BURST_PART: u64 = 16;
pub(crate) const LOST_AFTER: Duration = Duration::from_millis(50);
/// When nothing more will come, and when it is not waited for any longer.
const QUIET: Duration = Duration::from_millis(10);
const SETTLED_AFTER: Duration = Duration::from_secs(2);
