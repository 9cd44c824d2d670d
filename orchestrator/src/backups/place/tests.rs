use super::Place;
use crate::Settings;
use crate::backups::setting::OpenError;
use bigdata_common::BackupId;
use bytes::Bytes;
use futures_util::StreamExt;

fn settings(url: &str) -> Settings {
    Settings { backups_url: Some(url.to_owned()), ..Settings::default() }
}

async fn all(place: &Place, backup: BackupId) -> Option<Vec<u8>> {
    let (size, mut pieces) = place.read(backup).await.ok()?;
    let mut bytes = Vec::new();
    while let Some(piece) = pieces.next().await {
        bytes.extend_from_slice(&piece.unwrap());
    }
    assert_eq!(size, bytes.len() as u64);
    Some(bytes)
}

/// What every store does.
async fn stores_whole_backups_and_nothing_else(place: &Place) {
    let backup = BackupId(uuid::Uuid::now_v7());
    let mut upload = place.begin(backup).await.unwrap();
    let first = vec![7; upload.part_size()];
    let name = upload.name().to_owned();
    upload.put(first.clone().into()).await.unwrap();
    upload.put(Bytes::from_static(b"the rest")).await.unwrap();
    assert!(all(place, backup).await.is_none(), "it is not there before it is whole");
    upload.complete().await.unwrap();
    assert_eq!(all(place, backup).await.unwrap(), [first.as_slice(), b"the rest"].concat());
    for _ in 0..2 {
        place.remove(backup, &name).await.unwrap();
        assert!(place.read(backup).await.err().unwrap().is_missing());
        assert!(all(place, backup).await.is_none());
    }
    let backup = BackupId(uuid::Uuid::now_v7());
    let mut upload = place.begin(backup).await.unwrap();
    let name = upload.name().to_owned();
    upload.put(first.into()).await.unwrap();
    // As where the process is killed: nothing is done in the end.
    std::mem::forget(upload);
    place.remove(backup, &name).await.unwrap();
    assert!(all(place, backup).await.is_none());
}

#[tokio::test]
async fn a_directory() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("backups");
    let place = Place::open(&settings(root.to_str().unwrap())).unwrap().unwrap();
    stores_whole_backups_and_nothing_else(&place).await;
    assert_eq!(std::fs::read_dir(&root).unwrap().count(), 0, "nothing is left");
    assert!(Place::open(&Settings::default()).unwrap().is_none());
}

#[test]
fn addresses_lead_to_their_stores() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    std::fs::write(&file, "c2VjcmV0\n").unwrap();
    let with_keys = |url: &str| Settings {
        backups_region: Some("us-east-1".to_owned()),
        backups_access_key: Some("account".to_owned()),
        backups_secret_key_file: Some(file.clone()),
        ..settings(url)
    };
    for (settings, store, prefix) in [
        (with_keys("s3://cold/some/prefix"), "AmazonS3(cold)", "some/prefix"),
        (settings("gs://cold/prefix"), "GoogleCloudStorage(cold)", "prefix"),
        (with_keys("az://cold/prefix/"), "MicrosoftAzure { account: account, container: cold }", "prefix"),
        (with_keys("abfs://cold"), "MicrosoftAzure { account: account, container: cold }", ""),
    ] {
        let Some(Place::Bucket { store: found, prefix: begins }) = Place::open(&settings).unwrap() else {
            panic!("{:?} is a bucket", settings.backups_url);
        };
        assert_eq!((found.to_string().as_str(), begins.as_ref()), (store, prefix));
    }
    // What is in the file counts: it is no service account's key.
    assert!(matches!(Place::open(&with_keys("gs://cold")), Err(OpenError::Store(_))));
    let lost = Settings { backups_secret_key_file: Some(folder.path().join("lost")), ..settings("az://cold") };
    assert!(matches!(Place::open(&lost), Err(OpenError::Secret { .. })));
    for url in ["ftp://cold/prefix", "http://cold/prefix", "backups", "s3://", "gs://", "az:///prefix"] {
        assert!(matches!(Place::open(&settings(url)), Err(OpenError::Url { .. })), "{url}");
        assert!(settings(url).check().is_err(), "{url}");
    }
    assert!(matches!(settings("/proc/backups").check(), Err(OpenError::Directory { .. })));
    settings("gs://cold/prefix").check().unwrap();
}

/// `BIGDATA_TEST_S3` is `ENDPOINT BUCKET ACCESS_KEY SECRET_KEY`, as `deploy/s3.sh start` prints it.
#[tokio::test]
async fn a_bucket() {
    let Ok(text) = std::env::var("BIGDATA_TEST_S3") else {
        assert_ne!(std::env::var("BIGDATA_REQUIRE_S3").as_deref(), Ok("1"), "BIGDATA_TEST_S3 is missing");
        println!("SKIPPED: BIGDATA_TEST_S3 is not set");
        return;
    };
    let [endpoint, bucket, access, secret] = text.split(' ').collect::<Vec<_>>().try_into().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    std::fs::write(&file, secret).unwrap();
    let settings = Settings {
        backups_endpoint: Some(endpoint.to_owned()),
        backups_region: Some("us-east-1".to_owned()),
        backups_access_key: Some(access.to_owned()),
        backups_secret_key_file: Some(file),
        ..settings(&format!("s3://{bucket}/some/prefix"))
    };
    stores_whole_backups_and_nothing_else(&Place::open(&settings).unwrap().unwrap()).await;
}
