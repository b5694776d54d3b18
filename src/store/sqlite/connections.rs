//! The connections to one file: each kind of question has its own, so that none waits for another kind.

use std::{
    path::Path,
    sync::{Arc, OnceLock},
    time::Duration,
};

use sqlx::{
    Connection, Sqlite, SqlitePool,
    pool::PoolConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{sleep, timeout},
};

use super::{
    fault::SqliteFault,
    file::{self, Files},
    migrations::{self, is_busy},
    reserve::{self, Reserve},
};

/// How long a connection, or another process, is waited for.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

const PAUSE: Duration = Duration::from_millis(10);

/// How many look-ups go on at once.
const LOOKUPS: u32 = 4;

/// Lists of as many organizations may wait for the one connection at once.
const LANES: usize = 64;

#[derive(Debug)]
pub(super) struct Connections {
    /// For the keys of requests.
    pub(super) lookups: SqlitePool,
    /// For single keys that are managed.
    pub(super) gets: SqlitePool,
    /// One: a list is long work.
    lists: SqlitePool,
    lanes: [Semaphore; LANES],
    /// One: writers wait for it here, and keep no reader from the file.
    pub(super) writer: SqlitePool,
    /// What may give somebody more takes turns before it waits for the writer: so what takes something away waits for one of them, not for a crowd.
    additions: Semaphore,
    pub(super) files: Arc<Files>,
    pub(super) reserve: Reserve,
}

/// The connection for lists, and the turn of an organization, given back together.
pub(super) struct WriteGuard<'c> {
    pub(super) connection: PoolConnection<Sqlite>,
    _lane: SemaphorePermit<'c>,
}

// === impl Connections ===

impl Connections {
    /// Opens the file, and brings its tables up to date.
    pub(super) async fn open(path: &Path) -> Result<Self, sqlx::Error> {
        // Later connections are to open the same file, whatever the current folder is then.
        let path = std::path::absolute(path)?;
        // What went wrong, SQLite says too: it does not make the file.
        let _ = file::create(&path);
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .journal_mode(SqliteJournalMode::Wal)
            .pragma("wal_autocheckpoint", reserve::LOG_PAGES)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(PATIENCE);
        // Known once the first connection has opened them.
        let opened = Arc::new(OnceLock::<Arc<Files>>::new());
        let (writer, files) = first_connection(&path, &opened, &options).await?;
        let _ = opened.set(Arc::clone(&files));
        let reserve = Reserve::of(&std::fs::canonicalize(&path)?);
        let begun = writer.begin_with("begin immediate").await?;
        // Made again before a key is added.
        let _ = reserve.keep();
        begun.rollback().await?;
        Ok(Self {
            lookups: pool(LOOKUPS, &opened).connect_with(options.clone()).await?,
            gets: pool(1, &opened).connect_lazy_with(options.clone()),
            lists: pool(1, &opened).connect_lazy_with(options),
            lanes: std::array::from_fn(|_| Semaphore::new(1)),
            writer,
            additions: Semaphore::new(1),
            files,
            reserve,
        })
    }

    /// What these connections answer, if they have asked the file that others open too. A new connection to another file is never made:
    /// with the log of this one beside it, that would spoil it.
    pub(super) async fn reading<T>(
        &self,
        reading: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, sqlx::Error> {
        self.files.check()?;
        let read = reading.await;
        self.files.check()?;
        read
    }

    /// The turn of one change that adds something.
    pub(super) async fn addition(&self) -> Result<SemaphorePermit<'_>, sqlx::Error> {
        let turn = timeout(PATIENCE, self.additions.acquire()).await;
        turn.map_err(|_| sqlx::Error::PoolTimedOut)?.map_err(|_| sqlx::Error::PoolClosed)
    }

    pub(super) async fn close(&self) {
        for pool in [&self.lookups, &self.gets, &self.lists, &self.writer] {
            pool.close().await;
        }
    }

    /// The connection for lists, once it is this organization's turn: its lists wait for each other first, so that
    /// another organization waits for one of them at most.
    pub(super) async fn turn(&self, organization: Option<&str>) -> Result<WriteGuard<'_>, sqlx::Error> {
        self.files.check()?;
        let turn = async {
            let lane = &self.lanes[lane(organization)];
            let lane = lane.acquire().await.map_err(|_| sqlx::Error::PoolClosed)?;
            Ok(WriteGuard { connection: self.lists.acquire().await?, _lane: lane })
        };
        timeout(PATIENCE, turn).await.map_err(|_| sqlx::Error::PoolTimedOut)?
    }
}

/// The writer, with the tables up to date, and the files that it has opened: the path led to the same one before and after.
async fn first_connection(
    path: &Path,
    opened: &Arc<OnceLock<Arc<Files>>>,
    options: &SqliteConnectOptions,
) -> Result<(SqlitePool, Arc<Files>), sqlx::Error> {
    // To open a file for writing may replace it once, where one file system lies over another.
    for _ in 0..3 {
        let before = Files::at(path).ok();
        let writer = writer(opened, options).await?;
        migrations::run(&writer).await?;
        let files = Files::at(path)?;
        if before.is_some_and(|before| before.is_file_of(&files)) {
            return Ok((writer, Arc::new(files)));
        }
        writer.close().await;
    }
    Err(SqliteFault::Replaced(path.to_owned()).into())
}

/// While another turns the journal of a new file into a log, SQLite says at once that it is busy: for that alone it does not wait.
async fn writer(opened: &Arc<OnceLock<Arc<Files>>>, options: &SqliteConnectOptions) -> Result<SqlitePool, sqlx::Error> {
    // SQLite itself ends a transaction when the disk is full, say; a connection that has lost count is not used again.
    let pool = pool(1, opened).before_acquire(|connection, _| {
        let in_step = !connection.is_in_transaction();
        Box::pin(async move { Ok(in_step) })
    });
    let mut tries = PATIENCE.as_millis() / PAUSE.as_millis();
    loop {
        match pool.clone().connect_with(options.clone()).await {
            Err(error) if is_busy(&error) && tries > 0 => tries -= 1,
            connected => return connected,
        }
        sleep(PAUSE).await;
    }
}

/// Connections that stay open, so that the system gives the name of the file to no other. Each has opened the file that the first one has.
fn pool(most: u32, opened: &Arc<OnceLock<Arc<Files>>>) -> SqlitePoolOptions {
    let opened = Arc::clone(opened);
    SqlitePoolOptions::new()
        .max_connections(most)
        .acquire_timeout(PATIENCE)
        .idle_timeout(None)
        .max_lifetime(None)
        // It would ask a thread of this process whether it is there.
        .test_before_acquire(false)
        .after_connect(move |_, _| {
            let checked = opened.get().map_or(Ok(()), |files| files.check());
            Box::pin(async move { checked })
        })
}

fn lane(organization: Option<&str>) -> usize {
    let bytes = organization.unwrap_or_default().bytes();
    // FNV-1a. Two organizations in one lane would only wait for each other.
    let hash = bytes.fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    (hash >> 16) as usize % LANES
}
