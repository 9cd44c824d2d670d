//! Who an image's registry takes the engine for: whom the product says, or else whom the agent's operator says in a file as
//! `docker login` writes it.

use crate::environment::Surroundings;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bollard::auth::DockerCredentials;
use serde::Deserialize;
use std::collections::HashMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// The registry of images whose name has no other.
const USUAL_REGISTRY: &str = "docker.io";
/// The older name of it, which stands in the files.
const USUAL_REGISTRY_OLDER: &str = "index.docker.io";
/// Bits of a file's mode that let others read or write it.
const OTHERS: u32 = 0o077;

/// What a registry is told.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Credentials {
    username: String,
    password: String,
    /// In place of both, as some registries give it.
    token: Option<String>,
}

#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    auths: HashMap<String, Entry>,
}

#[derive(Deserialize)]
struct Entry {
    /// `USER:PASSWORD` in base64.
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
}

/// The credentials for this image; None: nobody says any.
///
/// # Errors
/// In words, when a late value is not known, or the agent's file cannot be used.
pub(super) fn find(node: &Surroundings, image: &str, file: Option<&Path>) -> Result<Option<Credentials>, String> {
    if let Some(own) = &node.node.blueprint.image_credentials {
        let fill = |text| node.values().fill(text).map_err(|error| format!("image_credentials: {error}"));
        let (username, password) = (fill(&own.username)?, fill(&own.password)?);
        // Options that are left empty ask for none.
        if !username.is_empty() {
            return Ok(Some(Credentials { username, password, token: None }));
        }
    }
    let Some(file) = file else { return Ok(None) };
    let fault = |words: String| format!("the registry credentials of the agent, {}: {words}", file.display());
    let mode = file.metadata().map_err(|error| fault(error.to_string()))?.permissions().mode();
    if mode & OTHERS != 0 {
        return Err(fault(format!("others may read them (mode {:o}): chmod 600", mode & 0o777)));
    }
    let text = std::fs::read(file).map_err(|error| fault(error.to_string()))?;
    // What is wrong where would quote the text.
    let document: Document = serde_json::from_slice(&text)
        .map_err(|error| fault(format!("no JSON as docker has it, line {}", error.line())))?;
    let Some((registry, entry)) = matching(&document, image) else { return Ok(None) };
    entry.credentials().map(Some).ok_or_else(|| fault(format!("no user and password can be read for {registry}")))
}

/// The entry of the longest name that the image's begins with.
fn matching<'a>(document: &'a Document, image: &str) -> Option<(&'a str, &'a Entry)> {
    let name = qualified(image);
    let entries = document.auths.iter().map(|(key, entry)| (bare(key), key.as_str(), entry));
    let covers = |key: &str| name.strip_prefix(key).is_some_and(|rest| rest.starts_with('/'));
    let found = entries.filter(|(bare, ..)| covers(bare)).max_by_key(|(bare, ..)| bare.len());
    found.map(|(_, key, entry)| (key, entry))
}

/// The registry of an image, without a tag or a digest behind its name.
pub(super) fn registry(image: &str) -> &str {
    match image.split_once('/') {
        Some((first, _)) if first == "localhost" || first.contains(['.', ':']) => first,
        _ => USUAL_REGISTRY,
    }
}

/// The image's name with its registry in front.
fn qualified(image: &str) -> String {
    let registry = registry(image);
    if image.starts_with(&format!("{registry}/")) { image.to_owned() } else { format!("{registry}/{image}") }
}

/// `https://HOST/v1/` is `HOST`.
fn bare(key: &str) -> String {
    let key = key.split_once("://").map_or(key, |(_, rest)| rest).trim_end_matches('/');
    let key = key.strip_suffix("/v1").or_else(|| key.strip_suffix("/v2")).unwrap_or(key);
    key.replace(USUAL_REGISTRY_OLDER, USUAL_REGISTRY)
}

impl Entry {
    fn credentials(&self) -> Option<Credentials> {
        if let Some(token) = self.identitytoken.clone().filter(|token| !token.is_empty()) {
            return Some(Credentials { username: String::new(), password: String::new(), token: Some(token) });
        }
        if let (Some(username), Some(password)) = (self.username.clone(), self.password.clone()) {
            return Some(Credentials { username, password, token: None });
        }
        let text = String::from_utf8(STANDARD.decode(self.auth.as_deref()?).ok()?).ok()?;
        let (username, password) = text.split_once(':')?;
        Some(Credentials { username: username.to_owned(), password: password.to_owned(), token: None })
    }
}

impl Credentials {
    /// As the engine takes them.
    pub(super) fn told(&self, image: &str) -> DockerCredentials {
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        DockerCredentials {
            username: given(&self.username),
            password: given(&self.password),
            identitytoken: self.token.clone(),
            serveraddress: Some(registry(image).to_owned()),
            ..DockerCredentials::default()
        }
    }

    /// The text without them.
    pub(super) fn masked(&self, text: &str) -> String {
        let pair = STANDARD.encode(format!("{}:{}", self.username, self.password));
        let secrets = [Some(&pair), Some(&self.password), self.token.as_ref()];
        let secrets = secrets.into_iter().flatten().filter(|secret| !secret.is_empty());
        secrets.fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), "***"))
    }

    /// Who is told, for people.
    pub(super) fn who(&self) -> String {
        if self.token.is_some() { "by a token".to_owned() } else { format!("as {}", self.username) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folder::Folder;
    use crate::testing::specification;
    use bigdata_common::blueprint::ImageCredentials;
    use indexmap::IndexMap;

    fn node() -> Surroundings {
        let node = specification();
        let peers = crate::peers::Known::new(node.peers.clone(), None, true);
        let folder = Folder { root: "/sandbox".into(), disks: IndexMap::new(), view: None };
        Surroundings { node, peers, folder, owner: None }
    }

    fn file(content: &str, mode: u32) -> tempfile::TempPath {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).unwrap();
        file.into_temp_path()
    }

    fn of(user: &str, password: &str) -> Credentials {
        Credentials { username: user.to_owned(), password: password.to_owned(), token: None }
    }

    #[test]
    fn the_longest_name_counts() {
        let content = r#"{"auths": {
            "https://index.docker.io/v1/": {"auth": "aHViOmE6Yg=="}, "r.example:5000": {"username": "r", "password": "1"},
            "r.example:5000/team": {"username": "team", "password": "2"}, "t.example": {"identitytoken": "t"}, "broken.example": {}
        }, "credsStore": "desktop"}"#;
        let file = file(content, 0o600);
        let find = |image| find(&node(), image, Some(&file));
        for (image, found) in [
            ("mariadb:10", Some(of("hub", "a:b"))),
            ("library/mariadb", Some(of("hub", "a:b"))),
            ("r.example:5000/x:1", Some(of("r", "1"))),
            ("r.example:5000/team/x@sha256:0", Some(of("team", "2"))),
            ("r.example:5000/teams/x", Some(of("r", "1"))),
            ("r.example/x", None),
            ("localhost/x", None),
        ] {
            assert!(find(image).unwrap() == found, "{image}");
        }
        assert_eq!(find("t.example/x").unwrap().unwrap().told("t.example/x").identitytoken.as_deref(), Some("t"));
        assert!(find("broken.example/x").err().unwrap().contains("broken.example"));
    }

    #[test]
    fn a_product_s_own_come_first_and_a_file_that_others_read_is_refused() {
        let file = file(r#"{"auths": {"r.example": {"username": "agent", "password": "x"}}}"#, 0o640);
        let mut node = node();
        let refused = find(&node, "r.example/x", Some(&file)).err().unwrap();
        assert!(refused.contains("mode 640") && refused.contains("chmod 600"), "{refused}");
        let own =
            |username: &str| ImageCredentials { username: username.into(), password: "@{secret:password}".into() };
        node.node.blueprint.image_credentials = Some(own("product"));
        assert!(find(&node, "r.example/x", Some(&file)).unwrap() == Some(of("product", "a@{b")));
        node.node.blueprint.image_credentials = Some(own(""));
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert!(find(&node, "r.example/x", Some(&file)).unwrap() == Some(of("agent", "x")));
        std::fs::write(&file, "{\n\"secret").unwrap();
        assert!(!find(&node, "r.example/x", Some(&file)).err().unwrap().contains("secret"));
    }

    #[test]
    fn nothing_of_them_is_shown() {
        let credentials = of("me", "pass word");
        let said = credentials.masked("401 for me:pass word (bWU6cGFzcyB3b3Jk)");
        assert_eq!(said, "401 for me:*** (***)");
    }
}
