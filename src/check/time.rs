//! Whether the clock is right: time-limited credentials and certificates depend on it.

use std::{
    env, fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::{
    net::{UdpSocket, lookup_host},
    time::timeout,
};

use super::report::Finding;
use super::web::{self, Scheme};
use crate::clock::{Now, UnixSeconds};

/// Another clock, or a trace of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Witness {
    pub(super) name: String,
    /// How far it is ahead of ours.
    pub(super) ahead_millis: i64,
    /// What it may differ by without saying anything.
    pub(super) tolerance: Duration,
}

impl Witness {
    pub(super) fn new(name: impl Into<String>, ahead_millis: i64) -> Self {
        Self {
            name: name.into(),
            ahead_millis,
            tolerance: TOLERANCE,
        }
    }

    /// Something that cannot be from the future.
    pub(super) fn since(name: impl Into<String>, moment: UnixSeconds) -> Option<Self> {
        let ahead = ahead(moment.millis().0);
        (ahead > 0).then(|| Self::new(name, ahead))
    }
}

/// What an answer of another server says in its `Date` or `timestamp`.
pub(super) fn heard(name: &str, moment: Option<SystemTime>) -> Option<Witness> {
    let since = moment?.duration_since(UNIX_EPOCH).ok()?;
    let millis = u64::try_from(since.as_millis()).ok()?;
    Some(Witness::new(name, ahead(millis)))
}

/// What this machine itself knows: its kernel, its battery-backed clock, its files.
pub(super) fn of_this_machine(config: Option<&Path>) -> Vec<Witness> {
    [kernel(), battery(), files(config)]
        .into_iter()
        .flatten()
        .collect()
}

/// Asks an NTP server ([RFC 5905](https://www.rfc-editor.org/rfc/rfc5905#section-7.3)), as `host` or `host:port`.
///
/// # Errors
/// Why there is no answer.
pub(super) async fn ntp(server: &str) -> io::Result<Witness> {
    let server = match server.rsplit_once(':') {
        Some((_, port)) if port.parse::<u16>().is_ok() && !server.ends_with(']') => {
            server.to_owned()
        }
        Some(_) | None => format!("{server}:{NTP_PORT}"),
    };
    let asked = timeout(PATIENCE, ask_ntp(&server)).await;
    asked.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Asks a web server for its `Date`, as `http://host[:port]/`.
///
/// # Errors
/// Why there is no answer.
pub(super) async fn date(url: &str) -> io::Result<Witness> {
    let rest = url
        .strip_prefix("http://")
        .ok_or_else(|| io::Error::other("only http:// can be asked"))?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let address = match lookup_host(authority).await {
        Ok(found) => found.collect::<Vec<_>>(),
        Err(_) => lookup_host((authority, 80)).await?.collect(),
    };
    let first = address
        .first()
        .ok_or_else(|| io::Error::other("the name has no address"))?;
    let answer = web::get(Scheme::Http, *first, authority, &format!("/{path}"), None).await?;
    let moment = answer
        .header("date")
        .and_then(|text| httpdate::parse_http_date(text).ok());
    heard(url, moment).ok_or_else(|| io::Error::other("its answer has no Date"))
}

/// The worst of what they say.
pub(super) fn judge(witnesses: &[Witness], failed: &[(String, String)]) -> Finding {
    if let Some((source, reason)) = failed.first() {
        return Finding::warning(
            CHECK,
            format!("{source} does not tell the time: {reason}"),
            "name another time source, or let UDP port 123 out of the firewall",
        );
    }
    let beyond = |witness: &&Witness| {
        u128::from(witness.ahead_millis.unsigned_abs()) > witness.tolerance.as_millis()
    };
    let wrong = witnesses.iter().filter(beyond);
    let Some(worst) = wrong.max_by_key(|witness| witness.ahead_millis.unsigned_abs()) else {
        let names: Vec<_> = witnesses
            .iter()
            .map(|witness| witness.name.as_str())
            .collect();
        let agree = match names.is_empty() {
            true => "nothing here contradicts it".to_owned(),
            false => format!("as {} says", names.join(", and as ")),
        };
        return Finding::ok(CHECK, format!("{}; {agree}", Now::read().unix.iso8601()));
    };
    let off = Duration::from_millis(worst.ahead_millis.unsigned_abs());
    let side = if worst.ahead_millis > 0 {
        "behind"
    } else {
        "ahead of"
    };
    let found = format!(
        "the clock is {} {side} {}: credentials and certificates are judged by it",
        humantime::format_duration(Duration::from_secs(off.as_secs())),
        worst.name
    );
    let fix = "timedatectl set-ntp true (or install chrony), and look at it with timedatectl; on a guest, the host's clock too";
    match off > OFF_MAX {
        true => Finding::failure(CHECK, found, fix),
        false => Finding::warning(CHECK, found, fix),
    }
}

const CHECK: &str = "clock";
const NTP_PORT: u16 = 123;
const PATIENCE: Duration = Duration::from_secs(3);
/// What tokens are allowed too.
const TOLERANCE: Duration = Duration::from_secs(30);
const OFF_MAX: Duration = Duration::from_secs(600);
/// The battery-backed clock may run in local time.
const LOCAL_TIME_MAX: Duration = Duration::from_secs(15 * 3600);
/// From 1900, as NTP counts, to 1970.
const NTP_EPOCH_SECONDS: u64 = 2_208_988_800;

/// How far this moment is ahead of our clock.
fn ahead(millis: u64) -> i64 {
    let signed = |millis: u64| i64::try_from(millis).unwrap_or(i64::MAX);
    signed(millis).saturating_sub(signed(Now::read().unix.0))
}

async fn ask_ntp(server: &str) -> io::Result<Witness> {
    let mut found = lookup_host(server).await?;
    let addr = found
        .next()
        .ok_or_else(|| io::Error::other("the name has no address"))?;
    let any = match addr {
        SocketAddr::V4(_) => "0.0.0.0:0",
        SocketAddr::V6(_) => "[::]:0",
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(addr).await?;
    let mut packet = [0; 48];
    // Version 4, client.
    packet[0] = 0x23;
    socket.send(&packet).await?;
    let mut answer = [0; 48];
    if socket.recv(&mut answer).await? < answer.len() {
        return Err(io::Error::other("that is no NTP"));
    }
    let part = |at: usize| {
        u32::from_be_bytes([answer[at], answer[at + 1], answer[at + 2], answer[at + 3]])
    };
    let (seconds, fraction) = (u64::from(part(40)), u64::from(part(44)));
    let millis = seconds.saturating_sub(NTP_EPOCH_SECONDS) * 1000 + ((fraction * 1000) >> 32);
    Ok(Witness::new(
        format!("the NTP server {server}"),
        ahead(millis),
    ))
}

/// When it booted, and how long ago: a clock that is only pretended to this process differs.
fn kernel() -> Option<Witness> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let booted: u64 = stat
        .lines()
        .find_map(|line| line.strip_prefix("btime "))?
        .trim()
        .parse()
        .ok()?;
    let uptime = fs::read_to_string("/proc/uptime").ok()?;
    let uptime: f64 = uptime.split_whitespace().next()?.parse().ok()?;
    let moment = Duration::from_secs(booted) + Duration::try_from_secs_f64(uptime).ok()?;
    let millis = u64::try_from(moment.as_millis()).ok()?;
    Some(Witness::new("the kernel", ahead(millis)))
}

fn battery() -> Option<Witness> {
    let seconds = fs::read_to_string("/sys/class/rtc/rtc0/since_epoch").ok()?;
    let seconds: u64 = seconds.trim().parse().ok()?;
    Some(Witness {
        tolerance: LOCAL_TIME_MAX,
        ..Witness::new("the hardware clock", ahead(seconds.saturating_mul(1000)))
    })
}

/// The newest of files that were surely written in the past.
fn files(config: Option<&Path>) -> Option<Witness> {
    let fixed = [
        "/var/lib/systemd/timesync/clock",
        "/var/lib/dpkg/status",
        "/var/log/wtmp",
        "/etc/resolv.conf",
        "/etc/hostname",
        "/etc/ld.so.cache",
        "/var/log",
        "/var/tmp",
        "/tmp",
        "/run",
    ];
    let own = [env::current_exe().ok(), config.map(Path::to_owned)];
    let paths = fixed
        .iter()
        .map(PathBuf::from)
        .chain(own.into_iter().flatten());
    let written = paths.filter_map(|path| Some((fs::metadata(&path).ok()?.modified().ok()?, path)));
    let (newest, path) = written.max_by_key(|(moment, _)| *moment)?;
    let since = newest.duration_since(UNIX_EPOCH).ok()?;
    Witness::since(
        format!("the time of {}", path.display()),
        UnixSeconds(since.as_secs()),
    )
}

#[cfg(test)]
mod tests {
    use super::super::report::Status;
    use super::*;

    #[test]
    fn the_clock_is_judged_by_its_worst_witness() {
        let day = 86_400_000;
        let cases: &[(&[i64], Status, &str)] = &[
            (&[], Status::Ok, ""),
            (&[5, -900], Status::Ok, ""),
            (&[0, 60_000], Status::Warning, "1m behind"),
            (&[day, 60_000], Status::Failure, "1day behind"),
            (&[-day], Status::Failure, "1day ahead of"),
        ];
        for (ahead, status, found) in cases {
            let witnesses: Vec<_> = ahead
                .iter()
                .map(|ahead| Witness::new("it", *ahead))
                .collect();
            let finding = judge(&witnesses, &[]);
            assert_eq!(finding.status, *status, "{ahead:?}");
            assert!(finding.found.contains(found), "{finding:?}");
        }
    }

    #[test]
    fn this_machine_agrees_with_itself() {
        assert_eq!(judge(&of_this_machine(None), &[]).status, Status::Ok);
    }
}
