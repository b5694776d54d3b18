//! All keys are replaced one at a time, and each new text is handed out once.

use std::{collections::HashSet, time::Duration};

use tower_api_key::{
    KeyManager, Permissions,
    manage::{ImportKey, ManageError, NewKey, Rotation},
    store::KeyFilter,
};

use crate::support::{
    Api,
    registry::{admin, everything, id, text, user},
    t0,
};

fn one_hour() -> Rotation {
    Rotation::grace_period(Duration::from_hours(1))
}

async fn replaced(manager: &KeyManager) -> usize {
    let page = manager.list(&admin(), KeyFilter::default().with_revoked().limit(1_000)).await.unwrap();
    page.records.iter().filter(|record| record.replaced_by().is_some()).count()
}

#[tokio::test]
async fn each_key_is_replaced_when_it_is_pulled_and_the_rest_stay() {
    let (_, manager) = Api::managed(|builder| builder);
    // Ids of another system, which sort around those of new keys.
    for number in 0..120_u8 {
        let new = NewKey::service_account("x").grant("links", "read");
        let id = format!("{}{number}", if number % 2 == 0 { "a" } else { "z" });
        manager
            .import_many(&admin(), vec![ImportKey::digest([number; 32], new).id(id)])
            .await
            .unwrap()
            .remove(0)
            .unwrap();
    }
    let revoked = manager.issue(&admin(), NewKey::service_account("revoked")).await.unwrap();
    manager.revoke(&admin(), id(&revoked)).await.unwrap();
    let mut replacements =
        manager.replace_all(&admin(), KeyFilter::default().with_revoked(), one_hour()).await.unwrap();
    assert_eq!(replaced(&manager).await, 0, "nothing is pulled yet");
    for pulled in 1..=3 {
        replacements.next().await.unwrap().unwrap();
        assert_eq!(replaced(&manager).await, pulled);
    }
    drop(replacements);
    let mut replacements = manager.replace_all(&admin(), KeyFilter::default(), one_hour()).await.unwrap();
    let mut texts = HashSet::new();
    while let Some(next) = replacements.next().await {
        let issued = next.unwrap();
        assert!(texts.insert(text(&issued).to_owned()), "a text is handed out once");
        assert!(issued.record().replaces().is_some());
        let old = manager.get(&admin(), issued.record().replaces().unwrap().clone()).await.unwrap();
        assert_eq!(old.expires_at(), Some(t0() + Duration::from_hours(1)));
    }
    // The three new keys of the first run are replaced again.
    assert_eq!((texts.len(), replaced(&manager).await), (120, 123));
    assert!(replacements.next().await.is_none());
}

#[tokio::test]
async fn keys_of_other_users_are_refused_in_the_sequence_and_the_own_key_is_last() {
    let (_, manager) = Api::managed(|builder| builder);
    let bob = manager.issue(&user("bob"), NewKey::user("x")).await.unwrap();
    let new = NewKey::user("own").permissions(everything());
    let own = manager.issue(&user("alice"), new).await.unwrap();
    let bot = manager.issue(&admin(), NewKey::service_account("x")).await.unwrap();
    let strong = NewKey::service_account("strong").grant("stats", "read");
    let strong_admin = tower_api_key::manage::Actor::trusted(
        tower_api_key::Owner::ServiceAccount,
        everything().grant("stats", "read"),
    );
    let strong = manager.issue(&strong_admin.in_organization("acme"), strong).await.unwrap();
    let alice = manager.actor(own.record().id()).await.unwrap().unwrap();
    let mut replacements = manager.replace_all(&alice, KeyFilter::default(), one_hour()).await.unwrap();
    let mut order = Vec::new();
    while let Some(next) = replacements.next().await {
        match next {
            Ok(issued) => order.push(issued.record().replaces().unwrap().to_string()),
            Err(refused) if refused.id.as_ref() == Some(bob.record().id()) => {
                assert!(matches!(refused.error, ManageError::NotOwner(_)));
            }
            Err(refused) => {
                assert_eq!(refused.id.as_ref(), Some(strong.record().id()));
                assert!(matches!(refused.error, ManageError::Escalation { .. }));
            }
        }
    }
    assert_eq!(order, [id(&bot), id(&own)]);
}

#[tokio::test]
async fn it_needs_the_permissions_before_the_first_key() {
    let (api, manager) = Api::managed(|builder| builder);
    manager.issue(&admin(), NewKey::service_account("x")).await.unwrap();
    for left_out in ["read", "update"] {
        let actions = ["create", "read", "update", "delete"].into_iter().filter(|action| *action != left_out);
        let permissions = actions.fold(Permissions::new(), |all, action| all.grant("apiKeys", action));
        let actor = tower_api_key::manage::Actor::trusted(tower_api_key::Owner::ServiceAccount, permissions);
        let refused = manager.replace_all(&actor.in_organization("acme"), KeyFilter::default(), one_hour()).await;
        assert!(matches!(refused, Err(ManageError::PermissionDenied(_))), "without {left_out}");
    }
    let mut replacements = manager.replace_all(&admin(), KeyFilter::default(), one_hour()).await.unwrap();
    api.store.break_writes(true);
    let failed = replacements.next().await.unwrap().unwrap_err();
    assert!(matches!(failed.error, ManageError::Store(_)));
    assert!(replacements.next().await.is_none());
}
