//! Runs cases without HTTP.

use std::collections::BTreeSet;

use serde_json::Value;
use tower_api_key::{ApiKey, KeyFormat, Mask, SchemePolicy};

use crate::{
    Failure,
    expect::must_not_contain,
    policy::{self, Unbuilt},
    store::{Speed, generate},
    world::World,
};

pub(crate) fn run(case: &Value) -> Result<(), Failure> {
    let unit = &case["unit"];
    let input = unit["input"].as_str().unwrap_or_default();
    match unit["fn"].as_str() {
        Some("mask") => check_mask(input, &mask(unit["style"].as_str())?.apply(input), &case["expect"]),
        Some("debug_format") if unit["of"] == "credential" => {
            let key = ApiKey::new(input).map_err(|error| error.to_string())?;
            must_not_contain(&format!("{key:?}"), &case["expect"]["must_not_contain"])
        }
        Some("debug_format") => {
            let world = World::new(case, Speed::AtOnce, None).map_err(refused)?;
            let shown = futures_now(world.sites[""].shown())?;
            must_not_contain(&shown, &case["expect"]["must_not_contain"])
        }
        Some("build_policy" | "build_store") => check_build(World::new(case, Speed::AtOnce, None), &case["expect"]),
        Some("parse_key") => {
            let built = policy::key_format(&case["policy"]["key_format"])
                .and_then(|format| format.check(input).map_err(|error| Unbuilt::Refused(error.to_string())));
            check_parsed(built, &case["expect"])
        }
        Some("generate_key") => check_keys(case),
        Some("secret_locations") => check_locations(&policy::schemes(&case["policy"])?, &case["expect"]),
        other => Err(format!("unknown unit {other:?}")),
    }
}

/// A memory store completes at the first poll.
fn futures_now<F: Future>(future: F) -> Result<F::Output, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    Ok(runtime.map_err(|error| error.to_string())?.block_on(future))
}

/// Returns the mask that is closest to a style.
fn mask(style: Option<&str>) -> Result<Mask, Failure> {
    match style {
        None | Some("head8-tail6" | "head4") => Ok(Mask::FirstAndLast),
        Some("last4" | "stars-last4") => Ok(Mask::LastFour),
        Some(other) => Err(format!("unknown style {other}")),
    }
}

fn refused(unbuilt: Unbuilt) -> Failure {
    match unbuilt {
        Unbuilt::Refused(error) => format!("refused: {error}"),
        Unbuilt::NotUnderstood(failure) => failure,
    }
}

fn check_mask(input: &str, shown: &str, expect: &Value) -> Result<(), Failure> {
    for (member, expected) in expect.as_object().into_iter().flatten() {
        let text = expected.as_str().unwrap_or_default();
        let fits = match member.as_str() {
            "value" => shown == text,
            "starts_with" => shown.starts_with(text),
            "ends_with" => shown.ends_with(text),
            "max_len" => Value::from(shown.len()).as_u64() <= expected.as_u64(),
            "max_revealed" => Value::from(revealed(input, shown)).as_u64() <= expected.as_u64(),
            "must_not_contain" => must_not_contain(shown, expected).is_ok(),
            "no_panic" => true,
            _ => return Err(format!("unknown {member}")),
        };
        if !fits {
            return Err(format!("{shown:?} does not fit {member} {expected}"));
        }
    }
    Ok(())
}

/// Returns how many characters of the input the mask shows in place, at both ends.
fn revealed(input: &str, shown: &str) -> usize {
    let (head, tail) = shown.split_once("...").unwrap_or((shown, ""));
    let same = |a: &mut dyn Iterator<Item = char>, b: &mut dyn Iterator<Item = char>| {
        a.zip(b).take_while(|(a, b)| a == b).count()
    };
    same(&mut head.chars(), &mut input.chars()) + same(&mut tail.chars().rev(), &mut input.chars().rev())
}

fn check_build<T>(built: Result<T, Unbuilt>, expect: &Value) -> Result<(), Failure> {
    let known = ["build", "message_must_not_contain", "reason", "reason_any"];
    if let Some((member, _)) =
        expect.as_object().into_iter().flatten().find(|(name, _)| !known.contains(&name.as_str()))
    {
        return Err(format!("unknown {member}"));
    }
    match (built, expect["build"].as_str()) {
        (Err(Unbuilt::NotUnderstood(failure)), _) => Err(failure),
        (Err(Unbuilt::Refused(message)), Some("error")) => match &expect["message_must_not_contain"] {
            Value::Null => Ok(()),
            forbidden => must_not_contain(&message, forbidden),
        },
        (Err(Unbuilt::Refused(message)), _) => Err(format!("refused: {message}")),
        (Ok(_), Some("error")) => Err("it should have been rejected".into()),
        (Ok(_), _) => Ok(()),
    }
}

/// Checks that a key has the format or not, by `build` or by the reason class.
fn check_parsed(parsed: Result<(), Unbuilt>, expect: &Value) -> Result<(), Failure> {
    let classes: &[&str] = if parsed.is_ok() { &["ok"] } else { &["key_format", "malformed"] };
    for (member, expected) in expect.as_object().into_iter().flatten() {
        let fits = |expected: &Value| classes.iter().any(|class| expected == class);
        match member.as_str() {
            "build" | "message_must_not_contain" => {}
            "reason" if fits(expected) => {}
            "reason_any" if expected.as_array().is_some_and(|any| any.iter().any(fits)) => {}
            "reason" if expect["reason_any"].is_array() => {}
            _ => return Err(format!("{member} is not {expected}")),
        }
    }
    match parsed {
        Err(Unbuilt::Refused(_)) if expect["build"].is_null() && !expect["reason"].is_null() => Ok(()),
        parsed => check_build(parsed, expect),
    }
}

fn check_keys(case: &Value) -> Result<(), Failure> {
    let prefix = case["policy"]["key_format"]["prefix"].as_str().unwrap_or("tak");
    let times = case["unit"]["times"].as_u64().unwrap_or(1);
    let keys = (0..times).map(|_| generate(prefix)).collect::<Result<Vec<_>, _>>()?;
    let texts: BTreeSet<&str> = keys.iter().map(ApiKey::expose).collect();
    let format = KeyFormat::new(prefix).map_err(|error| error.to_string())?;
    for (member, expected) in case["expect"].as_object().into_iter().flatten() {
        let fits = match member.as_str() {
            "distinct" if expected.is_boolean() => (texts.len() == keys.len()) == (*expected == true),
            "distinct" => *expected == texts.len(),
            "count" => *expected == keys.len(),
            "not_constant" => texts.len() > 1,
            "charset" => {
                let allowed = charset(expected.as_str().unwrap_or_default());
                texts.iter().all(|key| {
                    let secret = key.strip_prefix(prefix).unwrap_or(key).trim_start_matches('_');
                    secret.bytes().all(|byte| allowed.contains(&byte))
                })
            }
            // 36 base62 digits; the checksum and the prefix have none.
            "min_entropy_bits" => expected.as_f64().is_some_and(|bits| bits <= 36.0 * 62_f64.log2()),
            "starts_with" => texts.iter().all(|key| key.starts_with(expected.as_str().unwrap_or_default())),
            _ => return Err(format!("unknown {member}")),
        };
        if !fits {
            return Err(format!("{member} is not {expected}"));
        }
    }
    match texts.iter().find(|key| format.check(key).is_err()) {
        Some(_) => Err("a generated key does not pass its own check".into()),
        None => Ok(()),
    }
}

/// Returns a named alphabet, or a character class such as `[A-Za-z0-9_]`.
fn charset(name: &str) -> BTreeSet<u8> {
    let class = match name {
        "base62" | "alphanumeric" => "A-Za-z0-9_",
        "base64url" | "url_safe" => "A-Za-z0-9_-",
        "token68" => "A-Za-z0-9._~+/=-",
        "visible_ascii" => "!-~",
        class => class.trim_start_matches('[').trim_end_matches(['+', '*', ']']),
    };
    let mut rest = class.as_bytes();
    let mut allowed = BTreeSet::new();
    while let [first, tail @ ..] = rest {
        rest = match tail {
            [b'-', last, tail @ ..] => {
                allowed.extend(*first..=*last);
                tail
            }
            tail => {
                allowed.insert(*first);
                tail
            }
        };
    }
    allowed
}

/// Returns the headers and query names that may carry a key.
fn check_locations(policy: &SchemePolicy, expect: &Value) -> Result<(), Failure> {
    let (mut headers, mut queries, mut cookies) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for scheme in policy.schemes() {
        let place = scheme.to_string();
        match place.split(':').collect::<Vec<_>>()[..] {
            ["authorization", ..] => headers.insert("authorization".to_owned()),
            ["header", name, ..] => headers.insert(name.to_owned()),
            ["query", name] => queries.insert(name.to_owned()),
            ["cookie", name] => cookies.insert(name.to_owned()),
            _ => return Err(format!("unknown place {place}")),
        };
    }
    for (member, expected) in expect.as_object().into_iter().flatten() {
        let wanted: BTreeSet<String> = policy::texts(expected)?.into_iter().collect();
        let lower: BTreeSet<String> = wanted.iter().map(|name| name.to_ascii_lowercase()).collect();
        let fits = match member.as_str() {
            "headers" => headers == lower,
            "query" | "queries" => queries == wanted,
            "cookie" | "cookies" => cookies == wanted,
            _ => return Err(format!("unknown {member}")),
        };
        if !fits {
            return Err(format!("{member} are {headers:?}, {queries:?} and {cookies:?}, not {expected}"));
        }
    }
    Ok(())
}
