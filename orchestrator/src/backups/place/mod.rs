//! The store itself.

mod stores;
#[cfg(test)]
mod tests;
mod upload;

pub(crate) use upload::Upload;

use super::setting::{self, Location, OpenError};
use crate::Settings;
use bigdata_common::BackupId;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use std::path::PathBuf;
use std::sync::Arc;
use stores::opened;
use upload::Target;

/// What went wrong in the store.
#[derive(Debug, thiserror::Error)]
#[error("the store for backups does not do its work")]
pub(crate) struct PlaceError(#[from] object_store::Error);

impl PlaceError {
    /// Whether what was asked for is not there.
    pub(crate) fn is_missing(&self) -> bool {
        matches!(self.0, object_store::Error::NotFound { .. })
    }
}

/// A store for backups. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// A directory.
    Directory { root: PathBuf, store: Arc<LocalFileSystem> },
    /// A bucket, and what the names of its objects begin with.
    Bucket { store: Arc<dyn Bucket>, prefix: Path },
}

/// A store that takes an object in parts.
pub(crate) trait Bucket: ObjectStore + MultipartStore {}

impl<T: ObjectStore + MultipartStore> Bucket for T {}

impl Place {
    /// The store of the settings; None where they name none.
    pub(crate) fn open(settings: &Settings) -> Result<Option<Self>, OpenError> {
        let Some(url) = settings.backups_url.as_deref() else { return Ok(None) };
        let path = match Location::of(url)? {
            Location::Bucket { maker, bucket, prefix } => {
                return Ok(Some(Self::Bucket { store: opened(maker, settings, bucket)?, prefix: Path::from(prefix) }));
            }
            Location::Directory(path) => path,
        };
        setting::make(&path)?;
        let store = Arc::new(LocalFileSystem::new_with_prefix(&path)?.with_fsync(true));
        Ok(Some(Self::Directory { root: path, store }))
    }

    /// Whether [`Place::open`] would do, as far as it can be said without making anything or asking a store.
    pub(crate) fn check(settings: &Settings) -> Result<(), OpenError> {
        match settings.backups_url.as_deref().map(Location::of).transpose()? {
            None => Ok(()),
            Some(Location::Directory(path)) => setting::try_out(&path),
            Some(Location::Bucket { maker, bucket, .. }) => opened(maker, settings, bucket).map(drop),
        }
    }

    fn path(&self, backup: BackupId) -> Path {
        match self {
            Self::Directory { .. } => Path::from(backup.to_string()),
            Self::Bucket { prefix, .. } => prefix.clone().join(backup.to_string()),
        }
    }

    /// Begins an upload.
    pub(crate) async fn begin(&self, backup: BackupId) -> Result<Upload, PlaceError> {
        let path = self.path(backup);
        let target = match self {
            Self::Directory { store, .. } => Target::File(store.put_multipart(&path).await?),
            Self::Bucket { store, .. } => {
                let id = store.create_multipart(&path).await?;
                Target::Object { store: Arc::clone(store), path, id }
            }
        };
        Ok(Upload::to(target))
    }

    /// A backup's bytes in pieces, and their number.
    pub(crate) async fn read(
        &self,
        backup: BackupId,
    ) -> Result<(u64, BoxStream<'static, Result<Bytes, object_store::Error>>), PlaceError> {
        let path = self.path(backup);
        let found = match self {
            Self::Directory { store, .. } => store.get(&path).await?,
            Self::Bucket { store, .. } => store.get(&path).await?,
        };
        Ok((found.meta.size, found.into_stream()))
    }

    /// Removes a backup, and whatever an upload of it left; nothing is there: nothing to do. `upload` is as
    /// [`Upload::name`] said.
    pub(crate) async fn remove(&self, backup: BackupId, upload: &str) -> Result<(), PlaceError> {
        let path = self.path(backup);
        match self {
            Self::Directory { root, store } => {
                gone(store.delete(&path).await)?;
                remove_parts(root, &backup.to_string()).map_err(|error| object_store::Error::Generic {
                    store: "LocalFileSystem",
                    source: Box::new(error),
                })?;
            }
            Self::Bucket { store, .. } => {
                if !upload.is_empty() {
                    gone(store.abort_multipart(&path, &upload.to_owned()).await)?;
                }
                gone(store.delete(&path).await)?;
            }
        }
        Ok(())
    }
}

fn gone(result: Result<(), object_store::Error>) -> Result<(), object_store::Error> {
    match result {
        Err(object_store::Error::NotFound { .. }) => Ok(()),
        other => other,
    }
}

/// Removes the files of uploads that were never completed: `<name>#<number>` beside the file itself.
fn remove_parts(root: &std::path::Path, name: &str) -> std::io::Result<()> {
    for entry in std::fs::read_dir(root)? {
        let entry = entry?;
        let is_part =
            entry.file_name().to_str().and_then(|it| it.strip_prefix(name)).is_some_and(|rest| rest.starts_with('#'));
        if is_part {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
