//! The parts of a product: template, options, actions, script, logo, reach. PUT takes the text as it stands, whatever its content
//! type; each accepted change makes a new revision.

use super::path::{self, ProductPath};
use super::{container_rights, product_actions};
use crate::launch::{find_product, render_error, trial, unknown_product};
use crate::options::Declaration;
use crate::product::{Product, script};
use crate::registry::Registry;
use crate::store;
use crate::template::{Language, SOURCE_MAX};
use actix_web::http::header::{ACCEPT, CONTENT_TYPE};
use actix_web::web::{self, Bytes, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use bigdata_chassis::http::{ApiError, Caller};
use bigdata_common::Role;
use bigdata_common::api::problem::ProblemCode;
use serde_json::{Value, json};

/// The largest declaration of options, in bytes.
const OPTIONS_MAX: usize = 256 * 1024;

pub(super) fn routes(config: &mut ServiceConfig) {
    let part = |path: &str| web::resource(format!("/products/{{name}}/{{version}}/{path}"));
    config
        .service(part("template").route(web::get().to(get_template)).route(web::put().to(put_template)))
        .service(part("options").route(web::get().to(get_options)).route(web::put().to(put_options)))
        .service(part("actions").route(web::get().to(product_actions::get)).route(web::put().to(product_actions::put)))
        .service(part("orchestrator").route(web::get().to(get_script)).route(web::put().to(put_script)))
        // As the older system spelled it at first.
        .service(part("orquestrator").route(web::get().to(get_script)).route(web::put().to(put_script)))
        .service(part("logo_url").route(web::get().to(get_logo)).route(web::put().to(put_logo)))
        .service(part("reach").route(web::get().to(get_reach)).route(web::put().to(put_reach)))
        .service(
            part("container-rights")
                .route(web::get().to(container_rights::get))
                .route(web::put().to(container_rights::put)),
        );
}

pub(super) fn text(body: &Bytes, most: usize) -> Result<String, ApiError> {
    if body.len() > most {
        return Err(ApiError::new(ProblemCode::BodyTooLarge, format!("at most {most} bytes are taken here")));
    }
    match std::str::from_utf8(body) {
        Ok(text) if !text.contains('\0') => Ok(text.strip_prefix('\u{feff}').unwrap_or(text).to_owned()),
        _ => Err(ApiError::new(ProblemCode::MalformedBody, "a text in UTF-8 is wanted, without NUL")),
    }
}

pub(super) async fn change(
    registry: &Registry,
    path: &ProductPath,
    change: impl FnOnce(&mut Product),
) -> Result<HttpResponse, ApiError> {
    let reference = path::product(path)?;
    let mut tx = registry.db.begin().await?;
    let product = store::products::lock(&mut tx, &reference).await?;
    let mut product = product.ok_or_else(|| unknown_product(registry, &reference))?;
    change(&mut product);
    product.seal();
    store::products::update(&mut tx, &product).await?;
    tx.commit().await?;
    Ok(HttpResponse::NoContent().finish())
}

/// A JSON string as the older system has it, or the text itself for who asks for text.
pub(super) fn answer(request: &HttpRequest, text: String) -> HttpResponse {
    if wants_text(request) {
        HttpResponse::Ok().content_type("text/plain; charset=utf-8").body(text)
    } else {
        HttpResponse::Ok().json(text)
    }
}

pub(super) fn wants_text(request: &HttpRequest) -> bool {
    let accept = request.headers().get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    accept.trim_start().starts_with("text/")
}

fn missing(what: &str) -> ApiError {
    ApiError::new(ProblemCode::UnknownRoute, format!("the product has no {what} yet; PUT one to this address"))
}

async fn put_template(
    registry: Data<Registry>,
    caller: Caller,
    path: ProductPath,
    request: HttpRequest,
    body: Bytes,
) -> Result<HttpResponse, ApiError> {
    caller.require(Role::Publisher)?;
    let mut product = find_product(&registry, &path::product(&path)?).await?;
    let source = text(&body, SOURCE_MAX)?;
    let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let language = if kind.to_ascii_lowercase().contains("yaml") { Language::Yaml } else { Language::Json };
    registry.renderer.check(&source, language).await.map_err(render_error)?;
    (product.template, product.language) = (Some(source.clone()), language);
    let needed = trial(&registry, &product, &caller.0.user).await?;
    let now = registry.clock.now();
    change(&registry, &path, |product| {
        product.set_template(source, language, &caller.0, now);
        product.container_rights.needed = needed.unwrap_or_default();
    })
    .await
}

async fn get_template(
    registry: Data<Registry>,
    _caller: Caller,
    path: ProductPath,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let product = find_product(&registry, &path::product(&path)?).await?;
    product.template.map(|template| answer(&request, template)).ok_or_else(|| missing("template"))
}

async fn put_options(
    registry: Data<Registry>,
    caller: Caller,
    path: ProductPath,
    body: Bytes,
) -> Result<HttpResponse, ApiError> {
    caller.require(Role::Publisher)?;
    let options = text(&body, OPTIONS_MAX)?;
    if let Err(faults) = Declaration::parse(&options) {
        let first = faults.first().map(|fault| format!("{} {}", fault.pointer, fault.detail)).unwrap_or_default();
        let detail = format!("the options are no declaration: {first}");
        return Err(ApiError::with_faults(ProblemCode::InvalidField, detail, faults));
    }
    let mut product = find_product(&registry, &path::product(&path)?).await?;
    product.options = Some(options.clone());
    let needed = trial(&registry, &product, &caller.0.user).await?;
    let now = registry.clock.now();
    change(&registry, &path, |product| {
        product.set_options(options, &caller.0, now);
        product.container_rights.needed = needed.unwrap_or_default();
    })
    .await
}

async fn get_options(
    registry: Data<Registry>,
    _caller: Caller,
    path: ProductPath,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let product = find_product(&registry, &path::product(&path)?).await?;
    let Some(options) = product.options else {
        return Ok(HttpResponse::Ok().json(json!({"required": {}, "optional": {}, "advanced": {}, "descriptions": {}})));
    };
    if wants_text(&request) {
        return Ok(answer(&request, options));
    }
    let options: Value = serde_json::from_str(&options).map_err(ApiError::internal)?;
    Ok(HttpResponse::Ok().json(options))
}

async fn put_script(
    registry: Data<Registry>,
    caller: Caller,
    path: ProductPath,
    body: Bytes,
) -> Result<HttpResponse, ApiError> {
    caller.require(Role::Publisher)?;
    let source = text(&body, script::SCRIPT_MAX)?;
    let source = (!source.trim().is_empty()).then_some(source);
    if let Some(source) = &source {
        script::check(source, &registry.settings.interpreters)
            .map_err(|why| ApiError::new(ProblemCode::InvalidOrchestrator, why))?;
    }
    let now = registry.clock.now();
    change(&registry, &path, |product| product.set_orchestrator(source, &caller.0, now)).await
}

async fn get_script(
    registry: Data<Registry>,
    _caller: Caller,
    path: ProductPath,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let product = find_product(&registry, &path::product(&path)?).await?;
    product.orchestrator.map(|script| answer(&request, script)).ok_or_else(|| missing("orchestrator"))
}

async fn put_logo(
    registry: Data<Registry>,
    caller: Caller,
    path: ProductPath,
    body: Bytes,
) -> Result<HttpResponse, ApiError> {
    const LOGO_MAX: usize = 4096;
    caller.require(Role::Publisher)?;
    let text = text(&body, LOGO_MAX)?;
    // The older system wants {"logo_url": …}; a JSON string and the bare address are as clear.
    let logo_url = match serde_json::from_str::<Value>(&text) {
        Ok(Value::String(logo_url)) => logo_url,
        Ok(Value::Object(fields)) => match fields.get("logo_url") {
            Some(Value::String(logo_url)) => logo_url.clone(),
            _ => return Err(ApiError::new(ProblemCode::InvalidField, "the field logo_url is wanted, a text")),
        },
        Ok(_) => return Err(ApiError::new(ProblemCode::InvalidField, "the address of a picture is wanted")),
        Err(_) => text.trim().to_owned(),
    };
    change(&registry, &path, |product| product.logo_url = logo_url).await
}

async fn get_logo(
    registry: Data<Registry>,
    _caller: Caller,
    path: ProductPath,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let product = find_product(&registry, &path::product(&path)?).await?;
    Ok(answer(&request, product.logo_url))
}

async fn put_reach(
    registry: Data<Registry>,
    caller: Caller,
    path: ProductPath,
    body: Bytes,
) -> Result<HttpResponse, ApiError> {
    const REACH_MAX: usize = 64;
    // What a script may reach is the operator's to say, not its author's.
    caller.require(Role::Admin)?;
    let text = text(&body, REACH_MAX)?;
    let network = match text.trim().trim_matches('"') {
        "network" => true,
        "socket" => false,
        _ => return Err(ApiError::new(ProblemCode::InvalidField, "network or socket is wanted")),
    };
    change(&registry, &path, |product| product.reach_network = network).await
}

async fn get_reach(
    registry: Data<Registry>,
    _caller: Caller,
    path: ProductPath,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let product = find_product(&registry, &path::product(&path)?).await?;
    Ok(answer(&request, if product.reach_network { "network" } else { "socket" }.to_owned()))
}
