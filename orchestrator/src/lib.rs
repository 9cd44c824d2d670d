//! Orchestrator service: runs the products' scripts and keeps what they say.
//!
//! [`plan`] decides from the registry's truth and the known runs what to do; `reconcile` asks, compares and acts; `run`
//! drives one script from its claim to its end; `reach` is what the script can do meanwhile; `logs` tells what it wrote.
//!
//! **Invariant:** a run is driven by whoever holds its cluster's lease, and by nobody else. Whatever an attempt writes, it
//! writes in a transaction that holds the lease's row; what it asks of nodes is refused once another holds the lease.
//! **Invariant:** an attempt begins only when the tree of the one before is gone: on the same machine that is seen, on
//! another one the tree has ended by itself before the lease lapsed, since its driver, or else its sandbox, ends it then.
//! **Invariant:** no secret value is stored in the clear, in the log or among the outputs.
//!
//! # The script
//! It is run as `SCRIPT ACTION` by its `#!` line (without one: python3; a Fabric 1 fabfile: `fab --fabfile SCRIPT ACTION`)
//! in a directory of its own, without network unless the product was given it. Its whole environment is `PATH` (with
//! `bigdata` in front), `HOME`, `TMPDIR`, `LANG`, `CLUSTERDN`, `CLUSTERID`, `BIGDATA_ACTION`, `BIGDATA_CLUSTER` (path of a
//! JSON document, see [`document::Document`]), `BIGDATA_ARGUMENTS` (an action's arguments as JSON, `{}`), `BIGDATA_RUN` (the same over repeats), `BIGDATA_ATTEMPT` (from 1),
//! `BIGDATA_SOCKET` and `BIGDATA_TOKEN`, `REGISTRY` (see below), and `BIGDATA_EVENT` where the action is called because of
//! something: a JSON text such as `{"kind":"node-lost","node":"node1"}`. A fabfile has `INSTANCE` (as `CLUSTERDN`), and `NOOP`
//! where the launch's option of that name is set.
//!
//! Exit code 0 is success. Exit code 64 (`EX_USAGE` of sysexits.h) says that the script does not know the action: for an
//! optional action that is no error ([`bigdata_common::event::RunResult::Absent`]). Any other end is a failure, whose reason
//! is the last line that the script wrote, to standard error where it wrote there. A run that is interrupted by the end of
//! this service is begun again: scripts must be idempotent.
//!
//! # The script's socket
//! HTTP/1.1 on the Unix socket `BIGDATA_SOCKET` (any `Host`), each request with `Authorization: Bearer $BIGDATA_TOKEN`.
//! Both end with the attempt. Errors are `application/problem+json`. Only the run's own cluster can be reached.
//!
//! | method, path | body | answer |
//! |---|---|---|
//! | `GET /v1/cluster` | | 200, the document of `BIGDATA_CLUSTER` as it is now |
//! | `POST /v1/nodes/{node}/exec` | [`bigdata_common::internal::ExecRequest`] | 200, a stream of [`bigdata_common::internal::ExecFrame`] lines |
//! | the same | [`bigdata_common::frames`]: the request, input, its end | 200, frames: output, exit or error |
//! | `PUT /v1/nodes/{node}/files?path=&mode=&late=` | the content, or frames of it | the gateway's |
//! | `GET /v1/nodes/{node}/files?path=` | | the content |
//! | `POST /v1/nodes/{node}/{start,stop,restart}` | none | the gateway's |
//! | `GET /v1/nodes/{node}/{health,logs,stats}` | | the gateway's |
//! | `POST /v1/progress` | `{"percent": 0-100, "message": text}` | 204 |
//! | `POST /v1/output` | `{"key": text, "value": text, "secret": false, "endpoint": role or null}` | 204 |
//! | `DELETE /v1/output/{key}` | | 204 |
//! | `POST /v1/backups?label=` | the bytes | 200, `{"id", "size", "sha256"}`, once they are stored whole |
//! | `GET /v1/backups/{id}` | | the bytes |
//! | `GET /v1/kv/{key}` | | Consul's: `?recurse`, `?raw`, `?keys&separator=`, `?index=&wait=` (60 s at most) |
//! | `PUT /v1/kv/{key}` | progress, step or status | 200, `true` |
//!
//! `endpoint` is a role (`""` where there is but one), or [`bigdata_common::event::EndpointRole`] with a client's command line, for an address at which the cluster is reached, `null` for any other
//! value. What is below `/v1/nodes` is forwarded to the gateway on behalf of the cluster's owner, piece by piece.
//!
//! The keys are the cluster as the older system's registry had it. Its clients know nothing but an address: `REGISTRY` holds
//! `…/run/TOKEN/v1/kv` with a token that opens the keys alone, on a loopback port for the script's user where the script has
//! the network (`http://127.0.0.1:PORT/…`), and on its socket otherwise (`http+unix://%2F…/socket/…`).

mod backups;
pub mod document;
mod error;
mod invariants;
mod keys;
mod logs;
mod outputs;
pub mod plan;
mod reach;
mod reconcile;
mod registry;
mod retention;
mod run;
mod service;
pub mod settings;
mod slots;
mod store;

pub use backups::OpenError as BackupStoreError;
pub use error::BuildError;
pub use service::{MIGRATIONS, build};
pub use settings::Settings;
