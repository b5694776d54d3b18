//! Properties of tokens: what is issued opens to what was asked, and no other text opens.

use std::time::{Duration, SystemTime};

use proptest::{collection::vec, option, prelude::*};
use zeroize::Zeroizing;

use super::{
    HEAD_LEN, MAX_TOKEN_LEN, TokenSecret, Tokens,
    open::{OpenToken, Unopened, VERSION},
    restrictions::Restrictions,
};
use crate::{address::Network, key::KeyDigest, permission::Permissions};

const END: u64 = 1_800_000_000;

fn tokens() -> Tokens {
    Tokens::new("acme_tok", TokenSecret::new(&[7; 32]).unwrap()).unwrap()
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn open(text: impl AsRef<[u8]>) -> Result<OpenToken, Unopened> {
    tokens().open(text.as_ref(), at(END - 1))
}

/// Returns why a text does not open.
fn error(text: impl AsRef<[u8]>) -> Option<Unopened> {
    open(text).err()
}

fn usual() -> Restrictions {
    let permissions = Permissions::all_of("links").grant("stats", "read").grant("project:123", "archive");
    let addresses = Network::list(["192.0.2.0/24", "2001:db8::/32"]).unwrap();
    Restrictions { permissions: Some(permissions), addresses: Some(addresses) }
}

fn token(restrictions: &Restrictions) -> String {
    tokens().write(&KeyDigest::from([9; 32]), END, restrictions).unwrap().expose().to_owned()
}

/// Returns a token of this content, with a MAC that is right.
fn sealed(content: &[u8]) -> String {
    tokens().seal(Zeroizing::new(content.to_vec())).unwrap().expose().to_owned()
}

/// Returns the content of a token without restrictions, with this version and these flags.
fn content(version: u8, flags: u8) -> Vec<u8> {
    [&[version, flags][..], &[9; 32], &END.to_be_bytes()].concat()
}

/// Returns how many blocks are hashed to check a token: the first block of both passes is hashed
/// before, and the padding has at least 9 bytes.
fn compressions(restrictions: &Restrictions) -> usize {
    let mut bytes = Vec::new();
    restrictions.write(&mut bytes).unwrap();
    (HEAD_LEN + bytes.len() + 9).div_ceil(64) + 1
}

fn permissions() -> impl Strategy<Value = Permissions> {
    let name = "[a-z*:\u{e9}]{0,12}";
    let action = prop_oneof![Just("read".to_owned()), Just("delete".to_owned()), "[a-z*]{0,9}".prop_map(String::from)];
    (vec((name, action), 0..8), any::<bool>()).prop_map(|(grants, wildcards)| {
        let permissions: Permissions = grants.into_iter().collect();
        if wildcards { permissions.with_wildcards() } else { permissions }
    })
}

fn network() -> impl Strategy<Value = Network> {
    let ipv4 =
        (any::<u32>(), 0..=32_u32).prop_map(|(address, prefix)| (u128::from(address) | 0xffff << 32, 96 + prefix));
    let parts = prop_oneof![ipv4, (any::<u128>(), 0..=128_u32)];
    parts.prop_map(|(address, prefix)| {
        let mask = u128::MAX.checked_shl(128 - prefix).unwrap_or(0);
        Network::from_parts(address & mask, prefix).unwrap()
    })
}

fn restrictions() -> impl Strategy<Value = Restrictions> {
    (option::of(permissions()), option::of(vec(network(), 0..6)))
        .prop_map(|(permissions, addresses)| Restrictions { permissions, addresses })
}

proptest! {
    #[test]
    fn a_token_opens_to_what_was_asked(
        digest: [u8; 32],
        ends_at in 1..=u64::from(u32::MAX),
        restrictions in restrictions(),
        prefix in "[A-Za-z0-9_-]{1,20}",
    ) {
        let tokens = Tokens::new(prefix, TokenSecret::new(&[7; 32]).unwrap()).unwrap();
        let text = tokens.write(&KeyDigest::from(digest), ends_at, &restrictions).unwrap();
        let text = text.expose().as_bytes();
        prop_assert!(text.len() <= MAX_TOKEN_LEN && tokens.claims(text));
        let opened = tokens.open(text, at(ends_at - 1)).map_err(|error| TestCaseError::fail(format!("{error:?}")))?;
        prop_assert_eq!(*opened.key_digest().as_bytes(), digest);
        prop_assert_eq!(opened.ends_at(), at(ends_at));
        prop_assert_eq!(opened.restrictions(), Ok(restrictions));
        prop_assert_eq!(tokens.open(text, at(ends_at)).err(), Some(Unopened::Expired));
    }

    #[test]
    fn no_changed_text_opens(restrictions in restrictions(), place: prop::sample::Index, byte: u8) {
        let text = token(&restrictions);
        let mut changed = text.clone().into_bytes();
        let at = place.index(changed.len());
        prop_assume!(changed[at] != byte);
        changed[at] = byte;
        prop_assert!(error(&changed).is_some());
        prop_assert!(error(&text[..at]).is_some());
        prop_assert!(error([&text.as_bytes()[..at], &[byte], &text.as_bytes()[at..]].concat()).is_some());
    }

    #[test]
    fn no_text_makes_a_reader_panic(bytes: Vec<u8>, flags in 0..8_u8) {
        let text = [b"acme_tok_", &bytes[..]].concat();
        prop_assert!(error(text).is_some());
        // As if the secret had signed it.
        let content = [content(VERSION, flags), bytes.into_iter().take(200).collect()].concat();
        if let Ok(opened) = open(sealed(&content)) {
            let _ = opened.restrictions();
        }
    }
}

#[test]
fn no_text_with_one_flipped_bit_opens() {
    let text = token(&usual());
    assert_eq!(error(&text), None);
    for bit in 0..text.len() * 8 {
        let mut flipped = text.clone().into_bytes();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(error(&flipped).is_some(), "bit {bit}");
    }
}

#[test]
fn a_token_has_one_text_only() {
    // 58 bytes: the last character has two bits of the token, and four that must be zero.
    let text = token(&Restrictions::default());
    let (start, last) = text.split_at(text.len() - 1);
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let opening: Vec<char> = alphabet.chars().filter(|other| open(format!("{start}{other}")).is_ok()).collect();
    assert_eq!(opening.into_iter().collect::<String>(), last);
    let with_a_bit = &alphabet[alphabet.find(last).unwrap() + 1..][..1];
    assert_eq!(error(format!("{start}{with_a_bit}")), Some(Unopened::Malformed));
    for same in [format!("{text}="), format!("{text}=="), format!("{text}\n"), format!(" {text}")] {
        assert_eq!(error(&same), Some(Unopened::Malformed), "{same:?}");
    }
    let standard = token(&usual()).replace('-', "+").replace('_', "/").replacen("acme/tok/", "acme_tok_", 1);
    assert_ne!(standard, token(&usual()), "the token has a character of another alphabet");
    assert_eq!(error(standard), Some(Unopened::Malformed));
}

#[test]
fn a_text_of_another_length_or_prefix_is_malformed() {
    let text = token(&Restrictions::default());
    let other = text.replacen("acme_tok_", "acme-tok_", 1);
    let long = format!("acme_tok_{}", "A".repeat(MAX_TOKEN_LEN));
    let longest = format!("acme_tok_{}", "A".repeat(MAX_TOKEN_LEN - 9 - 3));
    for (text, expected) in [
        ("", Unopened::Malformed),
        ("acme_tok", Unopened::Malformed),
        ("acme_tok_", Unopened::Malformed),
        (&text[..text.len() - 2], Unopened::Malformed),
        (&other, Unopened::Malformed),
        (&long, Unopened::Malformed),
        (&longest, Unopened::Forged),
    ] {
        assert_eq!(error(text), Some(expected), "{text}");
    }
    assert!(tokens().claims(b"acme_tok_") && !tokens().claims(b"acme_tok") && !tokens().claims(b"acme_live_x"));
}

#[test]
fn a_token_is_expired_only_if_its_mac_is_right() {
    let text = token(&Restrictions::default());
    assert_eq!(tokens().open(text.as_bytes(), at(END)).err(), Some(Unopened::Expired));
    let other = Tokens::new("acme_tok", TokenSecret::new(&[8; 32]).unwrap()).unwrap();
    for now in [at(END - 1), at(END), at(END + 1)] {
        assert_eq!(other.open(text.as_bytes(), now).err(), Some(Unopened::Forged));
    }
}

#[test]
fn content_of_another_form_is_malformed_although_its_mac_is_right() {
    assert_eq!(error(sealed(&content(VERSION, 0))), None);
    assert_eq!(error(sealed(&content(VERSION + 1, 0))), Some(Unopened::Malformed));
    for flags in [2, 6, 8, 16, 128, 255] {
        assert_eq!(error(sealed(&content(VERSION, flags))), Some(Unopened::Malformed), "{flags}");
    }
    for (flags, rest) in [
        (0, &[0][..]),
        (1, &[]),
        (1, &[1]),
        (1, &[1, 1, b'a', 1]),
        (1, &[1, 1, 0xff, 1, 252]),
        (1, &[0, 0]),
        (4, &[1, 5, 0]),
        (4, &[1, 4, 33, 1, 2, 3, 4, 5]),
        (4, &[1, 4, 8]),
        (4, &[1, 4, 7, 1]),
        (4, &[1, 6, 129, 0]),
    ] {
        let opened = open(sealed(&[&content(VERSION, flags)[..], rest].concat())).ok().unwrap();
        assert_eq!(opened.restrictions(), Err(Unopened::Malformed), "{flags} {rest:?}");
    }
}

#[test]
fn tokens_of_another_prefix_or_secret_are_forged() {
    let secret = |byte| TokenSecret::new(&[byte; 32]).unwrap();
    let made = |tokens: &Tokens| tokens.write(&KeyDigest::from([9; 32]), END, &usual()).unwrap().expose().to_owned();
    let (old, new) = (Tokens::new("a", secret(1)).unwrap(), Tokens::new("a", secret(2)).unwrap());
    let both = Tokens::new("a", secret(2)).unwrap().with_previous(secret(3)).with_previous(secret(1));
    let opens = |tokens: &Tokens, text: &str| tokens.open(text.as_bytes(), at(END - 1)).map(|_| ());
    assert_eq!(opens(&new, &made(&old)), Err(Unopened::Forged));
    assert_eq!((opens(&both, &made(&old)), opens(&both, &made(&new))), (Ok(()), Ok(())));
    assert_eq!(made(&both), made(&new), "new tokens are those of the new secret");
    // The same secret and content under another prefix.
    let other = Tokens::new("ab", secret(2)).unwrap();
    let renamed = made(&new).replacen("a_", "ab_", 1);
    assert_eq!(opens(&other, &renamed), Err(Unopened::Forged));
    assert_eq!(opens(&other, &made(&other)), Ok(()));
}

#[test]
fn two_tokens_have_the_same_tag_only_if_they_are_equal() {
    let one = open(token(&usual())).ok().unwrap();
    let same = open(token(&usual())).ok().unwrap();
    let other = open(token(&Restrictions::default())).ok().unwrap();
    assert_eq!(one.tag(), same.tag());
    assert_ne!(one.tag(), other.tag());
}

#[test]
fn a_token_with_usual_permissions_takes_at_most_two_compressions_more_than_a_key() {
    let of = |permissions: Permissions| Restrictions { permissions: Some(permissions), addresses: None };
    let crud = |names: &[&str]| of(names.iter().flat_map(|name| Permissions::all_of(name)).collect());
    let few = of(Permissions::new().grant("links", "read"));
    let eight = ["links", "stats", "users", "files", "domains", "orders", "invoices", "hooks"];
    for (restrictions, expected) in [
        (Restrictions::default(), 2),
        (of(Permissions::new()), 2),
        (few, 2),
        (usual(), 3),
        (crud(&eight[..6]), 3),
        (of(eight.iter().map(|name| (*name, "read")).collect()), 3),
        (crud(&eight), 4),
    ] {
        assert_eq!(compressions(&restrictions), expected, "{restrictions:?}");
    }
}

#[test]
fn the_lengths_in_the_documentation_are_right() {
    for (filled, characters, blocks) in [(0, 78, 2), (13, 95, 2), (77, 180, 3), (141, 266, 4), (205, 351, 5)] {
        let len = HEAD_LEN + filled;
        assert_eq!(super::encoded_len(len + super::TAG_LEN), characters, "{filled}");
        assert_eq!((len + 9).div_ceil(64) + 1, blocks, "{filled}");
        assert!(filled == 0 || (len + 1 + 9).div_ceil(64) + 1 == blocks + 1, "{filled}");
    }
}
