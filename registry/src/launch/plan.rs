//! What a launch would make: options checked, template rendered, blueprint read. Nothing is stored.

use super::{LaunchRequest, find_product, render_error};
use crate::blueprint::{self, Read};
use crate::cluster::record::{Cluster, Observed};
use crate::lifecycle::State;
use crate::options::Resolved;
use crate::product::Product;
use crate::registry::Registry;
use crate::template::Context;
use bigdata_chassis::http::ApiError;
use bigdata_common::api::cluster::PhaseView;
use bigdata_common::api::problem::{Fault, ProblemCode};
use bigdata_common::internal::{Desired, Specification};
use bigdata_common::status::{ClusterStatus, Health, Termination};
use bigdata_common::{ClusterId, Timestamp};

/// Everything about a cluster but its number's being its own.
pub(super) struct Plan {
    pub(super) product: Product,
    pub(super) options: Resolved,
    pub(super) read: Read,
    pub(super) termination: Termination,
}

/// Plans a launch as the cluster of this id.
pub(super) async fn plan(registry: &Registry, request: &LaunchRequest, id: &ClusterId) -> Result<Plan, ApiError> {
    let product = find_product(registry, &request.product).await?;
    let Some(template) = &product.template else {
        let detail = format!("the product {} has no template yet; PUT …/template first", request.product);
        return Err(ApiError::new(ProblemCode::ProductIncomplete, detail));
    };
    let declaration = product.declaration().map_err(|faults| {
        ApiError::with_faults(ProblemCode::ProductIncomplete, "the product's options are no declaration", faults)
    })?;
    let mut options = request.options.clone();
    // A product that declares an option of this name gets it.
    let reserved =
        if declaration.options.contains_key("termination") { None } else { options.shift_remove("termination") };
    let mut faults = Vec::new();
    let wanted = reserved.and_then(|value| {
        let policy = value.as_str().and_then(|text| text.parse::<Termination>().ok());
        if policy.is_none() {
            faults.push(Fault::new("/termination", "do-not-terminate, keep-data or wipe is wanted"));
        }
        policy
    });
    let options = match declaration.resolve(&options) {
        Ok(options) if faults.is_empty() => options,
        Ok(_) => return Err(invalid_options(faults)),
        Err(more) => {
            faults.extend(more);
            return Err(invalid_options(faults));
        }
    };
    let context = Context {
        opts: options.context.clone(),
        user: request.user.to_string(),
        product: request.product.name.to_string(),
        version: request.product.version.to_string(),
        clusterdn: id.dn().to_string(),
        clusterid: id.to_string(),
    };
    let rendered = registry.renderer.render(template, product.language, declaration.strict, context).await;
    let (document, warnings) = rendered.map_err(render_error)?;
    let secrets = options.secrets.keys().cloned().collect();
    let mut read = blueprint::read(&document, id, &secrets).map_err(|faults| {
        let first = faults.first().map(|fault| format!("{}: {}", fault.pointer, fault.detail)).unwrap_or_default();
        let detail = match faults.len() {
            1 => format!("the rendered template has 1 fault, at {first}"),
            count => format!("the rendered template has {count} faults, the first at {first}"),
        };
        ApiError::with_faults(ProblemCode::InvalidBlueprint, detail, faults)
    })?;
    read.life.has_script = product.orchestrator.is_some();
    read.warnings.splice(0..0, warnings);
    let termination = wanted.or(read.termination).unwrap_or(registry.settings.termination);
    Ok(Plan { product, options, read, termination })
}

fn invalid_options(faults: Vec<Fault>) -> ApiError {
    let words: Vec<String> = faults.iter().map(|fault| fault.detail.clone()).collect();
    ApiError::with_faults(ProblemCode::InvalidOptions, words.join("; "), faults)
}

/// The cluster as it is stored first.
pub(super) fn cluster(id: &ClusterId, plan: &Plan, now: Timestamp) -> Cluster {
    let limit = i64::try_from(plan.read.life.placement_ms).unwrap_or(i64::MAX);
    Cluster {
        id: id.clone(),
        dnsname: plan.read.blueprint.dnsname.clone(),
        state: State::Registered,
        life: plan.read.life.clone(),
        revision: 1,
        generation: 1,
        desired: Desired::Run,
        termination: plan.termination,
        run: None,
        deadline_at: Some(now.plus_millis(limit)),
        waiting: Vec::new(),
        operation: None,
        created_at: now,
        sequence: 0,
        phases: vec![PhaseView { status: ClusterStatus::Registered, at: now, took_ms: 0 }],
        product_revision: plan.product.revision.clone(),
        options: plan.options.masked(),
        health: Observed { health: Health::Unknown, reasons: Vec::new(), at: None },
        nodes_since: 1,
        nodes: u32::try_from(plan.read.blueprint.nodes.len()).unwrap_or(u32::MAX),
        nodes_running: 0,
        attempts: 0,
        configured_attempts: 0,
    }
}

/// Its first revision.
pub(super) fn specification(id: &ClusterId, plan: &Plan) -> Specification {
    Specification {
        cluster: id.clone(),
        revision: 1,
        product: plan.product.reference.clone(),
        product_revision: plan.product.revision.clone(),
        blueprint: plan.read.blueprint.clone(),
        options: plan.options.open(),
        orchestrator: plan.product.orchestrator.clone().unwrap_or_default(),
        reach_network: plan.product.reach_network,
        run_deadline_ms: plan.read.life.start_ms,
    }
}
