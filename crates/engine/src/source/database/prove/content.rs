//! What came back, row by row and object by object.

use std::collections::{BTreeMap, BTreeSet};

use catalog::artifact::Source;
use catalog::drill::DatabaseDrill;
use postgres::digest::{self, TableContent};
use postgres::restore::load::LoadedTable;
use postgres::server::{Server, ServerError, ident};

use super::one::Drill;
use crate::source::database::census::take_census;

/// How an event trigger that is not disabled fires (`pg_event_trigger.evtenabled`), and the words that make it.
const FIRING: [(char, &str); 3] = [
    ('O', "ENABLE"),
    ('R', "ENABLE REPLICA"),
    ('A', "ENABLE ALWAYS"),
];
impl Drill<'_> {
    /// Every row of every table, and every large object, by digest. Gives the rows of each table.
    pub(super) async fn compare_content(
        &self,
        server: &Server,
        tables: &[LoadedTable],
        found: &mut DatabaseDrill,
    ) -> Result<BTreeMap<String, u64>, ServerError> {
        digest::prepare(server).await?;
        let mut counted = BTreeMap::new();
        for expected in self.artifact.tables().unwrap_or_default() {
            let Some(table) = tables.iter().find(|table| table.listed == expected.table) else {
                // The load says so too, where no block of the dump was this table's.
                let missing = format!("{} is missing", expected.table);
                if !found.differences.contains(&missing) {
                    found.differences.push(missing);
                }
                continue;
            };
            found.tables += 1;
            found.rows += expected.rows;
            let back = match digest::of_table(server, &table.target, &table.encoding).await? {
                TableContent::Digest(back) => back,
                TableContent::Absent => {
                    let gone = format!("{} did not come back", expected.table);
                    found.differences.push(gone);
                    continue;
                }
                TableContent::NotAsked => {
                    found.not_proven.push(format!(
                        "{}: its rows were counted, not compared: a dump has those of a condition that is no superuser's, which is not \
                         evaluated",
                        expected.table
                    ));
                    continue;
                }
            };
            counted.insert(expected.table.clone(), back.rows);
            match &expected.digest {
                Some(wanted) if back.digest == *wanted => found.digests += 1,
                _ if back.rows != expected.rows => found.differences.push(format!(
                    "{} came back with {} rows, not {}",
                    expected.table, back.rows, expected.rows
                )),
                Some(_) => found.differences.push(format!(
                    "{} came back with other content in its {} rows",
                    expected.table, expected.rows
                )),
                None => {}
            }
        }
        if let Some(expected) = self
            .artifact
            .dump()
            .and_then(|dump| dump.large_objects.as_ref())
        {
            let back = digest::of_large_objects(server).await?;
            if back.count != expected.count {
                found.differences.push(format!(
                    "{} large objects came back, not {}",
                    back.count, expected.count
                ));
            } else if back.digest != expected.digest {
                found
                    .differences
                    .push("large objects came back with other content".to_owned());
            }
        }
        Ok(counted)
    }

    /// Tables that stood in for those of absent extensions go, with what was made for them: in the census they would look like the
    /// users'. Event triggers keep still: their functions may be anybody's, and would run as the superuser who drops.
    pub(super) async fn remove_stand_ins(
        &self,
        server: &Server,
        tables: &[LoadedTable],
    ) -> Result<(), ServerError> {
        let stand_ins: Vec<&LoadedTable> = tables.iter().filter(|table| table.stand_in).collect();
        if stand_ins.is_empty() {
            return Ok(());
        }
        let mut awake = Vec::new();
        for (state, words) in FIRING {
            let question = format!(
                "SELECT evtname FROM pg_catalog.pg_event_trigger WHERE evtenabled = '{state}'"
            );
            for name in server.names(&question).await? {
                awake.push((ident(&name), words));
            }
        }
        for (name, _) in &awake {
            server
                .execute(&format!("ALTER EVENT TRIGGER {name} DISABLE"))
                .await?;
        }
        let schemas = self.census;
        let schemas = schemas.and_then(|census| census.kinds.get("schema"));
        for table in stand_ins {
            server
                .execute(&format!("DROP TABLE {} CASCADE", table.name))
                .await?;
            let of_users = schemas.is_some_and(|known| {
                known.names.contains(&table.name.schema)
                    || known.names.contains(&ident(&table.name.schema))
            });
            if !of_users {
                // Others may lie in it: then it stays until the last of them goes.
                let _ = server
                    .execute(&format!("DROP SCHEMA {}", ident(&table.name.schema)))
                    .await;
            }
        }
        for (name, words) in awake {
            server
                .execute(&format!("ALTER EVENT TRIGGER {name} {words}"))
                .await?;
        }
        Ok(())
    }

    pub(super) async fn compare_census(
        &self,
        server: &Server,
        absent: &BTreeSet<String>,
        server_major: u32,
        found: &mut DatabaseDrill,
    ) -> Result<(), ServerError> {
        let Some(census) = self.census else {
            found
                .not_proven
                .push("objects: the set has no census of its source".to_owned());
            return Ok(());
        };
        let source = self.artifact.source();
        let same_major = source.and_then(Source::major) == Some(server_major);
        let back = take_census(server).await?;
        let compared = if self.request.url.is_none() {
            census.compare(&back, absent, same_major)
        } else {
            // A server that somebody named has roles of its own.
            census.compare_database(&back, absent, same_major)
        };
        found.objects = census.kinds.values().map(|names| names.count).sum();
        if self.lacks_roles {
            // Owners, grants, policies and memberships cannot be as they were there.
            let unlike = compared.differences.into_iter();
            found.not_proven.extend(
                unlike.map(|what| format!("{what} (the scratch server lacks roles of the source)")),
            );
        } else {
            found.differences.extend(compared.differences);
        }
        found.not_proven.extend(compared.not_proven);
        Ok(())
    }
}
