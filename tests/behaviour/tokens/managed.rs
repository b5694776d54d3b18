//! What a token may do with keys: read.

use tower_api_key::{
    KeyManager,
    manage::{Actor, ManageError, NewKey, Rotation, UpdateKey},
    rights::{LiveRights, OwnerRights, Rights},
    roles::LiveRoles,
    store::KeyFilter,
    token::NewToken,
};

use super::*;
use crate::support::{
    Api, bearer,
    registry::{admin, everything},
};

/// The actor of a token of a key that may do everything, with the manager.
async fn token_actor() -> (KeyManager, Actor, String) {
    let (api, manager) = Api::managed(|builder| builder);
    let issued = manager.issue(&admin(), NewKey::service_account("bot").permissions(everything())).await.unwrap();
    let tokens = tokens(&api.clock);
    let layer = manager.layer().tokens(tokens.clone()).build().unwrap();
    let key = layer.authenticate(&bearer(issued.key().expose())).await.unwrap();
    let token = tokens.issue(&key, NewToken::lasting(MINUTE)).unwrap();
    let principal = layer.authenticate(&bearer(token.text().expose())).await.unwrap();
    (manager, Actor::from(&principal), issued.record().id().to_string())
}

/// A key that a token issues, replaces or opens would work longer than the token.
#[tokio::test]
async fn a_token_reads_keys_and_changes_none() {
    let (manager, actor, own) = token_actor().await;
    assert_eq!(manager.own_key(&actor).await.unwrap().id().as_str(), own);
    assert_eq!(manager.list(&actor, KeyFilter::default()).await.unwrap().records.len(), 1);
    let before = manager.get(&actor, own.clone()).await.unwrap();
    let day = Duration::from_hours(24);
    let refused = [
        manager.issue(&actor, NewKey::service_account("other")).await.map(drop),
        manager.edit(&actor, own.clone(), UpdateKey::new().name("renamed")).await.map(drop),
        manager.disable(&actor, own.clone()).await.map(drop),
        manager.regenerate(&actor, own.clone()).await.map(drop),
        manager.rotate(&actor, own.clone(), Rotation::grace_period(day)).await.map(drop),
        manager.revoke(&actor, own.clone()).await.map(drop),
        manager.revoke_self(&actor).await.map(drop),
        manager.remove(&actor, own.clone()).await.map(drop),
    ];
    for refused in refused {
        assert!(matches!(refused, Err(ManageError::TokenReadOnly)), "{refused:?}");
        assert_eq!(refused.unwrap_err().status(), 403);
    }
    assert_eq!(manager.get(&admin(), own).await.unwrap(), before);
}

#[tokio::test]
async fn a_token_cannot_be_exchanged_for_another_one() {
    let (api, tokens) = {
        let api = Api::live();
        let tokens = tokens(&api.clock);
        let own = tokens.clone();
        (api.layer(|layer| layer.tokens(own)).run(), tokens)
    };
    let key = api.answer(bearer(crate::support::LIVE)).await.principal.unwrap();
    let token = tokens.issue(&key, NewToken::lasting(MINUTE)).unwrap();
    let principal = api.answer(bearer(token.text().expose())).await.principal.unwrap();
    let refused = tokens.issue(&principal, NewToken::lasting(MINUTE)).unwrap_err();
    assert_eq!(refused, tower_api_key::token::TokenError::FromToken);
}

struct Nothing;

impl OwnerRights for Nothing {
    type Error = std::io::Error;

    async fn rights(&self, _: &tower_api_key::Owner, _: Option<&str>) -> Result<Rights, std::io::Error> {
        Ok(Rights::Only(tower_api_key::Permissions::new().grant("links", "read")))
    }
}

/// What roles grant and owners have lost counts for a token as for its key.
#[tokio::test]
async fn roles_and_the_rights_of_the_owner_count_for_a_token() {
    let granted: tower_api_key::Permissions = [("links", "read"), ("links", "delete")].into_iter().collect();
    let roles = std::collections::BTreeMap::from([("editor".to_owned(), granted.clone())]);
    let (api, manager) = Api::managed(|builder| builder.roles(LiveRoles::cached(roles)));
    let maker = Actor::trusted(tower_api_key::Owner::User("alice".into()), everything().union(&granted))
        .in_organization("acme");
    let issued = manager.issue(&maker, NewKey::service_account("bot").roles(["editor"])).await.unwrap();
    let tokens = tokens(&api.clock);
    let layer = manager.layer().tokens(tokens.clone()).build().unwrap();
    let key = layer.authenticate(&bearer(issued.key().expose())).await.unwrap();
    let deletes = NewToken::lasting(MINUTE).permissions([("links", "delete")].into_iter().collect());
    let token = tokens.issue(&key, deletes).unwrap();
    let principal = layer.authenticate(&bearer(token.text().expose())).await.unwrap();
    assert!(principal.allows("links", "delete") && !principal.allows("links", "read"));
    let narrowed = manager.layer().tokens(tokens).owner_rights(LiveRights::cached(Nothing)).build().unwrap();
    let principal = narrowed.authenticate(&bearer(token.text().expose())).await.unwrap();
    assert!(principal.record().permissions().is_empty());
}

/// What a token does counts as what its key does: in the usage, and in the limits of the plan.
#[cfg(feature = "limits")]
#[tokio::test]
async fn a_use_of_a_token_is_a_use_of_its_key_and_spends_its_limits() {
    use tower_api_key::{
        Reason,
        limit::{Limit, Limits, Plans, Rate},
    };

    let plans = Plans::new().plan("free", [Limit::rate("burst", Rate::per_hour(3))]);
    let limits = Limits::in_process(plans).build().unwrap();
    let (api, manager) = Api::managed(|builder| builder.limits(limits));
    let issued = manager.issue(&admin(), NewKey::service_account("bot").plan("free")).await.unwrap();
    let tokens = tokens(&api.clock);
    let layer = manager.layer().tokens(tokens.clone()).build().unwrap();
    let key = bearer(issued.key().expose());
    let principal = layer.authenticate(&key).await.unwrap();
    let token = tokens.issue(&principal, NewToken::lasting(MINUTE)).unwrap();
    let token = bearer(token.text().expose());
    assert!(layer.authenticate(&token).await.is_ok() && layer.authenticate(&key).await.is_ok());
    assert_eq!(layer.authenticate(&token).await.unwrap_err().reason(), Reason::RateLimited);
    manager.flush().await.unwrap();
    assert_eq!(manager.get(&admin(), issued.record().id().clone()).await.unwrap().use_count(), 3);
}
