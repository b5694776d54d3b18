//! Shows the API keys of the product Hopx: two header styles, its error bodies byte for byte, and
//! live and test keys.
//!
//! ```sh
//! cargo run --example either --features admin-api,sqlite
//! URL=http://127.0.0.1:3000
//! curl -H 'X-API-Key: KEY' $URL/v1/sandboxes   # 200
//! curl -H 'Authorization: Bearer KEY' $URL/v1/sandboxes   # 200
//! curl -X POST -H 'X-API-Key: KEY' -H 'Content-Type: application/json' \
//!   -d '{"template_id": "52", "timeout_seconds": 3600}' $URL/v1/sandboxes   # 201
//! curl $URL/v1/sandboxes   # 401 {"error": "Unauthorized", "code": "AUTHENTICATION_ERROR"}
//! ```
//!
//! It prints its keys, and these lines with the keys filled in. The management API is under
//! `/v1/keys`.

mod common;

use std::{env, error::Error, path::Path};

use axum::{Json, Router, body::Bytes, http::StatusCode, routing::get};
use serde_json::{Value, json};
use tower_api_key::{
    ConfigError, ConflictPolicy, KeyFormat, KeyManager, Owner, Permissions, Principal, RejectionFormat, Require,
    Scheme, SchemePolicy,
    manage::{Actor, Issued, ManageError, NewKey},
    store::SqliteStore,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let database = env::var("DATABASE").unwrap_or_else(|_| "hopx.db".to_owned());
    let manager = manager(Path::new(&database)).await?;
    let keys = first_keys(&manager).await?;
    common::print_keys(&keys);
    let app = app(&manager)?;

    let (listener, url) = common::listen().await?;
    println!("listening on {url}\n\n{}", common::heading(&keys, &database));
    for ((name, issued), status) in keys.iter().zip([200, 200, 401, 401]) {
        println!("  curl -H 'X-API-Key: {}' {url}/v1/sandboxes   # {status}: {name}", issued.key().expose());
    }
    if let [(_, live), (_, limited), ..] = &*keys {
        let (live, limited) = (live.key().expose(), limited.key().expose());
        println!("  curl -H 'Authorization: Bearer {live}' {url}/v1/sandboxes   # 200: live");
        let create = format!("-H 'Content-Type: application/json' -d '{{\"template_id\": \"52\"}}' {url}/v1/sandboxes");
        println!("  curl -H 'X-API-Key: {live}' {create}   # 201: live");
        println!("  curl -H 'X-API-Key: {limited}' {create}   # 403: limited");
        println!("  curl -H 'X-API-Key: {live}' {url}/v1/keys   # 200: live");
    }
    println!("  curl {url}/v1/sandboxes   # 401: no key\n");
    axum::serve(listener, app).with_graceful_shutdown(common::stopped()).await?;
    Ok(manager.flush().await?)
}

/// Returns a manager. Live keys begin with `hopx_live_`, test keys with `hopx_test_`.
pub(crate) async fn manager(database: &Path) -> Result<KeyManager, Box<dyn Error>> {
    let store = SqliteStore::open(database).await?;
    let manager = KeyManager::builder(store)
        .environment("live", KeyFormat::new("hopx_live")?)
        .environment("test", KeyFormat::new("hopx_test")?);
    Ok(manager.build()?)
}

/// Issues, at the first start, three keys of the organization `acme` and one of another.
pub(crate) async fn first_keys(manager: &KeyManager) -> Result<Vec<(&'static str, Issued)>, ManageError> {
    let keys = ["create", "read", "update", "delete"].map(|action| ("apiKeys", action));
    let sandboxes = [("sandboxes", "read"), ("sandboxes", "create")];
    let everything: Permissions = keys.into_iter().chain(sandboxes).collect();
    let here = Actor::trusted(Owner::ServiceAccount, everything.clone()).in_organization("acme");
    let elsewhere = here.clone().in_organization("globex");
    let key = |name: &str, environment: &str| NewKey::service_account(name).environment(environment);
    let all = |name: &str, environment: &str| key(name, environment).permissions(everything.clone());
    let Some(live) = manager.bootstrap(&here, all("Production", "live")).await? else {
        return Ok(Vec::new());
    };
    Ok(vec![
        ("live", live),
        ("limited", manager.issue(&here, key("Reader", "live").grant("sandboxes", "read")).await?),
        ("test", manager.issue(&here, all("Tests", "test")).await?),
        ("foreign", manager.issue(&elsewhere, all("Another's", "live")).await?),
    ])
}

/// Returns the production service of one organization. Test keys, and keys of other organizations,
/// are rejected with 401.
pub(crate) fn app(manager: &KeyManager) -> Result<Router, ConfigError> {
    let auth = manager
        .layer()
        .schemes(SchemePolicy::new([Scheme::x_api_key(), Scheme::bearer()]).on_conflict(ConflictPolicy::AllowIdentical))
        .environments(["live"])
        .organization("acme")
        .rejection_format(RejectionFormat::json())
        .realm("hopx")
        .build()?;
    Ok(routes()?.merge(manager.router_at("/v1/keys", auth.schemes())).layer(auth))
}

fn routes() -> Result<Router, ConfigError> {
    let sandboxes = get(list).post(create).layer(Require::by_method("sandboxes"));
    let own = Require::organization_in_path("/v1/organizations/{organization}")?;
    let of_organization = get(list).layer(Require::all([own, Require::by_method("sandboxes")]));
    Ok(Router::new()
        .route("/v1/sandboxes", sandboxes)
        .route("/v1/organizations/{organization}/sandboxes", of_organization))
}

async fn list(key: Principal) -> Json<Value> {
    Json(json!({ "organization": key.organization(), "sandboxes": [] }))
}

async fn create(key: Principal, body: Bytes) -> (StatusCode, Json<Value>) {
    let request: Value = serde_json::from_slice(&body).unwrap_or_default();
    let created = json!({ "id": "sbx_1", "template_id": request["template_id"], "made_by": key.id().as_str() });
    (StatusCode::CREATED, Json(created))
}
