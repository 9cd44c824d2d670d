//! Runs, from the registry's wish to the end that it is told.

use super::{Store, StoreError, storable};
use bigdata_chassis::messaging::outbox;
use bigdata_chassis::{Tx, on_db, on_tx};
use bigdata_common::event::{Event, RunRef, RunResult};
use bigdata_common::internal::{ClusterState, RunRequest};
use bigdata_common::{ClusterId, OperationId, RunId, Timestamp};
use uuid::Uuid;

/// A run as it is stored.
#[derive(Debug, Clone)]
pub(crate) struct StoredRun {
    pub(crate) cluster: ClusterId,
    /// The cluster's revision that it is run by.
    pub(crate) revision: u32,
    /// Run, operation, action, step, generation, and the last attempt (0: none yet).
    pub(crate) run: RunRef,
    /// Whether it changes nothing, and stands beside others.
    pub(crate) is_side: bool,
    pub(crate) required: bool,
    /// What the run is called because of, as JSON.
    pub(crate) event: Option<String>,
    /// An action's arguments, as JSON.
    pub(crate) arguments: String,
    pub(crate) deadline: Timestamp,
    pub(crate) created_at: Timestamp,
    /// How it ended; None: it has not.
    pub(crate) result: Option<RunResult>,
    pub(crate) said_at: Timestamp,
    /// Who held the last attempt's tree.
    pub(crate) supervisor: Supervisor,
}

/// A process by its machine, id and start time: it is never another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Supervisor {
    pub(crate) machine: String,
    pub(crate) pid: i32,
    pub(crate) start: i64,
}

/// What proves that an attempt may write: its run's claim.
#[derive(Debug, Clone)]
pub(crate) struct Claim {
    pub(crate) cluster: ClusterId,
    pub(crate) revision: u32,
    pub(crate) run: RunRef,
    /// Whether it is on the run alone: one beside its cluster's main run.
    pub(crate) is_side: bool,
    pub(crate) owner: String,
}

impl Claim {
    /// What is claimed: the cluster for its main run, the run where it stands beside that.
    pub(crate) fn key(&self) -> String {
        key(&self.cluster, self.run.run, self.is_side)
    }
}

/// See [`Claim::key`].
pub(crate) fn key(cluster: &ClusterId, run: RunId, is_side: bool) -> String {
    if is_side { run.to_string() } else { cluster.to_string() }
}

#[derive(sqlx::FromRow)]
struct Row {
    run_id: String,
    cluster: String,
    revision: i64,
    operation: String,
    action: String,
    generation: i64,
    step: i64,
    side: i64,
    required: i64,
    event: String,
    arguments: String,
    deadline_at_ms: i64,
    attempt: i64,
    result: String,
    machine: String,
    supervisor_pid: i64,
    supervisor_start: i64,
    created_at_ms: i64,
    said_at_ms: i64,
}

impl TryFrom<Row> for StoredRun {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let unreadable = |what: &dyn std::fmt::Display| StoreError::Row { table: "runs", what: what.to_string() };
        let number = |number: i64| u32::try_from(number).map_err(|error| unreadable(&error));
        Ok(Self {
            cluster: row.cluster.parse().map_err(|error| unreadable(&error))?,
            revision: number(row.revision)?,
            run: RunRef {
                run: row.run_id.parse().map_err(|error| unreadable(&error))?,
                operation: row.operation.parse().map_err(|error| unreadable(&error))?,
                action: row.action,
                step: number(row.step)?,
                generation: number(row.generation)?,
                attempt: number(row.attempt)?,
            },
            is_side: row.side != 0,
            required: row.required != 0,
            event: Some(row.event).filter(|event| !event.is_empty()),
            arguments: row.arguments,
            deadline: Timestamp::from_millis(row.deadline_at_ms),
            created_at: Timestamp::from_millis(row.created_at_ms),
            result: match row.result.as_str() {
                "" => None,
                text => Some(serde_json::from_str(text).map_err(|error| unreadable(&error))?),
            },
            said_at: Timestamp::from_millis(row.said_at_ms),
            supervisor: Supervisor {
                machine: row.machine,
                pid: i32::try_from(row.supervisor_pid).map_err(|error| unreadable(&error))?,
                start: row.supervisor_start,
            },
        })
    }
}

impl Store {
    /// Stores a run that the registry wants, unless it is known.
    pub(crate) async fn create_run(
        &self,
        state: &ClusterState,
        request: &RunRequest,
        is_side: bool,
    ) -> Result<(), StoreError> {
        let event = request.event.as_ref().map(|event| storable(&event.to_string()).into_owned()).unwrap_or_default();
        let arguments = serde_json::Value::Object(request.arguments.clone()).to_string();
        let mut tx = self.db.begin().await?;
        on_tx!(tx, connection => sqlx::query(
                "INSERT INTO runs (run_id, cluster, revision, operation, action, generation, required, deadline_at_ms, \
                 state, created_at_ms, event, arguments, step, side) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'waiting', $9, $10, $11, $12, $13) \
                 ON CONFLICT (operation, action, generation, step) DO NOTHING")
            .bind(Uuid::now_v7().to_string())
            .bind(state.cluster.to_string())
            .bind(i64::from(state.revision))
            .bind(request.operation.to_string())
            .bind(request.action.as_str())
            .bind(i64::from(state.generation))
            .bind(i64::from(request.required))
            .bind(request.deadline.as_millis())
            .bind(self.clock.now().as_millis())
            .bind(event)
            .bind(storable(&arguments).into_owned())
            .bind(i64::from(request.step))
            .bind(i64::from(is_side))
            .execute(connection)
            .await
            .map(drop))?;
        Ok(tx.commit().await?)
    }

    /// The runs of a cluster, the newest first.
    pub(crate) async fn runs_of(&self, cluster: &ClusterId) -> Result<Vec<StoredRun>, StoreError> {
        let rows: Vec<Row> = on_db!(self.db, pool => sqlx::query_as(
                "SELECT * FROM runs WHERE cluster = $1 ORDER BY created_at_ms DESC, run_id DESC LIMIT 500")
            .bind(cluster.to_string())
            .fetch_all(pool)
            .await)?;
        rows.into_iter().map(StoredRun::try_from).collect()
    }

    /// The clusters that have a run without an end.
    pub(crate) async fn unfinished(&self) -> Result<Vec<ClusterId>, StoreError> {
        let texts: Vec<String> = on_db!(self.db, pool => sqlx::query_scalar(
                "SELECT DISTINCT cluster FROM runs WHERE state <> 'ended'")
            .fetch_all(pool)
            .await)?;
        let read = |text: String| {
            text.parse().map_err(|error| StoreError::Row { table: "runs", what: format!("{text}: {error}") })
        };
        texts.into_iter().map(read).collect()
    }

    /// The cluster of an operation that has asked for a run, and whether one of its runs has not come to its end.
    pub(crate) async fn of_operation(&self, operation: OperationId) -> Result<Option<(ClusterId, bool)>, StoreError> {
        let states: Vec<(String, String)> = on_db!(self.db, pool => sqlx::query_as(
                "SELECT cluster, state FROM runs WHERE operation = $1")
            .bind(operation.to_string())
            .fetch_all(pool)
            .await)?;
        let Some((cluster, _)) = states.first() else { return Ok(None) };
        let unreadable = |error| StoreError::Row { table: "runs", what: format!("{cluster}: {error}") };
        let cluster = cluster.parse().map_err(unreadable)?;
        Ok(Some((cluster, states.iter().any(|(_, state)| state != "ended"))))
    }

    /// Whether a run is known and has not come to its end.
    pub(crate) async fn is_unended(&self, run: RunId) -> Result<bool, StoreError> {
        let count: i64 = on_db!(self.db, pool => sqlx::query_scalar(
                "SELECT COUNT(*) FROM runs WHERE run_id = $1 AND state <> 'ended'")
            .bind(run.to_string())
            .fetch_one(pool)
            .await)?;
        Ok(count == 1)
    }

    /// A run is no longer wanted: whoever drives it sees it when it renews its claim.
    pub(crate) async fn want_cancel(&self, run: RunId) -> Result<(), StoreError> {
        let mut tx = self.db.begin().await?;
        on_tx!(tx, connection => sqlx::query(
                "UPDATE runs SET cancel_wanted = 1 WHERE run_id = $1 AND state <> 'ended' AND cancel_wanted = 0")
            .bind(run.to_string())
            .execute(connection)
            .await
            .map(drop))?;
        Ok(tx.commit().await?)
    }

    /// A new attempt, told to the registry. Its tree is the owner's machine's from here on, though no process is known yet.
    pub(crate) async fn begin_attempt(&self, claim: &mut Claim) -> Result<(), StoreError> {
        let mut tx = self.db.begin().await?;
        self.lock_claim(&mut tx, claim).await?;
        let attempt: Option<i64> = on_tx!(tx, connection => sqlx::query_scalar(
                "UPDATE runs SET attempt = attempt + 1, state = 'running', machine = $2, supervisor_pid = 0, \
                 supervisor_start = 0 WHERE run_id = $1 AND state <> 'ended' RETURNING attempt")
            .bind(claim.run.run.to_string())
            .bind(claim.owner.split('|').next().unwrap_or_default())
            .fetch_optional(connection)
            .await)?;
        let attempt = attempt.ok_or(StoreError::Overtaken)?;
        claim.run.attempt = u32::try_from(attempt).unwrap_or(u32::MAX);
        self.tell(&mut tx, claim, Event::RunStarted(claim.run.clone())).await?;
        Ok(tx.commit().await?)
    }

    /// Notes the process that holds the attempt's tree.
    pub(crate) async fn note_supervisor(&self, claim: &Claim, supervisor: &Supervisor) -> Result<(), StoreError> {
        let mut tx = self.db.begin().await?;
        self.fence(&mut tx, claim).await?;
        on_tx!(tx, connection => sqlx::query(
                "UPDATE runs SET machine = $2, supervisor_pid = $3, supervisor_start = $4 WHERE run_id = $1")
            .bind(claim.run.run.to_string())
            .bind(supervisor.machine.as_str())
            .bind(i64::from(supervisor.pid))
            .bind(supervisor.start)
            .execute(connection)
            .await
            .map(drop))?;
        Ok(tx.commit().await?)
    }

    /// The run's end, told to the registry after all that it published: should the registry have lost an output, it has it
    /// before it acts on the end. The cluster is let go.
    pub(crate) async fn finish(&self, claim: &Claim, result: RunResult) -> Result<(), StoreError> {
        let result = match result {
            RunResult::Failed { reason } => RunResult::Failed { reason: storable(&reason).into_owned() },
            other => other,
        };
        let text = serde_json::to_string(&result).map_err(|error| sqlx::Error::Encode(Box::new(error)))?;
        let mut tx = self.db.begin().await?;
        // First the claim: it is the one row that every writer of a run locks first.
        let held = on_tx!(tx, connection => sqlx::query(
                "DELETE FROM leases WHERE claim_key = $1 AND run_id = $2 AND owner = $3")
            .bind(claim.key())
            .bind(claim.run.run.to_string())
            .bind(claim.owner.as_str())
            .execute(connection)
            .await
            .map(|result| result.rows_affected()))?;
        let ended = on_tx!(tx, connection => sqlx::query(
                "UPDATE runs SET state = 'ended', result = $2, said_at_ms = $3 WHERE run_id = $1 AND state <> 'ended' \
                 AND attempt = $4")
            .bind(claim.run.run.to_string())
            .bind(text)
            .bind(self.clock.now().as_millis())
            .bind(i64::from(claim.run.attempt))
            .execute(connection)
            .await
            .map(|result| result.rows_affected()))?;
        if (held, ended) != (1, 1) {
            return Err(StoreError::Overtaken);
        }
        for output in self.told_outputs(&mut tx, &claim.cluster, claim.run.run).await? {
            self.tell(&mut tx, claim, Event::RunOutput { run: claim.run.clone(), output }).await?;
        }
        self.forget_withdrawn(&mut tx, claim).await?;
        self.tell(&mut tx, claim, Event::RunEnded { run: claim.run.clone(), result }).await?;
        Ok(tx.commit().await?)
    }

    /// Tells the registry once more how a run ended.
    pub(crate) async fn say_again(&self, run: &StoredRun, result: RunResult) -> Result<(), StoreError> {
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        on_tx!(tx, connection => sqlx::query("UPDATE runs SET said_at_ms = $2 WHERE run_id = $1")
            .bind(run.run.run.to_string())
            .bind(now.as_millis())
            .execute(connection)
            .await
            .map(drop))?;
        let event = Event::RunEnded { run: run.run.clone(), result };
        outbox::enqueue(&mut tx, &run.cluster, run.revision, now, event).await?;
        Ok(tx.commit().await?)
    }

    /// Tells the registry how far a run is.
    pub(crate) async fn progress(&self, claim: &Claim, percent: u8, message: &str) -> Result<(), StoreError> {
        let mut tx = self.db.begin().await?;
        self.fence(&mut tx, claim).await?;
        let message = storable(message).into_owned();
        self.tell(&mut tx, claim, Event::RunProgress { run: claim.run.clone(), percent, message }).await?;
        Ok(tx.commit().await?)
    }

    pub(super) async fn tell(&self, tx: &mut Tx, claim: &Claim, event: Event) -> Result<(), StoreError> {
        outbox::enqueue(tx, &claim.cluster, claim.revision, self.clock.now(), event).await?;
        Ok(())
    }
}
