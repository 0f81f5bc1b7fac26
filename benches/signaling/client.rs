//! One participant: a socket, and what it says.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use mio::net::TcpStream;
use socket2::{Domain, Protocol, Socket, Type};

use crate::wire::{self, Packet};

/// A client of the server under load. Holds no buffer while nothing is half-received: there are thousands of it.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    is_upgraded: bool,
    /// The beginning of what has not wholly arrived.
    unfinished: Vec<u8>,
    join: Vec<u8>,
    candidate: Vec<u8>,
}

impl Client {
    /// Connects to the server and asks for a WebSocket. `number` says which session it will join, and as whom.
    pub(crate) fn connect(
        server: SocketAddr,
        number: usize,
        session_sockets: usize,
    ) -> anyhow::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
        let host = u32::try_from(number / PORTS_PER_SOURCE)?;
        let source = Ipv4Addr::from_bits(Ipv4Addr::LOCALHOST.to_bits() + host);
        socket.bind(&SocketAddr::from((source, 0)).into())?;
        socket.connect(&server.into())?;
        socket.set_tcp_nodelay(true)?;
        socket.set_nonblocking(true)?;
        // Closed by a reset: no port is kept back from the next round.
        socket.set_linger(Some(Duration::ZERO))?;
        let me = Name::of(number, session_sockets);
        let mut client = Self {
            stream: TcpStream::from_std(socket.into()),
            is_upgraded: false,
            unfinished: Vec::new(),
            join: wire::text(&me.join()),
            candidate: wire::text(&me.candidate()),
        };
        write_whole(&mut client.stream, wire::upgrade(server).as_bytes())?;
        Ok(client)
    }

    pub(crate) fn join(&mut self) -> anyhow::Result<()> {
        write_whole(&mut self.stream, &self.join)
    }

    /// Sends so many candidates to the next participant of the session.
    pub(crate) fn send(&mut self, count: usize) -> anyhow::Result<()> {
        if count == 1 {
            return write_whole(&mut self.stream, &self.candidate);
        }
        write_whole(&mut self.stream, &self.candidate.repeat(count))
    }

    /// Reads what has arrived, answers what needs an answer, and tells of the rest.
    pub(crate) fn receive(
        &mut self,
        buffer: &mut [u8],
        mut hear: impl FnMut(Packet),
    ) -> anyhow::Result<()> {
        loop {
            let length = match self.stream.read(buffer) {
                Ok(0) => bail!("the server closed a connection"),
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error).context("a connection broke"),
            };
            let arrived = buffer.get(..length).unwrap_or_default();
            if self.unfinished.is_empty() {
                let taken = self.take(arrived, &mut hear)?;
                self.keep(arrived, taken);
            } else {
                let mut bytes = std::mem::take(&mut self.unfinished);
                bytes.extend(arrived);
                let taken = self.take(&bytes, &mut hear)?;
                self.keep(&bytes, taken);
            }
            // Less than there was room for: that was all.
            if length < buffer.len() {
                return Ok(());
            }
        }
    }

    fn keep(&mut self, bytes: &[u8], taken: usize) {
        self.unfinished
            .extend_from_slice(bytes.get(taken..).unwrap_or_default());
    }

    /// How many of the bytes were whole packets.
    fn take(&mut self, bytes: &[u8], hear: &mut impl FnMut(Packet)) -> anyhow::Result<usize> {
        let mut taken = 0;
        if !self.is_upgraded {
            let Some(length) = wire::upgraded(bytes)? else {
                return Ok(0);
            };
            self.is_upgraded = true;
            taken = length;
        }
        while let Some((packet, length)) = wire::packet(bytes.get(taken..).unwrap_or_default())? {
            taken += length;
            match packet {
                Packet::Open => write_whole(&mut self.stream, &wire::text("40"))?,
                Packet::Ping => write_whole(&mut self.stream, &wire::text("3"))?,
                Packet::Connected
                | Packet::SessionJoined
                | Packet::ParticipantJoined
                | Packet::Candidate => hear(packet),
            }
        }
        Ok(taken)
    }
}

/// Few enough that Linux need not search for a free one.
const PORTS_PER_SOURCE: usize = 1_000;

/// Who a client is, and who is next in its session's circle.
struct Name {
    session: String,
    participant: String,
    next: String,
}

impl Name {
    fn of(number: usize, session_sockets: usize) -> Self {
        let (session, seat) = (number / session_sockets, number % session_sockets);
        let name = |seat: usize| format!("participant-{session}-{seat}");
        Self {
            session: format!("session-{session}"),
            participant: name(seat),
            next: name((seat + 1) % session_sockets),
        }
    }

    fn join(&self) -> String {
        let Self {
            session,
            participant,
            ..
        } = self;
        format!(
            r#"42["join-session",{{"sessionId":"{session}","participantId":"{participant}","participantName":"{participant}"}}]"#
        )
    }

    /// As Chromium writes one, behind a NAT: some 300 bytes with its envelope.
    fn candidate(&self) -> String {
        let Self {
            session,
            participant,
            next,
        } = self;
        format!(
            r#"42["webrtc-ice-candidate",{{"type":"ice-candidate","sessionId":"{session}","from":"{participant}","to":"{next}","data":{{"candidate":"candidate:842163049 1 udp 1677729535 203.0.113.7 46154 typ srflx raddr 0.0.0.0 rport 0","sdpMid":"0","sdpMLineIndex":0}},"timestamp":1700000000000}}]"#
        )
    }
}

/// Packets are small and the server reads: what does not fit is a fault of the server's.
fn write_whole(stream: &mut TcpStream, bytes: &[u8]) -> anyhow::Result<()> {
    let written = stream.write(bytes).context("the server does not read")?;
    ensure!(written == bytes.len(), "the server reads too slowly");
    Ok(())
}
