//! How many sockets and files this process may have open.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raises the limit as far as this process may: the usual soft one is from times when programs could not count beyond
/// it. Says so when it is still too low for `wanted` descriptors.
pub(super) fn raise(wanted: usize) {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return;
    };
    let raised = soft < hard && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok();
    let limit = if raised { hard } else { soft };
    if usize::try_from(limit).is_ok_and(|limit| limit < wanted) {
        tracing::warn!(
            limit,
            wanted,
            "few descriptors for as many connections as limits.connections lets in: raise the limit of the process \
             (LimitNOFILE=, ulimit -Hn), or lower limits.connections"
        );
    }
}
