//! The text of a key comes from the standard input, and nothing else is taken for one.

use std::{fs, io::Write, process::Stdio};

use crate::support::World;

#[test]
fn what_is_not_one_key_is_refused() {
    let world = World::sqlite();
    let (_, key) = world.issue(&["bot"]);
    let two = format!("{key}\n{key}\n");
    let inner = format!("{}\n{}", &key[..20], &key[20..]);
    let long = "a".repeat(100_000);
    let inputs: [(&[u8], &str); 7] = [
        (b"", "is empty"),
        (b" \n\t\n", "is empty"),
        (two.as_bytes(), "more than one line"),
        (inner.as_bytes(), "more than one line"),
        (b"\xff\xfe\x00\x01", "is not text"),
        (b"key_\0x", "cannot be a key"),
        (long.as_bytes(), "cannot be a key"),
    ];
    for (input, expected) in inputs {
        for args in [&["find"][..], &["revoke", "--stdin", "--yes"]] {
            let refused = world.fails(2, args, input);
            assert!(refused.contains(expected), "{expected}: {refused}");
        }
    }
    assert_eq!(world.json(&["list"])[0]["status"], "active");
}

#[test]
fn a_key_is_no_argument_and_no_program_sees_it() {
    let world = World::sqlite();
    let (_, key) = world.issue(&["bot"]);
    // Typed as an argument, it is an error that does not repeat it.
    let mut typed = world.command(&["find"]);
    let typed = typed.arg("key_typed_as_an_argument").output().unwrap();
    assert_eq!(typed.status.code(), Some(2));
    let mut child = world.command(&["find"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(key.as_bytes()).unwrap();
    // While the command waits for the end of its input, as during a slow pipe.
    std::thread::sleep(std::time::Duration::from_millis(300));
    let of_command = |name: &str| fs::read(format!("/proc/{}/{name}", child.id())).unwrap();
    assert!(of_command("cmdline").starts_with(env!("CARGO_BIN_EXE_tower-api-key").as_bytes()));
    for name in ["cmdline", "environ"] {
        assert!(!String::from_utf8_lossy(&of_command(name)).contains(&key), "{name}");
    }
    drop(stdin);
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(0));
}

#[test]
fn an_unknown_command_or_option_is_an_error_of_usage() {
    let world = World::empty();
    for args in [&["steal"][..], &["list", "--orgs"], &[], &["issue"], &["issue", "a", "--grant", "links"], &["show"]] {
        world.fails(2, args, "");
    }
    assert!(world.ok(&["--help"]).contains("130"), "the exit codes are in the help");
    assert!(world.ok(&["--version"]).starts_with("tower-api-key "));
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        assert!(world.ok(&["completions", shell]).contains("regenerate"), "{shell}");
    }
    assert!(world.ok(&["man"]).starts_with(".ie"));
    fs::create_dir(world.path("man")).unwrap();
    world.ok(&["man", "--directory", "man"]);
    assert!(world.path("man/tower-api-key-revoke.1").exists());
}

#[test]
fn an_empty_name_of_an_owner_is_refused() {
    let world = World::sqlite();
    for option in ["--organization", "--user"] {
        for name in ["", " ", "a\nb"] {
            let refused = world.fails(2, &["issue", "bot", option, name], "");
            assert!(refused.contains("must not be empty"), "{option} {name:?}: {refused}");
        }
    }
    let line = format!("{{\"name\":\"a\",\"organization\":\"\",\"digest\":\"{:064x}\"}}", 1);
    let file = world.file("keys.jsonl", line);
    assert!(world.fails(2, &["import", &file], "").contains("the organization is empty"));
}

#[test]
fn a_text_in_place_of_an_id_is_not_repeated() {
    let world = World::sqlite();
    let (_, key) = world.issue(&["bot"]);
    // `World::run` does not let a key be an argument.
    for command in ["show", "revoke", "rotate", "regenerate", "disable", "enable"] {
        let mut run = world.command(&[command]);
        let output = run.args([&key, "--yes"]).output().unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(3), "{command}: {err}");
        assert!(!err.contains(&key) && err.contains("history of your shell"), "{command}: {err}");
    }
}
