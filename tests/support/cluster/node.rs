//! One node as a process of its own: this program, which runs one test.

use std::{
    env,
    io::{self, BufRead, BufReader, Read},
    net::SocketAddr,
    process::{Child, ChildStdout, Command, Stdio, exit},
    thread,
    time::Duration,
};

use axum::{Json, Router, routing::get};
use serde_json::json;
use sqlx::{PgPool, postgres::PgPoolOptions};
use tokio::{net::TcpListener, time::timeout};
use tower_api_key::{
    ClientAddress, KeyFormat, KeyManager, Owner, Permissions, Require,
    rights::{LiveRights, OwnerRights, Rights},
    roles::{LiveRoles, RolePermissions},
    store::{BoxError, CachedStore, PostgresStore},
};

use super::kind::tokens;
use crate::support::bounds::{DEADLINE, LEASE};

/// How a node finds its database.
const URL: &str = "TOWER_API_KEY_CLUSTER_NODE";

/// A running node. Dropping it kills it.
pub struct Process {
    child: Child,
    _output: BufReader<ChildStdout>,
}

/// The members and the roles of the application, in its tables.
#[derive(Clone)]
struct Application(PgPool);

#[test]
#[ignore = "needs the test that starts it"]
fn node() {
    let Ok(url) = env::var(URL) else { return };
    // It ends with the process that has started it.
    thread::spawn(|| {
        let _ = io::stdin().read_to_end(&mut Vec::new());
        exit(0);
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(serve(&url));
}

async fn serve(url: &str) {
    let store = PostgresStore::open(url).await.unwrap();
    let changes = store.change_feed();
    let keys = CachedStore::builder(store, changes).ttl(Duration::from_mins(10)).build().unwrap();
    let manager = KeyManager::builder(keys.clone()).format(KeyFormat::new("acme").unwrap()).build().unwrap();
    let application = Application(PgPoolOptions::new().acquire_timeout(LEASE).connect(url).await.unwrap());

    let auth = manager
        .layer()
        .deadline(DEADLINE)
        .owner_rights(LiveRights::cached(application.clone()))
        .roles(LiveRoles::cached(application))
        .tokens(tokens())
        .client_address(ClientAddress::behind(["127.0.0.1"]).x_forwarded_for().unwrap())
        .build()
        .unwrap();
    let app = Router::new()
        // One route for all kinds. So it needs a permission that a demoted owner does not have.
        .route("/stats", get(async || "42").layer(Require::permission("stats", "write")))
        .layer(auth)
        .route("/cache", get(async move || cache(&keys)));

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    // The test harness writes on the same line before.
    println!("@{}", listener.local_addr().unwrap());
    axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await.unwrap();
}

fn cache(keys: &CachedStore<PostgresStore>) -> Json<serde_json::Value> {
    let status = keys.status();
    Json(json!({
        "is_following": status.is_following,
        "entries": status.entries,
        "revocation_bound_ms": keys.revocation_bound().as_millis(),
    }))
}

impl OwnerRights for Application {
    type Error = BoxError;

    async fn rights(&self, owner: &Owner, _organization: Option<&str>) -> Result<Rights, BoxError> {
        let Owner::User(id) = owner else { return Ok(Rights::Blocked) };
        let role = sqlx::query_scalar::<_, String>("select role from members where id = $1").bind(id);
        Ok(match &*timeout(LEASE, role.fetch_one(&self.0)).await?? {
            "editor" => Rights::All,
            "reader" => Rights::Only(Permissions::new().grant("stats", "read")),
            _ => Rights::Blocked,
        })
    }
}

impl RolePermissions for Application {
    type Error = BoxError;

    async fn permissions(&self, role: &str, _organization: Option<&str>) -> Result<Option<Permissions>, BoxError> {
        let action = sqlx::query_scalar::<_, String>("select action from roles where name = $1").bind(role);
        let action = timeout(LEASE, action.fetch_optional(&self.0)).await??;
        Ok(action.map(|action| Permissions::new().grant("stats", action)))
    }
}

// === impl Process ===

impl Process {
    /// Starts a node over this database, and waits until it listens.
    pub fn start(url: String) -> (Self, SocketAddr) {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["cluster::node::node", "--exact", "--ignored", "--nocapture", "--test-threads=1"]);
        let mut child = command.env(URL, url).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut lines = output.by_ref().lines().map(Result::unwrap);
        let line = lines.find_map(|line| Some(line.split_once('@')?.1.to_owned()));
        let address = line.expect("the node ended before it was ready").parse().unwrap();
        (Self { child, _output: output }, address)
    }

    /// Sends a signal with `kill`, such as `-STOP`.
    pub fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
