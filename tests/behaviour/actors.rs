//! Tests which actors may change which keys.

use std::time::Duration;

use crate::support::{
    Api, bearer,
    registry::{admin, everything, id, reader, text, user},
    t0,
};
use tower_api_key::{
    Author, KeyFormat, Owner, Permissions,
    key::FormatError,
    manage::{Actor, ImportKey, KeyManagerBuilder, ManageError, NewKey, Rotation, UpdateKey},
    store::KeyFilter,
};

const HOUR: Duration = Duration::from_hours(1);

/// Returns the `Debug` form of a manager's error, which names the variant and its values.
fn refusal<T>(done: Result<T, ManageError>) -> String {
    format!("{:?}", done.err().expect("refused"))
}

#[tokio::test]
async fn what_an_actor_may_do_is_looked_up_again_before_each_change() {
    let (api, manager) = Api::managed(|builder| builder);
    let api = api.run();
    let issued = manager.issue(&admin(), NewKey::service_account("admin").permissions(everything())).await.unwrap();
    let then = Actor::from(&api.answer(bearer(text(&issued))).await.principal.unwrap());
    let weaker = Permissions::new().grant("apiKeys", "create").grant("apiKeys", "update");
    manager.edit(&admin(), id(&issued), UpdateKey::new().permissions(weaker)).await.unwrap();
    let beyond = manager.issue(&then, NewKey::service_account("x").grant("links", "read")).await;
    assert!(matches!(beyond, Err(ManageError::Escalation { .. })), "with permissions that it no longer has");
    assert!(matches!(manager.revoke(&then, id(&issued)).await, Err(ManageError::PermissionDenied(_))));
    manager.issue(&then, NewKey::service_account("x")).await.unwrap();
    manager.disable(&admin(), id(&issued)).await.unwrap();
    for refused in [
        manager.issue(&then, NewKey::service_account("x")).await.map(drop),
        manager.edit(&then, id(&issued), UpdateKey::new().enabled(true)).await.map(drop),
        manager.import_digest(&then, [9; 32], NewKey::service_account("x")).await.map(drop),
        manager.regenerate(&then, id(&issued)).await.map(drop),
    ] {
        assert!(matches!(refused, Err(ManageError::ActorInvalid)), "by a disabled key");
    }
}

#[tokio::test]
async fn a_key_in_grace_works_and_looks_but_changes_nothing() {
    let (api, manager) = Api::managed(|builder| builder);
    let api = api.run();
    let leaked = manager.issue(&admin(), NewKey::service_account("admin").permissions(everything())).await.unwrap();
    let heir = manager.rotate(&admin(), id(&leaked), Rotation::grace_period(HOUR)).await.unwrap();
    let principal = api.answer(bearer(text(&leaked))).await.principal.unwrap();
    let actor = Actor::from(&principal);
    assert!(matches!(manager.regenerate(&actor, id(&heir)).await, Err(ManageError::ActorInvalid)));
    assert!(matches!(manager.issue(&actor, NewKey::service_account("x")).await, Err(ManageError::ActorInvalid)));
    assert_eq!(manager.list(&actor, KeyFilter::default()).await.unwrap().records.len(), 2, "it still looks");
    assert!(manager.actor(leaked.record().id()).await.unwrap().is_none(), "its session has ended");
    let heir = Actor::from(&api.answer(bearer(text(&heir))).await.principal.unwrap());
    manager.issue(&heir, NewKey::service_account("x")).await.unwrap();
}

#[tokio::test]
async fn managing_keys_needs_the_permission_for_each_action() {
    let (_, manager) = Api::managed(|builder| builder);
    let issued = manager.issue(&user("alice"), NewKey::user("mine")).await.unwrap();
    let id = id(&issued);
    for allowed in ["none", "create", "read", "update", "delete"] {
        let actor = Actor::trusted(Owner::User("alice".into()), Permissions::new().grant("apiKeys", allowed));
        let actor = actor.in_organization("acme");
        let may_not = |action: &str| format!("PermissionDenied(Action({}))", action[..1].to_uppercase() + &action[1..]);
        for (needed, done) in [
            ("create", manager.issue(&actor, NewKey::service_account("new")).await.map(drop)),
            ("create", manager.import_digest(&actor, [7; 32], NewKey::service_account("new")).await.map(drop)),
            ("read", manager.get(&actor, id).await.map(drop)),
            ("read", manager.list(&actor, KeyFilter::default()).await.map(drop)),
            ("update", manager.edit(&actor, id, UpdateKey::new()).await.map(drop)),
            ("update", manager.disable(&actor, id).await.map(drop)),
            ("update", manager.enable(&actor, id).await.map(drop)),
            ("update", manager.rotate(&actor, "nobody", Rotation::grace_period(HOUR)).await.map(drop)),
            ("update", manager.regenerate(&actor, "nobody").await.map(drop)),
            ("delete", manager.revoke(&actor, "nobody").await.map(drop)),
            ("delete", manager.remove(&actor, "nobody").await.map(drop)),
            ("delete", manager.remove_user_keys(&actor, "nobody").await.map(drop)),
        ] {
            match done {
                Err(error @ ManageError::PermissionDenied(_)) => {
                    assert_ne!(needed, allowed);
                    assert_eq!(format!("{error:?}"), may_not(needed));
                }
                _ => assert_eq!(needed, allowed, "{done:?}"),
            }
        }
    }
}

#[tokio::test]
async fn the_keys_of_another_organization_are_not_there() {
    let (_, manager) = Api::managed(|builder| builder);
    let issued = reader(&manager).await;
    let nowhere = Actor::trusted(Owner::ServiceAccount, everything());
    for stranger in [admin().in_organization("globex"), nowhere] {
        let id = issued.record().id();
        let not_found = format!("NotFound({id:?})");
        assert_eq!(refusal(manager.get(&stranger, id.clone()).await), not_found);
        assert_eq!(refusal(manager.edit(&stranger, id.clone(), UpdateKey::new().name("mine")).await), not_found);
        assert_eq!(refusal(manager.regenerate(&stranger, id.clone()).await), not_found);
        assert_eq!(refusal(manager.rotate(&stranger, id.clone(), Rotation::grace_period(HOUR)).await), not_found);
        assert_eq!(refusal(manager.revoke(&stranger, id.clone()).await), not_found);
        assert_eq!(refusal(manager.remove(&stranger, id.clone()).await), not_found);
        let listed = manager.list(&stranger, KeyFilter::organization("acme")).await.unwrap();
        assert!(listed.records.is_empty(), "a filter returned keys of another organization");
    }
}

#[tokio::test]
async fn only_the_user_replaces_a_users_key_and_nobody_gets_a_key_for_another() {
    let (_, manager) = Api::managed(|builder| builder);
    let mine = manager.issue(&user("alice"), NewKey::user("mine")).await.unwrap();
    for other in [admin(), user("bob")] {
        assert!(matches!(manager.regenerate(&other, id(&mine)).await, Err(ManageError::NotOwner(_))));
        let rotated = manager.rotate(&other, id(&mine), Rotation::grace_period(HOUR)).await;
        assert!(matches!(rotated, Err(ManageError::NotOwner(_))));
        manager.edit(&other, id(&mine), UpdateKey::new().name("seen by an administrator")).await.unwrap();
    }
    assert!(matches!(manager.issue(&admin(), NewKey::user("whose?")).await, Err(ManageError::UserRequired)));
    manager.regenerate(&user("alice"), id(&mine)).await.unwrap();
}

#[tokio::test]
async fn a_principal_of_one_environment_stays_in_it() {
    let live = |builder: tower_api_key::manage::KeyManagerBuilder| {
        builder
            .environment("live", KeyFormat::new("acme_live").unwrap())
            .environment("test", KeyFormat::new("acme_test").unwrap())
    };
    let (api, manager) = Api::managed(live);
    let api = api.run();
    let new = NewKey::service_account("tests").permissions(everything());
    let test = manager.issue(&admin(), new.clone().environment("test")).await.unwrap();
    let live = manager.issue(&admin(), new.environment("live")).await.unwrap();
    assert!(text(&test).starts_with("acme_test_") && text(&live).starts_with("acme_live_"));
    let principal = api.answer(bearer(text(&test))).await.principal.unwrap();
    let actor = Actor::from(&principal);
    assert_eq!((actor.key_id(), actor.organization()), (Some(principal.id()), Some("acme")));
    let elsewhere = manager.issue(&actor, NewKey::service_account("x").environment("live")).await;
    assert!(matches!(elsewhere, Err(ManageError::Environment(name)) if name == "live"));
    let here = manager.issue(&actor, NewKey::service_account("x")).await.unwrap();
    assert_eq!(here.record().environment(), Some("test"));
    assert!(matches!(manager.regenerate(&actor, id(&live)).await, Err(ManageError::NotFound(_))));
    assert_eq!(manager.list(&actor, KeyFilter::default()).await.unwrap().records.len(), 2);
    assert!(manager.list(&actor, KeyFilter::default().environment("live")).await.unwrap().records.is_empty());
    assert!(matches!(manager.remove_user_keys(&actor, "alice").await, Err(ManageError::EnvironmentRestricted)));
    let imported = KeyFormat::new("acme_test").unwrap().generate().unwrap();
    let as_live = manager.import(&admin(), &imported, NewKey::service_account("x").environment("live")).await;
    assert!(
        matches!(as_live, Err(ManageError::Format(FormatError::Mismatch))),
        "a test key was accepted as a live key"
    );
    manager.import(&admin(), &imported, NewKey::service_account("x").environment("test")).await.unwrap();
    let unknown = manager.issue(&admin(), NewKey::service_account("x").environment("staging")).await.unwrap();
    assert!(text(&unknown).starts_with("acme_"), "the plain format is for environments without one of their own");
}

#[tokio::test]
async fn a_session_stands_for_what_its_key_may_do_now() {
    let (api, manager) = Api::managed(|builder| builder);
    let new = NewKey::service_account("admin").permissions(everything()).expires_at(t0() + HOUR);
    let issued = manager.issue(&admin(), new).await.unwrap();
    let id = issued.record().id();
    let actor = manager.actor(id).await.unwrap().unwrap();
    assert_eq!((actor.organization(), actor.key_id()), (Some("acme"), Some(id)));
    manager.edit(&admin(), id.clone(), UpdateKey::new().permissions(Permissions::new())).await.unwrap();
    assert!(manager.actor(id).await.unwrap().unwrap().permissions().is_empty());
    api.clock.set(t0() + HOUR);
    assert!(manager.actor(id).await.unwrap().is_none(), "an expired key");
    api.clock.set(t0());
    manager.revoke(&admin(), id.clone()).await.unwrap();
    assert!(manager.actor(id).await.unwrap().is_none(), "a revoked key");
    assert!(manager.actor(&"nobody".into()).await.unwrap().is_none());
}

#[tokio::test]
async fn an_operator_is_the_author_of_what_a_trusted_actor_changes() {
    let (api, manager) = Api::managed(KeyManagerBuilder::accept_any_format);
    let ada = Some(Author::User("ada".into()));
    let alice = Actor::trusted(Owner::User("alice".into()), everything()).by_operator("ada");
    let issued = manager.issue(&alice, NewKey::user("laptop").permissions(everything())).await.unwrap();
    let author = issued.record().created_by().cloned();
    assert_eq!((issued.record().owner(), &author), (Some(&Owner::User("alice".into())), &ada));
    let revoked = manager.revoke(&alice, id(&issued)).await.unwrap();
    assert_eq!(revoked.revoked_by(), ada.as_ref());
    let of_bob = || vec![ImportKey::digest([7; 32], NewKey::user("old")).owner(Owner::User("bob".into()))];
    let foreign = manager.import_many(&alice, of_bob()).await.unwrap();
    assert!(matches!(foreign[..], [Err(ManageError::ForeignOwner)]), "she is still a user");
    let service = Actor::trusted(Owner::ServiceAccount, everything()).by_operator("ada");
    let imported = manager.import_many(&service, of_bob()).await.unwrap().remove(0).unwrap();
    assert_eq!((imported.owner(), imported.created_by()), (Some(&Owner::User("bob".into())), ada.as_ref()));
    let text_as_name = service.by_operator("51FwqftsmMDHHbJAMEXXHCgG");
    let key = "51FwqftsmMDHHbJAMEXXHCgG".parse().unwrap();
    let shown = manager.import(&text_as_name, &key, NewKey::service_account("old")).await;
    assert!(matches!(shown, Err(ManageError::KeyShown)), "the name of an operator is shown");
    let held = manager.issue(&admin(), NewKey::service_account("x").permissions(everything())).await.unwrap();
    let principal = api.run().answer(bearer(text(&held))).await.principal.unwrap();
    assert_eq!(Actor::from(&principal).by_operator("ada").author(), Author::Key(id(&held).into()));
}
