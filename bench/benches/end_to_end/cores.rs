//! One core for the server, another for the load.

use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};

use crate::Result;

const SELF: Pid = Pid::from_raw(0);

/// The first two cores that this process may run on.
pub fn two() -> Result<[usize; 2]> {
    let allowed = sched_getaffinity(SELF)?;
    let mut cores = (0..CpuSet::count()).filter(|&core| allowed.is_set(core).unwrap_or(false));
    match (cores.next(), cores.next()) {
        (Some(first), Some(second)) => Ok([first, second]),
        _ => Err("two cores are needed: one for the server, one for the load".into()),
    }
}

/// Keeps this process, and those that it starts from now on, on one core.
pub fn pin(core: usize) -> Result<()> {
    let mut cores = CpuSet::new();
    cores.set(core)?;
    Ok(sched_setaffinity(SELF, &cores)?)
}
