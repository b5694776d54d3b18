//! SIGINT and SIGTERM. A command ends at once, unless it is in the middle of a change: then the
//! change is finished first, and a second signal ends the command.

use std::{
    fs, io,
    path::PathBuf,
    pin::pin,
    process,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use tokio::sync::Notify;

use crate::{exit::INTERRUPTED, input, output};

static PROTECTED: AtomicUsize = AtomicUsize::new(0);
static REQUESTED: AtomicBool = AtomicBool::new(false);
static ASKED: Notify = Notify::const_new();
static UNFINISHED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// While it lives, the first signal only [requests](is_requested) the end.
pub(crate) struct Protection(());

// === impl Protection ===

impl Protection {
    pub(crate) fn new() -> Self {
        PROTECTED.fetch_add(1, Ordering::SeqCst);
        Self(())
    }
}

impl Drop for Protection {
    fn drop(&mut self) {
        PROTECTED.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Returns whether a signal has asked the command to end.
pub(crate) fn is_requested() -> bool {
    REQUESTED.load(Ordering::SeqCst)
}

/// Names a file or folder that is removed if a signal ends the command at once.
pub(crate) fn remove_on_exit(path: PathBuf) {
    UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner).push(path);
}

fn remove_unfinished() {
    for path in UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
        // It may be gone, or finished under another name.
        let _ = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
    }
}

/// Waits until a signal has asked the command to end.
pub(crate) async fn requested() {
    loop {
        // Registered first, so that a signal between the two is not missed.
        let mut asked = pin!(ASKED.notified());
        asked.as_mut().enable();
        if is_requested() {
            return;
        }
        asked.await;
    }
}

/// Handles signals until the process ends.
pub(crate) fn watch() -> io::Result<()> {
    let mut signals = Signals::new()?;
    tokio::spawn(async move {
        loop {
            signals.next().await;
            let is_first = !REQUESTED.swap(true, Ordering::SeqCst);
            ASKED.notify_waiters();
            if PROTECTED.load(Ordering::SeqCst) == 0 || !is_first {
                input::show_typing();
                remove_unfinished();
                output::note("tower-api-key: interrupted");
                process::exit(INTERRUPTED);
            }
            output::note("tower-api-key: finishing what has begun; interrupt again to end at once");
        }
    });
    Ok(())
}

#[cfg(unix)]
struct Signals([tokio::signal::unix::Signal; 2]);

#[cfg(unix)]
impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self([signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?]))
    }

    async fn next(&mut self) {
        let [interrupt, terminate] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) {
        let _ = tokio::signal::ctrl_c().await;
    }
}
