//! The reader of the output may close it.

use std::{
    io::{BufRead, BufReader},
    process::Stdio,
};

use crate::support::{World, many, text};

#[test]
fn a_closed_pipe_ends_a_list_quietly() {
    let world = World::sqlite();
    world.file("keys.jsonl", many(300));
    world.ok(&["import", "keys.jsonl", "--yes"]);
    for args in [&["list", "--json"][..], &["list", "--limit", "300"], &["export"], &["events", "--limit", "300"]] {
        // More than a pipe holds, so that the command is still writing.
        let run = format!("for i in 1 2 3; do {} \"$@\" || exit; done", env!("CARGO_BIN_EXE_tower-api-key"));
        let mut child = std::process::Command::new("sh")
            .args(["-c", &run, "sh"])
            .args(args)
            .env("DATABASE_URL", &world.url)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = BufReader::with_capacity(16, child.stdout.take().unwrap());
        out.read_line(&mut String::new()).unwrap();
        drop(out);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(141), "{args:?}");
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "", "{args:?}");
    }
}

/// The key exists then, so the operator must know its id.
#[test]
fn a_key_whose_text_cannot_be_written_is_named() {
    let world = World::sqlite();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let run = world.command(&["issue", "bot"]).stdout(full).output().unwrap();
    let err = String::from_utf8(run.stderr).unwrap();
    let id = text(&world.json(&["list"])[0], "id");
    assert_eq!(run.status.code(), Some(1), "{err}");
    assert!(err.contains(&format!("tower-api-key regenerate {id}")), "{err}");
}
