//! The style sheet, the script and the icon of the pages.

use actix_web::HttpResponse;
use actix_web::http::header::CACHE_CONTROL;
use bigdata_chassis::http::ApiError;
use bigdata_common::api::problem::ProblemCode;

/// An asset by its file name.
///
/// # Errors
/// 404 for another name.
pub(crate) fn answer(file: &str) -> Result<HttpResponse, ApiError> {
    let (kind, text) = match file {
        "style.css" => ("text/css; charset=utf-8", include_str!("../../assets/style.css")),
        "live.js" => ("text/javascript; charset=utf-8", include_str!("../../assets/live.js")),
        "icon.svg" => ("image/svg+xml", include_str!("../../assets/icon.svg")),
        _ => return Err(ApiError::new(ProblemCode::UnknownRoute, format!("there is no asset {file:?}"))),
    };
    Ok(HttpResponse::Ok().content_type(kind).insert_header((CACHE_CONTROL, "no-cache")).body(text))
}
