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

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tokio::time::timeout;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::WatchStream;

use super::jpeg::encode;
use super::listener::Limited;
use super::{Options, OutputError, Painting, Sink, placeholder};
use crate::picture::{Frame, MOST_PAINTED_PIXELS, Mask, PictureError, decode_size};

const PAGE: &str = include_str!("page.html");
/// How long a picture stands before it is sent again. Browsers show a part of the stream when the
/// next one begins, and a picture of words may be the only one for long.
const REPEAT_AFTER: Duration = Duration::from_secs(1);
/// How long the service may be silent. Then something holds it up, another output for instance, and the
/// picture that stands here may show what is to be hidden by now.
const SILENCE: Duration = Duration::from_secs(5);
/// Far more than a mask takes, which is black and white.
const MOST_MASK_BYTES: usize = 8 << 20;
/// What the page sends of a camera's picture is less. So much of a mask always finds room.
const SMALL_MASK_BYTES: usize = 256 << 10;
/// What the rest of all masks may take that come at the same time.
const MASK_ROOM: usize = 2 * MOST_MASK_BYTES;
/// How long a mask may take to come.
const MASK_PATIENCE: Duration = Duration::from_secs(30);
/// How long nothing of it may come meanwhile.
const MASK_PAUSE: Duration = Duration::from_secs(3);
/// Far more than look at one camera. A browser takes up to six.
const MOST_CONNECTIONS: usize = 64;
/// Snapshots that are encoded at once, and masks that are decoded: the processor is for the network.
const MOST_AT_WORK: usize = 2;
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
    /// What was reported last, and when.
    report: Mutex<Option<(serde_json::Value, Instant)>>,
    painting: Mutex<Option<Painting>>,
    /// Names that the page answers to.
    hosts: Vec<String>,
    snapshots: Arc<Semaphore>,
    masks: Arc<Semaphore>,
    /// A permit a byte.
    mask_room: Arc<Semaphore>,
    /// Held from looking at the mask that there is to writing another.
    keeping: Mutex<()>,
}

#[derive(Default)]
struct Newest {
    frame: Option<Frame>,
    /// Not yet encoded for the stream.
    fresh: bool,
    stopping: bool,
    /// When the service was last heard of.
    heard: Option<Instant>,
}

impl Newest {
    /// Puts words in the place of a picture that may be out of date.
    fn judge(&mut self, silence: Duration) {
        let is_silent = self.heard.is_some_and(|heard| heard.elapsed() > silence);
        let Some(frame) = self.frame.as_ref().filter(|_| is_silent) else { return };
        let words =
            "No picture comes\n\nAnother output may hold it up, or a mask that cannot be read";
        if let Ok(words) = placeholder(frame.width(), frame.height(), words) {
            (self.frame, self.fresh, self.heard) = (Some(words), true, Some(Instant::now()));
        }
    }
}

impl Shared {
    fn new(painting: Option<Painting>, hosts: Vec<String>) -> Self {
        Self {
            newest: Mutex::default(),
            stirred: Condvar::new(),
            spectators: AtomicUsize::new(0),
            parts: watch::Sender::new(Bytes::new()),
            report: Mutex::default(),
            painting: Mutex::new(painting),
            hosts,
            snapshots: Arc::new(Semaphore::new(MOST_AT_WORK)),
            masks: Arc::new(Semaphore::new(MOST_AT_WORK)),
            mask_room: Arc::new(Semaphore::new(MASK_ROOM)),
            keeping: Mutex::default(),
        }
    }

    /// A panic elsewhere leaves nothing half done in these locks: they hold plain values.
    fn newest(&self) -> MutexGuard<'_, Newest> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Likewise.
    fn painting(&self) -> MutexGuard<'_, Option<Painting>> {
        self.painting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Page {
    pub fn open(options: &Options) -> Result<Self, OutputError> {
        let (address, server) = (options.http, |source| OutputError::Server { source });
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(server)?;
        let inside = runtime.enter();
        let listener = Limited::bind(address, MOST_CONNECTIONS);
        drop(inside);
        let listener = listener.map_err(|source| match source.kind() {
            ErrorKind::AddrInUse => OutputError::PortTaken { address },
            _ => OutputError::Listen { address, source },
        })?;
        // Port 0 means any free one: say which it became.
        let address = listener.address().map_err(server)?;
        let hosts = own_names().into_iter().chain(options.hosts.iter().map(ToString::to_string));
        let shared = Arc::new(Shared::new(options.painting.clone(), hosts.collect()));
        let (stop, stopped) = oneshot::channel();
        let for_server = shared.clone();
        let serve = move || {
            runtime.block_on(async move {
                // Open streams never end by themselves, so no waiting for them at the end.
                tokio::select! {
                    () = listener.serve(routes(for_server)) => {}
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
        (newest.frame, newest.fresh, newest.heard) = (frame, true, Some(Instant::now()));
        drop(newest);
        self.shared.stirred.notify_one();
        Ok(())
    }

    fn is_live(&self) -> bool {
        true
    }

    fn stand_in(&mut self, placeholder: &Frame) {
        // Taken as any other; this sink's writing cannot fail.
        let _ = self.write(placeholder);
    }

    fn take_masks(&mut self, painting: Option<Painting>) {
        *self.shared.painting() = painting;
    }

    fn report(&mut self, status: &serde_json::Value) {
        let now = Instant::now();
        let report = Some((status.clone(), now));
        *self.shared.report.lock().unwrap_or_else(PoisonError::into_inner) = report;
        self.shared.newest().heard = Some(now);
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
                newest.judge(SILENCE);
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
        .layer(axum::middleware::from_fn_with_state(shared.clone(), only_known_hosts))
        .with_state(shared)
}

/// Refuses names that some web site may have pointed at this machine (DNS rebinding), which
/// would let that site's scripts read the picture through the user's own browser. Addresses cannot
/// be had by a site, nor can this machine's own names.
async fn only_known_hosts(
    State(shared): State<Arc<Shared>>,
    request: Request,
    next: Next,
) -> Response {
    let host = request.headers().get(header::HOST).map(|host| host.to_str().unwrap_or_default());
    match host {
        Some(host) if !is_known(host, &shared.hosts) => {
            let why = "open this page by the device's address or its own name; --http-host NAME \
                       lets it answer to another\n";
            refused((StatusCode::FORBIDDEN, why))
        }
        _ => next.run(request).await,
    }
}

/// An answer to somebody whose connection takes no place any longer: web sites may make many.
fn refused((code, why): (StatusCode, &'static str)) -> Response {
    (code, HEADERS, [(header::CONNECTION, "close")], why).into_response()
}

/// What this machine is called: its own name, as it is and shortened, alone and in `.local`.
fn own_names() -> Vec<String> {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    names_of(&host)
}

fn names_of(host: &str) -> Vec<String> {
    let host = host.trim();
    let mut names = vec!["localhost".to_owned()];
    if let Some(short) = host.split('.').next().filter(|short| !short.is_empty()) {
        names.extend([host.to_owned(), short.to_owned(), format!("{short}.local")]);
    }
    names
}

fn is_known(host: &str, names: &[String]) -> bool {
    if host.parse::<SocketAddr>().is_ok() {
        return true;
    }
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    bare.parse::<IpAddr>().is_ok() || names.iter().any(|known| known.eq_ignore_ascii_case(name))
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
    let report = shared.report.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let status = match report {
        Some((status, at)) => aged(status, at.elapsed()),
        None => json!({}),
    };
    (HEADERS, [(header::CONTENT_TYPE, "application/json")], status.to_string()).into_response()
}

/// What was reported so long ago. Whoever is silent does not say that it is held up.
fn aged(mut status: serde_json::Value, age: Duration) -> serde_json::Value {
    if age > SILENCE {
        status["state"] = json!("held up");
    }
    status["age_seconds"] = json!(age.as_millis() as f64 / 1e3);
    status
}

async fn snapshot(State(shared): State<Arc<Shared>>) -> Response {
    // Kept by the work itself: it goes on when whoever asked has gone.
    let place = Arc::clone(&shared.snapshots).acquire_owned().await;
    let frame = {
        let mut newest = shared.newest();
        newest.judge(SILENCE);
        newest.frame.clone()
    };
    let Some(frame) = frame else {
        let later = [(header::RETRY_AFTER, "1")];
        return (StatusCode::SERVICE_UNAVAILABLE, later, "no picture yet\n").into_response();
    };
    let work = move || {
        let _place = place;
        encode(&frame)
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(jpeg)) => (HEADERS, [(header::CONTENT_TYPE, "image/jpeg")], jpeg).into_response(),
        _ => (StatusCode::INTERNAL_SERVER_ERROR, "the picture cannot be encoded\n").into_response(),
    }
}

/// What is between a request and the mask.
fn may_paint(
    shared: &Shared,
    peer: SocketAddr,
    headers: &HeaderMap,
) -> Result<Painting, (StatusCode, &'static str)> {
    let Some(painting) = shared.painting().clone() else {
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
        Err(error) => return refused(error),
    };
    match kept(&painting.file) {
        Ok((tag, None)) => (StatusCode::NO_CONTENT, HEADERS, [(header::ETAG, tag)]).into_response(),
        Ok((tag, Some(png))) => {
            let kind = (header::CONTENT_TYPE, "image/png".into());
            (HEADERS, [kind, (header::ETAG, tag)], png).into_response()
        }
        Err(error) => {
            log::error!("{}: {error}", painting.file.display());
            (StatusCode::INTERNAL_SERVER_ERROR, HEADERS, "the mask cannot be read\n")
                .into_response()
        }
    }
}

/// The mask in a file, if there is one, and what it is told from others by.
fn kept(file: &Path) -> std::io::Result<(String, Option<Vec<u8>>)> {
    match std::fs::read(file) {
        Ok(png) => {
            let mut hasher = DefaultHasher::new();
            png.hash(&mut hasher);
            Ok((format!("\"{:016x}\"", hasher.finish()), Some(png)))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(("\"none\"".into(), None)),
        Err(error) => Err(error),
    }
}

/// Takes a mask, a picture in which white means fill; with `If-Match`, only in place of that. Nothing of
/// it is read before it is clear that whoever sends it may.
async fn paint(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    let headers = request.headers().clone();
    if let Err(error) = may_paint(&shared, peer, &headers) {
        return refused(error);
    }
    let coming = receive(request, &shared.mask_room);
    let (body, room) = match timeout(MASK_PATIENCE, coming).await.unwrap_or(Err(TOO_SLOW)) {
        Ok(received) => received,
        Err(error) => return refused(error),
    };
    // Not before it is there: whoever is slow keeps nobody waiting.
    let place = Arc::clone(&shared.masks).acquire_owned().await;
    // Again: that may have changed while it came.
    let file = match may_paint(&shared, peer, &headers) {
        Ok(painting) => painting.file,
        Err(error) => return refused(error),
    };
    let keep = move || {
        let _held = (place, room);
        let mask = decode(&body)?;
        let _keeping = shared.keeping.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(wanted) = headers.get(header::IF_MATCH) {
            let there = kept(&file).map_err(|error| {
                (StatusCode::INTERNAL_SERVER_ERROR, format!("{}: {error}", file.display()))
            })?;
            if there.0.as_bytes() != wanted.as_bytes() {
                let why = "somebody else changed the mask meanwhile: cancel, and paint again";
                return Err((StatusCode::PRECONDITION_FAILED, why.into()));
            }
        }
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

const TOO_SLOW: (StatusCode, &str) = (StatusCode::REQUEST_TIMEOUT, "too slow\n");

/// A mask as it is sent, and the room that it takes.
async fn receive(
    request: Request,
    room: &Arc<Semaphore>,
) -> Result<(Vec<u8>, OwnedSemaphorePermit), (StatusCode, &'static str)> {
    const FULL: (StatusCode, &str) =
        (StatusCode::SERVICE_UNAVAILABLE, "many masks are being sent; send it again later\n");
    const LARGE: (StatusCode, &str) =
        (StatusCode::PAYLOAD_TOO_LARGE, "a mask of more than 8 MiB is not taken; send a PNG\n");
    const BROKEN: (StatusCode, &str) = (StatusCode::BAD_REQUEST, "it broke off\n");
    let take = |bytes: usize| Arc::clone(room).try_acquire_many_owned(bytes as u32);
    let mut pieces = request.into_body().into_data_stream();
    let (mut body, mut taken) = (Vec::new(), take(0).map_err(|_| FULL)?);
    while let Some(piece) = timeout(MASK_PAUSE, pieces.next()).await.map_err(|_| TOO_SLOW)? {
        let piece = piece.map_err(|_| BROKEN)?;
        let length = body.len() + piece.len();
        if length > MOST_MASK_BYTES {
            return Err(LARGE);
        }
        let beyond = length.saturating_sub(SMALL_MASK_BYTES).min(piece.len());
        taken.merge(take(beyond).map_err(|_| FULL)?);
        body.extend_from_slice(&piece);
    }
    Ok((body, taken))
}

/// The mask that a picture is, if it may be one.
fn decode(picture: &[u8]) -> Result<Mask, (StatusCode, String)> {
    let name = Path::new("the mask sent");
    let too_large =
        |why: &str| (StatusCode::PAYLOAD_TOO_LARGE, format!("{}: {why}", name.display()));
    let wrong = |error: PictureError| match error {
        PictureError::TooLarge { .. } => too_large(
            "it takes too much memory; scale it down, and save it with 8 bits a channel if it has \
             more",
        ),
        other => (StatusCode::BAD_REQUEST, other.to_string()),
    };
    let (width, height) = decode_size(picture, name).map_err(wrong)?;
    if width.saturating_mul(height) > MOST_PAINTED_PIXELS {
        return Err(too_large(&format!("{width}x{height} pixels are too many; scale it down")));
    }
    Mask::decode(picture, name).map_err(wrong)
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
#[path = "http_tests.rs"]
mod tests;
