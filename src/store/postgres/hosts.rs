//! The hosts of a database, of which one is the primary.

use std::{
    fmt, io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use sqlx::postgres::PgConnectOptions;
use thiserror::Error;

use super::{session::is_replica, timeout::within};

/// The hosts of one database. Clones share which one worked last.
#[derive(Clone)]
pub(super) struct Hosts(Arc<Shared>);

struct Shared {
    options: Vec<PgConnectOptions>,
    /// The index of the host that worked last.
    last: AtomicUsize,
}

/// No host accepted a connection.
#[derive(Debug, Error)]
#[error("none of the {count} hosts is a primary that accepts connections; {host}: {error}")]
struct NoHost {
    count: usize,
    /// The host of the error.
    host: String,
    #[source]
    error: sqlx::Error,
}

// === impl Hosts ===

impl Hosts {
    /// There must be at least one.
    pub(super) fn new(options: Vec<PgConnectOptions>) -> Self {
        Self(Arc::new(Shared { options, last: AtomicUsize::new(0) }))
    }

    /// Connects to the primary: to the host that worked last, then to the others in their order.
    /// Each has an equal part of the time. `connect` must reject a replica.
    pub(super) async fn first<T, F: Future<Output = Result<T, sqlx::Error>>>(
        &self,
        limit: Duration,
        connect: impl Fn(PgConnectOptions) -> F,
    ) -> Result<T, sqlx::Error> {
        let hosts = &self.0.options;
        let limit = limit / u32::try_from(hosts.len()).unwrap_or(u32::MAX).max(1);
        let last = self.0.last.load(Ordering::Relaxed);
        let mut failure = None::<(&PgConnectOptions, sqlx::Error)>;
        for (index, host) in hosts.iter().enumerate().cycle().skip(last).take(hosts.len()) {
            match within(limit, connect(host.clone())).await {
                Ok(connected) => {
                    self.0.last.store(index, Ordering::Relaxed);
                    return Ok(connected);
                }
                Err(error) => {
                    if failure.as_ref().is_none_or(|(_, earlier)| usefulness(&error) > usefulness(earlier)) {
                        failure = Some((host, error));
                    }
                }
            }
        }
        let (host, error) = failure.ok_or_else(|| sqlx::Error::Configuration("there is no host".into()))?;
        Err(if hosts.len() == 1 { error } else { no_host(hosts.len(), host, error) })
    }

    /// Returns the name of the database.
    pub(super) fn database(&self) -> Option<&str> {
        self.0.options.first()?.get_database()
    }
}

impl fmt::Debug for Hosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.options.iter().map(address)).finish()
    }
}

fn address(host: &PgConnectOptions) -> String {
    match host.get_socket() {
        Some(socket) => socket.display().to_string(),
        None => format!("{}:{}", host.get_host(), host.get_port()),
    }
}

/// Returns how much an error of one host says about why none works. A standby always is a replica,
/// and a host that is down is common.
fn usefulness(error: &sqlx::Error) -> u8 {
    match error {
        error if is_replica(error) => 0,
        sqlx::Error::Io(_) => 1,
        _ => 2,
    }
}

fn no_host(count: usize, host: &PgConnectOptions, error: sqlx::Error) -> sqlx::Error {
    let kind = match &error {
        sqlx::Error::Io(error) => Some(error.kind()),
        sqlx::Error::Configuration(_) | sqlx::Error::Tls(_) => None,
        _ => Some(io::ErrorKind::Other),
    };
    let none = NoHost { count, host: address(host), error };
    match kind {
        Some(kind) => io::Error::new(kind, none).into(),
        None => sqlx::Error::Configuration(none.into()),
    }
}
