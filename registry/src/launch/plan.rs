//! What a launch would make: options checked, template rendered, blueprint read. Nothing is stored.

use super::{LaunchRequest, render_error, rights, unless_it_comes};
use crate::actions::Actions;
use crate::backups;
use crate::blueprint::{self, Read};
use crate::cluster::wanted::{NewRevision, Terms};
use crate::options::{Declaration, Resolved};
use crate::product::Product;
use crate::registry::Registry;
use crate::store::launches::Ground;
use crate::template::Context;
use bigdata_chassis::http::ApiError;
use bigdata_common::api::problem::{Fault, ProblemCode};
use bigdata_common::internal::Specification;
use bigdata_common::status::Termination;
use bigdata_common::{BackupId, ClusterId};

/// Everything about a cluster but its number's being its own.
pub(super) struct Plan {
    pub(super) product: Product,
    /// Whether the product is kept for clusters as it is here.
    pub(super) content_is_kept: bool,
    pub(super) options: Resolved,
    pub(super) read: Read,
    pub(super) actions: Actions,
    pub(super) backups: Vec<BackupId>,
    pub(super) termination: Termination,
}

/// Plans a launch as the cluster of this id.
pub(super) async fn plan(
    registry: &Registry,
    request: &LaunchRequest,
    ground: Ground,
    id: &ClusterId,
) -> Result<Plan, ApiError> {
    let Ground { product, content_is_kept, number: _ } = ground;
    if product.template.is_none() {
        return Err(without_template(registry, &product));
    }
    let declaration = declaration(&product)?;
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
    let asker = backups::Asker { user: &request.user, administrator: request.administrator };
    let backups = backups::named(registry, &declaration, &options.context, &request.product.name, &asker).await?;
    let actions = actions(&product, &declaration, &options)?;
    let read = render(registry, &product, &declaration, &options, id).await?;
    let termination = wanted.or(read.termination).unwrap_or(registry.settings.termination);
    Ok(Plan { product, content_is_kept, options, read, actions, backups, termination })
}

fn without_template(registry: &Registry, product: &Product) -> ApiError {
    let detail = format!("the product {} has no template yet; PUT …/template first", product.reference);
    unless_it_comes(registry, ApiError::new(ProblemCode::ProductIncomplete, detail))
}

/// What a product declares of its options.
pub(crate) fn declaration(product: &Product) -> Result<Declaration, ApiError> {
    product.declaration().map_err(|faults| {
        ApiError::with_faults(ProblemCode::ProductIncomplete, "the product's options are no declaration", faults)
    })
}

/// What its script can be asked for with these options.
pub(crate) fn actions(product: &Product, declaration: &Declaration, options: &Resolved) -> Result<Actions, ApiError> {
    let actions = product.declared_actions(declaration).map_err(|faults| {
        let first = faults.first().map(|fault| format!("{}: {}", fault.pointer, fault.detail)).unwrap_or_default();
        let detail = format!("the product's actions do not go with its options: {first}");
        ApiError::with_faults(ProblemCode::ProductIncomplete, detail, faults)
    })?;
    actions.resolve(&options.open()).map_err(invalid_options)
}

/// What the template renders to with these options, as far as the product has the rights to it.
pub(crate) async fn render(
    registry: &Registry,
    product: &Product,
    declaration: &Declaration,
    options: &Resolved,
    id: &ClusterId,
) -> Result<Read, ApiError> {
    let read = read(registry, product, declaration, options, id).await?;
    rights::check(product, &read.needed)?;
    Ok(read)
}

/// What the template renders to, whatever rights that takes.
pub(super) async fn read(
    registry: &Registry,
    product: &Product,
    declaration: &Declaration,
    options: &Resolved,
    id: &ClusterId,
) -> Result<Read, ApiError> {
    let Some(template) = &product.template else { return Err(without_template(registry, product)) };
    let context = Context {
        opts: options.context.clone(),
        user: id.dn().user.to_string(),
        product: product.reference.name.to_string(),
        version: product.reference.version.to_string(),
        clusterdn: id.dn().to_string(),
        clusterid: id.to_string(),
    };
    let rendered = registry.renderer.render(template, product.language, declaration.strict, context).await;
    let (document, warnings) = rendered.map_err(render_error)?;
    let mut read = blueprint::read(&document, id, &options.secret_names()).map_err(|faults| {
        let first = faults.first().map(|fault| format!("{}: {}", fault.pointer, fault.detail)).unwrap_or_default();
        let detail = match faults.len() {
            1 => format!("the rendered template has 1 fault, at {first}"),
            count => format!("the rendered template has {count} faults, the first at {first}"),
        };
        ApiError::with_faults(ProblemCode::InvalidBlueprint, detail, faults)
    })?;
    read.life.has_script = product.orchestrator.is_some();
    read.warnings.splice(0..0, warnings);
    Ok(read)
}

pub(crate) fn invalid_options(faults: Vec<Fault>) -> ApiError {
    let words: Vec<String> = faults.iter().map(|fault| fault.detail.clone()).collect();
    ApiError::with_faults(ProblemCode::InvalidOptions, words.join("; "), faults)
}

/// A revision of the cluster, its first one by its number.
pub(crate) fn revision(
    id: &ClusterId,
    product: &Product,
    options: &Resolved,
    read: &Read,
    actions: Actions,
) -> NewRevision {
    let specification = Specification {
        cluster: id.clone(),
        revision: 1,
        product: product.reference.clone(),
        product_revision: product.revision.clone(),
        blueprint: read.blueprint.clone(),
        options: options.open(),
        orchestrator: product.orchestrator.clone().unwrap_or_default(),
        reach_network: product.reach_network,
        run_deadline_ms: read.life.start_ms,
    };
    let (options, life) = (options.masked(), read.life.clone());
    NewRevision { specification, terms: Terms { options, life, actions, stand_ins: Default::default() } }
}
