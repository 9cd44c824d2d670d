//! Where backups' bytes are: a directory, or a bucket that speaks S3. The registry keeps the list and says who may have one.

mod keeper;
mod place;
mod setting;

pub(crate) use keeper::{discard, forever};
pub(crate) use place::{Place, PlaceError, Upload};
pub use setting::OpenError;
