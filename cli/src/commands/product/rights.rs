//! `bigdata product allow`: what a product's containers may do on the machines.

use crate::client::Api;
use crate::context::Context;
use crate::failure::Failure;
use bigdata_common::api::product::{ProductRights, ProductView};
use bigdata_common::container_options::{ContainerRight, ContainerRights};
use reqwest::Method;

/// What is to be done with a product that has just been registered.
pub(super) fn next_step(product: &ProductView) -> String {
    let lacking: Vec<&str> = product.container_rights.lacking().into_iter().map(ContainerRight::as_str).collect();
    if lacking.is_empty() {
        return format!("bigdata launch {} {} --wait", product.name, product.version);
    }
    let all: Vec<&str> = product.container_rights.needed.iter().copied().map(ContainerRight::as_str).collect();
    format!(
        "an operator allows its containers {}: bigdata product allow {} {} {}",
        lacking.join(", "),
        product.name,
        product.version,
        all.join(" ")
    )
}

/// Sets the rights of a product's containers, where any are said, and shows them.
pub(super) async fn allow(
    api: &Api,
    context: &Context,
    path: &str,
    rights: Vec<ContainerRight>,
    none: bool,
) -> Result<(), Failure> {
    let path = format!("{path}/container-rights");
    if none || !rights.is_empty() {
        let rights: ContainerRights = rights.into_iter().collect();
        api.send(api.request(Method::PUT, &path).json(&rights)).await?;
    }
    let rights: ProductRights = api.get(&path).await?;
    if context.output.json {
        return context.output.json(&rights);
    }
    context.output.table(["right", "needed", "given", "what it does"], right_rows(&rights), "")?;
    if let (Some(by), Some(at)) = (&rights.by, rights.at) {
        eprintln!("set by {by} at {at}");
    }
    if let Some(at) = rights.lapsed_at {
        eprintln!(
            "they do not count: the template or the options were changed at {at}; look at them, and allow it again"
        );
    }
    Ok(())
}

/// Every right: whether the product takes it, and whether it has it.
fn right_rows(rights: &ProductRights) -> Vec<[String; 4]> {
    let word = |is_so: bool| if is_so { "yes" } else { "no" }.to_owned();
    let in_force = rights.in_force();
    let given = |right: ContainerRight| match (rights.given.contains(&right), in_force.contains(&right)) {
        (true, false) => "lapsed".to_owned(),
        (_, given) => word(given),
    };
    let row = |right: ContainerRight| {
        let effect = format!("it {}", right.effect());
        [right.to_string(), word(rights.needed.contains(&right)), given(right), effect]
    };
    ContainerRight::ALL.into_iter().map(row).collect()
}

/// The container rights of a product in a line.
pub(super) fn in_words(rights: &ProductRights) -> String {
    let names =
        |rights: Vec<ContainerRight>| rights.into_iter().map(ContainerRight::as_str).collect::<Vec<_>>().join(", ");
    let (given, lacking) = (names(rights.in_force().into_iter().collect()), names(rights.lacking()));
    match (given.is_empty(), lacking.is_empty()) {
        (_, true) => given,
        (true, false) => format!("nothing yet; it needs {lacking}"),
        (false, false) => format!("{given}; it needs {lacking} too"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_as_rows_and_in_words() {
        let mut rights = ProductRights {
            needed: [ContainerRight::Privileged, ContainerRight::HostMounts].into(),
            given: [ContainerRight::Privileged].into(),
            ..ProductRights::default()
        };
        let first = |rights: &ProductRights| right_rows(rights)[0][..3].join(" ");
        assert_eq!((right_rows(&rights).len(), first(&rights)), (5, "privileged yes yes".to_owned()));
        assert_eq!(in_words(&rights), "privileged; it needs host-mounts too");
        rights.lapsed_at = Some(bigdata_common::Timestamp::from_millis(0));
        assert_eq!(first(&rights), "privileged yes lapsed");
        assert_eq!(in_words(&rights), "nothing yet; it needs privileged, host-mounts");
        assert_eq!(in_words(&ProductRights::default()), "");
    }
}
