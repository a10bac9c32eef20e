//! The page: the live picture as MJPEG, a snapshot, how things are going, and a mask to paint.
//!
//! Three threads meet here. The loop leaves its newest frame and goes on. The encoder turns the
//! newest frame into one JPEG for all spectators, and sleeps while there are none. The server
//! hands JPEGs on through a `watch` channel, which holds only the newest: a slow connection
//! skips frames and holds up nobody.
//!
//! A mask that is painted goes into a file, and from there its way as any mask picture does: the
//! page knows nothing of the loop. Who may paint may uncover, so that other machines may only if
//! the user said so, and other sites never.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::sync::{oneshot, watch};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::WatchStream;

use super::jpeg::encode;
use super::{OutputError, Painting, Sink};
use crate::picture::{Frame, Mask};

const PAGE: &str = include_str!("page.html");
/// How long a picture stands before it is sent again. Browsers show a part of the stream when the
/// next one begins, and a picture of words may be the only one for long.
const REPEAT_AFTER: Duration = Duration::from_secs(1);
/// Far more than a mask takes, which is black and white.
const MOST_MASK_BYTES: usize = 8 << 20;
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
    painting: Option<Painting>,
}

#[derive(Default)]
struct Newest {
    frame: Option<Frame>,
    /// Not yet encoded for the stream.
    fresh: bool,
    stopping: bool,
}

impl Shared {
    fn new(painting: Option<Painting>) -> Self {
        Self {
            newest: Mutex::default(),
            stirred: Condvar::new(),
            spectators: AtomicUsize::new(0),
            parts: watch::Sender::new(Bytes::new()),
            status: Mutex::new("{}".into()),
            painting,
        }
    }

    /// A panic elsewhere leaves nothing half done in these locks: they hold plain values.
    fn newest(&self) -> MutexGuard<'_, Newest> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Page {
    pub fn open(address: SocketAddr, painting: Option<Painting>) -> Result<Self, OutputError> {
        let listener = TcpListener::bind(address).map_err(|source| match source.kind() {
            ErrorKind::AddrInUse => OutputError::PortTaken { address },
            _ => OutputError::Listen { address, source },
        })?;
        let server = |source| OutputError::Server { source };
        listener.set_nonblocking(true).map_err(server)?;
        // Port 0 means any free one: say which it became.
        let address = listener.local_addr().map_err(server)?;
        let shared = Arc::new(Shared::new(painting));
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
                    ended = axum::serve(
                        listener,
                        routes(for_server).into_make_service_with_connect_info::<SocketAddr>(),
                    ) => {
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
                let patience = if watched { REPEAT_AFTER } else { Duration::MAX };
                let waited;
                (newest, waited) = shared
                    .stirred
                    .wait_timeout(newest, patience)
                    .unwrap_or_else(PoisonError::into_inner);
                if waited.timed_out() {
                    shared.parts.send_if_modified(|part| !part.is_empty());
                }
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
        .route("/mask", get(painted).put(paint))
        .layer(DefaultBodyLimit::max(MOST_MASK_BYTES))
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

/// What is between a request and the mask.
fn may_paint<'a>(
    shared: &'a Shared,
    peer: SocketAddr,
    headers: &HeaderMap,
) -> Result<&'a Painting, (StatusCode, &'static str)> {
    let Some(painting) = &shared.painting else {
        return Err((StatusCode::NOT_FOUND, "masks are not painted here: add --mask http:\n"));
    };
    if !painting.by_others && !peer.ip().to_canonical().is_loopback() {
        return Err((
            StatusCode::FORBIDDEN,
            "only the device itself may paint (ssh -L 8080:127.0.0.1:8080 user@device): \
             --mask http: lets others, too\n",
        ));
    }
    // A browser names the site whose script asks.
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let site = text(header::ORIGIN).map(|origin| origin.split_once("://").map(|(_, site)| site));
    if site.is_some_and(|site| site.is_none() || site != text(header::HOST)) {
        return Err((StatusCode::FORBIDDEN, "another site may not paint\n"));
    }
    Ok(painting)
}

/// The mask that was painted last.
async fn painted(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
) -> Response {
    let painting = match may_paint(&shared, peer, &headers) {
        Ok(painting) => painting,
        Err((code, why)) => return (code, HEADERS, why).into_response(),
    };
    match std::fs::read(&painting.file) {
        Ok(png) => (HEADERS, [(header::CONTENT_TYPE, "image/png")], png).into_response(),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            (StatusCode::NO_CONTENT, HEADERS).into_response()
        }
        Err(error) => {
            log::error!("{}: {error}", painting.file.display());
            (StatusCode::INTERNAL_SERVER_ERROR, HEADERS, "the mask cannot be read\n")
                .into_response()
        }
    }
}

/// Takes a mask, a picture in which white means fill.
async fn paint(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let file = match may_paint(&shared, peer, &headers) {
        Ok(painting) => painting.file.clone(),
        Err((code, why)) => return (code, HEADERS, why).into_response(),
    };
    let keep = move || {
        let mask = Mask::decode(&body, Path::new("the mask sent"))
            .map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))?;
        let folder = file.parent().map_or(Ok(()), std::fs::create_dir_all);
        let kept = folder.map_err(|error| format!("{}: {error}", file.display()));
        kept.and_then(|()| mask.write(&file).map_err(|error| error.to_string()))
            .map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error))
    };
    match tokio::task::spawn_blocking(keep).await {
        Ok(Ok(())) => (StatusCode::NO_CONTENT, HEADERS).into_response(),
        Ok(Err((code, why))) => {
            log::warn!("a mask that was painted is not kept: {why}");
            (code, HEADERS, why + "\n").into_response()
        }
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, HEADERS, "it failed\n").into_response(),
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

    use super::*;
    use crate::picture::{ColourRange, PixelFormat};

    fn local() -> SocketAddr {
        (Ipv4Addr::LOCALHOST, 0).into()
    }

    fn connect(address: SocketAddr) -> TcpStream {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        socket
    }

    fn ask(address: SocketAddr, path: &str, host: &str) -> TcpStream {
        let mut socket = connect(address);
        write!(socket, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
        socket
    }

    fn answer(address: SocketAddr, path: &str, host: &str) -> String {
        rest(ask(address, path, host))
    }

    fn rest(mut socket: TcpStream) -> String {
        let mut bytes = Vec::new();
        socket.read_to_end(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Sends a mask as a script of the site `origin` would.
    fn put(address: SocketAddr, origin: &str, body: &[u8]) -> String {
        let mut socket = connect(address);
        write!(
            socket,
            "PUT /mask HTTP/1.1\r\nHost: {address}\r\nOrigin: {origin}\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n",
            body.len()
        )
        .unwrap();
        // Whoever refuses may close before all is sent.
        let _ = socket.write_all(body);
        rest(socket)
    }

    fn frame(value: u8) -> Frame {
        Frame::flat(640, 480, PixelFormat::Yuv420, ColourRange::Full, value).unwrap()
    }

    #[test]
    fn page_snapshot_and_status_answer() {
        let mut sink = Page::open(local(), None).unwrap();
        assert!(answer(sink.address, "/snapshot.jpg", "localhost").starts_with("HTTP/1.1 503"));
        sink.write(&frame(9)).unwrap();
        sink.report(&serde_json::json!({"fps": 3}));
        assert!(answer(sink.address, "/", "127.0.0.1:1").contains("<html"));
        assert!(answer(sink.address, "/status.json", "[::1]:80").ends_with("{\"fps\":3}"));
        assert!(answer(sink.address, "/snapshot.jpg", "camera.local").contains("image/jpeg"));
        assert!(answer(sink.address, "/", "evil.example").starts_with("HTTP/1.1 403"));
    }

    #[test]
    fn a_painted_mask_is_kept_and_given_back() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("state/mask.png");
        let painting = Painting { file: file.clone(), by_others: false };
        let page = Page::open(local(), Some(painting)).unwrap();
        let (address, own) = (page.address, format!("http://{}", page.address));
        assert!(answer(address, "/mask", "localhost").starts_with("HTTP/1.1 204"));
        let mask = Mask::from_grey(3, 2, &[0, 255, 0, 0, 0, 255]).unwrap();
        let drawn = folder.path().join("drawn.png");
        mask.write(&drawn).unwrap();
        let drawn = std::fs::read(drawn).unwrap();
        for other in ["http://evil.example", "null"] {
            assert!(put(address, other, &drawn).starts_with("HTTP/1.1 403"), "{other}");
        }
        assert!(!file.exists());
        assert!(put(address, &own, &drawn).starts_with("HTTP/1.1 204"));
        assert_eq!(Mask::read(&file).unwrap(), mask);
        assert!(answer(address, "/mask", "localhost").contains("image/png"));
        // What is no picture changes nothing.
        let refused = put(address, &own, b"no picture");
        assert!(refused.starts_with("HTTP/1.1 400") && refused.contains("mask sent"), "{refused}");
        assert!(put(address, &own, &vec![0; MOST_MASK_BYTES + 1]).starts_with("HTTP/1.1 413"));
        assert_eq!(Mask::read(&file).unwrap(), mask);
        // Nothing beside it is left behind.
        assert_eq!(std::fs::read_dir(file.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn others_paint_only_where_the_user_said_so() {
        let page = Page::open(local(), None).unwrap();
        assert!(
            put(page.address, &format!("http://{}", page.address), b"").contains("--mask http:")
        );
        let peer = |text: &str| SocketAddr::new(text.parse().unwrap(), 1);
        let may = |by_others, text| {
            let painting = Some(Painting { file: "mask.png".into(), by_others });
            may_paint(&Shared::new(painting), peer(text), &HeaderMap::new()).is_ok()
        };
        for here in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            assert!(may(false, here), "{here}");
        }
        assert!(!may(false, "192.0.2.7"));
        assert!(may(true, "192.0.2.7"));
    }

    #[test]
    fn a_taken_port_names_the_mend() {
        let first = Page::open(local(), None).unwrap();
        let error = Page::open(first.address, None).err().expect("taken");
        assert!(error.to_string().contains("--http 127.0.0.1:"), "{error}");
    }

    #[test]
    fn spectators_who_do_not_read_hold_up_nobody() {
        let mut sink = Page::open(local(), None).unwrap();
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
    fn a_picture_that_stands_is_sent_again() {
        let mut sink = Page::open(local(), None).unwrap();
        sink.write(&frame(1)).unwrap();
        let mut parts = sink.shared.parts.subscribe();
        let spectator = ask(sink.address, "/stream.mjpg", "localhost");
        let first = loop {
            if parts.has_changed().unwrap() {
                break parts.borrow_and_update().clone();
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        while !parts.has_changed().unwrap() {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(!first.is_empty() && *parts.borrow() == first);
        drop(spectator);
    }

    #[test]
    fn without_spectators_nothing_is_encoded() {
        let mut sink = Page::open(local(), None).unwrap();
        let parts = sink.shared.parts.subscribe();
        sink.write(&frame(1)).unwrap();
        std::thread::sleep(Duration::from_millis(100));
        assert!(!parts.has_changed().unwrap());
    }
}
