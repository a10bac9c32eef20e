//! What systemd is told: ready, alive, how it goes, stopping.
//!
//! The protocol is one datagram of `KEY=value` lines to the socket that `NOTIFY_SOCKET` names
//! (sd_notify(3)); that is less than a dependency. Without the variable nothing happens.
//!
//! The watchdog is fed by what the loop puts out and by nothing else. A timer in a thread would
//! go on feeding it while the loop hangs in the network or in a driver, which is the very thing
//! it is there for.

use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

/// Feeds within one watchdog interval: one that is late does not end the service.
const FEEDS: u32 = 4;

/// The service manager, if there is one.
#[derive(Debug, Default)]
pub(super) struct Manager {
    socket: Option<(UnixDatagram, SocketAddr)>,
    /// The longest silence it takes for life.
    patience: Option<Duration>,
    ready: bool,
    fed: Option<Instant>,
}

impl Manager {
    /// The one that started this process.
    pub fn of_environment() -> Self {
        let Ok(name) = std::env::var("NOTIFY_SOCKET") else { return Self::default() };
        let variable = |name| std::env::var(name).ok()?.parse::<u64>().ok();
        // The variables are inherited; a watchdog that is meant for a parent is not ours.
        let ours = variable("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let patience = variable("WATCHDOG_USEC").filter(|&time| ours && time > 0);
        Self::at(&name, patience.map(Duration::from_micros))
    }

    pub(super) fn at(name: &str, patience: Option<Duration>) -> Self {
        let opened = address(name).and_then(|address| {
            let socket = UnixDatagram::unbound()?;
            // A manager that does not listen must not hold up the pictures.
            socket.set_nonblocking(true)?;
            Ok((socket, address))
        });
        match opened {
            Ok(socket) => Self { socket: Some(socket), patience, ..Self::default() },
            Err(error) => {
                log::warn!("NOTIFY_SOCKET={name}: systemd cannot be told anything ({error})");
                Self::default()
            }
        }
    }

    /// Whether there is one.
    pub fn is_there(&self) -> bool {
        self.socket.is_some()
    }

    /// The loop has put something out, or keeps it back on purpose.
    pub fn alive(&mut self) {
        if !self.ready {
            self.ready = true;
            self.send("READY=1");
        }
        let Some(patience) = self.patience else { return };
        if self.fed.is_none_or(|fed| fed.elapsed() >= patience / FEEDS) {
            self.fed = Some(Instant::now());
            self.send("WATCHDOG=1");
        }
    }

    /// One line for `systemctl status`.
    pub fn status(&self, line: &str) {
        self.send(&format!("STATUS={}", line.replace('\n', " ")));
    }

    pub fn stopping(&self) {
        self.send("STOPPING=1");
    }

    fn send(&self, message: &str) {
        if let Some((socket, address)) = &self.socket
            && let Err(error) = socket.send_to_addr(message.as_bytes(), address)
        {
            log::debug!("systemd could not be told {message} ({error})");
        }
    }
}

/// A path, or behind an @ a name without a file.
fn address(name: &str) -> std::io::Result<SocketAddr> {
    match name.strip_prefix('@') {
        #[cfg(target_os = "linux")]
        Some(name) => {
            use std::os::linux::net::SocketAddrExt;
            SocketAddr::from_abstract_name(name)
        }
        #[cfg(not(target_os = "linux"))]
        Some(_) => Err(std::io::ErrorKind::Unsupported.into()),
        None => SocketAddr::from_pathname(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(socket: &UnixDatagram) -> Vec<String> {
        socket.set_nonblocking(true).unwrap();
        let mut bytes = [0; 256];
        std::iter::from_fn(|| socket.recv(&mut bytes).ok().map(|n| bytes[..n].to_vec()))
            .map(|bytes| String::from_utf8(bytes).unwrap())
            .collect()
    }

    #[test]
    fn ready_comes_once_and_food_from_life() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let patience = Duration::from_secs(60);
        let mut manager = Manager::at(path.to_str().unwrap(), Some(patience));
        manager.status("two\nlines");
        assert_eq!(told(&socket), ["STATUS=two lines"]);
        manager.alive();
        manager.alive();
        assert_eq!(told(&socket), ["READY=1", "WATCHDOG=1"]);
        manager.fed = manager.fed.and_then(|fed| fed.checked_sub(patience));
        manager.alive();
        manager.stopping();
        assert_eq!(told(&socket), ["WATCHDOG=1", "STOPPING=1"]);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn names_without_a_file_are_found() {
        use std::os::linux::net::SocketAddrExt;
        let name = format!("lbam-notify-{}", std::process::id());
        let socket =
            UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        Manager::at(&format!("@{name}"), None).alive();
        assert_eq!(told(&socket), ["READY=1"]);
    }

    #[test]
    fn nobody_there_is_no_failure() {
        let mut manager = Manager::at("/nowhere/notify", Some(Duration::from_secs(1)));
        manager.alive();
        Manager::default().stopping();
    }
}
