use std::io::Write;

use proptest::prelude::*;

use super::{Census, Inventory};

fn count(text: &str) -> Census {
    count_in_pieces(text.as_bytes(), usize::MAX)
}

fn count_in_pieces(text: &[u8], size: usize) -> Census {
    let mut inventory = Inventory::new(Vec::new());
    for piece in text.chunks(size.min(text.len().max(1))) {
        inventory.write_all(piece).unwrap();
    }
    let (passed, census) = inventory.finish();
    assert_eq!(passed, text, "every byte passes");
    census
}

fn rows(text: &str) -> Vec<(String, u64)> {
    let tables = count(text).tables;
    tables
        .into_iter()
        .map(|table| (table.table, table.rows))
        .collect()
}

fn row(table: &str, rows: u64) -> (String, u64) {
    (table.to_owned(), rows)
}

/// Shaped like what pg_dump writes, with everything that could fool a counter.
const DUMP: &str = r#"--
-- PostgreSQL database dump
--

\restrict qY3it's$$"

SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);

--
-- Name: it's "odd $$ COPY public.comment (a) FROM stdin;; Type: FUNCTION
--

CREATE FUNCTION public.f() RETURNS void
    LANGUAGE plpgsql
    AS $_$
begin
  -- it's not data
  execute $$
COPY public.body (a) FROM stdin;
1
\.
$$ using $1; -- $_x$ and $
end $_$;

CREATE FUNCTION public.g(integer) RETURNS integer
    LANGUAGE sql
    BEGIN ATOMIC
 SELECT ($1 - 1) - (-1);
END;

COMMENT ON FUNCTION public.f() IS 'it''s
COPY public.literal (a) FROM stdin;
x
\.
';

COPY public.users (id, name, "select") FROM stdin;
1	a\\.b	\N
2	it's $$ "quoted" -- text	x
3	\\.	
\.


COPY public.empty (id) FROM stdin;
\.


COPY public.none  FROM stdin;



\.


COPY "My Schema"."ta""ble.
(x) FROM stdin;" (a, "b
FROM stdin;") FROM stdin;
1	2
\.

COPY public.users (id) FROM stdin;
4
\.

SELECT pg_catalog.lowrite(0, '\x2d2d0a');

--
-- PostgreSQL database dump complete
--

\unrestrict qY3it's$$"

"#;

#[test]
fn rows_are_counted_by_table_and_lookalikes_are_not() {
    let expected = [
        row("\"My Schema\".\"ta\"\"ble.\n(x) FROM stdin;\"", 1),
        row("public.empty", 0),
        row("public.none", 3),
        row("public.users", 4),
    ];
    assert_eq!(rows(DUMP), expected);
    assert!(count(DUMP).complete);
}

#[test]
fn every_way_to_cut_a_dump_into_pieces_counts_the_same() {
    let whole = count(DUMP);
    for size in 1..40 {
        assert_eq!(
            count_in_pieces(DUMP.as_bytes(), size),
            whole,
            "pieces of {size}"
        );
    }
}

#[test]
fn a_dump_that_is_cut_anywhere_before_its_trailer_is_not_complete() {
    let trailer = DUMP.find("-- PostgreSQL database dump complete").unwrap();
    for end in 0..trailer + "-- PostgreSQL database dump complet".len() {
        assert!(
            !count_in_pieces(&DUMP.as_bytes()[..end], usize::MAX).complete,
            "cut at {end}"
        );
    }
}

#[test]
fn trailers_are_told_apart_and_nothing_but_remarks_may_follow() {
    let trailer = "-- PostgreSQL database dump complete\n";
    let cluster = "-- PostgreSQL database cluster dump complete\n";
    let table = [
        (trailer.to_owned(), true, false),
        (format!("{trailer}--\n\n\\unrestrict k\n"), true, false),
        (trailer.trim().to_owned(), true, false),
        (format!("{trailer}SELECT 1;\n"), false, false),
        (format!("{trailer}SELECT"), false, false),
        (format!("x {trailer}"), false, false),
        (format!("'\n{trailer}"), false, false),
        (format!("{}ly\n", trailer.trim()), false, false),
        (format!("{trailer}{cluster}"), false, true),
        (
            format!("{cluster}ALTER DATABASE d SET a TO 'b';\n"),
            false,
            false,
        ),
        (format!("COPY t (a) FROM stdin;\n{trailer}"), false, false),
        (String::new(), false, false),
    ];
    for (text, complete, cluster_complete) in table {
        let census = count(&text);
        assert_eq!(
            (census.complete, census.cluster_complete),
            (complete, cluster_complete),
            "{text:?}"
        );
    }
}

#[test]
fn a_statement_beyond_any_real_one_is_not_kept_in_memory() {
    let name = "x".repeat(1 << 20);
    let text = format!("COPY {name} (a) FROM stdin;\nCOPY t (a) FROM stdin;\n1\n\\.\n");
    assert_eq!(rows(&text), [row("t", 1)]);
}

/// A name as pg_dump writes it, and a value as COPY writes it.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z_][a-z0-9_]{0,8}",
        "[ -~äß\n]{1,12}".prop_map(|raw| format!("\"{}\"", raw.replace('"', "\"\"")))
    ]
}

fn value() -> impl Strategy<Value = String> {
    "[ -~ä\n\t]{0,12}".prop_map(|raw| {
        raw.replace('\\', "\\\\")
            .replace('\n', "\\n")
            .replace('\t', "\\t")
    })
}

prop_compose! {
    fn block()(schema in name(), table in name(), rows in prop::collection::vec(value(), 0..6), prose in "[ -~\n]{0,30}")
        -> (String, u64, String)
    {
        let key = format!("{schema}.{table}");
        let mut text = format!("COMMENT ON TABLE {key} IS '{}';\n\nCREATE FUNCTION f() AS $p${}$p$;\n",
            prose.replace('\'', "''"), prose.replace('$', ""));
        text += &format!("COPY {key} (a) FROM stdin;\n");
        for row in &rows {
            text += row;
            text.push('\n');
        }
        text += "\\.\n\n\n";
        (key, rows.len() as u64, text)
    }
}

proptest! {
    #[test]
    fn counts_are_exact_however_the_bytes_are_split(
        blocks in prop::collection::vec(block(), 0..5),
        cuts in prop::collection::vec(1..50_usize, 1..20),
    ) {
        let mut text = String::new();
        let mut expected = std::collections::BTreeMap::<String, u64>::new();
        for (key, rows, sql) in &blocks {
            text += sql;
            *expected.entry(key.clone()).or_default() += rows;
        }
        text += "--\n-- PostgreSQL database dump complete\n--\n\n";
        prop_assert_eq!(rows(&text).into_iter().collect::<std::collections::BTreeMap<_, _>>(), expected);
        prop_assert!(count(&text).complete);
        let mut inventory = Inventory::new(std::io::sink());
        let mut rest = text.as_bytes();
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, after) = rest.split_at((*cut).min(rest.len()));
            inventory.write_all(piece).unwrap();
            rest = after;
        }
        prop_assert_eq!(inventory.finish().1, count(&text));
    }

    #[test]
    fn any_bytes_count_the_same_however_they_are_split(
        text in "([COPY tFROMstdin;$'\"\\\\.\n(-]|COPY t \\(a\\) FROM stdin;\n|\n\\\\\\.\n|--|\\$\\$|\\$a\\$){0,60}",
        size in 1..9_usize,
    ) {
        prop_assert_eq!(count_in_pieces(text.as_bytes(), size), count(&text));
    }
}
