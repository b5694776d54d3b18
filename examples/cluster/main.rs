//! Runs two nodes over one PostgreSQL: a key revoked on one node is rejected on the other at once.
//!
//! ```sh
//! cargo run --example cluster --features admin-api,postgres,cache
//! ```
//!
//! It prints its keys, the two nodes, and these lines with everything filled in:
//!
//! ```sh
//! curl NODE_ONE/stats -H 'X-API-Key: READER'                     # 200
//! curl -X DELETE NODE_ONE/api/keys/ID -H 'X-API-Key: ADMIN'      # 200: revoked on node one
//! sleep 1; curl NODE_TWO/stats -H 'X-API-Key: READER'            # 401: rejected on node two
//! ```
//!
//! It starts the installed PostgreSQL in a temporary directory, and two nodes as separate
//! processes. `node.rs` shows how to build a node. With the argument `node`, this program runs one
//! node: it uses the database `DATABASE_URL` and listens on `ADDR`.

#[path = "../common/mod.rs"]
mod common;
mod node;
mod postgres;

use std::{
    env,
    error::Error,
    io::{BufRead, BufReader},
    process::{Child, ChildStdout, Command, Stdio},
};

use postgres::Postgres;
use reqwest::Client;
use serde_json::{Value, json};
use tokio::time::Instant;
use tower_api_key::{
    KeyFormat, KeyManager, Owner, Permissions,
    manage::{Actor, Issued, NewKey},
    store::PostgresStore,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    if env::args().nth(1).as_deref() == Some("node") {
        return node::serve().await;
    }

    // A database with the first keys.
    let postgres = Postgres::start(&[]);
    let (admin, reader) = first_keys(&postgres.url()).await?;
    let (admin_key, reader_key) = (admin.key().expose(), reader.key().expose());

    // Two nodes.
    let (one, two) = (Node::start(&postgres.url())?, Node::start(&postgres.url())?);
    println!("key admin: {admin_key}\nkey reader: {reader_key}\nlistening on {}\nlistening on {}", one.url, two.url);
    println!("\nTry:");
    for node in [&one, &two] {
        println!("  curl {}/stats -H 'X-API-Key: {reader_key}'   # 200", node.url);
    }
    let id = reader.record().id();
    println!("  curl -X DELETE {}/api/keys/{id} -H 'X-API-Key: {admin_key}'   # 200: revoked on node one", one.url);
    println!("  sleep 1; curl {}/stats -H 'X-API-Key: {reader_key}'   # 401: rejected on node two\n", two.url);

    // The same steps with another key, without the pause.
    measure(&one.url, &two.url, admin_key).await?;

    common::stopped().await;
    Ok(())
}

async fn first_keys(database: &str) -> Result<(Issued, Issued), Box<dyn Error>> {
    let store = PostgresStore::open(database).await?;
    let manager = KeyManager::builder(store).format(KeyFormat::new("acme")?).build()?;
    let keys: Permissions =
        ["create", "read", "update", "delete"].map(|action| ("apiKeys", action)).into_iter().collect();
    let everything = keys.grant("stats", "read");
    let service = Actor::trusted(Owner::ServiceAccount, everything.clone());
    let admin = NewKey::service_account("Administrator").permissions(everything);
    let admin = manager.bootstrap(&service, admin).await?.ok_or("the database has keys already")?;
    let reader = manager
        .issue(&service, NewKey::service_account("Reader").permissions(Permissions::new().grant("stats", "read")));
    Ok((admin, reader.await?))
}

/// Issues a key on node one, uses it on both nodes, revokes it on node one, and sends requests to
/// node two until it rejects the key.
async fn measure(one: &str, two: &str, admin: &str) -> Result<(), reqwest::Error> {
    let client = Client::builder().no_proxy().build()?;
    let new = json!({ "type": "bot", "name": "measured", "permissions": { "stats": ["read"] } });
    let issued = client.post(format!("{one}/api/keys")).header("x-api-key", admin).json(&new).send().await?;
    let issued: Value = issued.error_for_status()?.json().await?;
    let (id, key) = (issued["id"].as_str().unwrap_or_default(), issued["key"].as_str().unwrap_or_default());
    let status = async |node: &str| {
        let response = client.get(format!("{node}/stats")).header("x-api-key", key).send().await;
        response.map(|response| response.status().as_u16())
    };
    println!("a new key: node one answers {}, node two {}", status(one).await?, status(two).await?);
    // Node two has cached the key by now.
    status(two).await?;

    let revoke = client.delete(format!("{one}/api/keys/{id}")).header("x-api-key", admin);
    revoke.send().await?.error_for_status()?;
    let revoked = Instant::now();
    let mut requests = 1;
    while status(two).await? == 200 {
        requests += 1;
    }
    let lag = revoked.elapsed().as_secs_f64() * 1000.0;
    println!("revoked on node one: rejected on node two after {lag:.1} ms, at request {requests}");
    Ok(())
}

/// A running node. Dropping it ends the process; it is dropped before the database.
struct Node {
    url: String,
    process: Child,
    /// Kept open, so that the node can print more.
    _output: BufReader<ChildStdout>,
}

impl Node {
    fn start(database: &str) -> Result<Self, Box<dyn Error>> {
        let mut command = Command::new(env::current_exe()?);
        command.arg("node").env("DATABASE_URL", database).env("ADDR", "127.0.0.1:0");
        let mut process = command.stdout(Stdio::piped()).spawn()?;
        let mut output = BufReader::new(process.stdout.take().ok_or("no output")?);
        let mut line = String::new();
        output.read_line(&mut line)?;
        let url = line.trim_end().strip_prefix("listening on ").ok_or("the node did not start")?.to_owned();
        Ok(Self { url, process, _output: output })
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // SIGTERM is a graceful shutdown, in which the node writes its usage counts.
        let _ = Command::new("kill").arg(self.process.id().to_string()).status();
        let _ = self.process.wait();
    }
}
