//! Checks a text of the configuration: a client can send it as a key, and it is not guessable.

use crate::key::{ApiKey, estimated_bits};

const SHORTEST: usize = 16;
const FEWEST_BITS: f64 = 64.0;

/// Why a text is not used as a key.
#[derive(Clone, Copy)]
pub(super) enum Unusable {
    Invalid,
    Quoted,
    Assignment,
    Several,
    TooShort,
    Guessable,
}

/// Removes what surrounds a key in a file or a variable: white space, and a byte order mark.
pub(super) fn trimmed(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}')
}

/// Returns the key in this text, if a client can send it and an attacker cannot guess it.
pub(super) fn checked(text: &str) -> Result<ApiKey, Unusable> {
    let escaped = text.trim_start_matches('\\');
    if text.is_empty() {
        Err(Unusable::Invalid)
    } else if is_assignment(text) {
        Err(Unusable::Assignment)
    } else if escaped.starts_with(is_quote)
        || text.ends_with(is_quote)
        || ["%22", "%27"].iter().any(|q| text.starts_with(q))
    {
        Err(Unusable::Quoted)
    } else if text
        .contains(|c: char| c.is_whitespace() || matches!(c, ',' | ';' | '\u{ff0c}' | '\u{ff1b}' | '\u{3001}'))
        || is_joined(text)
    {
        Err(Unusable::Several)
    } else {
        let key = ApiKey::new(text).map_err(|_| Unusable::Invalid)?;
        if text.len() < SHORTEST {
            Err(Unusable::TooShort)
        } else if is_placeholder(text) || estimated_bits(text) < FEWEST_BITS {
            Err(Unusable::Guessable)
        } else {
            Ok(key)
        }
    }
}

/// Returns whether this text may contain a key, whatever it is used for.
#[cfg(feature = "static-files")]
pub(super) fn may_contain_key(text: &str) -> bool {
    // The estimate takes ASCII only, and quotation marks of a word processor may surround a key.
    let ascii: String = text.chars().filter(char::is_ascii).collect();
    ascii.len() >= SHORTEST && estimated_bits(&ascii) >= FEWEST_BITS
}

/// Returns whether bars or ampersands divide the text into parts that each look like a key.
/// Laravel's `7|KEY` is one key.
fn is_joined(text: &str) -> bool {
    let mut parts = text.split(['|', '&']);
    parts.clone().count() > 1 && parts.all(|part| part.len() >= SHORTEST)
}

/// Labels that clients write before a key, as a header or a word: `x-api-key: KEY`.
const LABELS: [&str; 8] = ["x-api-key", "api-key", "api_key", "apikey", "authorization", "bearer", "token", "basic"];

/// Recognizes `NAME=KEY`, `export NAME=KEY`, `set NAME=KEY`, `x-api-key:KEY` and `Bearer%20KEY`. A
/// text that ends with `=` is a key in base64.
fn is_assignment(text: &str) -> bool {
    if text.get(.."bearer".len()).is_some_and(|word| word.eq_ignore_ascii_case("bearer"))
        && !text.contains(char::is_whitespace)
    {
        return true;
    }
    let words = ["export ", "set ", "setx ", "declare ", "$env:", "$"];
    let line = words.iter().find_map(|word| text.strip_prefix(word)).unwrap_or(text).trim_start();
    if line.split_once(':').is_some_and(|(label, _)| LABELS.iter().any(|known| label.eq_ignore_ascii_case(known))) {
        return true;
    }
    let Some((name, value)) = line.split_once('=') else {
        return line.len() < text.len() && text.starts_with("export ");
    };
    let name = name.trim_end();
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || c == '-')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
    is_name && !value.trim_start_matches('=').is_empty()
}

/// Recognizes quotation marks, also those that word processors and chats insert.
fn is_quote(c: char) -> bool {
    matches!(c, '"' | '\'' | '`' | '\u{b4}' | '\u{ab}' | '\u{bb}' | '\u{2039}' | '\u{203a}' | '\u{2018}'..='\u{201f}'
        | '\u{2032}'..='\u{2037}' | '\u{275b}'..='\u{275e}' | '\u{300c}'..='\u{300f}' | '\u{301d}'..='\u{301f}'
        | '\u{ff02}' | '\u{ff07}' | '\u{ff40}' | '\u{ff62}' | '\u{ff63}')
}

/// Recognizes placeholders and references that were not replaced by a key: `${API_KEY}`,
/// `<your key>`, `{{key}}`, `%KEY%`, `/run/secrets/api_key`, `op://vault/item`.
fn is_placeholder(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let refers = ["/run/", "/etc/", "/var/", "arn:", "vault:", "op:", "file:", "@microsoft."];
    let parts = ["://", "\\", "example", "your_", "your-"];
    if refers.iter().any(|begin| lower.starts_with(begin)) || parts.iter().any(|part| lower.contains(part)) {
        return true;
    }
    let pairs = [("${", "}"), ("$(", ")"), ("$", ""), ("{", "}"), ("<", ">"), ("[", "]"), ("(", ")"), ("%", "%")];
    pairs.iter().any(|(begin, end)| {
        let inside = text.strip_prefix(begin).and_then(|rest| rest.strip_suffix(end));
        inside.is_some_and(|inside| {
            begin.len() + end.len() > 1 || inside.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')
        })
    })
}
