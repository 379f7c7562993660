//! Gives extensions back what was added to them and altered after they were created, which no dump holds: Supabase's event triggers put a
//! function into pg_graphql, let roles into its schemas, and make functions of pg_net run as their owner. It is given by statements built
//! from what the census knows of the source. The event triggers themselves do not run: their functions may be an ordinary role's.

use super::error::RestoreError;
use super::fault::LoadFault;
use crate::census::{Brought, Given, Routine, brought};
use crate::properties::Setting;
use crate::server::{Server, ServerError, ident, literal};
use crate::sql::{Kind, classify};

/// What came of it.
#[derive(Debug, Default)]
pub struct Mended {
    /// Worth knowing.
    pub notes: Vec<String>,
    /// Privileges that could not be given still.
    pub left_out: Vec<LoadFault>,
}

/// Makes each extension what it was in the source, how its functions run only where it is of the same version, and then gives the privileges
/// that had nothing to be given on. What cannot be given is told: no dump would have brought it.
pub async fn mend(
    server: &Server,
    source: &[(&str, Brought)],
    left_out: Vec<LoadFault>,
) -> Result<Mended, RestoreError> {
    let mut mended = Mended::default();
    let before = brought(server).await?;
    let mut tried = Vec::new();
    for (name, was) in source {
        let Some((_, is)) = before.iter().find(|(other, _)| other == name) else {
            continue;
        };
        if is.digest == was.digest {
            continue;
        }
        let same_version = is.version == was.version;
        let mut why = None;
        for statements in alterations(server, name, was, same_version).await? {
            if let Err(fault) = alter(server, &statements).await {
                if server.client().is_closed() {
                    return Err(fault.into());
                }
                why = why.or(Some(fault));
            }
        }
        // Of another version it is another thing.
        if same_version {
            tried.push((name, was, why));
        }
    }
    let after = if tried.is_empty() {
        before
    } else {
        brought(server).await?
    };
    for (name, was, why) in tried {
        if after
            .iter()
            .any(|(other, is)| other == name && is.digest == was.digest)
        {
            mended.notes.push(format!(
                "extension {name} got back the functions and the privileges on its schemas that it was given in the source after it was created, \
                 which no dump holds"
            ));
        } else {
            let why = why.map_or(String::new(), |fault| format!(": {fault}"));
            mended.notes.push(format!(
                "extension {name} is not as it was in the source: its members, how its functions run, or privileges on its schemas were \
                 altered there after it was created, which no dump holds{why}"
            ));
        }
    }
    for fault in left_out {
        match server.one(&fault.statement).await {
            Ok(()) => {}
            Err(error) if server.client().is_closed() => {
                return Err(LoadFault::of(&fault.statement, &error).into());
            }
            Err(_) => mended.left_out.push(fault),
        }
    }
    Ok(mended)
}

/// What there is to alter, each part of it together.
async fn alterations(
    server: &Server,
    extension: &str,
    was: &Brought,
    same_version: bool,
) -> Result<Vec<Vec<String>>, ServerError> {
    let mut parts = Vec::new();
    for routine in &was.routines {
        if is_member(server, extension, routine).await? {
            if same_version {
                parts.push(runs_as(routine));
            }
        } else if let Some(definition) = &routine.definition
            && is_one_function(definition)
        {
            parts.push(vec![
                "SET LOCAL check_function_bodies = off".to_owned(),
                definition.clone(),
                format!(
                    "ALTER ROUTINE {} OWNER TO {}",
                    routine.signature,
                    ident(&routine.owner)
                ),
                format!(
                    "ALTER EXTENSION {} ADD ROUTINE {}",
                    ident(extension),
                    routine.signature
                ),
            ]);
        }
    }
    parts.extend(
        was.given
            .iter()
            .filter_map(|given| Some(vec![gives(given)?])),
    );
    Ok(parts)
}

/// All of it, or nothing; each a statement alone, whatever its text.
async fn alter(server: &Server, statements: &[String]) -> Result<(), LoadFault> {
    let client = server.client();
    let failed = |statement: &str| {
        let statement = statement.to_owned();
        move |error| LoadFault::of(&statement, &error)
    };
    client
        .execute("BEGIN", &[])
        .await
        .map_err(failed("BEGIN"))?;
    for statement in statements {
        if let Err(error) = client.execute(statement.as_str(), &[]).await {
            // What failed is told; a connection that is gone has nothing open.
            let _ = client.execute("ROLLBACK", &[]).await;
            return Err(failed(statement)(error));
        }
    }
    client
        .execute("COMMIT", &[])
        .await
        .map_err(failed("COMMIT"))
        .map(drop)
}

async fn is_member(
    server: &Server,
    extension: &str,
    routine: &Routine,
) -> Result<bool, ServerError> {
    let question = format!(
        "SELECT pg_catalog.count(*) FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid
         WHERE d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass AND d.deptype = 'e' AND e.extname = {}
           AND d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.objid = pg_catalog.to_regprocedure({})",
        literal(extension),
        literal(&routine.signature)
    );
    Ok(server.number(&question).await? > 0)
}

fn runs_as(routine: &Routine) -> Vec<String> {
    let routine_is = format!("ALTER ROUTINE {}", routine.signature);
    let security = if routine.definer {
        "DEFINER"
    } else {
        "INVOKER"
    };
    let mut statements = vec![
        format!("{routine_is} SECURITY {security}"),
        format!("{routine_is} RESET ALL"),
    ];
    let settings = routine.settings.iter();
    statements.extend(settings.map(|line| Setting::of_catalog(None, line).statement(&routine_is)));
    statements
}

/// As the server writes it, and nothing that could act.
fn is_one_function(definition: &str) -> bool {
    [
        "CREATE OR REPLACE FUNCTION ",
        "CREATE OR REPLACE PROCEDURE ",
    ]
    .iter()
    .any(|begin| definition.starts_with(begin))
        && classify(definition) == Kind::Plain
}

fn gives(given: &Given) -> Option<String> {
    if !["USAGE", "CREATE"].contains(&given.privilege.as_str()) {
        return None;
    }
    let role = given.role.as_deref().map_or("PUBLIC".to_owned(), ident);
    let option = if given.grantable {
        " WITH GRANT OPTION"
    } else {
        ""
    };
    Some(format!(
        "GRANT {} ON SCHEMA {} TO {role}{option}",
        given.privilege,
        ident(&given.schema)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_built_from_data() {
        let routine = Routine {
            signature: "net.http_get(text,jsonb)".to_owned(),
            owner: "supabase_admin".to_owned(),
            definer: true,
            settings: vec!["search_path=net, \"a b\"".to_owned()],
            definition: None,
        };
        assert_eq!(
            runs_as(&routine),
            [
                "ALTER ROUTINE net.http_get(text,jsonb) SECURITY DEFINER",
                "ALTER ROUTINE net.http_get(text,jsonb) RESET ALL",
                "ALTER ROUTINE net.http_get(text,jsonb) SET \"search_path\" TO E'net', E'a b'",
            ]
        );
        let mut given = Given {
            schema: "a\"b".to_owned(),
            role: None,
            privilege: "USAGE".to_owned(),
            grantable: false,
        };
        assert_eq!(
            gives(&given).unwrap(),
            "GRANT USAGE ON SCHEMA \"a\"\"b\" TO PUBLIC"
        );
        given.privilege = "USAGE ON SCHEMA x TO y; --".to_owned();
        assert_eq!(gives(&given), None);
        assert!(!is_one_function("ALTER ROLE eve SUPERUSER"));
    }
}
