-- Every object of the database: kind, name, the extensions it cannot be without, and the facets that are compared (census.rs):
-- properties, settings, privileges, comment, definition, owner. Asked with an empty search_path, so that plain names and operators are
-- pg_catalog's and all others are told with their schema.
--
-- `need` is what depends on an extension's members, by whatever way (pg_depend, PostgreSQL manual 53.18). A view depends through its
-- rule, a table through a default or a check. What extensions bring themselves is theirs to bring back, but for the tables whose rows a
-- dump holds (`extconfig`). What partitions have of their parents comes with these.
WITH RECURSIVE member AS (
  SELECT e.extname, d.classid, d.objid FROM pg_depend d
  JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
  WHERE d.deptype = 'e' AND e.extname <> 'plpgsql'),
need (extname, classid, objid) AS (
  SELECT extname, classid, objid FROM member
  UNION
  SELECT n.extname, t.classid, t.objid FROM need n
  JOIN pg_depend d ON d.refclassid = n.classid AND d.refobjid = n.objid AND d.deptype IN ('n', 'a', 'i')
  CROSS JOIN LATERAL (
    SELECT d.classid, d.objid
    UNION ALL SELECT 'pg_class'::regclass, r.ev_class FROM pg_rewrite r WHERE d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid
    UNION ALL SELECT 'pg_class'::regclass, a.adrelid FROM pg_attrdef a WHERE d.classid = 'pg_attrdef'::regclass AND a.oid = d.objid
    UNION ALL SELECT 'pg_class'::regclass, c.conrelid FROM pg_constraint c
      WHERE d.classid = 'pg_constraint'::regclass AND c.oid = d.objid AND c.contype = 'c' AND c.conrelid <> 0
    UNION ALL SELECT 'pg_type'::regclass, c.contypid FROM pg_constraint c
      WHERE d.classid = 'pg_constraint'::regclass AND c.oid = d.objid AND c.contypid <> 0) t),
-- What was given on a schema while an extension was created is in no dump: it comes with the extension.
given AS (
  SELECT e.extname, i.classoid, i.objoid FROM pg_init_privs i JOIN pg_extension e ON e.extnamespace = i.objoid
    OR EXISTS (SELECT FROM member m JOIN pg_proc p ON p.oid = m.objid
      WHERE m.extname = e.extname AND m.classid = 'pg_proc'::regclass AND p.pronamespace = i.objoid)
  WHERE i.classoid = 'pg_namespace'::regclass AND i.privtype = 'e'),
needed AS (
  SELECT classid, objid, string_agg(DISTINCT extname, ',') AS extensions
  FROM (SELECT extname, classid, objid FROM need UNION ALL SELECT * FROM given) n GROUP BY classid, objid),
schema AS (
  SELECT oid, nspname, nspowner, nspacl FROM pg_namespace WHERE nspname <> 'information_schema' AND nspname NOT LIKE 'pg\_%'),
rel AS (
  SELECT c.*, format('%I.%I', s.nspname, c.relname) AS name, kind.name AS kind
  FROM pg_class c JOIN schema s ON s.oid = c.relnamespace
  LEFT JOIN (VALUES ('r'::"char", 'table'), ('p', 'table'), ('v', 'view'), ('m', 'materialized view'), ('S', 'sequence'), ('f', 'foreign table'))
    AS kind (relkind, name) ON kind.relkind = c.relkind
  WHERE c.relpersistence <> 't' AND NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_class'::regclass AND m.objid = c.oid)),
-- By name, not by place: children have their parents' columns in another order after a restore.
columns AS (
  SELECT a.attrelid,
    string_agg(format('%I %s %s %s %s %s %s %s %s %s %s', a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.atthasdef, a.attidentity,
      a.attgenerated, a.attcollation::regcollation, a.attstorage, COALESCE(a.attstattarget, -1), o.list, a.attfdwoptions),
      E'\n' ORDER BY a.attname) AS properties,
    string_agg(format('%I %s', a.attname, pg_get_expr(d.adbin, d.adrelid)), E'\n' ORDER BY a.attname) FILTER (WHERE d.oid IS NOT NULL) AS defaults,
    string_agg(format('%I %s', a.attname, (SELECT string_agg(g::text, ',' ORDER BY g::text COLLATE "C")
      FROM (SELECT pg_get_userbyid(x.grantor), x.grantee::regrole, x.privilege_type, x.is_grantable FROM aclexplode(a.attacl) x) g)),
      E'\n' ORDER BY a.attname) FILTER (WHERE a.attacl <> '{}') AS privileges,
    string_agg(format('%I %s', a.attname, c.description), E'\n' ORDER BY a.attname) FILTER (WHERE c.description IS NOT NULL) AS comments
  FROM pg_attribute a JOIN pg_class r ON r.oid = a.attrelid AND r.relkind IN ('r', 'p', 'v', 'm', 'f', 'c') JOIN schema s ON s.oid = r.relnamespace
  LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
  -- PostgreSQL 17.12 and its like give each column a number of its own, which pg_dump leaves out.
  LEFT JOIN LATERAL (SELECT array_agg(x ORDER BY n) AS list FROM unnest(a.attoptions) WITH ORDINALITY AS u (x, n) WHERE x NOT LIKE 'pg\_attver=%') o ON true
  LEFT JOIN pg_description c ON c.classoid = 'pg_class'::regclass AND c.objoid = a.attrelid AND c.objsubid = a.attnum
  WHERE a.attnum > 0 AND NOT a.attisdropped GROUP BY a.attrelid),
options AS (
  SELECT c.oid, (SELECT string_agg(o, ',' ORDER BY o COLLATE "C") FROM unnest(c.reloptions || t.reloptions) o) AS list
  FROM rel c LEFT JOIN pg_class t ON t.oid = c.reltoastrelid AND t.reloptions IS NOT NULL
  WHERE c.reloptions IS NOT NULL OR t.reloptions IS NOT NULL),
object (kind, name, classid, objid, properties, settings, owner, acltype, acl, definition) AS (
  SELECT 'schema', quote_ident(s.nspname), 'pg_namespace'::regclass, s.oid, NULL, NULL, s.nspowner, 'n'::"char", s.nspacl, NULL FROM schema s
  UNION ALL SELECT r.kind, r.name, 'pg_class'::regclass, r.oid,
      concat_ws(E'\n', r.relpersistence, CASE WHEN r.relkind IN ('r', 'p') THEN r.relreplident END, r.relispartition, NULLIF(r.reloftype, 0)::regtype,
        o.list, c.properties,
        (SELECT string_agg(i.inhparent::regclass::text, ',' ORDER BY i.inhseqno) FROM pg_inherits i WHERE i.inhrelid = r.oid),
        (SELECT format('%s %s', f.ftserver, (SELECT string_agg(x, ',' ORDER BY x COLLATE "C") FROM unnest(f.ftoptions) x))
          FROM (SELECT srvname AS ftserver, ftoptions, ftrelid FROM pg_foreign_table JOIN pg_foreign_server s ON s.oid = ftserver) f
          WHERE f.ftrelid = r.oid)),
      CASE WHEN r.relkind = 'm' THEN r.relispopulated::text
        WHEN r.relrowsecurity OR r.relforcerowsecurity THEN format('%s %s', r.relrowsecurity, r.relforcerowsecurity) END,
      r.relowner, 'r', r.relacl,
      NULLIF(concat_ws(E'\n', (SELECT amname FROM pg_am WHERE oid = r.relam), c.defaults, pg_get_expr(r.relpartbound, r.oid),
        CASE r.relkind WHEN 'p' THEN pg_get_partkeydef(r.oid) WHEN 'v' THEN pg_get_viewdef(r.oid) WHEN 'm' THEN pg_get_viewdef(r.oid) END), '')
    FROM rel r LEFT JOIN columns c ON c.attrelid = r.oid LEFT JOIN options o ON o.oid = r.oid WHERE r.relkind IN ('r', 'p', 'v', 'm', 'f')
  UNION ALL SELECT r.kind, r.name, 'pg_class'::regclass, r.oid,
      concat_ws(' ', r.relpersistence, format_type(s.seqtypid, NULL), s.seqstart, s.seqincrement, s.seqmin, s.seqmax, s.seqcycle, s.seqcache,
        (SELECT format('%s %s.%I', d.deptype, d.refobjid::regclass, a.attname) FROM pg_depend d
          JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
          WHERE d.classid = 'pg_class'::regclass AND d.objid = r.oid AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i'))),
      NULL, r.relowner, 's', r.relacl, NULL
    FROM rel r JOIN pg_sequence s ON s.seqrelid = r.oid
  -- Invalid ones no dump has.
  UNION ALL SELECT 'index', i.name, 'pg_class'::regclass, i.oid,
      concat_ws(' ', m.amname, x.indisunique, x.indisprimary, x.indisexclusion, x.indisreplident, x.indisclustered, x.indnkeyatts, o.list),
      NULL, NULL, NULL, NULL, pg_get_indexdef(i.oid)
    FROM rel i JOIN pg_index x ON x.indexrelid = i.oid JOIN rel t ON t.oid = x.indrelid JOIN pg_am m ON m.oid = i.relam LEFT JOIN options o ON o.oid = i.oid
    WHERE (x.indisvalid OR t.relkind = 'p') AND x.indisready
  UNION ALL SELECT 'function', format('%I.%I(%s)', s.nspname, p.proname, pg_get_function_identity_arguments(p.oid)), 'pg_proc'::regclass, p.oid,
      concat_ws(' ', p.prokind, p.provolatile, p.proisstrict, p.proparallel, p.proretset, format_type(p.prorettype, NULL), l.lanname, p.procost, p.prorows,
        p.prosupport, p.proargmodes, p.proargnames, p.probin, encode(sha256(convert_to(p.prosrc, 'UTF8')), 'hex'),
        (SELECT string_agg(format_type(t, NULL), ',' ORDER BY n) FROM unnest(p.proallargtypes) WITH ORDINALITY AS a (t, n)),
        (SELECT concat_ws(' ', a.aggkind, a.aggnumdirectargs, a.aggtransfn, a.aggfinalfn, a.aggcombinefn, a.aggmtransfn, a.aggsortop::regoperator,
           format_type(a.aggtranstype, NULL), a.agginitval) FROM pg_aggregate a WHERE a.aggfnoid = p.oid)),
      NULLIF(concat_ws(' ', CASE WHEN p.prosecdef THEN 'definer' END, CASE WHEN p.proleakproof THEN 'leakproof' END,
        (SELECT string_agg(c, E'\n' ORDER BY c COLLATE "C") FROM unnest(p.proconfig) c)), ''),
      p.proowner, 'f', p.proacl,
      NULLIF(concat_ws(E'\n', CASE WHEN p.pronargdefaults > 0 THEN pg_get_function_arguments(p.oid) END, /*sqlbody*/ NULL), '')
    FROM pg_proc p JOIN schema s ON s.oid = p.pronamespace JOIN pg_language l ON l.oid = p.prolang
  UNION ALL SELECT 'type', format('%I.%I', s.nspname, t.typname), 'pg_type'::regclass, t.oid,
      concat_ws(E'\n', t.typtype, t.typnotnull, format_type(NULLIF(t.typbasetype, 0), t.typtypmod), NULLIF(t.typcollation, 0)::regcollation, a.properties,
        (SELECT string_agg(quote_literal(e.enumlabel), ',' ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = t.oid),
        (SELECT concat_ws(' ', format_type(r.rngsubtype, NULL), NULLIF(r.rngcollation, 0)::regcollation, r.rngcanonical, r.rngsubdiff)
          FROM pg_range r WHERE r.rngtypid = t.oid)),
      NULL, t.typowner, 'T', t.typacl, pg_get_expr(t.typdefaultbin, 0)
    FROM pg_type t JOIN schema s ON s.oid = t.typnamespace LEFT JOIN pg_class c ON c.oid = t.typrelid LEFT JOIN columns a ON a.attrelid = t.typrelid
    WHERE t.typtype IN ('d', 'e', 'r') OR (t.typtype = 'c' AND c.relkind = 'c')
  UNION ALL SELECT 'constraint', format('%s.%I', COALESCE(r.name, format_type(c.contypid, NULL)), c.conname), 'pg_constraint'::regclass, c.oid,
      concat_ws(' ', c.contype, c.condeferrable, c.condeferred, c.convalidated, NULLIF(c.confrelid, 0)::regclass, c.confupdtype, c.confdeltype, c.confmatchtype,
        (SELECT string_agg(quote_ident(a.attname), ',' ORDER BY k.n) FROM unnest(c.conkey) WITH ORDINALITY AS k (num, n)
          JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.num WHERE c.contype <> 'c'),
        (SELECT string_agg(quote_ident(a.attname), ',' ORDER BY k.n) FROM unnest(c.confkey) WITH ORDINALITY AS k (num, n)
          JOIN pg_attribute a ON a.attrelid = c.confrelid AND a.attnum = k.num)),
      NULL, NULL, NULL, NULL, pg_get_constraintdef(c.oid)
    FROM pg_constraint c JOIN schema s ON s.oid = c.connamespace LEFT JOIN rel r ON r.oid = c.conrelid
    WHERE c.contype IN ('c', 'f', 'p', 'u', 'x') AND c.conparentid = 0 AND (r.oid IS NOT NULL OR c.contypid <> 0)
  UNION ALL SELECT 'trigger', format('%s.%I', r.name, t.tgname), 'pg_trigger'::regclass, t.oid,
      concat_ws(' ', t.tgtype, t.tgfoid::regproc, t.tgdeferrable, t.tginitdeferred, t.tgnargs, encode(t.tgargs, 'hex'), t.tgoldtable, t.tgnewtable),
      t.tgenabled::text, NULL, NULL, NULL, pg_get_triggerdef(t.oid)
    FROM pg_trigger t JOIN rel r ON r.oid = t.tgrelid WHERE NOT t.tgisinternal AND t.tgparentid = 0
  UNION ALL SELECT 'rule', format('%s.%I', r.name, w.rulename), 'pg_rewrite'::regclass, w.oid, concat_ws(' ', w.ev_type, w.is_instead),
      w.ev_enabled::text, NULL, NULL, NULL, pg_get_ruledef(w.oid)
    FROM pg_rewrite w JOIN rel r ON r.oid = w.ev_class WHERE w.rulename <> '_RETURN'
  UNION ALL SELECT 'policy', format('%s.%I', r.name, p.polname), 'pg_policy'::regclass, p.oid,
      concat_ws(' ', p.polcmd, p.polpermissive, (SELECT string_agg(o::regrole::text, ',' ORDER BY o::regrole::text COLLATE "C")
        FROM unnest(p.polroles) o)),
      NULL, NULL, NULL, NULL, concat_ws(E'\n', 'USING', pg_get_expr(p.polqual, p.polrelid), 'WITH CHECK', pg_get_expr(p.polwithcheck, p.polrelid))
    FROM pg_policy p JOIN rel r ON r.oid = p.polrelid
  UNION ALL SELECT 'statistics', format('%I.%I', s.nspname, x.stxname), 'pg_statistic_ext'::regclass, x.oid, x.stxkind::text, NULL, x.stxowner, NULL, NULL,
      pg_get_statisticsobjdef(x.oid)
    FROM pg_statistic_ext x JOIN schema s ON s.oid = x.stxnamespace
  UNION ALL SELECT 'event trigger', quote_ident(evtname), 'pg_event_trigger'::regclass, oid,
      concat_ws(' ', evtevent, evtfoid::regproc, (SELECT string_agg(t, ',' ORDER BY t COLLATE "C") FROM unnest(evttags) t)),
      evtenabled::text, evtowner, NULL, NULL, NULL
    FROM pg_event_trigger
  UNION ALL SELECT 'publication', quote_ident(pubname), 'pg_publication'::regclass, oid,
      concat_ws(' ', puballtables, pubinsert, pubupdate, pubdelete, pubtruncate, to_jsonb(p) ->> 'pubviaroot'), NULL, pubowner, NULL, NULL, NULL
    FROM pg_publication p
  UNION ALL SELECT 'published table', format('%I: %s', b.pubname, t.name), 'pg_publication_rel'::regclass, p.oid, NULL, NULL, NULL, NULL, NULL,
      NULLIF(concat_ws(E'\n', to_jsonb(v) ->> 'attnames', to_jsonb(v) ->> 'rowfilter'), '')
    FROM pg_publication_rel p JOIN pg_publication b ON b.oid = p.prpubid JOIN rel t ON t.oid = p.prrelid
    LEFT JOIN pg_publication_tables v ON v.pubname = b.pubname AND format('%I.%I', v.schemaname, v.tablename) = t.name
  -- A catalog that servers before 15 lack; all have its entries' dependencies.
  UNION ALL SELECT 'published schema', format('%I: %I', b.pubname, s.nspname), d.classid, d.objid, NULL, NULL, NULL, NULL, NULL, NULL
    FROM pg_depend d JOIN schema s ON d.refclassid = 'pg_namespace'::regclass AND s.oid = d.refobjid
    JOIN pg_depend p ON p.classid = d.classid AND p.objid = d.objid AND p.refclassid = 'pg_publication'::regclass
    JOIN pg_publication b ON b.oid = p.refobjid
    WHERE d.classid = to_regclass('pg_catalog.pg_publication_namespace')
  UNION ALL SELECT 'foreign data wrapper', quote_ident(fdwname), 'pg_foreign_data_wrapper'::regclass, oid,
      concat_ws(' ', fdwhandler::regproc, fdwvalidator::regproc, (SELECT string_agg(o, E'\n' ORDER BY o COLLATE "C") FROM unnest(fdwoptions) o)),
      NULL, fdwowner, 'F', fdwacl, NULL
    FROM pg_foreign_data_wrapper
  UNION ALL SELECT 'foreign server', quote_ident(s.srvname), 'pg_foreign_server'::regclass, s.oid,
      concat_ws(' ', s.srvtype, s.srvversion, w.fdwname, (SELECT string_agg(o, E'\n' ORDER BY o COLLATE "C") FROM unnest(s.srvoptions) o)),
      NULL, s.srvowner, 'S', s.srvacl, NULL
    FROM pg_foreign_server s JOIN pg_foreign_data_wrapper w ON w.oid = s.srvfdw
  UNION ALL SELECT 'user mapping', format('%I for %I', srvname, usename), 'pg_user_mapping'::regclass, umid,
      -- Hidden from all but superusers and whom they are of.
      COALESCE((SELECT string_agg(o, E'\n' ORDER BY o COLLATE "C") FROM unnest(umoptions) o), '?'), NULL, NULL, NULL, NULL, NULL
    FROM pg_user_mappings
  UNION ALL SELECT 'cast', format('%s AS %s', format_type(castsource, NULL), format_type(casttarget, NULL)), 'pg_cast'::regclass, oid,
      concat_ws(' ', castfunc::regprocedure, castcontext, castmethod), NULL, NULL, NULL, NULL, NULL
    FROM pg_cast WHERE oid >= 16384
  UNION ALL SELECT 'operator', format('%I.%s (%s, %s)', s.nspname, o.oprname, format_type(NULLIF(o.oprleft, 0), NULL), format_type(NULLIF(o.oprright, 0), NULL)),
      'pg_operator'::regclass, o.oid,
      concat_ws(' ', o.oprcode::regproc, o.oprcom::regoperator, o.oprnegate::regoperator, o.oprrest::regproc, o.oprjoin::regproc, o.oprcanmerge, o.oprcanhash),
      NULL, o.oprowner, NULL, NULL, NULL
    FROM pg_operator o JOIN schema s ON s.oid = o.oprnamespace
  UNION ALL SELECT 'operator class', format('%I.%I using %I', s.nspname, o.opcname, m.amname), 'pg_opclass'::regclass, o.oid,
      concat_ws(' ', o.opcdefault, format_type(o.opcintype, NULL), format_type(NULLIF(o.opckeytype, 0), NULL),
        (SELECT string_agg(format('%s %s', a.amopstrategy, a.amopopr::regoperator), ',' ORDER BY a.amopstrategy, a.amopopr::regoperator::text COLLATE "C")
          FROM pg_amop a WHERE a.amopfamily = o.opcfamily),
        (SELECT string_agg(format('%s %s', a.amprocnum, a.amproc::regprocedure), ',' ORDER BY a.amprocnum, a.amproc::regprocedure::text COLLATE "C")
          FROM pg_amproc a WHERE a.amprocfamily = o.opcfamily)),
      NULL, o.opcowner, NULL, NULL, NULL
    FROM pg_opclass o JOIN schema s ON s.oid = o.opcnamespace JOIN pg_am m ON m.oid = o.opcmethod
  UNION ALL SELECT 'collation', format('%I.%I', s.nspname, c.collname), 'pg_collation'::regclass, c.oid, concat_ws(' ', c.collprovider, c.collisdeterministic),
      NULL, c.collowner, NULL, NULL,
      (to_jsonb(c) - '{oid,collname,collnamespace,collowner,collversion,collencoding}'::text[])::text
    FROM pg_collation c JOIN schema s ON s.oid = c.collnamespace
  UNION ALL SELECT 'text search configuration', format('%I.%I', s.nspname, c.cfgname), 'pg_ts_config'::regclass, c.oid,
      concat_ws(' ', (SELECT prsname FROM pg_ts_parser WHERE oid = c.cfgparser),
        (SELECT string_agg(format('%s %s', m.maptokentype, m.mapdict::regdictionary), ',' ORDER BY m.maptokentype, m.mapseqno)
          FROM pg_ts_config_map m WHERE m.mapcfg = c.oid)),
      NULL, c.cfgowner, NULL, NULL, NULL
    FROM pg_ts_config c JOIN schema s ON s.oid = c.cfgnamespace
  UNION ALL SELECT 'text search dictionary', format('%I.%I', s.nspname, d.dictname), 'pg_ts_dict'::regclass, d.oid,
      concat_ws(' ', (SELECT tmplname FROM pg_ts_template WHERE oid = d.dicttemplate), d.dictinitoption), NULL, d.dictowner, NULL, NULL, NULL
    FROM pg_ts_dict d JOIN schema s ON s.oid = d.dictnamespace
  UNION ALL SELECT 'language', quote_ident(lanname), 'pg_language'::regclass, oid,
      concat_ws(' ', lanpltrusted, lanplcallfoid::regproc, laninline::regproc, lanvalidator::regproc), NULL, lanowner, 'l', lanacl, NULL
    FROM pg_language WHERE oid >= 16384
  UNION ALL SELECT 'default privileges', format('%s of %I in %s', defaclobjtype, pg_get_userbyid(defaclrole),
        COALESCE((SELECT quote_ident(nspname) FROM pg_namespace WHERE oid = defaclnamespace), 'every schema')),
      'pg_default_acl'::regclass, oid, (SELECT string_agg(g::text, ',' ORDER BY g::text COLLATE "C")
        FROM (SELECT x.grantor::regrole, x.grantee::regrole, x.privilege_type, x.is_grantable FROM aclexplode(defaclacl) x
          WHERE x.privilege_type <> 'MAINTAIN') g),
      NULL, NULL, NULL, NULL, NULL
    FROM pg_default_acl
)
SELECT o.kind, o.name, needed.extensions, o.properties, o.settings,
  NULLIF(concat_ws(E'\n', privileges.list, c.privileges), ''), NULLIF(concat_ws(E'\n', d.description, c.comments), ''), o.definition,
  pg_get_userbyid(o.owner)
FROM object o
LEFT JOIN needed ON needed.classid = o.classid AND needed.objid = o.objid
LEFT JOIN columns c ON o.classid = 'pg_class'::regclass AND c.attrelid = o.objid
LEFT JOIN pg_description d ON d.classoid = o.classid AND d.objoid = o.objid AND d.objsubid = 0
-- Explicit lists, so that a default that was granted once more is still the default. MAINTAIN is new in PostgreSQL 17, which adds it to
-- what older servers call ALL.
LEFT JOIN LATERAL (
  SELECT NULLIF(string_agg(g.text, ',' ORDER BY g.text COLLATE "C") FILTER (WHERE NOT g.initial),
    string_agg(g.text, ',' ORDER BY g.text COLLATE "C") FILTER (WHERE g.initial)) AS list
  FROM (SELECT l.initial, format('%s>%s:%s %s', pg_get_userbyid(x.grantor), CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(x.grantee) END,
          x.privilege_type, x.is_grantable) AS text
        FROM (VALUES (false, o.acl), (true, acldefault(o.acltype, o.owner))) AS l (initial, acl), aclexplode(l.acl) x
        WHERE x.privilege_type <> 'MAINTAIN') g
  ) privileges ON o.acl IS NOT NULL AND o.acltype IS NOT NULL
WHERE NOT EXISTS (SELECT FROM member m WHERE m.classid = o.classid AND m.objid = o.objid)
UNION ALL SELECT 'extension', extname, NULL, n.nspname, NULL, NULL, NULL, NULL, NULL
  FROM pg_extension JOIN pg_namespace n ON n.oid = extnamespace WHERE extname <> 'plpgsql'
UNION ALL SELECT 'table of an extension', format('%I.%I', n.nspname, c.relname), e.extname, NULL, NULL, NULL, NULL, NULL, NULL
  FROM pg_extension e JOIN pg_class c ON c.oid = ANY (e.extconfig) AND c.relkind = 'r'
  JOIN pg_namespace n ON n.oid = c.relnamespace
UNION ALL SELECT 'large objects', format('%s, hash of ids %s', count(*), COALESCE(sum(hashoid(oid)), 0)), NULL, NULL, string_agg(format('%s %s', oid, pg_get_userbyid(lomowner)), ',' ORDER BY oid),
    string_agg(format('%s %s', oid, (SELECT string_agg(g::text, ',' ORDER BY g::text COLLATE "C")
      FROM (SELECT pg_get_userbyid(x.grantor), x.grantee::regrole, x.privilege_type, x.is_grantable FROM aclexplode(lomacl) x) g)), ',' ORDER BY oid)
      FILTER (WHERE lomacl IS NOT NULL), NULL, NULL, NULL
  FROM pg_largeobject_metadata
UNION ALL SELECT 'role', r.rolname, NULL,
    concat_ws(' ', r.rolsuper, r.rolinherit, r.rolcreaterole, r.rolcreatedb, r.rolcanlogin, r.rolreplication, r.rolbypassrls, r.rolconnlimit, r.rolvaliduntil),
    (SELECT string_agg(s, E'\n' ORDER BY s COLLATE "C") FROM pg_db_role_setting d, unnest(d.setconfig) s WHERE d.setrole = r.oid AND d.setdatabase = 0),
    NULL, shobj_description(r.oid, 'pg_authid'), NULL, NULL
  FROM pg_roles r WHERE r.rolname NOT LIKE 'pg\_%'
UNION ALL SELECT 'membership', format('%I in %I', pg_get_userbyid(m.member), pg_get_userbyid(m.roleid)), NULL, bool_or(m.admin_option)::text, NULL, NULL, NULL,
    NULLIF(concat_ws(' ', bool_or((to_jsonb(m) ->> 'inherit_option')::boolean), bool_or((to_jsonb(m) ->> 'set_option')::boolean)), ''), NULL
  FROM pg_auth_members m WHERE pg_get_userbyid(m.member) NOT LIKE 'pg\_%' GROUP BY m.member, m.roleid
UNION ALL SELECT 'database', 'itself', NULL, concat_ws(' ', pg_encoding_to_char(b.encoding), b.datconnlimit, b.datistemplate),
    (SELECT string_agg(format('%s %s', CASE d.setrole WHEN 0 THEN '' ELSE pg_get_userbyid(d.setrole) END, s), E'\n'
       ORDER BY format('%s %s', CASE d.setrole WHEN 0 THEN '' ELSE pg_get_userbyid(d.setrole) END, s) COLLATE "C")
     FROM pg_db_role_setting d, unnest(d.setconfig) s
     -- The marks that a restore under way leaves are ours.
     WHERE d.setdatabase = b.oid AND s NOT LIKE 'backupd.%'),
    (SELECT NULLIF(string_agg(g.text, ',' ORDER BY g.text COLLATE "C") FILTER (WHERE NOT g.initial),
        string_agg(g.text, ',' ORDER BY g.text COLLATE "C") FILTER (WHERE g.initial))
     FROM (SELECT l.initial, format('%s>%s:%s %s', pg_get_userbyid(x.grantor), CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(x.grantee) END,
             x.privilege_type, x.is_grantable) AS text
           FROM (VALUES (false, COALESCE(b.datacl, acldefault('d', b.datdba))), (true, acldefault('d', b.datdba))) AS l (initial, acl), aclexplode(l.acl) x) g),
    shobj_description(b.oid, 'pg_database'), NULL, pg_get_userbyid(b.datdba)
  FROM pg_database b WHERE b.datname = current_database()
