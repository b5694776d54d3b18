//! Who may give a role: an actor that may do what the role grants.

use tower_api_key::{
    KeyFormat, KeyManager, Owner,
    manage::{Actor, Issued, ManageError, NewKey, Rotation, UpdateKey},
};

use super::*;
use crate::support::{Api, bearer};

/// A manager of the organization `acme` with the roles `viewer` (read links), `editor` (read and
/// delete them) and `keeper` (manage keys, read links).
fn managed() -> (RoleTable, KeyManager) {
    let table = RoleTable::with("viewer", links(&["read"]));
    table.set("editor", Some("acme"), links(&["read", "delete"]));
    table.set("keeper", Some("acme"), Permissions::all_of("apiKeys").grant("links", "read"));
    let source = LiveRoles::asked_each_time(table.clone());
    let (_, manager) = Api::managed(|builder| builder.roles(source));
    (table, manager)
}

/// A user who manages keys and has these permissions on links.
fn user(actions: &[&'static str]) -> Actor {
    let permissions = links(actions)
        .into_iter()
        .fold(Permissions::all_of("apiKeys"), |all, (resource, action)| all.grant(resource, action));
    Actor::trusted(Owner::User("alice".into()), permissions).in_organization("acme")
}

fn bot(roles: &[&'static str]) -> NewKey {
    NewKey::service_account("bot").roles(roles.to_vec())
}

async fn issued(manager: &KeyManager, roles: &[&'static str]) -> Issued {
    manager.issue(&user(&["read", "delete"]), bot(roles)).await.unwrap()
}

fn is_escalation<T>(result: &Result<T, ManageError>) -> bool {
    matches!(result, Err(ManageError::Escalation { resource, action, .. }) if resource == "links" && action.as_str() == "delete")
}

#[tokio::test]
async fn an_actor_gives_only_roles_whose_permissions_it_has() {
    let (_, manager) = managed();
    let reader = user(&["read"]);
    let key = manager.issue(&reader, bot(&["viewer", "keeper"])).await.unwrap();
    assert_eq!(key.record().roles().collect::<Vec<_>>(), ["keeper", "viewer"]);
    assert!(key.record().permissions().is_empty(), "the record has the name, not the permissions");
    assert!(is_escalation(&manager.issue(&reader, bot(&["viewer", "editor"])).await));
    let imported = KeyFormat::new("acme").unwrap().generate().unwrap();
    assert!(is_escalation(&manager.import(&reader, &imported, bot(&["editor"])).await));
    let id = key.record().id().clone();
    assert!(is_escalation(&manager.edit(&reader, id.clone(), UpdateKey::new().roles(["editor"])).await));
    let edited = manager.edit(&user(&["read", "delete"]), id.clone(), UpdateKey::new().roles(["editor"])).await;
    assert_eq!(edited.unwrap().roles().collect::<Vec<_>>(), ["editor"]);
    let cleared = manager.edit(&reader, id, UpdateKey::new().roles::<String>([])).await.unwrap();
    assert_eq!(cleared.roles().count(), 0);
}

/// In the union, a `*` without wildcards is left out; the record keeps it.
#[tokio::test]
async fn a_role_hides_no_permission_of_the_key_itself() {
    let (table, manager) = managed();
    table.set("viewer", Some("acme"), links(&["read"]).with_wildcards());
    let new = bot(&["viewer"]).grant("*", "delete");
    let refused = manager.issue(&user(&["read"]), new).await;
    assert!(matches!(&refused, Err(ManageError::Escalation { resource, .. }) if resource == "*"), "{refused:?}");
}

#[tokio::test]
async fn a_role_that_does_not_exist_is_named() {
    let (_, manager) = managed();
    let refused = manager.issue(&user(&["read"]), bot(&["viewer", "veiwer"])).await.unwrap_err();
    assert!(matches!(&refused, ManageError::UnknownRole(role) if role == "veiwer"), "{refused:?}");
    assert_eq!(refused.status(), 422);
    let (_, without) = Api::managed(|builder| builder);
    let refused = without.issue(&user(&["read"]), bot(&["viewer"])).await;
    assert!(matches!(refused, Err(ManageError::UnknownRole(_))), "{refused:?}");
}

#[tokio::test]
async fn names_of_roles_have_a_form_and_a_number() {
    let (table, manager) = managed();
    let names: Vec<String> = (0..17).map(|number| format!("role-{number}")).collect();
    for name in &names {
        table.set(name, Some("acme"), Permissions::new());
    }
    manager.issue(&user(&[]), NewKey::service_account("bot").roles(names[..16].to_vec())).await.unwrap();
    let long = "r".repeat(65);
    for roles in [names.as_slice(), &[String::new()], &["a b".to_owned()], &["r\u{f6}le".to_owned()], &[long]] {
        let refused = manager.issue(&user(&[]), NewKey::service_account("bot").roles(roles.to_vec())).await;
        assert!(matches!(refused, Err(ManageError::RoleName)), "{roles:?}");
        let key = issued(&manager, &[]).await;
        let refused = manager.edit(&user(&[]), key.record().id().clone(), UpdateKey::new().roles(roles.to_vec())).await;
        assert!(matches!(refused, Err(ManageError::RoleName)), "{roles:?}");
    }
}

/// What is given with a key is what it may do, also by a role that it had before.
#[tokio::test]
async fn who_changes_or_replaces_a_key_must_have_what_its_roles_grant() {
    let (_, manager) = managed();
    let key = issued(&manager, &["editor"]).await;
    let id = || key.record().id().clone();
    let reader = user(&["read"]);
    assert!(is_escalation(&manager.edit(&reader, id(), UpdateKey::new().name("renamed")).await));
    assert!(is_escalation(&manager.regenerate(&reader, id()).await));
    assert!(is_escalation(&manager.rotate(&reader, id(), Rotation::grace_period(Duration::from_hours(1))).await));
    manager.disable(&reader, id()).await.unwrap();
    assert!(is_escalation(&manager.enable(&reader, id()).await));
    let whole = user(&["read", "delete"]);
    manager.enable(&whole, id()).await.unwrap();
    let successor = manager.regenerate(&whole, id()).await.unwrap();
    assert_eq!(successor.record().roles().collect::<Vec<_>>(), ["editor"]);
}

#[tokio::test]
async fn the_roles_of_an_actors_key_count_and_a_changed_role_does_at_once() {
    let (table, manager) = managed();
    let key = issued(&manager, &["keeper"]).await;
    let layer = manager.layer().build().unwrap();
    let actor = Actor::from(&layer.authenticate(&bearer(key.key().expose())).await.unwrap());
    manager.issue(&actor, bot(&["viewer"])).await.unwrap();
    assert!(is_escalation(&manager.issue(&actor, bot(&["editor"])).await));
    let own = key.record().id().clone();
    manager.edit(&actor, own.clone(), UpdateKey::new().name("renamed by itself")).await.unwrap();
    assert!(is_escalation(&manager.edit(&actor, own.clone(), UpdateKey::new().roles(["keeper", "editor"])).await));
    table.set("keeper", Some("acme"), links(&["read"]));
    let refused = manager.issue(&actor, bot(&[])).await;
    assert!(matches!(refused, Err(ManageError::PermissionDenied(_))), "{refused:?}");
    // An actor that was read before a promotion keeps the bound of its principal.
    table.set("keeper", Some("acme"), Permissions::all_of("apiKeys").grant("links", "delete"));
    let refused = manager.issue(&actor, bot(&["editor"])).await;
    assert!(matches!(refused, Err(ManageError::Escalation { .. })), "{refused:?}");
}

#[tokio::test]
async fn while_the_source_fails_a_key_can_be_disabled_and_revoked_and_gets_no_role() {
    let (table, manager) = managed();
    let key = issued(&manager, &["viewer"]).await;
    let other = issued(&manager, &["viewer"]).await;
    table.answer(Mode::Fails);
    let failed = manager.issue(&user(&["read"]), bot(&["viewer"])).await.unwrap_err();
    assert_eq!(failed.status(), 503, "{failed:?}");
    let edit = UpdateKey::new().name("renamed");
    assert_eq!(manager.edit(&user(&["read"]), key.record().id().clone(), edit).await.unwrap_err().status(), 503);
    manager.issue(&user(&["read"]), bot(&[])).await.unwrap();
    manager.disable(&user(&[]), key.record().id().clone()).await.unwrap();
    manager.revoke(&user(&[]), other.record().id().clone()).await.unwrap();
}
