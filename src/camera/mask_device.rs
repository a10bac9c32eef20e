//! Masks from a V4L2 device: the luma of what it gives, white to be filled. Another program paints
//! them through v4l2loopback, or a camera of its own sees them.

use std::path::Path;
use std::time::Duration;

use super::mask_feed::{FedMask, Feeder};
use super::{
    CameraError, CameraFormat, CameraWish, MaskSourceError, Source, SourceSpec, open_with,
};
use crate::picture::{Mask, PictureError, Pool};

/// Between two looks whether the device has come back.
const RETRY: Duration = Duration::from_millis(500);

/// A device that is away or in use may come; until then all is hidden.
pub(super) fn open(path: &Path) -> Result<FedMask, MaskSourceError> {
    let spec = SourceSpec::Device(path.into());
    let wish = CameraWish { format: Some(CameraFormat::Grey), size: None };
    let open = move || open_with(&spec, &wish);
    let device = match open() {
        Ok(device) => Some(device),
        Err(error) if error.may_pass() => {
            log::warn!("masks: {error}");
            None
        }
        Err(error) => return Err(error.into()),
    };
    let (masks, feeder) = FedMask::new(path.display().to_string());
    std::thread::Builder::new()
        .name("masks".into())
        .spawn(move || feed(device, open, &feeder, RETRY))
        .map_err(|source| MaskSourceError::Read { path: path.into(), source })?;
    Ok(masks)
}

/// Until nobody wants masks any more.
fn feed(
    mut device: Option<Box<dyn Source>>,
    open: impl Fn() -> Result<Box<dyn Source>, CameraError>,
    feeder: &Feeder,
    retry: Duration,
) {
    let pool = Pool::default();
    while feeder.is_wanted() {
        let Some(opened) = &mut device else {
            std::thread::sleep(retry);
            device = open().ok();
            if let Some(device) = &device {
                log::info!("masks: {}", device.describe());
            }
            continue;
        };
        match opened.next() {
            Ok(Some(captured)) => {
                let mask = captured.decode(&pool).map_err(PictureError::from);
                // A damaged one is passed over: it is for their age that masks stop to count.
                if let Ok(mask) = mask.and_then(|frame| Mask::from_frame(&frame)) {
                    feeder.give(mask);
                }
            }
            ended => {
                if let Err(error) = ended {
                    log::warn!("masks: {error}");
                }
                feeder.lose();
                device = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::super::mask_feed::next_hidden as hidden;
    use super::super::{Captured, StreamInfo};
    use super::*;
    use crate::picture::{ColourRange, Frame, FrameError, PixelFormat};

    /// Gives what it is told to.
    struct Told(mpsc::Receiver<Result<Option<Captured>, CameraError>>);

    impl Source for Told {
        fn describe(&self) -> String {
            "told".into()
        }

        fn next(&mut self) -> Result<Option<Captured>, CameraError> {
            self.0.recv().unwrap_or(Ok(None))
        }

        fn is_live(&self) -> bool {
            true
        }

        fn stream(&self) -> StreamInfo {
            StreamInfo::default()
        }
    }

    #[test]
    fn its_white_is_hidden_and_everything_while_it_is_away() {
        let picture = |white: usize| {
            let data = (0..8).map(|pixel| if pixel < white { 235 } else { 16 }).collect();
            let frame = Frame::new(4, 2, PixelFormat::Grey8, ColourRange::Full, data);
            Ok(Some(Captured::Frame(frame.expect("a frame"))))
        };
        let (mut masks, feeder) = FedMask::new("device".into());
        masks.stale_after = Duration::MAX;
        let (devices, plugged) = mpsc::channel::<Told>();
        let plugged = std::sync::Mutex::new(plugged);
        let open = move || match plugged.lock().expect("alone").try_recv() {
            Ok(device) => Ok(Box::new(device) as Box<dyn Source>),
            Err(_) => Err(CameraError::Absent { path: "device".into() }),
        };
        let thread =
            std::thread::spawn(move || feed(None, open, &feeder, Duration::from_millis(1)));
        assert_eq!(hidden(&mut masks), 8);
        for _ in 0..2 {
            let (frames, told) = mpsc::channel();
            devices.send(Told(told)).expect("plugged in");
            frames.send(picture(3)).expect("sent");
            assert_eq!(hidden(&mut masks), 3);
            frames.send(Ok(Some(Captured::Damaged(FrameError::Marked)))).expect("sent");
            frames.send(picture(0)).expect("sent");
            assert_eq!(hidden(&mut masks), 0);
            let lost = CameraError::Lost { path: "device".into(), reason: "unplugged".into() };
            frames.send(Err(lost)).expect("sent");
            assert_eq!(hidden(&mut masks), 8);
        }
        drop(masks);
        thread.join().expect("it ends when nobody wants masks");
    }

    #[test]
    fn what_is_no_camera_is_an_error_and_one_that_is_away_may_come() {
        assert!(open(Path::new("/dev/null")).is_err());
        #[cfg(target_os = "linux")]
        assert_eq!(hidden(&mut open(Path::new("/dev/video987")).expect("waits")), 8);
    }
}
