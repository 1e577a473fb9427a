// SPDX-License-Identifier: Apache-2.0
//! A private key under a passphrase, as cosign keeps it in a PEM block (securesystemslib's encrypted JSON).
//!
//! ```json
//! {"kdf":    {"name": "scrypt", "params": {"N": 65536, "r": 8, "p": 1}, "salt": "…"},
//!  "cipher": {"name": "nacl/secretbox", "nonce": "…"}, "ciphertext": "…"}
//! ```
//! A secretbox is Poly1305's tag and then what XSalsa20 made of the content; the tag's key is the first 32 bytes of XSalsa20's
//! stream.

use poly1305::Poly1305;
use poly1305::universal_hash::KeyInit as _;
use ring::rand::{SecureRandom as _, SystemRandom};
use salsa20::XSalsa20;
use salsa20::cipher::{KeyIvInit as _, StreamCipher as _};
use serde::{Deserialize, Serialize};

use super::in_base64;
use crate::{Error, ErrorKind, Result};

/// log2 of N that are accepted: today's, and that of older keys. Anything else would be a way to take memory.
const LOG_N: [u8; 2] = [16, 15];
const TAG: usize = 16;

#[derive(Serialize, Deserialize)]
struct Sealed {
    kdf: Kdf,
    cipher: Cipher,
    #[serde(with = "in_base64")]
    ciphertext: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
struct Kdf {
    name: String,
    params: Params,
    #[serde(with = "in_base64")]
    salt: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
struct Params {
    #[serde(rename = "N")]
    n: u64,
    r: u32,
    p: u32,
}

#[derive(Serialize, Deserialize)]
struct Cipher {
    name: String,
    #[serde(with = "in_base64")]
    nonce: Vec<u8>,
}

/// What is inside.
pub(super) fn open(json: &[u8], passphrase: &[u8]) -> Result<Vec<u8>> {
    let sealed: Sealed = serde_json::from_slice(json)?;
    let Params { n, r, p } = sealed.kdf.params;
    let log_n = LOG_N.into_iter().find(|log_n| n == 1 << log_n && (r, p) == (8, 1));
    let nonce: Option<[u8; 24]> = sealed.cipher.nonce.try_into().ok();
    let names = (sealed.kdf.name.as_str(), sealed.cipher.name.as_str());
    let (("scrypt", "nacl/secretbox"), Some(log_n), Some(nonce)) = (names, log_n, nonce) else {
        let message = "the private key is sealed in a way that is not known";
        return Err(Error::new(ErrorKind::Unsupported, message)
            .with_hint("`openssl pkcs8` makes a plain one, `cosign import-key-pair` seals it anew"));
    };
    let mut cipher = XSalsa20::new(&derive(passphrase, &sealed.kdf.salt, log_n).into(), &nonce.into());
    let wrong = || Error::new(ErrorKind::Denied, "the passphrase does not open the private key");
    let (tag, inside) = sealed.ciphertext.split_at_checked(TAG).ok_or_else(wrong)?;
    let mut inside = inside.to_vec();
    if authenticate(&mut cipher, &inside)[..] != *tag {
        return Err(wrong());
    }
    cipher.apply_keystream(&mut inside);
    Ok(inside)
}

/// The JSON.
pub(super) fn seal(content: &[u8], passphrase: &[u8]) -> Result<Vec<u8>> {
    let (mut salt, mut nonce) = ([0; 32], [0; 24]);
    let random = SystemRandom::new();
    random
        .fill(&mut salt)
        .and_then(|()| random.fill(&mut nonce))
        .map_err(|_| Error::new(ErrorKind::Os, "no random numbers"))?;
    let mut cipher = XSalsa20::new(&derive(passphrase, &salt, LOG_N[0]).into(), &nonce.into());
    // The tag's key comes first out of the stream, the content's after it; the tag is over what comes out.
    let mut head = [0; 32];
    cipher.apply_keystream(&mut head);
    let mut inside = content.to_vec();
    cipher.apply_keystream(&mut inside);
    let tag = Poly1305::new(&head.into()).compute_unpadded(&inside);
    let sealed = Sealed {
        kdf: Kdf {
            name: "scrypt".to_owned(),
            params: Params { n: 1 << LOG_N[0], r: 8, p: 1 },
            salt: salt.to_vec(),
        },
        cipher: Cipher { name: "nacl/secretbox".to_owned(), nonce: nonce.to_vec() },
        ciphertext: [&tag[..], &inside].concat(),
    };
    Ok(serde_json::to_vec(&sealed)?)
}

/// Takes the tag's key from the stream's begin.
fn authenticate(cipher: &mut XSalsa20, inside: &[u8]) -> [u8; TAG] {
    let mut head = [0; 32];
    cipher.apply_keystream(&mut head);
    Poly1305::new(&head.into()).compute_unpadded(inside).into()
}

fn derive(passphrase: &[u8], salt: &[u8], log_n: u8) -> [u8; 32] {
    let params = scrypt::Params::new(log_n, 8, 1).expect("both of the accepted are valid");
    let mut key = [0; 32];
    scrypt::scrypt(passphrase, salt, &params, &mut key).expect("32 bytes are a valid length");
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_with_its_passphrase_alone() {
        let sealed = seal(b"inside", b"a passphrase").unwrap();
        assert_eq!(open(&sealed, b"a passphrase").unwrap(), b"inside");
        assert_eq!(open(&sealed, b"another").unwrap_err().kind(), ErrorKind::Denied);
        let costly = String::from_utf8(sealed).unwrap().replace("65536", "1073741824");
        assert_eq!(open(costly.as_bytes(), b"a passphrase").unwrap_err().kind(), ErrorKind::Unsupported);
    }
}
