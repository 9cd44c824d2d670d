//! Asks a cluster for something, in one transaction with everything that belongs to it.

use super::asked::{self, Asked};
use super::prepare::{Beside, Prepared};
use crate::cluster::course::Course;
use crate::cluster::wanted::{Refused, Wanted};
use crate::idempotency::Idempotency;
use crate::launch::{secret_place, unknown_product};
use crate::registry::Registry;
use crate::store;
use bigdata_chassis::Tx;
use bigdata_chassis::http::ApiError;
use bigdata_common::api::PREFIX;
use bigdata_common::api::change::OperationAccepted;
use bigdata_common::api::problem::{Fault, ProblemCode};
use bigdata_common::status::OperationStatus;
use bigdata_common::{ClusterId, Name, OperationId};

/// Why there is no operation.
pub(crate) enum Unasked {
    /// The cluster was changed after the wish was prepared, or the same request was answered at the same time.
    Meanwhile(ApiError),
    /// Anything else.
    Refused(ApiError),
}

impl<E: Into<ApiError>> From<E> for Unasked {
    fn from(error: E) -> Self {
        Self::Refused(error.into())
    }
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        let words = refused.to_string();
        let code = match refused {
            Refused::NotReady(_) => ProblemCode::WrongStatus,
            Refused::Busy(_) | Refused::Full(_) | Refused::Changed(_) | Refused::Leaving(_) => ProblemCode::ClusterBusy,
            Refused::UnknownNode(_) => ProblemCode::UnknownNode,
            Refused::UnknownRevision(_) => {
                let faults = vec![Fault::new("/revision", words.clone())];
                return ApiError::with_faults(ProblemCode::InvalidField, words, faults);
            }
            Refused::Database(error) => return error.into(),
        };
        ApiError::new(code, words)
    }
}

/// Who asks, and with which idempotency key.
pub(crate) struct Request<'a> {
    pub(crate) user: &'a Name,
    pub(crate) idempotency: Option<&'a Idempotency>,
    /// The operation that is begun again, where one is.
    pub(crate) retry_of: Option<OperationId>,
}

impl Request<'_> {
    /// What was answered to the same request before.
    pub(crate) async fn replayed(&self, registry: &Registry) -> Result<Option<OperationAccepted>, ApiError> {
        match self.idempotency {
            Some(idempotency) => idempotency.replayed(registry, self.user).await,
            None => Ok(None),
        }
    }

    /// Refuses to begin again what is begun again already, or has succeeded since; what it would come to now is not asked.
    pub(crate) async fn refuse_second(&self, registry: &Registry) -> Result<(), ApiError> {
        let Some(former) = self.retry_of else { return Ok(()) };
        let mut tx = registry.db.begin().await?;
        refuse_second(&mut tx, former).await.map(drop)
    }

    /// Asks the cluster for what `asked` comes to.
    pub(crate) async fn ask(
        &self,
        registry: &Registry,
        id: &ClusterId,
        asked: &Asked,
        Prepared { wanted, beside, backups, .. }: Prepared,
    ) -> Result<OperationAccepted, Unasked> {
        let now = registry.clock.now();
        let mut tx = registry.db.begin().await?;
        let held = store::clusters::lock(&mut tx, id).await?;
        let held = held.ok_or_else(|| crate::http::unknown_cluster(&id.dn().to_string()))?;
        let from_catalog = matches!(wanted, Wanted::Upgrade { .. });
        let mut course = Course::new(&mut tx, held, now);
        let first = match self.retry_of {
            Some(former) => Some((former, refuse_second(course.tx(), former).await?)),
            None => None,
        };
        let operation = match course.request(wanted).await {
            Ok(operation) => operation,
            Err(refused @ Refused::Changed(_)) => return Err(Unasked::Meanwhile(refused.into())),
            Err(refused) => return Err(Unasked::Refused(refused.into())),
        };
        if let Some((former, first)) = first {
            store::operations::keep_retry(course.tx(), operation, id, first).await?;
            course.change(operation, |view| view.retry_of = Some(former)).await?;
            course.log("operation", None, format!("operation {operation} begins {former} again"));
        }
        let mut asked = asked.clone();
        if let Some(beside) = &beside {
            keep(registry, course.tx(), id, beside, from_catalog).await?;
            asked = asked.without(&beside.secrets);
        }
        store::backups::let_read(course.tx(), id, &backups).await?;
        let text = serde_json::to_string(&asked).map_err(ApiError::internal)?;
        let sealed = registry.vault.seal(&asked::place(operation), &text);
        store::operations::keep_asked(course.tx(), operation, id, &sealed).await?;
        let cluster = course.store().await?;
        let waits = cluster.queue.iter().any(|work| work.operation == operation);
        let accepted = OperationAccepted {
            message: "success".to_owned(),
            operation,
            url: format!("{PREFIX}/operations/{operation}"),
            status: if waits { OperationStatus::Pending } else { OperationStatus::Running },
        };
        if let Some(idempotency) = self.idempotency
            && !idempotency.remember(registry, &mut tx, self.user, &accepted, now).await?
        {
            let words = "the same request was answered at the same time; send it again";
            return Err(Unasked::Meanwhile(ApiError::new(ProblemCode::IdempotencyConflict, words)));
        }
        tx.commit().await?;
        registry.changed(id);
        Ok(accepted)
    }
}

/// Stores what stands beside a new revision.
async fn keep(
    registry: &Registry,
    tx: &mut Tx,
    id: &ClusterId,
    Beside { product, secrets }: &Beside,
    from_catalog: bool,
) -> Result<(), ApiError> {
    // Upgrading to a product and deleting it exclude each other.
    if from_catalog && !store::products::keep(tx, &product.reference).await? {
        return Err(unknown_product(registry, &product.reference));
    }
    store::products::keep_content(tx, product).await?;
    for (name, value) in secrets {
        let sealed = registry.vault.seal(&secret_place(id, name), value);
        store::clusters::insert_secret(tx, id, name, &sealed).await?;
    }
    Ok(())
}

/// What is begun again goes on once at a time, and until it has succeeded, however often it is begun. The operation that asked
/// for it first.
async fn refuse_second(tx: &mut Tx, former: OperationId) -> Result<OperationId, ApiError> {
    let first = store::operations::first_of(tx, former).await?;
    for id in store::operations::retries_of(tx, first).await?.into_iter().chain([first]) {
        let Some(again) = store::operations::find_in(tx, id).await? else { continue };
        let detail = match again.status {
            OperationStatus::Failed | OperationStatus::Cancelled => continue,
            OperationStatus::Pending | OperationStatus::Running => {
                format!("operation {former} is begun again already: that is operation {id}")
            }
            OperationStatus::Succeeded => format!(
                "operation {former} was begun again, and that succeeded: it is operation {id}; ask anew for the same \
                 once more"
            ),
        };
        return Err(ApiError::new(ProblemCode::NotRetriable, detail));
    }
    Ok(first)
}
