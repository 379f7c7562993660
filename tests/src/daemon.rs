//! `backupd serve` on the sample stack, and what a user asks it: commands over its socket, pages over its port.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Duration;

use crate::backupd::{Backupd, Outcome, Running};
use crate::host::{free_port, wait_for};
use crate::stack::Stack;

/// A daemon at work. Ended when dropped.
#[derive(Debug)]
pub struct Daemon {
    /// Its process.
    pub running: Running,
    /// Its settings.
    settings: Vec<(String, String)>,
    /// Of the status server on 127.0.0.1.
    pub port: u16,
    /// The control socket.
    pub socket: PathBuf,
}

impl Daemon {
    /// A daemon for this stack that runs once a day, with more settings.
    pub fn start(stack: &Stack, more: &[(&str, &str)]) -> Self {
        Self::start_by(stack, more, Backupd::spawn)
    }

    /// As [`Self::start`], by another way of starting.
    pub fn start_by(
        stack: &Stack,
        more: &[(&str, &str)],
        start: impl FnOnce(Backupd) -> Running,
    ) -> Self {
        let port = free_port();
        let socket = stack.server.root().join("control.sock");
        let mut settings = stack.env();
        settings.extend(
            [
                ("BACKUP_HTTP_ADDR", format!("127.0.0.1:{port}")),
                ("BACKUP_CONTROL_SOCKET", socket.display().to_string()),
            ]
            .map(|(name, value)| (name.to_owned(), value)),
        );
        settings.extend(
            more.iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
        );
        let running = start(Backupd::new(["serve"]).envs(settings.clone()));
        let mut daemon = Self {
            running,
            settings,
            port,
            socket,
        };
        daemon.running.wait_until("the daemon", |running| {
            running.stderr().contains("backupd serves")
        });
        daemon
    }

    /// A command with the daemon's settings.
    pub fn backupd<const N: usize>(&self, arguments: [&str; N]) -> Backupd {
        Backupd::new(arguments).envs(self.settings.clone())
    }

    /// `backupd health` until it says so.
    pub fn wait_until_healthy(&self) {
        wait_for("backupd health to exit with 0", || {
            self.backupd(["health"]).run().code == Some(0)
        });
    }

    /// `backupd status --json`.
    pub fn status(&self) -> serde_json::Value {
        self.backupd(["status", "--json"]).succeed().json()
    }

    /// Status code and body of a GET.
    pub fn get(&self, path: &str) -> (u16, String) {
        let answer = self.say(&format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n"));
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        (status.unwrap_or(0), body.to_owned())
    }

    /// Says something to the port, and takes what comes back until it is closed.
    pub fn say(&self, text: &str) -> String {
        let mut connection = self.connect();
        // The other side may close before it has heard all.
        let _ = connection.write_all(text.as_bytes());
        let mut answer = Vec::new();
        let _ = connection.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// A connection to the port.
    pub fn connect(&self) -> TcpStream {
        let connection =
            TcpStream::connect(("127.0.0.1", self.port)).expect("the status server listens");
        connection
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        connection
    }

    /// Waits for its end.
    pub fn wait(self) -> Outcome {
        self.running.wait()
    }
}
