//! The roles artifact: what `pg_dump` of one database leaves out. Roles, their settings and memberships are the server's and come from
//! `pg_dumpall --roles-only`; the database's own owner, settings (`ALTER DATABASE … SET`, also per role), privileges and comment are
//! written by `pg_dump --create` alone, and come from there, without the creation of the database itself.

mod properties;

use std::io::Write;

use stream::child::Program;
use tokio_util::sync::CancellationToken;

use crate::dsn::Dsn;
use crate::dump::{DumpError, DumpRequest, commit, create, failed};
use crate::inventory::Inventory;
use crate::server::Facts;
use stream::artifact::Written;

/// What pg_dumpall ends with, and so does the artifact: psql takes it as a comment, and a reader knows that nothing is missing.
const TRAILER: &str = "PostgreSQL database cluster dump complete";

/// A roles artifact that is complete.
#[derive(Debug, Clone)]
pub struct DumpedRoles {
    /// The artifact.
    pub written: Written,
    /// Whether it holds password hashes.
    pub passwords_included: bool,
}

/// Dumps roles and the database's own properties as SQL text. `facts` decides whether password hashes can be read.
pub async fn dump_roles(
    request: DumpRequest<'_>,
    facts: &Facts,
    cancel: &CancellationToken,
) -> Result<DumpedRoles, DumpError> {
    let passwords_included = facts.can_read_passwords;
    let properties = properties::of_database(&request, cancel).await?;
    let mut writer = create(&request, request.encoding)?;
    let io = |source| failed(request.file, source);
    writer
        .write_all(header(request.dsn, passwords_included).as_bytes())
        .map_err(io)?;
    let mut program = Program::new(request.tools.pg_dumpall())
        .envs(request.dsn.child_env())
        .args(["--roles-only", "--no-password"])
        .arg(format!(
            "--database={}",
            database_argument(&request.dsn.database)
        ));
    if !passwords_included {
        program = program.arg("--no-role-passwords");
    }
    let (inventory, finished) = program.stream_into(Inventory::new(writer), cancel).await?;
    let (mut writer, census) = inventory.finish();
    if !census.cluster_complete {
        return Err(DumpError::MissingTrailer {
            program: "pg_dumpall",
            trailer: TRAILER,
        });
    }
    // Both producers are proven: the properties' by `of_database`, which asks for exit 0, pg_dumpall by its token and trailer.
    writer
        .write_all(&properties)
        .and_then(|()| write!(writer, "\n--\n-- {TRAILER}\n--\n"))
        .map_err(io)?;
    let written = commit(writer, finished, request.file).await?;
    Ok(DumpedRoles {
        written,
        passwords_included,
    })
}

fn header(dsn: &Dsn, passwords_included: bool) -> String {
    let passwords = if passwords_included {
        "with password hashes"
    } else {
        "WITHOUT passwords (the role that dumped may not read them)"
    };
    let database = one_line(&dsn.database);
    format!(
        "-- Roles of the server, their settings and memberships, {passwords}; then owner, settings, privileges and comment\n\
         -- of the database {database}. Written by backupd with PostgreSQL's pg_dumpall and pg_dump.\n\
         --\n\
         -- Load it with psql as a superuser, connected to any database, before the dump; the database must be there.\n\
         -- \"role ... already exists\" is said of roles that the server has, and is harmless: their properties are set all the same.\n\n"
    )
}

/// A name for a comment: a newline would end the comment.
fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

/// libpq takes a database's name that looks like a connection string for one, so such a name is given as one.
pub(crate) fn database_argument(name: &str) -> String {
    if name.contains('=') || name.starts_with("postgres://") || name.starts_with("postgresql://") {
        let escaped = name.replace('\\', "\\\\").replace('\'', "\\'");
        format!("dbname='{escaped}'")
    } else {
        name.to_owned()
    }
}
