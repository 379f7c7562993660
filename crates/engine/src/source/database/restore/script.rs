//! The roles file of a dump.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use catalog::artifact::Artifact;
use postgres::restore::roles::RolesScript;
use stream::read::ArtifactReader;

/// A roles file is a few kilobytes; this bounds what a damaged one could claim.
const ROLES_BYTES: u64 = 64 * 1024 * 1024;

/// Reads the roles file of a dump. What the manifest tells of the dumped database comes before what that file says.
pub(crate) fn read_script(
    path: &Path,
    roles: &Artifact,
    dump: &Artifact,
) -> std::io::Result<RolesScript> {
    let reader = ArtifactReader::open(path, roles.compression.decoded(), Arc::default())?;
    let mut text = String::new();
    reader.take(ROLES_BYTES).read_to_string(&mut text)?;
    let mut script = RolesScript::read(&text).map_err(std::io::Error::other)?;
    if let Some(told) = dump.dump().and_then(|dump| dump.properties.as_ref()) {
        let told = serde_json::from_value(told.clone()).map_err(std::io::Error::other)?;
        script.database = Some(told);
    }
    Ok(script)
}
