//! `image_credentials` of a node: who the registry of its image takes the engine for.

use super::late::{self, Scope};
use super::reader::Reader;
use bigdata_common::blueprint::ImageCredentials;
use serde_json::Value;

/// Reads them. A password stands in no document, so it is the late value of a secret option.
pub(super) fn read(
    pointer: &str,
    value: Option<&Value>,
    scope: &Scope<'_>,
    reader: &mut Reader<'_>,
) -> Option<ImageCredentials> {
    let fields = reader.object(pointer, value.filter(|value| !value.is_null())?)?;
    let at = |key: &str| format!("{pointer}/{key}");
    let username = reader.text(&at("username"), fields.get("username")).unwrap_or_default();
    let password = reader.text(&at("password"), fields.get("password")).unwrap_or_default();
    if !(password.starts_with("@{secret:") && password.ends_with('}') && late::count(&password) == 1) {
        reader.fault(at("password"), "the late value of a secret option is wanted, such as @{secret:image_password}");
    }
    for (key, text) in [("username", &username), ("password", &password)] {
        late::check(&at(key), text, scope, reader);
    }
    Some(ImageCredentials { username, password })
}
