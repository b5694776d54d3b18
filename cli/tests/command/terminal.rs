//! A person at a terminal is asked. `script` (util-linux) gives the command a terminal.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use crate::support::World;

/// Runs the command on a terminal, types these lines, and returns its exit code and all it printed.
fn type_into(world: &World, command: &str, typed: &str) -> (i32, String) {
    let program = env!("CARGO_BIN_EXE_tower-api-key");
    let mut child = Command::new("script")
        .args(["--quiet", "--return", "--echo", "never", "--command", &format!("{program} {command}"), "/dev/null"])
        .env("DATABASE_URL", &world.url)
        .current_dir(world.folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    for line in typed.lines() {
        std::thread::sleep(std::time::Duration::from_millis(500));
        writeln!(stdin, "{line}").unwrap();
    }
    let output = child.wait_with_output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

#[test]
#[ignore = "needs script of util-linux"]
fn dangerous_commands_ask_and_a_typed_key_is_hidden() {
    let world = World::sqlite();
    let (id, key) = world.issue(&["bot"]);
    let (code, printed) = type_into(&world, &format!("revoke {id}"), "n\n");
    assert!(code == 2 && printed.contains("for good? [y/N]") && printed.contains("nothing was changed"), "{printed}");
    assert_eq!(world.json(&["show", &id])[0]["status"], "active");
    let (code, printed) = type_into(&world, "revoke --stdin", &format!("{key}\ny\n"));
    assert_eq!(code, 0, "{printed}");
    assert!(printed.contains("key: ") && !printed.contains(&key), "{printed}");
    assert_eq!(world.json(&["show", &id])[0]["status"], "revoked");
}
