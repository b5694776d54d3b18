//! A JSON Web Token, signed with HS256, checked for its signature and its expiry.

use std::hint::black_box;

use jsonwebtoken::{DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde::{Deserialize, Serialize};

use crate::item::{Item, Repeat};

#[derive(Serialize, Deserialize)]
struct Claims {
    sub: String,
    scope: String,
    exp: u64,
}

const SECRET: [u8; 32] = [7; 32];

pub fn check() -> impl Item {
    // Far away, and still the same number of digits.
    let claims = Claims { sub: "key_0001".to_owned(), scope: "links:read stats:read".to_owned(), exp: 9_999_999_999 };
    let token = encode(&Header::default(), &claims, &EncodingKey::from_secret(&SECRET)).expect("a token");
    let key = DecodingKey::from_secret(&SECRET);
    let validation = Validation::default();
    assert!(decode::<Claims>(&token, &key, &validation).is_ok_and(|found| found.claims.sub == "key_0001"));
    assert!(decode::<Claims>(&token, &DecodingKey::from_secret(&[8; 32]), &validation).is_err());
    Repeat(move |_| decode::<Claims>(black_box(&token), &key, &validation).expect("a good token"))
}
