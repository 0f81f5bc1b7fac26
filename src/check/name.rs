//! Whether the name in the URLs leads to the external address.

use std::net::IpAddr;

use tokio::{
    net::lookup_host,
    time::{Duration, timeout},
};

use super::report::Finding;
use crate::config::Config;

/// Resolves `turn.host` as this machine does.
pub(super) async fn examine(config: &Config) -> Finding {
    let host = &config.relay_host;
    if host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() {
        return Finding::ok(
            CHECK,
            format!("clients are told {host}, which needs no name service"),
        );
    }
    let external: Vec<_> = config.external_ips().collect();
    let found = match timeout(PATIENCE, lookup_host((host.as_str(), 0))).await {
        Ok(Ok(addrs)) => Ok(addrs.map(|addr| addr.ip()).collect::<Vec<_>>()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("the name server does not answer".to_owned()),
    };
    judge(host, &external, found)
}

const CHECK: &str = "dns";
const PATIENCE: Duration = Duration::from_secs(5);

fn judge(host: &str, external: &[IpAddr], found: Result<Vec<IpAddr>, String>) -> Finding {
    let told = list(external);
    let record = external.iter().map(|ip| match ip {
        IpAddr::V4(ip) => format!("{host} A {ip}"),
        IpAddr::V6(ip) => format!("{host} AAAA {ip}"),
    });
    let record = record.collect::<Vec<_>>().join(" and ");
    let mut found = match found {
        Ok(found) if !found.is_empty() => found,
        Ok(_) => return unresolved(host, "it has no address", &record),
        Err(reason) => return unresolved(host, &reason, &record),
    };
    found.sort_unstable();
    found.dedup();
    let wrong: Vec<_> = found
        .iter()
        .copied()
        .filter(|ip| !external.contains(ip))
        .collect();
    if wrong.is_empty() {
        return Finding::ok(CHECK, format!("{host} is {}", list(&found)));
    }
    let is_hosts_file =
        wrong.iter().all(IpAddr::is_loopback) && !external.iter().all(IpAddr::is_loopback);
    if is_hosts_file {
        return Finding::warning(
            CHECK,
            format!(
                "on this machine {host} is {}, not {told}: what others get can't be told from here",
                list(&wrong)
            ),
            format!(
                "take {host} out of /etc/hosts, or check from elsewhere that the record is {record}"
            ),
        );
    }
    let text = format!(
        "{host} is {}, but clients are to reach {told}",
        list(&found)
    );
    let fix = format!("set the DNS record {record}; or turn.external_ip, if the name is right");
    match wrong.len() == found.len() {
        true => Finding::failure(CHECK, text, fix),
        false => Finding::warning(
            CHECK,
            format!("{text}: those who choose {} fail", list(&wrong)),
            format!("{fix}; or remove the other records"),
        ),
    }
}

fn unresolved(host: &str, reason: &str, record: &str) -> Finding {
    Finding::failure(
        CHECK,
        format!("{host} (turn.host) does not resolve: {reason}"),
        format!("set the DNS record {record}, or correct turn.host"),
    )
}

fn list(ips: &[IpAddr]) -> String {
    ips.iter()
        .map(IpAddr::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use super::super::report::Status;
    use super::*;

    #[test]
    fn a_name_is_judged_by_its_addresses() {
        let cases: &[(&[&str], Status, &str)] = &[
            (&["198.51.100.1"], Status::Ok, ""),
            (&["198.51.100.1", "2001:db8::1"], Status::Ok, ""),
            (&["198.51.100.9"], Status::Failure, "A 198.51.100.1"),
            (&["198.51.100.1", "2001:db8::9"], Status::Warning, "remove"),
            (&["127.0.1.1"], Status::Warning, "/etc/hosts"),
            (&[], Status::Failure, "turn.host"),
        ];
        let parse = |ips: &[&str]| {
            ips.iter()
                .map(|ip| ip.parse().unwrap())
                .collect::<Vec<IpAddr>>()
        };
        let external = parse(&["198.51.100.1", "2001:db8::1"]);
        for (ips, status, fix) in cases {
            let finding = judge("turn.example.org", &external, Ok(parse(ips)));
            assert_eq!(finding.status, *status, "{finding:?}");
            assert!(finding.fix.unwrap_or_default().contains(fix), "{ips:?}");
        }
    }
}
