//! The database with its cache, the limits, and the manager of the keys.

use tower_api_key::{
    ApiKeyLayer, ClientAddress, KeyManager, layer::ApiKeyLayerBuilder, limit::Limits, manage::KeyManagerBuilder,
    store::CachedStore,
};

use crate::{
    config::{Config, RouteTable},
    database::{Address, Database, Tables},
    exit::Failure,
};

/// What all routers share.
pub(super) struct Service {
    pub(super) manager: KeyManager,
    /// The layer in front of the management API and the verification: it requires a key.
    pub(super) layer: ApiKeyLayer,
    /// The layer whose keys gateways and the verification ask about. It lets requests without a key
    /// pass to open routes; the guard rejects them on all others.
    pub(super) asked: ApiKeyLayer,
    database: Database,
    limits: Option<Limits>,
}

// === impl Service ===

impl Service {
    /// Opens the database, and creates its tables if `creates_tables`.
    pub(super) async fn open(config: &Config, address: &Address, creates_tables: bool) -> Result<Self, Failure> {
        let tables = if creates_tables { Tables::Migrate } else { Tables::Use };
        let database = address.open(&config.database, tables).await?;
        let limits = config.limits.open(&database)?;
        let builder = cached_manager(&database)?;
        let mut builder = config.keys.apply(builder)?;
        if !config.roles.is_empty() {
            builder = config.roles.apply(builder);
        }
        builder = limits.iter().fold(builder, |builder, limits| builder.limits(limits.clone()));
        let manager = builder.build().map_err(|error| Failure::Usage(format!("[keys]: {error}")))?;
        let layer = build(config, manager.layer())?;
        let has_open_routes = config.serve.routes.as_ref().is_some_and(RouteTable::has_open_routes);
        let asked = if has_open_routes { build(config, manager.layer().optional())? } else { layer.clone() };
        Ok(Self { manager, layer, asked, database, limits })
    }

    /// Writes what is only in memory: uses of keys, and units of limits that were not spent.
    pub(super) async fn close(self) -> Result<(), Failure> {
        let Self { manager, layer: _, asked: _, database, limits } = self;
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

fn build(config: &Config, mut layer: ApiKeyLayerBuilder) -> Result<ApiKeyLayer, Failure> {
    let wrong = |error| Failure::Usage(format!("[serve]: {error}"));
    if !config.serve.trusted_proxies.is_empty() {
        let proxies = config.serve.trusted_proxies.iter().map(ToString::to_string);
        layer = layer.client_address(ClientAddress::behind(proxies).x_forwarded_for().map_err(wrong)?);
    }
    layer.build().map_err(wrong)
}
