//! The pages: server-rendered from the public API's answers, then kept fresh by events; they work without script too.
//!
//! **Invariant:** a page asks the services what the public API would answer the same caller, and escapes all of it.

mod assets;
mod cluster;
mod docs;
mod errors;
mod index;
mod source;
pub(crate) mod stream;
mod timeline;
mod words;

use crate::routes::Own;
use crate::state::State;
use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY};
use actix_web::{HttpRequest, HttpResponse, web};
use bigdata_chassis::http::ApiError;
use bigdata_common::Principal;
use bigdata_common::api::problem::{Problem, ProblemCode};
use bigdata_common::id::InvalidClusterName;
use serde::Serialize;
use tera::{Context, Kwargs, Tera};

/// Our pages load script, style and events from here, and nothing from anywhere else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const TEMPLATES: &[(&str, &str)] = &[
    ("base.html", include_str!("../../templates/base.html")),
    ("row.html", include_str!("../../templates/row.html")),
    ("index.html", include_str!("../../templates/index.html")),
    ("cluster.html", include_str!("../../templates/cluster.html")),
    ("docs.html", include_str!("../../templates/docs.html")),
    ("errors.html", include_str!("../../templates/errors.html")),
    ("error.html", include_str!("../../templates/error.html")),
    ("problem.html", include_str!("../../templates/problem.html")),
];

/// The templates, and what is rendered once.
#[derive(Debug)]
pub(crate) struct Pages {
    tera: Tera,
}

impl Pages {
    /// Reads the templates.
    ///
    /// # Errors
    /// When one does not parse.
    pub(crate) fn new() -> Result<Self, tera::Error> {
        let mut tera = Tera::default();
        tera.autoescape_on(vec![".html"]);
        tera.register_filter("clock", |iso: &str, _: Kwargs, _: &tera::State| {
            iso.get(11..19).unwrap_or(iso).to_owned()
        });
        tera.register_filter("stream", |name: &str, _: Kwargs, _: &tera::State| words::stream_class(name).to_owned());
        tera.add_raw_templates(TEMPLATES.iter().copied())?;
        Ok(Self { tera })
    }

    /// Renders a template with the fields of `view`.
    ///
    /// # Errors
    /// When the template and the view do not fit.
    pub(crate) fn render(&self, template: &str, view: &impl Serialize) -> Result<String, tera::Error> {
        self.tera.render(template, &Context::from_serialize(view)?)
    }

    fn page(&self, status: StatusCode, template: &str, view: &impl Serialize) -> Result<HttpResponse, ApiError> {
        let text = self.render(template, view).map_err(ApiError::internal)?;
        Ok(HttpResponse::build(status)
            .content_type("text/html; charset=utf-8")
            .insert_header((CONTENT_SECURITY_POLICY, POLICY))
            .insert_header((CACHE_CONTROL, "no-store"))
            .body(text))
    }

    /// A problem, for people.
    ///
    /// # Errors
    /// When the template fails.
    pub(crate) fn problem(&self, problem: &Problem) -> Result<HttpResponse, ApiError> {
        let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        self.page(status, "problem.html", problem)
    }
}

/// Answers a page, an asset, or what they are kept fresh by.
///
/// # Errors
/// When a template fails; a missing cluster or code is a page too.
pub(crate) async fn answer(
    page: Own,
    state: &web::Data<State>,
    request: &HttpRequest,
    principal: &Principal,
) -> Result<HttpResponse, ApiError> {
    let part = |name: &str| request.match_info().get(name).unwrap_or_default();
    match page {
        Own::Index => {
            let view = index::load(state, principal, index::shown(request)).await;
            state.pages.page(StatusCode::OK, "index.html", &view)
        }
        Own::IndexStream => Ok(stream::answer(state, principal, index::shown(request))),
        Own::ClusterPage => {
            let dn = format!("clusters/{}/{}/{}/{}", part("user"), part("product"), part("version"), part("n"));
            let loaded = match dn.parse() {
                Ok(dn) => cluster::load(state, principal, &dn).await,
                Err(error) => Err(no_cluster(&dn, &error)),
            };
            match loaded {
                Ok(view) => state.pages.page(StatusCode::OK, "cluster.html", &view),
                Err(problem) => state.pages.problem(&problem),
            }
        }
        Own::Docs => state.pages.page(StatusCode::OK, "docs.html", &docs::view()?),
        Own::ErrorKinds => state.pages.page(StatusCode::OK, "errors.html", &errors::all()),
        Own::ErrorKind => match errors::one(part("code")) {
            Some(view) => state.pages.page(StatusCode::OK, "error.html", &view),
            None => {
                let detail = format!("there is no error {:?}; /docs/errors lists them all", part("code"));
                state.pages.problem(&Problem::new(ProblemCode::UnknownRoute, detail))
            }
        },
        Own::OpenApi => Ok(HttpResponse::Ok().content_type("application/json").body(docs::OPENAPI)),
        Own::Asset => assets::answer(part("file")),
        Own::Health | Own::Ready | Own::Metrics | Own::Invariants | Own::Orphans | Own::Parked => {
            Err(ApiError::internal("this is no page"))
        }
    }
}

fn no_cluster(dn: &str, error: &InvalidClusterName) -> Problem {
    Problem::new(ProblemCode::UnknownCluster, format!("there is no cluster {dn:?}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_parse_and_escape() {
        let pages = Pages::new().unwrap();
        let hostile = Problem::new(ProblemCode::UnknownCluster, "<script>\"'&");
        let text = pages.render("problem.html", &hostile).unwrap();
        assert!(!text.contains("<script>\""), "{text}");
        assert!(text.contains("&lt;script&gt;"), "{text}");
    }
}
