//! SHA-256 (FIPS 180-4) and HMAC (RFC 2104) for short messages in one piece.
//!
//! The compression function is that of the crate `sha2`, which uses the processor's SHA
//! instructions. This module adds the padding itself. A key fits one block, and buffering it in a
//! streaming hasher takes as long as hashing that block. The tests compare both functions with
//! `sha2` and `hmac` at every length.

use sha2::block_api::compress256;

const BLOCK: usize = 64;

/// FIPS 180-4 §5.3.3.
const INITIAL: HashState =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

type HashState = [u32; 8];

/// HMAC-SHA-256 under one secret. The first block of both passes is already compressed.
#[derive(Clone)]
pub(crate) struct Hmac {
    inner: HashState,
    outer: HashState,
}

/// A message and its padding (FIPS 180-4 §5.1.1).
///
/// Make it some time before you hash it: a processor stalls if it loads a block that it has just
/// stored piece by piece.
pub(crate) struct Padded<'m> {
    whole: &'m [[u8; BLOCK]],
    last: [[u8; BLOCK]; 2],
    /// Whether the padding needs a second block, since the length does not fit into the first.
    takes_both: bool,
}

/// Returns the SHA-256 of a message.
pub(crate) fn sha256(message: &[u8]) -> [u8; 32] {
    Padded::plain(message).digest()
}

impl<'m> Padded<'m> {
    pub(super) fn plain(message: &'m [u8]) -> Self {
        Self::new(message, 0)
    }

    /// Pads a message that follows `before` bytes of whole blocks.
    fn new(message: &'m [u8], before: usize) -> Self {
        let (whole, rest) = message.as_chunks();
        let mut last = [[0; BLOCK]; 2];
        last[0][..rest.len()].copy_from_slice(rest);
        last[0][rest.len()] = 0x80;
        let takes_both = rest.len() >= BLOCK - 8;
        let bits = (before + message.len()) as u64 * 8;
        last[usize::from(takes_both)][BLOCK - 8..].copy_from_slice(&bits.to_be_bytes());
        Self { whole, last, takes_both }
    }

    pub(super) fn digest(&self) -> [u8; 32] {
        self.digest_after(INITIAL)
    }

    fn digest_after(&self, mut state: HashState) -> [u8; 32] {
        if !self.whole.is_empty() {
            compress256(&mut state, self.whole);
        }
        compress256(&mut state, &self.last[..=usize::from(self.takes_both)]);
        let mut digest = [0; 32];
        for (bytes, word) in digest.as_chunks_mut().0.iter_mut().zip(state) {
            *bytes = word.to_be_bytes();
        }
        digest
    }
}

impl Hmac {
    /// RFC 2104 §2.
    pub(crate) fn new(secret: &[u8]) -> Self {
        let mut key = [0; BLOCK];
        if secret.len() > BLOCK {
            key[..32].copy_from_slice(&sha256(secret));
        } else {
            key[..secret.len()].copy_from_slice(secret);
        }
        let first_block = |pad: u8| {
            let mut state = INITIAL;
            compress256(&mut state, &[key.map(|byte| byte ^ pad)]);
            state
        };
        Self { inner: first_block(0x36), outer: first_block(0x5c) }
    }

    /// Pads a message for [`Hmac::digest`].
    pub(crate) fn padded(message: &[u8]) -> Padded<'_> {
        Padded::new(message, BLOCK)
    }

    pub(crate) fn digest(&self, message: &Padded<'_>) -> [u8; 32] {
        Self::padded(&message.digest_after(self.inner)).digest_after(self.outer)
    }
}

#[cfg(test)]
mod tests {
    use hmac::{KeyInit, Mac};
    use sha2::Digest;

    use super::*;

    fn hex(digest: [u8; 32]) -> String {
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn the_digest_is_that_of_fips_180() {
        assert_eq!(hex(sha256(b"abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn the_code_is_that_of_rfc_4231() {
        // Test case 6: a key of 131 bytes.
        let code =
            Hmac::new(&[0xaa; 131]).digest(&Hmac::padded(b"Test Using Larger Than Block-Size Key - Hash Key First"));
        assert_eq!(hex(code), "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    }

    #[test]
    fn every_length_has_the_digest_and_the_code_that_the_general_hasher_gives() {
        let message: Vec<u8> = (0..=u8::MAX).cycle().take(crate::scheme::MAX_KEY_LEN).collect();
        for len in 0..=message.len() {
            let (message, secret) = (&message[..len], &message[..len]);
            assert_eq!(sha256(message), *sha2::Sha256::digest(message), "{len}");
            let general = hmac::Hmac::<sha2::Sha256>::new_from_slice(secret).unwrap().chain_update(message);
            assert_eq!(Hmac::new(secret).digest(&Hmac::padded(message)), *general.finalize().into_bytes(), "{len}");
        }
    }
}
