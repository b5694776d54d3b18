//! The management API: an axum router over a [`KeyManager`].
//!
//! A request with an actor in; a change by the manager; JSON or a problem out. Decides nothing about keys itself.

mod extract;
mod json;
mod openapi;
mod problem;

use axum::{
    Extension, Json, Router,
    extract::{
        DefaultBodyLimit, NestedPath, OriginalUri, Path, State,
        rejection::{NestedPathRejection, PathRejection},
    },
    http::{
        HeaderValue, StatusCode, Uri,
        header::{CACHE_CONTROL, CONTENT_TYPE},
    },
    middleware::{map_request, map_response},
    response::{IntoResponse, Response},
    routing::{delete, get, patch, post},
};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;
use tower_http::csrf::CsrfLayer;
use zeroize::Zeroizing;

use super::{KeyManager, UpdateKey};
use crate::{
    permission::Action,
    record::{KeyId, Owner},
    scheme::SchemePolicy,
    store::KeyFilter,
};
use extract::{Body, OwnKeysOnly, QueryParams, RequestActor, invalid, require_action, without_the_page_behind};
use json::{CreateKey, EditKey, EmptyBody, IssuedKey, Key, KeyList, ListKeys, RotateKey};
use problem::{ApiError, ProblemBody, problem};

const LARGEST_BODY: usize = 64 * 1024;

impl KeyManager {
    /// The management API, to be nested where you like, under a layer of this manager:
    ///
    /// ```
    /// use axum::Router;
    /// use tower_api_key::{KeyFormat, KeyManager, store::MemoryStore};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let manager = KeyManager::builder(MemoryStore::new()).format(KeyFormat::new("acme")?).build()?;
    /// let auth = manager.layer().build()?;
    /// let app: Router = Router::new().nest("/api/keys", manager.router(auth.schemes())).layer(auth);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// | request                                                  | needs             | answers                              |
    /// |----------------------------------------------------------|-------------------|--------------------------------------|
    /// | `POST /` `{"type", "name", "permissions", ..}`           | `apiKeys: create` | 201: the key, shown once             |
    /// | `GET /?limit&cursor&owner&environment&revoked`           | `apiKeys: read`   | 200: `{"keys": [..], "next": ..}`    |
    /// | `GET /{id}`                                              | `apiKeys: read`   | 200                                  |
    /// | `PATCH /{id}` `{"name", "permissions", "status"}`        | `apiKeys: update` | 200                                  |
    /// | `POST /{id}/regenerate`                                  | `apiKeys: update` | 201: the new key, shown once         |
    /// | `POST /{id}/rotate` `{"grace_seconds", "expires_at"}`    | `apiKeys: update` | 201: the new key, shown once         |
    /// | `DELETE /{id}`                                           | `apiKeys: delete` | 200: the key, revoked                |
    /// | `GET /openapi.json`                                      | a key             | 200: this, as OpenAPI 3.1            |
    ///
    /// Who asks is the [`Principal`](crate::Principal) of the request; or an [`Actor`](super::Actor) that a sign-in of your own has put into
    /// the request's extensions, where there is no principal. Both see the keys of their organization only. Where there are both, the
    /// principal asks, within the bounds of the actor. For members, take [`KeyManager::self_service_router`]. Errors are
    /// `application/problem+json` (RFC 9457); a 401 or 403 to a key is in the layer's own format. Answers are never stored in a cache.
    ///
    /// A body must be `application/json`; only `regenerate` and `DELETE` need none. Whatever a browser sends on behalf of another site is
    /// refused (`Sec-Fetch-Site`, `Origin`), so that the API is safe under a session cookie too; but for a key in a private header, which no
    /// browser adds by itself.
    ///
    /// `policy` is what the document says about credentials: that of the layer above.
    pub fn router<S: Clone + Send + Sync + 'static>(&self, policy: &SchemePolicy) -> Router<S> {
        let policy = policy.clone();
        let document = move |nested: Nested, OriginalUri(uri): OriginalUri| {
            let document = describe(&policy, nested, &uri);
            async { document }
        };
        let routes = Router::new()
            .route("/", require_action(Action::CREATE, post(create)))
            .route("/", require_action(Action::READ, get(list)))
            .route("/{id}", require_action(Action::READ, get(show)))
            .route("/{id}", require_action(Action::UPDATE, patch(edit)))
            .route("/{id}", require_action(Action::DELETE, delete(revoke)))
            .route("/{id}/regenerate", require_action(Action::UPDATE, post(regenerate)))
            .route("/{id}/rotate", require_action(Action::UPDATE, post(rotate)))
            .route("/openapi.json", get(document))
            .fallback(async || problem(StatusCode::NOT_FOUND, "There is nothing here."));
        self.served(routes)
    }

    /// The management API under `path`, to be merged: [`KeyManager::router`] nested there, which also answers under `path/`. (Under axum's
    /// `nest` alone, `path/` is no route of the API but the application's own 404.)
    ///
    /// ```
    /// use axum::Router;
    /// use tower_api_key::{KeyFormat, KeyManager, store::MemoryStore};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let manager = KeyManager::builder(MemoryStore::new()).format(KeyFormat::new("acme")?).build()?;
    /// let auth = manager.layer().build()?;
    /// let app: Router = Router::new().merge(manager.router_at("/api/keys", auth.schemes())).layer(auth);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// As axum's [`Router::nest`], for a path that it cannot nest at: an empty one, `/`, one without a slash at its begin.
    pub fn router_at<S: Clone + Send + Sync + 'static>(&self, path: &str, policy: &SchemePolicy) -> Router<S> {
        let path = path.strip_suffix('/').unwrap_or(path);
        let slash = format!("{path}/");
        let root = Router::new()
            .route(&slash, require_action(Action::CREATE, post(create)))
            .route(&slash, require_action(Action::READ, get(list)));
        Router::new().nest(path, self.router(policy)).merge(self.served(root))
    }

    /// What holds for every route.
    fn served<S>(&self, routes: Router<Self>) -> Router<S> {
        routes
            .method_not_allowed_fallback(async || problem(StatusCode::METHOD_NOT_ALLOWED, "See Allow."))
            .layer(DefaultBodyLimit::max(LARGEST_BODY))
            .layer(CsrfLayer::new().with_rejection_response(|_| {
                problem(StatusCode::FORBIDDEN, "A browser sent this on behalf of another site.")
            }))
            .layer(map_request(without_the_page_behind))
            .layer(map_response(no_store))
            .with_state(self.clone())
    }

    /// The management API for members: [`KeyManager::router`], but each actor is confined to its own keys, as by
    /// [`Actor::own_keys_only`](super::Actor::own_keys_only). Other keys are 404, and to make a bot's key is 403.
    ///
    /// ```
    /// use axum::Router;
    /// use tower_api_key::{KeyFormat, KeyManager, store::MemoryStore};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let manager = KeyManager::builder(MemoryStore::new()).format(KeyFormat::new("acme")?).build()?;
    /// let auth = manager.layer().build()?;
    /// let app: Router = Router::new().nest("/my/keys", manager.self_service_router(auth.schemes())).layer(auth);
    /// # Ok(())
    /// # }
    /// ```
    pub fn self_service_router<S: Clone + Send + Sync + 'static>(&self, policy: &SchemePolicy) -> Router<S> {
        self.router(policy).layer(Extension(OwnKeysOnly))
    }

    /// The management API for members under `path`, to be merged: [`KeyManager::self_service_router`] nested there, which also answers
    /// under `path/`, as [`KeyManager::router_at`] does.
    ///
    /// # Panics
    ///
    /// As [`KeyManager::router_at`].
    pub fn self_service_router_at<S: Clone + Send + Sync + 'static>(
        &self,
        path: &str,
        policy: &SchemePolicy,
    ) -> Router<S> {
        self.router_at(path, policy).layer(Extension(OwnKeysOnly))
    }
}

#[utoipa::path(post, path = "/", tag = "keys", request_body = CreateKey, responses(
    (status = 201, description = "The key, shown this once", body = IssuedKey),
    (status = 409, description = "The user, or the bots of the organization, have as many keys as they may have", body = ProblemBody, content_type = PROBLEM),
))]
async fn create(
    State(manager): State<KeyManager>,
    asking: RequestActor,
    Body(body): Body<CreateKey>,
) -> Result<Response, ApiError> {
    let new = body.into_new(asking.actor());
    let issued = asking.map_err(manager.issue(asking.actor(), new).await)?;
    created(&IssuedKey::new(&issued, manager.clock()))
}

#[utoipa::path(get, path = "/", tag = "keys", params(ListKeys), responses((status = 200, description = "Some keys", body = KeyList)))]
async fn list(
    State(manager): State<KeyManager>,
    asking: RequestActor,
    QueryParams(query): QueryParams<ListKeys>,
) -> Result<Json<KeyList>, ApiError> {
    let mut filter = KeyFilter::default().limit(query.limit.get().into());
    filter.revoked = query.revoked;
    filter.environment = query.environment;
    filter.owner = query.owner.map(Owner::User);
    filter.after = query.cursor.map(KeyId::from);
    let page = asking.map_err(manager.list(asking.actor(), filter).await)?;
    Ok(Json(KeyList::new(&page, manager.clock())))
}

#[utoipa::path(get, path = "/{id}", tag = "keys", params(("id" = String, Path)), responses(
    (status = 200, description = "The key", body = Key),
    (status = 404, description = "There is no such key", body = ProblemBody, content_type = PROBLEM),
))]
async fn show(State(manager): State<KeyManager>, asking: RequestActor, id: IdInPath) -> Result<Json<Key>, ApiError> {
    let record = asking.map_err(manager.get(asking.actor(), key_id(id)?).await)?;
    Ok(Json(Key::new(&record, manager.clock())))
}

#[utoipa::path(patch, path = "/{id}", tag = "keys", params(("id" = String, Path)), request_body = EditKey, responses(
    (status = 200, description = "The key as it is now", body = Key),
    (status = 404, description = "There is no such key", body = ProblemBody, content_type = PROBLEM),
    (status = 409, description = "The key was revoked", body = ProblemBody, content_type = PROBLEM),
))]
async fn edit(
    State(manager): State<KeyManager>,
    asking: RequestActor,
    id: IdInPath,
    Body(body): Body<EditKey>,
) -> Result<Json<Key>, ApiError> {
    let edit: UpdateKey = body.into_edit(asking.actor());
    let record = asking.map_err(manager.edit(asking.actor(), key_id(id)?, edit).await)?;
    Ok(Json(Key::new(&record, manager.clock())))
}

#[utoipa::path(post, path = "/{id}/regenerate", tag = "keys", params(("id" = String, Path)), request_body = EmptyBody, responses(
    (status = 201, description = "The new key, shown this once; the old one works no more", body = IssuedKey),
    (status = 404, description = "There is no such key", body = ProblemBody, content_type = PROBLEM),
    (status = 409, description = "The key was revoked, replaced or is expired", body = ProblemBody, content_type = PROBLEM),
))]
async fn regenerate(
    State(manager): State<KeyManager>,
    asking: RequestActor,
    id: IdInPath,
    _: Option<Body<EmptyBody>>,
) -> Result<Response, ApiError> {
    let issued = asking.map_err(manager.regenerate(asking.actor(), key_id(id)?).await)?;
    created(&IssuedKey::new(&issued, manager.clock()))
}

#[utoipa::path(post, path = "/{id}/rotate", tag = "keys", params(("id" = String, Path)), request_body = RotateKey, responses(
    (status = 201, description = "The new key, shown this once; the old one works for the grace", body = IssuedKey),
    (status = 404, description = "There is no such key", body = ProblemBody, content_type = PROBLEM),
    (status = 409, description = "The key was revoked, replaced or is expired", body = ProblemBody, content_type = PROBLEM),
))]
async fn rotate(
    State(manager): State<KeyManager>,
    asking: RequestActor,
    id: IdInPath,
    Body(body): Body<RotateKey>,
) -> Result<Response, ApiError> {
    if !body.is_short() {
        return Err(invalid::<RotateKey>("grace_seconds").into());
    }
    let issued = asking.map_err(manager.rotate(asking.actor(), key_id(id)?, body.into_rotation()).await)?;
    created(&IssuedKey::new(&issued, manager.clock()))
}

#[utoipa::path(delete, path = "/{id}", tag = "keys", params(("id" = String, Path)), responses(
    (status = 200, description = "The key, revoked", body = Key),
    (status = 404, description = "There is no such key", body = ProblemBody, content_type = PROBLEM),
))]
async fn revoke(State(manager): State<KeyManager>, asking: RequestActor, id: IdInPath) -> Result<Json<Key>, ApiError> {
    let record = asking.map_err(manager.revoke(asking.actor(), key_id(id)?).await)?;
    Ok(Json(Key::new(&record, manager.clock())))
}

const PROBLEM: &str = "application/problem+json";

type IdInPath = Result<Path<KeyPath>, PathRejection>;

/// The one parameter that is ours: the router may be nested under others.
#[derive(Deserialize)]
struct KeyPath {
    id: String,
}

fn key_id(id: IdInPath) -> Result<KeyId, ApiError> {
    match id {
        Ok(Path(KeyPath { id })) => Ok(id.into()),
        Err(rejection) => Err(problem(rejection.status(), "The path is no UTF-8.").into()),
    }
}

type Nested = Result<NestedPath, NestedPathRejection>;

fn describe(policy: &SchemePolicy, nested: Nested, uri: &Uri) -> Json<Value> {
    let prefix = nested.ok().map(|path| path.as_str().to_owned());
    let prefix = prefix.or_else(|| uri.path().strip_suffix("/openapi.json").map(str::to_owned));
    Json(openapi::document(policy, &prefix.unwrap_or_default()))
}

/// The answer that shows a key. Its bytes are the only copy of the key that is left, and are wiped when they were sent.
fn created(issued: &IssuedKey<'_>) -> Result<Response, ApiError> {
    let mut length = Length(0);
    let mut written = serde_json::to_writer(&mut length, issued);
    // It never grows: what it grew out of would be freed as it is.
    let mut text = Zeroizing::new(Vec::with_capacity(length.0));
    written = written.and_then(|()| serde_json::to_writer(&mut *text, issued));
    if written.is_err() {
        return Err(problem(StatusCode::SERVICE_UNAVAILABLE, "The key cannot be shown.").into());
    }
    let json = [(CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    Ok((StatusCode::CREATED, json, Bytes::from_owner(text)).into_response())
}

/// Counts what is written.
struct Length(usize);

impl std::io::Write for Length {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

async fn no_store(mut response: Response) -> impl IntoResponse {
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
