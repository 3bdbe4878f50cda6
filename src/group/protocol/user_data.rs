//! The user data of the assignor `cooperative-sticky`: the generation in which the member owned what it says, an i32; −1: none.
//!
//! The subscription says it as well since version 2, and then counts; members that write version 1 say it here alone.

use crate::error::Result;
use crate::group::fields::{Fields, FieldsWriter};

const STRUCTURE: &str = "the user data of a cooperative-sticky member";

/// The generation in user data; `None` if there is none.
pub fn read_generation(user_data: &[u8]) -> Result<Option<u32>> {
    Ok(u32::try_from(Fields::new(STRUCTURE, user_data).i32("generation")?).ok())
}

/// User data with a generation.
pub fn write_generation(generation: Option<u32>) -> Result<Vec<u8>> {
    let mut fields = FieldsWriter::new(STRUCTURE);
    fields.optional_u32("generation", generation)?;
    Ok(fields.finish())
}
