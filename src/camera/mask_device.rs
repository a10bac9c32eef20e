//! Masks from a V4L2 device: the luma of what it gives, white to be filled. Another program paints
//! them through v4l2loopback, or a camera of its own sees them.
//!
//! A picture that comes is not always a new one: v4l2loopback hands whoever opens it the last pictures
//! of a writer that hangs, and some of its settings have it hand out the last one for ever. Such a
//! mask would seem fresh, so that what counts is when the driver says that it was taken.

use std::path::Path;
use std::time::{Duration, Instant};

use super::mask_feed::{FedMask, Feeder, now};
use super::{
    CameraError, CameraFormat, CameraWish, MaskSourceError, SILENCE, Source, SourceSpec, open_with,
};
use crate::picture::{Mask, MaskError, Pool};

/// Between two looks whether the device has come back.
const RETRY: Duration = Duration::from_millis(500);
/// How long after the first picture of an opening none counts. What v4l2loopback had kept (up to 32
/// pictures) comes at once; a camera takes as long to expose.
const SETTLE: Duration = Duration::from_millis(300);

/// A device that is away or in use may come; until then all is hidden.
pub(super) fn open(path: &Path) -> Result<FedMask, MaskSourceError> {
    let spec = SourceSpec::Device(path.into());
    let wish = CameraWish { format: Some(CameraFormat::Grey), size: None };
    let open = move || open_with(&spec, &wish);
    let mut told = None;
    let device = match open() {
        Ok(device) => Some(device),
        Err(error) if error.may_pass() => {
            tell(&mut told, error.to_string());
            None
        }
        Err(error) => return Err(error.into()),
    };
    let (masks, feeder) = FedMask::new(path.display().to_string());
    std::thread::Builder::new()
        .name("masks".into())
        .spawn(move || feed((device, told), open, &feeder, RETRY, SETTLE))
        .map_err(|source| MaskSourceError::Read { path: path.into(), source })?;
    Ok(masks)
}

/// Until nobody wants masks any more. The device comes with the trouble that was told of it, which is not
/// told again while nothing changes: one that is away is looked for often.
fn feed(
    (mut device, mut told): (Option<Box<dyn Source>>, Option<String>),
    open: impl Fn() -> Result<Box<dyn Source>, CameraError>,
    feeder: &Feeder,
    retry: Duration,
    settle: Duration,
) {
    let pool = Pool::default();
    let mut pictures = Pictures::default();
    // When a picture was good last, or the device was opened.
    let mut good = now();
    while feeder.is_wanted() {
        let Some(opened) = &mut device else {
            std::thread::sleep(retry);
            device = match open() {
                Ok(device) => Some(device),
                Err(error) => {
                    tell(&mut told, error.to_string());
                    None
                }
            };
            (pictures, good) = (Pictures::default(), now());
            continue;
        };
        match opened.next() {
            Ok(Some(_)) if !pictures.is_new(opened.taken(), settle) => {}
            Ok(Some(captured)) => {
                let at = now();
                // A damaged one is passed over: it is for their age that masks stop to count. Where all
                // are, opening the device anew may mend that.
                let Ok(frame) = captured.decode(&pool) else {
                    if at.saturating_sub(good) >= SILENCE {
                        let seconds = SILENCE.as_secs();
                        let name = opened.describe();
                        tell(&mut told, format!("{name}: no good picture for {seconds} seconds"));
                        device = None;
                    }
                    continue;
                };
                good = at;
                match feeder.give(Mask::from_frame(&frame), at) {
                    Ok(()) if told.take().is_some() => log::info!("masks: {}", opened.describe()),
                    Ok(()) => {}
                    // Its brightest level, which the error names, is another each time.
                    Err(MaskError::Dark { .. }) => {
                        let name = opened.describe();
                        let trouble = format!("{name}: no white so far; until then all is hidden");
                        tell(&mut told, trouble);
                    }
                    Err(error) => tell(&mut told, error.to_string()),
                }
            }
            ended => {
                if let Err(error) = ended {
                    tell(&mut told, error.to_string());
                }
                feeder.lose();
                device = None;
            }
        }
    }
}

/// Tells trouble that is not the one that was told last.
fn tell(told: &mut Option<String>, trouble: String) {
    if told.as_ref() != Some(&trouble) {
        log::warn!("masks: {trouble}");
        *told = Some(trouble);
    }
}

/// Those of one opening of the device.
#[derive(Default)]
struct Pictures {
    first: Option<Instant>,
    /// When the driver says that the last one was taken.
    taken: Option<i128>,
}

impl Pictures {
    /// Whether the next one, taken then, may say what is to be hidden now. The first may not, however
    /// old it is: nothing tells. A driver that keeps no times is believed from the second on.
    fn is_new(&mut self, taken: Option<i128>, settle: Duration) -> bool {
        let before = std::mem::replace(&mut self.taken, taken);
        let Some(first) = self.first else {
            self.first = Some(Instant::now());
            return false;
        };
        first.elapsed() >= settle && (taken.is_none() || taken != before)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::super::mask_feed::next_hidden as hidden;
    use super::super::{Captured, MaskSource};
    use super::*;
    use crate::picture::StreamInfo;
    use crate::picture::{ColourRange, Frame, FrameError, PixelFormat};

    /// For devices that keep nothing.
    const AT_ONCE: Duration = Duration::ZERO;

    type Picture = Result<Option<Captured>, CameraError>;

    /// Gives what it is told to, taken when it is told.
    struct Told {
        pictures: mpsc::Receiver<(Picture, Option<i128>)>,
        taken: Option<i128>,
    }

    impl Source for Told {
        fn describe(&self) -> String {
            "told".into()
        }

        fn next(&mut self) -> Picture {
            let picture;
            (picture, self.taken) = self.pictures.recv().unwrap_or((Ok(None), None));
            picture
        }

        fn taken(&self) -> Option<i128> {
            self.taken
        }

        fn stream(&self) -> StreamInfo {
            StreamInfo::default()
        }
    }

    #[test]
    fn its_white_is_hidden_and_everything_while_it_is_away() {
        let grey = |data: Vec<u8>| {
            let frame = Frame::new(4, 2, PixelFormat::Grey8, ColourRange::Full, data);
            Ok(Some(Captured::Frame(frame.expect("a frame"))))
        };
        let picture =
            |white: usize| grey((0..8).map(|pixel| if pixel < white { 235 } else { 16 }).collect());
        let (mut masks, feeder) = FedMask::new("device".into());
        masks.stale_after = Duration::MAX;
        let (devices, plugged) = mpsc::channel::<Told>();
        let plugged = std::sync::Mutex::new(plugged);
        let open = move || match plugged.lock().expect("alone").try_recv() {
            Ok(device) => Ok(Box::new(device) as Box<dyn Source>),
            Err(_) => Err(CameraError::Absent { path: "device".into() }),
        };
        let thread = std::thread::spawn(move || {
            feed((None, None), open, &feeder, Duration::from_millis(1), AT_ONCE)
        });
        assert_eq!(hidden(&mut masks), 8);
        for begun in [0, 100_i128] {
            // What is sent is taken before the next can be.
            let (frames, told) = mpsc::sync_channel(0);
            let send = |picture: Picture, after: i128| {
                frames.send((picture, Some(begun + after))).expect("sent");
            };
            let damaged = || Ok(Some(Captured::Damaged(FrameError::Marked)));
            devices.send(Told { pictures: told, taken: None }).expect("plugged in");
            // Of a writer that hangs, and again, and again.
            for _ in 0..3 {
                send(picture(1), 1);
            }
            send(damaged(), 1);
            assert!(masks.next(4, 2, 0).expect("a mask").is_none(), "all is hidden as before");
            // Labels, before there was any white and then.
            send(grey(vec![0, 1, 1, 0, 0, 0, 0, 0]), 2);
            send(damaged(), 2);
            match begun {
                0 => assert!(masks.next(4, 2, 0).expect("a mask").is_none(), "hidden as before"),
                _ => assert_eq!(hidden(&mut masks), 0),
            }
            send(picture(3), 3);
            assert_eq!(hidden(&mut masks), 3);
            send(damaged(), 4);
            send(picture(0), 5);
            assert_eq!(hidden(&mut masks), 0);
            let lost = CameraError::Lost { path: "device".into(), reason: "unplugged".into() };
            send(Err(lost), 6);
            assert_eq!(hidden(&mut masks), 8);
        }
        drop(masks);
        thread.join().expect("it ends when nobody wants masks");
    }

    #[test]
    fn pictures_that_the_device_had_kept_do_not_count() {
        let new = |times: &[Option<i128>], settle| {
            let mut pictures = Pictures::default();
            times.iter().map(|&taken| pictures.is_new(taken, settle)).collect::<Vec<_>>()
        };
        // A writer that was started anew may begin again with its times.
        let times = [Some(7), Some(7), Some(8), Some(8), Some(3)];
        assert_eq!(new(&times, AT_ONCE), [false, false, true, false, true]);
        assert_eq!(new(&[None, None, None], AT_ONCE), [false, true, true]);
        assert_eq!(new(&[Some(1), Some(2), Some(3)], Duration::MAX), [false, false, false]);
    }

    #[test]
    fn what_is_no_camera_is_an_error_and_one_that_is_away_may_come() {
        assert!(open(Path::new("/dev/null")).is_err());
        #[cfg(target_os = "linux")]
        assert_eq!(hidden(&mut open(Path::new("/dev/video987")).expect("waits")), 8);
    }
}
