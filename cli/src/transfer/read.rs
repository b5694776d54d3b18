//! Reads the input of an import: JSON lines, a JSON array, or an object with the member `keys`.

use serde::Deserialize;

use super::Entry;

/// The body of the management API's import.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    keys: Vec<Entry>,
}

/// Reads all keys, each with its line if the input has a line for each. An error has the line, and
/// repeats no value.
pub(crate) fn entries(input: &[u8]) -> Result<Vec<(usize, Entry)>, String> {
    // Some programs begin a file with a byte order mark.
    let input = input.strip_prefix(b"\xef\xbb\xbf").unwrap_or(input).trim_ascii();
    if input.starts_with(b"[") {
        let keys: Vec<Entry> = serde_json::from_slice(input).map_err(|error| why(&error, 0))?;
        return Ok((1..).zip(keys).collect());
    }
    // An object in one line is a key. One with `keys` may have several lines.
    match serde_json::from_slice::<Body>(input) {
        Ok(body) => return Ok((1..).zip(body.keys).collect()),
        Err(error) if is_body(input) => return Err(why(&error, 0)),
        Err(_) => {}
    }
    let mut entries = Vec::new();
    for (number, line) in (1..).zip(input.split(|byte| *byte == b'\n')) {
        let line = line.trim_ascii();
        if !line.is_empty() {
            entries.push((number, serde_json::from_slice(line).map_err(|error| why(&error, number - 1))?));
        }
    }
    Ok(entries)
}

fn is_body(input: &[u8]) -> bool {
    let start: Vec<u8> = input.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).take(7).collect();
    start.starts_with(b"{\"keys\"")
}

/// Returns what is wrong and where. The text of serde may repeat a value, which may be a key.
fn why(error: &serde_json::Error, lines_before: usize) -> String {
    let text = error.to_string();
    let what = ["missing field", "unknown field", "duplicate field"]
        .iter()
        .find_map(|kind| text.starts_with(kind).then(|| text.split(", expected").next().unwrap_or(kind)));
    let what = what.map(|what| what.split(" at line").next().unwrap_or(what).to_owned());
    let what = what.map(|what| if is_plain(&what) { what } else { "unknown field".to_owned() });
    let what = what.unwrap_or_else(|| match error.classify() {
        serde_json::error::Category::Eof => "the JSON ends too early".to_owned(),
        serde_json::error::Category::Syntax => "this is not JSON".to_owned(),
        _ => "a member has a wrong type or value".to_owned(),
    });
    format!("line {}, column {}: {what}", error.line() + lines_before, error.column())
}

/// Returns whether the text names a member as this format has them, and not a key in its place.
fn is_plain(text: &str) -> bool {
    text.len() <= 50 && text.bytes().all(|byte| byte.is_ascii_lowercase() || b" _`".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "0101010101010101010101010101010101010101010101010101010101010101";

    #[test]
    fn lines_arrays_and_bodies_are_read() {
        let key = format!("{{\"name\":\"a\",\"digest\":\"{DIGEST}\"}}");
        for (input, numbers) in [
            (format!("{key}\n\n{key}\n"), vec![1, 3]),
            (format!("[{key},\n{key}]"), vec![1, 2]),
            (format!("{{\n\"keys\": [{key}]}}"), vec![1]),
            (format!("\u{feff}{key}"), vec![1]),
            (key, vec![1]),
            (String::new(), vec![]),
        ] {
            let read = entries(input.as_bytes()).unwrap();
            assert_eq!(read.iter().map(|(number, _)| *number).collect::<Vec<_>>(), numbers, "{input}");
            assert!(read.iter().all(|(_, entry)| entry.to_import().is_ok()));
        }
    }

    #[test]
    fn an_error_has_the_line_and_no_value() {
        for (input, expected) in [
            ("{\"name\":\"a\"}\n{\"name\":5}\n", "line 2, column 9: a member has a wrong type or value"),
            ("{\"name\":\"a\",\"secret\":1}", "line 1, column 20: unknown field `secret`"),
            ("[{\"name\":\"a\"", "line 1, column 12: the JSON ends too early"),
            ("{\"keys\":[{\"status\":\"secret\"}]}", "line 1, column 27: a member has a wrong type or value"),
            ("secret", "line 1, column 1: this is not JSON"),
            ("{\"51FwqftsmMDHHbJA\":1}", "line 1, column 19: unknown field"),
        ] {
            assert_eq!(entries(input.as_bytes()).unwrap_err(), expected);
        }
    }
}
