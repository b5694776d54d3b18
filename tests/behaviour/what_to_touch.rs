//! Checks that the paths in the checklists of `ARCHITECTURE.md` exist.

use std::path::Path;

/// Returns the code spans of a text that are paths, with `{a,b}` written out.
fn paths(text: &str) -> Vec<String> {
    let spans = text.split('`').skip(1).step_by(2);
    let is_path = |span: &&str| {
        let has_extension = Path::new(span).extension().is_some_and(|extension| {
            ["rs", "md", "sql", "toml", "json", "py", "txt"].iter().any(|known| extension == *known)
        });
        let is_written_so = |character: char| character.is_ascii_alphanumeric() || "/._-{},*".contains(character);
        (span.contains('/') || has_extension) && !span.starts_with('/') && span.chars().all(is_written_so)
    };
    spans.filter(is_path).flat_map(written_out).collect()
}

fn written_out(path: &str) -> Vec<String> {
    match path.split_once('{').and_then(|(before, rest)| Some((before, rest.split_once('}')?))) {
        Some((before, (parts, after))) => {
            parts.split(',').flat_map(|part| written_out(&format!("{before}{}{after}", part.trim()))).collect()
        }
        None => vec![path.to_owned()],
    }
}

/// Returns the paths that do not exist. A path is below the repository or `src/`, or beside the
/// path before it.
fn missing(paths: &[String]) -> Vec<&str> {
    let mut folder = "";
    let mut missing = Vec::new();
    for path in paths {
        if exists(path) {
            folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        } else if !exists(&format!("{folder}/{path}")) {
            missing.push(path.as_str());
        }
    }
    missing
}

/// `*` matches any file name.
fn exists(path: &str) -> bool {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    [root.to_owned(), root.join("src")].iter().any(|below| match path.split_once('*') {
        None => below.join(path).exists(),
        Some((before, after)) => {
            let (folder, start) = before.rsplit_once('/').unwrap_or(("", before));
            let Ok(entries) = below.join(folder).read_dir() else { return false };
            let names = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
            names.into_iter().any(|name| name.starts_with(start) && name.ends_with(after))
        }
    })
}

#[test]
fn every_path_of_what_to_touch_exists() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/ARCHITECTURE.md")).unwrap();
    let (_, rest) = page.split_once("\n## What to touch\n").expect("the section \"What to touch\"");
    let section = rest.split_once("\n## ").map_or(rest, |(section, _)| section);
    let paths = paths(section);
    assert!(paths.len() > 20, "{paths:?}");
    let missing = missing(&paths);
    assert!(missing.is_empty(), "ARCHITECTURE.md, \"What to touch\": {missing:?}");
}

#[test]
fn a_missing_path_is_found_and_other_code_is_skipped() {
    let text = "`scheme/mod.rs`, `src/{lib,nothing}.rs`, `tests/faults/*.rs`, `main.rs`, `mian.rs`, `Status::Active`, `/api/keys`, `GET /x`.";
    let paths = paths(text);
    assert_eq!(paths, ["scheme/mod.rs", "src/lib.rs", "src/nothing.rs", "tests/faults/*.rs", "main.rs", "mian.rs"]);
    assert_eq!(missing(&paths), ["src/nothing.rs", "mian.rs"]);
}
