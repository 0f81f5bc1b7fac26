//! How many sockets and files this process may have open.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raises the limit as far as this process may: the usual soft one is from times when programs could not count beyond
/// it. What it is then; `None` where nobody knows.
pub(super) fn raise() -> Option<usize> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    let raised = soft < hard && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok();
    usize::try_from(if raised { hard } else { soft }).ok()
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
