//! Archives, read back: digest, whole decode, every entry.

use std::path::Path;

use archive::{Walked, walk};
use catalog::artifact::Artifact;
use stream::read::ArtifactReader;

use crate::source::read_back::{Reading, Report, Unreadable, blocking, compare_file};

pub(super) async fn read_back(
    path: &Path,
    artifact: &Artifact,
    reading: &Reading<'_>,
    report: &mut Report,
) -> Result<(), Unreadable> {
    let (path, compression) = (path.to_owned(), artifact.compression.decoded());
    let (meter, cancel) = (reading.meter.clone(), reading.cancel.clone());
    let (back, walked) = blocking(move || {
        let mut reader = ArtifactReader::open(&path, compression, meter)?;
        let walked = walk(&mut reader, None, &cancel)?;
        Ok((reader.finish()?, walked))
    })
    .await?;
    compare_file(artifact, &back, report);
    compare(artifact, &walked, report);
    Ok(())
}

fn compare(artifact: &Artifact, walked: &Walked, report: &mut Report) {
    let file = artifact.file.as_str();
    report.entries += walked.entries;
    let Some(tree) = artifact.tree() else {
        return;
    };
    if let Some(expected) = &tree.attributes
        && *expected != walked.attributes.to_string()
    {
        report.say(
            file,
            "holds other names, modes, owners or attributes (content types among them) than the manifest says",
        );
    }
    let pairs = [
        ("files", walked.files, tree.files),
        ("directories", walked.directories, tree.directories),
        ("symbolic links", walked.symlinks, tree.symlinks),
        ("hard links", walked.hard_links, tree.hard_links),
        ("bytes in files", walked.bytes, tree.bytes),
    ];
    for (what, is, expected) in pairs {
        if is != expected {
            report.say(
                file,
                format!("holds {is} {what}, the manifest says {expected}"),
            );
        }
    }
}
