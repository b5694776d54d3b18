//! Properties of reading: the fast path agrees with the full parser and marks the same headers, and
//! empty credentials do not change the result.

use http::{HeaderMap, HeaderName, HeaderValue, Uri, header::HOST};
use proptest::{collection::vec, prelude::*, sample::select};

use super::{
    Candidate, ConflictPolicy, Credential, Reader, Scheme, SchemePolicy, grammar::Word, resolve::CredentialError,
};
use crate::{error::ConfigError, rejection::Reason};

type Answer = Result<(&'static Scheme, Vec<u8>), (Reason, Option<&'static Scheme>)>;

fn answer(read: Result<Credential<'_>, CredentialError>) -> Answer {
    read.map(|read| (read.scheme, read.key.to_vec())).map_err(|unread| (unread.reason, unread.scheme))
}

fn schemes() -> impl Strategy<Value = Vec<Scheme>> {
    let in_headers = vec![
        Scheme::bearer(),
        Scheme::token(),
        Scheme::authorization("bearer"),
        Scheme::token().visible_ascii(),
        Scheme::bearer().visible_ascii(),
        Scheme::basic(),
        Scheme::basic_password(),
        Scheme::header("authorization"),
        Scheme::x_api_key(),
        Scheme::header_with_prefix("x-api-key", "Key"),
        Scheme::header_with_prefix("x-key", "Key"),
    ];
    let beyond = vec![Scheme::query("key"), Scheme::cookie("key"), Scheme::websocket_protocol("key")];
    let beyond = prop_oneof![3 => Just(Vec::new()), 1 => vec(select(beyond), 1..3)];
    (vec(select(in_headers), 1..5), beyond).prop_map(|(headers, beyond)| [headers, beyond].concat())
}

/// Generates values from few keys, so that some are equal, with all kinds of white space. Some have
/// a word of the policy, some another word, and some no word.
fn value() -> impl Strategy<Value = Vec<u8>> {
    let space = || select(vec!["", "", "", " ", "  ", "\t", " \t"]);
    let word = select(vec!["", "", "Bearer ", "bEARER  ", "Bearer", "Token ", "Basic ", "Key ", "Key\t", "Digest "]);
    let key = select(vec!["", "k", "k", "k=", "azp4", "azp4Og==", "=", "a,b", "a b", "key=k", "key, k", "\u{fc}"]);
    let long = (508_usize..516).prop_map(|len| "k".repeat(len));
    let key = prop_oneof![9 => key.prop_map(str::to_owned), 1 => long];
    (space(), word, key, space()).prop_map(|(before, word, key, after)| [before, word, &key, after].concat().into())
}

impl Reader {
    /// Returns whether a header's whole value may be a key.
    fn takes_whole(&self, name: &str) -> bool {
        self.sources
            .headers
            .iter()
            .any(|source| source.name == name && source.forms.iter().any(|form| form.word.is_none()))
    }
}

/// Returns whether `candidate` finds the same key as `read`, or finds none.
fn is_what_is_read(reader: &Reader, headers: &HeaderMap, uri: &Uri) -> bool {
    let key = reader.candidate(headers).filter(|key| key.is_key(reader.max_key_len()));
    key.is_none_or(|key| answer(reader.read(headers, uri)) == Ok((key.scheme, key.key.to_vec())))
}

/// Returns whether `mark_candidate` finds what `candidate` finds, and then has marked what
/// `mark_sensitive` marks.
fn is_marked(reader: &Reader, headers: &HeaderMap) -> bool {
    let key = |found: Option<Candidate<'_>>| found.map(|found| (found.scheme, found.key.to_vec()));
    let marks = |headers: &HeaderMap| headers.values().map(HeaderValue::is_sensitive).collect::<Vec<_>>();
    let (mut marked, mut all_marked) = (headers.clone(), headers.clone());
    let found = key(reader.mark_candidate(&mut marked));
    reader.mark_sensitive(&mut all_marked);
    found == key(reader.candidate(headers)) && (found.is_none() || marks(&marked) == marks(&all_marked))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 4_096, ..ProptestConfig::default() })]

    #[test]
    fn the_plain_cases_come_to_what_all_findings_come_to(
        schemes in schemes(),
        conflict in select(vec![ConflictPolicy::Reject, ConflictPolicy::AllowIdentical, ConflictPolicy::FirstWins]),
        lines in vec((select(vec!["authorization", "x-api-key", "x-key", "cookie", "sec-websocket-protocol", "host"]), value()), 0..4),
        uri in select(vec!["/", "/?key=k", "/?key=k&key=k", "/?key="]),
        max_key_len in select(vec![512, 1, 4096]),
        others in select(vec![0, 1, 9]),
    ) {
        let reader = Reader::new(&SchemePolicy::new(schemes).on_conflict(conflict), max_key_len);
        if matches!(reader, Err(ConfigError::ReadTwoWays(_))) {
            return Ok(());
        }
        let reader = reader.unwrap();
        let (mut headers, uri) = (HeaderMap::new(), Uri::from_static(uri));
        for (name, value) in lines {
            headers.append(name, HeaderValue::from_bytes(&value).unwrap());
        }
        for number in 0..others {
            headers.insert(HeaderName::try_from(format!("other-{number}")).unwrap(), HeaderValue::from_static("k"));
        }
        prop_assert!(is_what_is_read(&reader, &headers, &uri));
        prop_assert!(is_marked(&reader, &headers));
        headers.remove(HOST);
        prop_assert!(is_what_is_read(&reader, &headers, &uri));
        prop_assert!(is_marked(&reader, &headers));
    }

    /// The comparison of eight bytes at once comes to what the comparison of each byte comes to.
    #[test]
    fn a_word_is_found_whatever_its_case(
        word in "[A-Za-z0-9!#$%&'*+.^_`|~-]{1,9}",
        flipped in any::<u16>(),
        changed in prop_oneof![3 => Just(None), 1 => (0_usize..9, any::<u8>()).prop_map(Some)],
        after in "[ \t,]{0,2}[ -~]{0,9}",
    ) {
        let flip = |(place, byte): (usize, u8)| match byte {
            letter if letter.is_ascii_alphabetic() && flipped >> place & 1 == 1 => letter ^ 0x20,
            byte => byte,
        };
        let mut value: Vec<u8> = word.bytes().enumerate().map(flip).chain(after.bytes()).collect();
        if let Some((place, byte)) = changed && let Some(at) = value.get_mut(place) {
            *at = byte;
        }
        let word = Word::new(&word);
        prop_assert_eq!(word.after(&value), word.after_compared(&value));
    }

    /// Adding an empty credential to a request does not change the result. If it is the only
    /// credential, it is malformed.
    #[test]
    fn r07_an_empty_credential_conflicts_with_nothing(
        schemes in schemes(),
        conflict in select(vec![ConflictPolicy::Reject, ConflictPolicy::AllowIdentical, ConflictPolicy::FirstWins]),
        lines in vec((select(vec!["authorization", "x-api-key", "x-key", "cookie", "sec-websocket-protocol"]), value()), 0..3),
        query in select(vec!["", "key=k", "key=a%20b"]),
        (place, empty) in select(vec![
            ("authorization", "Bearer"), ("authorization", "Token "), ("authorization", "Basic"), ("authorization", ""),
            ("x-api-key", ""), ("x-api-key", "Key"), ("x-key", " \t"), ("x-key", "Key"), ("cookie", "key="),
            ("sec-websocket-protocol", "key"), ("?", "key="),
        ]),
    ) {
        let Ok(reader) = Reader::new(&SchemePolicy::new(schemes).on_conflict(conflict), 512) else { return Ok(()) };
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.insert(name, HeaderValue::from_bytes(&value).unwrap());
        }
        let mut uri: Uri = format!("/?{query}").parse().unwrap();
        // If the whole value may be a key, a word alone is read as a key.
        let is_taken_for_a_key = !empty.trim().is_empty() && reader.takes_whole(place);
        if is_taken_for_a_key || headers.contains_key(place) || (place == "?" && !query.is_empty()) {
            return Ok(());
        }
        let before = answer(reader.read(&headers, &uri));
        if place == "?" {
            uri = format!("/?{empty}").parse().unwrap();
        } else {
            headers.insert(place, HeaderValue::from_static(empty));
        }
        let after = answer(reader.read(&headers, &uri));
        match before {
            Err((Reason::Missing | Reason::WrongScheme, _)) => {
                prop_assert!(matches!(after, Err((Reason::Missing | Reason::WrongScheme | Reason::Malformed, _))), "{after:?}");
            }
            // Of two empty ones, the first in the policy's order is named.
            Err((Reason::Malformed, _)) => prop_assert!(matches!(after, Err((Reason::Malformed, _))), "{after:?}"),
            before => prop_assert_eq!(after, before),
        }
    }
}
