//! What a statement of a dump is, by its first words: pg_dump writes these itself, and nothing that a user named stands before them.

use super::reader::{QualifiedName, Reader};
use super::tokens::Token;

/// What a statement is about, as far as the order and the connection of a load depend on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Changes the session: `SET`, `set_config`.
    Setting,
    /// `CREATE EXTENSION`, or a word about one.
    Extension(String),
    /// An event trigger: it would fire for whatever follows it.
    EventTrigger,
    /// A publication.
    Publication,
    /// A subscription.
    Subscription,
    /// `REFRESH MATERIALIZED VIEW`.
    Refresh,
    /// `CREATE INDEX`: it locks nothing against others of its kind.
    Index,
    /// A primary key, unique or exclusion constraint of a table.
    Key(QualifiedName),
    /// A foreign key: its table, and the one that it refers to.
    ForeignKey(QualifiedName, Option<QualifiedName>),
    /// A check of a table that is made behind its rows.
    Check(QualifiedName),
    /// The same of a domain.
    DomainCheck(QualifiedName),
    /// A trigger or a rule: it acts when rows are written.
    Trigger,
    /// What rests on a key, an index, a trigger or a rule: `ATTACH PARTITION` of an index, `CLUSTER ON`, `DISABLE TRIGGER`.
    RestsOnOthers,
    /// A sequence's position, a large object, its owner or grants.
    Data,
    /// A comment on something other than an extension, event trigger, publication or subscription.
    Comment,
    /// Gives an owner, privileges or a policy to roles.
    Roles,
    /// Any other that pg_dump writes.
    Plain,
    /// What pg_dump never writes into the dump of one database: it could act outside of the database.
    Forbidden,
}

/// Kinds of objects that a database shares with the whole server.
const SHARED: [&str; 8] = [
    "DATABASE",
    "ROLE",
    "USER",
    "GROUP",
    "TABLESPACE",
    "SYSTEM",
    "PARAMETER",
    "LOGIN",
];
/// The functions that a dump calls, all of `pg_catalog`.
const CALLED: [&str; 11] = [
    "set_config",
    "setval",
    "lo_open",
    "lo_close",
    "lo_create",
    "lo_unlink",
    "lowrite",
    "lo_put",
    "lo_from_bytea",
    "pg_restore_relation_stats",
    "pg_restore_attribute_stats",
];

/// Tells what a statement is.
pub fn classify(statement: &str) -> Kind {
    let mut words = Reader::of(statement);
    match keyword(&mut words).as_str() {
        "CREATE" => create(&mut words),
        "ALTER" => alter(&mut words),
        "COMMENT" => about(&mut words, Kind::Comment),
        "SECURITY" => {
            while words.peek().is_some_and(|word| !word.is("ON")) {
                words.next();
            }
            about(&mut words, Kind::Comment)
        }
        "GRANT" | "REVOKE" => grant(&mut words),
        "SET" | "RESET" => match words.next() {
            Some(next) if next.is("SESSION") => Kind::Roles,
            Some(next) if next.is("ROLE") || next.is("LOCAL") => Kind::Forbidden,
            _ => Kind::Setting,
        },
        "SELECT" => call(&mut words),
        "BEGIN" | "COMMIT" if words.all(|word| word.is(";")) => Kind::Data,
        "REFRESH" => Kind::Refresh,
        _ => Kind::Forbidden,
    }
}

/// The next word, in capitals; nothing that is a keyword at the end.
fn keyword(words: &mut Reader<'_>) -> String {
    let word = words.next();
    word.map_or_else(String::new, |word| word.text.to_ascii_uppercase())
}

fn create(words: &mut Reader<'_>) -> Kind {
    if words.keyword("OR") {
        words.keyword("REPLACE");
    }
    match keyword(words).as_str() {
        "" => Kind::Forbidden,
        "EXTENSION" => extension(words),
        "EVENT" => Kind::EventTrigger,
        "PUBLICATION" => Kind::Publication,
        "SUBSCRIPTION" => Kind::Subscription,
        "UNIQUE" | "INDEX" => Kind::Index,
        "TRIGGER" | "CONSTRAINT" | "RULE" => Kind::Trigger,
        "POLICY" => Kind::Roles,
        "USER" if words.peek().is_some_and(|word| word.is("MAPPING")) => Kind::Plain,
        shared if SHARED.contains(&shared) => Kind::Forbidden,
        _ => Kind::Plain,
    }
}

fn extension(words: &mut Reader<'_>) -> Kind {
    for keyword in ["IF", "NOT", "EXISTS"] {
        words.keyword(keyword);
    }
    words.name().map_or(Kind::Forbidden, Kind::Extension)
}

fn alter(words: &mut Reader<'_>) -> Kind {
    match keyword(words).as_str() {
        "" => Kind::Forbidden,
        "EVENT" => Kind::EventTrigger,
        "PUBLICATION" => Kind::Publication,
        "SUBSCRIPTION" => Kind::Subscription,
        "EXTENSION" => extension(words),
        "TABLE" => alter_table(words),
        "DOMAIN" => match words.qualified() {
            Some(domain) if words.keyword("ADD") => Kind::DomainCheck(domain),
            Some(_) if gives_owner(words) => Kind::Roles,
            Some(_) => Kind::Plain,
            None => Kind::Forbidden,
        },
        "INDEX" => Kind::RestsOnOthers,
        "LARGE" => Kind::Data,
        "DEFAULT" => Kind::Roles,
        "USER" if words.peek().is_some_and(|word| word.is("MAPPING")) => Kind::Plain,
        shared if SHARED.contains(&shared) => Kind::Forbidden,
        _ if gives_owner(words) => Kind::Roles,
        _ => Kind::Plain,
    }
}

/// Whether the statement ends in `OWNER TO role`.
fn gives_owner(words: &mut Reader<'_>) -> bool {
    let rest: Vec<Token<'_>> = words.by_ref().filter(|word| !word.is(";")).collect();
    matches!(rest.as_slice(), [.., owner, to, _] if owner.is("OWNER") && to.is("TO"))
}

fn alter_table(words: &mut Reader<'_>) -> Kind {
    for keyword in ["IF", "EXISTS", "ONLY"] {
        words.keyword(keyword);
    }
    let Some(table) = words.qualified() else {
        return Kind::Forbidden;
    };
    let Some(action) = words.next() else {
        return Kind::Forbidden;
    };
    if action.is("OWNER") {
        return Kind::Roles;
    }
    let next = words.next();
    let follows = |keyword: &str| next.as_ref().is_some_and(|word| word.is(keyword));
    if action.is("CLUSTER") || (action.is("REPLICA") && follows("IDENTITY")) {
        return Kind::RestsOnOthers;
    }
    if action.is("ENABLE") || action.is("DISABLE") {
        // Row level security is the table's own.
        return if follows("ROW") {
            Kind::Plain
        } else {
            Kind::RestsOnOthers
        };
    }
    if !(action.is("ADD") && follows("CONSTRAINT")) {
        return Kind::Plain;
    }
    // The constraint's own name may be anything.
    words.next();
    match words.next() {
        Some(word) if word.is("FOREIGN") => Kind::ForeignKey(table, referred(words)),
        Some(word)
            if ["PRIMARY", "UNIQUE", "EXCLUDE"]
                .iter()
                .any(|key| word.is(key)) =>
        {
            Kind::Key(table)
        }
        Some(word) if word.is("CHECK") => Kind::Check(table),
        _ => Kind::Plain,
    }
}

fn referred(words: &mut Reader<'_>) -> Option<QualifiedName> {
    words.find(|word| word.is("REFERENCES"))?;
    words.qualified()
}

/// What a comment or label is on.
fn about(words: &mut Reader<'_>, otherwise: Kind) -> Kind {
    words.keyword("ON");
    match keyword(words).as_str() {
        "" => Kind::Forbidden,
        "EXTENSION" => extension(words),
        "EVENT" => Kind::EventTrigger,
        "PUBLICATION" => Kind::Publication,
        "SUBSCRIPTION" => Kind::Subscription,
        "LARGE" => Kind::Data,
        shared if SHARED.contains(&shared) => Kind::Forbidden,
        _ => otherwise,
    }
}

/// Privileges on an object of the database; memberships and privileges on what is shared are not a dump's.
fn grant(words: &mut Reader<'_>) -> Kind {
    let mut depth = 0_u32;
    while let Some(word) = words.next() {
        if word.is("(") {
            depth += 1;
        } else if word.is(")") {
            depth = depth.saturating_sub(1);
        } else if depth == 0 && word.is("ON") {
            return match words.next() {
                Some(what) if what.is("LARGE") => Kind::Data,
                Some(what) if SHARED.iter().any(|shared| what.is(shared)) => Kind::Forbidden,
                Some(_) => Kind::Roles,
                None => Kind::Forbidden,
            };
        }
    }
    Kind::Forbidden
}

fn call(words: &mut Reader<'_>) -> Kind {
    if words.keyword("*") {
        words.keyword("FROM");
    }
    let Some(called) = words.qualified() else {
        return Kind::Forbidden;
    };
    let known = called.schema == "pg_catalog" && CALLED.contains(&called.name.as_str());
    match called.name.as_str() {
        _ if !known => Kind::Forbidden,
        "set_config" => Kind::Setting,
        _ => Kind::Data,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(schema: &str, name: &str) -> QualifiedName {
        QualifiedName {
            schema: schema.to_owned(),
            name: name.to_owned(),
        }
    }

    #[test]
    fn statements_are_known_by_their_first_words() {
        let posts = || name("public", "posts");
        let table = [
            ("SET statement_timeout = 0;", Kind::Setting),
            (
                "SELECT pg_catalog.set_config('search_path', '', false);",
                Kind::Setting,
            ),
            ("SELECT pg_catalog.setval('public.s', 5, true);", Kind::Data),
            ("SELECT pg_catalog.lo_open('1', 131072);", Kind::Data),
            ("BEGIN;", Kind::Data),
            ("COMMIT;", Kind::Data),
            ("COMMIT PREPARED 'x';", Kind::Forbidden),
            ("SELECT pg_catalog.pg_reload_conf();", Kind::Forbidden),
            ("SELECT public.evil();", Kind::Forbidden),
            (
                "CREATE EXTENSION IF NOT EXISTS \"uuid-ossp\" WITH SCHEMA extensions;",
                Kind::Extension("uuid-ossp".to_owned()),
            ),
            (
                "COMMENT ON EXTENSION pg_cron IS 'x';",
                Kind::Extension("pg_cron".to_owned()),
            ),
            (
                "CREATE EVENT TRIGGER e ON ddl_command_end\n   EXECUTE FUNCTION public.f();",
                Kind::EventTrigger,
            ),
            (
                "ALTER EVENT TRIGGER e OWNER TO postgres;",
                Kind::EventTrigger,
            ),
            (
                "CREATE UNIQUE INDEX i ON public.posts USING btree (id);",
                Kind::Index,
            ),
            (
                "ALTER TABLE ONLY public.posts\n    ADD CONSTRAINT \"primary\" PRIMARY KEY (id);",
                Kind::Key(posts()),
            ),
            (
                "ALTER TABLE ONLY public.posts\n    ADD CONSTRAINT f FOREIGN KEY (a) REFERENCES auth.users(id) ON DELETE CASCADE;",
                Kind::ForeignKey(posts(), Some(name("auth", "users"))),
            ),
            (
                "ALTER TABLE public.posts\n    ADD CONSTRAINT c CHECK ((a > 0)) NOT VALID;",
                Kind::Check(posts()),
            ),
            (
                "ALTER DOMAIN public.posts\n    ADD CONSTRAINT c CHECK (f(VALUE));",
                Kind::DomainCheck(posts()),
            ),
            ("ALTER DOMAIN public.posts OWNER TO postgres;", Kind::Roles),
            (
                "ALTER TABLE public.posts ENABLE ROW LEVEL SECURITY;",
                Kind::Plain,
            ),
            (
                "ALTER TABLE public.posts DISABLE TRIGGER t;",
                Kind::RestsOnOthers,
            ),
            ("ALTER TABLE public.posts OWNER TO postgres;", Kind::Roles),
            (
                "ALTER FUNCTION public.f(a integer) OWNER TO postgres;",
                Kind::Roles,
            ),
            (
                "ALTER DEFAULT PRIVILEGES FOR ROLE a IN SCHEMA b GRANT ALL ON TABLES TO c;",
                Kind::Roles,
            ),
            (
                "GRANT SELECT(a, b),INSERT ON TABLE public.posts TO anon;",
                Kind::Roles,
            ),
            ("GRANT postgres TO eve;", Kind::Forbidden),
            ("GRANT \"ON\" TO eve;", Kind::Forbidden),
            ("GRANT ALL ON DATABASE postgres TO eve;", Kind::Forbidden),
            ("GRANT SET ON PARAMETER x TO eve;", Kind::Forbidden),
            ("ALTER ROLE eve SUPERUSER;", Kind::Forbidden),
            ("CREATE USER eve SUPERUSER;", Kind::Forbidden),
            ("CREATE USER MAPPING FOR a SERVER s;", Kind::Plain),
            ("ALTER SYSTEM SET a = 1;", Kind::Forbidden),
            ("DO $$ BEGIN END $$;", Kind::Forbidden),
            ("COPY public.t FROM PROGRAM 'id';", Kind::Forbidden),
            ("INSERT INTO public.t VALUES (1);", Kind::Forbidden),
            ("REFRESH MATERIALIZED VIEW public.m;", Kind::Refresh),
            ("SECURITY LABEL FOR p ON ROLE x IS 'y';", Kind::Forbidden),
            ("SET SESSION AUTHORIZATION a;", Kind::Roles),
            ("SET ROLE a;", Kind::Forbidden),
        ];
        for (statement, kind) in table {
            assert_eq!(classify(statement), kind, "{statement}");
        }
    }
}
