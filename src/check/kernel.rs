//! What the kernel grants: socket buffers and descriptors.

use std::{fs, net::Ipv4Addr};

use nix::sys::resource::{Resource, getrlimit};
use socket2::{Domain, Socket, Type};

use super::report::Finding;
use super::sockets::Process;
use crate::config::Config;
use crate::relay::CLIENT_BUFFER_BYTES;

/// The buffers that the relay's sockets ask for, tried on a socket.
pub(super) fn buffers() -> Finding {
    let granted = || -> std::io::Result<(usize, usize)> {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
        socket.bind(&std::net::SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
        socket.set_recv_buffer_size(CLIENT_BUFFER_BYTES)?;
        socket.set_send_buffer_size(CLIENT_BUFFER_BYTES)?;
        // The kernel says twice of what it grants, for its own bookkeeping.
        Ok((
            socket.recv_buffer_size()? / 2,
            socket.send_buffer_size()? / 2,
        ))
    };
    match granted() {
        Ok((receive, send)) => judge_buffers(receive, send),
        Err(error) => Finding::note("kernel_buffers", format!("can't be tried: {error}")),
    }
}

fn judge_buffers(receive: usize, send: usize) -> Finding {
    let wanted = CLIENT_BUFFER_BYTES;
    let found = format!(
        "{} KiB to receive and {} KiB to send, of {} KiB that the relay asks for",
        receive / 1024,
        send / 1024,
        wanted / 1024
    );
    let raise = format!(
        "sysctl -w net.core.rmem_max={wanted} net.core.wmem_max={wanted} (and in /etc/sysctl.d)"
    );
    match receive.min(send) {
        granted if granted >= wanted => Finding::ok("kernel_buffers", found),
        granted if granted >= LINUX_DEFAULT_BYTES => Finding::ok(
            "kernel_buffers",
            format!("{found}; a busy relay gains by more: {raise}"),
        ),
        _ => Finding::warning(
            "kernel_buffers",
            format!("{found}, less than Linux gives by default: bursts are lost"),
            raise,
        ),
    }
}

/// `net.core.rmem_max` of an untouched kernel.
const LINUX_DEFAULT_BYTES: usize = 212_992;

/// The descriptors that the running server may have, or that one started here could.
pub(super) fn descriptors(config: &Config, running: Option<&Process>) -> Finding {
    let limit = match running {
        Some(process) => fs::read_to_string(format!("/proc/{}/limits", process.pid))
            .ok()
            .and_then(|text| hard_limit(&text)),
        None => getrlimit(Resource::RLIMIT_NOFILE)
            .ok()
            .map(|(_, hard)| hard),
    };
    let Some(limit) = limit else {
        return Finding::note("descriptors", "nobody knows how many the server may have");
    };
    let ports = config.relay.relay_ports.len() * config.relay.external.len();
    judge_descriptors(limit, config.descriptors_wanted() as u64, ports as u64)
}

fn judge_descriptors(limit: u64, wanted: u64, ports: u64) -> Finding {
    let check = "descriptors";
    let fix = format!(
        "LimitNOFILE={0} in the systemd unit, ulimits in compose.yaml, or ulimit -Hn {0}",
        wanted.next_power_of_two().max(65_536)
    );
    if limit >= wanted {
        return Finding::ok(check, format!("{limit} allowed, {wanted} needed at most"));
    }
    if limit >= wanted / 2 {
        let found =
            format!("{limit} allowed, {wanted} needed only where limits.connections is used up");
        return Finding::ok(check, found);
    }
    if limit < ports.saturating_add(FEW) {
        return Finding::failure(
            check,
            format!("{limit} allowed, but the relay's {ports} ports alone need more"),
            fix,
        );
    }
    Finding::warning(
        check,
        format!(
            "{limit} allowed, but limits.connections lets in so many that {wanted} may be needed"
        ),
        format!("{fix}; or lower limits.connections"),
    )
}

/// Listeners, workers, Redis.
const FEW: u64 = 100;

/// Of `/proc/PID/limits`; the server raises its soft limit to the hard one.
fn hard_limit(text: &str) -> Option<u64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::report::Status;
    use super::*;

    #[test]
    fn buffers_are_judged() {
        let cases = [
            (4 * 1024 * 1024, Status::Ok),
            (212_992, Status::Ok),
            (65_536, Status::Warning),
        ];
        for (granted, status) in cases {
            assert_eq!(judge_buffers(granted, 4 * 1024 * 1024).status, status);
        }
    }

    #[test]
    fn descriptors_are_judged() {
        let cases = [
            (30_000, Status::Ok),
            (10_000, Status::Ok),
            (1024, Status::Warning),
            (100, Status::Failure),
        ];
        for (limit, status) in cases {
            assert_eq!(
                judge_descriptors(limit, 20_000, 41).status,
                status,
                "{limit}"
            );
        }
        let limits = "Limit  Soft Limit  Hard Limit  Units\nMax open files            1024                 524288               files     \n";
        assert_eq!(hard_limit(limits), Some(524_288));
    }
}
