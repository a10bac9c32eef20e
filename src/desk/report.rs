//! An evaluation's report as JSON, Markdown and one self-contained HTML page.
//!
//! The JSON has the scores of every single picture, so that others can do their own statistics.

use std::{fs, path::Path};

use serde_json::{Map, Value, json};

use super::{
    evaluate::{BUCKETS, EvaluateError, FillerReport, ModelFile, Report, Scores},
    html::{self, Chart},
    sheet::{GAP, contact_sheet},
};
use crate::{
    file::{FileError, write_atomically},
    picture::{MAX_SIDE, RgbPicture, write_png},
};

/// One of the scores.
type Score = fn(&Scores) -> f64;

/// A column of the tables: title, decimals, its value, and whether more is better.
type Column = (&'static str, i32, Score, bool);

const COLUMNS: [Column; 5] = [
    ("PSNR, dB", 2, |scores| scores.psnr, true),
    ("PSNR in the hole, dB", 2, |scores| scores.psnr_hole, true),
    ("SSIM", 4, |scores| scores.ssim, true),
    ("l1, %", 3, |scores| scores.l1 * 100.0, false),
    ("LPIPS", 4, |scores| scores.lpips.unwrap_or(f64::NAN), false),
];

impl FillerReport {
    /// Each bucket's name and scores, then the overall ones.
    fn rows(&self) -> impl Iterator<Item = (&'static str, Option<Scores>)> {
        let names = BUCKETS.iter().map(|(name, _, _)| *name);
        names.zip(self.buckets).chain([("overall", self.overall)])
    }
}

impl Report {
    /// `{"version", "models", "pictures", "images", "unreadable", "unscored", "scaled_up", "size",
    /// "masks", "lpips", "results": {filler: {"0.1-0.2": {"psnr", "psnr_hole", "ssim", "l1", "lpips",
    /// "count"}, ..., "overall": {...}}}, "scores": [{"picture", "mask", "bucket", "hole", "filler",
    /// "psnr", ...}, ...]}`. A bucket without masks has a count of 0 and nulls; a mask outside all
    /// buckets has a null for its bucket, and one that was drawn for its name. The first "lpips" is
    /// the network behind it; all are null where it was not taken.
    pub fn to_json(&self) -> Value {
        let mut results = Map::new();
        for filler in &self.fillers {
            let mut buckets = Map::new();
            for (name, scores) in filler.rows() {
                let mut entry = figures(scores.as_ref());
                entry.insert("count".to_owned(), scores.map_or(0, |scores| scores.count).into());
                buckets.insert(name.to_owned(), entry.into());
            }
            results.insert(filler.name.clone(), buckets.into());
        }
        let mut each = Vec::new();
        for trial in &self.trials {
            for (filler, scores) in self.fillers.iter().zip(&trial.scores) {
                let mut entry = Map::new();
                entry.insert("picture".to_owned(), trial.picture.clone().into());
                entry.insert("mask".to_owned(), trial.mask.clone().into());
                entry.insert("bucket".to_owned(), trial.bucket.map(|at| BUCKETS[at].0).into());
                entry.insert("hole".to_owned(), trial.hole.into());
                entry.insert("filler".to_owned(), filler.name.clone().into());
                entry.extend(figures(Some(scores)));
                each.push(Value::Object(entry));
            }
        }
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "models": self.models.iter().map(model_to_json).collect::<Vec<_>>(),
            "pictures": self.pictures,
            "images": self.images.to_string_lossy(),
            "unreadable": self.unreadable,
            "unscored": self.unscored,
            "scaled_up": self.small,
            "size": self.size.map(|(width, height)| [width, height]),
            "masks": self.masks,
            "lpips": self.lpips,
            "results": results,
            "scores": each,
        })
    }

    /// One table: a row for each bucket and filler, the best of each bucket in bold.
    pub fn to_markdown(&self) -> String {
        let mut text = format!("{}, {}.\n\n| hole | filler |", self.pictures_said(), self.masks);
        let columns = self.columns();
        columns.iter().for_each(|(title, ..)| text += &format!(" {title} |"));
        text += &format!(" count |\n|---|---|{}---|\n", "---|".repeat(columns.len()));
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

    /// Where the figures come from, the table, charts, worst cases and, if there are examples, the
    /// contact sheet.
    pub fn to_html(&self, sheet: Option<&RgbPicture>) -> String {
        let mut text = self.provenance() + &self.table() + &self.charts() + &self.worst_cases();
        if let Some(sheet) = sheet {
            let title = |title| format!("<div>{}</div>", html::escape(title));
            text += &format!(
                "<h2>Examples</h2><figure><div class=\"row\">{}</div>{}</figure>",
                self.titles().map(title).collect::<String>(),
                html::picture("examples", sheet)
            );
        }
        html::page("Inpainting report", &text)
    }

    /// How many pictures of which folder, and how many were left out or scaled up.
    fn pictures_said(&self) -> String {
        let side = self.size.map_or(0, |(width, _)| width);
        let notes = [
            (self.unreadable, "more unreadable".to_owned()),
            (self.unscored, "with nothing to fill, not scored".to_owned()),
            (self.small, format!("with a side below {side} pixels, scaled up: easier to fill")),
        ];
        let notes: Vec<_> = notes
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, note)| format!("{count} {note}"))
            .collect();
        let all = format!("{} pictures of {}", self.pictures, self.images.display());
        if notes.is_empty() { all } else { format!("{all} ({})", notes.join("; ")) }
    }

    fn provenance(&self) -> String {
        let mut text = String::from("<table>");
        let mut row = |title: &str, value: &str| {
            let value = html::escape(value);
            text += &format!("<tr><td>{title}</td><td class=\"text\">{value}</td></tr>\n");
        };
        for model in &self.models {
            let precision = model.precision.map(|name| format!(", {name}")).unwrap_or_default();
            row("model", &format!("{}{precision}, {}", model.path.display(), model.checksum));
        }
        row("pictures", &self.pictures_said());
        if let Some((width, height)) = self.size {
            row("size", &format!("{width}x{height} pixels"));
        }
        row("masks", &self.masks);
        if let Some(network) = self.lpips {
            row("LPIPS", &format!("version 0.1, {network}"));
        }
        row("program", concat!("lbam-desk ", env!("CARGO_PKG_VERSION")));
        text + "</table>\n"
    }

    fn table(&self) -> String {
        let mut text = String::from(
            "<h2>Scores</h2><p>Means over pictures of each composite against its original. Higher \
             PSNR and SSIM (structural similarity) are better, lower l1 (mean absolute difference) \
             and LPIPS (learned perceptual similarity) are; the best of each bucket is marked. In \
             full, with each picture's scores: report.json.</p>\n<p>SSIM is the mean over red, green \
             and blue, and over all places of its window, 11x11 pixels with the weights of a Gaussian of \
             sigma 1.5, that lie inside the picture. l1 is of values from 0 to 1, in per cent; PSNR \
             counts as 101 dB at most, which equal pictures get; \"overall\" takes in masks outside all \
             buckets. Other programs take other variants of SSIM, which differ by hundredths: compare \
             figures within one report only.</p>\n<table><tr><th>hole</th><th class=\"text\">filler</th>",
        );
        for (title, _, _, more) in self.columns() {
            text += &format!("<th>{title} {}</th>", if *more { "&uarr;" } else { "&darr;" });
        }
        text += "<th>count</th></tr>\n";
        let mut last = String::new();
        self.each_row(|bucket, filler, cells, count| {
            let filler = html::escape(filler);
            text += "<tr>";
            if last != bucket {
                let rows = self.fillers.len();
                text += &format!("<th scope=\"rowgroup\" rowspan=\"{rows}\">{bucket}</th>");
                bucket.clone_into(&mut last);
            }
            text += &format!("<td class=\"text\">{filler}</td>");
            for (cell, best) in cells {
                text += &match best {
                    true => format!("<td class=\"best\"><b>{cell}</b></td>"),
                    false => format!("<td>{cell}</td>"),
                };
            }
            text += &format!("<td>{count}</td></tr>\n");
        });
        text + "</table>\n"
    }

    /// Each column of the table by bucket.
    fn charts(&self) -> String {
        let chart = |(measured, _, value, _): &Column| {
            let of = |filler: &FillerReport| {
                filler.buckets.iter().map(|scores| scores.as_ref().map(value)).collect()
            };
            let lines: Vec<_> =
                self.fillers.iter().map(|filler| (filler.name.as_str(), of(filler))).collect();
            let positions = BUCKETS.map(|(name, _, _)| name);
            Chart { measured, along: "share of hole", positions: &positions, lines: &lines }.svg()
        };
        let charts: String = self.columns().iter().map(chart).collect();
        format!("<h2>By share of hole</h2><div class=\"charts\">{charts}</div>\n")
    }

    fn worst_cases(&self) -> String {
        let (Some(first), false) = (self.fillers.first(), self.worst.is_empty()) else {
            return String::new();
        };
        let mut text = format!(
            "<h2>Worst cases</h2><p>The pictures on which {} has the lowest PSNR in the hole, each \
             with the mask on which it has it; the lowest first.</p>\n",
            html::escape(&first.name)
        );
        for case in &self.worst {
            // Of input, each filler's, original: the two ends have no scores.
            let scores = case.trial.scores.iter().map(|scores| self.scores_below(scores));
            let below = [String::new()].into_iter().chain(scores).chain([String::new()]);
            let cell = |((title, shown), below): ((&str, &RgbPicture), String)| {
                let (width, title) = (shown.width, html::escape(title));
                let picture = html::picture("", shown);
                format!("<div style=\"width:{width}px\">{picture}<br>{title}{below}</div>")
            };
            let cells: String = self.titles().zip(&case.row).zip(below).map(cell).collect();
            let mask = case.trial.mask.iter().map(|name| format!(", mask: {}", html::escape(name)));
            text += &format!(
                "<figure><figcaption><b>{}</b>, hole: {:.1} %{}</figcaption>\
                 <div class=\"cells\">{cells}</div></figure>\n",
                html::escape(&case.trial.picture),
                case.trial.hole * 100.0,
                mask.collect::<String>(),
            );
        }
        text
    }

    /// The names of a row's pictures.
    fn titles(&self) -> impl Iterator<Item = &str> {
        let names = self.fillers.iter().map(|filler| filler.name.as_str());
        ["input"].into_iter().chain(names).chain(["original"])
    }

    /// Writes `report.json`, `report.md`, `report.html` and, if there are examples, `sheet.png`
    /// into `folder`, which is made if need be.
    pub fn write(&self, folder: &Path) -> Result<(), EvaluateError> {
        let failed = |path: &Path, source| EvaluateError::Write { path: path.to_owned(), source };
        fs::create_dir_all(folder).map_err(|source| failed(folder, source))?;
        let write = |name: &str, content: String| {
            let path = folder.join(name);
            write_atomically(&path, content.as_bytes()).map_err(|error| match error {
                FileError::Write { source, .. } => failed(&path, source),
                other => failed(&path, std::io::Error::other(other)),
            })
        };
        let is_again = folder.join("report.json").is_file();
        write("report.json", format!("{:#}\n", self.to_json()))?;
        write("report.md", self.to_markdown())?;
        let sheet = self.sheet()?;
        let place = folder.join("sheet.png");
        match &sheet {
            Some(sheet) => write_png(&place, sheet)?,
            // That of the report before, which is replaced.
            None if is_again && place.is_file() => {
                fs::remove_file(&place).map_err(|source| failed(&place, source))?;
            }
            None => {}
        }
        write("report.html", self.to_html(sheet.as_ref()))
    }

    /// The examples side by side, of large pictures as many rows as a picture may be high; `None`
    /// where there are none, or a row is too wide.
    fn sheet(&self) -> Result<Option<RgbPicture>, EvaluateError> {
        let all = || self.examples.iter().flatten();
        let cell = |side: fn(&RgbPicture) -> usize| all().map(side).max().unwrap_or(0) + GAP;
        let columns = self.examples.iter().map(Vec::len).max().unwrap_or(0);
        if columns == 0 {
            return Ok(None);
        }
        let width = columns * cell(|picture| picture.width) + GAP;
        if width > MAX_SIDE {
            log::warn!("no contact sheet: it would be {width} pixels wide; try a smaller --size");
            return Ok(None);
        }
        let rows = (MAX_SIDE - GAP) / cell(|picture| picture.height);
        let rows = &self.examples[..rows.clamp(1, self.examples.len())];
        Ok(Some(contact_sheet(rows, GAP)?))
    }

    /// The columns that were measured.
    fn columns(&self) -> &'static [Column] {
        &COLUMNS[..COLUMNS.len() - usize::from(self.lpips.is_none())]
    }

    /// A composite's scores, a line each.
    fn scores_below(&self, scores: &Scores) -> String {
        let line = |(title, decimals, value, _): &Column| {
            let (name, unit) = title.split_once(", ").unwrap_or((title, ""));
            format!("<br>{name} {:.1$} {unit}", value(scores), *decimals as usize)
        };
        self.columns().iter().map(line).collect()
    }

    /// Calls `row` with bucket, filler, its cells (and whether each is its bucket's best)
    /// and the count, bucket by bucket.
    fn each_row(&self, mut row: impl FnMut(&str, &str, &[(String, bool)], usize)) {
        for at in 0..=BUCKETS.len() {
            let rows: Vec<_> = self.fillers.iter().filter_map(|f| f.rows().nth(at)).collect();
            for (filler, (bucket, scores)) in self.fillers.iter().zip(&rows) {
                let cell = |&(_, decimals, value, more): &Column| {
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
                };
                let cells: Vec<_> = self.columns().iter().map(cell).collect();
                row(bucket, &filler.name, &cells, scores.map_or(0, |scores| scores.count));
            }
        }
    }
}

/// Scores under their names in the JSON; nulls where there are none.
fn figures(scores: Option<&Scores>) -> Map<String, Value> {
    let values = [
        ("psnr", scores.map(|scores| scores.psnr)),
        ("psnr_hole", scores.map(|scores| scores.psnr_hole)),
        ("ssim", scores.map(|scores| scores.ssim)),
        ("l1", scores.map(|scores| scores.l1)),
        ("lpips", scores.and_then(|scores| scores.lpips)),
    ];
    values.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect()
}

fn model_to_json(model: &ModelFile) -> Value {
    json!({
        "filler": model.filler,
        "path": model.path.to_string_lossy(),
        "precision": model.precision,
        "checksum": model.checksum,
    })
}
