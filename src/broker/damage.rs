//! What opening says of damaged partitions: which records are concerned, where, and what can be done.

use crate::ends_file::ProvenEnd;
use crate::error::{Error, Result};
use crate::partition_log::{LogContext, of_acknowledged};

/// What to do about damage, whatever it is.
const ADVICE: &str = "nothing was changed: restore the file from a copy, read around the damage (read-only), open the \
                      other partitions (isolating the damage), or salvage what is sound into a new directory";

/// Damage, which may be isolated, as the inner error; the outer one is any other failure. Where the proven end is given,
/// the damage tells which offsets are concerned.
pub fn apart<T>(outcome: Result<T>, context: &LogContext, proven: Option<ProvenEnd>) -> Result<Result<T>> {
    match outcome.map_err(|error| error.in_partition(&context.topic, context.partition)) {
        Err(error) if !error.is_corruption() => Err(error),
        Err(damage) => {
            let damage = proven.iter().fold(damage, of_acknowledged);
            Ok(Err(advised(damage)))
        }
        whole => Ok(whole),
    }
}

/// Damage with what to do about it.
pub fn advised(error: Error) -> Error {
    if error.is_corruption() { error.advise(ADVICE) } else { error }
}

/// All damages as one error, that of the first with the others in its text; `None` if there are none.
pub fn together(damages: &[Error]) -> Option<Error> {
    let (first, others) = damages.split_first()?;
    if others.is_empty() {
        return Some(first.clone());
    }
    let told: Vec<String> = others.iter().map(|other| other.clone().without_advice().to_string()).collect();
    let advice = first.advice().unwrap_or(ADVICE);
    let all = format!("{} more are damaged: {}; {advice}", others.len(), told.join("; "));
    Some(first.clone().advise(all))
}
