//! The payloads of notifications.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use subtle::ConstantTimeEq;

use crate::{key::Hmac, store::Invalidation};

/// A parsed notification.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Notification {
    Change(Invalidation),
    Beat(Beat),
    /// A node asks for beats.
    Ask,
    /// A beat that proves nothing: of a release before migration 15, or with a wrong signature.
    OtherBeat,
}

/// A beat. A node that has read a smaller number before proves with it that it missed no change.
///
/// Its payload is `beat NUMBER SERVER TRIGGERS SIGNATURE`. Releases before migration 15 ignore
/// every payload that begins with `beat `. A later version may append words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Beat {
    /// From the sequence, before the beat was sent.
    pub(super) number: i64,
    /// Which database of which server gave the number.
    pub(super) server: i64,
    /// A hash of the triggers as they were after the number was given.
    pub(super) triggers: i64,
}

/// Asks the holder for beats. Releases before migration 15 take it for a beat, and ignore it.
///
/// It has no channel of its own: PostgreSQL wakes every session that listens, whatever the channel.
pub(super) const ASK: &str = "beat please";

impl Notification {
    pub(super) fn parse(payload: &str, key: &Hmac) -> Self {
        if payload == ASK {
            return Self::Ask;
        }
        if let Some(beat) = payload.strip_prefix("beat ") {
            return Beat::parse(beat, key).map_or(Self::OtherBeat, Self::Beat);
        }
        let is_hex = payload.len() == 4 && payload.bytes().all(|byte| byte.is_ascii_hexdigit());
        let prefix = is_hex.then(|| u16::from_str_radix(payload, 16).ok()).flatten();
        // A payload of a newer version may be any change.
        Self::Change(prefix.map_or(Invalidation::All, |bytes| Invalidation::DigestPrefix(bytes.to_be_bytes())))
    }
}

impl Beat {
    pub(super) fn payload(self, key: &Hmac) -> String {
        let Self { number, server, triggers } = self;
        format!("beat {number} {server} {triggers} {}", self.signature(key))
    }

    /// A beat is signed, since any role that knows the channel can notify: with a forged number, a
    /// node would believe that it has heard changes that are still on their way.
    fn signature(self, key: &Hmac) -> String {
        let Self { number, server, triggers } = self;
        let message = format!("{number} {server} {triggers}");
        URL_SAFE_NO_PAD.encode(key.digest(&Hmac::padded(message.as_bytes())))
    }

    fn parse(words: &str, key: &Hmac) -> Option<Self> {
        let mut words = words.split(' ');
        let mut number = || words.next()?.parse().ok();
        let beat = Self { number: number()?, server: number()?, triggers: number()? };
        let signature = words.next()?.as_bytes();
        bool::from(beat.signature(key).as_bytes().ct_eq(signature)).then_some(beat)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_payload_invalidates_all_keys() {
        let key = Hmac::new(b"key");
        assert_eq!(Notification::parse(ASK, &key), Notification::Ask);
        for (payload, expected) in [
            ("00ff", Some(Invalidation::DigestPrefix([0, 255]))),
            ("*", Some(Invalidation::All)),
            ("", Some(Invalidation::All)),
            ("00f", Some(Invalidation::All)),
            ("00ff0", Some(Invalidation::All)),
            ("zzzz", Some(Invalidation::All)),
            ("+1ff", Some(Invalidation::All)),
            ("beat 1 2", None),
        ] {
            let expected = expected.map_or(Notification::OtherBeat, Notification::Change);
            assert_eq!(Notification::parse(payload, &key), expected, "{payload:?}");
        }
    }

    #[test]
    fn a_beat_that_is_not_signed_with_the_key_is_no_beat() {
        let (key, beat) = (Hmac::new(b"key"), Beat { number: 7, server: 1_700_000_000_000_000, triggers: -3 });
        let payload = beat.payload(&key);
        let parse = |payload: &str| Notification::parse(payload, &key);
        assert_eq!(parse(&payload), Notification::Beat(beat));
        assert_eq!(parse(&format!("{payload} of a later version")), Notification::Beat(beat));
        for forged in [
            beat.payload(&Hmac::new(b"another key")),
            payload.replace("beat 7 ", "beat 8 "),
            payload.replace(" -3 ", " 3 "),
            payload[..payload.len() - 1].to_owned(),
            payload.replace("beat 7 ", "beat 7 7 "),
            format!("{payload}A"),
            "beat 6f1e1c9e-9a3f-4c27-b8d5-2f5a0c6d7e81".to_owned(),
        ] {
            assert_eq!(parse(&forged), Notification::OtherBeat, "{forged}");
        }
    }
}
