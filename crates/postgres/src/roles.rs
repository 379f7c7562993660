//! The roles artifact: what `pg_dump` of one database leaves out, as SQL that psql loads without an error on any server. The server's
//! roles with their passwords, settings and memberships; then the database itself, with owner, settings, privileges, comment and limits.
//!
//! All of it is asked from the catalogs, at one moment, and written as statements of ours.

use stream::Finished;
use stream::artifact::Written;
use tokio_util::sync::CancellationToken;

use crate::dsn::Dsn;
use crate::dump::{DumpError, DumpRequest, commit, create, failed};
use crate::properties::DatabaseProperties;
use crate::restore::roles::RolesScript;
use crate::server::{Facts, Server};

/// What pg_dumpall ends with, and so does the artifact: psql takes it as a comment, and a reader knows that nothing is missing.
const TRAILER: &str = "PostgreSQL database cluster dump complete";
/// What the session that loads it needs, whatever it was given. Notices tell of memberships that are there.
const SESSION: &str = "\\set ON_ERROR_STOP on
SET search_path = '';
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SET default_transaction_read_only = off;
SET statement_timeout = 0;
SET client_min_messages = warning;
";

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
    let asking = async {
        let server = Server::connect(request.dsn).await?;
        server
            .execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            .await?;
        let roles = RolesScript::ask(&server, passwords_included).await?;
        let database = DatabaseProperties::ask(&server).await?;
        Ok::<_, DumpError>(roles.to_sql(&database, &request.dsn.database))
    };
    let statements = tokio::select! {
        statements = asking => statements?,
        () = cancel.cancelled() => return Err(DumpError::Cancelled),
    };
    let text = format!(
        "{}{SESSION}\n{statements}\n--\n-- {TRAILER}\n--\n",
        header(request.dsn, passwords_included)
    );
    let mut writer = create(&request, request.encoding)?;
    let finished = Finished::writing(&mut writer, text.as_bytes())
        .map_err(|source| failed(request.file, source))?;
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
        "-- Roles of the server, their settings and memberships, {passwords}; then the database {database}, with owner, settings,\n\
         -- privileges and comment. Written by backupd.\n\
         --\n\
         -- Load it with psql as a superuser, connected to another database (template1), before the dump. Roles and database are created\n\
         -- where they are missing, and get their properties where they are there.\n\n"
    )
}

/// A name for a comment: a newline would end the comment.
fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}
