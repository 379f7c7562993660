//! The one table of settings: name, secret or not, value, what holds without it, how its text is read, what it means. The table in
//! docs/configuration.md and config/backup.env.example are made from it (`documents`).

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use chrono_tz::Tz;
use engine::config::{OtherDatabases, ReconcileMode};
use engine::space::MinFree;
use policy::anomaly::Pattern;
use postgres::dsn::Dsn;
use postgres::dump::DumpFormat;
use postgres::scratch::Fencing;

use super::parse::{
    absolute, address, choice, delay, dsn, duration_or_off, hosts, jdbc_or_dsn, labelled_dsns,
    labelled_paths, level, number, others, patterns, prefix, socket, text, zone,
};
use super::setting::Fallback::{Absent, Required, Text};
use super::setting::{Entry, Setting, Theme, settings};
use super::size::min_free;
use super::wanted::{Wanted, wanted};

/// More sets than any installation keeps; keeps sums of days far from overflow.
const MANY: u32 = 36_500;
/// More tries than this are no retries but a schedule.
const MOST_RETRIES: u32 = 20;
/// Ten years.
const MOST_HOURS: u32 = 87_600;
const MOST_DAYS: u32 = 3_650;
pub const MAX_THREADS: u8 = 64;
/// Of zstd; libdeflate's end earlier.
pub const MAX_LEVEL: u8 = 19;

/// A compressor that a setting names, before its level is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compressor {
    /// gzip.
    Gzip,
    /// Zstandard.
    Zstd,
}

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One object a line, for log collectors.
    Json,
}

settings! {
    Sources {
        secret DATABASE_URL: Dsn = Required("set it to postgres://supabase_admin:PASSWORD@db:5432/postgres, or take `supabase` out of BACKUP_SOURCES"), dsn,
            "Supabase's database, `postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=…`, as `supabase_admin`: other roles cannot read everything. A `@`, `:`, `/`, `#`, `%` or space in the password is percent-encoded (`p@ss` is `p%40ss`).";
        secret SESSION_DATABASE_URL: Dsn = Absent(""), dsn,
            "The same, direct or in session mode; wins over `DATABASE_URL`. Set it where `DATABASE_URL` goes through a transaction pooler (port 6543), which dumps must not.";
        secret KC_DB_URL: Dsn = Required("set it to jdbc:postgresql://HOST:5432/keycloak (or set KC_DB_URL_HOST), or take `keycloak` out of BACKUP_SOURCES"), jdbc_or_dsn,
            "Keycloak's database as Keycloak names it, `jdbc:postgresql://HOST:PORT/DATABASE?sslmode=…&currentSchema=…`, or in `postgres://` form.";
        plain KC_DB_URL_HOST: String = Absent(""), text,
            "Instead of `KC_DB_URL`, with the three below.";
        plain KC_DB_URL_PORT: u16 = Text("5432"), |value| number(value, (1, u16::MAX)),
            "Its port.";
        plain KC_DB_URL_DATABASE: String = Text("keycloak"), text,
            "Its database.";
        plain KC_DB_URL_PROPERTIES: String = Absent(""), text,
            "As in Keycloak, `?sslmode=require`.";
        plain KC_DB_SCHEMA: String = Absent("`public`"), text,
            "Schema of Keycloak's tables. Only its version is read from there: the whole database is dumped.";
        secret KC_DB_USERNAME: String = Required("set it to the role that owns Keycloak's tables"), text,
            "Keycloak's role; wins over a user in the URL.";
        secret KC_DB_PASSWORD: String = Required("set it, or KC_DB_PASSWORD_FILE"), text,
            "Its password. Not asked for on a Unix socket.";
        plain SUPABASE_STORAGE_PATH: PathBuf = Required("set it to the mounted storage directory (`./volumes/storage` of the Supabase stack), or take `storage` out of BACKUP_SOURCES"), absolute,
            "Root of Storage's file backend as mounted here: `./volumes/storage` of the stack. Missing fails the storage step; empty does too, unless `storage.objects` is known to be empty.";
        plain BACKUP_SOURCES: Wanted = Text("supabase,keycloak,storage"), wanted,
            "Which of the three are backed up. Settings of a source that is left out are not required.";
        plain BACKUP_DATABASES: OtherDatabases = Absent(""), others,
            "Other databases of Supabase's server, dumped as `DATABASE_URL`'s role: `all` (also those made later), `none`, or names separated by commas. The stock stack has `_supabase` (Logflare, Supavisor). Unset, `check` and `run` warn of databases that are in no set; `none` says that this is meant. Templates and databases that take no connections are in none of these: `check` and `run` name them with the reason. A label is the database's name, or with a hash where that can be none.";
        secret BACKUP_EXTRA_DATABASES: Vec<(String, Dsn)> = Absent(""), labelled_dsns,
            "More databases, `label=postgres://…,label=postgres://…`. A label is lower-case letters, digits, `-`, `_`, at most 40.";
        plain BACKUP_EXTRA_PATHS: Vec<(String, PathBuf)> = Absent(""), labelled_paths,
            "More directories or single files, `label=/path,label=/path`: what a new machine needs before it can restore the rest, such as the stack's `.env`, secrets, and the Vault's root key (`db-config`).";
        plain BACKUP_STORAGE_PREFIX: String = Absent("found"), prefix,
            "Directories between Storage's root and the buckets, `stub/stub` in a stock stack; `/` for none. Without it the one is taken under which most objects have a file.";
        plain BACKUP_RECONCILE: ReconcileMode = Text("warn"), |value| choice(value, &[("warn", ReconcileMode::Warn), ("strict", ReconcileMode::Strict), ("off", ReconcileMode::Off)]),
            "What follows when files and `storage.objects` do not agree: `warn`, `strict` (the storage step fails) or `off`. Every run compares the files it packs with `storage.objects` of the dump's instant: objects without their file, or with one of another size or MD5. Files without an object, and objects deleted during the run, are no fault. A `storage.objects` that is not the storage service's own table is not read: the Supabase step warns, and what cannot be compared at all does not pass `strict`.";
    }
    Making {
        plain BACKUP_DIR: PathBuf = Text("/backups"), absolute,
            "Where sets are kept. Must exist: a missing directory is most often a lost mount.";
        plain BACKUP_MIN_FREE: MinFree = Text("16MiB"), min_free,
            "Room that must remain in `BACKUP_DIR` when a set is made: bytes with a unit (`500MB`, `2GiB`), a part of the file system (`5%`), or `0`. Where the [estimate](operations.md#room) and this are more than is free, a run first removes what retention lets go, and begins only when that is enough. `run --ignore-space` and `trigger --ignore-space` go on all the same.";
        plain BACKUP_DUMP_FORMAT: DumpFormat = Text("plain"), |value| choice(value, &[("plain", DumpFormat::Plain), ("custom", DumpFormat::Custom)]),
            "`plain` SQL, or PostgreSQL's `custom` archive for `pg_restore -j`.";
        plain BACKUP_COMPRESSION: Compressor = Text("gzip"), |value| choice(value, &[("gzip", Compressor::Gzip), ("zstd", Compressor::Zstd)]),
            "`gzip` (readable by `gunzip` everywhere) or `zstd`.";
        plain BACKUP_COMPRESSION_LEVEL: u8 = Absent("`2` (gzip; `6` with `custom`), `3` (zstd)"), |value| number(value, (1, MAX_LEVEL)),
            "1–12 for gzip (1–9 with `custom`), 1–19 for zstd. Levels of gzip are libdeflate's: on a dump of 1.06 GB, level 1 took 8.4 s and 462 MB, 2: 8.9 s and 444 MB, 4: 9.5 s and 442 MB, where `pg_dump \\| gzip` took 35.7 s and 468 MB.";
        plain BACKUP_THREADS: u8 = Absent("cores"), |value| number(value, (1, MAX_THREADS)),
            "Compression threads, 1–64.";
        plain BACKUP_STEP_TIMEOUT: Option<Duration> = Text("24h"), duration_or_off,
            "Longest time for one step: seconds, or with a unit `s`, `m`, `h`, `d`; `off` for none. A step that takes longer is ended and failed.";
        plain BACKUP_LOCK_TIMEOUT: Option<Duration> = Text("10m"), duration_or_off,
            "Longest time a dump waits for a lock that somebody else holds (an open migration); `off` for ever. After 5 s log and progress name the table and the session in its way; after this the step fails by the same words.";
        plain BACKUP_PG_BINDIR: PathBuf = Absent("newest found"), absolute,
            "Directory of `pg_dump`, `pg_dumpall`, `pg_restore` and `psql`. Without it `/usr/lib/postgresql/*/bin`, usual places and `PATH` are searched and the newest complete set is taken.";
    }
    Keeping {
        plain BACKUP_RETENTION_DAYS: u32 = Text("7"), |value| number(value, (0, MANY)),
            "Sets younger than this many times 24 hours; `0` turns this rule off.";
        plain BACKUP_KEEP_LAST: u32 = Text("0"), |value| number(value, (0, MANY)),
            "The newest n good sets.";
        plain BACKUP_KEEP_DAILY: u32 = Text("0"), |value| number(value, (0, MANY)),
            "The newest good set of each of the last n days that have one (UTC).";
        plain BACKUP_KEEP_WEEKLY: u32 = Text("0"), |value| number(value, (0, MANY)),
            "… of each of the last n ISO weeks.";
        plain BACKUP_KEEP_MONTHLY: u32 = Text("0"), |value| number(value, (0, MANY)),
            "… of each of the last n months.";
        plain BACKUP_RETENTION_MIN: u32 = Text("1"), |value| number(value, (1, MANY)),
            "Never fewer than this many good sets, however old.";
    }
    Anomalies {
        plain BACKUP_ANOMALY_DROP_PERCENT: u8 = Text("50"), |value| number(value, (1, 100)),
            "A source or a table that lost more than this percentage of what it had is an anomaly; 1–100, and `100` looks at no losses.";
        plain BACKUP_ANOMALY_IGNORE: Vec<Pattern> = Absent(""), patterns,
            "Tables that come and go, besides [those that services empty](operations.md#anomalies): `schema.table` or `label:schema.table`, separated by commas, `*` for any characters. `label:*` is all of a source, trees too; that it is another source is told all the same.";
    }
    Daemon {
        plain BACKUP_SCHEDULE: String = Text("0 2 * * *"), text,
            "When `serve` makes a set: five cron fields (minute, hour, day of month, month, day of week), six with seconds first, `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`, or `off` for runs by `backupd trigger` alone. Lists, ranges, steps, `L` and names (`MON`, `JAN`) are understood.";
        plain BACKUP_TIMEZONE: Tz = Text("UTC"), zone,
            "The schedule's time zone, `Europe/Berlin`. Where the clock jumps over a run's time, the run begins right after the jump; where the time comes twice, the first time. An hour of `*` runs every hour that passes.";
        plain BACKUP_JITTER: Option<Duration> = Text("off"), delay,
            "Each run begins up to this long after its moment (`15m`), so that a fleet does not dump at once. The delay is the same for the same host name and moment; `status` and the page show it.";
        plain BACKUP_CATCH_UP: bool = Text("true"), |value| choice(value, &[("true", true), ("false", false)]),
            "At its start the daemon makes a set at once when the schedule's last moment passed without a good one (a new installation, a machine that was off), or when the last run was cut off.";
        plain BACKUP_RETRIES: u32 = Text("2"), |value| number(value, (0, MOST_RETRIES)),
            "How often a run that failed on nothing but transient faults is tried again: a server that refuses connections, does not answer, starts up, goes away mid-dump. The pauses are 30 s, 2 min, 8 min, … up to an hour. A run that somebody triggered is tried again too, after its caller was told that it failed.";
        plain BACKUP_MAX_AGE_HOURS: u32 = Text("26"), |value| number(value, (1, MOST_HOURS)),
            "Health complains when the newest good set is older. Set it to the schedule's longest pause and some hours; a start logs a warning when it is shorter.";
        plain BACKUP_HTTP_ADDR: SocketAddr = Text("0.0.0.0:8484"), address,
            "IP and port of the status server (`/`, `/health`, `/metrics`). It shows names of tables and files, no contents and no secrets; publish it to those who may see that.";
        plain BACKUP_HTTP_HOSTS: Vec<String> = Absent(""), hosts,
            "Names that the status server may be asked under, separated by commas, as behind a reverse proxy (`status.example.org`). Addresses, `localhost` and names without a dot (`backup`, as Compose has it) always may; any other is answered with 421, so that no page on the internet reads it through a browser (DNS rebinding).";
        plain BACKUP_CONTROL_SOCKET: PathBuf = Text("/run/backupd/control.sock"), socket,
            "Unix socket of `trigger` and `status`, for backupd's user alone. Nothing else starts anything.";
    }
    Restoring {
        secret BACKUP_RESTORE_URLS: Vec<(String, Dsn)> = Absent(""), labelled_dsns,
            "Superusers to restore as, `label=postgres://…,label=postgres://…`, where a source's own role is none; `check` says whether one is needed. So `keycloak=postgres://postgres:PASSWORD@keycloak-db:5432/postgres`. Without it the source's role is taken, or Supabase's on the same server.";
        plain BACKUP_DRILL: bool = Text("scheduled"), |value| choice(value, &[("scheduled", false), ("always", true)]),
            "`always`: every good run, also `backupd run`, is followed by a drill besides.";
        plain BACKUP_DRILL_SCHEDULE: String = Text("0 3 * * 0"), text,
            "When the daemon drills the newest good set, which is to [restore it into a throw-away server and compare](restore.md#proof-before-the-worst-day): as `BACKUP_SCHEDULE`, in `BACKUP_TIMEZONE`, or `off`.";
        secret BACKUP_DRILL_URL: Dsn = Absent(""), dsn,
            "A server to restore into instead of the image's own, as superuser. Databases named `backupd_drill_…` are made there and dropped, and no role is made or changed. Code of the database runs there [without a fence](security.md#a-drill-on-a-named-server).";
        plain BACKUP_DRILL_FENCE: Fencing = Text("on"), |value| choice(value, &[("on", Fencing::Required), ("off", Fencing::Off)]),
            "A drill's own server runs code that users of the database wrote, so it is [kept from everything else](security.md#the-fence-of-a-drill), and no drill is made where it cannot be. `off`: it is made all the same; whoever may make a function in the database can then do what backupd can.";
        plain BACKUP_MAX_DRILL_AGE_DAYS: u32 = Text("8"), |value| number(value, (1, MOST_DAYS)),
            "Health complains when the last proof is older. Where drills are off it counts only if it is set. A drill that failed is unhealthy in any case.";
    }
    Logs {
        plain BACKUP_LOG: String = Text("info"), level,
            "`error`, `warn`, `info`, `debug`, `trace`, or a filter such as `info,postgres=debug`.";
        plain BACKUP_LOG_FORMAT: LogFormat = Text("text"), |value| choice(value, &[("text", LogFormat::Text), ("json", LogFormat::Json)]),
            "`text`, or `json`: one object a line.";
    }
}
