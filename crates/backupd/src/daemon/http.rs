//! The status server: `/health`, `/metrics` and a page. It only reads what is known already, so it answers while a dump runs, and
//! nothing that comes in through it starts or changes anything.
//!
//! Every connection is short and bounded: one request, small headers, a time limit. Where there are too many, the oldest is closed: who
//! connects and says nothing keeps nobody out. Loopback, where healthchecks come from, is counted apart, so that a flood from outside does
//! not make a healthy container look ill.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State as Extract};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use engine::clock;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use policy::verdict::Health;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::state::State;
use super::{hosts, metrics, page};

/// Connections at once; for one more, the oldest is closed.
const CONNECTIONS: usize = 64;
/// Those from this machine, besides.
const LOOPBACK_CONNECTIONS: usize = 16;
/// For the head of a request.
const HEAD_WITHIN: Duration = Duration::from_secs(5);
/// For everything.
const ALL_WITHIN: Duration = Duration::from_secs(10);
/// A browser's head has one or two KiB.
const HEAD_BYTES: usize = 16 * 1024;
/// The page loads nothing, from nowhere.
const CONTENT_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Answers until cancelled.
pub async fn serve(listener: TcpListener, state: Arc<State>, cancel: CancellationToken) {
    let app = Router::new()
        .route("/", get(status_page))
        .route("/health", get(health))
        .route("/metrics", get(prometheus))
        .layer(middleware::from_fn_with_state(state.clone(), meant))
        .with_state(state);
    let mut outside = Open::new(CONNECTIONS);
    let mut loopback = Open::new(LOOPBACK_CONNECTIONS);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = cancel.cancelled() => return,
        };
        let (connection, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors: connections that end give some back.
                warn!("status server: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let open = if is_loopback(peer) {
            &mut loopback
        } else {
            &mut outside
        };
        open.make_room();
        let app = app.clone();
        let answering = tokio::spawn(async move {
            let ended = tokio::time::timeout(ALL_WITHIN, converse(connection, app)).await;
            if !matches!(ended, Ok(Ok(()))) {
                debug!(%peer, "status server: {ended:?}");
            }
        });
        open.connections.push_back(answering.abort_handle());
    }
}

/// Connections that are open, the oldest first.
struct Open {
    most: usize,
    connections: VecDeque<AbortHandle>,
}

impl Open {
    fn new(most: usize) -> Self {
        Self {
            most,
            connections: VecDeque::with_capacity(most),
        }
    }

    fn make_room(&mut self) {
        self.connections.retain(|open| !open.is_finished());
        while self.connections.len() >= self.most {
            if let Some(oldest) = self.connections.pop_front() {
                debug!("status server: too many connections, the oldest is closed");
                oldest.abort();
            }
        }
    }
}

/// Answers those alone who ask for this server.
async fn meant(Extract(state): Extract<Arc<State>>, request: Request, next: Next) -> Response {
    let named = &state.service.http_hosts;
    if hosts::is_meant(request.uri(), request.headers(), named) {
        return next.run(request).await;
    }
    let text = "This status server is not meant for the name that it was asked under: ask by its address, or have BACKUP_HTTP_HOSTS name it.\n";
    respond(
        StatusCode::MISDIRECTED_REQUEST,
        "text/plain; charset=utf-8",
        text.to_owned(),
    )
}

fn is_loopback(peer: SocketAddr) -> bool {
    peer.ip().to_canonical().is_loopback()
}

async fn converse(connection: TcpStream, app: Router) -> hyper::Result<()> {
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .keep_alive(false)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(connection), TowerToHyperService::new(app))
        .await
}

async fn health(Extract(state): Extract<Arc<State>>) -> Response {
    let report = state.report(clock::now());
    // Without a set there is nothing to be healthy about yet, and nobody should be told so.
    let status = match report.verdict.health {
        Health::Healthy => StatusCode::OK,
        Health::Starting | Health::Unhealthy => StatusCode::SERVICE_UNAVAILABLE,
    };
    match serde_json::to_string_pretty(&report) {
        Ok(json) => respond(status, "application/json", json + "\n"),
        Err(error) => failed(&error),
    }
}

async fn prometheus(Extract(state): Extract<Arc<State>>) -> Response {
    let now = clock::now();
    match metrics::render(&state.report(now), &state.survey(), now) {
        Ok(text) => respond(
            StatusCode::OK,
            "text/plain; version=0.0.4; charset=utf-8",
            text,
        ),
        Err(error) => failed(&error),
    }
}

async fn status_page(Extract(state): Extract<Arc<State>>) -> Response {
    let now = clock::now();
    let html = page::render(
        &state.report(now),
        &state.survey(),
        state.service.schedule.as_ref(),
        now,
    );
    respond(
        StatusCode::OK,
        "text/html; charset=utf-8",
        html.into_string(),
    )
}

fn respond(status: StatusCode, content_type: &'static str, body: String) -> Response {
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, CONTENT_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ]
    .map(|(name, value)| (name, HeaderValue::from_static(value)));
    (status, headers, body).into_response()
}

fn failed(error: &dyn std::error::Error) -> Response {
    let text = format!("{error}\n");
    respond(
        StatusCode::INTERNAL_SERVER_ERROR,
        "text/plain; charset=utf-8",
        text,
    )
}
