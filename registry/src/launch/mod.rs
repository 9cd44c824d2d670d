//! From a product and a flat map of options to a stored cluster.

mod engines;
pub(crate) mod plan;
pub(crate) mod rights;
mod trial;

pub(crate) use trial::trial;

use crate::cluster::birth;
use crate::idempotency::Idempotency;
use crate::product::Product;
use crate::registry::Registry;
use crate::store;
use crate::store::launches::Ground;
use crate::template::RenderError;
use bigdata_chassis::Tx;
use bigdata_chassis::http::ApiError;
use bigdata_chassis::readiness::CATALOG;
use bigdata_common::api::PREFIX;
use bigdata_common::api::cluster::{DryRun, Launched};
use bigdata_common::api::problem::ProblemCode;
use bigdata_common::status::ClusterStatus;
use bigdata_common::{ClusterDn, ClusterId, Name, ProductRef};
use plan::{Plan, plan};
use serde_json::{Map, Value};

/// How often a launch whose number was taken by another replica is tried again.
const NUMBER_ATTEMPTS: u32 = 20;
/// So often without holding the number: holding it keeps other replicas' launches waiting while the template is rendered.
const UNHELD_ATTEMPTS: u32 = 3;

/// What a launch asks for.
pub(crate) struct LaunchRequest {
    pub(crate) user: Name,
    /// Whether backups of others may be named.
    pub(crate) administrator: bool,
    pub(crate) product: ProductRef,
    pub(crate) options: Map<String, Value>,
    pub(crate) idempotency: Option<Idempotency>,
}

impl LaunchRequest {
    fn cluster(&self, number: u64) -> ClusterId {
        ClusterDn { user: self.user.clone(), product: self.product.clone(), number }.into()
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
            let ground = ground(registry, &request).await?;
            let id = request.cluster(ground.number);
            let plan = plan_for_now(registry, &request, ground, &id).await?;
            store_plan(registry, None, &request, &id, plan).await?
        } else {
            // Only one launch of this process holds a connection while it renders.
            let _turn = registry.holding.lock().await;
            let mut tx = registry.db.begin().await?;
            let id = request.cluster(store::identity::hold_number(&mut tx, &request.user, &request.product).await?);
            let ground = ground(registry, &request).await?;
            let plan = plan_for_now(registry, &request, ground, &id).await?;
            store_plan(registry, Some(tx), &request, &id, plan).await?
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

/// Plans a launch that some agent can run, as far as that is known.
async fn plan_for_now(
    registry: &Registry,
    request: &LaunchRequest,
    ground: Ground,
    id: &ClusterId,
) -> Result<Plan, ApiError> {
    let plan = plan(registry, request, ground, id).await?;
    match engines::lacking(registry, &plan.read.blueprint).await? {
        Some(lacking) => Err(lacking.refusal()),
        None => Ok(plan),
    }
}

/// What would be launched.
pub(crate) async fn dry_run(registry: &Registry, request: LaunchRequest) -> Result<DryRun, ApiError> {
    let ground = ground(registry, &request).await?;
    let id = request.cluster(ground.number);
    let plan = plan(registry, &request, ground, &id).await?;
    let options = plan.options.masked();
    let mut warnings = plan.read.warnings;
    warnings.extend(engines::lacking(registry, &plan.read.blueprint).await?.map(|lacking| lacking.words()));
    Ok(DryRun { blueprint: plan.read.blueprint, options, warnings, fits: None })
}

async fn replayed(registry: &Registry, request: &LaunchRequest) -> Result<Option<Launched>, ApiError> {
    match &request.idempotency {
        Some(idempotency) => idempotency.replayed(registry, &request.user).await,
        None => Ok(None),
    }
}

/// The product and the next number, or 404.
async fn ground(registry: &Registry, request: &LaunchRequest) -> Result<Ground, ApiError> {
    let ground = store::launches::ground(&registry.db, &request.user, &request.product).await?;
    ground.ok_or_else(|| unknown_product(registry, &request.product))
}

/// The product, or 404.
pub(crate) async fn find_product(registry: &Registry, product: &ProductRef) -> Result<Product, ApiError> {
    store::products::find(&registry.db, product).await?.ok_or_else(|| unknown_product(registry, product))
}

pub(crate) fn unknown_product(registry: &Registry, product: &ProductRef) -> ApiError {
    let detail = format!("there is no product {product}; GET {PREFIX}/products lists those there are");
    unless_it_comes(registry, ApiError::new(ProblemCode::UnknownProduct, detail))
}

/// What a product that is not there, or lacks a part, is answered with: while the catalog is being loaded it may still come.
pub(crate) fn unless_it_comes(registry: &Registry, missing: ApiError) -> ApiError {
    if !registry.readiness.lacks(CATALOG) {
        return missing;
    }
    let detail = format!(
        "the catalog is being loaded: the products that come with the platform are being registered; try again in a moment \
         (until now: {})",
        missing.problem().detail
    );
    ApiError::new(ProblemCode::ServiceUnavailable, detail)
}

pub(crate) fn render_error(error: RenderError) -> ApiError {
    match error {
        RenderError::Template(words) => {
            ApiError::new(ProblemCode::TemplateFailed, format!("the product's template does not render: {words}"))
        }
        RenderError::Busy => {
            ApiError::new(ProblemCode::TooManyRequests, "the machine has no time for templates now; try again")
        }
        RenderError::Child(_) => ApiError::internal(error),
    }
}

/// None where the number or the idempotency key was taken meanwhile, or the product has gone: then nothing is stored.
async fn store_plan(
    registry: &Registry,
    holding: Option<Tx>,
    request: &LaunchRequest,
    id: &ClusterId,
    plan: Plan,
) -> Result<Option<Launched>, ApiError> {
    let now = registry.clock.now();
    let warnings = plan.read.warnings.clone();
    let first = plan::revision(id, &plan.product, &plan.options, &plan.read, plan.actions);
    let (cluster, operation, written) = birth::registered(id, &first, plan.termination, now)?;
    let launched = Launched {
        url: format!("{PREFIX}/queue/{operation}"),
        dn: id.dn().clone(),
        id: id.clone(),
        status: ClusterStatus::Registered,
        operation,
        warnings,
    };
    let seal = |(name, value): (&String, &String)| (name.clone(), registry.vault.seal(&secret_place(id, name), value));
    let reply = request.idempotency.as_ref().map(|it| it.reply(registry, &request.user, &launched)).transpose()?;
    let launch = store::launches::Launch {
        first: &first,
        content: (!plan.content_is_kept).then_some(&plan.product),
        backups: &plan.backups,
        secrets: plan.options.secrets.iter().map(seal).collect(),
        written,
        reply,
    };
    Ok(store::launches::insert(&registry.db, holding, &cluster, launch).await?.then_some(launched))
}

/// Where a secret's sealed text belongs.
pub(crate) fn secret_place(id: &ClusterId, name: &str) -> String {
    format!("secrets/{id}/{name}")
}
