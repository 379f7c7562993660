//! A stage of a restore that failed.

/// A stage that failed.
#[derive(Debug)]
pub(crate) struct Fault {
    pub what: &'static str,
    pub reason: String,
}

pub(crate) fn during<E: std::fmt::Display>(what: &'static str) -> impl Fn(E) -> Fault {
    move |error| Fault {
        what,
        reason: error.to_string(),
    }
}
