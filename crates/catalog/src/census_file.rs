//! `census.json.gz`: what each database of a set held, by label. It is of use to a drill and a restore alone, and large; so a manifest has
//! its digest. Sets that were made before have it in their manifests.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::Path;

use stream::Finished;
use stream::artifact::{ArtifactWriter, Compression, Encoding};
use stream::read::ArtifactReader;

use crate::census::Census;
use crate::layout::CENSUS;
use crate::manifest::{CensusFile, Manifest};

/// Bytes of it, unpacked: some hundred thousand objects with all that is kept of them.
const BYTES_MOST: u64 = 32 * 1024 * 1024;
const GZIP: Compression = Compression::Gzip { level: 6 };

impl CensusFile {
    /// Writes it into `dir`, durably; none where it would be larger than what is read.
    pub fn write(dir: &Path, censuses: &BTreeMap<String, Census>) -> io::Result<Option<Self>> {
        let text = serde_json::to_vec(censuses)?;
        if text.len() as u64 > BYTES_MOST {
            return Ok(None);
        }
        let encoding = Encoding {
            compression: GZIP,
            threads: 1,
        };
        let mut writer = ArtifactWriter::create(dir, CENSUS, encoding, std::sync::Arc::default())?;
        let proof = Finished::writing(&mut writer, &text)?;
        let written = writer.commit(proof)?;
        Ok(Some(Self {
            bytes: written.bytes,
            sha256: written.sha256,
        }))
    }

    /// Reads it from `dir`, whole. What differs from its digest is an error.
    pub fn read(&self, dir: &Path) -> io::Result<BTreeMap<String, Census>> {
        let mut reader = ArtifactReader::open(&dir.join(CENSUS), GZIP, std::sync::Arc::default())?;
        let mut text = Vec::new();
        reader
            .by_ref()
            .take(BYTES_MOST + 1)
            .read_to_end(&mut text)?;
        if text.len() as u64 > BYTES_MOST {
            return Err(invalid(format!("unpacks to more than {BYTES_MOST} bytes")));
        }
        let back = reader.finish()?;
        if (back.bytes, &back.sha256) != (self.bytes, &self.sha256) {
            return Err(invalid(format!(
                "SHA-256 is {}, the manifest says {}",
                back.sha256, self.sha256
            )));
        }
        serde_json::from_slice(&text).map_err(|error| invalid(error.to_string()))
    }
}

fn invalid(words: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, words)
}

impl Manifest {
    /// What each database held, by label, of the set in `dir`; none of a set that has no census.
    pub fn censuses(&self, dir: &Path) -> io::Result<BTreeMap<String, Census>> {
        if let Some(file) = &self.census {
            return file
                .read(dir)
                .map_err(|error| io::Error::new(error.kind(), format!("{CENSUS}: {error}")));
        }
        let dumps = self.artifacts.iter();
        let own = dumps.filter_map(|one| Some((one.label.clone(), one.dump()?.census.clone()?)));
        Ok(own.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_as_it_was_written_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let census = Census {
            facets: vec!["owner".to_owned()],
            ..Census::default()
        };
        let censuses = BTreeMap::from([("supabase".to_owned(), census)]);
        let file = CensusFile::write(dir.path(), &censuses).unwrap().unwrap();
        assert_eq!(file.read(dir.path()).unwrap(), censuses);
        let other = CensusFile::write(dir.path(), &BTreeMap::new());
        assert!(other.is_err() || file.read(dir.path()).is_err());
        let path = dir.path().join(CENSUS);
        let whole = std::fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            std::fs::write(&path, damaged).unwrap();
            assert!(file.read(dir.path()).is_err(), "byte {at}");
        }
    }
    #[test]
    fn no_more_is_written_or_unpacked_than_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let census = Census {
            facets: vec!["x".repeat(usize::try_from(BYTES_MOST).unwrap())],
            ..Census::default()
        };
        let large = BTreeMap::from([("supabase".to_owned(), census)]);
        assert_eq!(CensusFile::write(dir.path(), &large).unwrap(), None);
        let encoding = Encoding {
            compression: GZIP,
            threads: 1,
        };
        let meter = std::sync::Arc::default();
        let mut writer = ArtifactWriter::create(dir.path(), CENSUS, encoding, meter).unwrap();
        let text = serde_json::to_vec(&large).unwrap();
        let proof = Finished::writing(&mut writer, &text).unwrap();
        let written = writer.commit(proof).unwrap();
        let file = CensusFile {
            bytes: written.bytes,
            sha256: written.sha256,
        };
        assert!(written.bytes < 1024 * 1024);
        let error = file.read(dir.path()).unwrap_err().to_string();
        assert!(error.starts_with("unpacks to more than"), "{error}");
    }
}
