//! Shows the API keys of the product H0p: organizations, keys of users and service accounts, and
//! permissions.
//!
//! ```sh
//! cargo run --example x_api_key --features admin-api,sqlite
//! URL=http://127.0.0.1:3000
//! curl -H 'x-api-key: KEY' $URL/api/orgs/org_a/stats   # 200; 403 for `other`
//! curl -X POST -H 'x-api-key: KEY' $URL/api/orgs/org_a/shortLinks   # 200; 403 for `stats`
//! curl -H 'x-api-key: KEY' $URL/api/orgs/org_b/stats   # 403: another organization
//! curl -H 'x-api-key: KEY' $URL/api/keys   # 200 for `admin`
//! ```
//!
//! It prints its keys, and these lines with the keys filled in. The management API is under
//! `/api/keys`.

mod common;

use std::{env, error::Error, path::Path};

use axum::{
    Json, Router,
    http::Method,
    routing::{MethodRouter, any},
};
use serde_json::{Value, json};
use tower_api_key::{
    ConfigError, KeyFormat, KeyManager, Mask, Owner, Permissions, Principal, Require, Scheme,
    manage::{Actor, Issued, KeyEvent, ManageError, NewKey},
    store::SqliteStore,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let database = env::var("DATABASE").unwrap_or_else(|_| "h0p.db".to_owned());
    let manager = manager(Path::new(&database), audit).await?;
    let keys = first_keys(&manager).await?;
    common::print_keys(&keys);
    let app = app(&manager)?;

    let (listener, url) = common::listen().await?;
    println!("listening on {url}\n\n{}", common::heading(&keys, &database));
    let expected = [("org_a", 200, 403), ("org_a", 200, 200), ("org_a", 403, 403), ("org_b", 200, 200)];
    for ((name, issued), (own, links, keys)) in keys.iter().zip(expected) {
        let header = format!("-H 'x-api-key: {}'", issued.key().expose());
        println!("  curl {header} {url}/api/orgs/{own}/stats   # 200: {name}");
        println!("  curl -X POST {header} {url}/api/orgs/{own}/shortLinks   # {links}: {name}");
        println!("  curl {header} {url}/api/keys   # {keys}: {name}");
        println!("  curl {header} {url}/api/orgs/org_c/stats   # 403: {name}, another organization");
    }
    println!("  curl -H 'x-api-key: KEY' {url}/api/keys   # 401: unknown key\n");
    axum::serve(listener, app).with_graceful_shutdown(common::stopped()).await?;
    Ok(manager.flush().await?)
}

const RESOURCES: [&str; 6] = ["shortLinks", "domains", "stats", "files", "apiKeys", "webhooks"];
const ACTIONS: [&str; 4] = ["create", "read", "update", "delete"];

/// Returns a manager that allows one user key per user and organization, and logs every change.
pub(crate) async fn manager(
    database: &Path,
    audit: impl Fn(&KeyEvent) + Send + Sync + 'static,
) -> Result<KeyManager, Box<dyn Error>> {
    let store = SqliteStore::open(database).await?;
    let manager = KeyManager::builder(store).format(KeyFormat::new("h0p")?).keys_per_user(1).mask(Mask::LastFour);
    Ok(manager.on_event(audit).build()?)
}

fn audit(event: &KeyEvent) {
    eprintln!("audit: {:?} {} by {} in {:?}", event.kind(), event.key_id(), event.author(), event.organization());
}

/// Issues four keys at the first start. In `org_a` are the key of a user and two keys of service
/// accounts, in `org_b` one key of a service account.
pub(crate) async fn first_keys(manager: &KeyManager) -> Result<Vec<(&'static str, Issued)>, ManageError> {
    let everything = everything_but("");
    let stats = Permissions::new().grant("stats", "read");
    let alice = Actor::trusted(Owner::User("alice".to_owned()), everything.clone()).in_organization("org_a");
    let here = Actor::trusted(Owner::ServiceAccount, everything.clone()).in_organization("org_a");
    let elsewhere = here.clone().in_organization("org_b");
    let user = NewKey::user("Alice's key").permissions(everything_but("apiKeys"));
    let Some(user) = manager.bootstrap(&alice, user).await? else {
        return Ok(Vec::new());
    };
    let admin = NewKey::service_account("Administration").permissions(everything.clone());
    Ok(vec![
        ("user", user),
        ("admin", manager.issue(&here, admin).await?),
        ("stats", manager.issue(&here, NewKey::service_account("Reports").permissions(stats)).await?),
        ("other", manager.issue(&elsewhere, NewKey::service_account("Another's").permissions(everything)).await?),
    ])
}

pub(crate) fn everything_but(excepted: &str) -> Permissions {
    let resources = RESOURCES.into_iter().filter(|resource| *resource != excepted);
    resources.flat_map(|resource| ACTIONS.map(|action| (resource, action))).collect()
}

/// Returns the service. It reads keys from `x-api-key` only, and the organization in the path must
/// be the organization of the key.
pub(crate) fn app(manager: &KeyManager) -> Result<Router, ConfigError> {
    let auth = manager.layer().schemes([Scheme::x_api_key()]).realm("h0p").build()?;
    let routes = RESOURCES.iter().fold(Router::new(), |routes, resource| {
        routes.route(&format!("/api/orgs/{{organization}}/{resource}"), handler(resource))
    });
    Ok(routes
        .route_layer(Require::organization_in_path("/api/orgs/{organization}")?)
        .merge(manager.router_at("/api/keys", auth.schemes()))
        .layer(auth))
}

/// Requires the permission of the method: POST creates, GET reads, PUT updates, DELETE deletes.
fn handler(resource: &'static str) -> MethodRouter {
    any(move |method: Method, key: Principal| async move { describe(resource, &method, &key) })
        .layer(Require::by_method(resource))
}

fn describe(resource: &str, method: &Method, key: &Principal) -> Json<Value> {
    Json(json!({
        "organization": key.organization(),
        "resource": resource,
        "method": method.as_str(),
        "by": key.owner().map(ToString::to_string),
    }))
}
