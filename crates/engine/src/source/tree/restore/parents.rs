//! Directories on the way to a file that comes back.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use catalog::layout::tree::is_there;

/// Makes the directories above a path that are not there. Each gets owner and mode of the one above it, as the service that works there
/// gave them.
pub(super) fn make_parents(path: &Path) -> io::Result<()> {
    let mut missing = Vec::new();
    let mut above = path.parent();
    while let Some(parent) = above.filter(|parent| *parent != Path::new("")) {
        if is_there(parent)? {
            break;
        }
        missing.push(parent);
        above = parent.parent();
    }
    let Some(model) = above.filter(|_| !missing.is_empty()) else {
        return Ok(());
    };
    let model = fs::metadata(model)?;
    for parent in missing.into_iter().rev() {
        fs::create_dir(parent)?;
        if rustix::process::geteuid().is_root() {
            chown(parent, Some(model.uid()), Some(model.gid()))?;
        }
        fs::set_permissions(parent, fs::Permissions::from_mode(model.mode() & 0o7777))?;
    }
    Ok(())
}
