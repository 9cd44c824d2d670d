//! What is measured and logged of every request.

use bigdata_chassis::trace::Cause;
use metrics::{Counter, Histogram};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

/// Upper bounds of the latency histogram's buckets, in seconds.
const BUCKETS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0];

/// The gateway's own counters: not the process's, so that several gateways (tests) keep theirs apart.
pub(crate) struct Metrics {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
    /// The series that were written before: looking one up by its labels costs more than counting.
    counters: RwLock<HashMap<(&'static str, &'static str, u16), Counter>>,
    histograms: RwLock<HashMap<&'static str, Histogram>>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Metrics(…)")
    }
}

/// One answered request.
#[derive(Debug)]
pub(crate) struct Answered<'request> {
    /// Its method.
    pub(crate) method: &'request str,
    /// The route's path, with braces: never the address itself, which would make a series per cluster.
    pub(crate) route: &'static str,
    /// The status of the answer.
    pub(crate) status: u16,
    /// Until the head of the answer.
    pub(crate) took: Duration,
    /// The request's names.
    pub(crate) cause: &'request Cause,
    /// The path as it was asked.
    pub(crate) path: &'request str,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let builder = PrometheusBuilder::new().set_buckets(BUCKETS).expect("the list of buckets is not empty");
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            metrics::describe_counter!("bigdata_gateway_requests_total", "Requests by route, method and status");
            metrics::describe_histogram!("bigdata_gateway_answer_seconds", "Time to the head of the answer by route");
        });
        Self { recorder, handle, counters: RwLock::default(), histograms: RwLock::default() }
    }

    /// Counts a request, and writes its line into the log.
    pub(crate) fn answered(&self, answered: &Answered<'_>) {
        let Answered { method, route, status, took, cause, path } = answered;
        self.counter(route, known(method), *status).increment(1);
        self.histogram(route).record(took.as_secs_f64());
        let took_ms = took.as_secs_f64() * 1000.0;
        let (request_id, trace_id) = (&cause.request_id, cause.trace_id());
        // What is asked of a node is asked often, by scripts.
        let changes = !matches!(*method, "GET" | "HEAD" | "OPTIONS") && !route.contains("/nodes/");
        if *status >= 500 {
            tracing::warn!(method, path, status, took_ms, request_id, trace_id, "a request failed");
        } else if changes {
            tracing::info!(method, path, status, took_ms, request_id, trace_id, "a request was answered");
        } else {
            tracing::debug!(method, path, status, took_ms, request_id, trace_id, "a request was answered");
        }
    }

    fn counter(&self, route: &'static str, method: &'static str, status: u16) -> Counter {
        kept(&self.counters, (route, method, status), || {
            let labels = [("route", route.to_owned()), ("method", method.to_owned()), ("status", status.to_string())];
            metrics::with_local_recorder(&self.recorder, || {
                metrics::counter!("bigdata_gateway_requests_total", &labels)
            })
        })
    }

    fn histogram(&self, route: &'static str) -> Histogram {
        kept(&self.histograms, route, || {
            metrics::with_local_recorder(
                &self.recorder,
                || metrics::histogram!("bigdata_gateway_answer_seconds", "route" => route),
            )
        })
    }

    /// Takes in what was recorded; unless somebody renders or calls this now and then, histograms grow.
    pub(crate) fn keep_small(&self) {
        self.handle.run_upkeep();
    }

    /// The Prometheus text.
    pub(crate) fn render(&self) -> String {
        self.handle.render()
    }
}

/// A method's name; whatever a client makes up is one series.
fn known(method: &str) -> &'static str {
    let known = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"];
    known.into_iter().find(|known| *known == method).unwrap_or("other")
}

/// The value kept under this key, made where there is none yet.
fn kept<Key: Eq + Hash, Value: Clone>(
    values: &RwLock<HashMap<Key, Value>>,
    key: Key,
    make: impl FnOnce() -> Value,
) -> Value {
    if let Some(value) = values.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
        return value.clone();
    }
    values.write().unwrap_or_else(PoisonError::into_inner).entry(key).or_insert_with(make).clone()
}
