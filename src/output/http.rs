//! The page: the live picture as MJPEG, a snapshot, and how things are going.
//!
//! Three threads meet here. The loop leaves its newest frame and goes on. The encoder turns the
//! newest frame into one JPEG for all spectators, and sleeps while there are none. The server
//! hands JPEGs on through a `watch` channel, which holds only the newest: a slow connection
//! skips frames and holds up nobody.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderName, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::sync::{oneshot, watch};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::WatchStream;

use super::jpeg::encode;
use super::{OutputError, Sink};
use crate::picture::Frame;

const PAGE: &str = include_str!("page.html");
/// Shared so that snapshot and stream cannot differ: pictures are never kept by a browser.
const HEADERS: [(HeaderName, &str); 3] = [
    (header::CACHE_CONTROL, "no-store"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
];

pub(super) struct Page {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    newest: Mutex<Newest>,
    /// Something for the encoder to look at.
    stirred: Condvar,
    spectators: AtomicUsize,
    /// One part of the multipart stream: its header, the JPEG and its end.
    parts: watch::Sender<Bytes>,
    status: Mutex<String>,
}

#[derive(Default)]
struct Newest {
    frame: Option<Frame>,
    /// Not yet encoded for the stream.
    fresh: bool,
    stopping: bool,
}

impl Shared {
    /// A panic elsewhere leaves nothing half done in these locks: they hold plain values.
    fn newest(&self) -> MutexGuard<'_, Newest> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Page {
    pub fn open(address: SocketAddr) -> Result<Self, OutputError> {
        let listener = TcpListener::bind(address).map_err(|source| match source.kind() {
            ErrorKind::AddrInUse => OutputError::PortTaken { address },
            _ => OutputError::Listen { address, source },
        })?;
        let server = |source| OutputError::Server { source };
        listener.set_nonblocking(true).map_err(server)?;
        // Port 0 means any free one: say which it became.
        let address = listener.local_addr().map_err(server)?;
        let shared = Arc::new(Shared {
            newest: Mutex::default(),
            stirred: Condvar::new(),
            spectators: AtomicUsize::new(0),
            parts: watch::Sender::new(Bytes::new()),
            status: Mutex::new("{}".into()),
        });
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(server)?;
        let (stop, stopped) = oneshot::channel();
        let for_server = shared.clone();
        let serve = move || {
            runtime.block_on(async move {
                let listener = match tokio::net::TcpListener::from_std(listener) {
                    Ok(listener) => listener,
                    Err(error) => return log::error!("the page stopped: {error}"),
                };
                // Open streams never end by themselves, so no waiting for them at the end.
                tokio::select! {
                    ended = axum::serve(listener, routes(for_server)) => {
                        if let Err(error) = ended {
                            log::error!("the page stopped: {error}");
                        }
                    }
                    _ = stopped => {}
                }
            });
        };
        let for_encoder = shared.clone();
        let threads = vec![
            spawn("page", serve).map_err(server)?,
            spawn("jpeg", move || encode_newest(&for_encoder)).map_err(server)?,
        ];
        Ok(Self { address, shared, stop: Some(stop), threads })
    }
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name.into()).spawn(body)
}

impl Sink for Page {
    fn describe(&self) -> String {
        format!("http://{}/", self.address)
    }

    fn write(&mut self, frame: &Frame) -> Result<(), OutputError> {
        // Also when nobody watches: whoever comes next gets a picture at once. The clone shares
        // its bytes.
        let frame = Some(frame.clone());
        let mut newest = self.shared.newest();
        newest.frame = frame;
        newest.fresh = true;
        drop(newest);
        self.shared.stirred.notify_one();
        Ok(())
    }

    fn stand_in(&mut self, placeholder: &Frame) {
        // Taken as any other; this sink's writing cannot fail.
        let _ = self.write(placeholder);
    }

    fn report(&mut self, status: &serde_json::Value) {
        *self.shared.status.lock().unwrap_or_else(PoisonError::into_inner) = status.to_string();
    }

    fn shows_reports(&self) -> bool {
        true
    }

    fn finish(self: Box<Self>) -> Result<(), OutputError> {
        Ok(())
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        self.shared.newest().stopping = true;
        self.shared.stirred.notify_one();
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn encode_newest(shared: &Shared) {
    loop {
        let frame = {
            let mut newest = shared.newest();
            loop {
                if newest.stopping {
                    return;
                }
                let watched = shared.spectators.load(Ordering::SeqCst) > 0;
                if let (true, true, Some(frame)) = (watched, newest.fresh, newest.frame.clone()) {
                    newest.fresh = false;
                    break frame;
                }
                newest = shared.stirred.wait(newest).unwrap_or_else(PoisonError::into_inner);
            }
        };
        match encode(&frame) {
            Ok(jpeg) => {
                let head = format!(
                    "--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n",
                    jpeg.len()
                );
                let part = [head.as_bytes(), &jpeg, b"\r\n"].concat();
                shared.parts.send_replace(part.into());
            }
            Err(error) => log::error!("{error}"),
        }
    }
}

fn routes(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/stream.mjpg", get(stream))
        .route("/snapshot.jpg", get(snapshot))
        .route("/status.json", get(status))
        .layer(axum::middleware::from_fn(only_known_hosts))
        .with_state(shared)
}

/// Refuses names that some web site may have pointed at this machine (DNS rebinding), which
/// would let that site's scripts read the picture through the user's own browser. Addresses,
/// `localhost`, `*.local` and names without a dot cannot be had by a site.
async fn only_known_hosts(request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    match host {
        Some(host) if !is_known(host) => {
            (StatusCode::FORBIDDEN, "open this page by the device's address\n").into_response()
        }
        _ => next.run(request).await,
    }
}

fn is_known(host: &str) -> bool {
    if host.parse::<SocketAddr>().is_ok() {
        return true;
    }
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    bare.parse::<IpAddr>().is_ok()
        || !name.contains('.')
        || name.to_ascii_lowercase().ends_with(".local")
}

async fn page() -> Response {
    const POLICY: &str = "default-src 'none'; img-src 'self' data:; connect-src 'self'; style-src \
                          'unsafe-inline'; script-src 'unsafe-inline'; frame-ancestors 'none'";
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
    ];
    (HEADERS, headers, PAGE).into_response()
}

async fn status(State(shared): State<Arc<Shared>>) -> Response {
    let status = shared.status.lock().unwrap_or_else(PoisonError::into_inner).clone();
    (HEADERS, [(header::CONTENT_TYPE, "application/json")], status).into_response()
}

async fn snapshot(State(shared): State<Arc<Shared>>) -> Response {
    let Some(frame) = shared.newest().frame.clone() else {
        let later = [(header::RETRY_AFTER, "1")];
        return (StatusCode::SERVICE_UNAVAILABLE, later, "no picture yet\n").into_response();
    };
    match tokio::task::spawn_blocking(move || encode(&frame)).await {
        Ok(Ok(jpeg)) => (HEADERS, [(header::CONTENT_TYPE, "image/jpeg")], jpeg).into_response(),
        _ => (StatusCode::INTERNAL_SERVER_ERROR, "the picture cannot be encoded\n").into_response(),
    }
}

/// Counts a spectator for as long as the connection lives.
struct Spectator(Arc<Shared>);

impl Spectator {
    fn new(shared: Arc<Shared>) -> Self {
        shared.spectators.fetch_add(1, Ordering::SeqCst);
        // Encode what there is, also when the source stands still.
        shared.newest().fresh = true;
        shared.stirred.notify_one();
        Self(shared)
    }
}

impl Drop for Spectator {
    fn drop(&mut self) {
        self.0.spectators.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn stream(State(shared): State<Arc<Shared>>) -> Response {
    let parts = WatchStream::from_changes(shared.parts.subscribe());
    let spectator = Spectator::new(shared);
    let body = parts.map(move |part| {
        let _here = &spectator;
        Ok::<Bytes, std::convert::Infallible>(part)
    });
    let kind = [(header::CONTENT_TYPE, "multipart/x-mixed-replace; boundary=frame")];
    (HEADERS, kind, Body::from_stream(body)).into_response()
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, TcpStream};
    use std::time::Duration;

    use super::*;
    use crate::picture::{ColourRange, PixelFormat};

    fn local() -> SocketAddr {
        (Ipv4Addr::LOCALHOST, 0).into()
    }

    fn ask(address: SocketAddr, path: &str, host: &str) -> TcpStream {
        let mut socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        write!(socket, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
        socket
    }

    fn answer(address: SocketAddr, path: &str, host: &str) -> String {
        let mut bytes = Vec::new();
        ask(address, path, host).read_to_end(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn frame(value: u8) -> Frame {
        Frame::flat(640, 480, PixelFormat::Yuv420, ColourRange::Full, value).unwrap()
    }

    #[test]
    fn page_snapshot_and_status_answer() {
        let mut sink = Page::open(local()).unwrap();
        assert!(answer(sink.address, "/snapshot.jpg", "localhost").starts_with("HTTP/1.1 503"));
        sink.write(&frame(9)).unwrap();
        sink.report(&serde_json::json!({"fps": 3}));
        assert!(answer(sink.address, "/", "127.0.0.1:1").contains("<html"));
        assert!(answer(sink.address, "/status.json", "[::1]:80").ends_with("{\"fps\":3}"));
        assert!(answer(sink.address, "/snapshot.jpg", "camera.local").contains("image/jpeg"));
        assert!(answer(sink.address, "/", "evil.example").starts_with("HTTP/1.1 403"));
    }

    #[test]
    fn a_taken_port_names_the_mend() {
        let first = Page::open(local()).unwrap();
        let error = Page::open(first.address).err().expect("taken");
        assert!(error.to_string().contains("--http 127.0.0.1:"), "{error}");
    }

    #[test]
    fn spectators_who_do_not_read_hold_up_nobody() {
        let mut sink = Page::open(local()).unwrap();
        // Connects, and never reads a byte.
        let lazy = ask(sink.address, "/stream.mjpg", "localhost");
        let mut eager = ask(sink.address, "/stream.mjpg", "localhost");
        let begun = std::time::Instant::now();
        for value in 0..200 {
            sink.write(&frame(value)).unwrap();
        }
        assert!(begun.elapsed() < Duration::from_secs(5));
        let mut seen = Vec::new();
        let mut buffer = [0; 4096];
        while !seen.windows(9).any(|bytes| bytes == b"--frame\r\n") {
            let count = eager.read(&mut buffer).unwrap();
            assert!(count > 0);
            seen.extend_from_slice(&buffer[..count]);
        }
        drop((lazy, eager));
    }

    #[test]
    fn without_spectators_nothing_is_encoded() {
        let mut sink = Page::open(local()).unwrap();
        let parts = sink.shared.parts.subscribe();
        sink.write(&frame(1)).unwrap();
        std::thread::sleep(Duration::from_millis(100));
        assert!(!parts.has_changed().unwrap());
    }
}
