//! Whose a relation is that an extension is said to have made.

use crate::server::{Server, ServerError, literal};

/// Whether there is such a relation, and it is an extension's own and belongs to a superuser, as does the extension: then a query of it
/// runs no code of anybody else. Everybody may give a view or a table such a name, and an owner of an extension may add it to that.
pub async fn owns(server: &Server, extension: &str, relation: &str) -> Result<bool, ServerError> {
    let question = format!(
        "SELECT pg_catalog.count(*) FROM pg_catalog.pg_depend d
         JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid JOIN pg_catalog.pg_roles o ON o.oid = e.extowner
         JOIN pg_catalog.pg_class c ON c.oid = d.objid JOIN pg_catalog.pg_roles r ON r.oid = c.relowner
         WHERE d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass AND d.deptype = 'e'
           AND d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = pg_catalog.to_regclass({})
           AND e.extname = {} AND o.rolsuper AND r.rolsuper",
        literal(relation),
        literal(extension)
    );
    Ok(server.number(&question).await? > 0)
}
