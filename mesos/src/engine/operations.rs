//! RESERVE, UNRESERVE, CREATE and DESTROY as arithmetic over resources. Pure.

use super::ids::check_id;
use super::pool::Conversion;
use crate::resources::Resources;
use crate::v1::{Operation, OperationType, ReservationType, Resource, VolumeMode};

/// Who wants the operation, and on what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context<'c> {
    /// The role of the offers.
    pub(crate) role: &'c str,
    pub(crate) principal: Option<&'c str>,
    /// All that the agent has.
    pub(crate) total: &'c Resources,
}

/// What `operation` (of any type but LAUNCH) turns into what, or why it cannot be.
pub(crate) fn conversion(operation: &Operation, context: Context<'_>) -> Result<Conversion, String> {
    match operation.r#type() {
        OperationType::Reserve => {
            let reserve = operation.reserve.as_ref().ok_or("'reserve' must be present")?;
            if !reserve.source.is_empty() {
                return Err("Reservations are not changed into others here".to_owned());
            }
            convert(&reserve.resources, |one| reserve_one(one, context))
        }
        OperationType::Unreserve => {
            let unreserve = operation.unreserve.as_ref().ok_or("'unreserve' must be present")?;
            let conversion = convert(&unreserve.resources, unreserve_one)?;
            Ok(reversed(conversion))
        }
        OperationType::Create => {
            let create = operation.create.as_ref().ok_or("'create' must be present")?;
            no_id_twice(&create.volumes, context)?;
            convert(&create.volumes, |one| create_one(one, context))
        }
        OperationType::Destroy => {
            let destroy = operation.destroy.as_ref().ok_or("'destroy' must be present")?;
            let conversion = convert(&destroy.volumes, |one| destroy_one(one, context))?;
            Ok(reversed(conversion))
        }
        other => Err(format!("{other} is not supported")),
    }
}

/// `after(resource)` gives what the resource is made of; the resource itself is what it becomes.
fn convert(
    resources: &[Resource],
    before: impl Fn(&Resource) -> Result<Resource, String>,
) -> Result<Conversion, String> {
    let mut conversion = Conversion { consumed: Resources::new(), produced: Resources::new() };
    if resources.is_empty() {
        return Err("No resources are named".to_owned());
    }
    for resource in resources {
        conversion.consumed.add(&before(resource)?);
        conversion.produced.add(resource);
    }
    Ok(conversion)
}

fn reversed(conversion: Conversion) -> Conversion {
    Conversion { consumed: conversion.produced, produced: conversion.consumed }
}

fn reserve_one(resource: &Resource, context: Context<'_>) -> Result<Resource, String> {
    let reservation = resource.reservations.last();
    let reservation = reservation.ok_or_else(|| format!("{resource} is not reserved"))?;
    if reservation.r#type() != ReservationType::Dynamic {
        return Err(format!("{resource} is not dynamically reserved"));
    }
    if resource.is_persistent_volume() {
        return Err(format!("{resource} is a persistent volume"));
    }
    let role = reservation.role.as_deref().unwrap_or("");
    if role == "*" {
        return Err(format!("{resource} cannot be reserved for everybody"));
    }
    if role != context.role {
        return Err(format!(
            "A reserve operation was attempted for a resource allocated to role '{}', but the resource is reserved \
             for role '{role}'",
            context.role
        ));
    }
    if reservation.principal.as_deref() != context.principal {
        return Err(format!(
            "{resource} is reserved with the principal {:?}, but the framework's is {:?}",
            reservation.principal, context.principal
        ));
    }
    let before = resource.clone().unreserved_once();
    before.ok_or_else(|| format!("{resource} is not reserved"))
}

fn unreserve_one(resource: &Resource) -> Result<Resource, String> {
    if !resource.is_dynamically_reserved() {
        return Err(format!("{resource} is not dynamically reserved"));
    }
    if resource.is_persistent_volume() {
        return Err(format!(
            "A dynamically reserved persistent volume {resource} cannot be unreserved directly. Please destroy it first"
        ));
    }
    let after = resource.clone().unreserved_once();
    after.ok_or_else(|| format!("{resource} is not reserved"))
}

fn create_one(resource: &Resource, context: Context<'_>) -> Result<Resource, String> {
    let id = resource.persistence_id();
    let id = id.ok_or_else(|| format!("{resource} is not a persistent volume"))?;
    check_id(id).map_err(|fault| format!("Persistence id '{id}' {fault}"))?;
    let role = resource.reserved_role();
    let role = role.ok_or("Persistent volumes cannot be created from unreserved resources")?;
    role.split('/').try_for_each(check_id).map_err(|fault| format!("Role '{role}' {fault}"))?;
    let volume = resource.disk.as_ref().and_then(|disk| disk.volume.as_ref());
    let volume = volume.ok_or("Expecting 'volume' to be set for persistent volume")?;
    if volume.mode() != VolumeMode::ReadWrite || volume.host_path.is_some() {
        return Err("Expecting volume with mode RW and without a host path".to_owned());
    }
    check_container_path(&volume.container_path)?;
    let persistence = resource.disk.as_ref().and_then(|disk| disk.persistence.as_ref());
    let principal = persistence.and_then(|persistence| persistence.principal.as_deref());
    if principal.is_some() && principal != context.principal {
        return Err(format!("Volume {id} is of another principal than the framework's"));
    }
    Ok(resource.clone().not_persistent())
}

/// A relative path that stays inside the sandbox.
pub(crate) fn check_container_path(path: &str) -> Result<(), String> {
    let inside = !path.is_empty() && path.split('/').all(|part| !part.is_empty() && part != "." && part != "..");
    match inside && !path.contains('\0') {
        true => Ok(()),
        false => Err(format!("Container path '{path}' is not a path inside the sandbox")),
    }
}

fn no_id_twice(volumes: &[Resource], context: Context<'_>) -> Result<(), String> {
    for (index, volume) in volumes.iter().enumerate() {
        let same = |other: &Resource| {
            other.is_persistent_volume()
                && other.persistence_id() == volume.persistence_id()
                && other.reserved_role() == volume.reserved_role()
        };
        if volumes[..index].iter().any(same) || context.total.iter().any(same) {
            let id = volume.persistence_id().unwrap_or("");
            return Err(format!("Persistence ID '{id}' already exists"));
        }
    }
    Ok(())
}

fn destroy_one(resource: &Resource, context: Context<'_>) -> Result<Resource, String> {
    if !resource.is_persistent_volume() {
        return Err(format!("{resource} is not a persistent volume"));
    }
    if !context.total.contains([resource]) {
        return Err("Persistent volumes not found".to_owned());
    }
    Ok(resource.clone().not_persistent())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::ReservationInfo;

    fn reserved(name: &str, amount: f64) -> Resource {
        let reservation = ReservationInfo::dynamic("role", Some("me"), None);
        Resource::scalar(name, amount).reserved(reservation)
    }

    fn context(total: &Resources) -> Context<'_> {
        Context { role: "role", principal: Some("me"), total }
    }

    #[test]
    fn each_operation_is_undone_by_its_opposite() {
        let total = Resources::new();
        let reserve = conversion(&Operation::reserve(vec![reserved("disk", 5.0)]), context(&total)).unwrap();
        assert_eq!(reserve.consumed.to_vec(), [Resource::scalar("disk", 5.0)]);
        let unreserve = Operation::unreserve(reserve.produced.to_vec());
        let unreserve = conversion(&unreserve, context(&total)).unwrap();
        assert_eq!(unreserve, reversed(reserve));

        let volume = reserved("disk", 5.0).persistent("v", Some("me"), "data");
        let create = conversion(&Operation::create(vec![volume.clone()]), context(&total)).unwrap();
        assert_eq!(create.consumed.to_vec(), [reserved("disk", 5.0)]);
        let total: Resources = [volume.clone()].iter().collect();
        let destroy = conversion(&Operation::destroy(vec![volume]), context(&total)).unwrap();
        assert_eq!(destroy, reversed(create));
    }

    #[test]
    fn what_must_not_be_is_refused() {
        let volume = |id: &str, path: &str| reserved("disk", 5.0).persistent(id, None, path);
        let total: Resources = [volume("old", "data")].iter().collect();
        let other_role = ReservationInfo::dynamic("other", Some("me"), None);
        let nobody = ReservationInfo::dynamic("role", None, None);
        let unreserved_volume = Resource::scalar("disk", 5.0).persistent("v", None, "data");
        for operation in [
            Operation::reserve(vec![]),
            Operation::reserve(vec![Resource::scalar("cpus", 1.0)]),
            Operation::reserve(vec![Resource::scalar("cpus", 1.0).reserved(other_role)]),
            Operation::reserve(vec![Resource::scalar("cpus", 1.0).reserved(nobody)]),
            Operation::unreserve(vec![Resource::scalar("cpus", 1.0)]),
            Operation::unreserve(vec![volume("old", "data")]),
            Operation::create(vec![reserved("disk", 1.0)]),
            Operation::create(vec![unreserved_volume]),
            Operation::create(vec![volume("old", "elsewhere")]),
            Operation::create(vec![volume("new", "a"), volume("new", "b")]),
            Operation::create(vec![volume("../x", "data")]),
            Operation::create(vec![volume("new", "../data")]),
            Operation::create(vec![volume("new", "/data")]),
            Operation::destroy(vec![volume("unknown", "data")]),
            Operation::default(),
        ] {
            assert!(conversion(&operation, context(&total)).is_err(), "{operation:?}");
        }
    }
}
