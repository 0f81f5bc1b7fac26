//! Certificates, limits, threads and logs.

use std::path::Path;

use super::coturn::Coturn;
use super::draft::Draft;
use super::lines::Line;

/// Writes what is neither an address nor about who may relay.
pub(super) fn convert(coturn: &Coturn, folder: &Path, draft: &mut Draft) {
    certificate(coturn, folder, draft);
    limits(coturn, draft);
    if coturn.has("no-tcp-relay") {
        draft.set("turn", "tcp_relay", false, coturn.origin(&["no-tcp-relay"]));
    }
    workers(coturn, draft);
    if coturn.has("Verbose") {
        draft.set("log", "level", "debug", coturn.origin(&["Verbose"]));
    }
}

fn certificate(coturn: &Coturn, folder: &Path, draft: &mut Draft) {
    let path = |line: &Line| folder.join(&line.value).display().to_string();
    match (coturn.last("cert"), coturn.last("pkey")) {
        (Some(cert), Some(key)) => {
            draft.set(
                "turn",
                "tls_cert_file",
                path(cert),
                coturn.origin(&["cert"]),
            );
            draft.set("turn", "tls_key_file", path(key), coturn.origin(&["pkey"]));
        }
        (Some(cert), None) => draft.lose(cert, "without `pkey`, the private key, it is of no use"),
        (None, Some(key)) => draft.lose(key, "without `cert`, the certificate, it is of no use"),
        (None, None) => {}
    }
}

fn limits(coturn: &Coturn, draft: &mut Draft) {
    let users = coturn.number("user-quota").unwrap_or(0);
    let origin = coturn.origin(&["user-quota"]);
    draft.set("limits", "allocations_per_user", i64::from(users), origin);
    let others = [
        ("total-quota", "allocations", 1),
        ("max-bps", "bytes_per_second_per_allocation", BOTH_WAYS),
        ("bps-capacity", "bytes_per_second", BOTH_WAYS),
    ];
    for (name, key, times) in others {
        if let Some(limit) = coturn.number(name) {
            let limit = limit.saturating_mul(times);
            draft.set("limits", key, i64::from(limit), coturn.origin(&[name]));
        }
    }
}

fn workers(coturn: &Coturn, draft: &mut Draft) {
    for name in ["relay-threads", "cpus"] {
        let Some(line) = coturn.last(name) else {
            continue;
        };
        match line.value.parse::<u32>() {
            // To coturn that is one thread for everything, and to us one for each core.
            Ok(threads @ 0..=THREADS_MAX) => {
                let origin = coturn.origin(&[name]);
                return draft.set("turn", "workers", i64::from(threads.max(1)), origin);
            }
            Ok(_) | Err(_) => draft.drop(line, "Setu has one thread for each core instead"),
        }
    }
}

/// coturn counts what comes and what goes each by itself.
const BOTH_WAYS: u32 = 2;
const THREADS_MAX: u32 = 128;
