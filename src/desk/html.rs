//! Self-contained HTML pages: style and pictures lie inside, so that one file can be mailed.

use base64::{Engine, prelude::BASE64_STANDARD};
use image::{ExtendedColorType, ImageEncoder, codecs::png::PngEncoder};

use crate::picture::RgbPicture;

const STYLE: &str = "body{font:16px sans-serif;margin:2em auto;max-width:70em;padding:0 1em}\
    table{border-collapse:collapse}td,th{padding:.3em .8em;border-bottom:1px solid #ccc;\
    text-align:right}td:first-child,th:first-child,td.text{text-align:left}img{max-width:100%}\
    tr.worst{background:#fdd}figure{margin:1em 0}";

/// A whole page; `title` is text, `body` HTML.
pub fn page(title: &str, body: &str) -> String {
    let title = escape(title);
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{title}</title>\
         <style>{STYLE}</style><h1>{title}</h1>\n{body}</html>\n"
    )
}

/// Text as HTML.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A picture as an element that holds it.
pub fn picture(alt: &str, picture: &RgbPicture) -> String {
    let mut png = Vec::new();
    PngEncoder::new(&mut png)
        .write_image(
            &picture.data,
            picture.width as u32,
            picture.height as u32,
            ExtendedColorType::Rgb8,
        )
        .expect("a picture has three bytes a pixel, and memory takes them");
    let data = BASE64_STANDARD.encode(png);
    format!("<img alt=\"{}\" src=\"data:image/png;base64,{data}\">", escape(alt))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_holds_its_pictures_and_escapes_its_text() {
        let small = RgbPicture::new(2, 1, vec![1, 2, 3, 250, 251, 252]).unwrap();
        let element = picture("a \"b\"", &small);
        let page = page("<x>", &element);
        assert!(page.contains("<h1>&lt;x&gt;</h1>") && page.contains("alt=\"a &quot;b&quot;\""));
        let data = page.split("base64,").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
        let png = BASE64_STANDARD.decode(data).unwrap();
        assert_eq!(image::load_from_memory(&png).unwrap().into_rgb8().into_raw(), small.data);
    }
}
