//! Natural order of file names: `2.png` before `10.png`.

use std::cmp::Ordering;
use std::path::{Path, PathBuf};

use crate::picture::is_picture_name;

/// The pictures of a folder in natural order. Hidden files and other kinds are left out.
///
/// # Errors
/// Also where one is no file, as a link that leads nowhere: without it all behind it would be in the
/// place of others.
pub(super) fn pictures_in(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let Some(name) = path.file_name() else { continue };
        if is_picture_name(&path) {
            if !path.is_file() {
                let reason = format!("{} in it is no file", name.to_string_lossy());
                return Err(std::io::Error::other(reason));
            }
            found.push((name.to_string_lossy().into_owned(), path));
        }
    }
    found.sort_by(|(a, _), (b, _)| compare(a, b));
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

/// Compares runs of digits by their value and everything else byte by byte.
fn compare(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a.as_bytes(), b.as_bytes());
    while let (Some(&l), Some(&r)) = (left.first(), right.first()) {
        if l.is_ascii_digit() && r.is_ascii_digit() {
            let (l_run, l_rest) = digits(left);
            let (r_run, r_rest) = digits(right);
            // Without leading zeros the longer run is the larger number, of any length.
            let order = l_run.len().cmp(&r_run.len()).then_with(|| l_run.cmp(r_run));
            if order != Ordering::Equal {
                return order;
            }
            (left, right) = (l_rest, r_rest);
        } else if l != r {
            return l.cmp(&r);
        } else {
            (left, right) = (&left[1..], &right[1..]);
        }
    }
    // `1.png` and `01.png` have equal numbers: fall back to the bytes, so that the order is total.
    left.len().cmp(&right.len()).then_with(|| a.cmp(b))
}

/// The last number in a file's name, before its ending.
pub(super) fn number_of(path: &Path) -> Option<u64> {
    let stem =
        path.file_stem()?.to_str()?.trim_end_matches(|letter: char| !letter.is_ascii_digit());
    let digits = stem.bytes().rev().take_while(u8::is_ascii_digit).count();
    stem[stem.len() - digits..].parse().ok()
}

fn digits(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|b| !b.is_ascii_digit()).unwrap_or(text.len());
    let zeros = text[..end].iter().take_while(|&&b| b == b'0').count().min(end - 1);
    (&text[zeros..end], &text[end..])
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{compare, number_of};

    #[test]
    fn the_last_number_of_a_name_counts() {
        let number = |name| number_of(Path::new(name));
        assert_eq!(number("a/cam2_0013_mask.png"), Some(13));
        assert_eq!((number("2/sky.png"), number("")), (None, None));
        assert_eq!(number("99999999999999999999999.png"), None);
    }

    #[test]
    fn numbers_count() {
        let mut names = vec!["b1", "a10.png", "a2.png", "a02.png", "a1.png", "a", "a1b3", "a1b20"];
        names.sort_by(|a, b| compare(a, b));
        assert_eq!(names, ["a", "a1.png", "a1b3", "a1b20", "a02.png", "a2.png", "a10.png", "b1"]);
    }

    #[test]
    fn very_long_numbers_do_not_overflow() {
        let (a, b) = ("9".repeat(60), "1".to_string() + &"0".repeat(60));
        assert!(compare(&a, &b).is_lt());
    }
}
