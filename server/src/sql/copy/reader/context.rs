//! What errors say of the place where they are.

use crate::error::SqlError;
use crate::sql::copy::binary::RowFault;
use crate::sql::rows::Target;

/// Values in errors are cut to this.
const SHOWN_BYTES_MAX: usize = 100;

pub(super) fn at_line(relation: &str, line: u64) -> String {
    format!("COPY {relation}, line {line}")
}

pub(super) fn in_row(fault: RowFault, target: &Target) -> SqlError {
    let Some(line) = fault.line else { return fault.error };
    let place = at_line(&target.collection.name, line);
    fault.error.with_context(match fault.column {
        Some(at) => format!("{place}, column {}", target.column(at).name),
        None => place,
    })
}

/// A text as errors show it: not all of a long one.
pub(super) fn shown(text: &str) -> String {
    if text.len() <= SHOWN_BYTES_MAX {
        return text.to_owned();
    }
    format!("{}...", &text[..text.floor_char_boundary(SHOWN_BYTES_MAX)])
}
