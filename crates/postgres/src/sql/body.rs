//! Where the body of a function in standard SQL ends: `BEGIN ATOMIC … END`, whose statements have semicolons of their own.
//!
//! psql counts every `begin`, which PostgreSQL also writes for a name: `begin` and `atomic` are no reserved words, so they stand without
//! quotes as parameters, types, labels. A body is told by both words in a row, which no name can make outside of parentheses: what stands
//! before a body is the function's own head. Within it `case` and `end` are reserved, so what PostgreSQL writes has names in quotes, and
//! only a label behind `AS` or a name behind a dot could be one of them in text that somebody else wrote.

/// A statement's way through its words.
#[derive(Default)]
pub(super) struct Body {
    words: usize,
    /// Whether the words so far are `CREATE [OR REPLACE] FUNCTION` or `PROCEDURE`.
    head: Head,
    /// What stands right before the next word.
    before: Before,
    depth: u32,
    /// Whether the body's own `END` was read.
    closed: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Head {
    #[default]
    Nothing,
    Create,
    Or,
    Replace,
    Routine,
    Other,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Before {
    Begin,
    /// A dot or `AS`: what follows is a name.
    Naming,
    #[default]
    Other,
}

impl Body {
    /// Whether semicolons are of statements within.
    pub fn is_open(&self) -> bool {
        self.depth > 0
    }

    /// An unquoted word within that many parentheses; false where the body has ended and words go on, which no statement does.
    pub fn word(&mut self, word: &[u8], parentheses: u32) -> bool {
        let is = |keyword: &[u8]| word.eq_ignore_ascii_case(keyword);
        self.words += 1;
        self.head = match self.head {
            Head::Nothing if is(b"create") => Head::Create,
            Head::Create if is(b"or") => Head::Or,
            Head::Or if is(b"replace") => Head::Replace,
            Head::Create | Head::Replace if is(b"function") || is(b"procedure") => Head::Routine,
            Head::Routine => Head::Routine,
            _ => Head::Other,
        };
        if self.head != Head::Routine {
            return true;
        }
        if self.closed {
            return false;
        }
        let before = std::mem::take(&mut self.before);
        if parentheses > 0 || before == Before::Naming {
            return true;
        }
        if self.depth == 0 {
            if before == Before::Begin && is(b"atomic") {
                self.depth = 1;
            } else if is(b"begin") {
                self.before = Before::Begin;
            }
        } else if is(b"case") {
            self.depth += 1;
        } else if is(b"end") {
            self.depth -= 1;
            self.closed = self.depth == 0;
        }
        if is(b"as") {
            self.before = Before::Naming;
        }
        true
    }

    /// Anything else but blank space; false as for [`Self::word`].
    pub fn other(&mut self, byte: u8) -> bool {
        if self.words == 0 {
            self.head = Head::Other;
        }
        self.before = if byte == b'.' {
            Before::Naming
        } else {
            Before::Other
        };
        !self.closed
    }
}
