//! What a command prints: tables for people, JSON for programs, the text of a key.
//!
//! The standard output has what was asked for. Everything else is on the standard error.

use std::io::{self, Write};

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;
use tower_api_key::manage::{Issued, KeyView};

use crate::{exit::Failure, show};

/// Prints one line of JSON.
pub(crate) fn json(value: &impl Serialize) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, value)?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}

/// Prints a table with these columns.
pub(crate) fn table(columns: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> Result<(), Failure> {
    let mut table = Table::new();
    // No wrapping: a row is one line, for `grep`.
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(columns.to_vec());
    for row in rows {
        table.add_row(row.iter().map(|cell| plain(cell)).collect::<Vec<_>>());
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    lines(table.lines())
}

/// Prints one thing: a line for each of its fields. Fields without a value are left out.
pub(crate) fn fields(fields: impl IntoIterator<Item = (&'static str, Option<String>)>) -> Result<(), Failure> {
    let set = fields.into_iter().filter_map(|(name, value)| Some((name, value?)));
    lines(set.map(|(name, value)| format!("{name:<16}{}", plain(&value))))
}

/// Prints lines.
pub(crate) fn lines(lines: impl IntoIterator<Item = String>) -> Result<(), Failure> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    for line in lines {
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(out.flush()?)
}

/// Prints these bytes.
pub(crate) fn bytes(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    Ok(out.flush()?)
}

/// Prints a message for the person at the terminal. A closed terminal is no reason to fail.
pub(crate) fn note(message: &str) {
    let _ = writeln!(io::stderr(), "{message}");
}

/// Prints a question, after which the answer is typed.
pub(crate) fn prompt(question: &str) {
    let mut err = io::stderr();
    let _ = err.write_all(question.as_bytes()).and_then(|()| err.flush());
}

/// Prints the text of a new key: alone on its line, or as the member `key` of the JSON. This is the
/// only place that prints one.
pub(crate) fn issued(issued: &Issued, as_json: bool) -> Result<(), Failure> {
    let record = issued.record();
    let written = if as_json {
        let with_key = WithKey { key: issued.key().expose(), view: KeyView::from(record) };
        json(&with_key)
    } else {
        let mut out = io::stdout().lock();
        let written = out.write_all(issued.key().expose().as_bytes()).and_then(|()| out.write_all(b"\n"));
        written.and_then(|()| out.flush()).map_err(Into::into)
    };
    written.map_err(|_| {
        Failure::Failed(format!(
            "the key {} was issued, but its text could not be written and is lost: run `tower-api-key regenerate {}`",
            record.id(),
            record.id()
        ))
    })?;
    if !as_json {
        note(&format!("issued {}. The text of the key is shown only now: store it.", show::summary(record)));
    }
    Ok(())
}

#[derive(Serialize)]
struct WithKey<'k> {
    key: &'k str,
    #[serde(flatten)]
    view: KeyView,
}

/// Returns the text without control characters and other invisible ones, such as those that change
/// the colour of a terminal or the direction of the text. They are written as escapes.
pub(crate) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(character, '"' | '\'' | '\\') {
            plain.push(character);
        } else {
            // After another character, `escape_debug` keeps the marks that combine with it.
            let escaped = format!("x{character}");
            plain.extend(escaped.escape_debug().skip(1));
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped_and_letters_are_not() {
        for text in ["nightly build", "日本語", "e\u{301}té", "it's \"new\"", "a\\b", "हिन्दी"] {
            assert_eq!(plain(text), text);
        }
        assert_eq!(plain("\u{1b}[31mred"), "\\u{1b}[31mred");
        assert_eq!(plain("a\nb\u{202e}c\u{9b}"), "a\\nb\\u{202e}c\\u{9b}");
    }
}
