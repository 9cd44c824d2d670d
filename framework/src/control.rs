//! Keys and tokens of the executors' control channels. Nothing of it is stored: keys are derived.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bigdata_chassis::secret::Token;
use bigdata_common::{AttemptId, Name, Timestamp};
use hmac::{Hmac, Mac};
use sha2::Sha256;

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

fn mac(key: &[u8], message: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(message.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

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
