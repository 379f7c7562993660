//! What Supabase and Keycloak keep in their databases, as far as a backup has to know: the crate `postgres` knows PostgreSQL alone.

pub mod keycloak;
pub mod objects;

/// Supabase's superuser.
pub(crate) const SUPERUSER: &str = "supabase_admin";
/// Where Supabase's poolers, Supavisor among them, give each transaction another session.
pub(crate) const TRANSACTION_POOLER_PORT: u16 = 6543;
