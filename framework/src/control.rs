//! Keys and tokens of the executors' control channels. Nothing of it is stored: keys are derived.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bigdata_chassis::secret::Token;
use bigdata_common::{AttemptId, Name, Timestamp};
use hmac::{Hmac, Mac};
use sha2::Sha256;

/// The caller in the tokens that executors make for the framework.
const EXECUTOR: &str = "executor";
/// How long a token is good for.
const TOKEN_MS: i64 = 60_000;

/// Derives the key of every attempt's control channel.
#[derive(Debug, Clone)]
pub(crate) struct ControlKeys(Token);

impl ControlKeys {
    pub(crate) fn new(key: Token) -> Self {
        Self(key)
    }

    fn key(&self, attempt: AttemptId) -> Vec<u8> {
        mac(self.0.expose().as_bytes(), &format!("control/{attempt}"))
    }

    /// The attempt's key, as its executor is told it.
    pub(crate) fn in_base64(&self, attempt: AttemptId) -> String {
        STANDARD.encode(self.key(attempt))
    }

    /// A token for a while; its form stands at [`bigdata_common::internal::ControlGrant`].
    pub(crate) fn token(&self, attempt: AttemptId, caller: &Name, now: Timestamp) -> String {
        let claims = format!("{attempt}.{}.{caller}", now.plus_millis(TOKEN_MS).as_millis());
        let mac: String = mac(&self.key(attempt), &claims).iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{claims}.{mac}")
    }
}

impl ControlKeys {
    /// The attempt whose executor has made a token of that form by itself, where the token is good now.
    pub(crate) fn attempt_of(&self, token: &str, now: Timestamp) -> Option<AttemptId> {
        let (claims, signature) = token.rsplit_once('.')?;
        let mut parts = claims.splitn(3, '.');
        let (attempt, expiry) = (parts.next()?.parse::<AttemptId>().ok()?, parts.next()?.parse::<i64>().ok()?);
        let caller: Name = parts.next()?.parse().ok()?;
        // The gateway's tokens are made with the same key, and are for the executor alone.
        let is_own = caller.as_str() == EXECUTOR;
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key(attempt)).expect("HMAC takes a key of any length");
        mac.update(claims.as_bytes());
        mac.verify_slice(&from_hexadecimal(signature)?).ok()?;
        (is_own && Timestamp::from_millis(expiry) > now).then_some(attempt)
    }
}

fn from_hexadecimal(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

fn mac(key: &[u8], message: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(message.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_executors_own_token_says_whose_it_is() {
        let keys = ControlKeys::new(Token::from_text("a key"));
        let (attempt, now) = (AttemptId(uuid::Uuid::from_u128(7)), Timestamp::from_millis(1_000));
        let token = keys.token(attempt, &EXECUTOR.parse().unwrap(), now);
        assert_eq!(keys.attempt_of(&token, now), Some(attempt));
        assert_eq!(keys.attempt_of(&token, now.plus_millis(TOKEN_MS)), None, "its time is over");
        let users = keys.token(attempt, &"alice".parse().unwrap(), now);
        assert_eq!(keys.attempt_of(&users, now), None, "what the gateway was given is for executors");
        let other = token.replacen("000000000007", "000000000008", 1);
        for wrong in [other.as_str(), "", "a.b.c", &token[..token.len() - 1], &format!("{token}00")] {
            assert_eq!(keys.attempt_of(wrong, now), None, "{wrong}");
        }
    }

    #[test]
    fn a_token_is_bound_to_attempt_expiry_and_caller() {
        let keys = ControlKeys::new(Token::from_text("a key"));
        let attempt = AttemptId(uuid::Uuid::from_u128(7));
        let token = keys.token(attempt, &"a.user".parse().unwrap(), Timestamp::from_millis(1_000));
        let (claims, signature) = token.rsplit_once('.').unwrap();
        assert_eq!(claims, "00000000-0000-0000-0000-000000000007.61000.a.user");
        let key = STANDARD.decode(keys.in_base64(attempt)).unwrap();
        let expected: String = mac(&key, claims).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(signature, expected);
        assert_ne!(keys.in_base64(attempt), keys.in_base64(AttemptId(uuid::Uuid::from_u128(8))));
    }
}
