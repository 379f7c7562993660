//! PgBouncer in transaction mode before a server, as Supavisor is on Supabase's port 6543.

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Stdio};

use crate::host::{as_server, free_port, give_to_server, wait_for};
use crate::server::{ADMIN, PASSWORD, PgServer};
use crate::skipped::has;

/// A pooler; ends with the value.
pub struct Pooler {
    child: Child,
    port: u16,
}

impl Pooler {
    /// Gives each transaction a session of the server, as its superuser; none where there is no PgBouncer.
    pub fn before(server: &PgServer) -> Option<Self> {
        let program = Path::new("/usr/sbin/pgbouncer");
        if !has(program, "a pooler") {
            return None;
        }
        let port = free_port();
        let config = server.root().join("pgbouncer.ini");
        let password = PASSWORD.replace('\'', "''");
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={} user={ADMIN} password='{password}'\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\npool_mode = transaction\n\
             ignore_startup_parameters = extra_float_digits,options,search_path\n",
            server.port()
        );
        fs::write(&config, text).unwrap();
        give_to_server(&config);
        let child = as_server(program)
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("starting pgbouncer");
        wait_for("the pooler", || {
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        Some(Self { child, port })
    }

    /// Its TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
