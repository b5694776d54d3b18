//! Tests keys: generated, validated, masked, and never shown.

use std::collections::BTreeSet;

use proptest::prelude::*;
use tower_api_key::{
    ApiKey, KeyDigest, KeyFormat, KeyHasher, Mask,
    key::{FormatError, InvalidKey},
};

#[test]
fn a_generated_key_is_prefix_body_and_checksum_and_fits_one_block() {
    let format = KeyFormat::new("hopx_live_123").unwrap();
    assert_eq!(format.prefix(), "hopx_live_123_");
    let key = KeyFormat::new("hopx_live_12").unwrap().generate().unwrap();
    assert_eq!(key.expose().len(), 55);
    let body = key.expose().strip_prefix("hopx_live_12_").unwrap();
    assert!(body.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    assert_eq!(KeyFormat::new("hopx_live_12_").unwrap(), KeyFormat::new("hopx_live_12").unwrap());
}

#[test]
fn generated_keys_differ_and_use_every_digit() {
    let format = KeyFormat::new("k").unwrap();
    let keys: Vec<ApiKey> = (0..200).map(|_| format.generate().unwrap()).collect();
    let texts: BTreeSet<&str> = keys.iter().map(ApiKey::expose).collect();
    assert_eq!(texts.len(), 200);
    let digits: BTreeSet<u8> = texts.iter().flat_map(|text| text.bytes().skip(2).take(36)).collect();
    assert_eq!(digits.len(), 62);
}

#[test]
fn a_format_refuses_what_it_cannot_mean() {
    assert_eq!(KeyFormat::new(""), Err(FormatError::Prefix));
    for (prefix, character) in [("a.b", '.'), ("a b", ' '), ("\u{fc}", '\u{fc}')] {
        assert_eq!(KeyFormat::new(prefix), Err(FormatError::PrefixCharacter(character)), "{prefix}");
    }
    for separator in ['a', '0', '/', ' ', '\u{fc}'] {
        let format = KeyFormat::new("sk-live").unwrap();
        assert_eq!(format.separator(separator), Err(FormatError::Separator(separator)));
    }
    assert_eq!(KeyFormat::new(&"p".repeat(500)), Err(FormatError::Prefix));
    let format = || KeyFormat::new("k").unwrap();
    assert_eq!(format().body_len(21), Err(FormatError::BodyLength));
    assert_eq!(format().body_len(505), Err(FormatError::BodyLength));
    for digits in [22, 504] {
        let format = format().body_len(digits).unwrap();
        let key = format.generate().unwrap();
        assert_eq!(key.expose().len(), 2 + digits + 6);
        assert_eq!(format.check(key.expose()), Ok(()));
    }
}

#[test]
fn a_foreign_format_checks_the_shape_alone() {
    let check = |key: &str| KeyFormat::foreign("ak", ".", 3).unwrap().check(key).is_ok();
    for (key, fits) in [
        ("ak.id.secret", true),
        ("ak.id", false),
        ("ak.id.", false),
        ("ak..secret", false),
        ("ak.a.b.c", false),
        ("bk.id.secret", false),
        ("akid.secret.x", false),
        ("ak", false),
        ("", false),
    ] {
        assert_eq!(check(key), fits, "{key}");
    }
    let any = KeyFormat::foreign("sk", "_", None).unwrap();
    assert!(any.check("sk_a").is_ok() && any.check("sk_a_b_c").is_ok() && any.check("sk").is_err());
    assert_eq!(KeyFormat::foreign("a.b", ".", 3), Err(FormatError::Prefix));
    let two = KeyFormat::foreign("", ".", 2).unwrap();
    assert!(two.check("id.secret").is_ok() && two.check("id").is_err() && two.check(".secret").is_err());
    assert_eq!(KeyFormat::foreign("", "", None), Err(FormatError::Prefix));
    assert_eq!(KeyFormat::foreign("a", " ", 3), Err(FormatError::Parts));
    assert_eq!(KeyFormat::foreign("a", ".", 1), Err(FormatError::Parts));
    assert_eq!(KeyFormat::foreign("a", "", 3), Err(FormatError::Parts));
    assert_eq!(any.generate().unwrap_err(), FormatError::Foreign);
    assert_eq!(any.body_len(36), Err(FormatError::Foreign));
}

/// A format rejects at import every key that the layer would reject.
#[test]
fn a_foreign_format_takes_only_what_a_request_could_carry() {
    let format = KeyFormat::foreign("sk-", "", None).unwrap();
    for key in ["sk-two words", "sk-schl\u{fc}ssel", "sk-line\n", &format!("sk-{}", "k".repeat(4094))] {
        assert_eq!(format.check(key), Err(FormatError::Mismatch), "{key}");
        assert_eq!(ApiKey::new(key).unwrap_err(), InvalidKey, "{key}");
    }
    assert_eq!(format.check(&format!("sk-{}", "k".repeat(4093))), Ok(()));
}

#[test]
fn a_key_is_what_a_request_could_carry() {
    for text in ["", "two words", "tab\t", "schl\u{fc}ssel", &"k".repeat(4097)] {
        assert_eq!(ApiKey::new(text).unwrap_err(), InvalidKey, "{text}");
    }
    assert_eq!(ApiKey::new("k").unwrap().expose(), "k");
}

#[test]
fn nothing_shows_a_key_a_digest_or_a_pepper() {
    let text = "zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ";
    let key = ApiKey::new(text).unwrap();
    let hasher = KeyHasher::hmac_sha256(text.repeat(2).as_bytes()).unwrap();
    let digest = hasher.digest(&key);
    let shown = format!("{key:?} {hasher:?} {digest:?}");
    assert_eq!(shown, "ApiKey(..) KeyHasher(hmac-sha256) KeyDigest(..)");
}

#[test]
fn a_digest_is_32_bytes_and_equal_only_to_itself() {
    assert_eq!(KeyDigest::try_from(&[0; 31][..]).map_err(|error| error.actual_len()), Err(31));
    assert_eq!(KeyDigest::try_from(vec![]).map_err(|error| error.actual_len()), Err(0));
    let zero = KeyDigest::from([0; 32]);
    for place in 0..32 {
        let mut bytes = [0; 32];
        bytes[place] = 1;
        assert!(zero != KeyDigest::from(bytes), "byte {place}");
    }
    assert!(zero == KeyDigest::from([0; 32]));
}

#[test]
fn a_mask_shows_a_part_only_while_enough_random_bits_stay_unseen() {
    let base62 = "zQWBuTSOoRi4A9spHcVY5ncnsDkxkJzQWBuTSO";
    for (mask, key, shown) in [
        (Mask::FirstAndLast, "a1b2c3d4e5f6g7h8i9j0klmnopqrstuvwxyz789", "a1b2c3d4...xyz789"),
        (Mask::FirstAndLast, &base62[..36], "zQWBuTSO...zQWBuT"),
        (Mask::FirstAndLast, &base62[..35], "..."), // 21 base62 digits unseen: 125 bits
        (Mask::LastFour, &base62[..26], "...cnsD"), // 22: 131 bits
        (Mask::LastFour, &base62[..25], "..."),
        (Mask::LastFour, "0123456789abcdef0123456789abcdef", "..."), // 32 hexadecimal digits
        (Mask::LastFour, "0123456789abcdef0123456789abcdef0123", "...0123"),
        (Mask::LastFour, "550e8400-e29b-41d4-a716-446655440000", "..."), // a UUID
        (Mask::LastFour, "SK2a0747eba6abf96b7e3c3ff0b4530f6e", "..."),   // a public word, then 128 bits
        (Mask::FirstAndLast, "live2a0747eba6abf96b7e3c3ff0b4530f6e012", "..."),
        (Mask::FirstAndLast, "mfrggzdfmztwq2lknnwg23tpobyxe43uov3ho6d", "..."), // base32: 125 bits
        (Mask::FirstAndLast, "mfrggzdfmztwq2lknnwg23tpobyxe43uov3ho6de", "mfrggzdf...3ho6de"),
        (Mask::FirstAndLast, "a_long_public_prefix_zQWBuTSOoRi4A9spHcVY5n", "..."),
        (Mask::FirstAndLast, "hunter2", "..."),
        (Mask::FirstAndLast, "", "..."),
        (Mask::FirstAndLast, "schl\u{fc}ssel-schl\u{fc}ssel-schl\u{fc}ssel-schl\u{fc}ssel", "..."),
    ] {
        assert_eq!(mask.apply_leaving(key, 128), shown, "{key}");
    }
    for (mask, key, shown) in [
        (Mask::FirstAndLast, &base62[..28], "zQWBuTSO...cnsDkx"), // 14 base62 digits unseen: 83 bits
        (Mask::FirstAndLast, &base62[..27], "..."),
        (Mask::LastFour, &base62[..18], &format!("...{}", &base62[14..18])),
        (Mask::LastFour, &base62[..17], "..."),
        (Mask::LastFour, "0123456789abcdef01234567", "...4567"), // 20 hexadecimal digits: 80 bits
        (Mask::LastFour, "0123456789abcdef0123456", "..."),
        (Mask::LastFour, "550e8400-e29b-41d4-a716-446655440000", "..."),
        (Mask::FirstAndLast, "hunter2", "..."),
    ] {
        assert_eq!(mask.apply(key), shown, "{key}");
    }
}

/// The shown checksum reveals 32 bits of the body, of which at least 128 must remain.
#[test]
fn a_shown_checksum_counts_as_seen() {
    // 26 digits are 155 bits, 27 are 161. The checksum reveals 32 of them, four of its digits 24.
    let cases = [
        (36, Mask::FirstAndLast, true),
        (27, Mask::FirstAndLast, true),
        (26, Mask::FirstAndLast, false),
        (26, Mask::LastFour, true),
        (25, Mask::LastFour, false),
    ];
    for (digits, mask, is_shown) in cases {
        let format = KeyFormat::new("acme_live").unwrap().body_len(digits).unwrap();
        for _ in 0..100 {
            let key = format.generate().unwrap();
            let text = key.expose();
            let expected = match (is_shown, mask) {
                (false, _) => "...".to_owned(),
                (true, Mask::LastFour) => format!("...{}", &text[text.len() - 4..]),
                (true, _) => format!("acme_liv...{}", &text[text.len() - 6..]),
            };
            assert_eq!(mask.apply_leaving(text, 128), expected, "{digits} digits");
        }
    }
}

proptest! {
    #[test]
    fn what_is_generated_passes_its_own_check(prefix in "[A-Za-z0-9_]{1,40}", digits in 22_usize..100) {
        let format = KeyFormat::new(&prefix).unwrap().body_len(digits).unwrap();
        prop_assert_eq!(format.check(format.generate().unwrap().expose()), Ok(()));
    }

    #[test]
    fn one_wrong_digit_is_a_wrong_checksum(place in 0_usize..42, digit in "[A-Za-z0-9]") {
        let format = KeyFormat::new("k").unwrap();
        let key = format.generate().unwrap();
        let mut typo = key.expose().to_owned();
        typo.replace_range(place + 2..place + 3, &digit);
        let expected = if typo == key.expose() { Ok(()) } else { Err(FormatError::Checksum) };
        prop_assert_eq!(format.check(&typo), expected);
    }

    #[test]
    fn a_mask_of_any_text_shows_at_most_fourteen_characters(text in any::<String>()) {
        for mask in [Mask::FirstAndLast, Mask::LastFour] {
            let shown = mask.apply(&text);
            prop_assert!(shown == "..." || (shown.len() <= 17 && text.len() >= 18));
        }
    }

    #[test]
    fn any_text_is_checked_without_a_panic(text in any::<String>(), prefix in "[a-z]{1,3}", separator in "[._]?") {
        let _ = KeyFormat::new(&prefix).unwrap().check(&text);
        let _ = KeyFormat::foreign(&prefix, &separator, None).unwrap().check(&text);
        let _ = ApiKey::new(text);
    }
}
