//! Executor: runs one node of a cluster on an agent, and is the node's door for everyone else.
//!
//! [`session`] speaks to the agent that started this process and turns what is to be seen of the node into status
//! updates. [`launch`] takes a task, enrols at the framework and makes the folder ready. [`node`] runs the workload:
//! [`node::lifecycle`] decides and never acts. [`control`] serves the gateway over HTTPS.
//!
//! **Invariant:** an end is reported when no process of the node is left, never before.
//! **Invariant:** the framework's absence never stops a workload; the agent's does after its recovery timeout.
//! **Invariant:** no secret is in an argument list, a log line or Mesos; the state file is its user's alone.

mod alarm;
pub mod container;
pub mod control;
pub mod environment;
pub mod folder;
pub mod identity;
pub mod late;
pub mod launch;
pub mod logs;
pub mod node;
pub mod peers;
pub mod probe;
pub mod process;
pub mod runtime;
pub mod session;
pub mod state;
pub mod token;

#[cfg(test)]
mod testing;

use bigdata_common::Timestamp;
use bigdata_mesos::client::executor::ExecutorEnvironment;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::task::LocalSet;

/// How long a thread for blocking work waits for more of it: a node has little.
const THREAD_KEEP_ALIVE: Duration = Duration::from_secs(1);
/// What blocking work needs of stack: files, name lookups, `/proc`.
const THREAD_STACK_BYTES: usize = 512 << 10;

/// The process `bigdata executor`: started by a Mesos agent (or the platform's own engine), ends with its node.
///
/// The program must call `bigdata_sandbox::main_if_requested` before this: it is executed again for every process of
/// the node. Exits with 0 once the node's end is stored by the agent, with 1 when it could not do its work.
pub fn main() -> ExitCode {
    say_what_happens();
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = chain(error.as_ref()), "the executor ends");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let environment = ExecutorEnvironment::from_process()?;
    // Another part of the program may have chosen already; there is but one provider to choose.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(2)
        .thread_keep_alive(THREAD_KEEP_ALIVE)
        .thread_stack_size(THREAD_STACK_BYTES)
        .build()?;
    LocalSet::new().block_on(&runtime, session::run(environment))?;
    // What may still be served or followed ends with the process.
    runtime.shutdown_background();
    Ok(())
}

/// The process `bigdata-executor tidy`: an agent's operator has it run from time to time where nodes are containers. A machine
/// that died, or an executor that was killed, has left some, and no node may come by that would remove them.
pub fn tidy() -> ExitCode {
    say_what_happens();
    let tidied = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string());
    let settings = container::Settings::from_environment();
    match tidied.and_then(|runtime| runtime.block_on(container::remove_orphans(&settings))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            tracing::error!(reason, "not all is tidied");
            ExitCode::FAILURE
        }
    }
}

fn say_what_happens() {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).with_max_level(tracing::Level::INFO).init();
}

/// An error and its sources on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// By this machine's clock.
fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}
