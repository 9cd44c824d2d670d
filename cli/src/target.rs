//! Which cluster is meant: a distinguished name, an id, or the end of a distinguished name that fits one cluster.

use crate::client::Api;
use crate::failure::Failure;
use bigdata_common::api::cluster::ClusterList;
use bigdata_common::status::ClusterStatus;
use bigdata_common::{ClusterDn, ClusterId};

/// How `--help` explains a CLUSTER.
pub(crate) const CLUSTER_HELP: &str =
    "clusters/USER/PRODUCT/VERSION/N, its id, or a short form that fits one: PRODUCT/VERSION/N, PRODUCT/N, PRODUCT";

/// The cluster that `text` means.
///
/// # Errors
/// When it fits none or several, which are then named.
pub(crate) async fn resolve(api: &Api, text: &str) -> Result<ClusterDn, Failure> {
    if let Ok(id) = ClusterId::parse_any(text) {
        return Ok(id.dn().clone());
    }
    let present = fitting(text, all(api, &present()).await?);
    let candidates = if present.is_empty() { fitting(text, all(api, "").await?) } else { present };
    match candidates.as_slice() {
        [only] => Ok(only.clone()),
        [] => Err(Failure::NotFound(format!(
            "no cluster fits {text:?} [BD0008]\n  a cluster is named {CLUSTER_HELP}\n  next: bigdata cluster list --all"
        ))),
        several => {
            let names: Vec<String> = several.iter().take(5).map(ToString::to_string).collect();
            let more = if several.len() > names.len() { ", ..." } else { "" };
            Err(Failure::Usage(format!(
                "{text:?} fits {} clusters: {}{more}; say which",
                several.len(),
                names.join(", ")
            )))
        }
    }
}

/// The query that selects the clusters that are not destroyed.
pub(crate) fn present() -> String {
    let words = ClusterStatus::ALL.iter().filter(|status| **status != ClusterStatus::Destroyed);
    format!("status={}", words.map(|status| status.as_str()).collect::<Vec<_>>().join(","))
}

/// Every cluster that the query selects, page by page.
///
/// # Errors
/// See [`Api::get`].
pub(crate) async fn list(api: &Api, query: &str) -> Result<ClusterList, Failure> {
    let mut list = ClusterList { clusters: Vec::new(), next: None };
    let mut after = String::new();
    loop {
        let separator = if query.is_empty() { "" } else { "&" };
        let page: ClusterList = api.get(&format!("/clusters?{query}{separator}limit=200{after}")).await?;
        list.clusters.extend(page.clusters);
        match page.next {
            Some(next) => after = format!("&after={}", crate::client::escaped(&next)),
            None => return Ok(list),
        }
    }
}

async fn all(api: &Api, query: &str) -> Result<Vec<ClusterDn>, Failure> {
    Ok(list(api, query).await?.clusters.into_iter().map(|entry| entry.data.dn).collect())
}

/// The clusters whose name `text` is the end of, with or without its version.
fn fitting(text: &str, clusters: Vec<ClusterDn>) -> Vec<ClusterDn> {
    let parts: Vec<&str> = text.trim_matches('/').split('/').collect();
    let fits = |dn: &ClusterDn| {
        let (user, product, version) = (dn.user.as_str(), dn.product.name.as_str(), dn.product.version.as_str());
        let number = dn.number.to_string();
        match parts.as_slice() {
            [a] => *a == product,
            [a, b] => *a == product && (*b == number || *b == version),
            [a, b, c] => [*a, *b, *c] == [product, version, number.as_str()],
            [a, b, c, d] => [*a, *b, *c, *d] == [user, product, version, number.as_str()],
            _ => false,
        }
    };
    clusters.into_iter().filter(fits).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_forms() {
        let clusters: Vec<ClusterDn> = [
            "clusters/local/reference/1.0.0/1",
            "clusters/local/reference/1.0.0/2",
            "clusters/local/reference/2/1",
            "clusters/ann/mysql/8/3",
        ]
        .iter()
        .map(|dn| dn.parse().unwrap())
        .collect();
        for (text, count) in [
            ("reference/1.0.0/1", 1),
            ("reference/1", 2),
            ("reference/2", 2),
            ("reference", 3),
            ("mysql", 1),
            ("mysql/3", 1),
            ("ann/mysql/8/3", 1),
            ("local/mysql/8/3", 0),
            ("nothing", 0),
        ] {
            assert_eq!(fitting(text, clusters.clone()).len(), count, "{text}");
        }
    }
}
