//! What a database told of itself.

use postgres::databases::Databases;
use postgres::outlook::Outlook;
use postgres::server::Facts;

/// What a database told.
#[derive(Debug, Clone)]
pub struct DatabaseFacts {
    /// About server, role and content.
    pub facts: Facts,
    /// Version of Keycloak's schema, for Keycloak's database.
    pub keycloak_schema: Option<String>,
    /// Relations of Keycloak's database that its role does not own.
    pub of_others: Vec<String>,
    /// What a dump or a restore will meet.
    pub outlook: Outlook,
    /// Which databases its server has.
    pub neighbours: Databases,
}
