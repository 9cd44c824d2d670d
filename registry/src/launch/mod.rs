//! From a product and a flat map of options to a stored cluster.

mod plan;

use crate::cluster::course::Course;
use crate::product::Product;
use crate::registry::Registry;
use crate::store;
use crate::store::idempotency::Remembered;
use crate::template::RenderError;
use bigdata_chassis::Tx;
use bigdata_chassis::http::ApiError;
use bigdata_chassis::secret::sha256_hex;
use bigdata_common::api::PREFIX;
use bigdata_common::api::cluster::{DryRun, Launched};
use bigdata_common::api::problem::ProblemCode;
use bigdata_common::event::Event;
use bigdata_common::status::{ClusterStatus, OperationKind};
use bigdata_common::{ClusterDn, ClusterId, Name, ProductRef};
use plan::{Plan, cluster, plan, specification};
use serde_json::{Map, Value};

/// How often a launch whose number was taken by another replica is tried again.
const NUMBER_ATTEMPTS: u32 = 20;
/// So often without holding the number: holding it keeps other replicas' launches waiting while the template is rendered.
const UNHELD_ATTEMPTS: u32 = 3;
/// The longest idempotency key.
const KEY_MAX: usize = 255;

/// What a launch asks for.
pub(crate) struct LaunchRequest {
    pub(crate) user: Name,
    pub(crate) product: ProductRef,
    pub(crate) options: Map<String, Value>,
    pub(crate) idempotency: Option<Idempotency>,
}

/// An idempotency key, and the request that it belongs to.
pub(crate) struct Idempotency {
    key: String,
    /// Never stored as it is: a secret among the options could be guessed from it.
    request_hash: String,
}

impl LaunchRequest {
    fn cluster(&self, number: u64) -> ClusterId {
        ClusterDn { user: self.user.clone(), product: self.product.clone(), number }.into()
    }
}

impl Idempotency {
    pub(crate) fn new(key: &str, path: &str, body: &[u8]) -> Result<Self, ApiError> {
        if key.is_empty() || key.len() > KEY_MAX || !key.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
            let detail = format!("an Idempotency-Key has 1 to {KEY_MAX} printable ASCII characters");
            return Err(ApiError::new(ProblemCode::InvalidField, detail));
        }
        let request_hash = sha256_hex(&[path.as_bytes(), b"\n", body].concat());
        Ok(Self { key: key.to_owned(), request_hash })
    }
}

/// Stores a new cluster, its events and the reply in one transaction.
pub(crate) async fn launch(registry: &Registry, request: LaunchRequest) -> Result<Launched, ApiError> {
    if let Some(reply) = replayed(registry, &request).await? {
        return Ok(reply);
    }
    let _lane = registry.lane((&request.user, &request.product)).await;
    for attempt in 0..NUMBER_ATTEMPTS {
        let launched = if attempt < UNHELD_ATTEMPTS || !registry.db.is_postgres() {
            let number = store::identity::next_number(&registry.db, &request.user, &request.product).await?;
            let id = request.cluster(number);
            let plan = plan(registry, &request, &id).await?;
            store_plan(registry, registry.db.begin().await?, &request, &id, plan).await?
        } else {
            // Only one launch of this process holds a connection while it renders.
            let _turn = registry.holding.lock().await;
            let mut tx = registry.db.begin().await?;
            let id = request.cluster(store::identity::hold_number(&mut tx, &request.user, &request.product).await?);
            let plan = plan(registry, &request, &id).await?;
            store_plan(registry, tx, &request, &id, plan).await?
        };
        if let Some(launched) = launched {
            registry.changed(&launched.id);
            return Ok(launched);
        }
        // Another replica took the number, or answered the same request.
        if let Some(reply) = replayed(registry, &request).await? {
            return Ok(reply);
        }
    }
    Err(ApiError::new(ProblemCode::TooManyRequests, "too many launches of this product at once; try again"))
}

/// What would be launched.
pub(crate) async fn dry_run(registry: &Registry, request: LaunchRequest) -> Result<DryRun, ApiError> {
    let id = request.cluster(store::identity::next_number(&registry.db, &request.user, &request.product).await?);
    let plan = plan(registry, &request, &id).await?;
    let options = plan.options.masked();
    Ok(DryRun { blueprint: plan.read.blueprint, options, warnings: plan.read.warnings, fits: None })
}

async fn replayed(registry: &Registry, request: &LaunchRequest) -> Result<Option<Launched>, ApiError> {
    let Some(idempotency) = &request.idempotency else { return Ok(None) };
    let Some(remembered) = store::idempotency::find(&registry.db, &request.user, &idempotency.key).await? else {
        return Ok(None);
    };
    let place = hash_place(&request.user, &idempotency.key);
    // A hash that was stored as it is comes from an older release, and is forgotten within a day.
    let hash = registry.vault.open(&place, &remembered.request_hash).unwrap_or(remembered.request_hash);
    if hash != idempotency.request_hash {
        let detail = "this Idempotency-Key was sent with another request; use a new key for a new request";
        return Err(ApiError::new(ProblemCode::IdempotencyConflict, detail));
    }
    serde_json::from_str(&remembered.reply).map(Some).map_err(ApiError::internal)
}

/// The product, or 404.
pub(crate) async fn find_product(registry: &Registry, product: &ProductRef) -> Result<Product, ApiError> {
    store::products::find(&registry.db, product).await?.ok_or_else(|| unknown_product(product))
}

pub(crate) fn unknown_product(product: &ProductRef) -> ApiError {
    let detail = format!("there is no product {product}; GET {PREFIX}/products lists those there are");
    ApiError::new(ProblemCode::UnknownProduct, detail)
}

pub(crate) fn render_error(error: RenderError) -> ApiError {
    match error {
        RenderError::Template(words) => {
            ApiError::new(ProblemCode::TemplateFailed, format!("the product's template does not render: {words}"))
        }
        RenderError::Busy => {
            ApiError::new(ProblemCode::TooManyRequests, "too many templates are being rendered; try again")
        }
        RenderError::Child(_) => ApiError::internal(error),
    }
}

/// None where the number or the idempotency key was taken meanwhile: then nothing is stored.
async fn store_plan(
    registry: &Registry,
    mut tx: Tx,
    request: &LaunchRequest,
    id: &ClusterId,
    plan: Plan,
) -> Result<Option<Launched>, ApiError> {
    let now = registry.clock.now();
    if !store::identity::take_number(&mut tx, &request.user, &request.product, id.dn().number).await? {
        return Ok(None);
    }
    // Launching and deleting a product exclude each other.
    if !store::products::keep(&mut tx, &request.product).await? {
        return Err(unknown_product(&request.product));
    }
    let warnings = plan.read.warnings.clone();
    let cluster = cluster(id, &plan, now);
    let specification = specification(id, &plan);
    store::clusters::insert(&mut tx, &cluster).await?;
    store::clusters::insert_revision(&mut tx, &specification).await?;
    for (name, value) in &plan.options.secrets {
        let sealed = registry.vault.seal(&secret_place(id, name), value);
        store::clusters::insert_secret(&mut tx, id, name, &sealed).await?;
    }
    store::nodes::insert(&mut tx, id, &specification.blueprint).await?;
    let mut course = Course::new(&mut tx, cluster, now);
    let operation = course.begin_operation(OperationKind::Launch);
    course.log("status", None, "registered".to_owned());
    let deadline = course.cluster.deadline_at;
    course.change_operation(|operation| operation.deadline = deadline).await?;
    course.emit(Event::ClusterRegistered {})?;
    course.store().await?;
    let launched = Launched {
        url: format!("{PREFIX}/queue/{operation}"),
        dn: id.dn().clone(),
        id: id.clone(),
        status: ClusterStatus::Registered,
        operation,
        warnings,
    };
    if let Some(Idempotency { key, request_hash }) = &request.idempotency {
        let reply = serde_json::to_string(&launched).map_err(ApiError::internal)?;
        let sealed = registry.vault.seal(&hash_place(&request.user, key), request_hash);
        let remembered = Remembered { request_hash: sealed, reply };
        if !store::idempotency::remember(&mut tx, &request.user, key, &remembered, now).await? {
            return Ok(None);
        }
    }
    tx.commit().await?;
    Ok(Some(launched))
}

fn hash_place(user: &Name, key: &str) -> String {
    format!("idempotency_keys/{user}/{key}")
}

/// Where a secret's sealed text belongs.
pub(crate) fn secret_place(id: &ClusterId, name: &str) -> String {
    format!("secrets/{id}/{name}")
}
