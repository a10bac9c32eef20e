//! An evaluation's report as JSON, Markdown and one self-contained HTML page.

use std::{fs, path::Path};

use serde_json::{Map, Value, json};

use super::{BUCKETS, EvaluateError, FillerReport, Report, Scores};
use crate::{
    desk::html,
    desk::sheet::{GAP, contact_sheet},
    picture::{RgbPicture, write_png},
};

/// A column of the tables: title, decimals, its value, and whether more is better.
type Column = (&'static str, i32, fn(&Scores) -> f64, bool);

const COLUMNS: [Column; 4] = [
    ("PSNR, dB", 2, |scores| scores.psnr, true),
    ("PSNR in the hole, dB", 2, |scores| scores.psnr_hole, true),
    ("SSIM", 4, |scores| scores.ssim, true),
    ("l1, %", 3, |scores| scores.l1 * 100.0, false),
];

impl FillerReport {
    /// Each bucket's name and scores, then the overall ones.
    fn rows(&self) -> impl Iterator<Item = (&'static str, Option<Scores>)> {
        let names = BUCKETS.iter().map(|(name, _, _)| *name);
        names.zip(self.buckets).chain([("overall", self.overall)])
    }
}

impl Report {
    /// `{"pictures", "masks", "results": {filler: {"0.1-0.2": {"psnr", "psnr_hole", "ssim", "l1",
    /// "count"}, ..., "overall": {...}}}}`. A bucket without masks has a count of 0 and nulls.
    pub fn to_json(&self) -> Value {
        let mut results = Map::new();
        for filler in &self.fillers {
            let mut buckets = Map::new();
            for (name, scores) in filler.rows() {
                buckets.insert(
                    name.to_owned(),
                    json!({
                        "psnr": scores.map(|scores| scores.psnr),
                        "psnr_hole": scores.map(|scores| scores.psnr_hole),
                        "ssim": scores.map(|scores| scores.ssim),
                        "l1": scores.map(|scores| scores.l1),
                        "count": scores.map_or(0, |scores| scores.count),
                    }),
                );
            }
            results.insert(filler.name.clone(), Value::Object(buckets));
        }
        json!({ "pictures": self.pictures, "masks": self.masks, "results": results })
    }

    /// One table: a row for each bucket and filler, the best of each bucket in bold.
    pub fn to_markdown(&self) -> String {
        let mut text = format!("{} pictures, {}.\n\n| hole | filler |", self.pictures, self.masks);
        COLUMNS.iter().for_each(|(title, ..)| text += &format!(" {title} |"));
        text += " count |\n|---|---|---|---|---|---|---|\n";
        self.each_row(|bucket, filler, cells, count| {
            // A pipe would end the cell.
            text += &format!("| {bucket} | {} |", filler.replace('|', "\\|"));
            for (cell, best) in cells {
                text += &if *best { format!(" **{cell}** |") } else { format!(" {cell} |") };
            }
            text += &format!(" {count} |\n");
        });
        text
    }

    /// The tables and, if there are examples, the contact sheet with the columns' names.
    pub fn to_html(&self, sheet: Option<&RgbPicture>) -> String {
        let mut text =
            format!("<p>{} pictures, {}.</p><table><tr>", self.pictures, html::escape(&self.masks));
        let titles = COLUMNS.iter().map(|(title, ..)| *title);
        for title in ["hole", "filler"].into_iter().chain(titles).chain(["count"]) {
            text += &format!("<th>{title}</th>");
        }
        self.each_row(|bucket, filler, cells, count| {
            let filler = html::escape(filler);
            text += &format!("<tr><td>{bucket}</td><td class=\"text\">{filler}</td>");
            for (cell, best) in cells {
                let (open, close) = if *best { ("<b>", "</b>") } else { ("", "") };
                text += &format!("<td>{open}{cell}{close}</td>");
            }
            text += &format!("<td>{count}</td></tr>\n");
        });
        text += "</table>";
        if let Some(sheet) = sheet {
            let names: Vec<_> =
                self.fillers.iter().map(|filler| html::escape(&filler.name)).collect();
            text += &format!(
                "<h2>Examples</h2><p>From left to right: input, {}, original.</p>{}",
                names.join(", "),
                html::picture("examples", sheet)
            );
        }
        html::page("Inpainting report", &text)
    }

    /// Writes `report.json`, `report.md`, `report.html` and, if there are examples, `sheet.png`
    /// into `folder`, which is made if need be.
    pub fn write(&self, folder: &Path) -> Result<(), EvaluateError> {
        let failed = |path: &Path, source| EvaluateError::Write { path: path.to_owned(), source };
        fs::create_dir_all(folder).map_err(|source| failed(folder, source))?;
        let mut sheet = None;
        if !self.examples.is_empty() {
            let picture = sheet.insert(contact_sheet(&self.examples, GAP)?);
            write_png(&folder.join("sheet.png"), picture)?;
        }
        for (name, content) in [
            ("report.json", format!("{:#}\n", self.to_json())),
            ("report.md", self.to_markdown()),
            ("report.html", self.to_html(sheet.as_ref())),
        ] {
            let path = folder.join(name);
            fs::write(&path, content).map_err(|source| failed(&path, source))?;
        }
        Ok(())
    }

    /// Calls `row` with bucket, filler, the four cells (and whether each is its bucket's best)
    /// and the count, bucket by bucket.
    fn each_row(&self, mut row: impl FnMut(&str, &str, &[(String, bool)], usize)) {
        for at in 0..=BUCKETS.len() {
            let rows: Vec<_> = self.fillers.iter().filter_map(|f| f.rows().nth(at)).collect();
            for (filler, (bucket, scores)) in self.fillers.iter().zip(&rows) {
                let cells = COLUMNS.map(|(_, decimals, value, more)| {
                    let Some(own) = scores.as_ref().map(value) else {
                        return ("-".to_owned(), false);
                    };
                    // Of what is shown: a difference that is not seen makes nobody best.
                    let shown = |scores: &Scores| (value(scores) * 10_f64.powi(decimals)).round();
                    let own_shown = scores.as_ref().map(shown).unwrap_or_default();
                    let mut others = rows.iter().filter_map(|(_, s)| s.as_ref().map(shown));
                    let best = others
                        .all(|other| if more { own_shown >= other } else { own_shown <= other });
                    let decimals = decimals as usize;
                    (format!("{own:.decimals$}"), best && self.fillers.len() > 1)
                });
                row(bucket, &filler.name, &cells, scores.map_or(0, |scores| scores.count));
            }
        }
    }
}
