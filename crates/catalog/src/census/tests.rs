use super::*;

fn object(kind: &str, name: &str, needs: &[&str]) -> Object {
    Object {
        kind: kind.to_owned(),
        name: name.to_owned(),
        needs: needs.iter().map(|name| (*name).to_owned()).collect(),
        facets: Vec::new(),
    }
}

fn census(objects: &[Object]) -> Census {
    Census::of(
        &[],
        objects.to_vec(),
        BTreeMap::from([("public.s".to_owned(), 5)]),
    )
}

#[test]
fn what_is_missing_is_a_difference_unless_its_extension_is_absent() {
    let whole = [
        object(EXTENSION, "vector", &[]),
        object("table", "public.a", &[]),
        object("table", "public.b", &["vector"]),
        object("role", "x", &[]),
    ];
    let source = census(&whole);
    assert_eq!(
        source.compare(&source, &BTreeSet::new(), true),
        Compared::default()
    );
    let none = Census::default();
    let absent = BTreeSet::from(["vector".to_owned()]);
    let compared = source.compare(&none, &absent, true);
    assert_eq!(
        compared.not_proven,
        ["extension vector: not proven", "table public.b: not proven"]
    );
    assert_eq!(
        compared.differences,
        [
            "role x: missing",
            "table public.a: missing",
            "sequence public.s stands at its beginning, not at 5 or later"
        ]
    );
    let more = census(
        &[
            whole.as_slice(),
            &[object("policy", "p", &[]), object("role", "y", &[])],
        ]
        .concat(),
    );
    assert_eq!(
        source.compare(&more, &absent, true).differences,
        ["policy p: not in the source"]
    );
}

#[test]
fn many_names_are_compared_by_their_hash() {
    let many: Vec<Object> = (0..=NAMES_MOST)
        .map(|number| object("index", &format!("i{number}"), &[]))
        .collect();
    let source = census(&many);
    assert!(source.kinds["index"].names.is_empty());
    assert_eq!(
        source
            .compare(&census(&many), &BTreeSet::new(), true)
            .differences,
        Vec::<String>::new()
    );
    let less = source.compare(&census(&many[1..]), &BTreeSet::new(), true);
    assert_eq!(
        less.differences,
        [format!(
            "index: {NAMES_MOST} came back of {}",
            NAMES_MOST + 1
        )]
    );
}

const FACETS: [&str; 4] = ["settings", "privileges", "definition", "owner"];

fn with_facets(objects: &[(&str, &str, &[&str], &str)]) -> Census {
    let objects = objects.iter().map(|(kind, name, needs, facets)| Object {
        facets: facets
            .splitn(FACETS.len(), ' ')
            .map(str::to_owned)
            .collect(),
        ..object(kind, name, needs)
    });
    Census::of(&FACETS, objects.collect(), BTreeMap::new())
}

#[test]
fn each_facet_that_differs_is_named_and_definitions_between_like_versions_only() {
    let source = with_facets(&[
        ("role", "a b", &[], "- - - -"),
        ("table", "t", &[], "1f - 2f a b"),
        ("table", "v", &["vector"], "- - 3f a b"),
        ("user mapping", "m", &[], "? - - -"),
    ]);
    let found = with_facets(&[
        ("role", "a b", &[], "4f - - -"),
        ("table", "t", &[], "- 5f 6f other one"),
        ("table", "v", &[], "- - - a b"),
        ("user mapping", "m", &[], "7f - - -"),
    ]);
    let absent = BTreeSet::from(["vector".to_owned()]);
    let mut expected = vec![
        "role a b: settings are not as in the source",
        "table t: row level security is not as in the source",
        "table t: privileges are not as in the source",
        "table t: defaults, generated columns or partition bounds are not as in the source",
        "table t: its owner is other one, not a b",
    ];
    let compared = source.compare(&found, &absent, true);
    assert_eq!(compared.differences, expected);
    assert_eq!(
        compared.not_proven,
        [
            "table v: defaults, generated columns or partition bounds are not proven without extension vector"
        ]
    );
    expected.remove(3);
    assert_eq!(source.compare(&found, &absent, false).differences, expected);
    assert_eq!(
        source.compare(&source, &BTreeSet::new(), true),
        Compared::default()
    );
}

#[test]
fn what_names_a_role_that_is_not_there_is_not_proven() {
    let source = with_facets(&[
        ("role", "gone", &[], "- - - -"),
        ("table", "t", &[], "- 1f - gone"),
    ]);
    let found = with_facets(&[
        ("table", "t", &[], "- - - me"),
        ("role", "me", &[], "- - - -"),
    ]);
    let compared = source.compare_database(&found, &BTreeSet::new(), true);
    assert_eq!(compared.differences, Vec::<String>::new());
    assert_eq!(compared.not_proven.len(), 2, "{compared:?}");
    let compared = source.compare(&found, &BTreeSet::new(), true);
    assert_eq!(compared.differences, ["role gone: missing"]);
    assert_eq!(compared.not_proven.len(), 2, "{compared:?}");
}

#[test]
fn a_census_without_facets_is_compared_by_name() {
    let old = with_facets(&[("table", "t", &[], "")]);
    let old = Census {
        facets: Vec::new(),
        ..old
    };
    let found = with_facets(&[
        ("table", "t", &[], "1f - - a"),
        ("database", "itself", &[], "1f - - a"),
        ("policy", "p", &[], "1f - - a"),
    ]);
    let compared = old.compare(&found, &BTreeSet::new(), true);
    assert_eq!(compared.differences, ["policy p: not in the source"]);
}

#[test]
fn many_objects_are_compared_by_a_digest_of_each_facet() {
    let many = |facets: &str| {
        let names: Vec<String> = (0..=NAMES_MOST)
            .map(|number| format!("i{number}"))
            .collect();
        let objects: Vec<_> = names
            .iter()
            .map(|name| {
                (
                    "index",
                    name.as_str(),
                    &[] as &[&str],
                    if name == "i77" { facets } else { "- - 1f -" },
                )
            })
            .collect();
        with_facets(&objects)
    };
    let source = many("- - 1f -");
    let compared = source.compare(&many("- - 2f -"), &BTreeSet::new(), true);
    assert_eq!(
        compared.differences,
        ["index (all of them): definition is not as in the source"]
    );
    assert_eq!(
        source.compare(&many("- - 1f -"), &BTreeSet::new(), true),
        Compared::default()
    );
}

#[test]
fn what_an_extension_brought_is_compared_where_it_is_of_one_version() {
    let of = |version: &str, digest: &str| {
        let mut census = census(&[]);
        let brought = Brought {
            version: version.to_owned(),
            digest: digest.to_owned(),
            ..Brought::default()
        };
        census.brought.insert("pg_net".to_owned(), brought);
        census
    };
    let source = of("1", "a");
    let told = |found: &Census| {
        source
            .compare(found, &BTreeSet::new(), true)
            .not_proven
            .len()
    };
    let table = [
        (of("1", "a"), 0),
        (of("1", "b"), 1),
        (of("2", "b"), 0),
        (census(&[]), 0),
    ];
    for (found, expected) in table {
        assert_eq!(told(&found), expected, "{found:?}");
    }
    let text = serde_json::to_string(&source).unwrap();
    assert_eq!(serde_json::from_str::<Census>(&text).unwrap(), source);
}
