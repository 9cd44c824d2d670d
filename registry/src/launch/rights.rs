//! Whether a product's containers ask for what an operator has allowed the product, and nothing else.

use crate::blueprint::Needed;
use crate::product::Product;
use crate::registry::Registry;
use crate::store;
use bigdata_chassis::http::ApiError;
use bigdata_chassis::http::json::escape;
use bigdata_common::ProductRef;
use bigdata_common::api::problem::{Fault, ProblemCode};
use bigdata_common::api::product::ProductRights;
use bigdata_common::container_options::{ContainerRight, ContainerRights};
use bigdata_common::internal::Specification;
use std::collections::BTreeSet;

/// Refuses what the product lacks the right to, and what no right is for.
///
/// # Errors
/// Every option that is refused, with its place and how its right is got.
pub(crate) fn check(product: &Product, needed: &[Needed]) -> Result<(), ApiError> {
    written_out(product, needed)?;
    let rights = product.container_rights.in_force();
    let lacking: Vec<&Needed> = needed.iter().filter(|needed| !rights.contains(&needed.option.right)).collect();
    if lacking.is_empty() {
        return Ok(());
    }
    let all: ContainerRights = needed.iter().map(|needed| needed.option.right).collect();
    let how = how(&product.reference, &product.container_rights, &all);
    let fault = |needed: &&Needed| {
        let option = &needed.option;
        let words = format!(
            "docker_opts: {option} is refused: it {}, and that takes the container right {}",
            option.right.effect(),
            option.right
        );
        Fault::new(needed.pointer.clone(), words)
    };
    Err(refused(lacking.iter().map(fault).collect(), &how))
}

fn refused(faults: Vec<Fault>, how: &str) -> ApiError {
    const FAULTS_MAX: usize = 100;
    let first = faults.first().map(|fault| format!("{}: {}", fault.pointer, fault.detail)).unwrap_or_default();
    let more = match faults.len() {
        1 => String::new(),
        count => format!(" (and {} more)", count - 1),
    };
    let detail = format!("{first}{more}. {how}");
    ApiError::with_faults(ProblemCode::ContainerRightsMissing, detail, faults.into_iter().take(FAULTS_MAX).collect())
}

/// How the rights are got.
fn how(product: &ProductRef, rights: &ProductRights, needed: &ContainerRights) -> String {
    let names: Vec<&str> = needed.iter().copied().map(ContainerRight::as_str).collect();
    let lapsed = match rights.lapsed_at {
        Some(at) => {
            format!("what had been given lapsed when the template, the options or the script were changed ({at}); ")
        }
        None => String::new(),
    };
    format!(
        "{lapsed}an operator who trusts this product gives the right with `bigdata product allow {} {} {}` \
         (PUT …/container-rights)",
        product.name,
        product.version,
        names.join(" ")
    )
}

/// What takes a right stands in the product itself, word by word: it was given for what is to be read there, so no value
/// of an option can bring it in.
///
/// # Errors
/// Every option that does not.
pub(crate) fn written_out(product: &Product, needed: &[Needed]) -> Result<(), ApiError> {
    if needed.is_empty() {
        return Ok(());
    }
    let words = words(product);
    let is_written =
        |needed: &&Needed| words.contains(needed.option.option.as_str()) && is_in(&words, &needed.option.value);
    let fault = |needed: &Needed| {
        let words = format!(
            "docker_opts: {} is refused: what takes a container right must be written out in the template or in the \
             defaults of the options, and a part of this comes from a value of a launch",
            needed.option
        );
        Fault::new(needed.pointer.clone(), words)
    };
    let faults: Vec<Fault> = needed.iter().filter(|needed| !is_written(needed)).map(fault).collect();
    if faults.is_empty() {
        return Ok(());
    }
    Err(refused(faults, "write the option out in the product"))
}

fn is_in(words: &BTreeSet<&str>, value: &str) -> bool {
    value.is_empty() || words.contains(value)
}

/// The words of the product's texts: what stands between blanks and quotes, and there what stands around the first `=`.
fn words(product: &Product) -> BTreeSet<&str> {
    let texts = [product.template.as_deref(), product.options.as_deref()];
    let separates = |character: char| character.is_whitespace() || matches!(character, '"' | '\'' | '\\');
    let mut words = BTreeSet::new();
    for word in texts.into_iter().flatten().flat_map(|text| text.split(separates)) {
        words.insert(word);
        if let Some((option, value)) = word.split_once('=').filter(|(option, _)| option.starts_with("--")) {
            words.extend([option, value]);
        }
    }
    words
}

/// The product with no more rights than the catalog gives it now: of what a cluster was made of, what has been taken away
/// since is gone.
///
/// # Errors
/// When the database refuses.
pub(crate) async fn as_of_now(registry: &Registry, mut product: Product) -> Result<Product, ApiError> {
    let given = given_now(registry, &product.reference).await?;
    product.container_rights.given.retain(|right| given.contains(right));
    Ok(product)
}

async fn given_now(registry: &Registry, product: &ProductRef) -> Result<ContainerRights, ApiError> {
    let found = store::products::find(&registry.db, product).await?;
    Ok(found.map(|product| product.container_rights.given).unwrap_or_default())
}

/// Refuses a former revision whose nodes have rights that have been taken from the product since.
///
/// # Errors
/// Every node that has.
pub(crate) async fn still_given(registry: &Registry, revision: &Specification) -> Result<(), ApiError> {
    let nodes = &revision.blueprint.nodes;
    let needed: ContainerRights = nodes.values().flat_map(|node| node.container_rights.iter().copied()).collect();
    if needed.is_empty() {
        return Ok(());
    }
    let given = given_now(registry, &revision.product).await?;
    let gone = |node: &&bigdata_common::blueprint::Node| node.container_rights.difference(&given).next().copied();
    let faults: Vec<Fault> = nodes
        .iter()
        .filter_map(|(name, node)| Some((name, gone(&node)?)))
        .map(|(name, right)| {
            let words = format!("{name} takes the container right {right}, which the product no longer has");
            Fault::new(format!("/nodes/{}/docker_opts", escape(name.as_str())), words)
        })
        .collect();
    if faults.is_empty() {
        return Ok(());
    }
    Err(refused(faults, &how(&revision.product, &ProductRights::default(), &needed)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bigdata_common::container_options::ContainerOptions;

    fn product(template: &str, options: &str) -> Product {
        let reference = ProductRef { name: "demo".parse().unwrap(), version: "1.0".parse().unwrap() };
        let mut product = Product::new(reference, String::new(), String::new());
        (product.template, product.options) = (Some(template.to_owned()), Some(options.to_owned()));
        product.container_rights.given = ContainerRight::ALL.into();
        product
    }

    fn needed(text: &str) -> Vec<Needed> {
        let marked = ContainerOptions::parse_as_if_allowed(text).unwrap().marked;
        marked.into_iter().map(|option| Needed { pointer: "/nodes/n/docker_opts".to_owned(), option }).collect()
    }

    #[test]
    fn rights_are_for_what_is_written_in_the_product() {
        let template = r#"{"docker_opts": "--privileged -v /sys/fs/cgroup:/sys/fs/cgroup:ro --pid=host -e A={{ opts['a'] }} {{ opts['more'] }}"}"#;
        let product = product(template, r#"{"optional": {"more": "--device /dev/fuse"}}"#);
        for (text, allowed) in [
            ("--privileged -v /sys/fs/cgroup:/sys/fs/cgroup:ro --pid=host -e A=1 --device /dev/fuse", true),
            ("--privileged -e A=1 -v /:/host", false),
            // A part of what is written is something else.
            ("-v /sys/fs/cgroup:/sys/fs/cgroup", false),
            ("-v /sys/fs:/sys/fs/cgroup:ro", false),
            ("--device /dev/kvm", false),
            ("--cap-add SYS_ADMIN", false),
            ("--uts=host", false),
            ("--pid host", true),
        ] {
            assert_eq!(written_out(&product, &needed(text)).is_ok(), allowed, "{text}");
            assert_eq!(check(&product, &needed(text)).is_ok(), allowed, "{text}");
        }
    }

    #[test]
    fn who_lacks_a_right_is_told_how_to_get_it() {
        let mut product = product("--privileged -v /a:/b", "{}");
        product.container_rights.given = [ContainerRight::HostMounts].into();
        let needed = needed("--privileged -v /a:/b");
        let words = format!("{:?}", check(&product, &needed).unwrap_err());
        assert!(words.contains("bigdata product allow demo 1.0 privileged host-mounts"), "{words}");
        assert!(words.contains("/nodes/n/docker_opts") && words.contains("--privileged is refused"), "{words}");
        product.container_rights.given = ContainerRight::ALL.into();
        assert!(check(&product, &needed).is_ok());
        product.container_rights.lapsed_at = Some(bigdata_common::Timestamp::from_millis(0));
        assert!(format!("{:?}", check(&product, &needed).unwrap_err()).contains("lapsed"));
    }
}
