//! A finding: what was looked at, how it is, and, where it is not as it should be, what kind of fault that is. A short sentence is kept
//! with it; what a fault means and how it is repaired is said at the door, which knows where an operator types.

use std::path::PathBuf;

use catalog::set::SetId;
use postgres::dsn::Dsn;
use postgres::remark::About;
use postgres::server::ServerError;
use serde::Serialize;

/// One finding.
#[derive(Debug, Clone, Serialize)]
pub struct Check {
    /// What was looked at: `tools`, `backup directory`, `free space`, a source's label, ….
    pub subject: String,
    /// How it is.
    pub outcome: Outcome,
    /// In words, with the fix where there is something to repair.
    pub text: String,
    /// What a failure stops.
    #[serde(skip)]
    pub blocks: Blocks,
    /// Whether a failure may pass by itself.
    #[serde(skip)]
    pub passing: bool,
    /// What is wrong, where something is.
    #[serde(skip)]
    pub fault: Option<Fault>,
}

/// How a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// As it should be.
    Passed,
    /// Worth knowing; stops nothing.
    Warning,
    /// Must be repaired.
    Failed,
}

/// What a failed check stops.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Blocks {
    /// The whole run, before anything is created.
    Run,
    /// The step of this name.
    Step(String),
    /// A restore.
    Restore,
}

/// What is wrong, with what its repair needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// A setting is wrong.
    Settings {
        /// Its name.
        wrong: String,
        /// The name that it should have, where its name is what is wrong.
        right: Option<String>,
    },
    /// There is no such backup directory.
    NoDirectory(PathBuf),
    /// It cannot be written to.
    DirectoryNotWritable(PathBuf),
    /// PostgreSQL's client programs are not there, or do not work.
    NoTools,
    /// Too little room for the next set in this directory.
    NoRoom(PathBuf),
    /// A database's server does not let us ask.
    Server(Place, NoAnswer),
    /// A database is in a state that a dump or a restore does not take, or will not bring back.
    Database(Place, About),
    /// Tables of Keycloak's database belong to another role than its own.
    Owners,
    /// Keycloak's schema is not found.
    NotKeycloak,
    /// No role that the settings name may restore a database.
    MayNotRestore {
        /// The database.
        place: Place,
        /// Roles of its server that may.
        able: Vec<String>,
    },
    /// Databases of a server are in no set, and no setting says so.
    InNoSet {
        /// Whether `BACKUP_DATABASES` decides.
        of_supabase: bool,
    },
    /// The newest good set holds databases that the server no longer has.
    Gone,
    /// A tree is not there, or empty.
    NoTree(PathBuf),
    /// The directory that a tree is to be restored into is not there.
    NoParent(PathBuf),
    /// Parts of a tree cannot be read.
    TreeUnreadable(PathBuf),
    /// A restore of the tree is at work or was cut off.
    TreeHalfRestored,
    /// The tree cannot be written to.
    TreeNotWritable(PathBuf),
    /// The tree's file system keeps no extended attributes.
    NoAttributes,
    /// Too little room for a tree in this directory.
    NoRoomForTree(PathBuf),
    /// There is no set that a restore would take.
    NoSet,
    /// The good sets have anomalies that nobody has accepted.
    OnlyAnomalies,
    /// The good sets are dated in the future.
    OnlyFuture,
    /// A source is in no artifact of the set.
    NotInSet,
    /// Settings do not say where a database of the set belongs.
    NoTarget(String),
    /// A file of the set is not what it was.
    Damaged(SetId),
    /// The server cannot have extensions of the source.
    NoExtension {
        /// The database.
        place: Place,
        /// Major version of its server.
        major: u32,
        /// The extensions.
        names: Vec<String>,
    },
    /// The server is of an older major version than the dumped one.
    OlderServer(u32),
    /// The server takes no connections to the database.
    Closed(Place),
    /// Clients are connected.
    Clients,
    /// A set has an anomaly that nobody has accepted.
    Anomaly(SetId),
    /// A set in this directory could not be looked at.
    Unread(PathBuf, SetId),
    /// The newest good set is too old, or runs fail.
    NoRecentSet,
    /// The daemon waits for a person: sources are others than the sets'.
    Waits,
    /// Drills fail, or are not made.
    NoProof,
    /// The programs of a scratch server are not there.
    NoScratchServer(u32),
    /// A scratch server cannot be fenced.
    NoFence,
    /// No daemon answers.
    NoDaemon,
    /// Another program has the status server's port.
    PortTaken(u16),
    /// Nothing runs by itself.
    NoSchedule,
}

/// Where a database is, without secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its label.
    pub label: String,
    /// Name, address or socket directory.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// The role that settings name.
    pub user: String,
    /// Its name.
    pub database: String,
}

/// How a server did not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoAnswer {
    /// Nobody listens, or nobody answers.
    Silent,
    /// The role was rejected.
    Rejected,
    /// It has no such database.
    NoDatabase,
    /// No encrypted connection.
    Tls,
    /// It says something else.
    Other,
}

impl Check {
    /// A finding about `subject`.
    pub fn new(
        subject: &str,
        outcome: Outcome,
        blocks: Blocks,
        text: impl Into<String>,
        fault: Option<Fault>,
    ) -> Self {
        Self {
            subject: subject.to_owned(),
            outcome,
            text: text.into(),
            blocks,
            passing: false,
            fault,
        }
    }

    /// As it should be.
    pub fn passed(subject: &str, text: impl Into<String>) -> Self {
        Self::new(subject, Outcome::Passed, Blocks::Run, text, None)
    }

    /// Worth knowing.
    pub fn warning(subject: &str, text: impl Into<String>, fault: Fault) -> Self {
        Self::new(subject, Outcome::Warning, Blocks::Run, text, Some(fault))
    }

    /// What a restore would end at.
    pub fn obstacle(subject: &str, text: impl Into<String>, fault: Fault) -> Self {
        Self::new(subject, Outcome::Failed, Blocks::Restore, text, Some(fault))
    }

    /// Whether a restore would end at it.
    pub fn stops_restore(&self) -> bool {
        self.outcome == Outcome::Failed && self.blocks == Blocks::Restore
    }

    /// Whether a run, or a step of it, would end at it.
    pub fn stops_run(&self) -> bool {
        self.outcome == Outcome::Failed && self.blocks != Blocks::Restore
    }
}

impl Fault {
    /// A word for machines, the same in every version.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Settings { .. } => "settings",
            Self::NoDirectory(_) => "no_directory",
            Self::DirectoryNotWritable(_) => "directory_not_writable",
            Self::NoTools => "no_tools",
            Self::NoRoom(_) => "no_room",
            Self::Server(_, how) => match how {
                NoAnswer::Silent => "server_silent",
                NoAnswer::Rejected => "role_rejected",
                NoAnswer::NoDatabase => "no_database",
                NoAnswer::Tls => "tls",
                NoAnswer::Other => "server_refuses",
            },
            Self::Database(_, about) => match about {
                About::HalfRestored => "half_restored",
                About::Newer { .. } => "newer_server",
                About::MayNotRead { .. } => "may_not_read",
                About::Pooler => "pooler",
                About::Standby => "standby",
                About::NotUtf8 => "not_utf8",
                About::Locks { .. } => "locks",
                About::Prepared { .. } => "prepared_transactions",
                About::InvalidIndexes { .. } => "invalid_indexes",
                About::ForeignRefreshes => "foreign_refreshes",
                About::LostNames => "lost_names",
                About::UnsteadyChecks => "unsteady_checks",
                About::Tablespaces => "tablespaces",
            },
            Self::Owners => "owners",
            Self::NotKeycloak => "not_keycloak",
            Self::MayNotRestore { .. } => "may_not_restore",
            Self::InNoSet { .. } => "in_no_set",
            Self::Gone => "gone",
            Self::NoTree(_) => "no_tree",
            Self::NoParent(_) => "no_parent",
            Self::TreeUnreadable(_) => "tree_unreadable",
            Self::TreeHalfRestored => "tree_half_restored",
            Self::TreeNotWritable(_) => "tree_not_writable",
            Self::NoAttributes => "no_attributes",
            Self::NoRoomForTree(_) => "no_room_for_tree",
            Self::NoSet => "no_set",
            Self::OnlyAnomalies => "only_anomalies",
            Self::OnlyFuture => "future_sets",
            Self::NotInSet => "not_in_set",
            Self::NoTarget(_) => "no_target",
            Self::Damaged(_) => "damaged",
            Self::NoExtension { .. } => "no_extension",
            Self::OlderServer(_) => "older_server",
            Self::Closed(_) => "closed",
            Self::Clients => "clients",
            Self::Unread(..) => "unread_set",
            Self::Anomaly(_) => "anomaly",
            Self::NoRecentSet => "no_recent_set",
            Self::Waits => "waits",
            Self::NoProof => "no_proof",
            Self::NoScratchServer(_) => "no_scratch_server",
            Self::NoFence => "no_fence",
            Self::NoDaemon => "no_daemon",
            Self::PortTaken(_) => "port_taken",
            Self::NoSchedule => "no_schedule",
        }
    }
}

impl Place {
    /// Of a source.
    pub fn of(label: &str, dsn: &Dsn) -> Self {
        Self {
            label: label.to_owned(),
            host: dsn.host.clone(),
            port: dsn.port,
            user: dsn.user.clone(),
            database: dsn.database.clone(),
        }
    }
}

impl From<&ServerError> for NoAnswer {
    fn from(error: &ServerError) -> Self {
        match error {
            ServerError::Unreachable { .. }
            | ServerError::Timeout { .. }
            | ServerError::Unavailable { .. } => Self::Silent,
            ServerError::Authentication { .. } => Self::Rejected,
            ServerError::UnknownDatabase { .. } => Self::NoDatabase,
            ServerError::Tls { .. } | ServerError::TlsSetup { .. } => Self::Tls,
            ServerError::Query { .. } => Self::Other,
        }
    }
}
