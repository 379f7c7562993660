//! What Supabase and Keycloak keep in their databases, as far as a backup has to know: the crate `postgres` knows PostgreSQL alone.

pub mod keycloak;
pub mod objects;
