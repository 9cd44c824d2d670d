//! The process's own Prometheus recorder, for processes that are one service.

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use std::sync::OnceLock;

/// Upper bounds of the latency histograms' buckets, in seconds.
const BUCKETS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0];

static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();

/// From now on what the process measures is kept. A second call changes nothing.
pub fn install() {
    let builder = PrometheusBuilder::new().set_buckets(BUCKETS).expect("the list of buckets is not empty");
    let recorder = builder.build_recorder();
    let handle = recorder.handle();
    if metrics::set_global_recorder(recorder).is_err() {
        return;
    }
    // Nobody else installs a recorder, so the place is free.
    let _ = RECORDER.set(handle);
    metrics::describe_counter!("bigdata_http_requests_total", "Requests by route, method and status");
    metrics::describe_histogram!("bigdata_http_answer_seconds", "Time to the answer by route");
    metrics::describe_gauge!("bigdata_ready", "1 while the process waits for nothing");
    metrics::describe_gauge!("bigdata_outbox_events", "Events that wait to be published");
    metrics::describe_gauge!("bigdata_database_connections", "Open connections to the database");
}

/// What was measured, as Prometheus reads it; None where nothing is kept.
pub fn render() -> Option<String> {
    RECORDER.get().map(PrometheusHandle::render)
}

/// Takes in what was recorded; unless somebody renders or calls this now and then, histograms grow.
pub fn keep_small() {
    if let Some(handle) = RECORDER.get() {
        handle.run_upkeep();
    }
}
