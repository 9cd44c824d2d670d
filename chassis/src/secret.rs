//! Random tokens, and values that are encrypted before they are stored.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{Key, KeyInit, XChaCha20Poly1305, XNonce};
use rand::TryRngCore;
use rand::rngs::OsRng;
use sha2::{Digest, Sha256};
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

/// A random value that proves who one is; printed as `Token(…)`.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Arc<str>);

impl Token {
    /// 256 random bits in URL-safe base64.
    pub fn random() -> Self {
        Self(URL_SAFE_NO_PAD.encode(random_bytes::<32>()).into())
    }

    /// A token that was made before.
    pub fn from_text(text: &str) -> Self {
        Self(text.into())
    }

    /// The token itself: for a header, never for a log.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Its SHA-256 in hexadecimal: what is stored.
    pub fn hash(&self) -> String {
        sha256_hex(self.0.as_bytes())
    }

    /// Compares in constant time (by way of hashes).
    pub fn matches(&self, presented: &str) -> bool {
        Sha256::digest(self.0.as_bytes()) == Sha256::digest(presented.as_bytes())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Token(…)")
    }
}

/// SHA-256 in lower-case hexadecimal.
pub fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes from the system's random source.
pub fn random_bytes<const LENGTH: usize>() -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    OsRng.try_fill_bytes(&mut bytes).expect("the system's random source answers");
    bytes
}

/// A password of `length` letters and digits that are not mistaken for each other.
pub fn random_password(length: usize) -> String {
    const ALPHABET: &[u8; 54] = b"abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ234567";
    let mut password = String::with_capacity(length);
    while password.len() < length {
        for byte in random_bytes::<32>() {
            // Values past the last whole multiple would favour some letters.
            if usize::from(byte) < ALPHABET.len() * 4 && password.len() < length {
                password.push(char::from(ALPHABET[usize::from(byte) % ALPHABET.len()]));
            }
        }
    }
    password
}

/// Why a value could not be sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The key file cannot be read or made.
    #[error("the key file {path} cannot be used")]
    KeyFile {
        /// Where it is.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The key file does not hold 32 bytes in base64.
    #[error(
        "the key file {path} does not hold a key; restore it from a backup, or remove it where nothing has been sealed yet"
    )]
    Key {
        /// Where it is.
        path: String,
    },
    /// The stored text was not sealed with this key for this place.
    #[error("a stored secret cannot be opened with this key")]
    Sealed,
}

/// Encrypts values before they are stored, with a key that is kept outside the database. XChaCha20-Poly1305 with random
/// nonces; the place of a value is bound into it, so that a sealed text cannot be moved to another row.
#[derive(Clone)]
pub struct Vault {
    cipher: XChaCha20Poly1305,
}

impl fmt::Debug for Vault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Vault(…)")
    }
}

impl Vault {
    /// Reads the key file, or makes it (mode 0600) where there is none.
    ///
    /// # Errors
    /// See [`VaultError`].
    pub fn open_or_create(path: &Path) -> Result<Self, VaultError> {
        let failed = |source| VaultError::KeyFile { path: path.display().to_string(), source };
        let mut file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make_key_file(path).and_then(|()| File::open(path)).map_err(failed)?
            }
            opened => opened.map_err(failed)?,
        };
        if file.metadata().map_err(failed)?.permissions().mode() & 0o077 != 0 {
            tracing::warn!(path = %path.display(), "the key file can be read by others; its mode should be 0600");
        }
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(failed)?;
        let key = STANDARD.decode(text.trim()).ok().filter(|key| key.len() == 32);
        let key = key.ok_or_else(|| VaultError::Key { path: path.display().to_string() })?;
        Ok(Self { cipher: XChaCha20Poly1305::new(Key::from_slice(&key)) })
    }

    /// Encrypts `value` for `place` (table, row, column in words).
    pub fn seal(&self, place: &str, value: &str) -> String {
        let nonce = random_bytes::<24>();
        let payload = Payload { msg: value.as_bytes(), aad: place.as_bytes() };
        let sealed =
            self.cipher.encrypt(XNonce::from_slice(&nonce), payload).expect("a value in memory can be encrypted");
        format!("v1:{}", STANDARD.encode([nonce.as_slice(), &sealed].concat()))
    }

    /// Decrypts what was sealed for `place`.
    ///
    /// # Errors
    /// [`VaultError::Sealed`].
    pub fn open(&self, place: &str, sealed: &str) -> Result<String, VaultError> {
        let bytes = sealed.strip_prefix("v1:").and_then(|text| STANDARD.decode(text).ok()).ok_or(VaultError::Sealed)?;
        let (nonce, message) = bytes.split_at_checked(24).ok_or(VaultError::Sealed)?;
        let payload = Payload { msg: message, aad: place.as_bytes() };
        let value = self.cipher.decrypt(XNonce::from_slice(nonce), payload).map_err(|_| VaultError::Sealed)?;
        String::from_utf8(value).map_err(|_| VaultError::Sealed)
    }
}

/// Makes a key file that is whole from the instant at which it is there: a kill in between leaves no file of this name, and
/// of several who make it at once one does.
fn make_key_file(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let unique: String = random_bytes::<8>().iter().map(|byte| format!("{byte:02x}")).collect();
    let new = folder.join(format!(".key-{unique}"));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    let made = file
        .write_all(STANDARD.encode(random_bytes::<32>()).as_bytes())
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::hard_link(&new, path));
    fs::remove_file(&new)?;
    match made {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made.and_then(|()| File::open(folder)?.sync_all()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_value_opens_only_in_its_place_and_with_its_key() {
        let folder = tempfile::tempdir().unwrap();
        let vault = Vault::open_or_create(&folder.path().join("key")).unwrap();
        let sealed = vault.seal("options/1/password", "canary");
        assert!(!sealed.contains("canary"));
        let again = Vault::open_or_create(&folder.path().join("key")).unwrap();
        assert_eq!(again.open("options/1/password", &sealed).unwrap(), "canary");
        assert!(again.open("options/2/password", &sealed).is_err());
        let other = Vault::open_or_create(&folder.path().join("other")).unwrap();
        assert!(other.open("options/1/password", &sealed).is_err());
    }

    #[test]
    fn whoever_opens_a_new_key_file_at_the_same_time_gets_the_same_whole_key() {
        for _ in 0..100 {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("key");
            let start = std::sync::Barrier::new(8);
            let vaults: Vec<Vault> = std::thread::scope(|scope| {
                let open = || {
                    scope.spawn(|| {
                        start.wait();
                        Vault::open_or_create(&path).unwrap()
                    })
                };
                let openers: Vec<_> = (0..8).map(|_| open()).collect();
                openers.into_iter().map(|opener| opener.join().unwrap()).collect()
            });
            let sealed = vaults[0].seal("place", "canary");
            assert!(vaults.iter().all(|vault| vault.open("place", &sealed).unwrap() == "canary"));
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn passwords_have_their_length_and_differ() {
        let passwords: Vec<String> = (0..50).map(|_| random_password(21)).collect();
        assert!(passwords.iter().all(|password| password.len() == 21));
        assert!(passwords.iter().all(|password| passwords.iter().filter(|other| *other == password).count() == 1));
    }
}
