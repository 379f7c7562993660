//! Tables of users, read as `COPY table (columns) TO STDOUT` tells them. In this form, without a query, nothing is planned and nothing is
//! evaluated: no view, no rule, no policy, and no function in an index or in extended statistics, which the planner of any SELECT would
//! call as the role that asks. Whatever else has the name by then (a view, a foreign table) is refused by the server.

use std::pin::Pin;

use bytes::Bytes;
use futures_util::StreamExt;
use memchr::memchr;
use tokio_postgres::CopyOutStream;

use crate::server::{Server, ServerError, ident};

/// One row's values, as text; none for NULL.
pub type Row = Vec<Option<String>>;

/// What a COPY statement gives, piece by piece.
pub(crate) struct CopyOut<'a> {
    server: &'a Server,
    stream: Pin<Box<CopyOutStream>>,
    ended: bool,
}

impl<'a> CopyOut<'a> {
    pub async fn begin(server: &'a Server, statement: &str) -> Result<Self, ServerError> {
        let stream = server.answer(server.client().copy_out(statement)).await?;
        Ok(Self {
            server,
            stream: Box::pin(stream),
            ended: false,
        })
    }

    /// The next piece, which need not end where a row does; none at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ServerError> {
        if self.ended {
            return Ok(None);
        }
        let piece = async { self.stream.next().await.transpose() };
        let piece = self.server.answer(piece).await?;
        self.ended = piece.is_none();
        Ok(piece)
    }
}

/// The rows of a table.
pub struct TableRows<'a> {
    copy: CopyOut<'a>,
    buffer: Vec<u8>,
}

impl<'a> TableRows<'a> {
    /// Begins to read columns of a table, whose name is quoted. A transaction has to be open, which a pooler gives one session to.
    pub async fn open(
        server: &'a Server,
        table: &str,
        columns: &[&str],
    ) -> Result<Self, ServerError> {
        // With row security on, the server makes a query of it where the role is bound; with it off, that is an error.
        server.execute("SET LOCAL row_security = off").await?;
        let columns: Vec<String> = columns.iter().copied().map(ident).collect();
        let statement = format!(
            "COPY {table} ({}) TO STDOUT (ENCODING 'UTF8')",
            columns.join(", ")
        );
        Ok(Self {
            copy: CopyOut::begin(server, &statement).await?,
            buffer: Vec::new(),
        })
    }

    /// The next row; none at the end.
    pub async fn next(&mut self) -> Result<Option<Row>, ServerError> {
        loop {
            if let Some(end) = memchr(b'\n', &self.buffer) {
                let row = values(&self.buffer[..end]);
                self.buffer.drain(..=end);
                return Ok(Some(row));
            }
            match self.copy.next().await? {
                Some(piece) => self.buffer.extend_from_slice(&piece),
                None => return Ok(None),
            }
        }
    }
}

/// The values of a row in COPY's text format (PostgreSQL manual, COPY, "Text Format"), as a server writes it: it escapes these and no
/// other characters.
fn values(line: &[u8]) -> Row {
    let value = |field: &[u8]| {
        if field == b"\\N" {
            return None;
        }
        let mut bytes = Vec::with_capacity(field.len());
        let mut rest = field.iter();
        while let Some(byte) = rest.next() {
            bytes.push(match byte {
                b'\\' => match rest.next() {
                    Some(b'b') => 0x08,
                    Some(b'f') => 0x0c,
                    Some(b'n') => b'\n',
                    Some(b'r') => b'\r',
                    Some(b't') => b'\t',
                    Some(b'v') => 0x0b,
                    Some(itself) => *itself,
                    None => b'\\',
                },
                itself => *itself,
            });
        }
        // The server was asked for UTF-8, and checks what it sends.
        Some(String::from_utf8_lossy(&bytes).into_owned())
    };
    line.split(|byte| *byte == b'\t').map(value).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_are_what_they_were() {
        let line = b"a\t\\N\t\t\\\\N\tx\\ty\\nz\\r\\b\\f\\v\\\\";
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(
            values(line),
            [
                text("a"),
                None,
                text(""),
                text("\\N"),
                text("x\ty\nz\r\u{8}\u{c}\u{b}\\")
            ]
        );
    }

    proptest! {
        #[test]
        fn what_a_server_escapes_comes_back(row in prop::collection::vec(prop::option::of("[a-zN\\\\\t\n\r\u{8}\u{b}\u{c}é]{0,12}"), 1..5)) {
            // As CopyAttributeOutText does it.
            let escaped = |text: &String| text.chars().map(|c| match c {
                '\u{8}' => "\\b".to_owned(), '\u{c}' => "\\f".to_owned(), '\n' => "\\n".to_owned(), '\r' => "\\r".to_owned(),
                '\t' => "\\t".to_owned(), '\u{b}' => "\\v".to_owned(), '\\' => "\\\\".to_owned(), other => other.to_string(),
            }).collect::<String>();
            let fields: Vec<String> = row.iter().map(|value| value.as_ref().map_or("\\N".to_owned(), escaped)).collect();
            prop_assert_eq!(values(fields.join("\t").as_bytes()), row);
        }
    }
}
