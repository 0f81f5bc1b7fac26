//! All clients on one thread: what they do together, phase by phase.
//!
//! A hand-written loop over the sockets that are ready costs the load about as little as it can: the server, not the
//! load, has to be what is saturated.

use std::{
    collections::VecDeque,
    io::ErrorKind,
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use mio::{Events, Interest, Poll, Token};
use setu::clock::Now;

use crate::client::Client;
use crate::wire::Packet;

/// Everybody in sessions of so many.
pub(crate) const SESSION_SOCKETS: usize = 5;

/// Clients of one server.
pub(crate) struct Crowd {
    poll: Poll,
    events: Events,
    buffer: Vec<u8>,
    clients: Vec<Client>,
    /// Who was told what, since it was last looked at.
    heard: Vec<(usize, Packet)>,
    /// Candidates that [`Crowd::release`] sent off and [`Crowd::circulate`] keeps moving.
    moving: usize,
}

impl Crowd {
    /// Opens so many sockets, a few at a time.
    pub(crate) fn connect(server: SocketAddr, sockets: usize) -> anyhow::Result<Self> {
        let mut crowd = Self {
            poll: Poll::new()?,
            events: Events::with_capacity(EVENTS_AT_ONCE),
            buffer: vec![0; BUFFER_BYTES],
            clients: Vec::with_capacity(sockets),
            heard: Vec::new(),
            moving: 0,
        };
        let mut connected = 0;
        while connected < sockets {
            while crowd.clients.len() < sockets.min(connected + AT_ONCE) {
                crowd.add(server)?;
            }
            for (_, packet) in crowd.listen()? {
                ensure!(packet == Packet::Connected, "told before it asked");
                connected += 1;
            }
        }
        Ok(crowd)
    }

    /// Everybody joins their session, a few at a time, until everybody has been told of everything.
    pub(crate) fn join(&mut self) -> anyhow::Result<()> {
        let sockets = self.clients.len();
        // The n-th to join a session is one of n who are told who is there, and n-1 are told of the newcomer.
        let copies_joined = SESSION_SOCKETS * (SESSION_SOCKETS + 1) / 2;
        let told_wanted = sockets / SESSION_SOCKETS * (2 * copies_joined - SESSION_SOCKETS);
        let mut is_in = vec![false; sockets];
        let (mut asked, mut joined, mut told) = (0, 0, 0);
        while told < told_wanted {
            while asked < sockets.min(joined + AT_ONCE) {
                self.client(asked)?.join()?;
                asked += 1;
            }
            for (who, packet) in self.listen()? {
                told += 1;
                let first = is_in.get_mut(who).context("nobody")?;
                match packet {
                    // A member hears of its own joining before it hears of another's.
                    Packet::SessionJoined if !*first => {
                        *first = true;
                        joined += 1;
                    }
                    Packet::SessionJoined | Packet::ParticipantJoined => {}
                    Packet::Open | Packet::Ping | Packet::Connected | Packet::Candidate => {
                        bail!("told of something else while joining")
                    }
                }
            }
        }
        ensure!(
            joined == sockets && told == told_wanted,
            "{told} told, {told_wanted} wanted"
        );
        Ok(())
    }

    /// Answers pings, and nothing else happens.
    pub(crate) fn idle(&mut self, duration: Duration) -> anyhow::Result<()> {
        let end = now() + duration;
        while now() < end {
            self.poll(end.saturating_duration_since(now()))?;
            ensure!(self.heard.is_empty(), "told of something while idle");
        }
        Ok(())
    }

    /// Sends at this rate, one session after the other, whether or not the server keeps up; how long each took.
    pub(crate) fn pace(
        &mut self,
        active: usize,
        events_per_second: u32,
        duration: Duration,
    ) -> anyhow::Result<Vec<Duration>> {
        let wanted = (duration.as_secs_f64() * f64::from(events_per_second)) as usize;
        let sessions = active / SESSION_SOCKETS;
        // Each hears from one other only, in order: so its oldest is what it hears.
        let mut under_way = vec![VecDeque::new(); active];
        let mut latencies = Vec::with_capacity(wanted);
        let (start, mut sent, mut last_heard) = (now(), 0, now());
        while latencies.len() < wanted {
            let elapsed = now() - start;
            let due = (elapsed.as_secs_f64() * f64::from(events_per_second)) as usize;
            while sent < due.min(wanted) {
                let (session, seat) = (sent % sessions, sent / sessions % SESSION_SOCKETS);
                let (from, to) = neighbours(session * SESSION_SOCKETS + seat);
                under_way.get_mut(to).context("nobody")?.push_back(now());
                self.client(from)?.send(1)?;
                sent += 1;
            }
            // Sleeping would cost more than the time to the next one, and add the waking to what is measured.
            self.poll(Duration::ZERO)?;
            let arrived = now();
            for (who, packet) in self.heard.drain(..) {
                ensure!(packet == Packet::Candidate, "no candidate");
                let sent_at = under_way.get_mut(who).and_then(VecDeque::pop_front);
                latencies.push(arrived - sent_at.context("a candidate that nobody sent")?);
                last_heard = arrived;
            }
            ensure!(
                arrived < last_heard + STALLED_AFTER,
                "candidates are missing"
            );
        }
        Ok(latencies)
    }

    /// Each of so many sends a burst of candidates to the next in its session, as browsers do.
    pub(crate) fn release(&mut self, active: usize) -> anyhow::Result<()> {
        for from in 0..active {
            self.client(from)?.send(BURST)?;
        }
        self.moving = active * BURST;
        Ok(())
    }

    /// Whoever receives candidates sends as many on: all that the server can take. How many arrived.
    pub(crate) fn circulate(&mut self, duration: Duration) -> anyhow::Result<usize> {
        let end = now() + duration;
        let mut arrived = 0;
        while now() < end {
            let heard = self.listen()?;
            // What one client is told at once stands side by side.
            for told in heard.chunk_by(|(one, _), (other, _)| one == other) {
                ensure!(
                    told.iter().all(|(_, packet)| *packet == Packet::Candidate),
                    "no candidate"
                );
                let (who, _) = told.first().context("nobody")?;
                self.client(*who)?.send(told.len())?;
            }
            arrived += heard.len();
        }
        Ok(arrived)
    }

    /// Lets what still moves arrive.
    pub(crate) fn collect(&mut self) -> anyhow::Result<()> {
        while self.moving > 0 {
            self.moving -= self.listen()?.len();
        }
        Ok(())
    }

    fn add(&mut self, server: SocketAddr) -> anyhow::Result<()> {
        let number = self.clients.len();
        let mut client = Client::connect(server, number, SESSION_SOCKETS)?;
        let registry = self.poll.registry();
        registry.register(&mut client.stream, Token(number), Interest::READABLE)?;
        self.clients.push(client);
        Ok(())
    }

    fn client(&mut self, number: usize) -> anyhow::Result<&mut Client> {
        self.clients.get_mut(number).context("nobody")
    }

    /// Waits until somebody is told something.
    fn listen(&mut self) -> anyhow::Result<Vec<(usize, Packet)>> {
        let deadline = now() + STALLED_AFTER;
        while self.heard.is_empty() {
            self.poll(STALLED_AFTER)?;
            ensure!(now() < deadline, "nobody is told anything any more");
        }
        Ok(std::mem::take(&mut self.heard))
    }

    fn poll(&mut self, timeout: Duration) -> anyhow::Result<()> {
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            polled => polled?,
        }
        for event in &self.events {
            let who = event.token().0;
            let client = self.clients.get_mut(who).context("nobody")?;
            let heard = &mut self.heard;
            client.receive(&mut self.buffer, |packet| heard.push((who, packet)))?;
        }
        Ok(())
    }
}

/// Who connects, or joins, at the same time.
const AT_ONCE: usize = 64;
/// Under way for each socket at saturation.
const BURST: usize = 4;
const EVENTS_AT_ONCE: usize = 1024;
const BUFFER_BYTES: usize = 64 * 1024;
const STALLED_AFTER: Duration = Duration::from_secs(10);

/// A sender, and the next in its session's circle.
fn neighbours(from: usize) -> (usize, usize) {
    let (session, seat) = (from / SESSION_SOCKETS, from % SESSION_SOCKETS);
    (
        from,
        session * SESSION_SOCKETS + (seat + 1) % SESSION_SOCKETS,
    )
}

fn now() -> Instant {
    Now::read().mono
}
