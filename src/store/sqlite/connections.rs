//! The connections to one file. Each kind of operation has its own, so no kind waits for another.

use std::{
    path::Path,
    sync::{Arc, OnceLock},
    time::Duration,
};

use sqlx::{
    Connection, Sqlite, SqlitePool,
    pool::PoolConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteLockingMode, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::{
    sync::{Mutex, MutexGuard, Semaphore, SemaphorePermit},
    time::{sleep, timeout},
};

use super::{
    fault::SqliteFault,
    file::{self, Files},
    migrations::{self, is_busy},
    reserve::{self, Reserve},
};
use crate::{clock::Stopwatch, store::tables::Tables};

/// How long an operation waits for a connection, or for another process.
pub(super) const OPERATION_TIMEOUT: Duration = Duration::from_secs(5);

const PAUSE: Duration = Duration::from_millis(10);

/// The longest pause of a list that has waited for another one.
const LIST_PAUSE: Duration = Duration::from_millis(20);

/// The number of concurrent lookups.
const LOOKUPS: u32 = 4;

/// The number of organizations that may wait for the one connection at the same time.
const QUEUES: usize = 64;

#[derive(Debug)]
pub(super) struct Connections {
    /// Reads keys for requests.
    pub(super) lookups: SqlitePool,
    /// Reads single keys for management.
    pub(super) gets: SqlitePool,
    /// One connection for lists, which take long.
    lists: SqlitePool,
    /// How long the last page of a list took. Its holder uses the connection.
    last_page: Mutex<Duration>,
    queues: [Semaphore; QUEUES],
    /// One connection: writers wait for it in this process and block no reader of the file.
    pub(super) writer: SqlitePool,
    /// Held by changes that may add access while they wait for the writer. So a change that takes
    /// access away waits for one of them at most.
    additions: Semaphore,
    pub(super) files: Arc<Files>,
    pub(super) reserve: Reserve,
    pub(super) tables: Tables,
    /// The meter after which the next search for rates that are full begins.
    #[cfg(feature = "limits")]
    pub(super) swept_meters: std::sync::Mutex<String>,
}

/// The connection for lists and the permit of an organization, released together.
pub(super) struct ListTurn<'c> {
    pub(super) connection: PoolConnection<Sqlite>,
    _queue: SemaphorePermit<'c>,
    stopwatch: Stopwatch,
    last_page: MutexGuard<'c, Duration>,
}

// === impl Connections ===

impl Connections {
    /// Opens the file, and runs the migrations or checks that none is left to run.
    pub(super) async fn open(
        options: SqliteConnectOptions,
        tables: Tables,
        migrates: bool,
    ) -> Result<Self, sqlx::Error> {
        // Later connections must open the same file even if the working directory changes.
        let path = std::path::absolute(options.get_filename())?;
        let options = options
            .filename(&path)
            .in_memory(false)
            .shared_cache(false)
            .immutable(false)
            .read_only(false)
            .create_if_missing(false);
        if migrates {
            // If this fails, SQLite reports an error too, as it does not create the file.
            let _ = file::create(&path);
        }
        migrations::refuse_foreign_file(&options, &tables).await?;
        let options = options
            .locking_mode(SqliteLockingMode::Normal)
            .journal_mode(SqliteJournalMode::Wal)
            .pragma("wal_autocheckpoint", reserve::LOG_PAGES)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(OPERATION_TIMEOUT);
        // Set once the first connection has opened the files.
        let opened = Arc::new(OnceLock::<Arc<Files>>::new());
        let (writer, files) = first_connection(&path, &opened, &options, &tables, migrates).await?;
        let _ = opened.set(Arc::clone(&files));
        let reserve = Reserve::of(&std::fs::canonicalize(&path)?);
        let begun = writer.begin_with("begin immediate").await?;
        // An error does not matter here: `keep` is called again before a key is added.
        let _ = reserve.keep();
        begun.rollback().await?;
        Ok(Self {
            lookups: pool(LOOKUPS, &opened).connect_with(options.clone()).await?,
            gets: pool(1, &opened).connect_lazy_with(options.clone()),
            lists: pool(1, &opened).connect_lazy_with(options),
            last_page: Mutex::default(),
            queues: std::array::from_fn(|_| Semaphore::new(1)),
            writer,
            additions: Semaphore::new(1),
            files,
            reserve,
            tables,
            #[cfg(feature = "limits")]
            swept_meters: std::sync::Mutex::default(),
        })
    }

    /// Runs a read and fails if the path no longer leads to the file that was opened.
    ///
    /// The store never opens another file under the same path. SQLite would apply the log of the
    /// first file to it and corrupt it.
    pub(super) async fn reading<T>(
        &self,
        reading: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, sqlx::Error> {
        self.files.check()?;
        let read = reading.await;
        self.files.check()?;
        read
    }

    /// Waits for the permit of a change that may add access.
    pub(super) async fn addition(&self) -> Result<SemaphorePermit<'_>, sqlx::Error> {
        let turn = timeout(OPERATION_TIMEOUT, self.additions.acquire()).await;
        turn.map_err(|_| sqlx::Error::PoolTimedOut)?.map_err(|_| sqlx::Error::PoolClosed)
    }

    pub(super) async fn close(&self) {
        for pool in [&self.lookups, &self.gets, &self.lists, &self.writer] {
            pool.close().await;
        }
    }

    /// Acquires the connection for lists. Lists of one organization queue for its permit first, so
    /// another organization waits for one of them at most.
    ///
    /// A list that has waited for another one then pauses as long as that one took, at most
    /// [`LIST_PAUSE`]. So key checks run between many lists.
    pub(super) async fn turn(&self, organization: Option<&str>) -> Result<ListTurn<'_>, sqlx::Error> {
        self.files.check()?;
        let turn = async {
            let queue = &self.queues[queue(organization)];
            let waits = queue.available_permits() == 0 || self.last_page.try_lock().is_err();
            let queue = queue.acquire().await.map_err(|_| sqlx::Error::PoolClosed)?;
            let last_page = self.last_page.lock().await;
            if waits {
                sleep(LIST_PAUSE.min(*last_page)).await;
            }
            let connection = self.lists.acquire().await?;
            Ok(ListTurn { connection, _queue: queue, stopwatch: Stopwatch::start(), last_page })
        };
        timeout(OPERATION_TIMEOUT, turn).await.map_err(|_| sqlx::Error::PoolTimedOut)?
    }
}

impl Drop for ListTurn<'_> {
    fn drop(&mut self) {
        *self.last_page = self.stopwatch.elapsed();
    }
}

/// Opens the writer, and runs or checks the migrations. Returns the writer and the files that it
/// has opened. It fails unless the path leads to the same file before and after.
async fn first_connection(
    path: &Path,
    opened: &Arc<OnceLock<Arc<Files>>>,
    options: &SqliteConnectOptions,
    tables: &Tables,
    migrates: bool,
) -> Result<(SqlitePool, Arc<Files>), sqlx::Error> {
    // On an overlay file system, opening a file for writing may replace it once.
    for _ in 0..3 {
        let before = Files::at(path).ok();
        let writer = writer(opened, options).await?;
        if migrates {
            migrations::run(&writer, tables).await?;
        } else {
            migrations::check(&writer, tables).await?;
        }
        let files = Files::at(path)?;
        if before.is_some_and(|before| before.is_file_of(&files)) {
            return Ok((writer, Arc::new(files)));
        }
        writer.close().await;
    }
    Err(SqliteFault::Replaced(path.to_owned()).into())
}

/// Opens the writer and retries while SQLite is busy. While another connection switches a new file
/// to WAL mode, SQLite fails at once, without the busy timeout.
async fn writer(opened: &Arc<OnceLock<Arc<Files>>>, options: &SqliteConnectOptions) -> Result<SqlitePool, sqlx::Error> {
    // SQLite itself rolls back a transaction on some errors, such as a full disk. A connection
    // with a mismatched transaction depth is not used again.
    let pool = pool(1, opened).before_acquire(|connection, _| {
        let in_step = !connection.is_in_transaction();
        Box::pin(async move { Ok(in_step) })
    });
    let mut tries = OPERATION_TIMEOUT.as_millis() / PAUSE.as_millis();
    loop {
        match pool.clone().connect_with(options.clone()).await {
            Err(error) if is_busy(&error) && tries > 0 => tries -= 1,
            connected => return connected,
        }
        sleep(PAUSE).await;
    }
}

/// Returns a pool of connections that stay open, so that the system does not reuse the identity of
/// the file. Each connection must have opened the file of the first one.
fn pool(most: u32, opened: &Arc<OnceLock<Arc<Files>>>) -> SqlitePoolOptions {
    let opened = Arc::clone(opened);
    SqlitePoolOptions::new()
        .max_connections(most)
        .acquire_timeout(OPERATION_TIMEOUT)
        .idle_timeout(None)
        .max_lifetime(None)
        // The ping would only reach the connection's worker thread in this process.
        .test_before_acquire(false)
        .after_connect(move |_, _| {
            let checked = opened.get().map_or(Ok(()), |files| files.check());
            Box::pin(async move { checked })
        })
}

fn queue(organization: Option<&str>) -> usize {
    let bytes = organization.unwrap_or_default().bytes();
    // FNV-1a. Two organizations with the same hash only wait for each other.
    let hash = bytes.fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    (hash >> 16) as usize % QUEUES
}
