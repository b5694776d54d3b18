//! The database with its cache, the limits, and the manager of the keys.

use tower_api_key::{
    ApiKeyLayer, ClientAddress, KeyManager, limit::Limits, manage::KeyManagerBuilder, store::CachedStore,
};

use crate::{
    config::Config,
    database::{Address, Database, Tables},
    exit::Failure,
};

/// What all routers share.
pub(super) struct Service {
    pub(super) manager: KeyManager,
    /// The layer in front of the management API, and of the answers for gateways.
    pub(super) layer: ApiKeyLayer,
    database: Database,
    limits: Option<Limits>,
}

// === impl Service ===

impl Service {
    /// Opens the database, and creates its tables if `creates_tables`.
    pub(super) async fn open(config: &Config, address: &Address, creates_tables: bool) -> Result<Self, Failure> {
        let tables = if creates_tables { Tables::Migrate } else { Tables::Use };
        let database = address.open(&config.database, tables).await?;
        let limits = limits(config, &database)?;
        let builder = cached_manager(&database)?;
        let mut builder = config.keys.apply(builder)?;
        if !config.roles.is_empty() {
            builder = config.roles.apply(builder);
        }
        builder = limits.iter().fold(builder, |builder, limits| builder.limits(limits.clone()));
        let manager = builder.build().map_err(|error| Failure::Usage(format!("[keys]: {error}")))?;
        let layer = layer(config, &manager)?;
        Ok(Self { manager, layer, database, limits })
    }

    /// Writes what is only in memory: uses of keys, and units of limits that were not spent.
    pub(super) async fn close(self) -> Result<(), Failure> {
        let Self { manager, layer: _, database, limits } = self;
        let flushed = manager.flush().await;
        let returned = match &limits {
            Some(limits) => limits.flush().await,
            None => Ok(()),
        };
        drop(manager);
        database.close().await;
        flushed?;
        returned.map_err(|error| Failure::Database(format!("the units of limits were not given back: {error}")))
    }
}

fn limits(config: &Config, database: &Database) -> Result<Option<Limits>, Failure> {
    let Some(plans) = config.limits.plans() else { return Ok(None) };
    let leased = match database {
        Database::Sqlite(store) => Limits::leased(plans, store.clone()),
        Database::Postgres(store) => Limits::leased(plans, store.clone()),
    };
    leased.build().map(Some).map_err(|error| Failure::Usage(format!("[limits]: {error}")))
}

/// Begins a manager. A lookup in PostgreSQL is cached, for at most a second without a proof that
/// the key has not changed; one in SQLite is a read of a file.
fn cached_manager(database: &Database) -> Result<KeyManagerBuilder, Failure> {
    match database {
        Database::Sqlite(_) => Ok(database.manager()),
        Database::Postgres(store) => {
            let cached = CachedStore::builder(store.clone(), store.change_feed()).build();
            let cached = cached.map_err(|error| Failure::Usage(format!("the cache: {error}")))?;
            Ok(KeyManager::builder(cached))
        }
    }
}

fn layer(config: &Config, manager: &KeyManager) -> Result<ApiKeyLayer, Failure> {
    let wrong = |error| Failure::Usage(format!("[serve]: {error}"));
    let mut layer = manager.layer();
    if !config.serve.trusted_proxies.is_empty() {
        let proxies = config.serve.trusted_proxies.iter().map(ToString::to_string);
        layer = layer.client_address(ClientAddress::behind(proxies).x_forwarded_for().map_err(wrong)?);
    }
    layer.build().map_err(wrong)
}
