//! Objects and files on disk until they are joined: one pair of files a partition, in a directory that goes when this does.

use std::borrow::Cow;
use std::fs;
use std::hash::{DefaultHasher, Hasher};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use archive::Listed;
use tempfile::TempDir;

use super::layout::Layout;
use crate::stack::objects::Object;

/// A million objects make partitions of some 16,000, a few megabytes each.
pub const PARTITIONS: usize = 64;
/// Bytes written to a partition at once: 128 such buffers are a megabyte.
const BUFFER_BYTES: usize = 8 * 1024;
/// Longest field that is read back: names have 1,024 bytes.
const FIELD_BYTES: u32 = 64 * 1024;

/// Bytes of a file's path that are kept. No object's path is as long, so the rest tells nothing but that there is more.
const PATH_BYTES: usize = 16 * 1024;

/// A file of the archive.
pub struct File {
    pub path: Vec<u8>,
    pub content: Option<(u64, [u8; 16])>,
}

/// Both sides while they grow.
pub struct Spill {
    dir: TempDir,
    objects: Vec<BufWriter<fs::File>>,
    files: Vec<BufWriter<fs::File>>,
}

/// Both sides, complete.
pub struct Partitions {
    dir: TempDir,
}

impl Spill {
    pub fn begin(parent: &Path) -> io::Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix(".reconcile-")
            .tempdir_in(parent)?;
        let side = |name: &str| -> io::Result<Vec<_>> {
            (0..PARTITIONS)
                .map(|number| {
                    let file = fs::File::create(dir.path().join(format!("{name}-{number}")))?;
                    Ok(BufWriter::with_capacity(BUFFER_BYTES, file))
                })
                .collect()
        };
        Ok(Self {
            objects: side("objects")?,
            files: side("files")?,
            dir,
        })
    }

    pub fn objects(&mut self, layout: &Layout, objects: &[Object]) -> io::Result<()> {
        for object in objects {
            self.object(&layout.path(object), object)?;
        }
        Ok(())
    }

    fn object(&mut self, path: &[u8], object: &Object) -> io::Result<()> {
        let out = &mut self.objects[partition(path)];
        for field in [path, object.bucket.as_bytes(), object.name.as_bytes()] {
            write_field(out, field)?;
        }
        write_field(
            out,
            object.version.as_deref().unwrap_or_default().as_bytes(),
        )?;
        out.write_all(&object.size.unwrap_or(u64::MAX).to_le_bytes())?;
        write_field(out, object.md5.as_ref().map_or(&[][..], |md5| md5))
    }

    pub fn file(&mut self, listed: Listed<'_>) -> io::Result<()> {
        let path = listed.name.as_os_str().as_bytes();
        let path = path.strip_prefix(b"./").unwrap_or(path);
        let kept = &path[..path.len().min(PATH_BYTES)];
        let path = if kept.len() < path.len() {
            Cow::Owned([kept, "…".as_bytes()].concat())
        } else {
            Cow::Borrowed(kept)
        };
        let path = path.as_ref();
        let out = &mut self.files[partition(path)];
        write_field(out, path)?;
        let (size, md5) = listed.content.unwrap_or((u64::MAX, [0; 16]));
        out.write_all(&size.to_le_bytes())?;
        out.write_all(&md5)
    }

    pub fn close(self) -> io::Result<Partitions> {
        for mut writer in self.objects.into_iter().chain(self.files) {
            writer.flush()?;
        }
        Ok(Partitions { dir: self.dir })
    }
}

impl Partitions {
    /// Another pair of sides, whose partitions are of the same paths. Goes with this one.
    pub fn another(&self) -> io::Result<Spill> {
        Spill::begin(self.dir.path())
    }

    pub fn objects(&self, number: usize) -> io::Result<Vec<(Vec<u8>, Object)>> {
        let mut from = self.open("objects", number)?;
        let mut objects = Vec::new();
        while let Some(path) = read_field(&mut from)? {
            let mut text = || -> io::Result<String> {
                let field = read_field(&mut from)?.unwrap_or_default();
                String::from_utf8(field).map_err(io::Error::other)
            };
            let (bucket, name, version) = (text()?, text()?, text()?);
            let size = read_number(&mut from)?;
            let md5 = read_field(&mut from)?.unwrap_or_default();
            let object = Object {
                bucket,
                name,
                version: (!version.is_empty()).then_some(version),
                size,
                md5: md5.try_into().ok(),
            };
            objects.push((path, object));
        }
        Ok(objects)
    }

    pub fn files(
        &self,
        number: usize,
    ) -> io::Result<impl Iterator<Item = io::Result<File>> + use<>> {
        let mut from = self.open("files", number)?;
        Ok(std::iter::from_fn(move || read_file(&mut from).transpose()))
    }

    fn open(&self, name: &str, number: usize) -> io::Result<BufReader<fs::File>> {
        fs::File::open(self.dir.path().join(format!("{name}-{number}"))).map(BufReader::new)
    }
}

fn partition(path: &[u8]) -> usize {
    let mut hasher = DefaultHasher::new();
    hasher.write(path);
    usize::try_from(hasher.finish() % PARTITIONS as u64).unwrap_or(0)
}

fn read_file(from: &mut impl Read) -> io::Result<Option<File>> {
    let Some(path) = read_field(from)? else {
        return Ok(None);
    };
    let size = read_number(from)?;
    let mut md5 = [0; 16];
    from.read_exact(&mut md5)?;
    Ok(Some(File {
        path,
        content: size.map(|size| (size, md5)),
    }))
}

fn write_field(out: &mut impl Write, field: &[u8]) -> io::Result<()> {
    let length = u32::try_from(field.len()).map_err(io::Error::other)?;
    out.write_all(&length.to_le_bytes())?;
    out.write_all(field)
}

/// A field, or none at the end.
fn read_field(from: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    match from.read_exact(&mut length) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let length = u32::from_le_bytes(length);
    if length > FIELD_BYTES {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut field = vec![0; length as usize];
    from.read_exact(&mut field)?;
    Ok(Some(field))
}

/// A number; the largest stands for none.
fn read_number(from: &mut impl Read) -> io::Result<Option<u64>> {
    let mut number = [0; 8];
    from.read_exact(&mut number)?;
    let number = u64::from_le_bytes(number);
    Ok((number != u64::MAX).then_some(number))
}
