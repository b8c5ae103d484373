//! HTTP server for programs on the same machine.
//!
//! Built on axum (hyper, tokio): widely used, streams bodies in both directions, and reads multipart uploads. What every
//! server of this program has in common is here:
//!
//! - It listens on 127.0.0.1 only.
//! - A request must name a loopback host. A page of another site whose name has been pointed at 127.0.0.1 (DNS rebinding)
//!   is refused; any port is accepted, so that `ssh -L` works.
//! - No other site may embed or read a response, types are not guessed, and browsers store nothing on disk.
//! - Connections, threads, and size and duration of a request's header are limited. Bodies are read only by routes that
//!   ask for them.

use crate::err;
use crate::error::{Error, Result};
use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;

/// Largest number of connections at a time; further ones wait.
const MAX_CONNECTIONS: usize = 64;
/// Threads for requests, and for files and other blocking work.
const THREADS: [usize; 2] = [2, 8];
/// Largest size of a request's header.
const MAX_HEADER_BYTES: usize = 32 << 10;
/// Time in which the header of a request must arrive, on an idle connection, too.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// A running server; dropping it closes its connections.
pub struct Server {
    address: SocketAddr,
    runtime: Option<Runtime>,
}

impl Server {
    /// Serves `router` on 127.0.0.1 in background threads. Port 0 is any free one.
    ///
    /// # Errors
    /// The port is in use or reserved.
    pub fn start(router: Router, port: u16) -> Result<Server> {
        let failed = |error: std::io::Error| err!("cannot start the server: {error}");
        let runtime = Builder::new_multi_thread()
            .worker_threads(THREADS[0])
            .max_blocking_threads(THREADS[1])
            .thread_name("server")
            .enable_all()
            .build()
            .map_err(failed)?;
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, port))).map_err(|error| {
            Error::config(format!("cannot listen on 127.0.0.1:{port}: {error}"))
                .hint("choose another port, or leave out --port to use any free one")
        })?;
        let address = listener.local_addr().map_err(failed)?;
        runtime.spawn(accept(listener, router.layer(middleware::from_fn(guard))));
        Ok(Server { address, runtime: Some(runtime) })
    }

    /// Address on which the server listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(1));
        }
    }
}

async fn accept(listener: TcpListener, router: Router) {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    while let Ok(slot) = slots.clone().acquire_owned().await {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Such as too many open files, which passes.
                tracing::warn!("cannot accept a connection: {error}");
                tokio::time::sleep(Duration::from_millis(200)).await;
                continue;
            }
        };
        let service = TowerToHyperService::new(router.clone());
        tokio::spawn(async move {
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIMEOUT)
                .max_buf_size(MAX_HEADER_BYTES)
                .serve_connection(TokioIo::new(stream), service);
            if let Err(error) = connection.await {
                tracing::debug!("a connection ended early: {error}");
            }
            drop(slot);
        });
    }
}

async fn guard(request: Request, next: Next) -> Response {
    let mut response = if names_loopback(request.headers()) {
        tracing::debug!("{} {}", request.method(), loggable(request.uri().path()));
        next.run(request).await
    } else {
        (StatusCode::FORBIDDEN, "expected the host 127.0.0.1 or localhost\n").into_response()
    };
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
        (header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// The part of a path that may be logged: its first component may be a secret token.
fn loggable(path: &str) -> &str {
    let path = path.trim_start_matches('/');
    path.find('/').map_or("", |end| &path[end..])
}

/// Whether there is exactly one Host header, and it is `127.0.0.1`, `localhost` or `[::1]` with or without a port.
fn names_loopback(headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter();
    let (Some(Ok(host)), None) = (hosts.next().map(HeaderValue::to_str), hosts.next()) else { return false };
    let is_port = |port: &str| port.parse::<u16>().is_ok();
    ["127.0.0.1", "localhost", "[::1]"].iter().any(|name| {
        let rest = host.get(..name.len()).filter(|start| start.eq_ignore_ascii_case(name)).map(|_| &host[name.len()..]);
        rest.is_some_and(|rest| rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_hosts_are_accepted() {
        let accepts = |hosts: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for host in hosts {
                headers.append(header::HOST, HeaderValue::from_static(host));
            }
            names_loopback(&headers)
        };
        for host in ["127.0.0.1", "127.0.0.1:8000", "LocalHost:1", "localhost", "[::1]:65535"] {
            assert!(accepts(&[host]), "{host}");
        }
        for host in [
            "",
            "example.org",
            "127.0.0.1.example.org",
            "localhost.example.org:80",
            "127.0.0.1:",
            "127.0.0.1:x",
            "localhost:80@example.org",
            "127.0.0.1:99999",
            "192.168.0.1",
            "lo",
        ] {
            assert!(!accepts(&[host]), "{host}");
        }
        assert!(!accepts(&[]) && !accepts(&["localhost", "example.org"]));
    }
}
