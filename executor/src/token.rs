//! Tokens of the control channel.
//!
//! A token reads `<attempt>.<expiry>.<caller>.<mac>`: the attempt's UUID in lower case with hyphens, the expiry in
//! milliseconds since the Unix epoch in decimal, the caller's name (which may hold dots itself), and the HMAC-SHA256 of
//! the first three joined by dots (the token's text up to, but without, its last dot), in lower-case hexadecimal. The key is
//! `NodeSpecification::control_key`, decoded from base64 (standard alphabet, padded).

use bigdata_common::{AttemptId, Name, Timestamp};
use hmac::{Hmac, Mac};
use sha2::Sha256;

/// The key that a node's tokens are made with.
#[derive(Clone)]
pub struct ControlKey(Vec<u8>);

/// Why a caller is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not of a token's form.
    #[error("the token is not of its form")]
    Form,
    /// Made with another key, or changed on its way.
    #[error("the token is not one of this node")]
    Signature,
    /// Made for another attempt.
    #[error("the token is for another attempt of this node")]
    Attempt,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
}

impl ControlKey {
    /// The key from its bytes.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// A token for `caller` until `expiry`.
    pub fn mint(&self, attempt: AttemptId, expiry: Timestamp, caller: &Name) -> String {
        let claims = format!("{attempt}.{}.{caller}", expiry.as_millis());
        let mut token = claims.clone();
        token.push('.');
        token.push_str(&hexadecimal(&self.mac(&claims).finalize().into_bytes()));
        token
    }

    /// Who calls, when the token is one of this attempt's and its time is not over.
    ///
    /// # Errors
    /// The first of form, signature (compared in constant time), attempt and expiry that is wrong.
    pub fn verify(&self, token: &str, attempt: AttemptId, now: Timestamp) -> Result<Name, TokenError> {
        let (claims, mac) = token.rsplit_once('.').ok_or(TokenError::Form)?;
        let mac = from_hexadecimal(mac).ok_or(TokenError::Form)?;
        self.mac(claims).verify_slice(&mac).map_err(|_| TokenError::Signature)?;
        let mut parts = claims.splitn(3, '.');
        let (Some(id), Some(expiry), Some(caller)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(TokenError::Form);
        };
        if id.parse() != Ok(attempt) {
            return Err(TokenError::Attempt);
        }
        let expiry: i64 = expiry.parse().map_err(|_| TokenError::Form)?;
        if expiry <= now.as_millis() {
            return Err(TokenError::Expired);
        }
        caller.parse().map_err(|_| TokenError::Form)
    }

    fn mac(&self, claims: &str) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes a key of any length");
        mac.update(claims.as_bytes());
        mac
    }
}

/// Bytes in lower-case hexadecimal.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn from_hexadecimal(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);

    #[test]
    fn the_form_is_the_documented_one() {
        let key = ControlKey::new(b"key".to_vec());
        let token = key.mint(AttemptId(Uuid::nil()), Timestamp::from_millis(5), &"a.b".parse().unwrap());
        // Reference: printf '00000000-0000-0000-0000-000000000000.5.a.b' | openssl dgst -sha256 -hmac key
        assert_eq!(
            token,
            "00000000-0000-0000-0000-000000000000.5.a.b.\
             e2aa34674281b2fb6f7e9b88a86fc9041b4828505aa86d122762444953f3aab3"
        );
    }

    #[test]
    fn only_the_right_token_is_let_in() {
        let (key, other) = (ControlKey::new(vec![1; 32]), ControlKey::new(vec![2; 32]));
        let (attempt, foreign) = (AttemptId(Uuid::from_u128(1)), AttemptId(Uuid::from_u128(2)));
        let caller: Name = "alice.smith".parse().unwrap();
        let token = key.mint(attempt, NOW.plus_millis(1), &caller);
        assert_eq!(key.verify(&token, attempt, NOW), Ok(caller.clone()));
        assert_eq!(key.verify(&token, attempt, NOW.plus_millis(1)), Err(TokenError::Expired));
        assert_eq!(key.verify(&token, foreign, NOW), Err(TokenError::Attempt));
        assert_eq!(other.verify(&token, attempt, NOW), Err(TokenError::Signature));
        assert_eq!(key.verify(&token.replace("alice", "admin"), attempt, NOW), Err(TokenError::Signature));
        assert_eq!(key.verify(&token[..token.len() - 2], attempt, NOW), Err(TokenError::Signature));
        for text in ["", "a.b.c.zz", "é.é", "token"] {
            assert_eq!(key.verify(text, attempt, NOW), Err(TokenError::Form), "{text}");
        }
    }
}
