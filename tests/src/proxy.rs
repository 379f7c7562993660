//! A proxy in front of a PostgreSQL server that reads what clients say, counts it, and halts at the message that a test names.
//!
//! While it halts, the test does to the server, to the client or to the connection what it likes, and then says how it goes on. So a
//! campaign can meet every statement of a run, each before the server saw it and after the server did it but before the client knows.
//! Clients must not ask for TLS.

use std::collections::BTreeMap;
use std::io::{BufReader, BufWriter, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

/// Bytes of a statement that are kept.
const WORDS: usize = 160;
/// A test that never says how it goes on fails at its own limit; this keeps the proxy's threads from outliving it for long.
const PATIENCE: Duration = Duration::from_secs(240);
/// First words of a connection that are no log-in.
const CANCEL_REQUEST: u32 = 80_877_102;
const SSL_REQUEST: u32 = 80_877_103;
const GSS_REQUEST: u32 = 80_877_104;

/// Where it halts at a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// The server has not seen it.
    Before,
    /// The server has answered it, and the client has not seen the answer.
    After,
}

/// How it goes on after a halt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// As if nothing had been.
    Forward,
    /// That connection is cut on both sides; what was not forwarded never is.
    Drop,
    /// All connections are cut.
    DropAll,
}

/// What a client said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Which connection, in the order they were made.
    pub connection: usize,
    /// The protocol's letter: `Q` query, `P` parse, `E` execute, `d` COPY data, `c` end of COPY, `f` failure of COPY, `X` end.
    pub kind: char,
    /// How the statement begins, in one line; empty where there is none.
    pub words: String,
}

impl std::fmt::Display for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} #{}: {}", self.kind, self.connection, self.words)
    }
}

/// See the module. Ends with the value.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    upstream: u16,
    ended: AtomicBool,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    messages: Vec<Message>,
    /// Both sides of each that is open.
    connections: BTreeMap<usize, [TcpStream; 2]>,
    connected: usize,
    /// The message to halt at, counted from 0.
    halt: Option<(usize, When)>,
    halted: Option<Message>,
    then: Option<Then>,
}

impl Proxy {
    /// Before the server on a port of 127.0.0.1.
    pub fn before(upstream: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            upstream,
            ended: AtomicBool::new(false),
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let serving = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming() {
                if serving.ended.load(Ordering::SeqCst) {
                    break;
                }
                let serving = Arc::clone(&serving);
                // A connection that ends, on whichever side, ends its threads; nobody waits for them.
                thread::spawn(move || client.map(|client| serving.serve(client)));
            }
        });
        Self { port, shared }
    }

    /// Where it listens, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Forgets what was said, and is to halt at a message, counted from 0.
    pub fn begin(&self, halt: Option<(usize, When)>) {
        let mut state = self.shared.lock();
        state.messages.clear();
        state.halt = halt;
        state.halted = None;
        state.then = None;
    }

    /// What was said since the last [`Self::begin`]: log-ins are not in it.
    pub fn messages(&self) -> Vec<Message> {
        self.shared.lock().messages.clone()
    }

    /// Waits until it halts; none when that is in vain, as `over` says.
    pub fn halted(&self, mut over: impl FnMut() -> bool) -> Option<Message> {
        let mut state = self.shared.lock();
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(message) = &state.halted {
                return Some(message.clone());
            }
            assert!(Instant::now() < deadline, "the proxy waited in vain");
            let poll = Duration::from_millis(5);
            state = self.shared.changed.wait_timeout(state, poll).unwrap().0;
            if state.halted.is_none() && over() {
                return None;
            }
        }
    }

    /// Goes on after a halt.
    pub fn go_on(&self, then: Then) {
        let mut state = self.shared.lock();
        if then == Then::DropAll {
            state.connections.values().for_each(cut);
        }
        state.then = Some(then);
        self.shared.changed.notify_all();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        self.go_on(Then::DropAll);
        // The listener looks up when somebody comes.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn cut(connection: &[TcpStream; 2]) {
    for stream in connection {
        // Gone already is as good.
        let _ = stream.shutdown(Shutdown::Both);
    }
}

/// What both directions of a connection know.
#[derive(Debug, Default)]
struct Exchange {
    /// Messages sent that the server ends its answer to with `Z`, and such answers.
    asked: i64,
    answered: i64,
    /// Whether the last statement was an Execute.
    executing: bool,
    /// The answer to halt at, and what it answers.
    awaited: Option<(i64, Message)>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn serve(&self, mut client: TcpStream) -> std::io::Result<()> {
        let first = loop {
            let mut length = [0; 4];
            client.read_exact(&mut length)?;
            let mut rest = vec![0; (u32::from_be_bytes(length) as usize).saturating_sub(4)];
            client.read_exact(&mut rest)?;
            match number(&rest) {
                SSL_REQUEST | GSS_REQUEST => client.write_all(b"N")?,
                _ => break [&length[..], &rest].concat(),
            }
        };
        // A server that is not there is told as a connection that ends.
        let mut server = TcpStream::connect(("127.0.0.1", self.upstream))?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        server.write_all(&first)?;
        if number(&first[4..]) == CANCEL_REQUEST {
            return std::io::copy(&mut server, &mut client).map(drop);
        }
        let connection = {
            let mut state = self.lock();
            state.connected += 1;
            let (connection, pair) = (state.connected, [client.try_clone()?, server.try_clone()?]);
            state.connections.insert(connection, pair);
            connection
        };
        let exchange = Mutex::new(Exchange::default());
        let pair = [client.try_clone()?, server.try_clone()?];
        thread::scope(|scope| {
            let answers = scope.spawn(|| {
                // An end on one side is an end on both.
                let _ = self.answers(&server, &client, &exchange);
                cut(&pair);
            });
            let _ = self.questions(&client, &server, connection, &exchange);
            cut(&pair);
            answers.join().unwrap();
        });
        self.lock().connections.remove(&connection);
        Ok(())
    }

    /// From the client to the server.
    fn questions(
        &self,
        client: &TcpStream,
        server: &TcpStream,
        connection: usize,
        exchange: &Mutex<Exchange>,
    ) -> std::io::Result<()> {
        let mut client = BufReader::with_capacity(64 * 1024, client);
        let mut to = BufWriter::with_capacity(64 * 1024, server);
        loop {
            let (kind, body) = read(&mut client)?;
            let mut halt = None;
            if b"QPEdcfX".contains(&kind) {
                let message = Message {
                    connection,
                    kind: char::from(kind),
                    words: words(kind, &body[4..]),
                };
                let mut state = self.lock();
                let number = state.messages.len();
                state.messages.push(message.clone());
                halt = state
                    .halt
                    .filter(|(at, _)| *at == number)
                    .map(|(_, when)| (when, message));
            }
            // Data and ends are answered with what follows, or with nothing.
            let silent = b"dX".contains(&kind);
            match &halt {
                Some((When::Before, message)) => {
                    // What came before it has reached the server.
                    to.flush()?;
                    self.halt(message.clone())?;
                }
                Some((When::After, message)) if !silent => {
                    let mut exchange = exchange.lock().unwrap();
                    exchange.awaited = Some((exchange.asked, message.clone()));
                }
                _ => {}
            }
            // A query and a Sync are answered with `Z` each; the end of a COPY by the query that began it.
            match kind {
                b'Q' => {
                    let mut exchange = exchange.lock().unwrap();
                    exchange.asked += 1;
                    exchange.executing = false;
                }
                b'S' => exchange.lock().unwrap().asked += 1,
                b'E' => exchange.lock().unwrap().executing = true,
                _ => {}
            }
            to.write_all(&[kind])?;
            to.write_all(&body)?;
            if client.buffer().is_empty() || halt.is_some() {
                to.flush()?;
            }
            if let Some((When::After, message)) = halt
                && silent
            {
                self.halt(message)?;
            }
        }
    }

    /// From the server to the client.
    fn answers(
        &self,
        server: &TcpStream,
        client: &TcpStream,
        exchange: &Mutex<Exchange>,
    ) -> std::io::Result<()> {
        let mut server = BufReader::with_capacity(64 * 1024, server);
        let mut to = BufWriter::with_capacity(64 * 1024, client);
        let mut logged_in = false;
        let mut pending = Vec::new();
        loop {
            let (kind, body) = read(&mut server)?;
            let mut message = None;
            let mut withheld = false;
            if logged_in {
                let mut exchange = exchange.lock().unwrap();
                let due = exchange.awaited.as_ref().is_some_and(|(answer, message)| {
                    exchange.answered >= *answer
                            // A COPY's end is answered by its query's `Z`, which was asked for before.
                            || (message.kind == 'c' && exchange.answered + 1 >= *answer)
                });
                // `G`, `H`: a COPY begins, and the answer pauses here.
                if due && b"ZGH".contains(&kind) {
                    message = exchange.awaited.take().map(|(_, message)| message);
                }
                withheld = due && message.is_none();
                exchange.answered += i64::from(kind == b'Z');
                // The Sync behind an Execute that begins a COPY is passed over by the server.
                exchange.asked -= i64::from(kind == b'G' && exchange.executing);
            }
            logged_in |= kind == b'Z';
            if let Some(message) = message {
                to.flush()?;
                self.halt(message)?;
            }
            pending.push(kind);
            pending.extend_from_slice(&body);
            if !withheld {
                to.write_all(&pending)?;
                pending.clear();
                if server.buffer().is_empty() {
                    to.flush()?;
                }
            }
        }
    }

    /// Waits for the test's word; an error ends the connection.
    fn halt(&self, message: Message) -> std::io::Result<()> {
        let mut state = self.lock();
        state.halt = None;
        state.halted = Some(message);
        self.changed.notify_all();
        let (state, _) = self
            .changed
            .wait_timeout_while(state, PATIENCE, |state| state.then.is_none())
            .unwrap();
        match state.then {
            Some(Then::Forward) => Ok(()),
            _ => Err(std::io::ErrorKind::ConnectionAborted.into()),
        }
    }
}

/// A message's letter, and its length with what follows.
fn read(from: &mut impl Read) -> std::io::Result<(u8, Vec<u8>)> {
    let mut head = [0; 5];
    from.read_exact(&mut head)?;
    let length = number(&head[1..]) as usize;
    let mut body = head[1..].to_vec();
    body.resize(length.max(4), 0);
    from.read_exact(&mut body[4..])?;
    Ok((head[0], body))
}

fn number(bytes: &[u8]) -> u32 {
    let bytes = bytes.get(..4).and_then(|bytes| bytes.try_into().ok());
    bytes.map_or(0, u32::from_be_bytes)
}

/// How a statement begins.
fn words(kind: u8, body: &[u8]) -> String {
    let text = match kind {
        b'Q' => body,
        // The statement's name comes first.
        b'P' => body
            .iter()
            .position(|byte| *byte == 0)
            .map_or(body, |end| &body[end + 1..]),
        _ => return String::new(),
    };
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    let text = String::from_utf8_lossy(&text[..text.len().min(4 * WORDS)]);
    let lines = text.lines().filter(|line| !line.starts_with("--"));
    let line = lines.flat_map(str::split_whitespace).collect::<Vec<_>>();
    line.join(" ").chars().take(WORDS).collect()
}
