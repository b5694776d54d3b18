//! How many connections the process can have open.

/// Descriptors that are not for connections: files, sockets of the database, the log.
const OTHERS: u64 = 64;

/// More connections than these are of no use to a listener.
const MOST: u64 = 10_000;

/// Raises the limit of open files, and returns how many connections each listener may have.
pub(super) fn connections(listeners: usize) -> usize {
    let shared = (open_files().saturating_sub(OTHERS) / listeners.max(1) as u64).clamp(1, MOST);
    usize::try_from(shared).unwrap_or(1)
}

#[cfg(unix)]
fn open_files() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let wanted = 4 * MOST;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = maximum.map_or(wanted, |maximum| maximum.min(wanted));
    match current {
        Some(current) if current < raised => {
            let done = setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum });
            if done.is_ok() { raised } else { current }
        }
        current => current.unwrap_or(wanted),
    }
}

#[cfg(not(unix))]
fn open_files() -> u64 {
    4 * MOST
}
