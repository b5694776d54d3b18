//! SHA-256 (FIPS 180-4) and HMAC (RFC 2104), for messages that are whole and short.
//!
//! The compression function is that of the crate `sha2`, with the processor's own instructions where it has them. The padding is ours: a key
//! fits one block, and the buffers of a general hasher cost as much again as that block: `docs/performance.md`.

use sha2::block_api::compress256;

const BLOCK: usize = 64;

/// FIPS 180-4 §5.3.3.
const INITIAL: State =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

type State = [u32; 8];

/// HMAC-SHA-256 under one secret, with both of its first blocks compressed already.
#[derive(Clone)]
pub(super) struct Hmac {
    inner: State,
    outer: State,
}

pub(super) fn sha256(message: &[u8]) -> [u8; 32] {
    finish(INITIAL, 0, message)
}

impl Hmac {
    /// RFC 2104 §2.
    pub(super) fn new(secret: &[u8]) -> Self {
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

    pub(super) fn digest(&self, message: &[u8]) -> [u8; 32] {
        finish(self.outer, BLOCK, &finish(self.inner, BLOCK, message))
    }
}

/// The digest of what `state` has seen, `before` bytes in whole blocks, and the rest of the message, padded by FIPS 180-4 §5.1.1.
fn finish(mut state: State, before: usize, message: &[u8]) -> [u8; 32] {
    let (whole, rest) = message.as_chunks::<BLOCK>();
    if !whole.is_empty() {
        compress256(&mut state, whole);
    }
    let mut last = [0; BLOCK];
    last[..rest.len()].copy_from_slice(rest);
    last[rest.len()] = 0x80;
    if rest.len() >= BLOCK - 8 {
        compress256(&mut state, &[last]);
        last = [0; BLOCK];
    }
    let bits = (before + message.len()) as u64 * 8;
    last[BLOCK - 8..].copy_from_slice(&bits.to_be_bytes());
    compress256(&mut state, &[last]);
    let mut digest = [0; 32];
    for (bytes, word) in digest.as_chunks_mut().0.iter_mut().zip(state) {
        *bytes = word.to_be_bytes();
    }
    digest
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
        let code = Hmac::new(&[0xaa; 131]).digest(b"Test Using Larger Than Block-Size Key - Hash Key First");
        assert_eq!(hex(code), "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    }

    #[test]
    fn every_length_has_the_digest_and_the_code_that_the_general_hasher_gives() {
        let message: Vec<u8> = (0..=u8::MAX).cycle().take(crate::scheme::MAX_KEY_LEN).collect();
        for len in 0..=message.len() {
            let (message, secret) = (&message[..len], &message[..len]);
            assert_eq!(sha256(message), *sha2::Sha256::digest(message), "{len}");
            let general = hmac::Hmac::<sha2::Sha256>::new_from_slice(secret).unwrap().chain_update(message);
            assert_eq!(Hmac::new(secret).digest(message), *general.finalize().into_bytes(), "{len}");
        }
    }
}
