//! What every command on keys has: the manager of the keys, and the operator.

use std::time::Duration;

use tower_api_key::{KeyManager, KeyRecord, manage::KeyManagerBuilder, store::MemoryStore};

use crate::{
    args::Global,
    config::Config,
    database::{Address, Database, Tables},
    exit::Failure,
    operator::Operator,
    output,
};

/// An open database with its manager.
pub(crate) struct Session {
    pub(crate) manager: KeyManager,
    pub(crate) operator: Operator,
    pub(crate) config: Config,
    pub(crate) database: Database,
    pub(crate) address: Address,
}

// === impl Session ===

impl Session {
    /// Opens the database, whose tables must be up to date.
    pub(crate) async fn open(global: &Global) -> Result<Self, Failure> {
        Self::with_tables(global, Tables::Use).await
    }

    /// Opens the database, and creates or migrates its tables.
    pub(crate) async fn migrate(global: &Global) -> Result<Self, Failure> {
        Self::with_tables(global, Tables::Migrate).await
    }

    async fn with_tables(global: &Global, tables: Tables) -> Result<Self, Failure> {
        let operator = Operator::new(global.operator.clone())?.because(global.reason.clone());
        let config = Config::read(global.config.as_deref())?;
        let address = Address::read(global.database.clone(), &config.database)?;
        if global.has_database_argument() && address.password().is_some() {
            output::note("warning: other users of this machine can see the password in --database: use DATABASE_URL");
        }
        // A wrong configuration is an error before a database is made.
        build(&config, KeyManager::builder(MemoryStore::new()))?;
        let database = address.open(&config.database, tables).await?;
        // The service decides how long events and usage are kept, and how many keys an owner may
        // have. The command has no limits, unless the configuration sets some.
        let builder = database.manager().keep_events(Duration::MAX).usage_interval(Duration::from_hours(1));
        let builder = builder.keys_per_user(u32::MAX).service_accounts_per_organization(u32::MAX);
        // With plans, a mistyped one is an error.
        let limits = config.limits.open(&database)?;
        let builder = limits.into_iter().fold(builder, KeyManagerBuilder::limits);
        let manager = build(&config, builder)?;
        Ok(Self { manager, operator, config, database, address })
    }

    /// Returns a manager in memory with the same settings, and with this key only.
    pub(crate) fn rehearsal(&self, key: Option<KeyRecord>) -> Result<KeyManager, Failure> {
        let store = MemoryStore::new();
        if let Some(key) = key {
            store.add(key).map_err(|error| Failure::Failed(error.to_string()))?;
        }
        build(&self.config, KeyManager::builder(store))
    }

    /// Returns a key by its id, of any organization.
    pub(crate) async fn key(&self, id: &str) -> Result<KeyRecord, Failure> {
        Ok(self.manager.get(&self.operator.actor(None), id).await?)
    }

    /// Closes the database: every change is on disk, and SQLite has merged its log.
    pub(crate) async fn close(self) {
        drop(self.manager);
        self.database.close().await;
    }
}

fn build(config: &Config, builder: KeyManagerBuilder) -> Result<KeyManager, Failure> {
    let builder = config.roles.apply(config.keys.apply(builder)?);
    builder.build().map_err(|error| Failure::Usage(format!("[keys]: {error}")))
}
