//! A signal in the middle: every change is whole, and the command says how far it came.

use std::{
    io::{BufRead, BufReader},
    thread::sleep,
    time::Duration,
};

use crate::support::{World, many, on_both, signal};

const KEYS: usize = 500;

on_both!(an_interrupted_import_is_whole_and_goes_on, a_command_that_waits_ends_at_once);

fn an_interrupted_import_is_whole_and_goes_on(world: &World) {
    let file = world.file("keys.jsonl", many(KEYS));
    let args = ["import", &file, "--yes"];
    for name in ["INT", "TERM"] {
        let before = world.json(&["list"]).len();
        let child = world.start(&args, "");
        while world.json(&["list"]).len() == before {
            sleep(Duration::from_millis(10));
        }
        signal(&child, name);
        let run = world.end(child, &args);
        let stored = world.json(&["list"]);
        assert_eq!(run.code, 130, "{run:?}");
        assert!(stored.len() > before && stored.len() < KEYS, "{} are stored", stored.len());
        let expected = format!("{} of {KEYS} keys imported; {before} stored before", stored.len() - before);
        assert!(run.out.starts_with(&expected), "{expected}: {run:?}");
        assert!(run.err.contains("run the same command again"), "{run:?}");
        assert_eq!(world.json(&["events", "--limit", "1000"]).len(), stored.len(), "each key has its event");
    }
    let run = world.run(&args);
    assert_eq!((run.code, world.json(&["list"]).len()), (0, KEYS), "{run:?}");
}

fn a_command_that_waits_ends_at_once(world: &World) {
    world.issue(&["bot"]);
    let mut find = world.command(&["find"]).spawn().unwrap();
    // It stays open, so that the command waits.
    let _stdin = find.stdin.take();
    let mut follow = world.command(&["events", "--follow"]).spawn().unwrap();
    let mut lines = BufReader::new(follow.stdout.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().contains("issued"), "it begins with the latest events");
    world.issue(&["another"]);
    assert!(lines.next().unwrap().unwrap().contains("issued"), "and goes on with the next ones");
    for child in [find, follow] {
        signal(&child, "INT");
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130));
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "tower-api-key: interrupted\n");
    }
}

#[test]
fn an_interrupted_export_leaves_no_file() {
    let world = World::sqlite();
    let file = world.file("keys.jsonl", many(50));
    world.ok(&["import", &file]);
    let args = ["export", "--output", "out.jsonl"];
    let child = world.start(&args, "");
    signal(&child, "TERM");
    // It ended before the handler was there, was interrupted, or had finished.
    let output = child.wait_with_output().unwrap();
    let is_done = output.status.success();
    assert_eq!(world.path("out.jsonl").exists(), is_done);
    let names = std::fs::read_dir(world.folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let parts: Vec<_> = names.filter(|name| name.to_string_lossy().contains(".part-")).collect();
    assert!(parts.is_empty(), "{parts:?}");
}
