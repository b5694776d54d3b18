//! Checks every member of `expect` against the observations.

use std::{collections::BTreeMap, time::Duration};

use http::{HeaderMap, HeaderValue, header::WWW_AUTHENTICATE};
use serde_json::Value;

use crate::{
    Failure, challenge,
    inner::Reached,
    world::{Observed, known_as},
};

/// The responses of named steps.
pub(crate) type Named = BTreeMap<String, Observed>;

pub(crate) fn check(expect: &Value, observed: &Observed, took: Duration, named: &Named) -> Result<(), Failure> {
    for (member, expected) in expect.as_object().into_iter().flatten() {
        check_member(expect, member, expected, observed, took, named)
            .map_err(|failure| format!("{member}: {failure}; answered {}, {}", observed.status, observed.reason))?;
    }
    let challenged = observed.headers.contains_key(WWW_AUTHENTICATE);
    if observed.status == 401 && !challenged && expect["no_www_ok"] != true {
        return Err("a 401 without a challenge".into());
    }
    if observed.reached.is_none()
        && observed.headers.get("cache-control").is_none_or(|value| value != "no-store")
        && observed.reason != "misconfigured"
    {
        return Err("a rejection that HTTP caches may store".into());
    }
    Ok(())
}

fn check_member(
    expect: &Value,
    member: &str,
    expected: &Value,
    observed: &Observed,
    took: Duration,
    named: &Named,
) -> Result<(), Failure> {
    let reached = observed.reached.as_ref();
    let principal = reached.and_then(|reached| reached.principal.as_ref());
    let status = Value::from(observed.status.as_u16());
    match member {
        "status" => one_of(&status, expected, &expect["status_any"]),
        "status_any" => one_of(&status, &expect["status"], expected),
        "principal" => {
            let id = principal.map_or(Value::Null, |principal| known_as(principal.record()).into());
            one_of(&id, expected, &expect["principal_any"])
        }
        "inner_called" => one_of(&reached.is_some().into(), expected, &expect["inner_called_any"]),
        "reason" => one_of(&observed.reason.into(), expected, &expect["reason_any"]),
        "reason_any" => one_of(&observed.reason.into(), &expect["reason"], expected),
        // Members that only extend another member.
        "principal_any" if expect.get("principal").is_some() => Ok(()),
        "inner_called_any" if expect.get("inner_called").is_some() => Ok(()),
        "no_www_ok" | "build_error_ok" => Ok(()),
        "headers_present" => headers_present(&observed.headers, &required(expected, expect, observed)),
        "headers_absent" => headers_absent(&observed.headers, expected),
        "headers_exact" => headers_exact(&observed.headers, expected),
        "headers_must_not_contain" => must_not_contain(&format!("{:?}", observed.headers), expected),
        "body_must_not_contain" => must_not_contain(&String::from_utf8_lossy(&observed.body), expected),
        "body_empty" => equal(&observed.body.is_empty().into(), expected),
        "json" => json_members(&observed.body, expected),
        "challenge" | "challenge_min" | "challenge_absent" | "challenge_grammar" => {
            challenge::check(member, expected, &observed.headers)
        }
        "inner_request" => inner_request(reached.ok_or("the inner service was not called")?, expected),
        "same_response_as" => same(named.get(expected.as_str().unwrap_or_default()), observed),
        "store_calls" => equal(&observed.calls.into(), expected),
        "max_ms" => match expected.as_u64() {
            Some(most) if took <= Duration::from_millis(most) => Ok(()),
            _ => Err(format!("took {took:?}")),
        },
        "principal_kind" => equal(&reached.and_then(Reached::kind).into(), expected),
        "principal_owner" => equal(&reached.and_then(Reached::owner).into(), expected),
        "principal_owner_not" => match reached.and_then(Reached::owner) {
            Some(owner) if *expected == owner => Err(format!("is {owner}")),
            _ => Ok(()),
        },
        "is_anonymous" => equal(&(reached.is_some() && principal.is_none()).into(), expected),
        "org" => equal(&principal.and_then(|principal| principal.organization()).into(), expected),
        "source" => equal(&principal.map(|principal| principal.scheme().to_string()).into(), expected),
        _ => Err("unknown to this driver".into()),
    }
}

/// Checks the required headers. Allowed statuses other than 401 need no challenge.
fn required(present: &Value, expect: &Value, observed: &Observed) -> Value {
    let mut present = present.clone();
    if let Some(headers) = present.as_object_mut()
        && (expect["no_www_ok"] == true || observed.status != 401)
        && expect["status_any"].is_array()
    {
        headers.remove("www-authenticate");
    }
    present
}

fn equal(actual: &Value, expected: &Value) -> Result<(), Failure> {
    one_of(actual, expected, &Value::Null)
}

fn one_of(actual: &Value, expected: &Value, any: &Value) -> Result<(), Failure> {
    if actual == expected || any.as_array().is_some_and(|any| any.contains(actual)) {
        Ok(())
    } else {
        Err(format!("is {actual}, not {expected}"))
    }
}

fn values<'h>(headers: &'h HeaderMap, name: &str) -> Vec<&'h [u8]> {
    headers.get_all(name).iter().map(HeaderValue::as_bytes).collect()
}

fn headers_present(headers: &HeaderMap, expected: &Value) -> Result<(), Failure> {
    for (name, wanted) in expected.as_object().into_iter().flatten() {
        let wanted = wanted.as_str().ok_or("a value that is no text")?;
        let fits = |value: &[u8]| {
            let value = String::from_utf8_lossy(value);
            if let Some(part) = wanted.strip_prefix("contains:") {
                value.contains(part)
            } else if let Some((low, high)) = wanted.strip_prefix("int:").and_then(|range| range.split_once("..")) {
                let number = |text: &str| text.parse::<i64>().ok();
                number(low) <= number(&value) && number(&value) <= number(high)
            } else {
                wanted == "*" || value == wanted
            }
        };
        if !values(headers, name).into_iter().any(fits) {
            return Err(format!("{name} is not {wanted}"));
        }
    }
    Ok(())
}

fn headers_absent(headers: &HeaderMap, expected: &Value) -> Result<(), Failure> {
    match expected.as_array().into_iter().flatten().find(|name| headers.contains_key(name.as_str().unwrap_or_default()))
    {
        Some(name) => Err(format!("{name} is there")),
        None => Ok(()),
    }
}

fn headers_exact(headers: &HeaderMap, expected: &Value) -> Result<(), Failure> {
    for (name, wanted) in expected.as_object().into_iter().flatten() {
        let actual: Vec<_> = values(headers, name).into_iter().map(String::from_utf8_lossy).collect();
        let wanted = match wanted {
            Value::Array(wanted) => wanted.clone(),
            one => vec![one.clone()],
        };
        if actual.iter().map(|value| Value::from(&**value)).collect::<Vec<_>>() != wanted {
            return Err(format!("{name} is {actual:?}"));
        }
    }
    Ok(())
}

/// Compares members of a named result; `*` matches any value that exists.
pub(crate) fn result(expect: &Value, result: &Value) -> Result<(), Failure> {
    for (member, expected) in expect.as_object().into_iter().flatten() {
        let found = &result[member];
        let matches = if expected == "*" { !found.is_null() } else { found == expected };
        if !matches {
            return Err(format!("{member} is {found}, not {expected}"));
        }
    }
    Ok(())
}

pub(crate) fn must_not_contain(text: &str, forbidden: &Value) -> Result<(), Failure> {
    let forbidden = forbidden.as_array().ok_or("no list")?;
    match forbidden.iter().filter_map(Value::as_str).find(|part| text.contains(*part)) {
        Some(part) => Err(format!("{part:?} is in it")),
        None => Ok(()),
    }
}

/// Checks the required members of the body, with these values (`*`: any), or by name.
fn json_members(body: &[u8], expected: &Value) -> Result<(), Failure> {
    let body: Value = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let has = |name: &str| if body.get(name).is_some() { Ok(()) } else { Err(format!("{name} is not there")) };
    match expected {
        Value::Object(members) => members.iter().try_for_each(|(name, value)| match value.as_str() {
            Some("*") => has(name),
            _ => equal(&body[name], value),
        }),
        Value::Array(names) => names.iter().try_for_each(|name| has(name.as_str().unwrap_or_default())),
        other => Err(format!("{other} is neither members nor names")),
    }
}

fn inner_request(reached: &Reached, expected: &Value) -> Result<(), Failure> {
    for (member, value) in expected.as_object().into_iter().flatten() {
        match member.as_str() {
            "headers_present" => headers_present(&reached.headers, value)?,
            "headers_absent" => headers_absent(&reached.headers, value)?,
            "headers_exact" => headers_exact(&reached.headers, value)?,
            "target" => one_of(&reached.target.as_str().into(), value, &expected["target_any"])?,
            "target_any" => one_of(&reached.target.as_str().into(), &expected["target"], value)?,
            "body" => equal(&String::from_utf8_lossy(&reached.body).into(), value)?,
            "sensitive" => sensitive(&reached.headers, value)?,
            _ => return Err(format!("inner_request with an unknown {member}")),
        }
    }
    Ok(())
}

/// Checks that the named headers are marked sensitive: one, a list, or names with yes or no. `true`
/// selects the usual ones.
fn sensitive(headers: &HeaderMap, expected: &Value) -> Result<(), Failure> {
    let wanted: Vec<(&str, bool)> = match expected {
        Value::Bool(true) => vec![("authorization", true), ("x-api-key", true)],
        Value::String(name) => vec![(name, true)],
        Value::Array(names) => names.iter().filter_map(Value::as_str).map(|name| (name, true)).collect(),
        Value::Object(names) => names.iter().map(|(name, marked)| (name.as_str(), *marked == true)).collect(),
        other => return Err(format!("sensitive {other}")),
    };
    let names_it = |name: &str| *expected != Value::Bool(true) && !headers.contains_key(name);
    for (name, marked) in wanted {
        if names_it(name) {
            return Err(format!("{name} is not there"));
        }
        if headers.get_all(name).iter().any(|value| value.is_sensitive() != marked) {
            return Err(format!("{name} is marked wrongly"));
        }
    }
    Ok(())
}

fn same(other: Option<&Observed>, observed: &Observed) -> Result<(), Failure> {
    let dateless = |observed: &Observed| {
        let mut headers = observed.headers.clone();
        headers.remove("date");
        (observed.status, headers, observed.body.clone())
    };
    match other {
        Some(other) if dateless(other) == dateless(observed) => Ok(()),
        Some(_) => Err("the responses differ".into()),
        None => Err("no such step".into()),
    }
}
