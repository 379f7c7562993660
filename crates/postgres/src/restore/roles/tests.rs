use super::*;

const DUMPED: &str = "-- Roles\n\\restrict abc\nSET client_encoding = 'UTF8';\nCREATE ROLE a;\n\
    ALTER ROLE a WITH NOSUPERUSER INHERIT LOGIN CONNECTION LIMIT 3 PASSWORD 'md5''x' VALID UNTIL 'infinity';\n\
    CREATE ROLE \"b\nc\";\nALTER ROLE \"b\nc\" WITH SUPERUSER NOINHERIT;\nCOMMENT ON ROLE a IS E'x\\\\';\n\
    ALTER ROLE a SET search_path TO E'public\\\\', '';\nGRANT \"b\nc\" TO a WITH ADMIN OPTION, INHERIT FALSE GRANTED BY d;\n\
    GRANT SET ON PARAMETER work_mem TO a;\nGRANT ALL ON DATABASE x TO a;\n";

#[test]
fn a_file_becomes_data_and_statements_of_our_own() {
    let script = RolesScript::read(DUMPED).unwrap();
    assert_eq!(script.names(), ["a", "b\nc"]);
    let created = vec!["a".to_owned(), "b\nc".to_owned()];
    assert_eq!(
        script.for_created(&created),
        [
            "CREATE ROLE \"a\"",
            "CREATE ROLE \"b\nc\"",
            "ALTER ROLE \"a\" WITH NOSUPERUSER INHERIT NOCREATEROLE NOCREATEDB LOGIN NOREPLICATION NOBYPASSRLS CONNECTION LIMIT 3 \
             PASSWORD E'md5''x' VALID UNTIL E'infinity'",
            "ALTER ROLE \"b\nc\" WITH SUPERUSER NOINHERIT NOCREATEROLE NOCREATEDB NOLOGIN NOREPLICATION NOBYPASSRLS CONNECTION LIMIT -1",
            "ALTER ROLE \"a\" SET \"search_path\" TO E'public\\\\', E''",
            "COMMENT ON ROLE \"a\" IS E'x\\\\'",
            "DO E'BEGIN GRANT \"b\nc\" TO \"a\" WITH ADMIN OPTION, INHERIT FALSE GRANTED BY \"d\"; EXCEPTION WHEN OTHERS THEN \
             GRANT \"b\nc\" TO \"a\" WITH ADMIN OPTION, INHERIT FALSE; END'",
            "GRANT SET ON PARAMETER \"work_mem\" TO \"a\"",
        ]
    );
    assert!(script.for_present(&created, false).is_empty());
    assert_eq!(
        script.for_present(&created[..1], false),
        Vec::<String>::new()
    );
    let overwritten = script.for_present(&[], true);
    assert!(
        overwritten
            .last()
            .unwrap()
            .starts_with("ALTER ROLE \"a\" WITH NOSUPERUSER"),
        "{overwritten:?}"
    );
}

#[test]
fn what_is_not_of_a_roles_file_is_refused_by_name() {
    for (statement, named) in [
        ("DROP ROLE a", "DROP ROLE a"),
        ("CREATE ROLE a SUPERUSER", "CREATE ROLE a SUPERUSER"),
        ("ALTER ROLE nobody WITH SUPERUSER", "ALTER ROLE nobody"),
        ("ALTER ROLE a WITH SUPERUSER", "ALTER ROLE a WITH SUPERUSER"),
        ("CREATE ROLE a", "CREATE ROLE a"),
        (
            "DO 'BEGIN DROP ROLE a; EXCEPTION WHEN duplicate_object THEN NULL; END'",
            "DO",
        ),
        ("COPY x TO PROGRAM 'sh'", "COPY x TO PROGRAM"),
        (
            "SET session_preload_libraries = 'x'",
            "SET session_preload_libraries",
        ),
    ] {
        let error = RolesScript::read(&format!("{DUMPED}{statement};\n")).unwrap_err();
        assert!(error.to_string().contains(named), "{error}");
    }
}
