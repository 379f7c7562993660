//! A drill finds what is not as it was, however small: each change of a dump, of roles or of a database's own properties is named, and
//! nothing else is. The changes keep every sum, size and number of rows right, as somebody would who means harm.

use std::path::PathBuf;

use serde_json::{Value, json};
use tests::backupd::Outcome;
use tests::set;
use tests::stack::{Stack, manifest};

/// Words of a file, others in their place, and all that the drill must say of it.
type Change = (&'static str, &'static str, &'static [&'static str]);

/// A stack with one set of Supabase's database alone, and what the files of the set hold.
struct Drilled {
    stack: Stack,
    set: PathBuf,
    dump: String,
    roles: String,
    manifest: Value,
}

impl Drilled {
    fn new() -> Self {
        let stack = Stack::new();
        let run = stack.backupd(["run"]).env("BACKUP_SOURCES", "supabase");
        run.succeed();
        let set = stack.only_set();
        let text = |file: &str| String::from_utf8(set::unzipped(&set.join(file))).unwrap();
        let (dump, roles) = (text("supabase_db.sql.gz"), text("supabase_roles.sql.gz"));
        let manifest = manifest(&set);
        Self {
            stack,
            set,
            dump,
            roles,
            manifest,
        }
    }

    fn drill(&self) -> Outcome {
        let id = self.set.file_name().unwrap().to_str().unwrap();
        let arguments = ["verify", "--drill", "--json", id];
        self.stack.backupd(arguments).run()
    }

    /// Makes the changes in a file, drills, and puts the file back as it was.
    fn assert_found(&self, file: &str, whole: &str, changes: &[Change]) {
        let mut text = whole.to_owned();
        for (from, to, _) in changes {
            assert_eq!(text.matches(from).count(), 1, "`{from}` in {file}");
            text = text.replacen(from, to, 1);
        }
        set::replace(&self.set.join(file), text);
        let words = changes.iter().flat_map(|(_, _, words)| *words);
        self.assert_told(words.copied().collect());
        set::replace(&self.set.join(file), whole);
        set::rewrite(&self.set, &self.manifest);
        set::reseal(&self.set);
    }

    /// The drill fails, and says of the database's content these words and no others.
    fn assert_told(&self, mut expected: Vec<&str>) {
        let outcome = self.drill();
        assert_eq!(outcome.code, Some(4), "{outcome}");
        let report = outcome.json();
        assert_eq!(report["verdict"], "failed", "{outcome}");
        let told = report["databases"][0]["differences"].as_array().unwrap();
        let mut told: Vec<&str> = told.iter().map(|words| words.as_str().unwrap()).collect();
        told.sort_unstable();
        expected.sort_unstable();
        let unsaid: Vec<_> = expected.iter().filter(|it| !told.contains(it)).collect();
        let beside: Vec<_> = told.iter().filter(|it| !expected.contains(it)).collect();
        assert_eq!(told, expected, "unsaid: {unsaid:#?}; beside: {beside:#?}");
    }
}

/// What a dump holds besides rows.
const OBJECTS: &[Change] = &[
    (
        "TO authenticated USING ((id = auth.uid()))",
        "TO authenticated USING (true)",
        &["policy public.profiles.own_profile: expression is not as in the source"],
    ),
    (
        "\"Avatars are public\" ON storage.objects FOR SELECT USING",
        "\"Avatars are public\" ON storage.objects FOR ALL USING",
        &[
            "policy storage.objects.\"Avatars are public\": command or roles are not as in the source",
        ],
    ),
    (
        "RAISE EXCEPTION 'rows of storage",
        "RAISE NOTICE 'rows of storage",
        &[
            "function storage.protect_delete(): body, arguments or attributes are not as in the source",
        ],
    ),
    (
        "FUNCTION auth.role() RETURNS text\n    LANGUAGE sql STABLE",
        "FUNCTION auth.role() RETURNS text\n    LANGUAGE sql STABLE SECURITY DEFINER",
        &[
            "function auth.role(): SECURITY DEFINER, LEAKPROOF or its settings are not as in the source",
        ],
    ),
    (
        "ALTER FUNCTION auth.uid() OWNER TO supabase_auth_admin;",
        "ALTER FUNCTION auth.uid() OWNER TO anon;",
        &["function auth.uid(): its owner is anon, not supabase_auth_admin"],
    ),
    (
        "REVOKE ALL ON FUNCTION public.copy_lookalike() FROM PUBLIC;",
        "",
        &["function public.copy_lookalike(): privileges are not as in the source"],
    ),
    (
        "INITCOND = ''",
        "INITCOND = 'x'",
        &["function public.longest(text): body, arguments or attributes are not as in the source"],
    ),
    (
        "feeling public.mood DEFAULT 'ok'",
        "feeling public.mood DEFAULT 'sad'",
        &[
            "table public.profiles: defaults, generated columns or partition bounds are not as in the source",
        ],
    ),
    (
        "ALTER TABLE ONLY public.profiles FORCE ROW LEVEL SECURITY;",
        "",
        &["table public.profiles: row level security is not as in the source"],
    ),
    (
        "COLUMN public.profiles.balance IS 'amount; currency'",
        "COLUMN public.profiles.balance IS 'currency; amount'",
        &["table public.profiles: comment is not as in the source"],
    ),
    (
        "    payload jsonb NOT NULL,\n    digest",
        "    payload jsonb,\n    digest",
        &["table public.events: columns or properties are not as in the source"],
    ),
    (
        "ALTER TABLE auth.users ENABLE ROW LEVEL SECURITY;",
        "",
        &["table auth.users: row level security is not as in the source"],
    ),
    (
        "GRANT SELECT(email) ON TABLE auth.users TO dashboard_user;",
        "",
        &["table auth.users: privileges are not as in the source"],
    ),
    (
        "ALTER TABLE vault.secrets OWNER TO supabase_admin;",
        "ALTER TABLE vault.secrets OWNER TO anon;",
        &["table vault.secrets: its owner is anon, not supabase_admin"],
    ),
    (
        "GRANT SELECT ON TABLE realtime.schema_migrations TO postgres;",
        "GRANT SELECT ON TABLE realtime.schema_migrations TO anon;",
        &["table realtime.schema_migrations: privileges are not as in the source"],
    ),
    (
        "IN SCHEMA storage GRANT SELECT ON TABLES  TO service_role",
        "IN SCHEMA storage GRANT ALL ON TABLES  TO service_role",
        &[
            "default privileges r of supabase_storage_admin in storage: properties are not as in the source",
        ],
    ),
    (
        "security_invoker='true'",
        "security_invoker='false'",
        &["view public.recent_posts: properties are not as in the source"],
    ),
    (
        " LIMIT 10;",
        " LIMIT 11;",
        &["view public.recent_posts: definition is not as in the source"],
    ),
    (
        "REFRESH MATERIALIZED VIEW public.events_per_kind;",
        "",
        &[
            "materialized view public.events_per_kind: whether it is populated is not as in the source",
        ],
    ),
    (
        "FOR EACH STATEMENT EXECUTE FUNCTION storage.protect_delete();",
        "FOR EACH STATEMENT EXECUTE FUNCTION storage.protect_delete();\nALTER TABLE storage.objects DISABLE TRIGGER protect_objects_delete;",
        &[
            "trigger storage.objects.protect_objects_delete: whether it is enabled is not as in the source",
        ],
    ),
    (
        "DO INSTEAD NOTHING",
        "DO ALSO NOTHING",
        &[
            "rule public.empty_table.keep_empty: properties are not as in the source",
            "rule public.empty_table.keep_empty: definition is not as in the source",
        ],
    ),
    (
        "WHEN TAG IN ('CREATE EXTENSION')",
        "WHEN TAG IN ('DROP EXTENSION')",
        &["event trigger issue_pg_net_access: properties are not as in the source"],
    ),
    (
        "ALTER PUBLICATION supabase_realtime ADD TABLE ONLY public.profiles;",
        "",
        &["published table supabase_realtime: public.profiles: missing"],
    ),
    (
        "ALTER PUBLICATION supabase_realtime ADD TABLE ONLY public.posts;",
        "ALTER PUBLICATION supabase_realtime ADD TABLE ONLY public.posts WHERE (id > 5);",
        &["published table supabase_realtime: public.posts: definition is not as in the source"],
    ),
    (
        "supabase_realtime_messages WITH (publish = 'insert, update, delete, truncate')",
        "supabase_realtime_messages WITH (publish = 'insert')",
        &["publication supabase_realtime_messages: properties are not as in the source"],
    ),
    (
        "(email) WHERE (NOT is_anonymous);",
        "(email) WHERE is_anonymous;",
        &["index auth.users_email_partial_key: definition is not as in the source"],
    ),
    (
        "INCREMENT BY 7",
        "INCREMENT BY 8",
        &["sequence public.invoice_numbers: properties are not as in the source"],
    ),
    (
        "setval('public.posts_id_seq', 1000, true)",
        "setval('public.posts_id_seq', 999, true)",
        &["sequence public.posts_id_seq stands at 999, not at 1000 or later"],
    ),
    (
        "'aal2',\n    'aal3'",
        "'aal3',\n    'aal2'",
        &["type auth.aal_level: properties are not as in the source"],
    ),
    (
        "CHECK ((VALUE ~~ '%@%'::text))",
        "CHECK ((VALUE ~~ '%'::text))",
        &[
            "constraint public.email_address.email_address_check: definition is not as in the source",
        ],
    ),
    (
        "identities_user_id_fkey FOREIGN KEY (user_id) REFERENCES auth.users(id) ON DELETE CASCADE",
        "identities_user_id_fkey FOREIGN KEY (user_id) REFERENCES auth.users(id)",
        &[
            "constraint auth.identities.identities_user_id_fkey: properties are not as in the source",
            "constraint auth.identities.identities_user_id_fkey: definition is not as in the source",
        ],
    ),
    (
        "STATISTICS public.posts_statistics (dependencies)",
        "STATISTICS public.posts_statistics (ndistinct)",
        &[
            "statistics public.posts_statistics: properties are not as in the source",
            "statistics public.posts_statistics: definition is not as in the source",
        ],
    ),
    (
        "host 'remote.example.test'",
        "host 'other.example.test'",
        &["foreign server sample_remote: properties are not as in the source"],
    ),
    (
        "'sample-remote-password'",
        "'other-remote-password'",
        &["user mapping sample_remote for service_role: properties are not as in the source"],
    ),
    (
        "EXISTS pgcrypto WITH SCHEMA extensions",
        "EXISTS pgcrypto WITH SCHEMA public",
        &["extension pgcrypto: properties are not as in the source"],
    ),
    (
        "locale = 'de-u-co-phonebk'",
        "locale = 'de'",
        &["collation public.german_phonebook: definition is not as in the source"],
    ),
];

/// Rows and large objects: their numbers stay, and so do their digests in the manifest.
const CONTENT: &[Change] = &[
    (
        "\tPost number 500\t",
        "\tPost number 501\t",
        &["public.posts came back with other content in its 1000 rows"],
    ),
    (
        "lowrite(0, '\\x00010a0d5c2e')",
        "lowrite(0, '\\x00010a0d5c2f')",
        &["large objects came back with other content"],
    ),
];

/// Roles come back as the file says.
const ROLES: &[Change] = &[
    (
        "ALTER ROLE \"anon\" WITH NOSUPERUSER NOINHERIT NOCREATEROLE NOCREATEDB NOLOGIN NOREPLICATION NOBYPASSRLS",
        "ALTER ROLE \"anon\" WITH NOSUPERUSER NOINHERIT NOCREATEROLE NOCREATEDB NOLOGIN NOREPLICATION BYPASSRLS",
        &["role anon: attributes are not as in the source"],
    ),
    (
        "NOBYPASSRLS CONNECTION LIMIT 3 VALID",
        "NOBYPASSRLS CONNECTION LIMIT 4 VALID",
        &["role Odd Röle: attributes are not as in the source"],
    ),
    (
        "ALTER ROLE \"anon\" SET \"statement_timeout\" TO E'3s';",
        "ALTER ROLE \"anon\" SET \"statement_timeout\" TO E'3h';",
        &["role anon: settings are not as in the source"],
    ),
    (
        "ALTER ROLE \"authenticator\" SET \"lock_timeout\" TO E'8s';",
        "",
        &["role authenticator: settings are not as in the source"],
    ),
];

#[test]
fn every_change_of_a_database_is_named_and_nothing_else() {
    let drilled = Drilled::new();
    drilled.assert_found("supabase_db.sql.gz", &drilled.dump, OBJECTS);
    drilled.assert_found("supabase_db.sql.gz", &drilled.dump, CONTENT);
    drilled.assert_found("supabase_roles.sql.gz", &drilled.roles, ROLES);
    let outcome = drilled.drill();
    assert_eq!(outcome.json()["verdict"], "proven", "{outcome}");
}

/// The database's own properties are data of the manifest.
#[test]
fn every_change_of_a_databases_own_properties_is_named() {
    type Edit = fn(&mut Value);
    let drilled = Drilled::new();
    let changes: [(Edit, &str); 5] = [
        (
            |database| database["settings"][1]["values"] = json!(["36000"]),
            "settings are not as in the source",
        ),
        (
            |database| database["settings"][2]["role"] = json!("anon"),
            "settings are not as in the source",
        ),
        (
            |database| drop(database["acl"].as_array_mut().unwrap().remove(0)),
            "privileges are not as in the source",
        ),
        (
            |database| database["comment"] = json!("another"),
            "comment is not as in the source",
        ),
        (
            |database| database["connection_limit"] = json!(5),
            "properties are not as in the source",
        ),
    ];
    for (change, words) in changes {
        let mut manifest = drilled.manifest.clone();
        change(&mut manifest["artifacts"][0]["database"]);
        set::rewrite(&drilled.set, &manifest);
        drilled.assert_told(vec![&format!("database itself: {words}")]);
    }
    set::rewrite(&drilled.set, &drilled.manifest);
    let outcome = drilled.drill();
    assert_eq!(outcome.json()["verdict"], "proven", "{outcome}");
}
