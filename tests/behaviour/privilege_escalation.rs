//! Tests privilege escalation: no key gets more than its issuer has.

use crate::support::{
    Api,
    registry::{admin, everything as all},
};
use proptest::{collection::vec, prelude::*, sample::select};
use tower_api_key::{
    ApiKey, KeyManager, KeyRecord, Owner, Permissions,
    manage::{Actor, ImportKey, KeyManagerBuilder, ManageError, NewKey, Rotation, UpdateKey},
};

const RESOURCES: [&str; 6] = ["links", "stats", "apiKeys", "*", "links:1", "links:*"];
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
    let resources = RESOURCES.into_iter().chain(["unthought of", "links:2", "links:1:2", "linksx:1", "*:1"]);
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

/// Every set of at most two grants, with and without wildcards, against every other.
#[test]
fn a_set_covers_another_exactly_if_it_allows_all_of_it() {
    let resources = ["a", "a:1", "a:*", "*", "*:*"];
    let grants: Vec<_> = resources.into_iter().flat_map(|name| [(name, "read"), (name, "*")]).collect();
    let pairs = grants.iter().flat_map(|one| grants.iter().map(move |other| vec![*one, *other]));
    let literal = pairs.chain([Vec::new()]).map(Permissions::from_iter);
    let sets: Vec<Permissions> = literal.flat_map(|set| [set.clone(), set.with_wildcards()]).collect();
    let names = ["a", "a:1", "a:2", "a:*", "a:1:2", "a:", "b", "b:1", "b:*", "*", "*:1", "*:*"];
    let asked: Vec<_> =
        names.into_iter().flat_map(|name| ["read", "update", "*"].map(|action| (name, action))).collect();
    let allowed =
        |set: &Permissions| -> Vec<bool> { asked.iter().map(|(name, action)| set.allows(name, *action)).collect() };
    let tables: Vec<Vec<bool>> = sets.iter().map(allowed).collect();
    for (maker, may) in sets.iter().zip(&tables) {
        for (key, may_too) in sets.iter().zip(&tables) {
            let holds_no_more = may.iter().zip(may_too).all(|(maker, key)| *maker || !key);
            assert_eq!(maker.is_superset(key), holds_no_more, "{maker:?} and {key:?}");
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

/// Returns a key of the organization that may manage keys, its actor, and the key's plain text.
async fn limited_maker(manager: &KeyManager) -> (KeyRecord, Actor) {
    let new = NewKey::service_account("maker").permissions(all()).plan("free").limit("daily", 5).limit("burst", None);
    let maker = manager.issue(&admin(), new).await.unwrap().record().clone();
    let actor = manager.actor(maker.id()).await.unwrap().unwrap();
    (maker, actor)
}

#[tokio::test]
async fn a_maker_for_one_project_makes_no_key_for_another_or_for_all() {
    let (_, manager) = Api::managed(|builder| builder);
    let refused = async |actor: &Actor, asked: Permissions| {
        let issued = manager.issue(actor, NewKey::user("new").permissions(asked)).await;
        match issued {
            Ok(_) => None,
            Err(ManageError::Escalation { resource, .. }) => Some(resource),
            Err(error) => panic!("{error}"),
        }
    };
    let one = manages(Permissions::new().grant("project:1", "read"));
    let wild = |resource: &str| Permissions::new().grant(resource, "read").with_wildcards();
    let literal = |resource: &str| Permissions::new().grant(resource, "read");
    assert_eq!(refused(&one, literal("project:1")).await, None);
    for asked in [literal("project"), literal("project:2"), literal("project:*"), wild("project:*"), wild("*")] {
        let resource = asked.iter().next().unwrap().0.to_owned();
        assert_eq!(refused(&one, asked).await, Some(resource));
    }
    let all = manages(wild("project:*"));
    for asked in [literal("project:1"), literal("project:*"), wild("project:*")] {
        assert_eq!(refused(&all, asked).await, None);
    }
    assert_eq!(refused(&all, literal("project")).await.as_deref(), Some("project"));
    assert_eq!(refused(&all, literal("projects:1")).await.as_deref(), Some("projects:1"));
    // Without wildcards, the name of all instances is a name like any other.
    let by_name = manages(literal("project:*"));
    assert_eq!(refused(&by_name, literal("project:*")).await, None);
    assert_eq!(refused(&by_name, literal("project:1")).await.as_deref(), Some("project:1"));
    assert_eq!(refused(&by_name, wild("project:*")).await.as_deref(), Some("project:*"));
}

#[tokio::test]
async fn a_read_only_key_has_the_reads_of_its_maker() {
    let (_, manager) = Api::managed(|builder| builder);
    let actor = manages(Permissions::all_of("links").grant("project:*", "*").with_wildcards());
    let new = NewKey::user("viewer").permissions(actor.permissions().clone().read_only());
    let key = manager.issue(&actor, new).await.unwrap().record().permissions().clone();
    assert!(key.allows("links", "read") && key.allows("project:7", "read") && key.allows("apiKeys", "read"));
    assert!(!key.allows("links", "update") && !key.allows("project:7", "export") && !key.allows("apiKeys", "create"));
}

#[tokio::test]
async fn a_key_that_another_key_made_has_the_limits_and_the_meter_of_its_maker() {
    let (_, manager) = Api::managed(KeyManagerBuilder::accept_any_format);
    let (maker, actor) = limited_maker(&manager).await;
    let new = || NewKey::service_account("made");
    let text: ApiKey = "51FwqftsmMDHHbJAMEXXHCgG".parse().unwrap();
    let mut made = vec![
        manager.issue(&actor, new()).await.unwrap().record().clone(),
        manager.prepare_issue(&actor, new()).await.unwrap().record().clone(),
        manager.import(&actor, &text, new()).await.unwrap(),
        manager.import_digest(&actor, [7; 32], new()).await.unwrap(),
    ];
    made.extend(manager.import_many(&actor, vec![ImportKey::digest([8; 32], new())]).await.unwrap().remove(0));
    // What a made key makes, and what replaces one, counts on the same meter.
    let new = NewKey::service_account("maker").permissions(all());
    let second = manager.issue(&actor, new.clone()).await.unwrap();
    let second = manager.actor(second.record().id()).await.unwrap().unwrap();
    made.push(manager.issue(&second, new).await.unwrap().record().clone());
    made.push(manager.regenerate(&actor, made[0].id().clone()).await.unwrap().record().clone());
    let own = manager.regenerate(&actor, maker.id().clone()).await.unwrap().record().clone();
    let actor = manager.actor(own.id()).await.unwrap().unwrap();
    made.push(manager.issue(&actor, NewKey::service_account("made")).await.unwrap().record().clone());
    for made in [vec![own], made].concat() {
        let limits: Vec<_> = made.limits().collect();
        assert_eq!((made.plan(), made.meter()), (Some("free"), maker.id()));
        assert_eq!(limits, [("burst", None), ("daily", Some(5))]);
    }
}

/// The service itself, an operator of it, and no other actor.
#[tokio::test]
async fn only_an_operator_sets_a_plan_limits_or_a_meter() {
    let (_, manager) = Api::managed(|builder| builder);
    let (_, with_key) = limited_maker(&manager).await;
    let new = NewKey::service_account("target").plan("free").limit("daily", 5).limit("burst", None);
    let target = manager.issue(&admin(), new).await.unwrap().record().id().clone();
    let user = || Actor::trusted(Owner::User("alice".into()), all()).in_organization("acme");
    for (actor, may) in [
        (admin(), true),
        (user().across_organizations(), true),
        (user(), false),
        (user().own_keys_only(), false),
        (with_key.clone(), false),
        (with_key.own_keys_only(), false),
    ] {
        let is_refused = |error: Option<ManageError>| match error {
            None => false,
            Some(ManageError::OperatorRequired) => true,
            Some(error) => panic!("{actor:?}: {error}"),
        };
        let is_user = matches!(actor.owner(), Some(Owner::User(_)));
        let new = || if is_user { NewKey::user("x") } else { NewKey::service_account("x") };
        let can_issue = is_user || !actor.is_own_keys_only();
        for new in [new().plan("pro"), new().limit("daily", None), new().meter("fresh")] {
            let issued = manager.issue(&actor, new.clone()).await;
            assert!(!can_issue || is_refused(issued.err()) != may, "{actor:?}: {new:?}");
        }
        let own = manager.issue(&actor, new()).await.ok().map(|issued| issued.record().id().clone());
        let own = own.unwrap_or_else(|| actor.key_id().unwrap().clone());
        let target = if actor.is_own_keys_only() { &own } else { &target };
        for edit in [
            UpdateKey::new().plan("pro"),
            UpdateKey::new().remove_plan(),
            UpdateKey::new().limit("daily", 6),
            UpdateKey::new().limit("daily", 4),
            UpdateKey::new().remove_limit("burst"),
            UpdateKey::new().clear_limits(),
            UpdateKey::new().name("renamed").clear_limits(),
            UpdateKey::new().enabled(false).clear_limits(),
        ] {
            let before = manager.get(&admin(), target.clone()).await.unwrap();
            let edited = manager.edit(&actor, target.clone(), edit.clone()).await;
            assert!(is_refused(edited.err()) != may, "{actor:?}: {edit:?}");
            let after = manager.get(&admin(), target.clone()).await.unwrap();
            assert!(may || before == after, "{actor:?}: {edit:?}");
        }
    }
    let confined = manager.issue(&admin().own_keys_only(), NewKey::service_account("x").plan("pro")).await;
    assert!(confined.is_err(), "{confined:?}");
}
