//! What a source's step made.

use catalog::artifact::{Artifact, Content};
use catalog::census::Census;
use catalog::manifest::Keycloak;
use catalog::name::{NotPlain, PlainName};
use catalog::storage::Storage;
use stream::artifact::{Compression, Written};

/// What a step made, whole artifacts only, and why it did not make more.
#[derive(Default)]
pub(crate) struct Product {
    pub artifacts: Vec<Artifact>,
    /// What a database held.
    pub census: Option<Census>,
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

    /// Keeps an artifact, with what its source knows besides.
    pub fn keep(&mut self, made: Result<Artifact, NotPlain>, complete: impl FnOnce(&mut Artifact)) {
        match made {
            Ok(mut artifact) => {
                complete(&mut artifact);
                self.artifacts.push(artifact);
            }
            Err(error) => self.fail(error.to_string(), None),
        }
    }

    pub fn fail(&mut self, message: impl Into<String>, exit_code: Option<i32>) {
        self.failure = Some(Failure {
            message: message.into(),
            exit_code,
            passing: false,
        });
    }
}

/// The record of a file that was written.
pub(crate) fn record(
    content: Content,
    label: &str,
    format: &str,
    compression: Compression,
    written: Written,
) -> Result<Artifact, NotPlain> {
    Ok(Artifact {
        file: PlainName::try_from(written.file)?,
        content,
        label: label.to_owned(),
        identity: None,
        tool: None,
        format: format.to_owned(),
        compression: compression.into(),
        bytes: written.bytes,
        raw_bytes: written.raw_bytes,
        sha256: written.sha256,
    })
}
