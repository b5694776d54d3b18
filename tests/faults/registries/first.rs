//! M13: of many processes that start concurrently over an empty store, exactly one creates a key.

use tower_api_key::{KeyManager, KeyRegistry, Owner, manage::NewKey};

use super::{manager, memory, trusted};
use crate::support::registry::everything;

/// Returns whether this start has created the first key.
async fn start(manager: &KeyManager) -> bool {
    let service = trusted(Owner::ServiceAccount, "acme");
    manager.bootstrap(&service, NewKey::service_account("first").permissions(everything())).await.unwrap().is_some()
}

#[tokio::test(flavor = "multi_thread")]
async fn m13_of_many_starts_at_once_one_makes_a_key() {
    for _ in 0..100 {
        let manager = manager(memory());
        let starting: Vec<_> = (0..20)
            .map(|_| {
                tokio::spawn({
                    let manager = manager.clone();
                    async move { start(&manager).await }
                })
            })
            .collect();
        let mut first = 0;
        for starting in starting {
            first += usize::from(starting.await.unwrap());
        }
        assert_eq!(first, 1);
    }
}

/// Any key counts, including a revoked one and one of another organization.
#[tokio::test]
async fn m13_a_store_with_any_key_has_had_its_first() {
    let store = memory();
    let manager = manager(store.clone());
    let elsewhere = trusted(Owner::ServiceAccount, "globex");
    let other = manager.issue(&elsewhere, NewKey::service_account("another's")).await.unwrap();
    assert!(!start(&manager).await);
    manager.revoke(&elsewhere, other.record().id().clone()).await.unwrap();
    assert!(!start(&manager).await);
    manager.remove(&elsewhere, other.record().id().clone()).await.unwrap();
    assert!(start(&manager).await);
    let Ok(Err(refusal)) = store.insert_first(tower_api_key::KeyRecord::new("k", [7; 32]), None).await else {
        panic!()
    };
    assert_eq!(refusal, tower_api_key::store::RegistryError::NotEmpty);
}

#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod processes {
    use std::{
        env, fs,
        io::Read,
        path::Path,
        process::{Command, Stdio},
    };

    use super::{manager, start};

    const PROCESSES: usize = 20;

    /// How often the processes are started, each time over empty tables.
    const ROUNDS: usize = 5;

    /// Starts one of the processes: this test alone, with the name of a store.
    #[tokio::test]
    #[ignore = "needs a test that starts it as a process"]
    async fn m13_one_of_many_processes() {
        let (Ok(store), Ok(folder)) = (env::var("FIRST_KEY_OF"), env::var("READY")) else { return };
        let prefix = env::var("PREFIX").unwrap();
        fs::write(Path::new(&folder).join(format!("ready{}", std::process::id())), "").unwrap();
        // Waits until all have started.
        std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
        let made = match store.strip_prefix("postgres:") {
            #[cfg(feature = "postgres")]
            Some(_) => {
                let builder = tower_api_key::store::PostgresStore::builder(&store).table_prefix(&prefix);
                start(&manager(builder.open().await.unwrap())).await
            }
            #[cfg(feature = "sqlite")]
            None => {
                let builder = tower_api_key::store::SqliteStore::builder(&store).table_prefix(&prefix);
                start(&manager(builder.open().await.unwrap())).await
            }
            #[allow(unreachable_patterns, reason = "with both features")]
            _ => panic!("unknown store"),
        };
        println!("\nmade: {made}");
    }

    /// Starts all processes, releases them together, and counts those that created a key.
    fn count(store: &str, prefix: &str) -> usize {
        let folder = tempfile::tempdir().unwrap();
        let name = concat!(module_path!(), "::m13_one_of_many_processes");
        let name = name.split_once("::").unwrap().1;
        let mut processes: Vec<_> = (0..PROCESSES)
            .map(|_| {
                let mut command = Command::new(env::current_exe().unwrap());
                command.args([name, "--exact", "--ignored", "--nocapture"]).env("FIRST_KEY_OF", store);
                command.env("READY", folder.path()).env("PREFIX", prefix);
                command.stdin(Stdio::piped()).stdout(Stdio::piped());
                command.spawn().unwrap()
            })
            .collect();
        while fs::read_dir(folder.path()).unwrap().count() < PROCESSES {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        for process in &mut processes {
            drop(process.stdin.take());
        }
        let outputs = processes.into_iter().map(|process| process.wait_with_output().unwrap());
        let said: Vec<_> = outputs.map(|output| String::from_utf8(output.stdout).unwrap()).collect();
        let all = said.iter().filter(|said| said.contains("made: ")).count();
        assert_eq!(all, PROCESSES, "{said:?}");
        said.iter().filter(|said| said.contains("made: true")).count()
    }

    /// The tables of each prefix are a store of their own, with a first key of its own.
    fn check(store: &str) {
        for round in 0..ROUNDS {
            let prefix = format!("round{round}_");
            assert_eq!(count(store, &prefix), 1);
            assert_eq!(count(store, &prefix), 0, "after the first key");
        }
    }

    #[cfg(feature = "sqlite")]
    #[test]
    fn m13_of_20_processes_at_once_over_one_file_one_makes_a_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.db");
        check(path.to_str().unwrap());
    }

    #[cfg(feature = "postgres")]
    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "needs postgres"]
    async fn m13_of_20_processes_at_once_over_one_database_one_makes_a_key() {
        let server = crate::postgres_server::Server::start(&[]);
        let url = server.database().await.url;
        tokio::task::spawn_blocking(move || check(&url)).await.unwrap();
    }
}
