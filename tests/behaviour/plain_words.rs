//! Checks the prose of pages and comments: plain words, short lines, small files.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Words and phrases that have a plain or a technical equivalent, in lower case.
const BANNED: [&str; 26] = [
    "told",
    "tell",
    "tells",
    "whoever",
    "whomever",
    "whom",
    "nobody",
    "somebody",
    "stands",
    "goes",
    "anew",
    "house",
    "room",
    "at the door",
    "lent",
    "lend",
    "of its own accord",
    "thereby",
    "hereby",
    "thereof",
    "hung",
    "guest",
    "of one's own",
    "on behalf of whom",
    "somebody's",
    "nobody's",
];

const PAGES: [&str; 6] = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "MIGRATIONS.md", "docs", "cli/README.md"];

/// One line of prose with its number. An empty text ends a paragraph.
type Line<'a> = (usize, &'a str);

/// Returns every file below these files and folders that has this extension, with its text.
fn texts<'a>(below: impl IntoIterator<Item = &'a str>, extension: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut left: Vec<PathBuf> = below.into_iter().map(|path| root.join(path)).collect();
    let mut texts = Vec::new();
    while let Some(path) = left.pop() {
        if path.is_dir() {
            left.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|own| own == extension) {
            let name = path.strip_prefix(root).unwrap().display().to_string();
            texts.push((name, fs::read_to_string(path).unwrap()));
        }
    }
    texts.sort();
    assert!(!texts.is_empty());
    texts
}

/// Returns the comment of a line of Rust, without its slashes.
fn comment(line: &str) -> Option<&str> {
    let start = match line.trim_start().strip_prefix("//") {
        Some(comment) => return Some(comment.trim_start_matches(['/', '!'])),
        None => line.find(" // ")?,
    };
    // Inside of a string, two slashes are no comment.
    line[..start].matches('"').count().is_multiple_of(2).then(|| &line[start + 4..])
}

/// Returns the lines without those of code blocks.
fn prose<'a>(lines: impl Iterator<Item = Line<'a>>) -> Vec<Line<'a>> {
    let mut is_code = false;
    let mut prose = Vec::new();
    for (number, line) in lines {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        let is_definition = line.trim_start().starts_with('[') && line.contains("]: ");
        prose.push((number, if is_code || is_fence || is_definition { "" } else { line }));
    }
    prose
}

/// Returns the text without code spans and the targets of links, in lower case. Line ends stay.
fn plain(paragraph: &str) -> String {
    let ends = |text: &str| text.chars().filter(|character| *character == '\n').collect::<String>();
    let mut plain = String::new();
    let mut left = paragraph;
    while let Some(at) = left.find(['`', ']', '<']) {
        plain.push_str(&left[..at]);
        left = &left[at..];
        let (open, close) = match left {
            _ if left.starts_with('`') => {
                let ticks = left.len() - left.trim_start_matches('`').len();
                (ticks, "`".repeat(ticks))
            }
            _ if left.starts_with("](") => (2, ")".to_owned()),
            _ if left.starts_with("<http") => (5, ">".to_owned()),
            _ => (1, String::new()),
        };
        let skipped = left[open..].find(&close).map_or(open, |end| open + end + close.len());
        plain.push_str(&ends(&left[..skipped]));
        plain.push(' ');
        left = &left[skipped..];
    }
    plain.push_str(left);
    plain.to_lowercase().replace('’', "'")
}

/// Returns the banned words in these lines, each with its line.
fn banned(lines: &[Line<'_>]) -> Vec<(usize, &'static str)> {
    let mut found = Vec::new();
    for paragraph in lines.split(|(_, line)| line.trim().is_empty()) {
        let text = plain(&paragraph.iter().map(|(_, line)| *line).collect::<Vec<_>>().join("\n"));
        let is_word = |character: char| character.is_alphanumeric() || "'_".contains(character);
        let words: Vec<(usize, &str)> = (text.split('\n').zip(paragraph))
            .flat_map(|(line, (number, _))| {
                line.split(|character| !is_word(character)).map(move |word| (*number, word.trim_matches('\'')))
            })
            .filter(|(_, word)| !word.is_empty())
            .collect();
        for phrase in BANNED.into_iter().filter(|phrase| text.contains(&phrase[..4])) {
            let phrase_words: Vec<&str> = phrase.split(' ').collect();
            let hits = words
                .windows(phrase_words.len())
                .filter(|window| window.iter().map(|(_, word)| word).eq(&phrase_words));
            found.extend(hits.map(|window| (window[0].0, phrase)));
        }
    }
    found.sort_unstable();
    found
}

#[track_caller]
fn assert_none(found: &[String], what: &str) {
    assert!(found.is_empty(), "{} {what}:\n{}", found.len(), found.join("\n"));
}

#[test]
fn a_banned_word_is_found_in_prose_and_not_in_code() {
    let found = |page: &str| banned(&prose(page.lines().enumerate().map(|(at, line)| (at + 1, line))));
    assert_eq!(found("The layer\nTells the caller."), [(2, "tells")]);
    assert_eq!(found("A key of one's\nown, and a *house*."), [(1, "of one's own"), (2, "house")]);
    assert_eq!(found("Nobody’s key."), [(1, "nobody's")]);
    for page in [
        "`tell`, a household, retells",
        "See ``a ` tell``.",
        "A [page](docs/room.md).",
        "```\ntell\n```",
        "[page]: docs/room.md",
        "<https://example.org/room>",
        "of its own\n\naccord",
    ] {
        assert_eq!(found(page), [], "{page}");
    }
    assert_eq!(found("```\ncode\n```\nroom"), [(4, "room")]);
    let comments = ["//! a", "    /// a", "let x = 1; // a", "// a"];
    assert!(comments.map(comment).iter().all(|comment| comment.is_some_and(|text| text.trim() == "a")));
    assert_eq!(comment("let url = \"http: // a\";"), None);
}

#[test]
fn pages_and_comments_have_none_of_the_banned_words() {
    let pages = texts(PAGES, "md");
    let sources = texts(["src", "examples", "cli/src"], "rs");
    let pages = pages.iter().map(|(name, text)| (name, prose((1..).zip(text.lines()))));
    let comments = sources.iter().map(|(name, text)| {
        (name, prose((1..).zip(text.lines()).map(|(number, line)| (number, comment(line).unwrap_or_default()))))
    });
    let (scripts, markup) = (texts(["src/dashboard/page"], "js"), texts(["src/dashboard/page"], "html"));
    // Backticks are no code here, but texts of the page.
    let page = scripts.into_iter().chain(markup).map(|(name, text)| (name, text.replace('`', " "))).collect::<Vec<_>>();
    let page = page.iter().map(|(name, text)| (name, (1..).zip(text.lines()).collect()));
    let found: Vec<String> = pages
        .chain(comments)
        .chain(page)
        .flat_map(|(name, lines)| banned(&lines).into_iter().map(move |(line, word)| format!("{name}:{line}: {word}")))
        .collect();
    assert_none(&found, "banned words");
}

/// Rows of tables and code in examples cannot be wrapped.
#[test]
fn comments_are_wrapped_at_100_columns() {
    let sources = texts(["src", "examples", "cli/src"], "rs");
    let long = sources.iter().flat_map(|(name, text)| {
        let lines: Vec<&str> = text.lines().collect();
        let comments = (1..).zip(lines.iter().map(|line| comment(line).unwrap_or_default().trim_start()));
        let wrapped = prose(comments).into_iter().filter(|(_, text)| !text.is_empty() && !text.starts_with('|'));
        let long = wrapped.filter(|(number, _)| lines[number - 1].trim_start().starts_with("//"));
        let long = long.map(|(number, _)| (number, lines[number - 1].chars().count()));
        long.filter(|(_, columns)| *columns > 100)
            .map(|(number, columns)| format!("{name}:{number}: {columns}"))
            .collect::<Vec<_>>()
    });
    assert_none(&long.collect::<Vec<_>>(), "comment lines over 100 columns");
}

/// They are newer than the `rust-version` of the crate, and users copy the examples.
#[test]
fn examples_in_pages_and_comments_use_no_newer_rust() {
    let newer =
        |text: &str| ["mins(", "hours(", "days(", "weeks("].iter().any(|unit| text.contains(&format!("from_{unit}")));
    let pages = texts(["README.md", "docs/guide"], "md");
    let pages = pages.iter().flat_map(|(name, text)| (1..).zip(text.lines()).map(move |line| (name, line)));
    let sources = texts(["src"], "rs");
    let comments = sources.iter().flat_map(|(name, text)| {
        (1..).zip(text.lines()).filter_map(move |(number, line)| Some((name, (number, comment(line)?))))
    });
    let found = pages.chain(comments).filter(|(_, (_, line))| newer(line));
    let found: Vec<String> =
        found.map(|(name, (number, line)): (_, (usize, _))| format!("{name}:{number}: {line}")).collect();
    assert_none(&found, "constructors of `Duration` that are newer than the crate's Rust");
}

#[test]
fn source_files_have_at_most_300_lines_and_test_files_400() {
    let long =
        [("src", 300), ("cli/src", 300), ("tests", 400), ("cli/tests", 400)].into_iter().flat_map(|(folder, most)| {
            let lengths = texts([folder], "rs").into_iter().map(|(name, text)| (name, text.lines().count()));
            lengths.filter(move |(_, lines)| *lines > most).map(|(name, lines)| format!("{name}: {lines} lines"))
        });
    assert_none(&long.collect::<Vec<_>>(), "files that are too long");
}
