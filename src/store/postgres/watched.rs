//! The parts of the schema that must not change while a change feed is open.

use sqlx::{Row, postgres::PgRow};

use crate::key::{Hmac, sha256};

/// The nonce, the key and the triggers.
#[derive(PartialEq)]
pub(super) struct Watched {
    /// The random part of the channel name.
    nonce: String,
    /// The key of the signatures of beats.
    key: String,
    /// The object ids of the triggers, which differ if the table was replaced.
    triggers: String,
}

/// Selects the nonce, the key, and the triggers of the key table. That table must be in the schema
/// of the nonce, since the triggers read the nonce from their own schema.
macro_rules! watched {
    () => {
        "select nonce::text as nonce, beat_key::text as key,
        (select string_agg(trigger.oid::text, ' ' order by trigger.oid) from pg_catalog.pg_trigger as trigger
            join pg_catalog.pg_class as keys on keys.oid = trigger.tgrelid
            join pg_catalog.pg_class as versions on versions.relnamespace = keys.relnamespace
            where keys.oid = to_regclass('api_keys') and versions.oid = to_regclass('api_keys_schema')
            and not keys.relhassubclass and trigger.tgenabled = 'A'
            and trigger.tgname in ('api_keys_tell', 'api_keys_tell_change', 'api_keys_tell_all')
            having count(*) = 3) as triggers
        from api_keys_schema where nonce is not null order by version limit 1"
    };
}
pub(super) use watched;

pub(super) const WATCHED: &str = watched!();

impl Watched {
    /// Reads the row of [`WATCHED`], if there is one.
    pub(super) fn read(row: Option<&PgRow>) -> Result<Self, sqlx::Error> {
        let row = row.ok_or_else(triggers_changed)?;
        let text = |column| row.try_get::<Option<String>, _>(column)?.ok_or_else(triggers_changed);
        Ok(Self { triggers: text("triggers")?, nonce: text("nonce")?, key: text("key")? })
    }

    /// Returns the channel name, which the triggers build in the same way.
    pub(super) fn channel(&self) -> String {
        format!("tower_api_key_{}", self.nonce)
    }

    pub(super) fn signing_key(&self) -> Hmac {
        Hmac::new(self.key.as_bytes())
    }

    /// Returns the number of the advisory lock of the holder.
    #[cfg(feature = "cache")]
    pub(super) fn lock(&self) -> i64 {
        first_number(self.signing_key().digest(&Hmac::padded(b"holder")))
    }

    /// Returns a hash of the triggers, for beats.
    pub(super) fn triggers(&self) -> i64 {
        first_number(sha256(self.triggers.as_bytes()))
    }
}

fn first_number(digest: [u8; 32]) -> i64 {
    let (first, _) = digest.split_first_chunk().expect("32 bytes are more than 8");
    i64::from_be_bytes(*first)
}

pub(super) fn triggers_changed() -> sqlx::Error {
    let why = "the triggers of the change feed are missing, were replaced, or are not `enable always`, the table has child \
        tables, or the nonce of the channel or the key of the heartbeats is missing or was replaced: see \"A stuck change feed\" \
        in the guide";
    sqlx::Error::Configuration(why.into())
}
