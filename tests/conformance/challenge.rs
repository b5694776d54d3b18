//! Parses `WWW-Authenticate` by the grammar of RFC 9110 §11.6.1 and checks it against a case.

use std::collections::{BTreeMap, BTreeSet};

use http::{HeaderMap, header::WWW_AUTHENTICATE};
use serde_json::Value;

use crate::Failure;

struct Challenge {
    scheme: String,
    params: BTreeMap<String, String>,
    raw: String,
}

pub(crate) fn check(member: &str, expected: &Value, headers: &HeaderMap) -> Result<(), Failure> {
    let mut challenges = Vec::new();
    for line in headers.get_all(WWW_AUTHENTICATE) {
        let line = String::from_utf8_lossy(line.as_bytes());
        challenges.extend(parse(&line).map_err(|failure| format!("{line}: {failure}"))?);
    }
    let has = |scheme: &Value| {
        let scheme = scheme.as_str().unwrap_or_default();
        challenges.iter().any(|challenge| challenge.scheme.eq_ignore_ascii_case(scheme))
    };
    match member {
        "challenge_grammar" => Ok(()),
        "challenge_min" if Value::from(challenges.len()).as_u64() >= expected.as_u64() => Ok(()),
        "challenge_min" => Err(format!("{} challenges", challenges.len())),
        "challenge_absent" => match expected.as_array().into_iter().flatten().find(|scheme| has(scheme)) {
            Some(scheme) => Err(format!("{scheme} is there")),
            None => Ok(()),
        },
        _ => {
            for wanted in expected.as_array().ok_or("no list")? {
                let mut why = "no challenge at all".to_owned();
                let found = challenges.iter().any(|challenge| match matches(challenge, wanted) {
                    Ok(()) => true,
                    Err(failure) => {
                        why = failure;
                        false
                    }
                });
                if !found {
                    return Err(why);
                }
                if let Some(absent) =
                    wanted["absent_schemes"].as_array().into_iter().flatten().find(|scheme| has(scheme))
                {
                    return Err(format!("{absent} is there"));
                }
            }
            Ok(())
        }
    }
}

fn matches(challenge: &Challenge, wanted: &Value) -> Result<(), Failure> {
    for (member, value) in wanted.as_object().ok_or("no object")? {
        let fits = match member.as_str() {
            "scheme" => value == "*" || value.as_str().is_some_and(|name| name.eq_ignore_ascii_case(&challenge.scheme)),
            "params" => value.as_object().into_iter().flatten().all(|(name, value)| {
                let value = value.as_str().unwrap_or_default();
                let actual = challenge.params.get(name);
                actual.is_some_and(|actual| match value.strip_prefix("in:") {
                    Some(any) => any.split(',').any(|one| one == actual),
                    None => value == actual,
                })
            }),
            "params_absent" => names(value).iter().all(|name| !challenge.params.contains_key(name)),
            "raw_contains" => challenge.raw.contains(value.as_str().unwrap_or_default()),
            "min_params" => Value::from(challenge.params.len()).as_u64() >= value.as_u64(),
            "optional_params" => {
                let mut allowed = names(value);
                allowed.extend(wanted["params"].as_object().into_iter().flatten().map(|(name, _)| name.clone()));
                challenge.params.keys().all(|name| allowed.contains(name))
            }
            "absent_schemes" => true,
            _ => return Err(format!("unknown {member}")),
        };
        if !fits {
            return Err(format!("{} does not fit {member} {value}", challenge.raw));
        }
    }
    Ok(())
}

fn names(value: &Value) -> BTreeSet<String> {
    let names = value.as_array().into_iter().flatten();
    names.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Parses `#challenge`: a scheme, then comma-separated parameters, each at most once.
fn parse(line: &str) -> Result<Vec<Challenge>, Failure> {
    let mut challenges: Vec<Challenge> = Vec::new();
    for item in split_outside_quotes(line) {
        let item = item.trim_matches([' ', '\t']);
        if item.is_empty() {
            continue;
        }
        let head = token(item);
        let rest = &item[head.len()..];
        if head.is_empty() {
            return Err(format!("{item:?} is no token"));
        }
        if rest.is_empty() || rest.starts_with(' ') {
            challenges.push(Challenge { scheme: head.to_owned(), params: BTreeMap::new(), raw: String::new() });
        }
        let challenge = challenges.last_mut().ok_or("a parameter without a scheme")?;
        let separator = if challenge.raw.is_empty() { "" } else { ", " };
        challenge.raw.extend([separator, item]);
        let parameter = if rest.starts_with(' ') {
            rest.trim_start()
        } else if rest.is_empty() {
            continue;
        } else {
            item
        };
        let name = token(parameter);
        let value =
            parameter[name.len()..].trim_start().strip_prefix('=').ok_or(format!("{parameter:?} has no value"))?;
        let value = unquote(value.trim_start())?;
        if name.is_empty() || challenge.params.insert(name.to_ascii_lowercase(), value).is_some() {
            return Err(format!("parameter {name:?} is empty or repeated"));
        }
    }
    Ok(challenges)
}

fn split_outside_quotes(line: &str) -> Vec<&str> {
    let (mut items, mut begin, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (place, char) in line.char_indices() {
        match char {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ',' if !quoted => {
                items.push(&line[begin..place]);
                begin = place + 1;
            }
            _ => {}
        }
    }
    items.push(&line[begin..]);
    items
}

fn token(text: &str) -> &str {
    let end = text.find(|char: char| !(char.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(char)));
    &text[..end.unwrap_or(text.len())]
}

fn unquote(text: &str) -> Result<String, Failure> {
    let Some(inside) = text.strip_prefix('"') else {
        return if !text.is_empty() && token(text) == text {
            Ok(text.to_owned())
        } else {
            Err(format!("{text:?} is no token"))
        };
    };
    let inside = inside.strip_suffix('"').ok_or("a quote is not closed")?;
    let (mut value, mut escaped) = (String::new(), false);
    for char in inside.chars() {
        match char {
            _ if escaped => {
                value.push(char);
                escaped = false;
            }
            '\\' => escaped = true,
            '"' => return Err("a quote inside quotes".into()),
            _ => value.push(char),
        }
    }
    if escaped { Err("a quote is not closed".into()) } else { Ok(value) }
}
