//! Connections to the page, so many at once and no more: each takes a file of this process, and one
//! that has no more to open cannot read a mask.
//!
//! Who comes when all places are taken waits for one. Places come free of whoever asks nothing, or
//! takes nothing of an answer, for some time.
//!
//! Little lies on its way in a connection: a picture that waits there is shown when its reader comes
//! to it, whatever a mask hides by then.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::extract::ConnectInfo;
use axum::serve::Listener;
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;

/// How many the system keeps that wait.
const BACKLOG: u32 = 128;
/// Bytes of answers that the system keeps of a connection (Linux doubles it); left to itself it keeps
/// megabytes, many pictures. Enough for 4 MB/s at 15 ms to a reader and back.
const SENT_AHEAD: u32 = 64 << 10;
/// Bytes of these that are not on their way yet.
const UNSENT: u32 = 16 << 10;
/// Bytes that lie before those, not counting the rest of a picture that was begun; and of a request's
/// head.
const BUFFER: usize = 16 << 10;
/// How long a request's head may take, from its connection's begin or from the answer before on.
const IDLE: Duration = Duration::from_secs(20);
/// How long whoever asked may take nothing of the answer. A radio that finds its way back takes less.
const STALLED: Duration = Duration::from_secs(10);

/// Takes connections while there are places.
pub(super) struct Limited {
    listener: TcpListener,
    places: Arc<Semaphore>,
}

impl Limited {
    /// Listens at an address. Must be called in a runtime.
    pub fn bind(address: SocketAddr, places: usize) -> io::Result<Self> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // As the standard library does: a program that was just ended left the port half closed.
        socket.set_reuseaddr(true)?;
        // Handed on to every connection.
        socket.set_keepalive(true)?;
        socket.set_send_buffer_size(SENT_AHEAD)?;
        #[cfg(target_os = "linux")]
        if let Err(error) = socket2::SockRef::from(&socket).set_tcp_notsent_lowat(UNSENT) {
            log::debug!("pictures may wait in connections: {error}");
        }
        socket.bind(address)?;
        let listener = socket.listen(BACKLOG)?;
        Ok(Self { listener, places: Arc::new(Semaphore::new(places)) })
    }

    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers requests for ever. Handlers may ask for [`ConnectInfo`] of a [`SocketAddr`].
    pub async fn serve(mut self, routes: Router) {
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(IDLE).max_buf_size(BUFFER);
        loop {
            // None only if the semaphore were closed, which nobody does.
            let place = Arc::clone(&self.places).acquire_owned().await.ok();
            let (stream, peer) = Listener::accept(&mut self.listener).await;
            let connection = Connection { stream, patience: STALLED, stalled: None, _place: place };
            let routes = routes.clone().layer(Extension(ConnectInfo(peer)));
            let service = TowerToHyperService::new(routes);
            let served = http.serve_connection(TokioIo::new(connection), service);
            tokio::spawn(async move {
                // Whoever goes in the middle is no fault.
                if let Err(error) = served.await {
                    log::debug!("{peer}: {error}");
                }
            });
        }
    }
}

/// Keeps its place for as long as it lives, and breaks off when nothing is taken any more.
struct Connection {
    stream: TcpStream,
    /// How long nothing may be taken.
    patience: Duration,
    /// Since nothing is taken: the end of patience.
    stalled: Option<Pin<Box<Sleep>>>,
    _place: Option<OwnedSemaphorePermit>,
}

impl Connection {
    /// What became of a write, unless none has gone on for too long.
    fn taken<T>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let patience = self.patience;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        ready!(stalled.as_mut().poll(context));
        // What waits in the system goes, too: it is old.
        let _ = self.stream.set_zero_linger();
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.taken(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, pieces);
        self.taken(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io::Read;

    use super::*;

    async fn write_all(connection: &mut Connection, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let mut connection = Pin::new(&mut *connection);
            let taken = poll_fn(|context| connection.as_mut().poll_write(context, bytes)).await?;
            bytes = &bytes[taken..];
        }
        Ok(())
    }

    #[tokio::test]
    async fn a_connection_of_which_nothing_is_taken_breaks_off() {
        let limited = Limited::bind(([127, 0, 0, 1], 0).into(), 1).unwrap();
        let mut reader = std::net::TcpStream::connect(limited.address().unwrap()).unwrap();
        let (stream, _) = limited.listener.accept().await.unwrap();
        let patience = Duration::from_millis(500);
        let mut connection = Connection { stream, patience, stalled: None, _place: None };
        // More than both ends keep, taken bit by bit for longer than patience.
        let many = vec![7; 32 << 20];
        let mut taken = vec![0; many.len()];
        let reading = std::thread::spawn(move || {
            for part in taken.chunks_mut(1 << 20) {
                std::thread::sleep(patience / 16);
                reader.read_exact(part).unwrap();
            }
            reader
        });
        write_all(&mut connection, &many).await.unwrap();
        let _reader = reading.join().unwrap();
        // And nothing of it.
        let written = tokio::time::timeout(20 * patience, write_all(&mut connection, &many)).await;
        assert_eq!(written.unwrap().unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
