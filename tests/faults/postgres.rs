//! S2, S5, S6: the lists of one tenant, timing, and a channel that other roles know.
//!
//! To print the figures: `cargo test --release --all-features --test faults postgres::figures --
//! --ignored --nocapture --test-threads 1`.

mod change_feed;
mod figures;
mod lists;
mod searches;

use tower_api_key::{Owner, store::KeyFilter};

use crate::postgres_server::Database;

/// Inserts `count` rows of an organization. `set` overrides columns of an active key of a service
/// account.
async fn fill(database: &Database, organization: &str, count: u32, set: &str) {
    let rows = format!(
        "insert into api_keys (id, digest, version, status, owner_type, user_id, organization, environment, permissions, wildcards, metadata, use_count)
         select '{organization}-' || lpad(n::text, 8, '0'), sha256(('{organization}' || n)::bytea), 0, s.status, s.owner_type, s.user_id,
            '{organization}', s.environment, '{{\"links\": [\"read\"]}}', false, '[]', 0
         from generate_series(1, {count}) as n, lateral (select {set}) as s"
    );
    // Notifies once, as an import does. The triggers belong to the tables; another test covers the
    // notifications.
    database.sql(&format!("begin; alter table api_keys disable trigger user; {rows}; {ENABLE}; commit")).await;
}

pub(super) const ENABLE: &str = "alter table api_keys enable always trigger api_keys_tell;
    alter table api_keys enable always trigger api_keys_tell_change;
    alter table api_keys enable always trigger api_keys_tell_all;
    alter table api_keys enable always trigger api_keys_version";

/// Returns every combination of list conditions.
fn filters(organization: Option<&str>) -> Vec<KeyFilter> {
    let mut filters = Vec::new();
    for number in 0..24_u8 {
        let mut filter = KeyFilter::default().limit(20);
        filter.organization = organization.map(str::to_owned);
        filter.revoked = number & 1 > 0;
        if number & 2 > 0 {
            filter = filter.environment("live");
        }
        if number & 4 > 0 {
            filter = filter.after("big-00000500");
        }
        filters.push(match number / 8 {
            0 => filter,
            1 => filter.owner(Owner::ServiceAccount),
            _ => filter.owner(Owner::User("alice".into())),
        });
    }
    filters
}

const REVOKED_BOTS: &str = "'revoked' as status, 'bot' as owner_type, null::text as user_id, case when n % 2 = 0 then 'live' end as environment";

/// The tables of version 1, with two keys.
async fn of_version_1(database: &Database) {
    database.sql(include_str!("../../src/store/postgres/1.sql")).await;
    let versions = "create table api_keys_schema (version bigint primary key, works_with bigint not null);
        insert into api_keys_schema values (1, 1)";
    database.sql(versions).await;
    for (byte, id) in [(1, "k"), (2, "old")] {
        let row = format!(
            "insert into api_keys values ('{id}', decode(repeat('{byte:02x}', 32), 'hex'), 0, 'active', 'user', 'alice', 'acme', null, null,
                null, '{{}}', false, '[]', null, null, null, null, null, null, 0)"
        );
        database.sql(&row).await;
    }
}

/// The channel, as seen by a role that may read the table.
async fn channel(database: &Database) -> String {
    let mut session = database.session().await;
    let name = "select 'tower_api_key_' || nonce from api_keys_schema where nonce is not null";
    sqlx::query_scalar(name).fetch_one(&mut session).await.unwrap()
}
