//! The roles of a running server, out of its catalogs: what `pg_dumpall --roles-only` tells.

use serde::Deserialize;

use super::{Attributes, Membership, ParameterGrant, Role, RolesScript};
use crate::properties::{Label, Setting};
use crate::server::{Server, ServerError};

/// As the catalogs tell it; settings are lines of `setconfig`.
#[derive(Deserialize)]
struct Told {
    roles: Vec<ToldRole>,
    memberships: Vec<Membership>,
    lines_of_all: Vec<String>,
}

#[derive(Deserialize)]
struct ToldRole {
    name: String,
    attributes: Attributes,
    lines: Vec<String>,
    comment: Option<String>,
    labels: Vec<Label>,
}

impl RolesScript {
    /// Asks for the server's roles, in whatever snapshot the connection has; passwords only of who may read them.
    pub(crate) async fn ask(server: &Server, with_passwords: bool) -> Result<Self, ServerError> {
        let (table, password) = if with_passwords {
            ("pg_authid", "r.rolpassword")
        } else {
            ("pg_roles", "NULL::text")
        };
        let question = QUESTION
            .replace("{table}", table)
            .replace("{password}", password);
        let told: Told = server.shared_json(&question).await?;
        let parameters = "SELECT 1 FROM pg_catalog.pg_class WHERE relname = 'pg_parameter_acl'
            AND relnamespace = 'pg_catalog'::pg_catalog.regnamespace";
        let parameters: Vec<ParameterGrant> = if server.number(parameters).await? == 1 {
            server.shared_json(PARAMETERS).await?
        } else {
            Vec::new()
        };
        let settings = |lines: Vec<String>| {
            let lines = lines.iter();
            lines.map(|line| Setting::of_catalog(None, line)).collect()
        };
        Ok(Self {
            roles: told
                .roles
                .into_iter()
                .map(|role| Role {
                    name: role.name,
                    attributes: Some(role.attributes),
                    settings: settings(role.lines),
                    comment: role.comment,
                    labels: role.labels,
                })
                .collect(),
            memberships: in_order(told.memberships),
            parameters,
            settings_of_all: settings(told.lines_of_all),
            database: None,
        })
    }
}

/// Since PostgreSQL 16 a grantor must have been given the ADMIN OPTION before.
fn in_order(mut waiting: Vec<Membership>) -> Vec<Membership> {
    let mut ordered: Vec<Membership> = Vec::new();
    loop {
        let may = |one: &Membership| {
            one.grantor.as_ref().is_none_or(|grantor| {
                ordered
                    .iter()
                    .any(|done| done.admin && done.role == one.role && done.member == *grantor)
            })
        };
        let (ready, later): (Vec<_>, Vec<_>) = waiting.into_iter().partition(may);
        if ready.is_empty() {
            // Older servers ask for no such thing.
            ordered.extend(later);
            return ordered;
        }
        ordered.extend(ready);
        waiting = later;
    }
}

/// The system's own roles (`pg_…`) are on every server; memberships in them are told. What the first superuser granted, whoever loads it
/// grants (as pg_dumpall has it since 16).
const QUESTION: &str = "
SELECT pg_catalog.jsonb_build_object(
  'roles', COALESCE((
    SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
      'name', r.rolname,
      'attributes', pg_catalog.jsonb_build_object('superuser', r.rolsuper, 'inherit', r.rolinherit, 'create_role', r.rolcreaterole,
        'create_db', r.rolcreatedb, 'login', r.rolcanlogin, 'replication', r.rolreplication, 'bypass_rls', r.rolbypassrls,
        'connection_limit', r.rolconnlimit, 'password', {password}, 'valid_until', r.rolvaliduntil::text),
      'lines', COALESCE((SELECT pg_catalog.to_jsonb(s.setconfig) FROM pg_catalog.pg_db_role_setting s
        WHERE s.setdatabase = 0 AND s.setrole = r.oid), '[]'),
      'comment', pg_catalog.shobj_description(r.oid, 'pg_authid'),
      'labels', COALESCE((SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('provider', l.provider, 'label', l.label)
          ORDER BY l.provider)
        FROM pg_catalog.pg_shseclabel l
        WHERE l.objoid = r.oid AND l.classoid = 'pg_catalog.pg_authid'::pg_catalog.regclass), '[]'))
      ORDER BY r.rolname)
    FROM pg_catalog.{table} r WHERE NOT pg_catalog.starts_with(r.rolname::text, 'pg_')), '[]'),
  'memberships', COALESCE((
    SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
      'role', role.rolname, 'member', member.rolname, 'admin', m.admin_option,
      'inherit', (w.whole ->> 'inherit_option')::boolean, 'set', (w.whole ->> 'set_option')::boolean,
      'grantor', CASE WHEN w.whole ->> 'set_option' IS NULL OR grantor.oid <> 10 THEN grantor.rolname END)
      ORDER BY role.rolname, member.rolname, grantor.rolname)
    FROM pg_catalog.pg_auth_members m
    JOIN pg_catalog.pg_roles role ON role.oid = m.roleid JOIN pg_catalog.pg_roles member ON member.oid = m.member
    LEFT JOIN pg_catalog.pg_roles grantor ON grantor.oid = m.grantor
    CROSS JOIN LATERAL (SELECT pg_catalog.to_jsonb(m)) w (whole)
    WHERE NOT (pg_catalog.starts_with(role.rolname::text, 'pg_') AND pg_catalog.starts_with(member.rolname::text, 'pg_'))), '[]'),
  'lines_of_all', COALESCE((SELECT pg_catalog.to_jsonb(s.setconfig) FROM pg_catalog.pg_db_role_setting s
    WHERE s.setdatabase = 0 AND s.setrole = 0), '[]'))";

/// What others than the owner, who is the first superuser, may do with the server's settings.
const PARAMETERS: &str = "
SELECT COALESCE(pg_catalog.jsonb_agg(one.entry), '[]') FROM (
  SELECT pg_catalog.jsonb_build_object('parameter', p.parname, 'grantee', r.rolname, 'grantable', a.is_grantable,
    'set', pg_catalog.bool_or(a.privilege_type = 'SET'), 'alter_system', pg_catalog.bool_or(a.privilege_type = 'ALTER SYSTEM')) AS entry
  FROM pg_catalog.pg_parameter_acl p CROSS JOIN LATERAL pg_catalog.aclexplode(p.paracl) a
  LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.grantee
  WHERE a.grantee <> 10 AND (a.grantee = 0 OR r.oid IS NOT NULL)
  GROUP BY p.parname, r.rolname, a.is_grantable ORDER BY p.parname, r.rolname) one";
