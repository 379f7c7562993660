//! One PostgreSQL server and its tools: where it is, what it tells, and how its content becomes artifacts. Knows nothing of sets,
//! settings or steps; of our crates it imports `stream` alone.

pub mod census;
pub mod copy;
pub mod databases;
pub mod digest;
pub mod dsn;
pub mod dump;
pub mod extension;
pub mod fence;
pub mod inventory;
pub mod locks;
pub mod outlook;
pub mod properties;
pub mod remark;
pub mod restore;
pub mod roles;
pub mod sample;
pub mod scratch;
pub mod server;
mod session;
pub mod snapshot;
pub mod sql;
mod tls;
pub mod tools;
pub mod unquoted;
pub mod words;
