//! Digests of a dump's rows and large objects, against those of a server that the dump was loaded into.

use std::fs;

use postgres::digest::{
    LargeObjects, TableContent, TableDigest, of_large_objects, of_table, prepare,
};
use postgres::dump::{DumpFormat, dump};
use postgres::extension::owns;
use postgres::server::Server;
use postgres::sql::CopyTarget;
use tokio_util::sync::CancellationToken;

use crate::private::server;
use crate::{GZIP, decoded, request, tools};

/// Values whose text depends on settings, and rows that a dump does not have under their table's name.
const SCHEMA: &str = r#"
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE TABLE kinds (id int PRIMARY KEY, t text, b bytea, d date, ts timestamptz, i interval, f float8, r real, n numeric, j jsonb,
  a text[], tr tstzrange, o regclass, m mood, u uuid, made int GENERATED ALWAYS AS (id * 2) STORED);
INSERT INTO kinds SELECT i, E'\\.\n\t' || i, decode(md5(i::text), 'hex'), date '2024-02-29' + i, timestamptz '2024-03-31 00:30+00' + i * interval '1h',
  make_interval(months => i, secs => -i), sqrt(i), sqrt(i), sqrt(i::numeric), jsonb_build_object('k', i, 'ä', NULL),
  ARRAY['x', NULL, '{"'], tstzrange('2024-01-01 00:00+00', NULL), 'kinds', 'ok', md5(i::text)::uuid FROM generate_series(1, 500) i;
CREATE TABLE "none" (); INSERT INTO "none" DEFAULT VALUES;
CREATE TABLE empty (id int);
CREATE TABLE parent (id int); CREATE TABLE child () INHERITS (parent);
INSERT INTO parent VALUES (1); INSERT INTO child VALUES (2);
CREATE TABLE moods (m mood, note text) PARTITION BY HASH (m);
CREATE TABLE moods_0 PARTITION OF moods FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE moods_1 PARTITION OF moods FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO moods SELECT m, 'n' || i FROM unnest(enum_range(NULL::mood)) m, generate_series(1, 3) i;
CREATE TABLE ranges (id int, m mood) PARTITION BY RANGE (id);
CREATE TABLE ranges_low PARTITION OF ranges FOR VALUES FROM (0) TO (10) PARTITION BY HASH (m);
CREATE TABLE ranges_low_0 PARTITION OF ranges_low FOR VALUES WITH (MODULUS 1, REMAINDER 0);
CREATE TABLE ranges_high PARTITION OF ranges FOR VALUES FROM (10) TO (20);
INSERT INTO ranges SELECT i, 'ok' FROM generate_series(1, 19) i;
SELECT lo_from_bytea(0, ''), lo_from_bytea(0, 'small'), lo_from_bytea(0, decode(repeat('00ff', 524288), 'hex')),
  lo_from_bytea(0, decode(repeat('abcdef', 600000), 'hex'));
"#;

/// A cell of each kind of value, a row for another, one that moved: the change, and the table that alone differs.
const CHANGES: [(&str, &str); 12] = [
    (
        "UPDATE public.kinds SET t = t || ' ' WHERE id = 250",
        "public.kinds",
    ),
    (
        "UPDATE public.kinds SET b = set_bit(b, 0, 1 - get_bit(b, 0)) WHERE id = 250",
        "public.kinds",
    ),
    (
        "UPDATE public.kinds SET ts = ts + interval '1us' WHERE id = 250",
        "public.kinds",
    ),
    (
        "UPDATE public.kinds SET f = f + 4e-15 WHERE id = 250",
        "public.kinds",
    ),
    (
        "UPDATE public.kinds SET n = n * 1.0 WHERE id = 250",
        "public.kinds",
    ),
    (
        "UPDATE public.kinds SET a[2] = 'NULL' WHERE id = 250",
        "public.kinds",
    ),
    (
        "UPDATE public.kinds SET j = j || '{\"k\": null}' WHERE id = 250",
        "public.kinds",
    ),
    (
        "UPDATE public.kinds SET t = (SELECT t FROM public.kinds WHERE id = 1) WHERE id = 2",
        "public.kinds",
    ),
    ("INSERT INTO public.empty VALUES (NULL)", "public.empty"),
    (
        "UPDATE public.moods SET m = 'sad' WHERE m = 'ok' AND note = 'n1'",
        "public.moods",
    ),
    (
        "UPDATE public.ranges_high SET m = NULL WHERE id = 11",
        "public.ranges_high",
    ),
    ("UPDATE public.child SET id = 3", "public.child"),
];

const LARGE_CHANGES: [&str; 4] = [
    "SELECT pg_catalog.lo_put(max(oid), 1500000, '\\x00') FROM pg_catalog.pg_largeobject_metadata",
    "SELECT pg_catalog.lo_put(min(oid), 0, '\\x00') FROM pg_catalog.pg_largeobject_metadata",
    "SELECT pg_catalog.lo_unlink(min(oid)) FROM pg_catalog.pg_largeobject_metadata",
    "SELECT pg_catalog.lo_create(0)",
];

async fn targets(server: &Server, dump: &str) -> Vec<(CopyTarget, TableDigest)> {
    let mut found = Vec::new();
    let statements = dump.lines().filter(|line| line.starts_with("COPY "));
    for target in statements.filter_map(|line| CopyTarget::parse(line.as_bytes())) {
        let digest = match of_table(server, &target, "UTF8").await.unwrap() {
            TableContent::Digest(digest) => digest,
            other => panic!("{}: {other:?}", target.table),
        };
        found.push((target, digest));
    }
    found
}

#[tokio::test]
async fn a_loaded_dump_has_the_digests_of_its_source_until_a_byte_changes() {
    let (server, tools) = (server(), tools().await);
    server
        .sql(
            "postgres",
            &[
                "CREATE DATABASE digested TEMPLATE template0",
                "CREATE DATABASE loaded TEMPLATE template0",
                "ALTER DATABASE loaded SET DateStyle = 'German'",
                "ALTER DATABASE loaded SET IntervalStyle = 'sql_standard'",
                "ALTER DATABASE loaded SET extra_float_digits = -3",
                "ALTER DATABASE loaded SET bytea_output = 'escape'",
                "ALTER DATABASE loaded SET search_path = public",
            ],
        )
        .await;
    server.sql("digested", &[SCHEMA]).await;
    let dsn = server.dsn("digested");
    let dir = tempfile::tempdir().unwrap();
    let cancel = CancellationToken::new();
    let dumped = dump(
        request(&tools, &dsn, dir.path(), DumpFormat::Plain, GZIP),
        &cancel,
    );
    let content = dumped.await.unwrap().content.unwrap();
    let rows = |name: &str| content.tables.iter().find(|table| table.table == name);
    assert_eq!(rows("public.moods").unwrap().rows, 9, "{content:?}");
    assert_eq!(rows("public.ranges").unwrap().rows, 9);
    assert_eq!(rows("public.ranges_high").unwrap().rows, 10);
    assert_eq!(rows("public.parent").unwrap().rows, 1);
    assert_eq!(content.large_objects.count, 4);
    assert_eq!(content.large_objects.bytes, 5 + 1_048_576 + 1_800_000);

    let text = decoded(dir.path());
    let sql = dir.path().join("sql");
    fs::write(&sql, &text).unwrap();
    assert_eq!(server.psql("loaded", &sql), "");
    let loaded = Server::connect(&server.dsn("loaded")).await.unwrap();
    prepare(&loaded).await.unwrap();
    let found = targets(&loaded, &text).await;
    assert_eq!(found.len(), 9);
    for (target, digest) in found {
        let expected = rows(&target.table).unwrap();
        let found = (digest.rows, Some(digest.digest));
        assert_eq!(
            found,
            (expected.rows, expected.digest.clone()),
            "{target:?}"
        );
    }
    assert_eq!(
        of_large_objects(&loaded).await.unwrap(),
        content.large_objects
    );
    let gone = CopyTarget {
        table: "public.gone".to_owned(),
        columns: "id".to_owned(),
    };
    let gone = of_table(&loaded, &gone, "UTF8").await.unwrap();
    assert_eq!(gone, TableContent::Absent);

    for (change, table) in CHANGES {
        loaded.execute(&format!("BEGIN; {change}")).await.unwrap();
        let mut differ = Vec::new();
        for (target, digest) in targets(&loaded, &text).await {
            if rows(&target.table).unwrap().digest != Some(digest.digest) {
                differ.push(target.table);
            }
        }
        // Through a root several blocks are loaded.
        differ.dedup();
        assert_eq!(differ, [table], "{change}");
        loaded.execute("ROLLBACK").await.unwrap();
    }
    for change in LARGE_CHANGES {
        loaded.execute(&format!("BEGIN; {change}")).await.unwrap();
        let now: LargeObjects = of_large_objects(&loaded).await.unwrap();
        assert_ne!(now.digest, content.large_objects.digest, "{change}");
        loaded.execute("ROLLBACK").await.unwrap();
    }
}

/// An extension of an ordinary role's own may name any condition, and any view.
#[tokio::test]
async fn what_extensions_say_is_asked_only_where_it_is_a_superusers() {
    let server = server();
    let sql = "CREATE ROLE eve; CREATE TABLE places (id int); INSERT INTO places VALUES (1), (2); CREATE VIEW seen AS SELECT 1;
        ALTER EXTENSION plpgsql ADD TABLE places; ALTER EXTENSION plpgsql ADD VIEW seen;
        UPDATE pg_extension SET extconfig = ARRAY['places'::regclass::oid], extcondition = ARRAY['WHERE id > 1'] WHERE extname = 'plpgsql'";
    server.sql("postgres", &["CREATE DATABASE extended"]).await;
    server.sql("extended", &[sql]).await;
    let connected = Server::connect(&server.dsn("extended")).await.unwrap();
    prepare(&connected).await.unwrap();
    let target = CopyTarget {
        table: "public.places".to_owned(),
        columns: "id".to_owned(),
    };
    let TableContent::Digest(digest) = of_table(&connected, &target, "UTF8").await.unwrap() else {
        panic!("a superuser's condition is evaluated");
    };
    assert_eq!(digest.rows, 1);
    for relation in ["public.places", "public.seen"] {
        assert!(owns(&connected, "plpgsql", relation).await.unwrap());
        assert!(!owns(&connected, "supabase_vault", relation).await.unwrap());
    }
    for others in [
        "ALTER TABLE public.places OWNER TO eve; ALTER VIEW public.seen OWNER TO eve",
        "UPDATE pg_catalog.pg_extension SET extowner = 'eve'::pg_catalog.regrole WHERE extname = 'plpgsql'",
    ] {
        connected
            .execute(&format!("BEGIN; {others}"))
            .await
            .unwrap();
        let content = of_table(&connected, &target, "UTF8").await.unwrap();
        assert_eq!(content, TableContent::NotAsked, "{others}");
        for relation in ["public.places", "public.seen"] {
            assert!(!owns(&connected, "plpgsql", relation).await.unwrap());
        }
        connected.execute("ROLLBACK").await.unwrap();
    }
}
