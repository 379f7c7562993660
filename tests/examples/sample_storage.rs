//! `sample_storage PATH [FILES BYTES]`: makes the sample storage tree at PATH, with FILES more objects of BYTES in all.

use std::path::Path;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |index: usize| {
        arguments
            .get(index)
            .map(|text| text.parse().expect("a whole number"))
    };
    let root = Path::new(
        arguments
            .first()
            .expect("sample_storage PATH [FILES BYTES]"),
    );
    tests::storage::build(root);
    if let (Some(files), Some(bytes)) = (number(1), number(2)) {
        tests::storage::build_bulk(root, files, bytes);
    }
}
