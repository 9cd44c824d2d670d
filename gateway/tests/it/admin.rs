//! What the gateway adds up or explains itself, from what the services say.

use crate::openapi::assert_described;
use crate::platform::{Platform, nowhere};
use crate::sample::{self, CLUSTER};
use bigdata_common::api::explain::Explanation;
use bigdata_common::api::orphan::OrphanList;
use bigdata_common::status::ClusterStatus;
use serde_json::{Value, json};

const API: &str = "/bigdata/api/v1";

async fn json_at(platform: &Platform, path: &str) -> (u16, Value) {
    let answer = platform.get(&format!("{API}{path}")).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

#[tokio::test]
async fn the_invariants_of_all_services_are_added_up() {
    let platform = Platform::start().await;
    let (status, told) = json_at(&platform, "/admin/invariants").await;
    assert_eq!((status, &told["ok"], &told["violations"]), (200, &json!(true), &json!([])));
    let checked = json!([{"name": "every cluster has a name", "subjects": 4}]);
    for service in ["registry", "framework", "orchestrator"] {
        assert_eq!(told["services"][service], json!({"answered": true, "checked": checked}));
    }
    platform.upstream.change(|clusters| clusters[0].data.name.clear());
    let (_, told) = json_at(&platform, "/admin/invariants").await;
    assert_eq!(told["ok"], json!(false));
    let violation = json!({"invariant": "every cluster has a name", "subject": sample::ID, "detail": "it has none"});
    for (found, service) in told["violations"].as_array().unwrap().iter().zip(["registry", "framework", "orchestrator"])
    {
        assert_eq!(found["service"], service);
        assert_eq!((&found["subject"], &found["detail"]), (&violation["subject"], &violation["detail"]));
    }
    assert_described("InvariantReport", &told);
    platform.stop().await;
}

#[tokio::test]
async fn a_service_that_does_not_answer_leaves_nothing_proved() {
    let platform = Platform::start_with(|settings| settings.framework = nowhere()).await;
    let (status, told) = json_at(&platform, "/admin/invariants").await;
    assert_eq!((status, &told["ok"]), (200, &json!(false)));
    assert_eq!(told["services"]["framework"]["answered"], json!(false));
    assert!(told["services"]["framework"]["reason"].as_str().unwrap().contains("does not answer"), "{told}");
    assert_described("InvariantReport", &told);
    // Who offers no list has parked nothing.
    let (status, parked) = json_at(&platform, "/admin/parked").await;
    assert_eq!((status, &parked["services"]["registry"]), (200, &json!({"parked": []})));
    assert!(parked["services"]["framework"]["reason"].is_string(), "{parked}");
    assert_described("ParkedReport", &parked);
    let (status, problem) = json_at(&platform, "/admin/orphans").await;
    assert_eq!((status, &problem["code"]), (503, &json!("BD0025")), "{problem}");
    platform.stop().await;
}

#[tokio::test]
async fn what_belongs_to_no_cluster_is_listed_as_the_framework_tells_it() {
    let platform = Platform::start().await;
    let (status, told) = json_at(&platform, "/admin/orphans").await;
    assert_eq!(status, 200, "{told}");
    assert_eq!(serde_json::from_value::<OrphanList>(told.clone()).unwrap(), sample::orphans());
    assert_described("OrphanList", &told);
    platform.stop().await;
}

#[tokio::test]
async fn only_administrators_are_told() {
    let platform = Platform::start().await;
    for path in ["/admin/invariants", "/admin/orphans", "/admin/parked"] {
        let call = platform.get(&format!("{API}{path}")).bearer_auth(platform.token.expose());
        let answer = call.header("x-bigdata-user", "alice").header("x-bigdata-roles", "user,publisher").send().await;
        let problem: Value = answer.unwrap().json().await.unwrap();
        assert_eq!(problem["code"], "BD0022", "{problem}");
    }
    platform.stop().await;
}

#[tokio::test]
async fn a_destroyed_cluster_is_explained_too() {
    let platform = Platform::start().await;
    let path = format!("/explain/{CLUSTER}");
    let (_, told) = json_at(&platform, &path).await;
    assert_eq!(serde_json::from_value::<Explanation>(told).unwrap(), sample::explanation());
    platform.upstream.change(|clusters| clusters[0].data.status = ClusterStatus::Destroyed);
    for path in [path, format!("/explain/{}", sample::ID)] {
        let (status, told) = json_at(&platform, &path).await;
        assert_eq!((status, &told["cluster"]), (200, &CLUSTER.into()));
        assert!(told["summary"].as_str().unwrap().contains("destroyed"), "{told}");
    }
    let (status, problem) = json_at(&platform, "/explain/clusters/local/mysql/8.0/777").await;
    assert_eq!(status, 404, "{problem}");
    platform.stop().await;
}

#[tokio::test]
async fn secrets_are_the_registrys_to_show_and_never_kept() {
    let platform = Platform::start().await;
    let answer = platform.get(&format!("{API}/{CLUSTER}/secrets")).send().await.unwrap();
    assert_eq!(answer.headers()["cache-control"], "no-store");
    assert_eq!(answer.json::<Value>().await.unwrap(), json!({"secrets": {"of": "local"}}));
    platform.stop().await;
}

#[tokio::test]
async fn parameters_that_mean_nothing_are_refused() {
    let platform = Platform::start().await;
    for (path, status) in [
        ("/?destroyed=show", 200),
        ("/?destroyd=show", 400),
        ("/ui/stream?destroyed=yes", 400),
        ("/bigdata/api/v1/admin/invariants?all=true", 400),
        ("/health?probe=7", 200),
    ] {
        let answer = platform.get(path).send().await.unwrap();
        assert_eq!(answer.status(), status, "{path}");
        let is_page = answer.headers()["content-type"].to_str().unwrap().starts_with("text/html");
        assert_eq!(is_page, path.starts_with("/?"), "people are told by a page: {path}");
    }
    platform.stop().await;
}
