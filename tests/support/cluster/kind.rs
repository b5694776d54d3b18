//! What can be taken from a key while it is in use, so that its requests must be rejected.

use std::error::Error;

use sqlx::PgPool;
use tower_api_key::{
    KeyManager, KeyRecord, Owner, Permissions,
    address::Network,
    manage::{Actor, UpdateKey},
    token::{TokenSecret, Tokens},
};

use super::Database;

/// To add a kind, add a variant: the compiler lists what is missing. A kind with a source of its
/// own also needs its table in [`TABLES`], and its setting of the layer in `node.rs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The key is revoked.
    Revoked,
    /// The owner may only read from now on.
    Demoted,
    /// The owner may do nothing from now on.
    Blocked,
    /// The list of allowed addresses loses that of the callers.
    Moved,
    /// The role of the key may only read from now on.
    RoleCut,
    /// The callers send a token, and its key is revoked.
    TokenRevoked,
}

/// The tables of the application. In `members`, a row says what the owner of a key may do; in
/// `roles`, what a role grants.
pub const TABLES: &str = "create table members (id text primary key, role text not null)";
pub const ROLES: &str = "create table roles (name text primary key, action text not null)";

/// The tokens that the nodes accept.
pub fn tokens() -> Tokens {
    Tokens::new("acme_tok", TokenSecret::new(&[7; 32]).unwrap()).unwrap()
}

/// From where the callers send their requests, by the header of the proxy.
pub const CLIENT: &str = "192.0.2.7";
const OFFICE: [&str; 2] = ["192.0.2.0/24", "198.51.100.0/24"];

// === impl Kind ===

impl Kind {
    pub const ALL: [Self; 6] =
        [Self::Revoked, Self::Demoted, Self::Blocked, Self::Moved, Self::RoleCut, Self::TokenRevoked];

    /// How the summary names the changes.
    pub fn changes(self) -> &'static str {
        match self {
            Self::Revoked => "revocations",
            Self::Demoted => "demotions",
            Self::Blocked => "blocked owners",
            Self::Moved => "cut address lists",
            Self::RoleCut => "edited roles",
            Self::TokenRevoked => "tokens of revoked keys",
        }
    }

    /// The status of a request after the change.
    pub fn refusal(self) -> u16 {
        match self {
            Self::Revoked | Self::Blocked | Self::TokenRevoked => 401,
            Self::Demoted | Self::Moved | Self::RoleCut => 403,
        }
    }

    /// Completes the record of a key, and inserts what the application knows of its owner.
    pub async fn prepare(self, record: KeyRecord, application: &PgPool) -> KeyRecord {
        match self {
            Self::Revoked | Self::TokenRevoked => record,
            Self::RoleCut => {
                let id = record.id().as_str().to_owned();
                let insert = sqlx::query("insert into roles values ($1, 'write')").bind(&id);
                insert.execute(application).await.unwrap();
                record.with_permissions(Permissions::new()).with_roles([id])
            }
            Self::Demoted | Self::Blocked => {
                let id = record.id().as_str().to_owned();
                let insert = sqlx::query("insert into members values ($1, 'editor')").bind(&id);
                insert.execute(application).await.unwrap();
                record.with_owner(Owner::User(id))
            }
            Self::Moved => record.with_allowed_addresses(Network::list(OFFICE).unwrap()),
        }
    }

    /// Tries once to make the change, in a separate transaction. Calls `sending` just before its
    /// COMMIT is sent, unless an earlier one succeeded, although its confirmation was lost.
    pub async fn change(
        self,
        id: &str,
        database: &Database,
        sending: impl FnOnce(),
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        let statement = match self {
            Self::Revoked | Self::TokenRevoked => {
                "update api_keys set status = 'revoked' where id = $1 and status <> 'revoked'"
            }
            Self::Demoted => "update members set role = 'reader' where id = $1 and role <> 'reader'",
            Self::Blocked => "update members set role = 'blocked' where id = $1 and role <> 'blocked'",
            Self::RoleCut => "update roles set action = 'read' where name = $1 and action <> 'read'",
            Self::Moved => return cut_addresses(id, &database.manager, sending).await,
        };
        let mut change = database.pool.begin().await?;
        if sqlx::query(statement).bind(id).execute(&mut *change).await?.rows_affected() == 1 {
            sending();
        }
        Ok(change.commit().await?)
    }
}

async fn cut_addresses(
    id: &str,
    manager: &KeyManager,
    sending: impl FnOnce(),
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let edit = Permissions::new().grant("apiKeys", "read").grant("apiKeys", "update").grant("stats", "write");
    let actor = Actor::trusted(Owner::ServiceAccount, edit);
    let rest = Network::list([OFFICE[1]])?;
    if manager.get(&actor, id).await?.allowed_addresses() != Some(&*rest) {
        sending();
        manager.edit(&actor, id, UpdateKey::new().allowed_addresses(rest)).await?;
    }
    Ok(())
}
