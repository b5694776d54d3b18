//! Tests privilege escalation: no key gets more than its issuer has.

use crate::support::{Api, registry::admin};
use proptest::{collection::vec, prelude::*, sample::select};
use tower_api_key::{
    KeyManager, Owner, Permissions,
    manage::{Actor, NewKey, Rotation, UpdateKey},
};

const RESOURCES: [&str; 4] = ["links", "stats", "apiKeys", "*"];
const ACTIONS: [&str; 6] = ["create", "read", "update", "delete", "archive", "*"];

/// Any permissions over a few names, including `*`, with and without wildcards.
fn permissions() -> impl Strategy<Value = Permissions> {
    let grant = (select(&RESOURCES[..]), select(&ACTIONS[..]));
    (vec(grant, 0..8), any::<bool>()).prop_map(|(grants, wildcards)| {
        let permissions: Permissions = grants.into_iter().collect();
        if wildcards { permissions.with_wildcards() } else { permissions }
    })
}

/// An actor that may manage keys and has these permissions.
fn manages(permissions: Permissions) -> Actor {
    let actions = ["create", "read", "update", "delete"].into_iter();
    let permissions = actions.fold(permissions, |all, action| all.grant("apiKeys", action));
    Actor::trusted(Owner::User("alice".into()), permissions).in_organization("acme")
}

/// Names that were requested, and names that were not.
fn everything() -> impl Iterator<Item = (&'static str, &'static str)> {
    let resources = RESOURCES.into_iter().chain(["unthought of"]);
    resources.flat_map(|resource| ACTIONS.into_iter().chain(["invent"]).map(move |action| (resource, action)))
}

fn holds_more(key: &Permissions, maker: &Permissions) -> Option<(&'static str, &'static str)> {
    everything().find(|(resource, action)| key.allows(resource, *action) && !maker.allows(resource, *action))
}

proptest! {
    #[test]
    fn what_is_covered_allows_nothing_more(maker in permissions(), key in permissions()) {
        if maker.is_superset(&key) {
            prop_assert_eq!(holds_more(&key, &maker), None);
        } else {
            // Every missing permission has a grant that the issuer lacks, or a `*` that means more
            // there.
            let lacks = key.iter().flat_map(|(resource, actions)| actions.iter().map(move |action| (resource, action)));
            let means_more = key.has_wildcards() && !maker.has_wildcards();
            prop_assert!(means_more || lacks.into_iter().any(|(resource, action)| !maker.allows(resource, action)));
        }
        prop_assert!(maker.is_superset(&maker) && maker.is_superset(&Permissions::new()));
    }

    #[test]
    fn a_new_or_edited_key_never_holds_what_its_actor_lacks(
        actor in permissions(),
        first in permissions(),
        asked in permissions(),
        change in 0..6,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let held = runtime.block_on(changed(manages(actor.clone()), first, asked, change));
        let actor = manages(actor);
        if let Some(held) = held {
            prop_assert_eq!(holds_more(&held, actor.permissions()), None);
        }
    }
}

/// Returns the permissions of a key after the actor issued or changed it; none if the change was
/// rejected.
async fn changed(actor: Actor, first: Permissions, asked: Permissions, change: i32) -> Option<Permissions> {
    let (_, manager) = Api::managed(|builder| builder);
    if change == 0 {
        let issued = manager.issue(&actor, NewKey::user("new").permissions(asked)).await.ok()?;
        return Some(issued.record().permissions().clone());
    }
    let id = key_of_another(&manager, first).await;
    let record = match change {
        1 => manager.edit(&actor, id, UpdateKey::new().permissions(asked)).await.ok()?,
        2 => manager.edit(&actor, id, UpdateKey::new().name("renamed")).await.ok()?,
        3 => manager.enable(&actor, id).await.ok()?,
        4 => manager.regenerate(&actor, id).await.ok()?.record().clone(),
        _ => {
            let rotation = Rotation::grace_period(std::time::Duration::from_hours(1));
            manager.rotate(&actor, id, rotation).await.ok()?.record().clone()
        }
    };
    Some(record.permissions().clone())
}

/// Returns a service account's key with these permissions, issued by an actor that has them.
async fn key_of_another(manager: &KeyManager, permissions: Permissions) -> String {
    let maker = manages(permissions.clone());
    let issued = manager.issue(&maker, NewKey::service_account("another's").permissions(permissions)).await.unwrap();
    assert!(manager.get(&admin(), issued.record().id().clone()).await.is_ok());
    issued.record().id().to_string()
}
