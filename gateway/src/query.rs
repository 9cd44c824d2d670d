//! Queries of addresses that the gateway answers itself.

use bigdata_chassis::http::ApiError;
use bigdata_common::api::problem::ProblemCode;

/// A parameter's name and the values that it may have.
pub(crate) type Parameter = (&'static str, &'static [&'static str]);

/// Refuses a query that says anything else than these parameters do: a misspelt one would be ignored otherwise.
///
/// # Errors
/// 400 with what was meant to be read.
pub(crate) fn check(known: Option<&[Parameter]>, query: &str) -> Result<(), ApiError> {
    let Some(known) = known else { return Ok(()) };
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let detail = match known.iter().find(|(known, _)| *known == name) {
            Some((_, values)) if values.contains(&value) => continue,
            Some((_, values)) => format!("the parameter {name} may be {}, not {value:?}", values.join(" or ")),
            None if known.is_empty() => format!("this address takes no parameters, and {name:?} is one"),
            None => {
                let names: Vec<&str> = known.iter().map(|(known, _)| *known).collect();
                format!("{name:?} is no parameter of this address; it takes {}", names.join(", "))
            }
        };
        return Err(ApiError::new(ProblemCode::InvalidPath, detail));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_meant_is_named() {
        let known: &[Parameter] = &[("destroyed", &["show"])];
        assert!(check(Some(known), "destroyed=show").is_ok());
        assert!(check(Some(known), "").is_ok());
        assert!(check(None, "anything").is_ok());
        for (known, query, word) in
            [(known, "destroyed=shwo", "show"), (known, "destroyd=show", "destroyed"), (&[], "a=1", "no parameters")]
        {
            let detail = check(Some(known), query).unwrap_err().problem().detail.clone();
            assert!(detail.contains(word), "{query}: {detail}");
        }
    }
}
