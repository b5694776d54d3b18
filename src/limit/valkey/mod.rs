//! Rates that many nodes count together in Valkey or Redis.

mod error;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use redis::{AsyncConnectionConfig, Client, Cmd, ErrorKind, RedisError, ServerErrorKind, aio::MultiplexedConnection};
use tokio::time::Instant;

pub use self::error::ValkeyError;
use super::{
    gcra::Gcra,
    meter::{Ask, Balance, Grant, MeterId, MeterRule, Return, TopUp, TopUpId},
    meter_state::granted_of_rate,
    meters::MeterStore,
};
use crate::clock::monotonic;

/// A store of meters in Valkey (or Redis, from version 5 on): for rates alone, since such a server
/// may lose what it has acknowledged.
///
/// All nodes take their units from one server, by its clock. Up to 128 rates that need units are
/// one script and one round trip. Each rate is one key, which the server removes when the burst is
/// full again.
///
/// ```no_run
/// use tower_api_key::limit::{Limit, Limits, Plans, Rate, ValkeyRates};
///
/// # async fn limits() -> Result<(), Box<dyn std::error::Error>> {
/// let plans = Plans::new().plan("free", [Limit::rate("burst", Rate::per_second(10).burst(20))]);
/// let rates = ValkeyRates::open("redis://127.0.0.1:6379").await?;
/// let limits = Limits::leased(plans, rates).build()?;
/// # Ok(())
/// # }
/// ```
///
/// For plans that have quotas or credits too, give it to
/// [`LeasedLimitsBuilder::rates_in`](super::LeasedLimitsBuilder::rates_in).
pub struct ValkeyRates {
    client: Client,
    /// The hash of the script, by which the server knows it.
    hash: String,
    /// The connection that no call uses, and since when.
    idle: Mutex<Option<(MultiplexedConnection, Instant)>>,
}

const SCRIPT: &str = include_str!("take.lua");

/// All keys are in one slot of a cluster, so that one script may use them.
const PREFIX: &str = "{api-key-rates}";

/// How many rates one script is about. Other clients of the server wait for it.
const BATCH: usize = 128;

/// How many units of each kind an ask names in a script at most: more than a node holds.
const MOST: u64 = 1 << 38;

const BILLION: u64 = 1_000_000_000;

/// How long the server may take to connect, and to answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// After this time the connection is made again: something between may have closed it.
const LONGEST_IDLE: Duration = Duration::from_secs(10);

impl ValkeyRates {
    /// Connects to a server, by a URL such as `redis://user:password@host:6379/0`. The number at
    /// the end selects a database. `rediss://` is TLS, which needs a feature of the crate redis,
    /// such as `tokio-native-tls-comp`, in your own `Cargo.toml`. The type's documentation has an
    /// example.
    ///
    /// # Errors
    ///
    /// [`ValkeyError`]. No error has the password in its text.
    pub async fn open(url: &str) -> Result<Self, ValkeyError> {
        let client = Client::open(url).map_err(|_| ValkeyError::Url)?;
        let mut connection = connect(&client).await?;
        let hash = redis::cmd("SCRIPT").arg("LOAD").arg(SCRIPT).query_async(&mut connection).await?;
        Ok(Self { client, hash, idle: Mutex::new(Some((connection, monotonic()))) })
    }

    fn idle(&self) -> MutexGuard<'_, Option<(MultiplexedConnection, Instant)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs the script for these rates. Only a server that does not know the script is asked again:
    /// it has done nothing.
    async fn run(&self, rates: &[(&Ask, Gcra)]) -> Result<Vec<u64>, ValkeyError> {
        let idle = self.idle().take();
        let mut connection = match idle {
            Some((connection, since)) if since.elapsed() < LONGEST_IDLE => connection,
            _ => connect(&self.client).await?,
        };
        let result = call("EVALSHA", &self.hash, rates).query_async(&mut connection).await;
        let result = match result {
            Err(error) if is_no_script(&error) => call("EVAL", SCRIPT, rates).query_async(&mut connection).await,
            result => result,
        };
        // After an error, or when this future is dropped, the next call makes a new connection.
        let answer = result?;
        *self.idle() = Some((connection, monotonic()));
        Ok(answer)
    }
}

impl MeterStore for ValkeyRates {
    type Error = ValkeyError;

    /// Returns `false`: it keeps rates alone.
    fn keeps_allowances(&self) -> bool {
        false
    }

    async fn take(&self, asks: &[Ask]) -> Result<Vec<Grant>, ValkeyError> {
        let rates: Vec<_> = asks.iter().map(|ask| Ok((ask, rate(ask)?))).collect::<Result<_, ValkeyError>>()?;
        let mut grants = Vec::with_capacity(asks.len());
        for rates in rates.chunks(BATCH) {
            let answer = self.run(rates).await?;
            let (now, states) = answer.split_at_checked(2).ok_or(ValkeyError::Answer)?;
            if states.len() != rates.len() * 3 {
                return Err(ValkeyError::Answer);
            }
            let now = nanos(now[0], now[1]);
            for ((ask, rate), state) in rates.iter().zip(states.chunks_exact(3)) {
                grants.push(granted_of_rate(ask, *rate, nanos(state[1], state[2]), now, state[0]));
            }
        }
        Ok(grants)
    }

    /// Does nothing: a rate has no leases.
    async fn give_back(&self, _: &[Return]) -> Result<(), ValkeyError> {
        Ok(())
    }

    /// Returns [`ValkeyError::Allowance`].
    async fn balance(&self, meter: &MeterId) -> Result<Option<Balance>, ValkeyError> {
        Err(ValkeyError::Allowance(meter.to_string()))
    }

    /// Returns [`ValkeyError::Allowance`].
    async fn top_up(&self, meter: &MeterId, _: u64, _: &TopUpId) -> Result<TopUp, ValkeyError> {
        Err(ValkeyError::Allowance(meter.to_string()))
    }
}

/// The URL may have a password.
impl fmt::Debug for ValkeyRates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ValkeyRates").finish_non_exhaustive()
    }
}

async fn connect(client: &Client) -> Result<MultiplexedConnection, RedisError> {
    let config = AsyncConnectionConfig::new().set_connection_timeout(Some(TIMEOUT)).set_response_timeout(Some(TIMEOUT));
    client.get_multiplexed_async_connection_with_config(&config).await
}

fn is_no_script(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}

/// Returns the call of a script, by its text or its hash.
fn call(command: &str, script: &str, rates: &[(&Ask, Gcra)]) -> Cmd {
    let mut call = redis::cmd(command);
    call.arg(script).arg(rates.len() + 1).arg(format!("{PREFIX}since"));
    for (ask, _) in rates {
        call.arg(format!("{PREFIX}{}", ask.meter));
    }
    for (ask, rate) in rates {
        call.arg(&[ask.least.min(32 * MOST), ask.waiting.min(MOST), ask.more.min(MOST)]);
        for time in rate.numbers() {
            call.arg(&[time / BILLION, time % BILLION]);
        }
    }
    call
}

fn rate(ask: &Ask) -> Result<Gcra, ValkeyError> {
    match ask.rule {
        MeterRule::Rate { increment, tolerance } => Ok(Gcra::of(increment, tolerance)),
        MeterRule::Quota { .. } | MeterRule::Credits(_) => Err(ValkeyError::Allowance(ask.meter.to_string())),
    }
}

fn nanos(seconds: u64, nanos: u64) -> u64 {
    seconds.saturating_mul(BILLION).saturating_add(nanos)
}
