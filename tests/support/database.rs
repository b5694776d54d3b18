//! A database with a change feed, under paused time. It can be slow, fail or hang; the feed can
//! lag, become silent or break.
#![allow(dead_code, unreachable_pub, reason = "every test file uses a part of it")]

use std::{
    collections::HashMap,
    future::pending,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};
use tower_api_key::{
    KeyDigest, KeyRecord, KeyStore, Lookup, Status,
    store::{BoxError, CacheError, CachedStore, ChangeFeed, Invalidation},
};

/// Clones are the same database.
#[derive(Clone)]
pub struct Database(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// Incremented by every commit and every fault.
    news: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    records: HashMap<KeyDigest, KeyRecord>,
    /// The commits, with their times.
    log: Vec<(Instant, Invalidation)>,
    lookups: u64,
    latency: Duration,
    store: Store,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Store {
    #[default]
    Answers,
    Fails,
    Hangs,
}

/// One node's change feed. Clones share it.
#[derive(Clone)]
pub struct Channel {
    database: Database,
    state: Arc<Mutex<Line>>,
    read: usize,
    connection: Option<u64>,
}

#[derive(Default)]
struct Line {
    lag: Duration,
    is_silent: bool,
    is_down: bool,
    /// Connections before this one are closed.
    oldest: u64,
    connections: u64,
}

// === impl Database ===

impl Database {
    pub fn new() -> Self {
        Self(Arc::new(Shared { state: Mutex::default(), news: watch::Sender::new(0) }))
    }

    /// Commits a record and replaces the one with its digest.
    pub fn commit(&self, record: KeyRecord) {
        let digest = *record.digest();
        self.state().records.insert(digest, record);
        self.announce(digest);
    }

    pub fn remove(&self, digest: &KeyDigest) {
        self.state().records.remove(digest);
        self.announce(*digest);
    }

    /// The number of lookups.
    pub fn lookups(&self) -> u64 {
        self.state().lookups
    }

    /// Sets the latency of a lookup, which reads the data in the middle.
    pub fn set_latency(&self, latency: Duration) {
        self.state().latency = latency;
    }

    pub fn set(&self, store: Store) {
        self.state().store = store;
        self.0.news.send_modify(|news| *news += 1);
    }

    pub fn channel(&self) -> Channel {
        Channel { database: self.clone(), state: Arc::default(), read: 0, connection: None }
    }

    fn announce(&self, digest: KeyDigest) {
        self.state().log.push((Instant::now(), Invalidation::Digest(digest)));
        self.0.news.send_modify(|news| *news += 1);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap()
    }
}

impl KeyStore for Database {
    type Error = BoxError;

    async fn find(&self, digest: &KeyDigest) -> Result<Option<KeyRecord>, BoxError> {
        let latency = {
            let mut state = self.state();
            state.lookups += 1;
            state.latency
        };
        if !latency.is_zero() {
            sleep(latency / 2).await;
        }
        let (store, found) = {
            let state = self.state();
            (state.store, state.records.get(digest).cloned())
        };
        if !latency.is_zero() {
            sleep(latency / 2).await;
        }
        match store {
            Store::Answers => Ok(found),
            Store::Fails => Err("the database is down".into()),
            Store::Hangs => pending().await,
        }
    }
}

// === impl Channel ===

impl Channel {
    /// Sets the delay of changes and heartbeats.
    pub fn set_lag(&self, lag: Duration) {
        self.edit(|line| line.lag = lag);
    }

    /// Sets whether the feed is silent: no change arrives, and there is no error.
    pub fn set_silent(&self, is_silent: bool) {
        self.edit(|line| line.is_silent = is_silent);
    }

    /// Breaks the connection.
    pub fn terminate(&self) {
        self.edit(|line| line.oldest = line.connections + 1);
    }

    /// Sets whether a new connection can be opened. The old one breaks.
    pub fn set_down(&self, is_down: bool) {
        self.edit(|line| {
            line.is_down = is_down;
            line.oldest = line.connections + 1;
        });
    }

    fn edit(&self, edit: impl FnOnce(&mut Line)) {
        edit(&mut self.state.lock().unwrap());
        self.database.0.news.send_modify(|news| *news += 1);
    }

    /// Returns the lag, and whether the feed is silent, of an open connection.
    fn line(&self) -> Result<(Duration, bool), BoxError> {
        let line = self.state.lock().unwrap();
        match self.connection {
            Some(connection) if connection >= line.oldest => Ok((line.lag, line.is_silent)),
            _ => Err("the connection is lost".into()),
        }
    }

    /// Returns the next change that has not arrived yet.
    fn unread(&self) -> Option<(Instant, Invalidation)> {
        self.database.state().log.get(self.read).copied()
    }
}

impl ChangeFeed for Channel {
    type Error = BoxError;

    async fn subscribe(&mut self) -> Result<(), BoxError> {
        let (is_down, is_silent) = {
            let line = self.state.lock().unwrap();
            (line.is_down, line.is_silent)
        };
        if is_down {
            return Err("no receiver".into());
        }
        if is_silent {
            pending::<()>().await;
        }
        let mut line = self.state.lock().unwrap();
        line.connections += 1;
        self.connection = Some(line.connections);
        drop(line);
        self.read = self.database.state().log.len();
        Ok(())
    }

    async fn next(&mut self) -> Result<Invalidation, BoxError> {
        let mut news = self.database.0.news.subscribe();
        loop {
            let (lag, is_silent) = self.line()?;
            match self.unread() {
                Some((committed, change)) if !is_silent => {
                    if committed + lag <= Instant::now() {
                        self.read += 1;
                        return Ok(change);
                    }
                    tokio::select! {
                        () = sleep_until(committed + lag) => {}
                        _ = news.changed() => {}
                    }
                }
                _ => drop(news.changed().await),
            }
        }
    }

    async fn heartbeat(&mut self) -> Result<Vec<Invalidation>, BoxError> {
        let mut news = self.database.0.news.subscribe();
        let (lag, _) = self.line()?;
        if !lag.is_zero() {
            sleep(lag / 2).await;
        }
        let end = self.database.state().log.len();
        let back = Instant::now() + lag;
        loop {
            let (_, is_silent) = self.line()?;
            if !is_silent && Instant::now() >= back {
                break;
            }
            if is_silent {
                drop(news.changed().await);
            } else {
                tokio::select! {
                    () = sleep_until(back) => {}
                    _ = news.changed() => {}
                }
            }
        }
        let told = self.database.state().log[self.read..end].iter().map(|(_, change)| *change).collect();
        self.read = end;
        Ok(told)
    }
}

// === a node over it ===

pub fn digest(first: u8) -> KeyDigest {
    [first; 32].into()
}

pub fn record(first: u8) -> KeyRecord {
    KeyRecord::new(format!("k{first}"), [first; 32])
}

/// Returns a node over a database with the keys 1 and 2, which follows its changes.
pub async fn node() -> (Database, Channel, CachedStore<Database>) {
    let database = Database::new();
    database.commit(record(1));
    database.commit(record(2));
    let channel = database.channel();
    let node = CachedStore::builder(database.clone(), channel.clone()).build().unwrap();
    // Lookups are spread in time for one lease after a start.
    sleep(Duration::from_millis(1001)).await;
    assert!(node.status().is_following);
    (database, channel, node)
}

/// Looks up as the layer does: synchronously if possible.
pub async fn ask(node: &CachedStore<Database>, key: u8) -> Result<Option<KeyRecord>, CacheError> {
    match node.try_find(&digest(key)) {
        Lookup::Found(record) => Ok(Some(record)),
        Lookup::Absent => Ok(None),
        Lookup::Pending => node.find(&digest(key)).await,
    }
}

pub async fn is_accepted(node: &CachedStore<Database>, key: u8) -> bool {
    ask(node, key).await.unwrap().is_some_and(|record| record.status() == Status::Active)
}

pub fn is_in_memory(node: &CachedStore<Database>, key: u8) -> bool {
    matches!(node.try_find(&digest(key)), Lookup::Found(_))
}
