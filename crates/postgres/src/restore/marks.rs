//! What a database carries while it is restored or lies aside: settings of its own, whose owner is a superuser. They are all that tells
//! what a restore that did not end left behind.

/// What it is being restored from.
pub(crate) const MARK: &str = "backupd.restoring";
/// The database that lies aside for it.
pub(super) const MARK_ASIDE: &str = "backupd.aside";
/// The name that it is to have.
pub(crate) const MARK_NAME: &str = "backupd.name";
/// What a database carries that a restore moved aside: the name that it has there. Under another name it is an ordinary one again.
pub(crate) const MARK_KEPT: &str = "backupd.kept";
/// The oids of the subscriptions that were disabled in the database that it takes the place of.
pub(super) const MARK_SUBSCRIPTIONS: &str = "backupd.subscriptions";
