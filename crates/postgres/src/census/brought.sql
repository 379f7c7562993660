-- What each extension brought, as it is now (census/brought.rs): extension, version, its members with how its functions run, and what
-- is given on the schemas that it uses; the functions of it that run in a way of their own, or lie in a schema that it did not bring;
-- privileges on those of its schemas on which some were given while an extension was created, which no dump holds. Asked with an empty search_path. Of functions that an ordinary role owns nothing is told:
-- after a restore they are the superuser's.
WITH extension AS (
  SELECT * FROM pg_extension WHERE extname <> 'plpgsql'),
member AS (
  SELECT e.oid AS extension, e.extnamespace, d.classid, d.objid FROM pg_depend d
  JOIN extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid WHERE d.deptype = 'e'),
routine AS (
  SELECT m.extension, p.oid::regprocedure::text AS signature, p.prosecdef, p.proconfig, pg_get_userbyid(p.proowner) AS owner,
    -- Neither of its own schemas: an event trigger put it there while the extension was created.
    CASE WHEN p.prokind IN ('f', 'p') AND l.lanname NOT IN ('c', 'internal') AND p.pronamespace <> m.extnamespace AND NOT EXISTS (
      SELECT FROM member s WHERE s.extension = m.extension AND s.classid = 'pg_namespace'::regclass AND s.objid = p.pronamespace)
      THEN pg_get_functiondef(p.oid) END AS definition
  FROM member m JOIN pg_proc p ON m.classid = 'pg_proc'::regclass AND p.oid = m.objid
  JOIN pg_language l ON l.oid = p.prolang JOIN pg_roles r ON r.oid = p.proowner AND r.rolsuper),
schema AS (
  SELECT oid AS extension, extnamespace AS schema FROM extension
  UNION SELECT m.extension, COALESCE(p.pronamespace, c.relnamespace, m.objid) FROM member m
    LEFT JOIN pg_proc p ON m.classid = 'pg_proc'::regclass AND p.oid = m.objid
    LEFT JOIN pg_class c ON m.classid = 'pg_class'::regclass AND c.oid = m.objid
    WHERE m.classid IN ('pg_proc'::regclass, 'pg_class'::regclass, 'pg_namespace'::regclass)),
given AS (
  SELECT s.extension, n.nspname AS schema, CASE x.grantee WHEN 0 THEN NULL ELSE pg_get_userbyid(x.grantee) END AS role, x.privilege_type AS privilege,
    x.is_grantable AS grantable, EXISTS (SELECT FROM pg_init_privs i
      WHERE i.classoid = 'pg_namespace'::regclass AND i.objoid = n.oid AND i.privtype = 'e') AS not_dumped
  FROM schema s JOIN pg_namespace n ON n.oid = s.schema CROSS JOIN LATERAL aclexplode(n.nspacl) x
  WHERE x.grantee <> n.nspowner),
line AS (
  SELECT m.extension, concat_ws(' ', i.type, i.identity) AS text FROM member m CROSS JOIN LATERAL pg_identify_object(m.classid, m.objid, 0) i
  UNION ALL SELECT extension, concat_ws(' ', signature, 'definer') FROM routine WHERE prosecdef
  UNION ALL SELECT extension, concat_ws(' ', signature, setting) FROM routine, unnest(proconfig) setting
  UNION ALL SELECT extension, concat_ws(' ', quote_ident(schema), COALESCE(quote_ident(role), 'everybody'), privilege, grantable) FROM given)
SELECT e.extname, e.extversion,
  (SELECT string_agg(text, E'\n' ORDER BY text COLLATE "C") FROM line l WHERE l.extension = e.oid),
  (SELECT json_agg(json_build_object('signature', signature, 'owner', owner, 'definer', prosecdef, 'settings', COALESCE(to_json(proconfig), '[]'),
      'definition', definition) ORDER BY signature COLLATE "C")
    FROM routine r WHERE r.extension = e.oid AND (prosecdef OR proconfig IS NOT NULL OR definition IS NOT NULL)),
  (SELECT json_agg(json_build_object('schema', schema, 'role', role, 'privilege', privilege, 'grantable', grantable)
      ORDER BY schema COLLATE "C", role COLLATE "C", privilege)
    FROM given g WHERE g.extension = e.oid AND g.not_dumped)
FROM extension e ORDER BY e.extname COLLATE "C"
