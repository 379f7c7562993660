//! Which tables do not count: `[label:]schema.table`, with `*` for any characters; `label:*` for all of a source.

use std::fmt;
use std::str::FromStr;

/// Tables that services empty by themselves, and tables of logs, sessions and queues, which come and go.
pub const EMPTIED_BY_SERVICES: &[&str] = &[
    "auth.audit_log_entries",
    "auth.flow_state",
    "auth.mfa_amr_claims",
    "auth.mfa_challenges",
    "auth.oauth_authorizations",
    "auth.oauth_client_states",
    "auth.one_time_tokens",
    "auth.refresh_tokens",
    "auth.saml_relay_states",
    "auth.sessions",
    "cron.job_run_details",
    "net._http_response",
    "net.http_request_queue",
    "pgmq.q_*",
    "realtime.messages",
    "realtime.messages_*",
    "realtime.subscription",
    "storage.s3_multipart_uploads",
    "storage.s3_multipart_uploads_parts",
    "supabase_functions.hooks",
    "_analytics.log_events_*",
    "keycloak:*.admin_event_entity",
    "keycloak:*.client_session*",
    "keycloak:*.event_entity",
    "keycloak:*.jgroups*",
    "keycloak:*.offline_client_session",
    "keycloak:*.offline_user_session",
    "keycloak:*.revoked_token",
    "keycloak:*.user_session*",
];

/// What does not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    label: Option<String>,
    table: String,
}

/// Not a pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` names no table: write schema.table, label:schema.table, or label:* for all of a source; * stands for any characters"
)]
pub struct NoPattern(String);

impl Pattern {
    /// Whether it names this table of this source.
    pub fn names(&self, source: &str, table: &str) -> bool {
        self.is_of(source) && matches(self.table.as_bytes(), table.as_bytes())
    }

    /// Whether it names all of this source.
    pub fn names_all(&self, source: &str) -> bool {
        self.table == "*" && self.is_of(source)
    }

    fn is_of(&self, source: &str) -> bool {
        self.label.as_ref().is_none_or(|label| label == source)
    }
}

impl FromStr for Pattern {
    type Err = NoPattern;

    fn from_str(text: &str) -> Result<Self, NoPattern> {
        let (label, table) = match text.split_once(':') {
            Some((label, table)) => (Some(label.trim()), table.trim()),
            None => (None, text.trim()),
        };
        let of_a_table = table
            .split_once('.')
            .is_some_and(|(schema, table)| !schema.is_empty() && !table.is_empty());
        let of_a_source = label.is_some() && table == "*";
        if label.is_some_and(str::is_empty) || !(of_a_table || of_a_source) {
            return Err(NoPattern(text.to_owned()));
        }
        Ok(Self {
            label: label.map(str::to_owned),
            table: table.to_owned(),
        })
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(label) = &self.label {
            write!(f, "{label}:")?;
        }
        f.write_str(&self.table)
    }
}

/// Whether `text` is what `pattern` says; on a mismatch the last `*` takes one character more.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut in_text) = (0, 0);
    let mut last_star: Option<(usize, usize)> = None;
    while in_text < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                last_star = Some((at, in_text));
                at += 1;
            }
            Some(byte) if *byte == text[in_text] => {
                at += 1;
                in_text += 1;
            }
            _ => {
                let Some((star, taken)) = last_star else {
                    return false;
                };
                last_star = Some((star, taken + 1));
                at = star + 1;
                in_text = taken + 1;
            }
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_name_tables_of_one_source_or_of_all() {
        let cases = [
            ("auth.sessions", "supabase", "auth.sessions", true),
            ("auth.sessions", "other", "auth.sessions", true),
            ("auth.sessions", "supabase", "auth.sessions2", false),
            ("shop:public.*", "shop", "public.carts", true),
            ("shop:public.*", "supabase", "public.carts", false),
            ("*.event_entity", "keycloak", "public.event_entity", true),
            (
                "*.event_entity",
                "keycloak",
                "public.admin_event_entity",
                false,
            ),
            ("a.*b*c", "x", "a.1b2b3c", true),
            ("a.*b*c", "x", "a.1b2b3", false),
            ("a.b*", "x", "a.b", true),
        ];
        for (pattern, source, table, named) in cases {
            let parsed: Pattern = pattern.parse().unwrap();
            assert_eq!(parsed.names(source, table), named, "{pattern} {table}");
            assert_eq!(parsed.to_string(), pattern);
        }
        let all: Pattern = "env:*".parse().unwrap();
        assert!(all.names_all("env") && !all.names_all("storage"));
        for wrong in [
            "",
            "sessions",
            "*",
            ":auth.sessions",
            "auth.",
            ".x",
            "env:x",
        ] {
            assert!(wrong.parse::<Pattern>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_services_empty_is_said_rightly() {
        for pattern in EMPTIED_BY_SERVICES {
            assert!(pattern.parse::<Pattern>().is_ok(), "{pattern}");
        }
    }
}
