//! Checks architecture rules in the source: forbidden dependencies between modules, and tests that
//! pages name.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Returns every file below `folder`.
fn files(folder: &Path) -> Vec<PathBuf> {
    let (mut folders, mut files) = (vec![folder.to_owned()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files
}

fn read(path: PathBuf) -> String {
    fs::read_to_string(path).unwrap()
}

/// Returns every source file: its path below `src`, and its text without comments.
fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let without_comments = |path: PathBuf| {
        let name = path.strip_prefix(&root).unwrap().to_string_lossy().replace('\\', "/");
        let text = read(path);
        let code: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        (name, code.join("\n"))
    };
    let is_code = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "rs");
    files(&root).into_iter().filter(is_code).map(without_comments).collect()
}

/// Returns the files that contain `word` in code.
fn files_with(word: &str) -> Vec<String> {
    let mut files: Vec<_> =
        sources().into_iter().filter(|(_, code)| code.contains(word)).map(|(path, _)| path).collect();
    files.sort();
    files
}

#[test]
fn a_module_does_not_know_the_modules_to_its_right() {
    let sources = sources();
    for (module, unknown) in [
        (
            "scheme/",
            &["use tower", "utoipa::", "store::", "record::", "principal::", "layer::", "guard::", "observe::"][..],
        ),
        (
            "key/",
            &["use tower", "store::", "record::", "principal::", "layer::", "guard::", "rejection::", "observe::"],
        ),
        ("permission/", &["use tower", "crate::"]),
        ("event/", &["use tower", "store::", "principal::", "layer::", "guard::", "manage::", "observe::"]),
        ("record/", &["use tower", "store::", "principal::", "layer::", "guard::", "observe::"]),
        ("store/", &["use tower", "scheme::", "principal::", "layer::", "guard::", "rejection::", "observe::"]),
        ("store/cached/freshness.rs", &["crate::", "std::sync", "std::time", "tokio", "KeyDigest"]),
        ("principal.rs", &["use tower", "store::", "layer::", "guard::", "observe::"]),
        ("leak/", &["use tower", "store::", "record::", "principal::", "layer::", "limit::", "guard::", "observe::"]),
        ("limit/", &["use tower", "store::", "scheme::", "layer::", "guard::", "manage::", "observe::"]),
        ("limit/gcra.rs", &["crate::", "std::sync", "std::time"]),
        ("limit/rule.rs", &["crate::", "std::sync", "std::time"]),
        ("limit/count.rs", &["crate::", "std::sync", "std::time"]),
        ("guard/", &["store::", "scheme::", "observe::", "utoipa::", "RejectionFormat"]),
        ("manage/", &["use tower::", "guard::", "observe::Observer", "RejectionFormat"]),
        ("manage/issue.rs", &["axum", "http", "scheme::", "layer::", "observe::"]),
        ("manage/import.rs", &["axum", "http", "scheme::", "layer::", "observe::"]),
        ("manage/rotate.rs", &["axum", "http", "scheme::", "layer::", "observe::"]),
        ("manage/http/", &["store::KeyStore", "store::KeyRegistry", "ErasedRegistry", "key::"]),
        ("rejection/", &["use tower", "store::", "principal::", "layer::", "guard::", "observe::"]),
        ("openapi", &["use tower", "axum", "store::", "record::", "principal::", "layer::", "manage::"]),
        ("client/", &["store::", "record::", "principal::", "guard::", "manage::", "rejection::", "observe::"]),
        ("client/", &["use tower::", "crate::layer", " layer::", "{layer::", "extensions"]),
        ("dashboard/", &["use tower::", "store::Key", "limit::", "observe::", "key::ApiKeyLayer"]),
        ("gateway/", &["use tower::", "store::", "manage::", "observe::", "limit::"]),
        ("address/", &["use tower", "store::", "record::", "principal::", "layer::", "limit::", "rejection::"]),
        ("body.rs", &["use tower", "crate::"]),
        ("path", &["use tower", "crate::"]),
        ("observe/", &["use tower", "store::", "layer::", "guard::"]),
    ] {
        let files = sources.iter().filter(|(path, _)| path.starts_with(module));
        assert!(files.clone().count() > 0, "{module} is gone");
        for (path, code) in files {
            for word in unknown {
                let knows = code.lines().find(|line| line.contains(word));
                assert_eq!(knows, None, "{path} knows {word}");
            }
        }
    }
}

#[test]
fn one_place_vouches_for_a_key() {
    assert_eq!(files_with("Verified("), ["record/verify.rs"]);
    assert_eq!(files_with("Principal::new("), ["layer/check.rs"]);
}

#[test]
fn one_place_renders_and_one_reads_the_time() {
    let of_others = |word| files_with(word).into_iter().filter(|file| !file.starts_with("rejection/"));
    assert!(of_others(".render(").eq(["layer/report.rs"]));
    assert!(of_others(".refusal(").eq(["layer/admit.rs", "layer/report.rs"]));
    assert_eq!(files_with("::now()"), ["clock.rs"]);
}

#[test]
fn only_static_keys_bring_the_text_of_a_key_into_a_store() {
    let files = files_with("ApiKey");
    let stores: Vec<_> = files.iter().filter(|path| path.starts_with("store/")).collect();
    assert_eq!(stores, ["store/static_keys.rs", "store/static_keys/value.rs"]);
}

/// Ensures that the actor is looked up again and that the work continues when the client
/// disconnects.
#[test]
fn a_registry_is_reached_through_the_manager_alone() {
    let reach = ["builder", "erased", "follower", "mod", "rehash", "usage"].map(|file| format!("manage/{file}.rs"));
    assert_eq!(files_with("ErasedRegistry"), reach);
    let files = files_with(".registry.clone()");
    assert!(files.iter().all(|file| file.starts_with("manage/") && !file.starts_with("manage/http/")), "{files:?}");
}

#[test]
fn a_database_is_known_to_its_store_alone() {
    let known = files_with("sqlx");
    assert!(known.iter().all(|path| path.starts_with("store/")), "{known:?}");
}

#[test]
fn keys_come_from_the_operating_systems_generator_and_from_nowhere_else() {
    assert_eq!(files_with("SysRng"), ["key/base62.rs"]);
    for other in ["thread_rng", "StdRng", "SmallRng", "rand::random", "rand::rng"] {
        assert_eq!(files_with(other), Vec::<String>::new());
    }
}

/// Every row of the guide's table of failures names existing tests.
#[test]
fn each_failure_in_the_guide_has_its_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let guide = read(root.join("docs/guide/src/deployment.md"));
    let failures = guide.split("\n## ").find(|section| section.starts_with("Failures")).unwrap();
    let rows: Vec<&str> = failures.lines().filter(|line| line.starts_with('|')).skip(2).collect();
    assert!(rows.len() > 10);
    for row in rows {
        let (_, last) = row.trim_end_matches([' ', '|']).rsplit_once('|').unwrap();
        let words: Vec<&str> = last.split('`').skip(1).step_by(2).collect();
        let mut file = "postgres/outages.rs";
        let mut names = 0;
        for word in words.iter().rev() {
            if word.contains('.') {
                file = word;
                continue;
            }
            let tests = read(root.join("tests").join(file));
            assert!(tests.contains(&format!("fn {word}(")), "{word} is not in {file}");
            (file, names) = ("postgres/outages.rs", names + 1);
        }
        assert!(names > 0 || last.trim_start().starts_with("the same"), "no test in {row}");
    }
}

/// Every row of the guide's table of attacks names existing tests.
#[test]
fn each_attack_in_the_guide_has_its_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let tests: String = ["tests", "src"].iter().flat_map(|folder| files(&root.join(folder))).map(read).collect();
    let guide = read(root.join("docs/guide/src/security.md"));
    let attacks = guide.split("\n## ").find(|section| section.starts_with("Attacks")).unwrap();
    let rows: Vec<&str> = attacks.lines().filter(|line| line.starts_with('|')).skip(2).collect();
    assert!(rows.len() > 20);
    for row in rows {
        let (_, last) = row.trim_end_matches([' ', '|']).rsplit_once('|').unwrap();
        let names: Vec<&str> = last.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "no test in {row}");
        for name in names {
            assert!(tests.contains(&format!("fn {name}(")), "there is no test {name}");
        }
    }
}

/// The modules are below `src`, and the tests of the invariants below `tests`.
#[test]
fn the_tables_of_the_architecture_name_files_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = read(root.join("ARCHITECTURE.md"));
    for (heading, column, folder) in [("Modules", 1, "src"), ("Invariants", 2, "tests")] {
        let section = page.split("\n## ").find(|section| section.starts_with(heading)).unwrap();
        let rows = section.lines().filter(|line| line.starts_with('|')).skip(2);
        let cells: Vec<&str> = rows.map(|row| row.split('|').nth(column).unwrap()).collect();
        assert!(cells.len() > 10, "{heading}");
        for cell in cells {
            let path = cell.split('`').nth(1).unwrap_or_else(|| panic!("no path in {cell}"));
            assert!(root.join(folder).join(path).exists(), "{folder}/{path} does not exist");
        }
    }
}

#[test]
fn the_pages_to_read_first_are_short() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (page, most) in [("README.md", 150), ("ARCHITECTURE.md", 110), ("docs/performance.md", 100)] {
        let lines = read(root.join(page)).lines().count();
        assert!(lines <= most, "{page} has {lines} lines");
    }
}
