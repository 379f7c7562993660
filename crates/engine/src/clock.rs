//! The one reader of the wall clock; everything else takes `now` as an argument.

use chrono::{DateTime, Utc};

/// The present moment.
#[allow(
    clippy::disallowed_methods,
    reason = "this is the file that owns the clock"
)]
pub fn now() -> DateTime<Utc> {
    Utc::now()
}
