//! A workload that is a container: made or taken up again, watched, ended.

use super::Containers;
use super::command::is_not_running;
use super::create::{body, connection, name};
use super::ending::Watch;
use super::engine::{Engine, in_words};
use super::found::{Found, inspect, processes, remove};
use super::memory;
use super::networks::{self, Connection};
use super::output;
use super::provide;
use crate::node::workload::{last_lines, refresh_peers};
use crate::node::{Fixture, Processes};
use crate::process::in_words as ending_in_words;
use crate::runtime::{Exit, Workload};
use bigdata_sandbox::{Ending, Report};
use bollard::errors::Error::DockerResponseServerError;
use bollard::models::ContainerCreateBody;
use bollard::query_parameters::{CreateContainerOptionsBuilder, KillContainerOptionsBuilder};
use futures_util::future::LocalBoxFuture;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

/// The pause between two looks for a bridge that is just being made.
const BRIDGE_PAUSE: Duration = Duration::from_millis(50);
/// How long output may still be read after the container's end.
const DRAIN_LIMIT: Duration = Duration::from_secs(3);
/// The pause before an engine is asked again that did not answer.
pub(super) const ENGINE_PAUSE: Duration = Duration::from_secs(1);
/// How long an engine is asked for what became of a start that it did not answer.
const START_LIMIT: Duration = Duration::from_mins(2);
/// The pause before a container that does not end is killed again.
const KILL_PAUSE: Duration = Duration::from_secs(5);
/// How often a container is made that finds its networks gone.
const NETWORK_TRIES: u32 = 5;
/// An exit code beyond this is a signal's.
const SIGNALS: i64 = 128;
/// SIGKILL, as which the kernel ends what has no memory left.
pub(super) const KILLED: i64 = 137;

/// A container that runs.
pub(super) struct ContainerWorkload {
    engine: Engine,
    fixture: Rc<Fixture>,
    id: String,
    stop_signal: String,
    processes: Processes,
    begins: (u64, u64),
    capture: JoinHandle<()>,
    /// Tells what is left of it once it has ended. Whoever asks comes and goes.
    ending: JoinHandle<Option<Found>>,
    kill: Option<JoinHandle<()>>,
    /// Whether it got the signal that asks for its end.
    is_told: Rc<Cell<bool>>,
    exit: Option<String>,
    /// When its output is not read any longer.
    drained_by: Option<Instant>,
    /// When it was started, as the kernel's log counts.
    started: Duration,
}

impl ContainerWorkload {
    /// Makes and starts the node's container, or starts it again, or goes on with the one that runs.
    pub(super) async fn start(runtime: &Containers, fixture: &Rc<Fixture>) -> Result<Self, String> {
        let (engine, node) = (&runtime.engine, &fixture.surroundings);
        refresh_peers(node).await?;
        let image = node.node.blueprint.docker_image.as_deref().ok_or("the node has no image")?;
        let (name, body) = (name(node), body(node, image, &runtime.registry)?);
        let connection = connection(node, &runtime.registry)?;
        match inspect(engine, &name).await? {
            Some(found) if found.is_running => {
                tracing::info!(id = found.id, "the container of an earlier executor goes on");
                provide::bridges(engine, &connection).await.settle(found.pid);
                runtime.look_inside(&connection, found.pid);
                return Ok(Self::new(engine, fixture, found, Duration::ZERO));
            }
            // What it wrote into its own file system stays over a restart in place, as long as nothing else is wanted.
            Some(found) if found.is_made_from(&body) => {}
            found => {
                output::begin(fixture)?;
                if let Some(found) = found {
                    remove(engine, &found.id).await?;
                }
                runtime.makings.run(make(engine.clone(), name.clone(), body, connection.clone())).await?;
            }
        }
        runtime.write_files(node, &name).await?;
        let started = memory::now();
        let found = begin_on_bridges(engine, &name, &connection).await;
        let found = found.map_err(|reason| format!("the container cannot be started: {reason}"))?;
        runtime.look_inside(&connection, found.pid);
        if let Some(words) = misnamed(&connection, found.pid) {
            remove(engine, &found.id).await?;
            return Err(format!("{words}: of Docker, version 28 is needed for this"));
        }
        Ok(Self::new(engine, fixture, found, started))
    }

    fn new(engine: &Engine, fixture: &Rc<Fixture>, found: Found, started: Duration) -> Self {
        let capture = output::follow(engine.clone(), Rc::clone(fixture), found.id.clone());
        let ending = Watch::new(engine, &found).ended();
        Self {
            engine: engine.clone(),
            fixture: Rc::clone(fixture),
            stop_signal: found.stop_signal.unwrap_or_else(|| "SIGTERM".to_owned()),
            // One that has ended already has none: 0 is nobody's.
            processes: processes(found.pid.unwrap_or(0), Instant::now()),
            begins: output::ends(fixture),
            capture: tokio::task::spawn_local(capture),
            ending: tokio::task::spawn_local(ending),
            id: found.id,
            kill: None,
            is_told: Rc::default(),
            exit: None,
            drained_by: None,
            started,
        }
    }

    async fn end(&mut self) -> Exit {
        if self.exit.is_none() {
            let ended = (&mut self.ending).await;
            self.exit = Some(match ended {
                Ok(Some(found)) => self.words(&found),
                Ok(None) => "its container was removed".to_owned(),
                Err(_) => "what watched its container has failed".to_owned(),
            });
        }
        if let Some(kill) = self.kill.take() {
            kill.abort();
        }
        // Whoever asks begins anew with every check, which may be more often than the limit: it counts from the end.
        let until = *self.drained_by.get_or_insert_with(|| Instant::now() + DRAIN_LIMIT);
        let _ = timeout_at(until, &mut self.capture).await;
        self.capture.abort();
        let words = self.exit.clone().unwrap_or_default();
        Exit { words, last_lines: last_lines(&self.fixture, self.begins), left: None }
    }

    fn words(&self, found: &Found) -> String {
        let out_of_memory = found.out_of_memory || memory::kills(&found.id, self.started) > 0;
        let report = report(found.exit_code, out_of_memory);
        let words = ending_in_words(Some(&report), &self.fixture.surroundings.limits());
        found.error.as_ref().map_or(words.clone(), |error| format!("{words}; {error}"))
    }
}

impl Workload for ContainerWorkload {
    fn processes(&self) -> Processes {
        self.processes.clone()
    }

    /// Signals and not the engine's own stop: that holds everybody else up for the whole grace with some engines.
    fn stop(&mut self, grace: Duration) -> LocalBoxFuture<'_, ()> {
        Box::pin(async move {
            if let Some(former) = self.kill.take() {
                former.abort();
            }
            let (engine, id, signal) = (self.engine.clone(), self.id.clone(), self.stop_signal.clone());
            self.kill =
                Some(tokio::task::spawn_local(end_by_signals(engine, id, signal, Rc::clone(&self.is_told), grace)));
        })
    }

    fn ended(&mut self) -> LocalBoxFuture<'_, Exit> {
        Box::pin(self.end())
    }
}

impl Drop for ContainerWorkload {
    fn drop(&mut self) {
        self.ending.abort();
    }
}

/// The end of a container's first process, as a sandbox would report it.
pub(super) fn report(exit_code: i64, out_of_memory: bool) -> Report {
    let code = i32::try_from(exit_code).unwrap_or(-1);
    let ending = match exit_code {
        KILLED if out_of_memory => Ending::MemoryExhausted,
        129..=192 => Ending::Signaled { signal: i32::try_from(exit_code - SIGNALS).unwrap_or(-1) },
        _ => Ending::Exited { code },
    };
    Report {
        ending,
        requested: false,
        leftovers_ended: 0,
        survivors: Vec::new(),
        out_of_memory_kills: u64::from(out_of_memory),
        process_limit_hits: 0,
    }
}

/// Asks a container for its end, and kills it after the grace, until it is aborted: an engine that is away for a moment
/// would lose a signal for ever.
async fn end_by_signals(engine: Engine, id: String, ask: String, is_told: Rc<Cell<bool>>, grace: Duration) {
    let until = Instant::now() + grace;
    while !is_told.get() && Instant::now() < until {
        is_told.set(timeout_at(until, signal(&engine, &id, &ask)).await.unwrap_or(false));
        if !is_told.get() {
            sleep(ENGINE_PAUSE).await;
        }
    }
    sleep_until(until).await;
    loop {
        signal(&engine, &id, "SIGKILL").await;
        sleep(KILL_PAUSE).await;
    }
}

/// Whether the engine has taken the signal, or there is nobody who could get it.
async fn signal(engine: &Engine, id: &str, signal: &str) -> bool {
    let options = KillContainerOptionsBuilder::default().signal(signal).build();
    let Err(error) = engine.docker.kill_container(id, Some(options)).await else { return true };
    // One that has ended needs no signal, and one that has not is seen to run still.
    tracing::info!(signal, error = in_words(&error), "a container is not signalled");
    is_not_running(&error)
}

/// Starts a container, and lets the bridges of its networks keep their addresses as soon as these are there: others come at
/// the same time, and each that does may change them.
async fn begin_on_bridges(engine: &Engine, name: &str, connection: &Connection) -> Result<Found, String> {
    let mut bridges = provide::bridges(engine, connection).await;
    let begun = begin(engine, name);
    tokio::pin!(begun);
    let found = loop {
        tokio::select! {
            biased;
            found = &mut begun => break found,
            () = sleep(BRIDGE_PAUSE), if bridges.are_missing() => bridges.keep(),
        }
    };
    let found = found?;
    bridges.settle(found.pid);
    Ok(found)
}

/// Starts a container that is made. An engine that gives no answer may have started it all the same: then what it says of
/// the container counts.
async fn begin(engine: &Engine, name: &str) -> Result<Found, String> {
    let until = Instant::now() + START_LIMIT;
    loop {
        let asked = engine.docker.start_container(name, None).await;
        match (asked, inspect(engine, name).await) {
            (_, Ok(Some(found))) if found.is_running => return Ok(found),
            (Ok(()), Ok(Some(found))) => return found.error.clone().map_or(Ok(found), Err),
            (_, Ok(None)) => return Err("it is gone".to_owned()),
            (Err(error @ DockerResponseServerError { .. }), Ok(Some(_))) => return Err(in_words(&error)),
            (Err(error), _) if Instant::now() > until => return Err(in_words(&error)),
            (Ok(()), Err(reason)) if Instant::now() > until => return Err(reason),
            // One that was started meanwhile takes no harm of another start.
            _ => sleep(ENGINE_PAUSE).await,
        }
    }
}

/// Makes a container with its networks. What it is made for is in its labels, so from then on nobody removes them.
pub(super) async fn make(
    engine: Engine,
    name: String,
    body: ContainerCreateBody,
    connection: Connection,
) -> Result<(), String> {
    for tries_left in (0..NETWORK_TRIES).rev() {
        provide::provide(&engine, &connection).await?;
        let options = CreateContainerOptionsBuilder::default().name(&name).build();
        match engine.docker.create_container(Some(options), body.clone()).await {
            Ok(_) => break,
            // The last node to leave it has just removed it.
            Err(_) if tries_left > 0 && provide::lacks(&engine, &connection).await => {}
            Err(error) => return Err(format!("the container cannot be made: {}", in_words(&error))),
        }
    }
    provide::provide(&engine, &connection).await?;
    if let Err(error) = provide::connect(&engine, &name, &connection).await {
        // Half of it would be taken for the whole by the next start.
        remove(&engine, &name).await?;
        return Err(error);
    }
    Ok(())
}

fn misnamed(connection: &Connection, pid: Option<i32>) -> Option<String> {
    let (Connection::Own(attachments), Some(pid)) = (connection, pid) else { return None };
    // One that has ended already has none.
    let routes = std::fs::read_to_string(format!("/proc/{pid}/net/route")).ok()?;
    networks::misnamed(&routes, attachments)
}
