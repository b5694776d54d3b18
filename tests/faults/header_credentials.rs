//! R1 to R8, R10 to R12, R16, R18, C6: credentials in a wrong form or place, and the response to
//! them.

mod accepted_forms;
mod challenges;
mod diagnoses;

use base64::{Engine, engine::general_purpose::STANDARD};
use http::Request;
use serde_json::Value;
use tower_api_key::SchemePolicy;

use crate::support::{Answer, Api, Body, TestApi, add, bare, path};

const K: &str = "zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ";

/// Header lines, or a target under the name `?`. `KEY` is replaced by the key, `CODED(..)` by its
/// base64.
type Sent<'a> = &'a [(&'a str, &'a str)];

fn filled(text: &str) -> String {
    let text = text.replace("KEY", K).replace("LONG", &"k".repeat(600));
    match text.split_once("CODED(").and_then(|(before, rest)| Some((before, rest.split_once(')')?))) {
        Some((before, (coded, after))) => format!("{before}{}{after}", STANDARD.encode(coded)),
        None => text,
    }
}

fn request(sent: Sent<'_>) -> Request<Body> {
    let mut request = bare();
    for (name, value) in sent {
        match *name {
            "?" => request = path(request, &format!("/?{}", filled(value))),
            name => add(&mut request, name, filled(value)),
        }
    }
    request
}

fn api(policy: impl Into<SchemePolicy>) -> TestApi {
    let policy = policy.into();
    Api::new().key("k1", K, |record| record).layer(|layer| layer.schemes(policy)).run()
}

fn detail(answer: &Answer) -> String {
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    body["detail"].as_str().unwrap().to_owned()
}

fn challenges(answer: &Answer) -> Vec<&str> {
    answer.headers.get_all("www-authenticate").iter().map(|line| line.to_str().unwrap()).collect()
}

/// No six characters of the key, in any case and encoding, or of another possible key.
#[track_caller]
fn assert_says_nothing_of_the_key(answer: &Answer) {
    let shown = format!("{:?} {:?} {:?}", answer.headers, answer.body, answer.decision).to_lowercase();
    for secret in [K.to_owned(), STANDARD.encode(K), "k".repeat(6), "dTpwdTpw".to_owned()] {
        for piece in secret.as_bytes().windows(6) {
            let piece = String::from_utf8_lossy(piece).to_lowercase();
            assert!(!shown.contains(&piece), "{piece} in {shown}");
        }
    }
}
