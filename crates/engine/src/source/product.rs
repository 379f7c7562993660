//! What a source's step made.

use catalog::manifest::{Artifact, Keycloak, Kind, Storage};
use stream::artifact::{Compression, Written};

/// What a step made, whole artifacts only, and why it did not make more.
#[derive(Default)]
pub(crate) struct Product {
    pub artifacts: Vec<Artifact>,
    pub storage: Option<Storage>,
    pub keycloak: Option<Keycloak>,
    /// Worth knowing, fails nothing.
    pub notes: Vec<String>,
    pub failure: Option<Failure>,
}

/// Why a step failed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Failure {
    /// In words, with the tool's own.
    pub message: String,
    /// The child's exit status, where a child failed.
    pub exit_code: Option<i32>,
    /// Whether the same may go well a little later.
    pub passing: bool,
}

impl Product {
    pub fn failed(message: impl Into<String>, exit_code: Option<i32>) -> Self {
        let mut product = Self::default();
        product.fail(message, exit_code);
        product
    }

    pub fn fail(&mut self, message: impl Into<String>, exit_code: Option<i32>) {
        self.failure = Some(Failure {
            message: message.into(),
            exit_code,
            passing: false,
        });
    }
}

/// An artifact's record with what every kind has in common.
pub(crate) fn record(
    kind: Kind,
    label: &str,
    format: &str,
    compression: Compression,
    written: Written,
) -> Artifact {
    Artifact {
        file: written.file,
        kind,
        label: label.to_owned(),
        source: None,
        path: None,
        identity: None,
        tool: None,
        format: format.to_owned(),
        compression: compression.into(),
        bytes: written.bytes,
        raw_bytes: written.raw_bytes,
        sha256: written.sha256,
        tables: None,
        census: None,
        database: None,
        tree: None,
        large_objects: None,
        passwords_included: None,
    }
}
