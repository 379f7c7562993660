//! Archives that nobody but an enemy, or a broken disk, makes: an error each, in little memory, and never a panic.

use std::io::Read;

use proptest::prelude::*;
use tar::EntryType;

use super::*;

/// A header of any kind and size.
fn header(kind: EntryType, name: &str, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_cksum();
    header
}

/// Gives the first bytes once and the others for ever, and counts.
struct Endless<'a> {
    first: Vec<u8>,
    again: &'a [u8],
    given: usize,
}

impl Read for Endless<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (from, at) = match self.given.checked_sub(self.first.len()) {
            None => (self.first.as_slice(), self.given),
            Some(at) => (self.again, at % self.again.len()),
        };
        let size = buffer.len().min(from.len() - at);
        buffer[..size].copy_from_slice(&from[at..at + size]);
        self.given += size;
        Ok(size)
    }
}

fn refused_after(first: Vec<u8>, again: &[u8]) -> (String, usize) {
    let mut endless = Endless {
        first,
        again,
        given: 0,
    };
    let cancel = CancellationToken::new();
    let error = walk(&mut endless, None, &cancel).unwrap_err();
    (error.to_string(), endless.given)
}

#[test]
fn records_and_maps_without_end_are_refused_after_some_megabytes() {
    for kind in [
        EntryType::XHeader,
        EntryType::XGlobalHeader,
        EntryType::GNULongName,
        EntryType::GNULongLink,
    ] {
        let mut stacked = header(kind, "x", 512).as_bytes().to_vec();
        let mut records = b"512 SCHILY.xattr.user.a=".to_vec();
        records.resize(511, b'x');
        records.push(b'\n');
        stacked.extend(records);
        let (error, given) = refused_after(Vec::new(), &stacked);
        assert!(error.contains("records that are too long"), "{error}");
        assert!(given < 10 << 20, "{given} bytes of {kind:?}");
    }
    let mut sparse = header(EntryType::GNUSparse, "s", 0);
    sparse.as_gnu_mut().unwrap().isextended = [1];
    sparse.set_cksum();
    let mut more = tar::GnuExtSparseHeader::new();
    for slot in &mut more.sparse {
        slot.offset[..11].copy_from_slice(b"00000000000");
        slot.numbytes[..11].copy_from_slice(b"00000000000");
    }
    more.isextended = [1];
    let (error, given) = refused_after(sparse.as_bytes().to_vec(), more.as_bytes());
    assert!(error.contains("a sparse map that is too long"), "{error}");
    assert!(given < 30 << 20, "{given} bytes");
}

#[test]
fn reading_names_what_no_archive_of_ours_has() {
    for (kind, name, words) in [
        (
            EntryType::Regular,
            "/etc/evil",
            "entry /etc/evil lies outside",
        ),
        (EntryType::Regular, "a/../../evil", "lies outside"),
        (EntryType::Directory, "a/..", "lies outside"),
        (
            EntryType::Char,
            "null",
            "is neither file, directory nor link",
        ),
        (
            EntryType::Block,
            "disk",
            "is neither file, directory nor link",
        ),
        (
            EntryType::Fifo,
            "pipe",
            "is neither file, directory nor link",
        ),
    ] {
        let mut archive = header(kind, name, 0).as_bytes().to_vec();
        archive.extend([0; 1024]);
        let error = walk(archive.as_slice(), None, &CancellationToken::new()).unwrap_err();
        assert!(error.to_string().contains(words), "{name}: {error}");
    }
}

/// An archive with all that we read, and where its headers and records are.
fn sample() -> (Vec<u8>, Vec<usize>) {
    let dir = scratch();
    let root = dir.path().join("tree");
    let object = furnish(&root);
    symlink("t".repeat(300), root.join("far-link")).unwrap();
    fs::hard_link(&object, root.join("second name")).unwrap();
    let sparse = File::create(root.join("sparse")).unwrap();
    sparse.set_len(64 << 20).unwrap();
    for at in 0..30_u64 {
        std::os::unix::fs::FileExt::write_all_at(&sparse, b"data", at * (2 << 20)).unwrap();
    }
    fs::write(
        root.join("d".repeat(120))
            .join("e".repeat(150))
            .join("f".repeat(90)),
        b"small",
    )
    .unwrap();
    let (mut archive, _) = pack_to_vec(&root);
    // A name as GNU tar writes long ones.
    let mut gnu = header(EntryType::GNULongName, "././@LongLink", 200)
        .as_bytes()
        .to_vec();
    gnu.extend([b'n'; 199]);
    gnu.resize(1024, 0);
    gnu.extend(header(EntryType::Regular, "n", 0).as_bytes());
    archive.splice(0..0, gnu);
    let is_header = |at: &usize| archive[at + 257..at + 262] == *b"ustar";
    let headers = (0..archive.len()).step_by(512).filter(is_header).collect();
    (archive, headers)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn a_mangled_archive_is_an_error_or_a_tree_and_never_a_panic(
        mangled in proptest::collection::vec((any::<prop::sample::Index>(), 0..1024_usize, any::<u8>()), 1..8),
        digits in proptest::collection::vec((any::<prop::sample::Index>(), 0..512_usize, b'0'..=b'9'), 0..4),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        static SAMPLE: std::sync::LazyLock<(Vec<u8>, Vec<usize>)> = std::sync::LazyLock::new(sample);
        let (archive, headers) = &*SAMPLE;
        let mut archive = archive.clone();
        // In and behind headers, where the fields, records and maps are; other digits are other sizes and lengths.
        for (header, at, byte) in mangled.into_iter().chain(digits) {
            let at = headers[header.index(headers.len())] + at;
            if let Some(place) = archive.get_mut(at) {
                *place = byte;
            }
        }
        // As an enemy would, with checksums to match.
        for at in headers {
            let block = &mut archive[*at..*at + 512];
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
        if let Some(cut) = cut {
            archive.truncate(cut.index(archive.len()));
        }
        let cancel = CancellationToken::new();
        let walked = walk(archive.as_slice(), None, &cancel);
        let dir = scratch();
        let selection = Selection { outside_links: OutsideLinks::Refused, wanted: None };
        let target = dir.path().join("target");
        let unpacked = unpack(archive.as_slice(), &target, selection, &cancel);
        // What comes back was read as a whole, too; and nothing lies beside it.
        prop_assert!(walked.is_ok() || unpacked.is_err());
        prop_assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
