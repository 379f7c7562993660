//! Databases in no encoding: what in them could not be restored.

use super::{Server, ServerError, bytes_of_hex};

/// The encoding of databases that take any bytes for text.
pub(crate) const SQL_ASCII: &str = "SQL_ASCII";

/// Every text of the catalogs that a dump's statements are made of, with a byte that is not ASCII: kind, name and text, in hex.
const TEXTS: &str = "
SELECT kind, pg_catalog.encode(pg_catalog.convert_to(name, 'SQL_ASCII'), 'hex'), pg_catalog.encode(pg_catalog.convert_to(text, 'SQL_ASCII'), 'hex')
FROM (
  SELECT 'schema' AS kind, nspname::text AS name, nspname::text AS text FROM pg_catalog.pg_namespace
  UNION ALL SELECT 'relation', relname, relname FROM pg_catalog.pg_class
  UNION ALL SELECT 'column', attname, attname FROM pg_catalog.pg_attribute WHERE attnum > 0
  UNION ALL SELECT 'type', typname, typname FROM pg_catalog.pg_type WHERE typrelid = 0 AND typelem = 0
  UNION ALL SELECT 'value of an enum', enumlabel, enumlabel FROM pg_catalog.pg_enum
  UNION ALL SELECT 'function', proname, pg_catalog.concat_ws(' ', proname, prosrc, proargnames::text) FROM pg_catalog.pg_proc
  UNION ALL SELECT 'view', relname, pg_catalog.pg_get_viewdef(oid) FROM pg_catalog.pg_class WHERE relkind IN ('v', 'm')
  UNION ALL SELECT 'default of', c.relname, pg_catalog.pg_get_expr(d.adbin, d.adrelid)
    FROM pg_catalog.pg_attrdef d JOIN pg_catalog.pg_class c ON c.oid = d.adrelid
  UNION ALL SELECT 'index', c.relname, pg_catalog.pg_get_indexdef(i.indexrelid)
    FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
  UNION ALL SELECT 'constraint', conname, pg_catalog.concat_ws(' ', conname, pg_catalog.pg_get_constraintdef(oid)) FROM pg_catalog.pg_constraint
  UNION ALL SELECT 'trigger', tgname, pg_catalog.pg_get_triggerdef(oid) FROM pg_catalog.pg_trigger
  UNION ALL SELECT 'policy', polname, pg_catalog.concat_ws(' ', polname, pg_catalog.pg_get_expr(polqual, polrelid),
    pg_catalog.pg_get_expr(polwithcheck, polrelid)) FROM pg_catalog.pg_policy
  UNION ALL SELECT 'comment on', COALESCE((pg_catalog.pg_identify_object(classoid, objoid, objsubid)).identity, 'an object'), description
    FROM pg_catalog.pg_description) AS texts
WHERE text ~ '[^\\x01-\\x7f]' ORDER BY 1, 2";

/// What of it is no UTF-8: the kind and the name of each.
pub(super) async fn not_utf8(server: &Server, most: usize) -> Result<Vec<String>, ServerError> {
    let rows = server.rows(TEXTS).await?;
    let bytes = |text: Option<&str>| bytes_of_hex(text.unwrap_or_default());
    let unreadable = rows
        .iter()
        .filter(|row| std::str::from_utf8(&bytes(row.get(2))).is_err());
    let named = unreadable.map(|row| {
        let name = bytes(row.get(1));
        format!(
            "{} \"{}\"",
            row.get(0).unwrap_or_default(),
            name.escape_ascii()
        )
    });
    let mut named: Vec<String> = named.collect();
    // A table is a type, too.
    named.dedup();
    named.truncate(most);
    Ok(named)
}
