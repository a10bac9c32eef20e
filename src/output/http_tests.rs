//! The page, asked as browsers and others do.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};

use super::super::HostName;
use super::*;
use crate::picture::{ColourRange, PixelFormat};

/// For what must come; a test fails when it is over.
const PATIENCE: Duration = Duration::from_secs(20);

fn options() -> Options {
    Options { http: (Ipv4Addr::LOCALHOST, 0).into(), ..Options::default() }
}

fn page_of(painting: Option<Painting>) -> Page {
    Page::open(&Options { painting, ..options() }).unwrap()
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

/// What compresses badly.
fn noise(width: usize, height: usize, number: u32) -> Frame {
    let noise = |at: u32| ((at ^ number).wrapping_mul(0x9e37_79b1) >> 24) as u8;
    let noise = (0..(width * height * 3) as u32).map(noise).collect();
    Frame::new(width, height, PixelFormat::Rgb8, ColourRange::Full, noise).unwrap()
}

#[test]
fn page_snapshot_and_status_answer() {
    let mut sink = page_of(None);
    assert!(answer(sink.address, "/snapshot.jpg", "localhost").starts_with("HTTP/1.1 503"));
    sink.write(&frame(9)).unwrap();
    sink.report(&json!({"fps": 3}));
    assert!(answer(sink.address, "/", "127.0.0.1:1").contains("<html"));
    assert!(answer(sink.address, "/status.json", "[::1]:80").contains("{\"fps\":3,"));
    assert!(answer(sink.address, "/snapshot.jpg", "LocalHost:80").contains("image/jpeg"));
    for other in ["evil.example", "evil.local", "evil", "evil.example:80", "localhost.example", ""]
    {
        assert!(answer(sink.address, "/", other).starts_with("HTTP/1.1 403"), "{other}");
    }
}

#[test]
fn the_machine_s_own_names_and_those_that_are_named_are_answered_to() {
    assert_eq!(names_of("eye\n"), ["localhost", "eye", "eye", "eye.local"]);
    assert_eq!(names_of("Eye.lan"), ["localhost", "Eye.lan", "Eye", "Eye.local"]);
    assert_eq!(names_of(""), ["localhost"]);
    assert!(is_known("EYE.local:8080", &names_of("eye")));
    let host: HostName = "Camera.example.org".parse().unwrap();
    let page = Page::open(&Options { hosts: vec![host], ..options() }).unwrap();
    assert!(answer(page.address, "/", "camera.Example.org:443").starts_with("HTTP/1.1 200"));
    assert!(answer(page.address, "/", "example.org").starts_with("HTTP/1.1 403"));
}

#[test]
fn a_painted_mask_is_kept_and_given_back() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state/mask.png");
    let painting = Painting { file: file.clone(), by_others: false };
    let page = page_of(Some(painting));
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
    // Nor what takes more memory than a mask should; all but its header is not there.
    for header in ["P5 5000 5000 255\n", "P6 4096 4096 65535\n"] {
        assert!(put(address, &own, header.as_bytes()).starts_with("HTTP/1.1 413"), "{header}");
    }
    assert_eq!(Mask::read(&file).unwrap(), mask);
    // What was sent in another form is written anew.
    assert!(put(address, &own, b"P5 1 1 255\n\xff").starts_with("HTTP/1.1 204"));
    assert!(std::fs::read(&file).unwrap().starts_with(b"\x89PNG"));
    // Nothing beside it is left behind.
    assert_eq!(std::fs::read_dir(file.parent().unwrap()).unwrap().count(), 1);
}

#[test]
fn nothing_is_read_of_who_may_not_paint() {
    let painting = Painting { file: "mask.png".into(), by_others: true };
    let page = page_of(Some(painting));
    let mut socket = connect(page.address);
    // It announces a mask, and sends none of it.
    write!(
        socket,
        "PUT /mask HTTP/1.1\r\nHost: {}\r\nOrigin: http://evil.example\r\nContent-Length: 999\r\n\
         Connection: close\r\n\r\n",
        page.address
    )
    .unwrap();
    let mut start = [0; 12];
    socket.read_exact(&mut start).unwrap();
    assert_eq!(&start, b"HTTP/1.1 403");
}

#[test]
fn a_mask_that_comes_slowly_is_not_taken_of_who_may_no_longer_paint() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mask.png");
    let mut page = page_of(Some(Painting { file: file.clone(), by_others: true }));
    let mut socket = connect(page.address);
    let mask = b"P5 1 1 255\n\xff";
    write!(
        socket,
        "PUT /mask HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        page.address,
        mask.len()
    )
    .unwrap();
    assert!(waits(&mut socket), "it waits for the mask");
    page.take_masks(None);
    socket.write_all(mask).unwrap();
    assert!(rest(socket).starts_with("HTTP/1.1 404"));
    assert!(!file.exists());
}

#[test]
fn who_sends_slowly_keeps_nobody_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mask.png");
    let page = page_of(Some(Painting { file, by_others: false }));
    let begin = |_| {
        let mut socket = connect(page.address);
        let head = format!("PUT /mask HTTP/1.1\r\nHost: {}\r\n", page.address);
        write!(socket, "{head}Content-Length: 8000000\r\n\r\nP").unwrap();
        socket
    };
    let mut slow: Vec<TcpStream> = (0..2 * MOST_AT_WORK).map(begin).collect();
    assert!(slow.iter_mut().all(waits));
    let good = put(page.address, &format!("http://{}", page.address), b"P5 1 1 255\n\xff");
    assert!(good.starts_with("HTTP/1.1 204"), "{good}");
    // Long before their whole patience is over.
    assert!(slow.into_iter().all(|socket| rest(socket).starts_with("HTTP/1.1 408")));
}

#[test]
fn large_masks_share_their_room() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mask.png");
    let page = page_of(Some(Painting { file, by_others: false }));
    let send = |mask: &[u8]| put(page.address, &format!("http://{}", page.address), mask);
    let small = b"P5 1 1 255\n\xff";
    let mut large = small.to_vec();
    large.resize(SMALL_MASK_BYTES + 1, 0);
    let room = &page.shared.mask_room;
    let all = Arc::clone(room).try_acquire_many_owned(MASK_ROOM as u32);
    assert!(all.is_ok());
    assert!(send(&large).starts_with("HTTP/1.1 503"));
    assert!(send(small).starts_with("HTTP/1.1 204"));
    drop(all);
    assert!(send(&large).starts_with("HTTP/1.1 204"));
    assert_eq!(room.available_permits(), MASK_ROOM);
}

/// Whether nothing is answered for a moment.
fn waits(socket: &mut TcpStream) -> bool {
    socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let error = socket.read(&mut [0]).err();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    error.is_some_and(|error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
}

#[test]
fn words_take_the_place_of_the_last_picture() {
    let mut sink = page_of(None);
    sink.write(&frame(9)).unwrap();
    let words = frame(200);
    sink.stand_in(&words);
    assert_eq!(sink.shared.newest().frame.as_ref().unwrap().data(), words.data());
}

#[test]
fn pictures_are_never_to_be_stored() {
    let mut sink = page_of(None);
    sink.write(&frame(9)).unwrap();
    for path in ["/snapshot.jpg", "/stream.mjpg"] {
        let mut socket = ask(sink.address, path, "localhost");
        let mut head = [0; 400];
        let count = socket.read(&mut head).unwrap();
        let head = String::from_utf8_lossy(&head[..count]).to_ascii_lowercase();
        assert!(head.contains("cache-control: no-store"), "{path}: {head}");
    }
}

#[test]
fn snapshots_wait_for_each_other() {
    let mut sink = page_of(None);
    sink.write(&frame(9)).unwrap();
    let all = Arc::clone(&sink.shared.snapshots).try_acquire_many_owned(MOST_AT_WORK as u32);
    let mut socket = ask(sink.address, "/snapshot.jpg", "localhost");
    assert!(waits(&mut socket));
    drop(all.unwrap());
    assert!(rest(socket).contains("image/jpeg"));
}

#[test]
fn who_is_refused_takes_no_place() {
    let page = page_of(Some(Painting { file: "mask.png".into(), by_others: false }));
    let foreign = "Host: evil.example\r\n".to_owned();
    let script = format!("Host: {}\r\nOrigin: http://evil.example\r\n", page.address);
    for (path, headers) in [("/", foreign), ("/mask", script)] {
        let mut socket = connect(page.address);
        // As browsers do, which keep connections.
        write!(socket, "GET {path} HTTP/1.1\r\n{headers}\r\n").unwrap();
        assert!(rest(socket).starts_with("HTTP/1.1 403"), "{path}");
    }
}

#[test]
fn a_service_that_is_held_up_does_not_say_that_it_runs() {
    let said = json!({"state": "running"});
    let soon = aged(said.clone(), SILENCE);
    assert_eq!((&soon["state"], &soon["age_seconds"]), (&json!("running"), &json!(5.0)));
    assert_eq!(aged(said, SILENCE + Duration::from_millis(1))["state"], "held up");
}

/// A picture from before a mask must not come for long behind it.
#[test]
fn little_waits_for_spectators_who_pause() {
    let mut sink = page_of(None);
    sink.write(&frame(9)).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let socket = runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        // What the other end keeps is not the page's.
        socket.set_recv_buffer_size(4096).unwrap();
        socket.connect(sink.address).await.unwrap().into_std()
    });
    let mut socket = socket.unwrap();
    socket.set_nonblocking(false).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(socket, "GET /stream.mjpg HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut parts = sink.shared.parts.subscribe();
    let mut send = |frame: &Frame| {
        sink.write(frame).unwrap();
        let begun = Instant::now();
        while !parts.has_changed().unwrap() {
            assert!(begun.elapsed() < PATIENCE, "nothing is sent");
            std::thread::sleep(Duration::from_millis(1));
        }
        parts.borrow_and_update().clone()
    };
    const MOST: usize = 300_000;
    let sent: usize = (0..100).map(|number| send(&noise(160, 120, number)).len()).sum();
    assert!(sent > 3 * MOST, "{sent}");
    let last = send(&frame(200));
    let (mut read, end) = (Vec::new(), &last[last.len() - 100..]);
    while !read.windows(end.len()).rev().take(2000).any(|bytes| bytes == end) {
        let mut some = [0; 1000];
        let count = socket.read(&mut some).unwrap();
        read.extend_from_slice(&some[..count]);
        assert!(count > 0 && read.len() < MOST, "{} bytes are old", read.len());
    }
}

#[test]
fn who_comes_when_all_places_are_taken_waits_for_one() {
    let page = page_of(None);
    let mut taken: Vec<TcpStream> = (0..MOST_CONNECTIONS).map(|_| connect(page.address)).collect();
    let mut socket = ask(page.address, "/status.json", "localhost");
    assert!(waits(&mut socket));
    taken.pop();
    assert!(rest(socket).ends_with("{}"));
}

#[test]
fn others_paint_only_where_the_user_said_so() {
    let page = page_of(None);
    assert!(put(page.address, &format!("http://{}", page.address), b"").contains("--mask http:"));
    let peer = |text: &str| SocketAddr::new(text.parse().unwrap(), 1);
    let may = |by_others, text| {
        let painting = Some(Painting { file: "mask.png".into(), by_others });
        may_paint(&Shared::new(painting, Vec::new()), peer(text), &HeaderMap::new()).is_ok()
    };
    for here in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
        assert!(may(false, here), "{here}");
    }
    assert!(!may(false, "192.0.2.7"));
    assert!(may(true, "192.0.2.7"));
    // And only for as long as that is so.
    let mut page = page_of(Some(Painting { file: "mask.png".into(), by_others: true }));
    let may = |page: &Page| may_paint(&page.shared, peer("192.0.2.7"), &HeaderMap::new()).is_ok();
    assert!(may(&page));
    page.take_masks(Some(Painting { file: "mask.png".into(), by_others: false }));
    assert!(!may(&page));
    page.take_masks(None);
    assert!(put(page.address, &format!("http://{}", page.address), b"").contains("--mask http:"));
}

#[test]
fn a_taken_port_names_the_mend() {
    let first = page_of(None);
    let second = Page::open(&Options { http: first.address, ..options() });
    let error = second.err().expect("taken");
    assert!(error.to_string().contains("--http 127.0.0.1:"), "{error}");
}

#[test]
fn spectators_who_do_not_read_hold_up_nobody() {
    let mut sink = page_of(None);
    // Connects, and never reads a byte.
    let lazy = ask(sink.address, "/stream.mjpg", "localhost");
    let mut eager = ask(sink.address, "/stream.mjpg", "localhost");
    // Far more than what a system keeps of a connection that is not read.
    let mut seen = vec![0; 16 << 20];
    let reader = std::thread::spawn(move || eager.read_exact(&mut seen));
    let begun = Instant::now();
    for number in 0_u32.. {
        if reader.is_finished() {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "it is held up");
        sink.write(&noise(640, 480, number)).unwrap();
    }
    reader.join().unwrap().unwrap();
    drop(lazy);
}

#[test]
fn a_picture_that_stands_is_sent_again() {
    let mut sink = page_of(None);
    sink.write(&frame(1)).unwrap();
    let mut parts = sink.shared.parts.subscribe();
    let spectator = ask(sink.address, "/stream.mjpg", "localhost");
    let mut next = || {
        let begun = Instant::now();
        while !parts.has_changed().unwrap() {
            assert!(begun.elapsed() < PATIENCE, "nothing is sent");
            std::thread::sleep(Duration::from_millis(1));
        }
        parts.borrow_and_update().clone()
    };
    let first = next();
    assert!(!first.is_empty() && next() == first);
    drop(spectator);
}

#[test]
fn without_spectators_nothing_is_encoded() {
    let mut sink = page_of(None);
    let parts = sink.shared.parts.subscribe();
    sink.write(&frame(1)).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    assert!(!parts.has_changed().unwrap());
}

/// Who is not heard of any more has not looked at masks either.
#[test]
fn a_picture_of_a_silent_service_gives_way_to_words() {
    let frame = crate::camera::test_frame(64, 48, 0).unwrap();
    let heard = Some(Instant::now());
    let mut newest = Newest { frame: Some(frame.clone()), heard, ..Newest::default() };
    newest.judge(Duration::from_secs(3600));
    assert!(!newest.fresh && newest.frame.as_ref().unwrap().data() == frame.data());
    std::thread::sleep(Duration::from_millis(20));
    newest.judge(Duration::from_millis(10));
    let words = newest.frame.as_ref().unwrap();
    assert!(newest.fresh && words.data() != frame.data());
    assert_eq!((words.width(), words.height()), (64, 48));
    // Of nothing there is nothing to judge.
    let mut none = Newest { heard, ..Newest::default() };
    none.judge(Duration::ZERO);
    assert!(none.frame.is_none());
}
