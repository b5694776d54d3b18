//! Paths, tables and routers at random.

use std::fmt::Write;

use http::Method;
use proptest::{collection::vec, prelude::*, sample::select};

use super::{Asks, Hop, Row, TEMPLATES};

pub(super) const PIECES: [&str; 54] = [
    "/",
    "/",
    "/",
    "/",
    "/",
    "admin",
    "admin",
    "files",
    "files",
    "pub",
    "a",
    "a",
    "x",
    "%2F",
    "%2f",
    "%252F",
    "%5C",
    "%255c",
    "%3F",
    "%253f",
    "%23",
    "%2523",
    "%00",
    "%09",
    "%20",
    "%2520",
    ";",
    ";x=1",
    "%3B",
    ".",
    "..",
    "%2e",
    "%2E%2E",
    "%252e%252e",
    "//",
    "\\",
    "%25",
    "%2525",
    "%61dmin",
    "%2561dmin",
    "adm%69n",
    "adm%2569n",
    "\u{e9}",
    "%C3%A9",
    "%C3",
    "%C0%AF",
    "%C0%AE",
    "%E0%80%AF",
    "%FF",
    "%u002F",
    "%",
    "%2",
    "~",
    ":",
];

/// Returns a listed path, written differently.
pub(super) fn disguised() -> impl Strategy<Value = String> {
    let slashes =
        vec!["/", "/", "/", "%2F", "%2f", "%252F", "%5C", "%255c", "//", ";x/", "%3B/", "/%2e/", "/;/", "%2F%2F"];
    let ends = vec![
        "",
        "",
        "",
        "/",
        "%2F",
        "%3Fx",
        "%3f%2Fa",
        "%253Fx",
        "%23x",
        "%2523",
        "%00",
        "%00x",
        "%09",
        "%20",
        "%2520",
        ";",
        ";x",
        "%3Bx",
        "%3Bx%2Fy",
        ";x%2Fy",
        "%253Bx",
        "%5C",
        "%FF",
        "%2F..%2Fadmin",
        "?x",
        "%3F%2F%2E%2E",
    ];
    let plain = vec!["admin", "admin/a", "a/admin", "files/a", "files/admin/a", "files/admin/x", "pub/admin/a", "a"];
    let letter = select(vec![0, 0, 0, 0, 0, 0, 1, 2]);
    let parts = (select(plain), vec(letter, 16), vec(select(slashes), 4), select(ends));
    parts.prop_map(|(plain, letters, slashes, end)| {
        let mut slashes = slashes.into_iter();
        let mut path = "/".to_owned();
        for (letter, encoded) in plain.chars().zip(letters) {
            match (letter, encoded) {
                ('/', _) => path += slashes.next().unwrap_or("/"),
                (letter, 1) => write!(path, "%{:02X}", u32::from(letter)).unwrap(),
                (letter, 2) => write!(path, "%25{:02x}", u32::from(letter)).unwrap(),
                (letter, _) => path.push(letter),
            }
        }
        path + end
    })
}

/// Wildcard rows, with the strict rows next to them first.
pub(super) fn rows() -> impl Strategy<Value = Vec<Row>> {
    let wide = vec!["/{*rest}", "/{x}", "/{x}/{y}", "/files/{*rest}", "/files/{x}", "/files/{x}/{y}", "/pub/{*rest}"];
    let wide = (select(wide), Just(None), select(vec![Asks::Own, Asks::AnyKey, Asks::Nothing]));
    let strict = (select(&TEMPLATES[..]), Just(None), Just(Asks::Strict));
    (vec(strict, 1..6), vec(wide, 1..6), vec(row(), 0..4))
        .prop_map(|(strict, wide, others)| [strict, wide, others].concat())
}

pub(super) fn row() -> impl Strategy<Value = Row> {
    let asks = select(vec![Asks::Strict, Asks::Strict, Asks::Own, Asks::AnyKey, Asks::Nothing]);
    (select(&TEMPLATES[..]), select(vec![None, None, Some(Method::GET), Some(Method::POST)]), asks)
}

pub(super) fn hop() -> impl Strategy<Value = Hop> {
    use Hop::{
        Backslashes, CutAtNul, CutParameters, Decode, DecodeAllButSlashes, DropLastSlash, MergeSlashes, ResolveDots,
        Trim,
    };
    select(vec![
        Decode,
        Decode,
        Decode,
        DecodeAllButSlashes,
        MergeSlashes,
        Backslashes,
        CutParameters,
        ResolveDots,
        DropLastSlash,
        CutAtNul,
        Trim,
    ])
}
