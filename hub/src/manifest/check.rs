//! Checks an object exactly as the hub will. What only the hub's store can tell (a namespace that is missing, a version
//! that has passed) is left to the hub.

use lichen_hub_core::{
    api::{ApiError, FieldError, Object},
    registry,
};

/// Everything that the hub would refuse.
///
/// # Errors
/// Every field that can't be taken.
pub fn check(object: &Object) -> Result<(), Vec<FieldError>> {
    registry::check(object).map_err(|error| match error {
        ApiError::Invalid { causes, .. } => causes,
        other => vec![FieldError::new("kind", other.to_string())],
    })
}
