//! Buckets by the settings. What the settings do not say stands in the usual variables of each: AWS_*, GOOGLE_*, AZURE_*.

use super::Bucket;
use crate::Settings;
use crate::backups::setting::{Maker, OpenError};
use bigdata_chassis::http::client::install_tls_provider;
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use std::sync::Arc;

pub(super) fn opened(maker: Maker, settings: &Settings, bucket: &str) -> Result<Arc<dyn Bucket>, OpenError> {
    install_tls_provider();
    match maker {
        Maker::Amazon => amazon(settings, bucket),
        Maker::Google => google(settings, bucket),
        Maker::Azure => azure(settings, bucket),
    }
}

fn amazon(settings: &Settings, bucket: &str) -> Result<Arc<dyn Bucket>, OpenError> {
    let mut builder = AmazonS3Builder::from_env().with_bucket_name(bucket);
    if let Some(endpoint) = &settings.backups_endpoint {
        builder = builder.with_endpoint(endpoint).with_allow_http(endpoint.starts_with("http://"));
    }
    if let Some(region) = &settings.backups_region {
        builder = builder.with_region(region);
    }
    if let Some(key) = &settings.backups_access_key {
        builder = builder.with_access_key_id(key);
    }
    if let Some(secret) = secret(settings)? {
        builder = builder.with_secret_access_key(secret);
    }
    Ok(Arc::new(builder.build()?))
}

/// The secret is a service account's key, as JSON.
fn google(settings: &Settings, bucket: &str) -> Result<Arc<dyn Bucket>, OpenError> {
    // The key of two accounts would be refused.
    let builder = match secret(settings)? {
        Some(key) => GoogleCloudStorageBuilder::new().with_service_account_key(key),
        None => GoogleCloudStorageBuilder::from_env(),
    };
    let mut builder = builder.with_bucket_name(bucket);
    if let Some(endpoint) = &settings.backups_endpoint {
        builder = builder.with_base_url(endpoint);
    }
    Ok(Arc::new(builder.build()?))
}

/// The access key's name is the account, its secret that account's key.
fn azure(settings: &Settings, container: &str) -> Result<Arc<dyn Bucket>, OpenError> {
    let mut builder = MicrosoftAzureBuilder::from_env().with_container_name(container);
    if let Some(endpoint) = &settings.backups_endpoint {
        builder = builder.with_endpoint(endpoint.clone()).with_allow_http(endpoint.starts_with("http://"));
    }
    if let Some(account) = &settings.backups_access_key {
        builder = builder.with_account(account);
    }
    if let Some(secret) = secret(settings)? {
        builder = builder.with_access_key(secret);
    }
    Ok(Arc::new(builder.build()?))
}

fn secret(settings: &Settings) -> Result<Option<String>, OpenError> {
    let Some(path) = &settings.backups_secret_key_file else { return Ok(None) };
    let text = std::fs::read_to_string(path).map_err(|source| OpenError::Secret { path: path.clone(), source })?;
    Ok(Some(text.trim().to_owned()))
}
