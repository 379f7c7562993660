//! `BACKUP_LOG` and `BACKUP_LOG_FORMAT`.

use std::fmt::{self, Debug};
use std::io::IsTerminal;

use engine::space::human;
use postgres::words::one_line;
use tracing::field::Field;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::fmt::format::{self, Writer};

use super::reader::Reader;
use super::table::{BACKUP_LOG, BACKUP_LOG_FORMAT, LogFormat};
use crate::render::set::duration;

/// How logs are written: to standard error, from this level on, in this format.
#[derive(Debug, Clone)]
pub struct Logging {
    level: String,
    /// Text or JSON.
    pub format: LogFormat,
    color: bool,
}

/// It tells of its own making at `info`.
const QUIET: &str = "tokio_cron_scheduler=warn";

/// Color is left out with `NO_COLOR`.
pub(super) fn read(reader: &mut Reader<'_>, color: bool) -> Option<Logging> {
    let (level, format) = (reader.read(&BACKUP_LOG), reader.read(&BACKUP_LOG_FORMAT));
    Some(Logging {
        level: level?,
        format: format?,
        color,
    })
}

impl Logging {
    /// Makes this the process's logging. Done once; a second call changes nothing.
    pub fn install(&self) {
        let filter = EnvFilter::new(format!("{QUIET},{}", self.level));
        let builder = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_target(false)
            .with_writer(std::io::stderr);
        // try_init fails only when a subscriber is there already, which is then the same one.
        let _ = match self.format {
            LogFormat::Json => builder.json().flatten_event(true).try_init(),
            LogFormat::Text => builder
                .fmt_fields(format::debug_fn(one_line_field).delimited(" "))
                .with_ansi(self.color && std::io::stderr().is_terminal())
                .try_init(),
        };
    }
}

/// A line of text a record, whatever a server or a file name says in it.
fn one_line_field(writer: &mut Writer<'_>, field: &Field, value: &dyn Debug) -> fmt::Result {
    let value = one_line(&format!("{value:?}"));
    // People read units; what collects JSON gets the numbers.
    match (field.name(), value.parse()) {
        ("bytes", Ok(count)) => return write!(writer, "size={}", human(count)),
        ("duration_ms", Ok(ms)) => return write!(writer, "took={}", duration(ms)),
        _ => {}
    }
    match field.name() {
        "message" => writer.write_str(&value),
        name => write!(writer, "{name}={value}"),
    }
}
