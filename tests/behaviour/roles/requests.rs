//! Requests with a key that has roles.

use std::collections::BTreeMap;

use proptest::{collection::vec, prelude::*, sample::select};
use tokio::time::Instant;
use tower_api_key::{
    Outcome, Owner, Reason, Require, Status,
    rights::{LiveRights, OwnerRights, Rights},
};

use super::*;
use crate::support::{Fault, UNKNOWN, accepted, bearer, refused};

/// With and without a cache.
fn both(table: &RoleTable) -> [LiveRoles; 2] {
    [LiveRoles::cached(table.clone()), LiveRoles::asked_each_time(table.clone())]
}

/// Which of these actions on links the holder of the roles may do.
async fn may_do(roles: &[&'static str], source: &LiveRoles) -> Vec<&'static str> {
    let mut may = Vec::new();
    for action in ["create", "read", "update", "delete"] {
        let api = holder(roles, source.clone()).guard(Require::permission("links", action)).run();
        let first = api.app_call(bearer(LIVE)).await;
        assert_eq!(api.app_call(bearer(LIVE)).await, first, "the second request is decided otherwise");
        if first == 200 {
            may.push(action);
        }
    }
    may
}

#[tokio::test(start_paused = true)]
async fn a_key_may_do_what_its_permissions_or_its_roles_grant() {
    let table = RoleTable::with("author", links(&["create", "update"]));
    table.set("cleaner", Some("acme"), links(&["delete"]));
    table.set("nothing", Some("acme"), Permissions::new());
    for source in both(&table) {
        assert_eq!(may_do(&[], &source).await, ["read"]);
        assert_eq!(may_do(&["author"], &source).await, ["create", "read", "update"]);
        assert_eq!(may_do(&["author", "cleaner"], &source).await, ["create", "read", "update", "delete"]);
        assert_eq!(may_do(&["nothing"], &source).await, ["read"]);
        assert_eq!(may_do(&["no such role", "cleaner"], &source).await, ["read", "delete"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_role_of_another_organization_grants_nothing() {
    let table = RoleTable::default();
    table.set("author", Some("globex"), links(&["create"]));
    table.set("author", None, links(&["delete"]));
    for source in both(&table) {
        assert_eq!(may_do(&["author"], &source).await, ["read"]);
    }
}

#[tokio::test]
async fn without_a_source_roles_grant_nothing() {
    let record = |record: KeyRecord| record.with_permissions(links(&["read"])).with_roles(["author"]);
    let api = Api::new().key("live", LIVE, record).run();
    let principal = api.answer(bearer(LIVE)).await.principal.unwrap();
    assert_eq!(principal.record().permissions(), &links(&["read"]));
    assert_eq!(principal.record().roles().collect::<Vec<_>>(), ["author"]);
}

#[tokio::test(start_paused = true)]
async fn roles_that_the_code_defines_are_a_map() {
    let source = LiveRoles::cached(BTreeMap::from([("author".to_owned(), links(&["create"]))]));
    assert_eq!(may_do(&["author"], &source).await, ["create", "read"]);
}

/// A handler sees what the key may do; the store keeps the permissions and the names.
#[tokio::test(start_paused = true)]
async fn a_handler_sees_what_the_roles_grant_and_the_store_keeps_their_names() {
    let table = RoleTable::with("author", links(&["create"]));
    let api = holder(&["author"], LiveRoles::cached(table)).run();
    for _ in 0..3 {
        let principal = api.answer(bearer(LIVE)).await.principal.unwrap();
        assert!(principal.allows("links", "create") && principal.require("links", "create").is_ok());
        assert_eq!(principal.record().permissions(), &links(&["create", "read"]));
    }
    let stored = tower_api_key::KeyRegistry::get(&api.store.keys, &"live".into()).await.unwrap().unwrap();
    assert_eq!(stored.permissions(), &links(&["read"]));
    assert_eq!(stored.roles().collect::<Vec<_>>(), ["author"]);
}

/// The owners of all keys have these rights.
struct Everyone(Rights);

impl OwnerRights for Everyone {
    type Error = std::io::Error;

    async fn rights(&self, _: &Owner, _: Option<&str>) -> Result<Rights, std::io::Error> {
        Ok(self.0.clone())
    }
}

#[tokio::test(start_paused = true)]
async fn the_rights_of_the_owner_bound_the_roles_too() {
    let table = RoleTable::with("author", links(&["create", "delete"]));
    let record =
        |record: KeyRecord| record.with_organization("acme").with_owner(Owner::ServiceAccount).with_roles(["author"]);
    let api = |rights| {
        let roles = LiveRoles::cached(table.clone());
        let rights = LiveRights::cached(Everyone(rights));
        Api::new().key("live", LIVE, record).layer(|layer| layer.roles(roles).owner_rights(rights)).run()
    };
    let left = async |rights| {
        let principal = api(rights).answer(bearer(LIVE)).await.principal.unwrap();
        principal.record().permissions().clone()
    };
    assert_eq!(left(Rights::All).await, links(&["create", "delete"]));
    assert_eq!(left(Rights::Only(links(&["create", "read"]))).await, links(&["create"]));
    let (blocked, unknown) = (api(Rights::Blocked), api(Rights::All));
    let (blocked, unknown) = (blocked.answer(bearer(LIVE)).await, unknown.answer(bearer(UNKNOWN)).await);
    assert_eq!(blocked.decision.outcome(), Outcome::Refused(Reason::OwnerBlocked));
    assert_eq!((blocked.status, &blocked.headers, &blocked.body), (unknown.status, &unknown.headers, &unknown.body));
}

#[tokio::test(start_paused = true)]
async fn a_source_that_fails_is_503_and_lets_no_holder_in() {
    for mode in [Mode::Fails, Mode::Hangs, Mode::Panics, Mode::PanicsAtOnce] {
        let table = RoleTable::with("author", links(&["create"]));
        table.answer(mode);
        for source in both(&table) {
            for fault in [Fault::None, Fault::Waits] {
                let api = holder(&["other", "author"], source.clone()).fault(fault).run();
                let answer = api.answer(bearer(LIVE)).await;
                assert_eq!(answer.decision.outcome(), Outcome::Refused(Reason::RolesFailed), "{mode:?}");
                assert_eq!(answer.status, 503);
                assert_eq!(answer.headers["retry-after"], "1");
                assert!(answer.decision.error().is_some(), "the cause is for the log");
                assert!(!String::from_utf8_lossy(&answer.body).contains("database"));
            }
        }
        let source = LiveRoles::cached(table);
        let optional = holder(&["author"], source.clone()).layer(tower_api_key::layer::ApiKeyLayerBuilder::optional);
        assert_eq!(optional.call(bearer(LIVE)).await, refused(Reason::RolesFailed, 503));
        assert_eq!(holder(&[], source).call(bearer(LIVE)).await, accepted(), "a key without roles is not asked about");
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_does_not_work_is_401_whatever_the_source_does() {
    let table = RoleTable::default();
    table.answer(Mode::Fails);
    let record = |record: KeyRecord| record.with_roles(["author"]).with_status(Status::Revoked);
    let api = Api::new().key("live", LIVE, record).layer(|layer| layer.roles(LiveRoles::cached(table.clone())));
    assert_eq!(api.call(bearer(LIVE)).await, refused(Reason::Revoked, 401));
    assert_eq!(table.asked(), 0);
}

/// Two questions of 300 ms each take 300 ms, also without a cache.
#[tokio::test(start_paused = true)]
async fn the_roles_of_a_key_are_asked_about_at_the_same_time() {
    let table = RoleTable::with("author", links(&["create"]));
    table.answer(Mode::After(Duration::from_millis(300)));
    for source in both(&table) {
        let api = holder(&["author", "cleaner"], source).run();
        let start = Instant::now();
        assert_eq!(api.app_call(bearer(LIVE)).await, 200);
        assert_eq!(start.elapsed(), Duration::from_millis(300));
        assert_eq!(table.asked(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn keys_with_the_same_role_share_the_answer() {
    let table = RoleTable::with("author", links(&["create"]));
    let source = LiveRoles::cached(table.clone());
    for _ in 0..5 {
        assert_eq!(holder(&["author"], source.clone()).run().app_call(bearer(LIVE)).await, 200);
    }
    assert_eq!(table.asked(), 1);
}

const RESOURCES: [&str; 5] = ["links", "*", "links:1", "links:*", "stats"];
const ACTIONS: [&str; 4] = ["read", "delete", "archive", "*"];

fn permissions() -> impl Strategy<Value = Permissions> {
    let grant = (select(&RESOURCES[..]), select(&ACTIONS[..]));
    (vec(grant, 0..6), any::<bool>()).prop_map(|(grants, wildcards)| {
        let permissions: Permissions = grants.into_iter().collect();
        if wildcards { permissions.with_wildcards() } else { permissions }
    })
}

proptest! {
    /// A name that only one set reads as a wildcard must not become one.
    #[test]
    fn a_union_allows_what_either_set_allows_and_nothing_more(one in permissions(), other in permissions()) {
        let union = one.union(&other);
        let is_wild = |resource: &str, action: &str| resource == "*" || resource.ends_with(":*") || action == "*";
        for resource in RESOURCES.into_iter().chain(["unthought of", "links:2", "stats:1"]) {
            for action in ACTIONS.into_iter().chain(["invent"]) {
                let either = one.allows(resource, action) || other.allows(resource, action);
                if union.allows(resource, action) {
                    prop_assert!(either, "{resource}: {action} was added");
                } else {
                    // Left out is only a `*` that one of the sets takes as a name.
                    let is_ambiguous = one.has_wildcards() != other.has_wildcards() && is_wild(resource, action);
                    prop_assert!(!either || is_ambiguous, "{resource}: {action} was lost");
                }
            }
        }
        prop_assert!(union.is_superset(&other.union(&one)) && other.union(&one).is_superset(&union));
        prop_assert_eq!(one.union(&one), one);
    }
}
