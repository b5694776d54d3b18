//! Tests the regular expressions for secret scanners.

use regex::Regex;
use tower_api_key::{KeyFormat, KeyManager, store::MemoryStore};

fn formats() -> Vec<KeyFormat> {
    let new = |prefix| KeyFormat::new(prefix).unwrap();
    vec![
        new("acme"),
        new("acme_live"),
        new("sk-live").separator('-').unwrap(),
        new("a").separator('.').unwrap(),
        new("A-Z_0").separator('~').unwrap().body_len(22).unwrap(),
        new("long").body_len(501).unwrap(),
    ]
}

fn whole(format: &KeyFormat) -> Regex {
    Regex::new(&format!("^(?:{})$", format.pattern().unwrap())).unwrap()
}

#[test]
fn a_pattern_matches_every_key_of_its_format() {
    for format in formats() {
        let (whole, part) = (whole(&format), Regex::new(&format.pattern().unwrap()).unwrap());
        for _ in 0..1_000 {
            let key = format.generate().unwrap();
            assert!(whole.is_match(key.expose()), "{format:?}");
            let line = format!("let key = \"{}\"; // secret", key.expose());
            assert_eq!(part.find(&line).unwrap().as_str(), key.expose(), "a scanner finds it in a line");
        }
    }
}

#[test]
fn a_pattern_matches_no_near_miss() {
    for format in formats() {
        let whole = whole(&format);
        let key = format.generate().unwrap();
        let (text, prefix) = (key.expose(), format.prefix());
        let separator = prefix.len() - 1;
        let changed = |at: usize, to: &str| format!("{}{to}{}", &text[..at], &text[at + 1..]);
        let misses = [
            text[1..].to_owned(),
            text[..text.len() - 1].to_owned(),
            format!("{text}0"),
            format!("x{text}"),
            changed(separator, "x"),
            changed(separator, "!"),
            changed(separator + 1, "_"),
            changed(text.len() - 1, "-"),
            changed(text.len() - 1, "é"),
            text.replacen(prefix, &prefix.to_ascii_uppercase().replace('A', "B"), 1),
        ];
        for miss in misses {
            assert!(!whole.is_match(&miss), "{format:?}");
        }
    }
    for (one, other) in [("acme", "acme_live"), ("acme_live", "acme"), ("acme", "acne")] {
        let key = KeyFormat::new(other).unwrap().generate().unwrap();
        assert!(!whole(&KeyFormat::new(one).unwrap()).is_match(key.expose()), "{one}, {other}");
    }
}

/// Other engines than that of the test read the same from it.
#[test]
fn a_pattern_has_only_what_every_engine_knows() {
    let known = Regex::new(r"^(?:[0-9A-Za-z_~-]|\\\.)+\[0-9A-Za-z\]\{[0-9]{2,3}\}$").unwrap();
    for format in formats() {
        assert!(known.is_match(&format.pattern().unwrap()), "{format:?}");
    }
}

#[test]
fn a_manager_has_the_pattern_of_each_format_that_issues_keys_once() {
    let new = |prefix| KeyFormat::new(prefix).unwrap();
    let manager = KeyManager::builder(MemoryStore::new())
        .format(new("acme"))
        .environment("live", new("acme_live"))
        .environment("staging", new("acme"))
        .also_accept(new("legacy"))
        .also_accept(KeyFormat::foreign("ak", ".", 3).unwrap())
        .build()
        .unwrap();
    assert_eq!(manager.key_patterns(), ["acme_[0-9A-Za-z]{42}", "acme_live_[0-9A-Za-z]{42}"]);
    assert_eq!(KeyFormat::foreign("ak", ".", 3).unwrap().pattern(), None);
}
