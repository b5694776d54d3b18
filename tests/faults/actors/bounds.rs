//! M2: an actor is restricted to an organization, to an environment, and to its own keys.

use std::time::Duration;

use axum::Router;
use serde_json::{Value, json};
use tower_api_key::{
    KeyFormat, KeyId, KeyManager, KeyRecord, Owner, Permissions, Principal, Require,
    manage::{Actor, Issued, KeyManagerBuilder, ManageError, NewKey, Rotation, UpdateKey},
    store::KeyFilter,
};

use super::call;
use crate::support::{
    Api, bearer,
    registry::{everything, id, text},
};

/// One key of each owner, organization and environment. Each actor below owns some of them.
struct Keys {
    manager: KeyManager,
    app: Router,
    self_service: Router,
    by_name: Vec<(&'static str, Issued)>,
}

const NAMES: [&str; 6] = ["member", "own", "colleague", "bot", "other organization", "other environment"];

const METHODS: [&str; 8] = ["get", "edit", "disable", "enable", "rotate", "regenerate", "revoke", "remove"];

fn environments(builder: KeyManagerBuilder) -> KeyManagerBuilder {
    builder
        .environment("live", KeyFormat::new("acme_live").unwrap())
        .environment("test", KeyFormat::new("acme_test").unwrap())
}

fn user(name: &str, organization: &str) -> Actor {
    Actor::trusted(Owner::User(name.to_owned()), everything()).in_organization(organization)
}

impl Keys {
    async fn new() -> Self {
        let (_, manager) = Api::managed(environments);
        let new = |environment: &str| NewKey::user("key").permissions(everything()).environment(environment);
        let bot = NewKey::service_account("key").permissions(everything()).environment("live");
        let mut by_name = Vec::new();
        for (name, actor, new) in [
            ("member", user("alice", "acme"), new("live")),
            ("own", user("alice", "acme"), new("live")),
            ("colleague", user("bob", "acme"), new("live")),
            ("bot", user("admin", "acme"), bot),
            ("other organization", user("alice", "globex"), new("live")),
            ("other environment", user("alice", "acme"), new("test")),
        ] {
            by_name.push((name, manager.issue(&actor, new).await.unwrap()));
        }
        let auth = manager.layer().build().unwrap();
        let app = Router::new().nest("/keys", manager.router(auth.schemes())).layer(auth.clone());
        let self_service = Router::new().nest("/keys", manager.self_service_router(auth.schemes())).layer(auth);
        Self { manager, app, self_service, by_name }
    }

    fn issued(&self, name: &str) -> &Issued {
        &self.by_name.iter().find(|(known, _)| *known == name).unwrap().1
    }

    fn id(&self, name: &str) -> &KeyId {
        self.issued(name).record().id()
    }

    async fn principal(&self, name: &str) -> Principal {
        let api = Api::new().layer(|_| self.manager.layer()).run();
        let answer = api.answer(bearer(text(self.issued(name)))).await;
        answer.principal.unwrap()
    }

    /// Returns the contents of the store, as an unrestricted actor sees them.
    async fn stored(&self, name: &str) -> Option<KeyRecord> {
        let organization = if name == "other organization" { "globex" } else { "acme" };
        self.manager.get(&user("admin", organization), self.id(name).clone()).await.ok()
    }

    async fn by(&self, method: &str, actor: &Actor, name: &str) -> Result<(), ManageError> {
        let (manager, id) = (&self.manager, self.id(name).clone());
        match method {
            "get" => manager.get(actor, id).await.map(drop),
            "edit" => manager.edit(actor, id, UpdateKey::new().name("taken")).await.map(drop),
            "disable" => manager.disable(actor, id).await.map(drop),
            "enable" => manager.enable(actor, id).await.map(drop),
            "rotate" => manager.rotate(actor, id, Rotation::grace_period(Duration::from_hours(1))).await.map(drop),
            "regenerate" => manager.regenerate(actor, id).await.map(drop),
            "revoke" => manager.revoke(actor, id).await.map(drop),
            "remove" => manager.remove(actor, id).await.map(drop),
            _ => unreachable!(),
        }
    }

    async fn listed(&self, actor: &Actor, filter: KeyFilter) -> Vec<&'static str> {
        let listed = self.manager.list(actor, filter).await.unwrap().records;
        let names = self.by_name.iter().filter(|(_, issued)| listed.iter().any(|one| one.id() == issued.record().id()));
        let names: Vec<_> = names.map(|(name, _)| *name).collect();
        assert_eq!(names.len(), listed.len(), "only existing keys are listed");
        names
    }
}

/// Returns each actor, in its own store, and the keys that it can see.
async fn actors(keys: &Keys) -> Vec<(&'static str, Actor, Vec<&'static str>)> {
    let alice = user("alice", "acme");
    let member = keys.principal("member").await;
    let in_session = keys.manager.actor(keys.id("member")).await.unwrap().unwrap();
    let bot = Actor::from(&keys.principal("bot").await);
    let of_acme = vec!["member", "own", "colleague", "bot", "other environment"];
    let live = vec!["member", "own", "colleague", "bot"];
    let own = vec!["member", "own"];
    let own_in_all = vec!["member", "own", "other environment"];
    vec![
        ("trusted", alice.clone(), of_acme),
        ("trusted, in an environment", alice.clone().in_environment("live"), live.clone()),
        ("trusted, own keys", alice.clone().own_keys_only(), own_in_all),
        ("trusted, own keys in an environment", alice.clone().own_keys_only().in_environment("live"), own.clone()),
        ("in two environments", alice.clone().in_environment("live").in_environment("test"), vec![]),
        (
            "trusted bot, own keys",
            Actor::trusted(Owner::ServiceAccount, everything()).in_organization("acme").own_keys_only(),
            vec![],
        ),
        ("principal", Actor::from(&member), live.clone()),
        ("principal, own keys", Actor::from(&member).own_keys_only(), own.clone()),
        ("principal, own keys, a clone", Actor::from(&member).own_keys_only().clone(), own.clone()),
        ("session, own keys", in_session.own_keys_only(), own.clone()),
        ("principal, in its environment", Actor::from(&member).in_environment("live"), live.clone()),
        ("principal, in another environment", Actor::from(&member).in_environment("test"), vec![]),
        ("principal, in another organization", Actor::from(&member).in_organization("globex"), vec![]),
        ("bot", bot.clone(), live),
        ("bot, own keys", bot.own_keys_only(), vec!["bot"]),
    ]
}

#[tokio::test]
async fn m02_an_actor_knows_of_no_key_out_of_its_bounds_by_any_method() {
    let count = actors(&Keys::new().await).await.len();
    for method in METHODS {
        for index in 0..count {
            let keys = Keys::new().await;
            let (actor_name, actor, known) = actors(&keys).await.swap_remove(index);
            for name in NAMES.into_iter().filter(|name| !known.contains(name)) {
                let done = keys.by(method, &actor, name).await;
                let told = format!("{method} of {name} by {actor_name}: {done:?}");
                assert!(matches!(done, Err(ManageError::NotFound(_) | ManageError::PermissionDenied(_))), "{told}");
                assert_eq!(keys.stored(name).await.map(|record| record.version()), Some(0), "{told}");
            }
            for name in known {
                let keys = Keys::new().await;
                let (_, actor, _) = actors(&keys).await.swap_remove(index);
                let done = keys.by(method, &actor, name).await;
                assert!(matches!(done, Ok(()) | Err(ManageError::NotOwner(_))), "{method} of {name}: {done:?}");
            }
        }
    }
}

#[tokio::test]
async fn m02_a_list_shows_own_keys_and_none_with_a_filter_for_others() {
    let keys = Keys::new().await;
    for (actor_name, actor, known) in actors(&keys).await {
        if actor.permissions().is_empty() {
            assert!(matches!(
                keys.manager.list(&actor, KeyFilter::default()).await,
                Err(ManageError::PermissionDenied(_))
            ));
            continue;
        }
        assert_eq!(keys.listed(&actor, KeyFilter::default().with_revoked()).await, known, "{actor_name}");
        let elsewhere = keys.listed(&actor, KeyFilter::organization("globex").with_revoked()).await;
        let of_globex = if actor.organization() == Some("globex") { known.clone() } else { vec![] };
        assert_eq!(elsewhere, of_globex, "{actor_name}, requesting another organization's keys");
        if actor.is_own_keys_only() {
            for owner in [Owner::User("bob".into()), Owner::ServiceAccount] {
                let listed = keys.listed(&actor, KeyFilter::default().owner(owner.clone())).await;
                let own = if actor.owner() == Some(&owner) { known.clone() } else { vec![] };
                assert_eq!(listed, own, "{actor_name}, requesting the keys of {owner:?}");
            }
        }
    }
    let bot = Actor::from(&keys.principal("bot").await).own_keys_only();
    assert!(keys.listed(&bot, KeyFilter::default().after(keys.id("bot").clone())).await.is_empty(), "the second page");
}

#[tokio::test]
async fn m02_who_manages_its_own_keys_makes_keys_of_its_own_only_and_removes_no_member() {
    let keys = Keys::new().await;
    let manager = &keys.manager;
    let member = Actor::from(&keys.principal("member").await).own_keys_only();
    let own_only =
        |refused: Result<(), ManageError>| assert!(matches!(refused, Err(ManageError::OwnKeysOnly)), "{refused:?}");
    let imported = KeyFormat::new("acme_live").unwrap().generate().unwrap();
    for actor in [member.clone(), user("alice", "acme").own_keys_only().in_environment("live")] {
        own_only(manager.issue(&actor, NewKey::service_account("outlives her")).await.map(drop));
        own_only(manager.import(&actor, &imported, NewKey::service_account("outlives her")).await.map(drop));
        own_only(manager.import_digest(&actor, [9; 32], NewKey::service_account("outlives her")).await.map(drop));
        own_only(manager.remove_user_keys(&actor, "bob").await.map(drop));
        own_only(manager.remove_user_keys(&actor, "alice").await.map(drop));
        let issued = manager.issue(&actor, NewKey::user("hers")).await.unwrap();
        assert_eq!(issued.record().owner(), Some(&Owner::User("alice".into())));
        assert_eq!((issued.record().organization(), issued.record().environment()), (Some("acme"), Some("live")));
        let elsewhere = manager.issue(&actor, NewKey::user("hers").environment("test")).await;
        assert!(matches!(elsewhere, Err(ManageError::Environment(_))), "{elsewhere:?}");
    }
    let by_environment = manager.remove_user_keys(&user("admin", "acme").in_environment("live"), "bob").await;
    assert!(matches!(by_environment, Err(ManageError::EnvironmentRestricted)));
    let bot = Actor::from(&keys.principal("bot").await).own_keys_only();
    own_only(manager.issue(&bot, NewKey::service_account("another")).await.map(drop));
    assert!(matches!(manager.issue(&bot, NewKey::user("whose?")).await, Err(ManageError::UserRequired)));
    assert!(keys.stored("colleague").await.is_some());
}

#[tokio::test]
async fn m02_a_confined_actor_stays_confined_when_its_key_is_edited_or_replaced() {
    let keys = Keys::new().await;
    let (manager, admin) = (&keys.manager, user("admin", "acme"));
    let member = Actor::from(&keys.principal("member").await).own_keys_only();
    manager.edit(&admin, keys.id("member").clone(), UpdateKey::new().name("edited")).await.unwrap();
    assert!(matches!(manager.get(&member, keys.id("colleague").clone()).await, Err(ManageError::NotFound(_))));
    let heir = manager.regenerate(&member, keys.id("own").clone()).await.unwrap();
    manager.get(&member, heir.record().id().clone()).await.unwrap();
    assert_eq!(heir.record().owner(), Some(&Owner::User("alice".into())));
    manager.regenerate(&member, keys.id("member").clone()).await.unwrap();
    assert!(matches!(manager.get(&member, keys.id("own").clone()).await, Err(ManageError::ActorInvalid)));
}

/// Returns the response of each route to a member, for its own key and for another's.
#[tokio::test]
async fn m02_every_route_of_a_self_service_router_takes_the_bound() {
    let routes = [
        ("GET /keys/ID", json!(null)),
        ("PATCH /keys/ID", json!({ "name": "taken" })),
        ("PATCH /keys/ID", json!({ "status": "disabled" })),
        ("PATCH /keys/ID", json!({ "permissions": {} })),
        ("POST /keys/ID/regenerate", json!({})),
        ("POST /keys/ID/rotate", json!({ "grace_seconds": 60 })),
        ("DELETE /keys/ID", json!(null)),
    ];
    for (route, body) in routes {
        for name in NAMES {
            for way in ["self-service", "an actor beside the principal", "a sign-in", "a sign-in at self-service"] {
                let keys = Keys::new().await;
                let own = ["member", "own"].contains(&name);
                let answer = member_calls(&keys, way, &route.replace("ID", keys.id(name).as_str()), &body).await;
                let expected = if own { 200..=201 } else { 404..=404 };
                assert!(expected.contains(&answer.status), "{way}: {route} {body} of {name}: {}", answer.json);
                let version = keys.stored(name).await.map(|record| record.version());
                assert!(own || version == Some(0), "{way}: {route} changed the key of {name}");
            }
        }
    }
}

/// Four ways to set the same restriction.
async fn member_calls(keys: &Keys, way: &str, line: &str, body: &Value) -> super::Answer {
    let header = format!("Bearer {}", text(keys.issued("member")));
    let headers = [("authorization", header.as_str())];
    let signed_in = user("alice", "acme").in_environment("live");
    // Authenticates by a session instead of a layer: only the router.
    let bare = |router: Router| Router::new().nest("/keys", router);
    let schemes = tower_api_key::Scheme::bearer().into();
    match way {
        "self-service" => call(&keys.self_service, line, &headers, body, |_| {}).await,
        "an actor beside the principal" => {
            let principal = keys.principal("member").await;
            let actor = Actor::from(&principal).own_keys_only();
            call(&keys.app, line, &headers, body, |request| drop(request.extensions_mut().insert(actor))).await
        }
        "a sign-in" => {
            let app = bare(keys.manager.router(&schemes));
            let actor = signed_in.own_keys_only();
            call(&app, line, &[], body, |request| drop(request.extensions_mut().insert(actor))).await
        }
        _ => {
            let app = bare(keys.manager.self_service_router(&schemes));
            call(&app, line, &[], body, |request| drop(request.extensions_mut().insert(signed_in))).await
        }
    }
}

#[tokio::test]
async fn m02_a_self_service_router_lists_and_makes_own_keys() {
    for way in ["self-service", "an actor beside the principal", "a sign-in", "a sign-in at self-service"] {
        let keys = Keys::new().await;
        for (query, is_empty) in [
            ("", false),
            ("?owner=alice", false),
            ("?environment=live&limit=1", false),
            ("?owner=bob", true),
            ("?owner=bob&revoked=true", true),
            ("?environment=live&limit=1&owner=Bot", true),
        ] {
            let listed = member_calls(&keys, way, &format!("GET /keys{query}"), &Value::Null).await;
            let owners: Vec<_> = listed.json["keys"].as_array().unwrap().iter().map(|key| &key["owner"]).collect();
            assert!(owners.iter().all(|owner| *owner == "alice"), "{way}, {query}: {owners:?}");
            assert_eq!(owners.is_empty(), is_empty, "{way}, {query}: {owners:?}");
        }
        let bot = member_calls(&keys, way, "POST /keys", &json!({ "type": "bot", "name": "outlives her" })).await;
        assert_eq!((bot.status, &bot.json["title"]), (403, &json!("Forbidden")), "{way}");
        let own = member_calls(&keys, way, "POST /keys", &json!({ "type": "user", "name": "hers" })).await;
        assert_eq!((own.status, &own.json["owner"]), (201, &json!("alice")), "{way}: {}", own.json);
    }
}

#[tokio::test]
async fn m02_a_member_with_read_update_and_delete_touches_no_colleagues_key() {
    let (_, manager) = Api::managed(|builder| builder);
    let may: Permissions = ["read", "update", "delete"].map(|action| ("apiKeys", action)).into_iter().collect();
    let by = |name: &str| user(name, "acme");
    let alice = manager.issue(&by("alice"), NewKey::user("alice's").permissions(may)).await.unwrap();
    let bob = manager.issue(&by("bob"), NewKey::user("bob's").grant("links", "read")).await.unwrap();
    let auth = manager.layer().build().unwrap();
    let app = Router::new().nest("/keys", manager.self_service_router(auth.schemes())).layer(auth);
    let header = [("x-api-key", text(&alice))];
    for (line, body) in [
        ("GET /keys/ID", json!(null)),
        ("PATCH /keys/ID", json!({ "name": "renamed", "permissions": {} })),
        ("DELETE /keys/ID", json!(null)),
    ] {
        let answer = call(&app, &line.replace("ID", id(&bob)), &header, &body, |_| {}).await;
        assert_eq!(answer.status, 404, "{line}");
        assert!(!answer.json.to_string().contains(id(&bob)), "{}", answer.json);
    }
    let listed = call(&app, "GET /keys", &header, &Value::Null, |_| {}).await.json;
    assert_eq!(listed["keys"].as_array().unwrap().len(), 1);
    let stored = manager.get(&by("bob"), id(&bob)).await.unwrap();
    assert_eq!((stored.version(), stored.name()), (0, Some("bob's")));
}

/// A key from self-service is not bound to the keys of its user, so the other router needs a guard.
#[tokio::test]
async fn m02_a_guard_keeps_a_members_own_key_from_the_administrators_router() {
    let (_, manager) = Api::managed(|builder| builder);
    let admin = user("admin", "acme");
    let bot = manager.issue(&admin, NewKey::service_account("bot").permissions(everything())).await.unwrap();
    let alice = user("alice", "acme").own_keys_only();
    let own = manager.issue(&alice, NewKey::user("hers").permissions(everything())).await.unwrap();
    let auth = manager.layer().build().unwrap();
    let guard = Require::predicate(|key, _| key.owner() == Some(&Owner::ServiceAccount));
    let open = manager.router_at("/open", auth.schemes());
    let guarded = manager.router_at("/keys", auth.schemes()).layer(guard);
    let app = open.merge(guarded).layer(auth);
    for (path, key, status) in
        [("/open", &own, 200), ("/keys", &own, 403), ("/keys/", &own, 403), ("/keys", &bot, 200), ("/keys/", &bot, 200)]
    {
        let answer = call(&app, &format!("GET {path}"), &[("x-api-key", text(key))], &Value::Null, |_| {}).await;
        assert_eq!(answer.status, status, "{path} {:?}", key.record().owner());
    }
    let revoke = format!("DELETE /keys/{}", id(&bot));
    let answer = call(&app, &revoke, &[("x-api-key", text(&own))], &Value::Null, |_| {}).await;
    assert_eq!(answer.status, 403);
    assert_eq!(manager.get(&admin, id(&bot)).await.unwrap().version(), 0);
}
