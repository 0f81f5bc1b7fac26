//! A DTLS session between the library's client and its server, over a network that loses, repeats, bends and invents
//! datagrams. The server is given what `worker/dtls` gives it: a panic would end that session alone, but is a fault.

#![no_main]

#[allow(dead_code, reason = "other scripts choose, too")]
mod tape;

use std::collections::VecDeque;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use dimpl::{Config, Dtls, DtlsCertificate, Output, crypto::rust_crypto};
use libfuzzer_sys::fuzz_target;
use setu::relay::wire::dtls_record::{Records, may_belong_to_session, shift_clear_sequence};

use tape::Tape;

fuzz_target!(|script: &[u8]| {
    let mut tape = Tape(script);
    let mut play = Play::new();
    for _ in 0..STEPS_MAX {
        if tape.is_over() {
            break;
        }
        play.step(&mut tape);
        play.client.pump();
        play.server.pump();
    }
});

struct Play {
    now: Instant,
    client: End,
    server: End,
    /// Every datagram that the client has sent.
    sent: Vec<Vec<u8>>,
}

impl Play {
    fn new() -> Self {
        let now = *BEGINNING;
        let mut client = End::new(now);
        client.dtls.set_active(true);
        client.advance(now);
        client.pump();
        Self {
            now,
            client,
            server: End::new(now),
            sent: Vec::new(),
        }
    }

    fn step(&mut self, tape: &mut Tape<'_>) {
        match tape.byte() % 12 {
            // Far enough to shake hands, in most scripts.
            0 => {
                for _ in 0..8 {
                    self.forth(|_| {});
                    self.back();
                }
            }
            1 => self.forth(|_| {}),
            2 => self.back(),
            3 => {
                let (at, bits) = (usize::from(tape.word()), tape.byte());
                self.forth(|datagram| {
                    let at = at % datagram.len().max(1);
                    if let Some(byte) = datagram.get_mut(at) {
                        *byte ^= bits;
                    }
                });
            }
            4 => {
                let length = usize::from(tape.word());
                self.forth(|datagram| datagram.truncate(length));
            }
            5 => {
                let back = usize::from(tape.byte());
                if let Some(again) = self.sent.iter().rev().nth(back).cloned() {
                    self.server.take(self.now, &again);
                }
            }
            6 => {
                let (kind, epoch, sequence) = (tape.byte() % 6 + 19, tape.byte() % 3, tape.byte());
                let count = tape.byte();
                let fragment = tape.bytes(count.into());
                let [.., l0, l1] = fragment.len().to_be_bytes();
                let head = [kind, 254, 253, 0, epoch, 0, 0, 0, 0, 0, sequence, l0, l1];
                self.server.take(self.now, &[&head[..], fragment].concat());
            }
            7 => {
                let count = tape.byte();
                self.client.say(tape.bytes(count.into()));
            }
            8 => {
                let count = tape.byte();
                self.server.say(tape.bytes(count.into()));
            }
            9 => {
                self.now += Duration::from_millis(u64::from(tape.word()));
                self.client.advance(self.now);
                self.server.advance(self.now);
            }
            10 => {
                let _ = self.client.dtls.close();
            }
            11.. => {
                let count = tape.byte();
                self.server.take(self.now, tape.bytes(count.into()));
            }
        }
    }

    /// The client's next datagram arrives, changed or not.
    fn forth(&mut self, change: impl FnOnce(&mut Vec<u8>)) {
        if let Some(mut datagram) = self.client.out.pop_front() {
            self.sent.push(datagram.clone());
            change(&mut datagram);
            self.server.take(self.now, &datagram);
            self.server.pump();
        }
    }

    fn back(&mut self) {
        if let Some(mut datagram) = self.server.out.pop_front() {
            let records = Records::of(&datagram).count();
            shift_clear_sequence(&mut datagram, 0);
            assert_eq!(Records::of(&datagram).count(), records);
            self.client.take(self.now, &datagram);
            self.client.pump();
        }
    }
}

struct End {
    dtls: Dtls,
    is_established: bool,
    has_ended: bool,
    out: VecDeque<Vec<u8>>,
}

impl End {
    fn new(now: Instant) -> Self {
        Self {
            dtls: Dtls::new_12(Arc::clone(&CONFIG), CERTIFICATE.clone(), now),
            is_established: false,
            has_ended: false,
            out: VecDeque::new(),
        }
    }

    fn take(&mut self, now: Instant, datagram: &[u8]) {
        let is_oversized = !self.is_established && datagram.len() > 4096;
        if self.has_ended || is_oversized || !may_belong_to_session(datagram, self.is_established) {
            return;
        }
        self.advance(now);
        self.has_ended |= self.dtls.handle_packet(datagram).is_err();
    }

    fn advance(&mut self, now: Instant) {
        self.has_ended |= self.dtls.handle_timeout(now).is_err();
    }

    fn say(&mut self, message: &[u8]) {
        if self.is_established && !self.has_ended {
            self.has_ended |= self.dtls.send_application_data(message).is_err();
        }
    }

    fn pump(&mut self) {
        let mut room = [0; 20 * 1024];
        for _ in 0..OUTPUTS_MAX {
            match self.dtls.poll_output(&mut room) {
                Output::Packet(datagram) => self.out.push_back(datagram.to_vec()),
                Output::Connected => self.is_established = true,
                Output::Timeout(_) => return,
                Output::CloseNotify | Output::BufferTooSmall { .. } => {
                    self.has_ended = true;
                    return;
                }
                _ => {}
            }
        }
        panic!("it never stops speaking");
    }
}

static BEGINNING: LazyLock<Instant> = LazyLock::new(Instant::now);
static CONFIG: LazyLock<Arc<Config>> = LazyLock::new(|| {
    let config = Config::builder().with_crypto_provider(rust_crypto::default_provider());
    // The same script does the same again.
    Arc::new(config.dangerously_set_rng_seed(7).build().unwrap())
});
static CERTIFICATE: LazyLock<DtlsCertificate> = LazyLock::new(|| {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    DtlsCertificate {
        certificate: made.cert.der().to_vec(),
        private_key: made.signing_key.serialize_der(),
    }
});
const STEPS_MAX: usize = 48;
const OUTPUTS_MAX: usize = 1000;
