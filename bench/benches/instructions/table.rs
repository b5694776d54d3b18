//! The table, and what is said when it is no longer true: of more, because the library became slower; of less, because then
//! the table would let it become slower again.

use std::{fmt::Write, process::Command};

use crate::Result;

/// What the table was measured with. Another compiler makes other code, within the wider margin.
const RUSTC: &str = "rustc 1.95.0";

const TABLE: &[(&str, f64)] = &[
    ("hash", 110.0),
    ("verify", 1045.0),
    ("verify, by X-API-Key", 1038.0),
    ("verify, a key of 71 bytes", 1105.0),
    ("layer", 2836.0),
    ("layer, extensions in use", 2434.0),
    ("limits, none of the key", 167.0),
    ("one rate", 328.0),
    ("four limits", 734.0),
    ("addresses, no list", 0.0),
    ("16 networks", 308.0),
    ("rights, no owner", 57.0),
    ("cached rights", 163.0),
    ("a token in place of its key", 1218.0),
    ("an observer", 801.0),
    ("guard", 331.0),
    ("refuse: no key", 2797.0),
    ("refuse: another format", 3751.0),
    ("refuse: unknown", 2545.0),
    ("refuse: forbidden", 16751.0),
];

/// Of a hundred.
const MARGIN: f64 = 10.0;
const MARGIN_OF_ANOTHER_RUSTC: f64 = 25.0;

/// So much may differ in any case.
const LEAST: f64 = 10.0;

pub fn hold(measured: &[(&str, f64)]) -> Result<()> {
    let rustc = rustc()?;
    let margin = if rustc.starts_with(RUSTC) { MARGIN } else { MARGIN_OF_ANOTHER_RUSTC };
    println!("instructions beyond the compressions, {rustc}; the table is of {RUSTC}, held within {margin} %\n");
    let mut broken = 0;
    for (name, count) in measured {
        let expected = TABLE.iter().find(|(row, _)| row == name).map(|(_, expected)| *expected);
        let holds = expected.is_some_and(|expected| is_within(*count, expected, margin));
        let verdict = if holds { "ok" } else { "differs" };
        broken += usize::from(!holds);
        println!("{name:<28} {count:>8.0} {:>8} {verdict}", expected.map_or("-".to_owned(), |count| count.to_string()));
    }
    if broken == 0 && measured.len() == TABLE.len() {
        return Ok(());
    }
    let mut table = "the table is not true. If the change is wanted, put this into table.rs:\n\n".to_owned();
    let version = rustc.split(" (").next().unwrap_or(&rustc);
    writeln!(table, "const RUSTC: &str = {version:?};\n\nconst TABLE: &[(&str, f64)] = &[")?;
    for (name, count) in measured {
        writeln!(table, "    ({name:?}, {count:.1}),")?;
    }
    Err(format!("{table}];").into())
}

fn is_within(count: f64, expected: f64, margin: f64) -> bool {
    (count - expected).abs() <= (expected * margin / 100.0).max(LEAST)
}

/// The compiler that `cargo` uses here.
fn rustc() -> Result<String> {
    let output = Command::new("rustc").arg("--version").current_dir(env!("CARGO_MANIFEST_DIR")).output()?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
