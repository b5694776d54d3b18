//! The management API: an axum router over a [`KeyManager`].
//!
//! It turns a request with an actor into a call of the manager, and the result into JSON or a
//! problem. The manager makes all decisions about keys.

mod bodies;
mod bounded;
mod bulk;
mod conditions;
mod event_handlers;
mod extract;
mod find;
mod handlers;
mod idempotency;
mod import;
mod list;
mod list_events;
mod members;
mod openapi;
mod own;
mod parse;
mod presence;
mod replace;
mod responses;
mod role_name;
mod search;
mod served;
mod settings;
mod time;
#[cfg(feature = "limits")]
mod top_ups;
mod usage;
#[cfg(feature = "webhooks")]
mod webhooks;

use axum::{
    Extension, Router,
    extract::{DefaultBodyLimit, OriginalUri},
    http::StatusCode,
    routing::{get, patch, post},
};

use super::{KeyManager, problem::problem};
use crate::scheme::SchemePolicy;
use event_handlers::{all_events, events_of_key};
use extract::OwnKeysOnly;
use find::find;
use handlers::{create, edit, list, regenerate, revoke, rotate, show};
use openapi::Nested;
pub(super) use settings::HttpSettings;
use usage::usage;

/// The limit of an import: 1,000 keys of 4 KiB each.
const MAX_IMPORT_BODY: usize = 4 * 1024 * 1024;

impl KeyManager {
    /// Returns the management API as a router. Nest it under a layer of this manager:
    ///
    /// ```
    /// use axum::Router;
    /// use tower_api_key::{KeyFormat, KeyManager, store::MemoryStore};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let format = KeyFormat::new("acme")?;
    /// let manager = KeyManager::builder(MemoryStore::new()).format(format).build()?;
    /// let auth = manager.layer().build()?;
    /// let keys = manager.router(auth.schemes());
    /// let app: Router = Router::new().nest("/api/keys", keys).layer(auth);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// The router has its own state, so it fits into a router with any state:
    ///
    /// ```
    /// use axum::Router;
    /// use tower_api_key::{KeyManager, SchemePolicy};
    ///
    /// #[derive(Clone)]
    /// struct AppState;
    ///
    /// fn app(manager: &KeyManager, policy: &SchemePolicy) -> Router {
    ///     Router::<AppState>::new().nest("/api/keys", manager.router(policy)).with_state(AppState)
    /// }
    /// ```
    ///
    /// | request                                                  | requires          | response                             |
    /// |----------------------------------------------------------|-------------------|--------------------------------------|
    /// | `POST /` `{"type", "name", "permissions", ..}`           | `apiKeys: create` | 201: the key with its plain text     |
    /// | `GET /?limit&cursor&sort&name_contains&..`               | `apiKeys: read`   | 200: `{"keys": [..], "next": ..}`    |
    /// | `POST /find` `{"key"}`                                   | `apiKeys: read`   | 200: the key with this text          |
    /// | `GET /{id}`                                              | `apiKeys: read`   | 200: the key                         |
    /// | `PATCH /{id}` `{"name", "expires_at", "metadata", ..}`   | `apiKeys: update` | 200: the changed key                 |
    /// | `POST /{id}/regenerate` `{"reason"}`                     | `apiKeys: update` | 201: the new key with its plain text |
    /// | `POST /{id}/rotate` `{"grace_seconds", "expires_at"}`    | `apiKeys: update` | 201: the new key with its plain text |
    /// | `GET /{id}/usage?from&to`                                | `apiKeys: read`   | 200: requests by day and outcome     |
    /// | `POST /{id}/top-ups` `{"limit", "amount", "id"}`        | `credits: create` | 201: the balance; 200 if repeated    |
    /// | `DELETE /{id}?reason`                                    | `apiKeys: delete` | 200: the revoked key                 |
    /// | `POST /bulk` `{"change", "filter", "dry_run", ..}`       | see below         | 200: how many keys were changed      |
    /// | `POST /import` `{"keys": [..]}`                          | `apiKeys: create` | 200: the result of each key          |
    /// | `POST /rotate` `{"filter", "grace_seconds", ..}`         | `apiKeys: update` | 200: a line in JSON for each new key |
    /// | `GET /self`                                              | a key             | 200: the caller's own key            |
    /// | `DELETE /self?reason`                                    | a key             | 204: it is revoked                   |
    /// | `GET /{id}/events?limit&cursor&kind`                     | `apiKeys: read`   | 200: the events of the key           |
    /// | `GET /events?limit&cursor&kind`                          | `apiKeys: read`   | 200: `{"events": [..], "next": ..}`  |
    /// | `GET /webhooks`                                          | `apiKeys: read`   | 200: the state of each endpoint      |
    /// | `GET /webhooks/{id}/dead?limit`                          | `apiKeys: read`   | 200: the dead letters, oldest first  |
    /// | `POST /webhooks/{id}/revive`                             | `apiKeys: update` | 200: how many are sent again         |
    /// | `GET /openapi.json`                                      | a key             | 200: the OpenAPI 3.1 document        |
    ///
    /// The OpenAPI document has all conditions of `GET /`; a page may have fewer keys than `limit`,
    /// even none, while `next` is not null. `organizations=all` and `POST /find` need an actor
    /// without a key: see [`Actor::across_organizations`](super::Actor::across_organizations) and
    /// [`KeyManager::find_by_key`]. So do `/webhooks`, which `KeyManagerBuilder::webhooks` adds.
    ///
    /// A key is shown as a [`KeyView`](super::KeyView), an event as an
    /// [`EventView`](super::EventView), and the caller's own key at `/self` as an
    /// [`OwnKeyView`](super::OwnKeyView). `/self` needs no permission, and a replaced key in its
    /// grace period can use it too; [`serve_self`](super::KeyManagerBuilder::serve_self) removes
    /// it. A key whose id is the name of a route, such as `self`, cannot be reached over HTTP; the
    /// manager issues and imports no such id.
    ///
    /// `POST /bulk` revokes, disables or removes all keys that the filter matches. It requires
    /// `apiKeys: read`, and `update` to disable, `delete` to revoke or remove. `POST /rotate` also
    /// requires `apiKeys: read`. A filter without a condition is rejected without `"all": true`.
    /// `POST /import` takes up to 1,000 keys in a body of up to 4 MiB.
    ///
    /// `/{id}/top-ups` exists if the manager has [limits](super::KeyManagerBuilder::limits). An
    /// operator needs no permission for it: see `KeyManager::top_up`. With an `id` that has added
    /// another amount before, it is 409.
    ///
    /// # Actors
    ///
    /// The actor is the [`Principal`](crate::Principal) of the request. Without one, it is the
    /// [`Actor`](super::Actor) that your own sign-in put into the request extensions. If a request
    /// has both a principal and an actor, the principal acts within the bounds of the actor. Actors
    /// see the keys of their organization only. For users who manage their own keys, see
    /// [`KeyManager::self_service_router`].
    ///
    /// # Changes
    ///
    /// A `PATCH` is a JSON merge patch (RFC 7396): `null` removes an expiry, a start, metadata, a
    /// plan or a number of `limits`, and `"unlimited"` removes a limit. Changes take a `reason`.
    ///
    /// The `ETag` of a response with one key is the version of the key: `"3"`. With `If-Match: "3"`
    /// a change applies only to this version; for any other it is 412. Without it, the last wins.
    ///
    /// The events of a change have the `X-Request-Id` of the request, if it has at most 128
    /// characters of visible ASCII, and the address of the caller, if the application serves the
    /// router with [`ConnectInfo`](axum::extract::ConnectInfo)`<SocketAddr>`.
    ///
    /// # Errors
    ///
    /// Errors are `application/problem+json` (RFC 9457), with the status of
    /// [`ManageError::status`](super::ManageError::status). The layer writes a 401, and a 403 for a
    /// request with a key, in its own format instead. No response may be cached.
    ///
    /// `POST /`, `/{id}/regenerate` and `/{id}/rotate` accept an `Idempotency-Key`, with or without
    /// quotes: a repeated request issues no second key. It gets 409 with the id of the first key,
    /// `key_id`; a different request with the same value gets 422. See
    /// [`Actor::with_idempotency_key`](super::Actor::with_idempotency_key).
    ///
    /// A body must be `application/json`, or `application/merge-patch+json`; `regenerate` and
    /// `DELETE` need none. Cross-site requests of browsers (`Sec-Fetch-Site`, `Origin`) are
    /// rejected, which makes the API safe with session cookies. A key in a private header is
    /// exempt, since browsers do not add it by themselves.
    ///
    /// `policy` is the policy of the layer around this router. The OpenAPI document describes its
    /// schemes.
    pub fn router<S: Clone + Send + Sync + 'static>(&self, policy: &SchemePolicy) -> Router<S> {
        let (policy, settings) = (policy.clone(), self.0.http.clone());
        let document = move |nested: Nested, OriginalUri(uri): OriginalUri| {
            let document = openapi::describe(&policy, nested, &uri, &settings);
            async { document }
        };
        let switched_on = self.0.http.routes();
        let routes = switched_on
            .route("/", post(create).get(list))
            .route("/find", post(find))
            .route("/bulk", post(bulk::change_keys))
            .route("/import", post(import::import_keys).layer(DefaultBodyLimit::max(MAX_IMPORT_BODY)))
            .route("/rotate", post(replace::replace_keys))
            .route("/{id}", patch(edit).get(show).delete(revoke))
            .route("/{id}/regenerate", post(regenerate))
            .route("/{id}/rotate", post(rotate))
            .route("/{id}/usage", get(usage))
            .route("/events", get(all_events))
            .route("/{id}/events", get(events_of_key))
            .route("/openapi.json", get(document))
            .fallback(async || problem(StatusCode::NOT_FOUND, "The management API has no such path."));
        self.served(routes)
    }

    /// Returns [`KeyManager::router`] nested under `path`, which also serves `path/`. Add it to
    /// your router with [`Router::merge`].
    ///
    /// With axum's `nest` alone, a request to `path/` gets the 404 of your application.
    ///
    /// ```
    /// use axum::Router;
    /// use tower_api_key::{KeyFormat, KeyManager, store::MemoryStore};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let format = KeyFormat::new("acme")?;
    /// let manager = KeyManager::builder(MemoryStore::new()).format(format).build()?;
    /// let auth = manager.layer().build()?;
    /// let keys = manager.router_at("/api/keys", auth.schemes());
    /// let app: Router = Router::new().merge(keys).layer(auth);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// Like axum's [`Router::nest`], for an empty path, `/`, or a path without a leading slash.
    pub fn router_at<S: Clone + Send + Sync + 'static>(&self, path: &str, policy: &SchemePolicy) -> Router<S> {
        let path = path.strip_suffix('/').unwrap_or(path);
        let root = Router::new().route(&format!("{path}/"), post(create).get(list));
        Router::new().nest(path, self.router(policy)).merge(self.served(root))
    }

    /// Returns the management API for users. It is [`KeyManager::router`], but confines each actor
    /// to its own keys with [`Actor::own_keys_only`](super::Actor::own_keys_only).
    ///
    /// A request for any other key gets 404. A request to issue a service-account key gets 403.
    ///
    /// This router sets the bound; the keys that it issues do not inherit the bound. A user can
    /// issue a key with `apiKeys`, because the router requires that permission of the user. At
    /// [`KeyManager::router`], such a key would manage every key of the organization. If you mount
    /// both routers, put a guard on the other one that rejects these keys:
    ///
    /// ```
    /// use axum::Router;
    /// use tower_api_key::{KeyManager, Owner, Require, SchemePolicy};
    ///
    /// fn administration(manager: &KeyManager, policy: &SchemePolicy) -> Router {
    ///     let guard = Require::predicate(|key, _parts| key.owner() == Some(&Owner::ServiceAccount));
    ///     manager.router_at("/api/keys", policy).layer(guard)
    /// }
    /// ```
    ///
    /// # Example
    ///
    /// ```
    /// use axum::Router;
    /// use tower_api_key::{KeyFormat, KeyManager, store::MemoryStore};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let format = KeyFormat::new("acme")?;
    /// let manager = KeyManager::builder(MemoryStore::new()).format(format).build()?;
    /// let auth = manager.layer().build()?;
    /// let keys = manager.self_service_router(auth.schemes());
    /// let app: Router = Router::new().nest("/my/keys", keys).layer(auth);
    /// # Ok(())
    /// # }
    /// ```
    pub fn self_service_router<S: Clone + Send + Sync + 'static>(&self, policy: &SchemePolicy) -> Router<S> {
        self.router(policy).layer(Extension(OwnKeysOnly))
    }

    /// Returns [`KeyManager::self_service_router`] nested under `path`, which also serves `path/`,
    /// like [`KeyManager::router_at`]. Add it to your router with [`Router::merge`].
    ///
    /// If you also mount [`KeyManager::router_at`], guard that router against the keys that users
    /// issue with this one: see [`KeyManager::self_service_router`].
    ///
    /// ```
    /// use axum::Router;
    /// use tower_api_key::{KeyManager, SchemePolicy};
    ///
    /// fn app(manager: &KeyManager, policy: &SchemePolicy) -> Router {
    ///     Router::new().merge(manager.self_service_router_at("/my/keys", policy))
    /// }
    /// ```
    ///
    /// # Panics
    ///
    /// Like [`KeyManager::router_at`].
    pub fn self_service_router_at<S: Clone + Send + Sync + 'static>(
        &self,
        path: &str,
        policy: &SchemePolicy,
    ) -> Router<S> {
        self.router_at(path, policy).layer(Extension(OwnKeysOnly))
    }
}
