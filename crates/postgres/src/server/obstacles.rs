//! What makes a complete dump of a database impossible, and what is worth knowing ahead of one. `pg_dump` exits with 0 and leaves things
//! out in some of these cases, so they are asked for before.

use super::Facts;
use crate::remark::{About, Remark};
use crate::words::counted;

impl Facts {
    /// What makes a complete dump impossible, a sentence each.
    pub fn obstacles(&self, tools_major: u32) -> Vec<Remark> {
        let mut found = Vec::new();
        let user = &self.user;
        let able = self.who_can();
        if !self.restoring.is_empty() {
            found.push(Remark::new(About::HalfRestored, format!(
                "the database is half restored from {}: wait for the restore to end, or put the one before it back",
                self.restoring
            )));
        }
        if self.major > tools_major {
            found.push(Remark::new(About::Newer { major: self.major }, format!(
                "the server is PostgreSQL {}, newer than the client programs ({tools_major}), which refuse it: install \
                 postgresql-client-{} or newer",
                self.server_version, self.major
            )));
        }
        if self.unreadable_total > 0 {
            let named = self.unreadable.join(", ");
            let more = self
                .unreadable_total
                .saturating_sub(self.unreadable.len() as u64);
            let rest = if more > 0 {
                format!(" and {more} more")
            } else {
                String::new()
            };
            found.push(self.unseen(format!("role {user} may not read {named}{rest}: {able}")));
        }
        if self.rls_tables > 0 {
            found.push(self.unseen(format!(
                "row security binds role {user} on {}, and pg_dump refuses to dump a part of their rows: {able}",
                counted(self.rls_tables, "table")
            )));
        }
        if self.unreadable_large_objects > 0 {
            found.push(self.unseen(format!(
                "role {user} may not read {} of {}: {able}",
                self.unreadable_large_objects,
                counted(self.large_objects, "large object")
            )));
        }
        if self.hidden_user_mappings > 0 {
            found.push(self.unseen(format!(
                "role {user} cannot see the options of {} of foreign servers, and a dump would lose them silently: {able}",
                counted(self.hidden_user_mappings, "user mapping")
            )));
        }
        if self.hidden_subscriptions > 0 {
            found.push(self.unseen(format!(
                "role {user} is no superuser, and a dump would lose {} silently: {able}",
                counted(self.hidden_subscriptions, "subscription")
            )));
        }
        found
    }

    /// What is worth knowing and stops nothing, a sentence each.
    pub fn warnings(&self) -> Vec<Remark> {
        let mut found = Vec::new();
        if self.transaction_pooler {
            found.push(Remark::new(About::Pooler, "the connection seems to go through a transaction pooler, through which pg_dump is unsafe: connect to the server itself, \
                 or to a session-mode port"));
        }
        if self.in_recovery {
            found.push(Remark::new(About::Standby, "the server is a standby: long dumps may be cancelled by replay (max_standby_streaming_delay), and the newest \
                 transactions may be missing"));
        }
        if !self.not_utf8.is_empty() {
            found.push(Remark::new(About::NotUtf8, format!(
                "the database is in SQL_ASCII, and what it calls {} is not UTF-8: a restore would end there, and only psql could load \
                 the dump; rename or rewrite it in UTF-8, or move to a database with an encoding",
                self.not_utf8.join(", ")
            )));
        }
        found
    }

    /// A role that may not read everything.
    fn unseen(&self, text: String) -> Remark {
        let able = self.superusers.clone();
        Remark::new(About::MayNotRead { able }, text)
    }

    fn who_can(&self) -> String {
        match self.superusers.as_slice() {
            [] => "connect as a superuser".to_owned(),
            [one] => format!("connect as {one}, who is superuser"),
            several => format!("connect as a superuser ({})", several.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_a_superuser() -> Facts {
        Facts {
            server_version: "15.8".to_owned(),
            version_num: 150_008,
            major: 15,
            user: "supabase_admin".to_owned(),
            superuser: true,
            bypass_rls: true,
            database_bytes: 1,
            tables: 3,
            large_objects: 2,
            unreadable_large_objects: 0,
            hidden_user_mappings: 0,
            hidden_subscriptions: 0,
            unreadable: Vec::new(),
            unreadable_total: 0,
            rls_tables: 0,
            superusers: vec!["supabase_admin".to_owned()],
            can_read_passwords: true,
            in_recovery: false,
            database_owner: "postgres".to_owned(),
            encoding: "UTF8".to_owned(),
            not_utf8: Vec::new(),
            collate: "C".to_owned(),
            transaction_pooler: false,
            data_checksums: false,
            restoring: String::new(),
            database_oid: 5,
            system_identifier: Some("7381234567890123456".to_owned()),
        }
    }

    #[test]
    fn a_superuser_meets_no_obstacle_unless_the_server_is_newer() {
        let facts = of_a_superuser();
        assert!(facts.obstacles(15).is_empty() && facts.obstacles(17).is_empty());
        assert!(facts.warnings().is_empty());
        let newer = facts.obstacles(14);
        assert!(
            newer[0]
                .text
                .contains("PostgreSQL 15.8, newer than the client programs (14)")
        );
    }

    #[test]
    fn every_obstacle_names_the_role_that_can() {
        let facts = Facts {
            user: "app".to_owned(),
            unreadable: vec!["auth.users".to_owned()],
            unreadable_total: 3,
            rls_tables: 1,
            unreadable_large_objects: 1,
            hidden_user_mappings: 1,
            hidden_subscriptions: 1,
            ..of_a_superuser()
        };
        let obstacles = facts.obstacles(17);
        assert_eq!(obstacles.len(), 5);
        for obstacle in &obstacles {
            let text = &obstacle.text;
            assert!(
                text.contains("role app") && text.contains("supabase_admin"),
                "{text}"
            );
        }
        assert!(obstacles[0].text.contains("auth.users and 2 more"));
    }
}
