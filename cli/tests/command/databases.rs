//! Databases that cannot be used, and several processes at once.

use std::{
    io::{BufRead, BufReader},
    process::Child,
    thread::sleep,
    time::Duration,
};

use sqlx::{Connection, PgConnection, SqliteConnection};

use crate::support::{World, on_both, signal};

on_both!(twenty_processes_issue_at_once, tables_of_a_newer_version_are_refused);

fn twenty_processes_issue_at_once(world: &World) {
    let names: Vec<String> = (0..20).map(|number| format!("bot {number}")).collect();
    let children: Vec<(Child, [&str; 2])> =
        names.iter().map(|name| (world.start(&["issue", name], ""), ["issue", name.as_str()])).collect();
    for (child, args) in children {
        let run = world.end(child, &args);
        assert_eq!(run.code, 0, "{run:?}");
    }
    assert_eq!(world.json(&["list"]).len(), 20);
}

fn tables_of_a_newer_version_are_refused(world: &World) {
    sql(world, "insert into api_keys_schema (version, works_with) values (99, 99)");
    for args in [&["list"][..], &["migrate"], &["issue", "bot"]] {
        let refused = world.fails(5, args, "");
        assert!(refused.contains("newer version of tower-api-key"), "{refused}");
    }
}

/// The library's default is 90 days, and with two settings the shorter one counts.
#[test]
fn old_events_are_kept() {
    let world = World::sqlite();
    let (id, _) = world.issue(&["bot"]);
    sql(&world, "update api_key_events set at = 0");
    let mut follow = world.command(&["events", "--follow"]).spawn().unwrap();
    BufReader::new(follow.stdout.as_mut().unwrap()).read_line(&mut String::new()).unwrap();
    // Longer than a manager takes to begin its upkeep.
    sleep(Duration::from_millis(500));
    signal(&follow, "INT");
    follow.wait().unwrap();
    assert_eq!(world.json(&["events", "--key", &id]).len(), 1);
}

/// Several processes create the database, and one of them issues the first key.
fn one_process_of_many_issues_the_first_key(world: &World) {
    let children: Vec<Child> = (0..10).map(|_| world.start(&["bootstrap", "admin"], "")).collect();
    let runs: Vec<_> = children.into_iter().map(|child| world.end(child, &["bootstrap"])).collect();
    let mut codes: Vec<i32> = runs.iter().map(|run| run.code).collect();
    codes.sort_unstable();
    assert_eq!(codes, [0, 4, 4, 4, 4, 4, 4, 4, 4, 4], "{runs:?}");
}

#[test]
fn one_process_of_many_issues_the_first_key_in_sqlite() {
    one_process_of_many_issues_the_first_key(&World::empty());
}

#[test]
#[ignore = "needs PostgreSQL"]
fn one_process_of_many_issues_the_first_key_in_postgres() {
    one_process_of_many_issues_the_first_key(&World::empty_postgres());
}

#[test]
fn only_migrate_and_bootstrap_create_a_file() {
    let world = World::empty();
    for args in [&["list"][..], &["issue", "bot"], &["import", "keys.jsonl"], &["sweep", "--remove-ended-for", "1d"]] {
        let refused = world.fails(5, args, "");
        assert!(refused.contains("tower-api-key migrate"), "{refused}");
    }
    assert!(!world.path("keys.db").exists());
    world.file("keys.db", "");
    let refused = world.fails(5, &["list"], "");
    assert!(refused.contains("tower-api-key migrate"), "{refused}");
    world.file("text.db", "this is no database, although it is long enough for the header of one");
    world.fails(5, &["list", "--database", "sqlite:text.db"], "");
}

#[test]
#[ignore = "needs PostgreSQL"]
fn a_postgres_database_without_tables_names_the_command() {
    let refused = World::empty_postgres().fails(5, &["list"], "");
    assert!(refused.contains("tower-api-key migrate"), "{refused}");
}

#[test]
fn a_password_is_never_printed() {
    let world = World::empty();
    // The port is closed, and the name is none.
    for url in [
        "postgres://keys:hunter2@127.0.0.1:1/keys",
        "postgres://keys:hunter2@no.invalid/keys",
        "postgres://keys:hunter2@127.0.0.1:port/keys",
        "postgres://keys:hunter2@127.0.0.1/keys?sslmod=x",
        "mysql://keys:hunter2@127.0.0.1/keys",
    ] {
        let as_argument = world.run(&["list", "--database", url]);
        let from_environment = world.command(&["list"]).env("DATABASE_URL", url).output().unwrap();
        assert!(matches!(as_argument.code, 2 | 5), "{as_argument:?}");
        assert_eq!(from_environment.status.code(), Some(as_argument.code));
        let from_environment = String::from_utf8(from_environment.stderr).unwrap();
        for printed in [&as_argument.out, &as_argument.err, &from_environment] {
            assert!(!printed.contains("hunter2"), "{printed}");
        }
        let is_warned = as_argument.err.contains("other users of this machine");
        assert_eq!(is_warned, url.starts_with("postgres"), "{as_argument:?}");
        assert!(!from_environment.contains("other users"));
    }
    let help = world.command(&["--help"]).env("DATABASE_URL", "postgres://keys:hunter2@db/keys").output().unwrap();
    assert!(!String::from_utf8(help.stdout).unwrap().contains("hunter2"));
}

pub(crate) fn sql(world: &World, statement: &'static str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        if world.url.starts_with("sqlite:") {
            let mut session = SqliteConnection::connect(&world.url).await.unwrap();
            sqlx::query(statement).execute(&mut session).await.unwrap();
            session.close().await.unwrap();
        } else {
            let mut session = PgConnection::connect(&world.url).await.unwrap();
            sqlx::query(statement).execute(&mut session).await.unwrap();
            session.close().await.unwrap();
        }
    });
}
