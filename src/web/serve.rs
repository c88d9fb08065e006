//! Listens, and holds every connection to its limits.
//!
//! In come connections, at most `max_connections` at a time: further ones wait in the kernel's queue. A peer
//! that is slow to send its request, sends nothing, or takes nothing for half a minute is let go. On `stop`
//! no new ones are taken, open requests get a few seconds to end, and then everything is closed.

use std::future::Future as _;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use rustix::net::sockopt;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Sleep, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::{Config, Web, router};

/// From the first byte awaited to the end of the headers; also how long a kept connection may idle.
const HEADERS_WITHIN: Duration = Duration::from_secs(20);
/// A peer that takes nothing for this long is gone, whatever its kernel says.
const TAKEN_WITHIN: Duration = Duration::from_secs(30);
/// The same for a peer whose link is cut: its kernel confirms nothing.
const CONFIRMED_WITHIN: Duration = Duration::from_secs(30);
const END_WITHIN: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
#[error("web address {address}: {source}; choose another in [web] address")]
pub struct Failure {
    address: std::net::SocketAddr,
    #[source]
    source: io::Error,
}

/// Takes the address of the configuration; with port 0 the system chooses one.
pub async fn bind(config: &Config) -> Result<TcpListener, Failure> {
    let failure = |source| Failure { address: config.address, source };
    let listener = TcpListener::bind(config.address).await.map_err(failure)?;
    if !config.address.ip().is_loopback() && !config.behind_tls {
        warn!(address = %config.address, "the token travels unencrypted; put a proxy that speaks TLS in front");
    }
    Ok(listener)
}

/// Serves until `stop`.
pub async fn serve(listener: TcpListener, config: &Config, web: Web, stop: CancellationToken) {
    let routes = router(config, web, stop.clone());
    let places = Arc::new(Semaphore::new(config.max_connections));
    let mut connections = JoinSet::new();
    match listener.local_addr() {
        Ok(address) => info!(%address, "web listens"),
        Err(cause) => warn!(%cause, "web listens at an address that it cannot tell"),
    }
    loop {
        while connections.try_join_next().is_some() {}
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accept(&listener, &places) => accepted,
        };
        match accepted {
            Some((stream, place)) => {
                let (routes, stop) = (routes.clone(), stop.clone());
                connections.spawn(async move {
                    carry(stream, routes, stop).await;
                    drop(place);
                });
            }
            // Out of file handles, most likely: others must close first.
            None => sleep(Duration::from_millis(200)).await,
        }
    }
    drop(listener);
    let ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(END_WITHIN, ended).await.is_err() {
        warn!("web connections were cut because they did not end in time");
    }
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> Option<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let place = places.clone().acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => Some((stream, place)),
        Err(cause) => {
            warn!(%cause, "a web connection could not be accepted");
            None
        }
    }
}

async fn carry(stream: TcpStream, routes: Router, stop: CancellationToken) {
    if let Err(cause) = stream.set_nodelay(true).and_then(|()| notice_the_dead(&stream)) {
        debug!(%cause, "web connection without nodelay or user timeout");
    }
    // HTTP/1 only: without TLS no browser speaks HTTP/2, and one connection is one place.
    let mut builder = Builder::new(TokioExecutor::new()).http1_only();
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_WITHIN)
        .max_buf_size(64 * 1024)
        .max_headers(64);
    let service = TowerToHyperService::new(routes);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(Patient::new(stream)), service));
    let mut stopping = false;
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(cause) = ended {
                    debug!(%cause, "web connection ended early");
                }
                return;
            }
            () = stop.cancelled(), if !stopping => {
                stopping = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

/// What a peer's kernel does not confirm in time ends the connection: a console whose link was cut without a word
/// must not count as open. An event stream writes every two seconds, so that it is noticed at once.
fn notice_the_dead(stream: &TcpStream) -> io::Result<()> {
    let within = u32::try_from(CONFIRMED_WITHIN.as_millis()).unwrap_or(u32::MAX);
    Ok(sockopt::set_tcp_user_timeout(stream, within)?)
}

/// A stream that gives up on a peer that takes nothing.
struct Patient {
    stream: TcpStream,
    /// Set while a write waits.
    patience: Option<Pin<Box<Sleep>>>,
}

impl Patient {
    const fn new(stream: TcpStream) -> Self {
        Self { stream, patience: None }
    }

    /// Passes a finished write on; a waiting one until patience ends.
    fn wait<T>(&mut self, cx: &mut Context<'_>, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.patience = None;
            return outcome;
        }
        let patience = self.patience.get_or_insert_with(|| Box::pin(sleep(TAKEN_WITHIN)));
        ready!(patience.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Patient {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Patient {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.wait(cx, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.wait(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    // Neither waits for the peer: a socket has nothing of its own to flush.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_whose_bytes_nobody_confirms_ends_within_half_a_minute() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        assert_eq!(sockopt::tcp_user_timeout(&stream).unwrap(), 0, "the kernel's own patience is a quarter of an hour");
        notice_the_dead(&stream).unwrap();
        assert_eq!(sockopt::tcp_user_timeout(&stream).unwrap(), 30_000);
    }
}
