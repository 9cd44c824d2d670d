//! Backups on their way into the store.

use super::{Bucket, PlaceError};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;
use object_store::multipart::PartId;
use object_store::path::Path;
use object_store::{MultipartUpload, PutPayload};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// What is written into a file at a time, in bytes.
const FILE_PART: usize = 1 << 20;
/// A part of an upload to a bucket, in bytes, and from which part on parts are larger. A bucket takes 10 000 parts of an
/// object, so that this makes 380 GiB.
const BUCKET_PART: usize = 16 << 20;
const BUCKET_PART_LATER: usize = 64 << 20;
const LATER: usize = 5_000;
/// Parts on their way at a time: memory is bounded by this.
const PARTS_AT_A_TIME: usize = 2;

/// A backup on its way into the store. It is there when [`Upload::complete`] has returned, and not before.
pub(crate) struct Upload {
    target: Target,
    begun: usize,
    under_way: FuturesOrdered<PartFuture>,
    parts: Vec<PartId>,
}

type PartFuture = Pin<Box<dyn Future<Output = Result<Option<PartId>, object_store::Error>> + Send>>;

/// Where it goes.
pub(super) enum Target {
    File(Box<dyn MultipartUpload>),
    Object { store: Arc<dyn Bucket>, path: Path, id: String },
}

impl Upload {
    /// One of which nothing has been sent yet.
    pub(super) fn to(target: Target) -> Self {
        Self { target, begun: 0, under_way: FuturesOrdered::new(), parts: Vec::new() }
    }

    /// The store's name for it; empty where it has none.
    pub(crate) fn name(&self) -> &str {
        match &self.target {
            Target::File(_) => "",
            Target::Object { id, .. } => id,
        }
    }

    /// How many bytes the next part has; the last may have fewer.
    pub(crate) fn part_size(&self) -> usize {
        match self.target {
            Target::File(_) => FILE_PART,
            Target::Object { .. } if self.begun < LATER => BUCKET_PART,
            Target::Object { .. } => BUCKET_PART_LATER,
        }
    }

    /// Sends the next part; returns when there is room for another.
    pub(crate) async fn put(&mut self, part: Bytes) -> Result<(), PlaceError> {
        while self.under_way.len() >= PARTS_AT_A_TIME {
            self.take_one().await?;
        }
        let index = self.begun;
        self.begun += 1;
        self.under_way.push_back(match &mut self.target {
            Target::File(upload) => {
                let put = upload.put_part(part.into());
                Box::pin(async move { put.await.map(|()| None) })
            }
            Target::Object { store, path, id } => {
                let (store, path, id) = (Arc::clone(store), path.clone(), id.clone());
                Box::pin(async move { store.put_part(&path, &id, index, PutPayload::from(part)).await.map(Some) })
            }
        });
        Ok(())
    }

    async fn take_one(&mut self) -> Result<(), PlaceError> {
        if let Some(part) = self.under_way.next().await {
            self.parts.extend(part?);
        }
        Ok(())
    }

    /// Makes the backup be there.
    pub(crate) async fn complete(mut self) -> Result<(), PlaceError> {
        while !self.under_way.is_empty() {
            self.take_one().await?;
        }
        match self.target {
            Target::File(mut upload) => drop(upload.complete().await?),
            Target::Object { store, path, id } => drop(store.complete_multipart(&path, &id, self.parts).await?),
        }
        Ok(())
    }
}
