//! How many sockets and files this process may have open.

use std::{io, os::fd::RawFd};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raises the limit as far as this process may: the usual soft one is from times when programs could not count beyond
/// it. What it is then; `None` where nobody knows.
pub(super) fn raise() -> Option<usize> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    let raised = soft < hard && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok();
    usize::try_from(if raised { hard } else { soft }).ok()
}

/// Lets the kernel make its table of descriptors large enough for `wanted` at once, as far as the limit allows. It grows
/// otherwise whenever it is full, and while threads share it whoever opens a socket waits some ten milliseconds for that:
/// a relay's worker, with the media of all its clients.
pub(super) fn make_room(limit: Option<usize>, wanted: usize) {
    let count = limit.map_or(wanted, |limit| limit.min(wanted));
    let Ok(highest) = RawFd::try_from(count.saturating_sub(1)) else {
        return;
    };
    // It closes at once; the table does not shrink. Where it fails, the table grows as it always does.
    if let Err(error) = rustix::io::fcntl_dupfd_cloexec(io::stderr(), highest) {
        tracing::debug!(%error, count, "no room for descriptors made in advance");
    }
}

/// Says so where the limit is too low for `wanted` descriptors.
pub(super) fn warn_if_few(limit: Option<usize>, wanted: usize) {
    if limit.is_some_and(|limit| limit < wanted) {
        tracing::warn!(
            limit,
            wanted,
            "few descriptors for as many connections as limits.connections lets in: raise the limit of the process \
             (LimitNOFILE=, ulimit -Hn), or lower limits.connections"
        );
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_kernels_table_has_room_before_there_are_descriptors() {
        let limit = raise().unwrap();
        let wanted = 3000;
        make_room(Some(limit), wanted);
        assert!(table_size() >= limit.min(wanted), "{}", table_size());
    }

    fn table_size() -> usize {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("FDSize:"));
        line.unwrap().trim().parse().unwrap()
    }
}
