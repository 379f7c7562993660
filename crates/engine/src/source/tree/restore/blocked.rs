//! What a restore of a tree in place would end at.

use super::error::{RestoreError, RoomFault};
use super::request::TreeRequest;
use super::swap::check_swap;
use crate::finding::{Check, Fault};
use catalog::layout::tree::cut_off;

/// Asks the set and the target. Changes nothing.
pub fn obstacles(request: &TreeRequest<'_>) -> Vec<Check> {
    let label = request.label;
    let mut found = Vec::new();
    if let Ok(Some(_)) = cut_off(request.to) {
        let text = format!(
            "{} holds what a restore that was cut off left, which is put right first",
            request.to.display()
        );
        found.push(Check::warning(label, text, Fault::TreeHalfRestored));
    }
    if let Err(error) = check_swap(request) {
        found.push(Check::obstacle(
            label,
            error.to_string(),
            fault_of(request, &error),
        ));
    }
    found
}

fn fault_of(request: &TreeRequest<'_>, error: &RestoreError) -> Fault {
    let root = request.to.to_owned();
    if let Some(parent) = root.parent()
        && !parent.is_dir()
    {
        return Fault::NoParent(parent.to_owned());
    }
    match error {
        RestoreError::Room { fault, .. } => match fault {
            RoomFault::NoAttributes => Fault::NoAttributes,
            RoomFault::ReadOnly | RoomFault::NotWritable(_) => Fault::TreeNotWritable(root),
            RoomFault::TooLittle { .. } => Fault::NoRoomForTree(root),
        },
        RestoreError::NoTree { .. } => Fault::NotInSet,
        RestoreError::Target { .. }
        | RestoreError::Unusable { .. }
        | RestoreError::Different { .. }
        | RestoreError::Unpack { .. }
        | RestoreError::Interrupted => Fault::NoTree(root),
    }
}
