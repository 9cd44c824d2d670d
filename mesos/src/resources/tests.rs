use crate::v1::{Ranges, ReservationInfo, Resource};

use super::Resources;

fn reserved(resource: Resource, role: &str) -> Resource {
    resource.reserved(ReservationInfo::dynamic(role, Some("operator"), None))
}

#[test]
fn scalars_add_up_in_thousandths() {
    let mut sum = Resources::new();
    for _ in 0..10 {
        sum.add(&Resource::scalar("cpus", 0.1));
    }
    assert_eq!(sum.iter().count(), 1);
    assert_eq!(sum.cpus(), 1.0);
    sum.subtract_all(&[Resource::scalar("cpus", 0.999)]).unwrap();
    assert_eq!(sum.cpus(), 0.001);
    sum.subtract_all(&[Resource::scalar("cpus", 0.001)]).unwrap();
    assert!(sum.is_empty());
}

#[test]
fn subtraction_takes_all_or_nothing() {
    let mut sum: Resources = [Resource::scalar("cpus", 2.0), Resource::scalar("mem", 64.0)].iter().collect();
    let before = sum.clone();
    let wanted = [Resource::scalar("cpus", 1.0), Resource::scalar("mem", 65.0)];
    let error = sum.subtract_all(&wanted).unwrap_err();
    assert_eq!(error.to_string(), "mem:65 is not in cpus:2; mem:64");
    assert_eq!(sum, before);
    assert!(!sum.contains(&[Resource::scalar("cpus", 1.5), Resource::scalar("cpus", 1.0)]));
}

#[test]
fn reservations_keep_amounts_apart() {
    let mine = reserved(Resource::scalar("cpus", 1.0), "bigdata");
    let sum: Resources = [Resource::scalar("cpus", 2.0), mine.clone()].iter().collect();
    assert_eq!(sum.cpus(), 3.0);
    assert_eq!(sum.unreserved().cpus(), 2.0);
    assert_eq!(sum.reserved_for("bigdata").cpus(), 1.0);
    assert!(!sum.contains(&[reserved(Resource::scalar("cpus", 2.0), "bigdata")]));
    assert_eq!(mine.clone().unreserved_once(), Some(Resource::scalar("cpus", 1.0)));
    assert_eq!(Resource::scalar("cpus", 1.0).unreserved_once(), None);
}

#[test]
fn the_older_form_of_a_reservation_means_the_same() {
    let refined = reserved(Resource::scalar("mem", 5.0), "bigdata");
    let older = refined.clone().older().unwrap();
    assert_eq!(older.role.as_deref(), Some("bigdata"));
    assert!(older.reservations.is_empty());
    assert_eq!(older.refined(), refined);
    let unreserved = Resource::scalar("mem", 5.0).older().unwrap();
    assert_eq!(unreserved.role.as_deref(), Some("*"));
    assert_eq!(unreserved.refined(), Resource::scalar("mem", 5.0));
    let nested = refined.reserved(ReservationInfo::dynamic("bigdata/x", None, None));
    assert_eq!(nested.older(), None);
}

#[test]
fn ports_are_taken_from_and_given_back() {
    let mut sum: Resources = [Resource::ports([(31000, 31010)])].iter().collect();
    sum.subtract_all(&[Resource::ports([(31003, 31004)])]).unwrap();
    assert_eq!(sum.ports(), Ranges::of([(31000, 31002), (31005, 31010)]));
    assert!(!sum.contains(&[Resource::ports([(31004, 31005)])]));
    sum.add(&Resource::ports([(31003, 31004)]));
    assert_eq!(sum.ports(), Ranges::of([(31000, 31010)]));
    assert_eq!(sum.iter().count(), 1);
}

#[test]
fn a_volume_is_taken_whole_or_not_at_all() {
    let disk = reserved(Resource::scalar("disk", 64.0), "bigdata");
    let volume = |id: &str| disk.clone().persistent(id, None, "data");
    let mut sum: Resources = [disk.clone(), volume("a"), volume("b")].iter().collect();
    assert_eq!(sum.iter().count(), 3);
    assert_eq!(sum.disk(), 64.0);
    assert_eq!(sum.persistent_volumes().iter().count(), 2);
    let mut part = volume("a");
    part.scalar = Some(crate::v1::Scalar { value: 32.0 });
    assert!(!sum.contains(&[part]));
    sum.subtract_all(&[volume("a")]).unwrap();
    assert_eq!(sum.persistent_volumes().iter().count(), 1);
    assert_eq!(volume("b").not_persistent(), disk);
}

#[test]
fn what_an_offer_carries_becomes_the_same_sum_however_it_is_written() {
    let disk = reserved(Resource::scalar("disk", 64.0), "bigdata");
    let alone = vec![Resource::scalar("cpus", 2.0), disk.clone(), disk.clone().persistent("a", None, "data")];
    let mut twice = alone.clone();
    twice.extend([Resource::scalar("cpus", 1.0), disk.clone().persistent("a", None, "data")]);
    let older = vec![disk.older().unwrap(), Resource::scalar("mem", 0.0), Resource::ports([(5, 6)])];
    for offered in [alone, twice, older] {
        let sum: Resources = offered.iter().collect();
        assert_eq!(offered.iter().cloned().collect::<Resources>(), sum);
        assert_eq!(Resources::from(offered), sum);
    }
}

#[test]
fn what_is_present_is_taken_and_what_is_missing_ignored() {
    let mut sum: Resources = [Resource::scalar("cpus", 2.0)].iter().collect();
    sum.subtract_present(&[Resource::scalar("cpus", 5.0), Resource::scalar("gpus", 1.0)]);
    assert!(sum.is_empty());
}

#[test]
fn resources_print_like_the_flag_that_sets_them() {
    let sum: Resources = [
        Resource::scalar("cpus", 0.5),
        reserved(Resource::scalar("mem", 128.0), "bigdata"),
        Resource::ports([(31000, 31001), (31005, 31005)]),
        reserved(Resource::scalar("disk", 9.0), "bigdata").persistent("v1", None, "data"),
    ]
    .iter()
    .collect();
    assert_eq!(
        sum.to_string(),
        "cpus:0.5; mem(bigdata):128; ports:[31000-31001,31005-31005]; disk(bigdata)[v1:data]:9"
    );
}
