//! Counts the instructions of a call exactly, by stepping through a child one instruction at a time.
//!
//! The machine's own SHA instructions run, as they do not under an emulator. What is around the calls, stops included, cancels out: a few
//! calls are taken away from many.

use nix::{
    sys::{
        ptrace,
        signal::{Signal, kill, raise},
        wait::{WaitStatus, waitpid},
    },
    unistd::{ForkResult, Pid, fork},
};

use crate::item::Item;

/// What is taken away.
const FEW: usize = 1;

/// Beyond this many it is given up.
const MOST: u64 = 5_000_000;

/// Instructions for each of so many calls in user mode, or nothing where a child cannot be traced.
#[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
pub fn of(item: &mut dyn Item, calls: usize) -> Option<f64> {
    // SAFETY: the child runs in this thread alone, in code that waits for no other one, and never returns.
    #[allow(unsafe_code, reason = "what follows a fork cannot be checked by the compiler")]
    match unsafe { fork() }.ok()? {
        ForkResult::Child => be_counted(item, calls),
        ForkResult::Parent { child } => {
            let few = steps(child);
            let many = steps(child);
            let _ = kill(child, Signal::SIGKILL);
            let _ = waitpid(child, None);
            Some((many? - few?) as f64 / calls as f64)
        }
    }
}

const WARM_UP: usize = 64;

/// Stops before the calls and after them.
fn be_counted(item: &mut dyn Item, calls: usize) -> ! {
    let _ = ptrace::traceme();
    // What is made once, and what a thread learns of a key by its second request.
    for _ in 0..4 {
        item.prepare(WARM_UP);
        item.run(WARM_UP);
    }
    for calls in [FEW, FEW + calls] {
        item.prepare(calls);
        let _ = raise(Signal::SIGSTOP);
        item.run(calls);
        let _ = raise(Signal::SIGSTOP);
    }
    std::process::abort()
}

/// Counts the instructions from the next stop to the one after, and lets the child continue.
fn steps(child: Pid) -> Option<u64> {
    let WaitStatus::Stopped(_, Signal::SIGSTOP) = waitpid(child, None).ok()? else { return None };
    for count in 1..MOST {
        ptrace::step(child, None).ok()?;
        match waitpid(child, None).ok()? {
            WaitStatus::Stopped(_, Signal::SIGTRAP) => {}
            WaitStatus::Stopped(_, Signal::SIGSTOP) => {
                ptrace::cont(child, None).ok()?;
                return Some(count);
            }
            _ => return None,
        }
    }
    None
}
