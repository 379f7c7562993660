//! Indexes on expressions or with conditions, and statistics objects. Whoever plans a query on their table evaluates calls with constant
//! arguments in them, functions of the table's owner among them. So they are made when nothing is asked of the table any more.

use super::loaded::Calculated;
use super::loader::Loader;
use crate::restore::error::RestoreError;
use crate::server::literal;
use crate::sql::reader::Reader;
use crate::sql::{Kind, QualifiedName};

impl Loader<'_> {
    /// Puts such a statement off, and what is said about what it makes; says whether it did.
    pub(super) async fn puts_off(
        &mut self,
        kind: &Kind,
        statement: &str,
    ) -> Result<bool, RestoreError> {
        let made = match kind {
            Kind::Index if calculates(statement) => index(statement),
            Kind::Key(_) if calculates(statement) => constraint(statement),
            Kind::Plain => statistics(statement),
            _ => None,
        };
        // What is about a table that comes later comes with it.
        if made.is_some() && self.names_what_waits(statement) && !self.is_there(statement).await? {
            return Ok(false);
        }
        let about = matches!(kind, Kind::RestsOnOthers | Kind::Comment | Kind::Roles)
            || statement.starts_with("ALTER STATISTICS ");
        let names = &self.calculated;
        let rests = about
            && !names.is_empty()
            && Reader::of(statement)
                .filter_map(|token| token.name())
                .any(|name| names.contains(&name));
        let is_made = made.is_some();
        self.calculated.extend(made);
        if is_made || rests {
            self.loaded.held.calculated.push(Calculated {
                tablespace: self.tablespace.clone(),
                statement: statement.to_owned(),
            });
        }
        Ok(is_made || rests)
    }

    async fn is_there(&self, statement: &str) -> Result<bool, RestoreError> {
        let name = table(statement).map_or_else(String::new, |name| name.to_string());
        let question = format!(
            "SELECT pg_catalog.count(pg_catalog.to_regclass({}))",
            literal(&name)
        );
        Ok(self.main.number(&question).await? > 0)
    }
}

/// The table that is indexed, constrained or counted.
fn table(statement: &str) -> Option<QualifiedName> {
    let keyword = match statement.split(' ').nth(1)? {
        "TABLE" => "TABLE",
        "STATISTICS" => "FROM",
        _ => "ON",
    };
    let mut words = Reader::of(statement);
    words.find(|word| word.is(keyword))?;
    words.keyword("ONLY");
    words.qualified()
}

/// Whether there is an expression or a condition: parentheses within parentheses, or WHERE.
fn calculates(statement: &str) -> bool {
    let mut depth = 0_u32;
    Reader::of(statement).any(|word| {
        if word.is("(") {
            depth += 1;
        } else if word.is(")") {
            depth = depth.saturating_sub(1);
        }
        depth > 1 || word.is("WHERE")
    })
}

fn index(statement: &str) -> Option<String> {
    let mut words = Reader::of(statement);
    words.next();
    words.keyword("UNIQUE");
    words.keyword("INDEX").then(|| words.name())?
}

fn constraint(statement: &str) -> Option<String> {
    let mut words = Reader::of(statement);
    words.find(|word| word.is("CONSTRAINT"))?;
    words.name()
}

fn statistics(statement: &str) -> Option<String> {
    let rest = statement.strip_prefix("CREATE STATISTICS ")?;
    QualifiedName::read(rest).map(|name| name.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_calculated_is_known() {
        for (statement, expected) in [
            (
                "CREATE INDEX i ON public.t USING btree (a, b DESC) INCLUDE (c);",
                false,
            ),
            ("CREATE INDEX i ON public.t USING btree (lower(a));", true),
            ("CREATE INDEX i ON public.t USING btree (\"WHERE\");", false),
            (
                "CREATE INDEX i ON public.t USING btree (a) WHERE (b > 0);",
                true,
            ),
            (
                "ALTER TABLE ONLY public.t\n    ADD CONSTRAINT c PRIMARY KEY (a);",
                false,
            ),
            (
                "ALTER TABLE ONLY public.t\n    ADD CONSTRAINT c EXCLUDE USING gist (f(a) WITH &&);",
                true,
            ),
        ] {
            assert_eq!(calculates(statement), expected, "{statement}");
        }
        assert_eq!(
            index("CREATE UNIQUE INDEX \"a b\" ON public.t (x);").as_deref(),
            Some("a b")
        );
        assert_eq!(
            statistics("CREATE STATISTICS s.\"x\" ON a, b FROM t;").as_deref(),
            Some("x")
        );
    }
}
