//! The manager of the keys, its plans, and the first keys.

use std::{error::Error, path::Path, time::Duration};

use tower_api_key::{
    KeyFormat, KeyManager, Mask, Owner, Permissions,
    limit::{Limit, Limits, Plans, Quota, Rate},
    manage::{Actor, Issued, ManageError, NewKey},
    store::SqliteStore,
};

pub(crate) const ORGANIZATION: &str = "acme";
const RESOURCES: [&str; 4] = ["links", "stats", "webhooks", "apiKeys"];
const ACTIONS: [&str; 4] = ["create", "read", "update", "delete"];

/// Returns a manager of the keys in the file `database`, and the limits that it keeps there too.
pub(crate) async fn manager(database: &Path) -> Result<(KeyManager, Limits), Box<dyn Error>> {
    let store = SqliteStore::open(database).await?;
    let limits = Limits::leased(plans(), store.clone()).build()?;
    let manager = KeyManager::builder(store)
        .format(KeyFormat::new("acme")?)
        .mask(Mask::LastFour)
        .usage_interval(Duration::from_secs(1))
        .limits(limits.clone())
        .on_event(|event| eprintln!("{:?} {} by {}", event.kind(), event.key_id(), event.author()))
        .build()?;
    Ok((manager, limits))
}

/// The key of a member has the plan `free`. The keys that it issues have its plan, and share its
/// limits.
fn plans() -> Plans {
    Plans::new()
        .plan(
            "free",
            [Limit::rate("burst", Rate::per_second(10).burst(20)), Limit::quota("daily", Quota::per_day(10_000))],
        )
        .plan("team", [Limit::rate("burst", Rate::per_second(1_000)), Limit::quota("daily", Quota::per_day(1_000_000))])
        .plan("prepaid", [Limit::rate("burst", Rate::per_second(10)), Limit::credits("calls")])
        .default_plan("team")
}

/// Issues an administrator key at the first start, and the keys that the arguments request. There
/// is no default key.
pub(crate) async fn first_keys(
    manager: &KeyManager,
    arguments: &[String],
) -> Result<Vec<(String, Issued)>, ManageError> {
    let first = manager.bootstrap(&administrator(), new_admin()).await?;
    let mut keys: Vec<_> = first.into_iter().map(|admin| ("admin".to_owned(), admin)).collect();
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--new-admin-key" if keys.is_empty() => {
                keys.push(("admin".to_owned(), manager.issue(&administrator(), new_admin()).await?));
            }
            "--new-member-key" => {
                let name = arguments.next().map_or("member", String::as_str);
                keys.push((name.to_owned(), member_key(manager, name).await?));
            }
            _ => {}
        }
    }
    Ok(keys)
}

/// Issues a key for a member to sign in with. Only an operator, who acts across organizations, sets
/// the plan.
async fn member_key(manager: &KeyManager, name: &str) -> Result<Issued, ManageError> {
    let own_keys = ACTIONS.map(|action| ("apiKeys", action));
    let may: Permissions = own_keys.into_iter().chain([("links", "read"), ("stats", "read")]).collect();
    let member = Actor::trusted(Owner::User(name.to_owned()), may.clone()).in_organization(ORGANIZATION);
    let key = NewKey::user("Member").permissions(may).plan("free");
    manager.issue(&member.own_keys_only().across_organizations(), key).await
}

/// The user `admin` manages the keys of the whole organization, and so do service accounts, whose
/// keys only administrators can create. Other users manage their own keys.
pub(crate) fn is_administrator(actor: &Actor) -> bool {
    !matches!(actor.owner(), Some(Owner::User(user)) if user != "admin")
}

fn administrator() -> Actor {
    Actor::trusted(Owner::User("admin".to_owned()), everything()).in_organization(ORGANIZATION)
}

fn new_admin() -> NewKey {
    NewKey::user("Administrator").permissions(everything())
}

fn everything() -> Permissions {
    let all = RESOURCES.into_iter().flat_map(|resource| ACTIONS.map(|action| (resource, action)));
    all.chain([("credits", "create")]).collect()
}
