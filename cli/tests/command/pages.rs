//! The examples of the guide and of the README run, in the order of the page.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use crate::support::World;

const PAGES: [&str; 2] = ["README.md", "../docs/guide/src/command.md"];

/// Returns the lines of the blocks that begin with ```` ```sh ````.
fn examples(page: &str) -> String {
    let mut is_example = false;
    let mut lines = String::new();
    for line in page.lines() {
        if line.trim_start().starts_with("```") {
            is_example = line.trim_start() == "```sh";
        } else if is_example {
            lines.extend([line.trim_start(), "\n"]);
        }
    }
    lines
}

#[test]
#[ignore = "needs bash and jq"]
fn the_examples_of_the_pages_run() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let program = Path::new(env!("CARGO_BIN_EXE_tower-api-key")).parent().unwrap().display().to_string();
    for name in PAGES {
        let script = examples(&fs::read_to_string(root.join(name)).unwrap());
        assert!(script.contains("tower-api-key issue") && script.contains("revoke --stdin"), "{name}");
        let world = World::empty();
        world.file("legacy.key", "a-key-of-another-system-1817\n");
        let path = format!("{program}:{}", std::env::var("PATH").unwrap());
        let mut bash = Command::new("bash");
        bash.args(["-euo", "pipefail", "-c", &script])
            .env("PATH", path)
            .env_remove("DATABASE_URL")
            .stdin(Stdio::null());
        let output = bash.current_dir(world.folder.path()).output().unwrap();
        let printed = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name}: {printed}");
    }
}

#[test]
fn the_guide_shows_the_configuration_of_the_demo() {
    let page = include_str!("../../../docs/guide/src/serve.md");
    let block = page.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next());
    assert_eq!(block, Some(include_str!("../../src/serve/demo.toml")));
}

#[test]
#[ignore = "needs bash and jq"]
fn bash_completes_options() {
    let script = World::empty().ok(&["completions", "bash"]);
    let complete = "\nCOMP_WORDS=(tower-api-key list --sor); COMP_CWORD=2; _tower-api-key tower-api-key --sor list || true; echo \"${COMPREPLY[@]}\"";
    let function = script.lines().next().unwrap().trim_end_matches("() {").to_owned();
    let script = script + &complete.replace("_tower-api-key", &function);
    let output = Command::new("bash").args(["-c", &script]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "--sort", "{output:?}");
}

#[test]
fn every_exit_code_of_the_guide_is_in_the_help() {
    let help = World::empty().ok(&["--help"]);
    let page = include_str!("../../../docs/guide/src/command.md");
    let codes = page.split("| exit code |").nth(1).unwrap().lines().skip(2).take_while(|line| line.starts_with('|'));
    let codes: Vec<_> = codes.map(|line| line.split('|').nth(1).unwrap().trim()).collect();
    assert_eq!(codes.len(), 8);
    for code in codes {
        assert!(help.contains(&format!("\n  {code:<5}")), "{code}: {help}");
    }
}
