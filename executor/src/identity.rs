//! The executor's key pair and certificate: whoever calls its control channel pins the certificate's fingerprint.

use crate::token::hexadecimal;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::NoServerSessionStorage;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;

/// A key pair and its self-signed certificate.
#[derive(Clone, Serialize, Deserialize)]
pub struct Identity {
    /// PKCS #8, base64.
    key: String,
    /// DER, base64.
    certificate: String,
}

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The key pair or certificate cannot be made.
    #[error("a certificate cannot be made")]
    Certificate(#[from] rcgen::Error),
    /// What was stored is no key or certificate.
    #[error("the stored certificate is not base64")]
    Stored(#[from] base64::DecodeError),
    /// TLS refuses them.
    #[error("the certificate cannot be used")]
    Tls(#[from] rustls::Error),
}

impl Identity {
    /// A new key pair with a certificate for `host`.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn generate(host: &str) -> Result<Self, IdentityError> {
        let key = rcgen::KeyPair::generate()?;
        let certificate = rcgen::CertificateParams::new(vec![host.to_owned()])?.self_signed(&key)?;
        Ok(Self { key: encode(&key.serialize_der()), certificate: encode(certificate.der()) })
    }

    /// SHA-256 of the certificate (DER) in lower-case hexadecimal.
    ///
    /// # Errors
    /// When the stored certificate cannot be read.
    pub fn fingerprint(&self) -> Result<String, IdentityError> {
        Ok(hexadecimal(&Sha256::digest(decode(&self.certificate)?)))
    }

    /// What accepts TLS connections under this identity. Sessions are not kept: calls are rare, memory is dear.
    ///
    /// # Errors
    /// When TLS refuses the key or certificate.
    pub fn acceptor(&self) -> Result<TlsAcceptor, IdentityError> {
        let certificate = CertificateDer::from(decode(&self.certificate)?);
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(decode(&self.key)?));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut configuration = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)?;
        configuration.session_storage = Arc::new(NoServerSessionStorage {});
        configuration.send_tls13_tickets = 0;
        Ok(TlsAcceptor::from(Arc::new(configuration)))
    }
}

/// Bytes in base64.
pub(crate) fn encode(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// Bytes from base64.
pub(crate) fn decode(text: &str) -> Result<Vec<u8>, base64::DecodeError> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_survives_being_stored() {
        let identity = Identity::generate("127.0.0.1").unwrap();
        let stored: Identity = serde_json::from_str(&serde_json::to_string(&identity).unwrap()).unwrap();
        assert_eq!(stored.fingerprint().unwrap(), identity.fingerprint().unwrap());
        assert_eq!(identity.fingerprint().unwrap().len(), 64);
        assert!(stored.acceptor().is_ok());
        assert_ne!(Identity::generate("127.0.0.1").unwrap().fingerprint().unwrap(), stored.fingerprint().unwrap());
    }
}
