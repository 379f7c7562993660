//! Ctrl-C and SIGTERM end the work in order: children first, then the unfinished set, then the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Shells report a process ended by signal N as 128 + N.
const EXIT_BASE: u8 = 128;
const SIGINT: u8 = 2;
const SIGTERM: u8 = 15;

/// Listens for signals; the token is cancelled by the first.
#[derive(Debug, Clone)]
pub struct Signals {
    /// Cancelled when a signal came.
    pub token: CancellationToken,
    received: Arc<AtomicU8>,
}

impl Signals {
    /// Begins to listen. Must be called on the runtime.
    pub fn listen() -> std::io::Result<Self> {
        let signals = Self {
            token: CancellationToken::new(),
            received: Arc::new(AtomicU8::new(0)),
        };
        for (kind, number) in [
            (SignalKind::interrupt(), SIGINT),
            (SignalKind::terminate(), SIGTERM),
        ] {
            let mut stream = signal(kind)?;
            let heard = signals.clone();
            tokio::spawn(async move {
                if stream.recv().await.is_some() {
                    heard.received.store(number, Ordering::SeqCst);
                    heard.token.cancel();
                }
            });
        }
        Ok(signals)
    }

    /// The exit code of a process that a signal ended in order: 130 or 143.
    pub fn exit_code(&self) -> u8 {
        EXIT_BASE + self.received.load(Ordering::SeqCst).max(SIGINT)
    }
}
