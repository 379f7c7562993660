//! Names out of manifests, which may be anybody's, and become paths.

use std::fmt;
use std::ops::Deref;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// Bytes of a name that file systems take.
const MOST: usize = 255;

/// A name of one component, no hidden one: no path made with it leads out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct PlainName(String);

/// Why a text is none.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no plain file name")]
pub struct NotPlain(String);

impl TryFrom<String> for PlainName {
    type Error = NotPlain;

    fn try_from(name: String) -> Result<Self, NotPlain> {
        let is_plain = !name.is_empty()
            && name.len() <= MOST
            && !name.starts_with('.')
            && !name.contains(['/', '\0']);
        if is_plain {
            Ok(Self(name))
        } else {
            Err(NotPlain(name.chars().take(MOST).collect()))
        }
    }
}

impl PlainName {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<PlainName> for String {
    fn from(name: PlainName) -> Self {
        name.0
    }
}

impl Deref for PlainName {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl AsRef<Path> for PlainName {
    fn as_ref(&self) -> &Path {
        Path::new(&self.0)
    }
}

impl fmt::Display for PlainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl PartialEq<str> for PlainName {
    fn eq(&self, other: &str) -> bool {
        self.0 == other
    }
}

impl PartialEq<&str> for PlainName {
    fn eq(&self, other: &&str) -> bool {
        self.0 == *other
    }
}

impl PartialEq<String> for PlainName {
    fn eq(&self, other: &String) -> bool {
        self.0 == *other
    }
}
