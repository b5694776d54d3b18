//! The rights of the actor's owner, for calls of a manager.

use tower_api_key::{
    KeyFormat, KeyManager, Reason,
    manage::{Actor, ManageError, NewKey, UpdateKey},
    store::MemoryStore,
};

use super::*;
use crate::support::{
    bearer,
    registry::{everything, user},
};

fn managed(members: &Members) -> KeyManager {
    let format = KeyFormat::new("acme").unwrap();
    let builder = KeyManager::builder(MemoryStore::new()).format(format);
    builder.owner_rights(LiveRights::asked_each_time(members.clone())).build().unwrap()
}

/// A user's key that may do everything, and its actor.
async fn alices_key(manager: &KeyManager) -> (String, Actor) {
    let issued = manager.issue(&user("alice"), NewKey::user("laptop").permissions(everything())).await.unwrap();
    let actor = manager.actor(issued.record().id()).await.unwrap().unwrap();
    (issued.key().expose().to_owned(), actor)
}

#[tokio::test]
async fn a_demoted_actor_issues_no_key_with_what_it_has_lost() {
    let members = Members::default();
    let manager = managed(&members);
    let (_, actor) = alices_key(&manager).await;
    let new = |actions: &[&'static str]| NewKey::user("other").permissions(links(actions));
    manager.issue(&actor, new(&["read", "delete"])).await.unwrap();
    let own = Permissions::all_of("apiKeys");
    members.set_alice(Rights::Only(own.clone().grant("links", "read")));
    let refused = manager.issue(&actor, new(&["read", "delete"])).await;
    assert!(matches!(refused, Err(ManageError::Escalation { .. })), "{refused:?}");
    let issued = manager.issue(&actor, new(&["read"])).await.unwrap();
    let edit = UpdateKey::new().permissions(links(&["delete"]));
    let refused = manager.edit(&actor, issued.record().id().clone(), edit).await;
    assert!(matches!(refused, Err(ManageError::Escalation { .. })), "{refused:?}");
    members.set_alice(Rights::Only(links(&["read"])));
    let refused = manager.issue(&actor, new(&["read"])).await;
    assert!(matches!(refused, Err(ManageError::PermissionDenied(_))), "{refused:?}");
    // The stored permissions have not changed, so a promotion gives them back.
    members.set_alice(Rights::All);
    manager.issue(&actor, new(&["delete"])).await.unwrap();
}

#[tokio::test]
async fn a_blocked_actor_changes_nothing_and_a_source_that_fails_is_503() {
    let members = Members::default();
    let manager = managed(&members);
    let (_, actor) = alices_key(&manager).await;
    members.set_alice(Rights::Blocked);
    let refused = manager.issue(&actor, NewKey::user("other")).await;
    assert!(matches!(refused, Err(ManageError::ActorInvalid)), "{refused:?}");
    assert!(manager.actor(actor.key_id().unwrap()).await.unwrap().is_none(), "a session of a blocked user ends");
    members.answer(Mode::Fails);
    let failed = manager.issue(&actor, NewKey::user("other")).await.unwrap_err();
    assert_eq!(failed.status(), 503, "{failed:?}");
    // An actor without a key has what the application gives it.
    manager.issue(&user("alice"), NewKey::user("third")).await.unwrap();
}

/// Where only a layer has the rights, an actor of its principal is bounded by them too.
#[tokio::test]
async fn an_actor_of_a_principal_has_no_more_than_the_principal() {
    let members = Members::default();
    let format = KeyFormat::new("acme").unwrap();
    let manager = KeyManager::builder(MemoryStore::new()).format(format).build().unwrap();
    let (text, _) = alices_key(&manager).await;
    let rights = LiveRights::asked_each_time(members.clone());
    let layer = manager.layer().owner_rights(rights).build().unwrap();
    members.set_alice(Rights::Only(Permissions::all_of("apiKeys").grant("links", "read")));
    let actor = Actor::from(&layer.authenticate(&bearer(&text)).await.unwrap());
    let new = |actions: &[&'static str]| NewKey::user("other").permissions(links(actions));
    manager.issue(&actor, new(&["read"])).await.unwrap();
    let refused = manager.issue(&actor, new(&["delete"])).await;
    assert!(matches!(refused, Err(ManageError::Escalation { .. })), "{refused:?}");
    members.set_alice(Rights::Only(Permissions::new()));
    let actor = Actor::from(&layer.authenticate(&bearer(&text)).await.unwrap());
    let refused = manager.issue(&actor, new(&[])).await;
    assert!(matches!(refused, Err(ManageError::PermissionDenied(_))), "{refused:?}");
}

#[tokio::test]
async fn a_holder_sees_and_revokes_its_key_while_the_source_fails() {
    let members = Members::default();
    let manager = managed(&members);
    let (_, actor) = alices_key(&manager).await;
    members.answer(Mode::Fails);
    manager.own_key(&actor).await.unwrap();
    let revoked = manager.revoke_self(&actor).await.unwrap();
    assert_eq!(revoked.status(), tower_api_key::Status::Revoked);
}

/// The successor is narrowed as much.
#[tokio::test]
async fn a_demoted_owner_can_replace_and_rename_its_own_key() {
    let members = Members::default();
    let manager = managed(&members);
    let (_, actor) = alices_key(&manager).await;
    members.set_alice(Rights::Only(everything().remove("links", "delete")));
    let own = actor.key_id().unwrap().clone();
    manager.edit(&actor, own.clone(), UpdateKey::new().name("renamed")).await.unwrap();
    let wider = UpdateKey::new().permissions(everything().grant("links", "archive"));
    let refused = manager.edit(&actor, own.clone(), wider).await;
    assert!(matches!(refused, Err(ManageError::Escalation { .. })), "{refused:?}");
    let issued = manager.regenerate(&actor, own).await.unwrap();
    assert_eq!(issued.record().permissions(), &everything());
    let other = manager.issue(&user("alice"), NewKey::user("other").permissions(everything())).await.unwrap();
    let actor = manager.actor(issued.record().id()).await.unwrap().unwrap();
    let refused = manager.regenerate(&actor, other.record().id()).await;
    assert!(matches!(refused, Err(ManageError::Escalation { .. })), "{refused:?}");
}

#[tokio::test]
async fn the_layers_of_a_manager_narrow_keys_too() {
    let members = Members::default();
    let manager = managed(&members);
    let (text, _) = alices_key(&manager).await;
    let layer = manager.layer().build().unwrap();
    let may_delete = async || layer.authenticate(&bearer(&text)).await.is_ok_and(|key| key.allows("links", "delete"));
    assert!(may_delete().await);
    members.set_alice(Rights::Only(links(&["read"])));
    assert!(!may_delete().await);
    members.set_alice(Rights::Blocked);
    let rejected = layer.authenticate(&bearer(&text)).await.map(drop).map_err(|rejection| rejection.reason());
    assert_eq!(rejected, Err(Reason::OwnerBlocked));
}
