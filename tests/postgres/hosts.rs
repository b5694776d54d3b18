//! Tests URLs with several hosts.

use std::net::TcpListener;

use tower_api_key::{
    KeyRegistry, KeyStore,
    store::{PostgresStore, PostgresStoreBuilder},
};

use crate::{
    database::Postgres,
    of_alice, refused, server,
    support::{bounds::OPERATION_TIMEOUT, until},
};

/// Returns a port on which nothing listens.
fn unused_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn url(ports: &[u16], database: &str) -> String {
    let hosts: Vec<String> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
    format!("postgres://postgres:a-secret@{}/{database}?target_session_attrs=read-write", hosts.join(","))
}

fn builder(ports: &[u16], database: &str) -> PostgresStoreBuilder {
    PostgresStore::builder(url(ports, database)).operation_timeout(OPERATION_TIMEOUT * 2)
}

#[tokio::test]
#[ignore = "needs postgres"]
async fn a_host_that_is_down_or_silent_is_passed_over() {
    let (server, database) = server().await;
    database.store().await.close().await;
    // The system accepts the connection, but no program answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let (silent, up) = (silent.local_addr().unwrap().port(), server.postgres.port);
    for ports in [[unused_port(), up], [up, unused_port()], [silent, up]] {
        let store = builder(&ports, &database.name).open().await.unwrap();
        store.insert(of_alice("k", 1), None, None).await.unwrap().unwrap();
        assert!(store.find(&[1; 32].into()).await.unwrap().is_some());
        store.remove(&"k".into(), None).await.unwrap().unwrap();
        let shown = format!("{store:?}");
        assert!(shown.contains(&format!("127.0.0.1:{}", ports[1])) && !shown.contains("secret"), "{shown}");
    }
    let by_parameter = format!("postgres:///{}?user=postgres&host=127.0.0.1,localhost&port={up}", database.name);
    PostgresStore::connect(by_parameter).await.unwrap();
}

#[tokio::test]
#[ignore = "needs postgres"]
async fn the_primary_is_found_beside_a_standby_and_again_after_a_failover() {
    let mut primary = Postgres::start(&[]);
    PostgresStore::open(primary.url()).await.unwrap().close().await;
    let standby = primary.standby(&[]);
    let store = builder(&[standby.port, primary.port], "postgres").connect().await.unwrap();
    store.insert(of_alice("k", 1), None, None).await.unwrap().unwrap();
    // Its position on the standby is the same before the primary ends.
    until(async || {
        let found = PostgresStore::connect(standby.url()).await.unwrap_err();
        assert!(found.to_string().contains("replica"), "{found}");
        primary.log();
        replayed(&primary, &standby).await
    })
    .await;
    primary.kill();
    let error = store.find(&[1; 32].into()).await.unwrap_err().to_string();
    assert!(error.contains("none of the 2 hosts") && !error.contains("secret"), "{error}");
    standby.promote();
    assert!(store.find(&[1; 32].into()).await.unwrap().is_some());
    store.revoke(&"k".into(), None).await.unwrap().unwrap();
}

/// Returns whether the standby has all that the primary has committed.
async fn replayed(primary: &Postgres, standby: &Postgres) -> bool {
    use sqlx::{Connection, PgConnection};

    let written = "select pg_current_wal_lsn()::text";
    let replayed = "select pg_last_wal_replay_lsn()::text";
    let mut primary = PgConnection::connect(&primary.url()).await.unwrap();
    let mut standby = PgConnection::connect(&standby.url()).await.unwrap();
    let written: String = sqlx::query_scalar(written).fetch_one(&mut primary).await.unwrap();
    let replayed: String = sqlx::query_scalar(replayed).fetch_one(&mut standby).await.unwrap();
    written == replayed
}

#[tokio::test]
#[ignore = "needs postgres"]
async fn an_error_of_several_hosts_has_their_number_and_no_password() {
    let primary = Postgres::start(&[]);
    let standby = primary.standby(&[]);
    let down = [unused_port(), unused_port()];
    let error = builder(&down, "postgres").connect().await.unwrap_err();
    let text = format!("{error} {error:?}");
    assert!(text.contains("none of the 2 hosts") && text.contains("efused") && !text.contains("secret"), "{text}");
    // That one is a replica says less than that the other is down.
    let error = builder(&[standby.port, down[0]], "postgres").connect().await.unwrap_err().to_string();
    assert!(error.contains("efused") && !error.contains("replica"), "{error}");
    refused(builder(&[standby.port, standby.port], "postgres").connect().await, "replica");
    let error = builder(&[standby.port, primary.port], "no_such").connect().await.unwrap_err().to_string();
    assert!(error.contains("\"no_such\" does not exist"), "{error}");
}
