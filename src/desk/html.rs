//! Self-contained HTML pages: style and pictures lie inside, so that one file can be mailed.

use base64::{Engine, prelude::BASE64_STANDARD};
use image::{ExtendedColorType, ImageEncoder, codecs::png::PngEncoder};

use crate::picture::RgbPicture;

const STYLE: &str = "\
    :root{color-scheme:light dark;--rule:#ccc;--bad:#fdd;--good:#dcf0dc;--c0:#0072b2;--c1:#d55e00;\
    --c2:#00875f;--c3:#b8408a;--c4:#7a5c00;--c5:#6a3fc0;--c6:#c02020;--c7:#666}\
    @media(prefers-color-scheme:dark){:root{--rule:#555;--bad:#622;--good:#1e421e;--c0:#5ab4f0;\
    --c1:#ff9a4a;--c2:#3fd0a0;--c3:#f0a0d0;--c4:#e8d050;--c5:#b8a0ff;--c6:#ff7878;--c7:#b0b0b0}}\
    body{font:16px sans-serif;margin:2em auto;max-width:70em;padding:0 1em;overflow-wrap:anywhere}\
    table{border-collapse:collapse;overflow-wrap:normal}td:not(.text),th[scope]{white-space:nowrap}\
    td.text{overflow-wrap:anywhere;min-width:9em}td,th{padding:.3em .8em;border-bottom:1px solid var(--rule);\
    text-align:right}td:first-child,th:first-child,td.text,th.text{text-align:left}\
    th[scope=rowgroup]{vertical-align:top;font-weight:normal}td.best{background:var(--good)}\
    tr.worst{background:var(--bad)}img{max-width:100%}figure{margin:1em 0;width:fit-content}\
    .charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(26em,100%),1fr));gap:2em}\
    .row{display:grid;grid-auto-flow:column;grid-auto-columns:minmax(0,1fr);gap:.3em;\
    text-align:center;font-size:.85em}\
    .cells{display:flex;flex-wrap:wrap;gap:.6em .3em;text-align:center;font-size:.85em}\
    .cells>div{min-width:9em;max-width:min(24em,100%)}";

/// Colours that the style has, `--c0` on.
const COLOURS: usize = 8;
/// Dashes as well: lines that lie on each other and greys in print stay apart. Of another number than
/// models have lines, so that not all of one model's look alike.
const DASHES: [&str; 5] = ["", "7 4", "2 3", "10 3 2 3", "14 4"];

/// A line chart over named positions.
pub struct Chart<'a> {
    /// What is measured, and its unit.
    pub measured: &'a str,
    /// What the positions are.
    pub along: &'a str,
    /// The positions' names.
    pub positions: &'a [&'a str],
    /// Lines; one is broken where it has no value.
    pub lines: &'a [(&'a str, Vec<Option<f64>>)],
}

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

impl Chart<'_> {
    /// As an `svg` element in the page's colours, light or dark. The vertical axis need not begin
    /// at 0: what is compared is often far from it. Nothing where there is no value.
    pub fn svg(&self) -> String {
        const WIDTH: f64 = 460.0;
        const LEFT: f64 = 66.0;
        const BOTTOM: f64 = 210.0;
        const TOP: f64 = 12.0;
        const LEGEND: f64 = BOTTOM + 66.0;
        let values = || self.lines.iter().flat_map(|(_, values)| values.iter().flatten());
        let (low, high) = values()
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), &v| (low.min(v), high.max(v)));
        if !(low.is_finite() && high.is_finite()) {
            return String::new();
        }
        let step = tick(high - low);
        let (first, last) = ((low / step).floor(), (high / step).ceil());
        let last = last.max(first + 1.0);
        let x = |at: usize| {
            LEFT + (at as f64 + 0.5) * (WIDTH - LEFT) / self.positions.len().max(1) as f64
        };
        let y = |value: f64| BOTTOM - (value / step - first) / (last - first) * (BOTTOM - TOP);
        let (measured, along) = (escape(self.measured), escape(self.along));
        let height = LEGEND + 20.0 * self.lines.len() as f64;
        let mut svg = format!(
            "<svg role=\"img\" viewBox=\"0 0 {WIDTH} {height}\" font-size=\"13\" \
             fill=\"currentColor\"><title>{measured} by {along}</title>\n"
        );
        let decimals = (-step.log10().floor()).max(0.0) as usize;
        for tick in first as i64..=last as i64 {
            let value = tick as f64 * step;
            let (at, label) = (y(value), LEFT - 8.0);
            svg += &format!(
                "<path d=\"M{LEFT} {at:.1}H{WIDTH}\" style=\"stroke:var(--rule)\"/>\
                 <text x=\"{label}\" y=\"{:.1}\" text-anchor=\"end\">{value:.decimals$}</text>\n",
                at + 4.0
            );
        }
        for (at, name) in self.positions.iter().enumerate() {
            let (x, y, name) = (x(at), BOTTOM + 20.0, escape(name));
            svg += &format!("<text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\">{name}</text>\n");
        }
        let (middle, centre) = ((LEFT + WIDTH) / 2.0, (TOP + BOTTOM) / 2.0);
        svg += &format!(
            "<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">{along}</text>\
             <text transform=\"translate(14 {centre})rotate(-90)\" text-anchor=\"middle\">\
             {measured}</text>\n",
            BOTTOM + 40.0
        );
        for (index, (name, values)) in self.lines.iter().enumerate() {
            let (name, dash) = (escape(name), DASHES[index % DASHES.len()]);
            let (mut line, mut dots, mut pen) = (String::new(), String::new(), 'M');
            for (at, value) in values.iter().enumerate() {
                let Some(value) = value else {
                    pen = 'M';
                    continue;
                };
                let (x, y) = (x(at), y(*value));
                line += &format!("{pen}{x:.1} {y:.1}");
                pen = 'L';
                let place = self.positions.get(at).map(|name| escape(name)).unwrap_or_default();
                dots += &format!(
                    "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\">\
                     <title>{name}, {place}: {value:.decimals$}</title></circle>",
                    decimals = decimals + 2
                );
            }
            let at = LEGEND + 20.0 * index as f64;
            svg += &format!(
                "<g style=\"color:var(--c{})\"><path d=\"{line}M{LEFT} {at}h36\" fill=\"none\" \
                 stroke=\"currentColor\" stroke-width=\"2\" stroke-dasharray=\"{dash}\"/>{dots}</g>\
                 <text x=\"{}\" y=\"{}\">{name}</text>\n",
                index % COLOURS,
                LEFT + 44.0,
                at + 4.0
            );
        }
        svg + "</svg>\n"
    }
}

/// A round distance of ticks, about five over `span`.
fn tick(span: f64) -> f64 {
    let span = if span > 0.0 { span } else { 1.0 };
    let power = 10_f64.powf((span / 5.0).log10().floor());
    [1.0, 2.0, 5.0]
        .map(|times| times * power)
        .into_iter()
        .find(|step| step * 5.0 >= span)
        .unwrap_or(10.0 * power)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Elements in order, as `name` and `/name`; fails where the text is not well-formed XML.
    fn elements(xml: &str) -> Vec<String> {
        let (mut open, mut all) = (Vec::new(), Vec::new());
        for (index, part) in xml.split('<').enumerate() {
            let (tag, text) = match part.split_once('>') {
                Some(both) if index > 0 => both,
                _ => ("", part),
            };
            assert!(!text.contains('>'), "{text}");
            for content in [tag, text] {
                for entity in content.split('&').skip(1) {
                    let name = entity.split(';').next().unwrap_or_default();
                    assert!(["amp", "lt", "gt", "quot"].contains(&name), "&{entity}");
                }
            }
            if tag.is_empty() {
                continue;
            }
            let name = tag.trim_end_matches('/').split(' ').next().unwrap_or_default();
            // Outside quotes, what remains of attributes is `name=`.
            assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
            for bare in tag.split('"').step_by(2).collect::<String>().split_whitespace().skip(1) {
                assert!(bare.ends_with('=') || bare == "/" || bare.ends_with("=/"), "{tag}");
            }
            match name.strip_prefix('/') {
                Some(name) => assert_eq!(open.pop(), Some(name)),
                None if tag.ends_with('/') => {}
                None => open.push(name),
            }
            all.push(name.to_owned());
        }
        assert!(open.is_empty(), "{open:?}");
        all
    }

    /// The numbers of an attribute, wherever it stands.
    fn numbers(svg: &str, attribute: &str) -> Vec<f64> {
        let attribute = format!(" {attribute}=\"");
        let value = |rest: &str| rest.split('"').next().and_then(|value| value.parse().ok());
        svg.split(attribute.as_str()).skip(1).filter_map(value).collect()
    }

    #[test]
    fn charts_are_well_formed_escaped_and_to_scale() {
        let lines = [
            ("a<b & \"c\"", vec![Some(10.0), None, Some(30.0)]),
            ("flat", vec![Some(20.0), Some(20.0), Some(20.0)]),
        ];
        let positions = ["low", "<mid>", "high"];
        let svg =
            Chart { measured: "PSNR, dB", along: "hole", positions: &positions, lines: &lines }
                .svg();
        let elements = elements(&svg);
        assert_eq!(elements.first().map(String::as_str), Some("svg"));
        assert!(svg.contains(">a&lt;b &amp; &quot;c&quot;</text>"), "{svg}");
        for text in [">PSNR, dB</text>", ">hole</text>", ">&lt;mid&gt;</text>", ">flat</text>"] {
            assert!(svg.contains(text), "{text}: {svg}");
        }
        let (x, y) = (numbers(&svg, "cx"), numbers(&svg, "cy"));
        assert_eq!(y.len(), 5, "a dot for each value");
        assert!(y[0] > y[2] && y[1] < y[2], "more is higher up: {y:?}");
        assert!((y[0] + y[1] - 2.0 * y[2]).abs() < 0.2, "20 is half way of 10 and 30: {y:?}");
        assert!(x[0] == x[2] && x[1] == x[4] && x[2] < x[3], "{x:?}");
        // The first line is broken in the middle: two moves, and one to the legend.
        let path = svg.split("<g ").nth(1).unwrap();
        let path = path.split("d=\"").nth(1).unwrap().split('"').next().unwrap();
        assert_eq!((path.matches('M').count(), path.matches('L').count()), (3, 0), "{path}");
    }

    #[test]
    fn charts_take_any_values() {
        let chart = |values: Vec<Option<f64>>| {
            Chart { measured: "m", along: "a", positions: &["p", "q"], lines: &[("l", values)] }
                .svg()
        };
        assert_eq!(chart(vec![None, None]), "");
        for (low, high) in [(0.0, 0.0), (101.0, 101.0), (0.8712, 0.8713), (-3.0, 4e5)] {
            let svg = chart(vec![Some(low), Some(high)]);
            elements(&svg);
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
            assert!(numbers(&svg, "cy").iter().all(|y| (12.0..=210.0).contains(y)), "{svg}");
        }
    }

    #[test]
    fn ticks_are_round() {
        for (span, wanted) in [(0.0, 0.2), (1.0, 0.2), (4.9, 1.0), (5.1, 2.0), (30.0, 10.0)] {
            assert!((tick(span) - wanted).abs() < 1e-9, "{span}: {}", tick(span));
        }
    }

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
