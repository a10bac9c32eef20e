//! Tests of the evaluation.

use super::*;
use crate::desk::telea::{mean_colour, telea};

fn samples(count: u8) -> Vec<Sample> {
    let sample = |index: u8| {
        let pixel = |at: usize| ((at % 32) * 5 + (at / 32) * (1 + usize::from(index) % 3)) as u8;
        let data = (0..32 * 32).flat_map(|at| [pixel(at), pixel(at / 2), index]).collect();
        let (name, place) = (format!("{index}"), usize::from(index));
        Sample { name, place, picture: RgbPicture::new(32, 32, data).unwrap() }
    };
    (0..count).map(sample).collect()
}

fn all_of(samples: &[Sample]) -> Samples {
    Samples { folder: "photos".into(), list: samples.to_vec(), unreadable: 0, small: 0 }
}

fn in_turn(masks: Vec<Mask>) -> Masks {
    let named = |(at, mask): (usize, Mask)| (format!("m/{at}"), mask);
    let masks = masks.into_iter().enumerate().map(named).collect();
    Masks::Given(GivenMasks { folder: "holes".into(), by_name: false, masks })
}

fn run(samples: &[Sample], masks: &Masks, fillers: &mut [(&str, &mut Filler)]) -> Report {
    evaluate(&all_of(samples), masks, fillers, None, 3, &mut |_, _| ()).unwrap()
}

/// Against figures worked out by hand: half of the picture is off by 10 levels.
#[test]
fn scores_are_the_definitions() {
    let grey: Vec<u8> = (0..32 * 32).map(|at| if at < 512 { 255 } else { 0 }).collect();
    let masks = in_turn(vec![Mask::from_grey(32, 32, &grey).unwrap()]);
    let data = vec![100; 3 * 32 * 32];
    let picture = RgbPicture::new(32, 32, data).unwrap();
    let samples = [Sample { name: "grey".into(), place: 0, picture }];
    // What it says of known pixels must not matter.
    let mut off = |picture: &RgbPicture, _: &Mask| {
        Ok(RgbPicture { data: vec![110; picture.data.len()], ..*picture })
    };
    let report = run(&samples, &masks, &mut [("off", &mut off)]);
    let filler = &report.fillers[0];
    assert!(filler.buckets[..3].iter().all(Option::is_none));
    assert_eq!(filler.buckets[3], filler.overall, "half is of the bucket up to 0.5");
    let scores = filler.overall.unwrap();
    let in_hole = 20.0 * (255.0_f64 / 10.0).log10();
    // Rounding of f64 alone.
    let near = |a: f64, b: f64| (a - b).abs() < 1e-9;
    assert!(near(scores.psnr_hole, in_hole), "{scores:?}");
    assert!(near(scores.psnr, in_hole + 10.0 * 2.0_f64.log10()), "{scores:?}");
    assert!(near(scores.l1, 5.0 / 255.0), "{scores:?}");
    assert!(scores.ssim < 1.0 && scores.count == 1, "{scores:?}");
}

/// Gives the originals, each for four masks.
fn perfect(
    samples: &[Sample],
) -> impl FnMut(&RgbPicture, &Mask) -> Result<RgbPicture, FillError> + use<> {
    let originals = samples.to_vec();
    let mut turn = 0;
    move |_, _| {
        turn += 1;
        Ok(originals[(turn - 1) / 4].picture.clone())
    }
}

#[test]
fn each_picture_meets_each_bucket_and_the_perfect_filler_wins() {
    let samples = samples(5);
    let mut perfect = perfect(&samples);
    let mut telea = |picture: &RgbPicture, mask: &Mask| Ok(telea(picture, mask)?);
    let mut mean = |picture: &RgbPicture, mask: &Mask| Ok(mean_colour(picture, mask)?);
    let mut told = Vec::new();
    let report = evaluate(
        &all_of(&samples),
        &Masks::Seed(3),
        &mut [("perfect", &mut perfect), ("telea", &mut telea), ("mean", &mut mean)],
        None,
        3,
        &mut |done, all| told.push((done, all)),
    )
    .unwrap();
    assert_eq!((told.len(), told.last().copied()), (20, Some((60, 60))));
    for filler in &report.fillers {
        assert!(filler.buckets.iter().all(|bucket| bucket.unwrap().count == 5), "{filler:?}");
        assert_eq!(filler.overall.unwrap().count, 20);
    }
    let psnr = |index: usize| report.fillers[index].overall.unwrap().psnr_hole;
    assert_eq!(psnr(0), PSNR_CEILING);
    assert!(psnr(0) > psnr(1) && psnr(1) > psnr(2), "{:?}", report.fillers);
    assert_eq!(report.examples.len(), 3);
    assert!(report.examples.iter().all(|row| row.len() == 5));
}

#[test]
fn fillers_do_not_see_the_hole() {
    let mut cheat = |picture: &RgbPicture, mask: &Mask| {
        let hidden = picture.data.chunks_exact(3).zip(mask.data()).filter(|(_, hole)| **hole != 0);
        assert!(hidden.clone().count() > 0);
        assert!(hidden.into_iter().all(|(pixel, _)| pixel == [0, 0, 0]));
        Ok(picture.clone())
    };
    run(&samples(2), &Masks::Seed(1), &mut [("cheat", &mut cheat)]);
}

#[test]
fn seeds_decide() {
    let samples = samples(2);
    let result = |seed| {
        let mut mean = |picture: &RgbPicture, mask: &Mask| Ok(mean_colour(picture, mask)?);
        run(&samples, &Masks::Seed(seed), &mut [("mean", &mut mean)]).to_json()["results"].clone()
    };
    assert_eq!(result(1), result(1));
    assert_ne!(result(1), result(2));
}

#[test]
fn given_masks_are_cycled_and_scaled() {
    let large: Vec<u8> = (0..64 * 64).map(|at| if at / 64 < 16 { 255 } else { 0 }).collect();
    let masks = in_turn(vec![
        Mask::from_grey(64, 64, &large).unwrap(),
        Mask::empty(32, 32).unwrap(),
        Mask::from_grey(1, 1, &[255]).unwrap(),
        // Cut as a picture is: what is not seen of that is no hole.
        Mask::from_grey(4, 2, &[255, 255, 0, 255, 255, 0, 0, 255]).unwrap(),
    ]);
    let mut ratios = Vec::new();
    let mut filler = |picture: &RgbPicture, mask: &Mask| {
        assert_eq!((mask.width(), mask.height()), (32, 32));
        ratios.push(mask.hole_ratio());
        Ok(picture.clone())
    };
    let report = run(&samples(5), &masks, &mut [("black", &mut filler)]);
    assert_eq!(ratios, [0.25, 0.0, 1.0, 0.25, 0.25]);
    // The empty mask asks for nothing, and the full one is in no bucket.
    assert_eq!(report.fillers[0].overall.unwrap().count, 4);
    assert_eq!(report.fillers[0].buckets[1].unwrap().count, 3);
    assert!(report.fillers[0].buckets[3].is_none());
    let (json, html) = (report.to_json(), report.to_html(None));
    let taken: Vec<_> = json["scores"].as_array().unwrap().iter().map(|s| &s["mask"]).collect();
    assert_eq!(taken, ["m/0", "m/2", "m/3", "m/0"]);
    assert_eq!(json["images"], "photos");
    assert_eq!(json["unscored"], 1);
    assert_eq!(json["masks"], "4 masks of holes, in turn");
    assert!(html.contains("5 pictures of photos (1 with nothing to fill, not scored)"), "{html}");
    assert!(html.contains(", hole: 25.0 %, mask: m/3<"), "{html}");
}

#[test]
fn failures_name_filler_and_picture() {
    let samples = samples(1);
    let fails = |filler: &mut Filler| {
        let mut fillers = [("the model", filler)];
        evaluate(&all_of(&samples), &Masks::Seed(1), &mut fillers, None, 0, &mut |_, _| ())
            .unwrap_err()
            .to_string()
    };
    let error = fails(&mut |_, _| Err("out of paint".into()));
    assert_eq!(error, "\"the model\" failed on 0: out of paint");
    let error = fails(&mut |_, _| Ok(RgbPicture::new(2, 1, vec![0; 6]).unwrap()));
    assert!(error.contains("(2, 1)") && error.contains("(32, 32)"), "{error}");
}

#[test]
fn reports_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    let mut mean = |picture: &RgbPicture, mask: &Mask| Ok(mean_colour(picture, mask)?);
    let mut black = |picture: &RgbPicture, _: &Mask| Ok(picture.clone());
    let fillers: &mut [(&str, &mut Filler)] = &mut [("mean", &mut mean), ("a<b|c", &mut black)];
    let report = run(&samples(2), &Masks::Seed(1), fillers);
    report.write(&folder.path().join("new")).unwrap();
    let read = |name: &str| std::fs::read_to_string(folder.path().join("new").join(name)).unwrap();
    let json: serde_json::Value = serde_json::from_str(&read("report.json")).unwrap();
    for filler in ["mean", "a<b|c"] {
        for bucket in ["0.1-0.2", "0.2-0.3", "0.3-0.4", "0.4-0.5", "overall"] {
            let scores = &json["results"][filler][bucket];
            assert_eq!(scores["count"], if bucket == "overall" { 8 } else { 2 });
            for name in ["psnr", "psnr_hole", "ssim", "l1"] {
                assert!(scores[name].is_f64(), "{filler} {bucket} {name}: {scores}");
            }
        }
    }
    let markdown = read("report.md");
    assert_eq!(markdown.lines().filter(|line| line.starts_with("| ")).count(), 11);
    assert!(markdown.contains("a<b\\|c"), "{markdown}");
    // The mean is better than black by far: more PSNR and less l1 are both the bold ones.
    for line in markdown.lines().filter(|line| line.starts_with("| overall")) {
        let cells: Vec<_> = line.split(" | ").collect();
        let bold = [2, 3, 5].map(|column| cells[column].starts_with("**"));
        assert_eq!(bold, [line.contains("mean"); 3], "{line}");
    }
    let html = read("report.html");
    assert!(html.contains("a&lt;b|c") && html.contains("data:image/png;base64,iVBORw0KGgo"));
    assert!(!html.contains("http"), "the page stands alone");
    assert!(!html.contains("<th>LPIPS") && !markdown.contains("LPIPS"), "it was not taken");
    assert!(json["lpips"].is_null() && json["results"]["mean"]["overall"]["lpips"].is_null());
    assert!(folder.path().join("new/sheet.png").exists());
}

/// The fillers of picture `i` is off by the `i`-th of `levels` in every hole pixel.
fn off_by(
    levels: &'static [u8],
) -> impl FnMut(&RgbPicture, &Mask) -> Result<RgbPicture, FillError> {
    // Pictures of `flat` say which they are by their known pixels.
    move |picture, mask| {
        let known = mask.data().iter().position(|&hole| hole == 0).unwrap();
        let index = usize::from(picture.data[3 * known] - 100);
        Ok(RgbPicture { data: vec![picture.data[3 * known] + levels[index]; 3072], ..*picture })
    }
}

fn flat(count: u8) -> Vec<Sample> {
    let picture = |index| RgbPicture::new(32, 32, vec![100 + index; 3 * 32 * 32]).unwrap();
    let sample =
        |at: u8| Sample { name: format!("<{at}>"), place: at.into(), picture: picture(at) };
    (0..count).map(sample).collect()
}

#[test]
fn worst_cases_are_the_first_fillers_lowest_of_each_picture_in_order() {
    const LEVELS: &[u8] = &[9, 30, 5, 40, 20, 1, 50, 10];
    let (mut first, mut second) = (off_by(LEVELS), off_by(&[1; 8]));
    let fillers: &mut [(&str, &mut Filler)] = &mut [("first", &mut first), ("b", &mut second)];
    let report = run(&flat(8), &Masks::Seed(1), fillers);
    let names: Vec<_> = report.worst.iter().map(|case| case.trial.picture.as_str()).collect();
    assert_eq!(names, ["<6>", "<3>", "<1>", "<4>", "<7>", "<0>"]);
    for case in &report.worst {
        assert_eq!(case.row.len(), 4);
        let level = LEVELS[usize::from(case.row[3].data[0] - 100)];
        let psnr = 20.0 * (255.0 / f64::from(level)).log10();
        assert!((case.trial.scores[0].psnr_hole - psnr).abs() < 1e-9, "{:?}", case.trial);
        assert!(case.trial.scores[1].psnr_hole > 48.0);
    }
    let html = report.to_html(None);
    let worst = html.split("<h2>Worst cases</h2>").nth(1).unwrap();
    assert!(worst.contains("<br>input</div>") && worst.contains("<br>first<br>PSNR "), "{worst}");
    let at = |name: &str| worst.find(&format!("<b>&lt;{name}&gt;</b>"));
    assert!(at("6").is_some() && at("6") < at("3") && at("3") < at("0"));
    assert_eq!((at("2"), at("5")), (None, None));
    assert_eq!(worst.matches("<img").count(), 6 * 4);
}

/// Of one picture's masks, the one on which the first filler does worst is kept.
#[test]
fn the_worst_mask_of_a_picture_is_kept() {
    let mut turn = 0;
    let mut filler = |picture: &RgbPicture, _: &Mask| {
        turn += 1;
        let data = vec![100 + [3, 8, 20, 6][(turn - 1) % 4]; picture.data.len()];
        Ok(RgbPicture { data, ..*picture })
    };
    let report = run(&flat(1), &Masks::Seed(1), &mut [("a", &mut filler)]);
    let buckets: Vec<_> = report.worst.iter().map(|case| case.trial.bucket).collect();
    assert_eq!(buckets, [Some(2)]);
}

#[test]
fn means_are_those_of_the_pictures_listed() {
    let mut mean = |picture: &RgbPicture, mask: &Mask| Ok(mean_colour(picture, mask)?);
    let mut telea = |picture: &RgbPicture, mask: &Mask| Ok(telea(picture, mask)?);
    let fillers: &mut [(&str, &mut Filler)] = &mut [("mean", &mut mean), ("telea", &mut telea)];
    let samples = samples(3);
    let json = run(&samples, &Masks::Seed(1), fillers).to_json();
    let listed = json["scores"].as_array().unwrap();
    assert_eq!(listed.len(), 2 * 4 * samples.len());
    let mut means = Vec::new();
    for filler in ["mean", "telea"] {
        for bucket in ["0.1-0.2", "0.2-0.3", "0.3-0.4", "0.4-0.5", "overall"] {
            let own: Vec<_> = listed
                .iter()
                .filter(|scores| scores["filler"] == filler)
                .filter(|scores| bucket == "overall" || scores["bucket"] == bucket)
                .collect();
            let report = &json["results"][filler][bucket];
            assert_eq!(report["count"], own.len());
            for name in ["psnr", "psnr_hole", "ssim", "l1"] {
                let sum: f64 = own.iter().map(|scores| scores[name].as_f64().unwrap()).sum();
                let (mean, reported) = (sum / own.len() as f64, report[name].as_f64().unwrap());
                assert!((mean - reported).abs() < 1e-9, "{filler} {bucket} {name}");
                means.push(reported);
            }
            let bounds = BUCKETS.iter().find(|(name, ..)| *name == bucket);
            let (above, to) = bounds.map_or((0.1, 0.5), |&(_, above, to)| (above, to));
            assert!(own.iter().all(|scores| {
                let hole = scores["hole"].as_f64().unwrap() as f32;
                above < hole && hole <= to
            }));
        }
    }
    means.sort_by(f64::total_cmp);
    means.dedup();
    assert_eq!(means.len(), 40, "equal means would hide a mix-up");
    let names: HashSet<_> = listed.iter().map(|scores| scores["picture"].as_str()).collect();
    assert_eq!(names, HashSet::from([Some("0"), Some("1"), Some("2")]));
}

#[test]
fn lpips_is_a_column_where_it_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("alexnet.safetensors");
    crate::desk::lpips::tests::write_small(&path, "alexnet");
    let lpips = Lpips::read(&path).unwrap();
    let samples = samples(2);
    let mut perfect = perfect(&samples);
    let mut mean = |picture: &RgbPicture, mask: &Mask| Ok(mean_colour(picture, mask)?);
    let fillers: &mut [(&str, &mut Filler)] = &mut [("p", &mut perfect), ("mean", &mut mean)];
    let samples = all_of(&samples);
    let report =
        evaluate(&samples, &Masks::Seed(1), fillers, Some(&lpips), 0, &mut |_, _| ()).unwrap();
    let distances: Vec<_> = report
        .trials
        .iter()
        .map(|trial| [0, 1].map(|at| trial.scores[at].lpips.unwrap()))
        .collect();
    assert!(distances.iter().all(|&[perfect, mean]| perfect == 0.0 && mean > 0.0), "{distances:?}");
    let average = distances.iter().map(|[_, mean]| mean).sum::<f64>() / distances.len() as f64;
    let json = report.to_json();
    assert_eq!(json["lpips"], "alexnet");
    let reported = json["results"]["mean"]["overall"]["lpips"].as_f64().unwrap();
    assert!((reported - average).abs() < 1e-12, "{reported} is not {average}");
    let markdown = report.to_markdown();
    let row = markdown.lines().find(|line| line.starts_with("| overall | p |")).unwrap();
    assert!(markdown.contains("| LPIPS | count |") && row.contains("**0.0000** | 8 |"), "{row}");
    let html = report.to_html(None);
    assert!(html.contains("<th>LPIPS &darr;") && html.contains("version 0.1, alexnet"), "{html}");
}

#[test]
fn masks_outside_buckets_are_listed_without_one() {
    let masks = in_turn(vec![Mask::from_grey(1, 1, &[255]).unwrap()]);
    let mut black = |picture: &RgbPicture, _: &Mask| Ok(picture.clone());
    let report = run(&samples(1), &masks, &mut [("black", &mut black)]);
    let json = report.to_json();
    assert_eq!(json["scores"][0]["hole"], 1.0);
    assert!(json["scores"][0]["bucket"].is_null());
    assert!(!report.to_html(None).contains("<svg"), "no bucket has anything to draw");
}

#[test]
fn several_models_have_names_of_their_own() {
    let names = |models: &[&str], baselines: &[&str]| {
        let models: Vec<_> = models.iter().map(PathBuf::from).collect();
        let baselines: Vec<_> = baselines.iter().map(ToString::to_string).collect();
        filler_names(&models, &baselines).map_err(|error| error.to_string())
    };
    assert_eq!(names(&["x/a.lbam", "b.lbam"], &["mean"]).unwrap(), ["a.lbam", "b.lbam", "mean"]);
    let shared = names(&["x/a.lbam", "y/a.lbam", "b.lbam"], &[]).unwrap();
    assert_eq!(shared, ["x/a.lbam", "y/a.lbam", "b.lbam"]);
    let runs = ["/r/one/w.safetensors", "/r/two/w.safetensors", "/r/two/old/w.safetensors"];
    let shorter = ["one/w.safetensors", "two/w.safetensors", "two/old/w.safetensors"];
    assert_eq!(names(&runs, &[]).unwrap(), shorter);
    let twice = names(&["x/a.lbam", "b.lbam", "x/a.lbam"], &[]).unwrap_err();
    assert!(twice.contains("\"a.lbam\" is given twice"), "{twice}");
    assert!(names(&["telea"], &["mean", "telea"]).unwrap_err().contains("\"telea\""));
}

#[test]
fn reports_say_where_they_come_from() {
    let folder = tempfile::tempdir().unwrap();
    let parity = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/parity");
    let weights = crate::desk::import(&parity.join("official_width_8.pth")).unwrap();
    let paths = ["a&b.lbam", "c.safetensors"].map(|name| folder.path().join(name));
    crate::file::write_model(&weights, crate::file::Precision::F16, &paths[0]).unwrap();
    assert!(ModelFile::read("m", &paths[1]).unwrap_err().to_string().contains("c.safetensors"));
    std::fs::write(&paths[1], "abc").unwrap();
    let mut mean = |picture: &RgbPicture, mask: &Mask| Ok(mean_colour(picture, mask)?);
    let mut report = run(&samples(1), &Masks::Seed(7), &mut [("mean", &mut mean)]);
    report.models = paths.iter().map(|path| ModelFile::read("m", path).unwrap()).collect();
    let json = report.to_json();
    assert_eq!(json["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(json["size"], serde_json::json!([32, 32]));
    assert_eq!(json["models"][0]["precision"], "f16");
    assert_eq!(json["models"][1]["path"], paths[1].to_str().unwrap());
    assert!(json["models"][1]["precision"].is_null(), "only .lbam files state one");
    let checksum = json["models"][0]["checksum"].as_str().unwrap();
    let html = report.to_html(None);
    assert!(html.contains(&format!("a&amp;b.lbam, f16, {checksum}")), "{html}");
    let abc = format!("blake3:{}", blake3::hash(b"abc").to_hex());
    assert_eq!(json["models"][1]["checksum"], abc);
    assert!(html.contains(&format!("c.safetensors, {abc}")), "{html}");
    assert!(json["scores"][0]["mask"].is_null(), "it was drawn");
    assert!(html.contains("seed 7") && html.contains("32x32"), "{html}");
    std::fs::write(&paths[0], "no model").unwrap();
    assert!(ModelFile::read("m", &paths[0]).is_err());
}

#[test]
fn folders_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let empty = read_samples(folder.path(), 32).unwrap_err().to_string();
    assert!(empty.contains("no readable picture"), "{empty}");
    assert!(
        read_masks(folder.path(), &all_of(&samples(1)))
            .unwrap_err()
            .to_string()
            .contains("white = fill")
    );
    let exact = &samples(1)[0].picture;
    crate::picture::write_png(&folder.path().join("a.png"), exact).unwrap();
    let wide = image::RgbImage::from_fn(90, 40, |x, _| image::Rgb([(x * 2) as u8; 3]));
    wide.save(folder.path().join("b.png")).unwrap();
    let read = read_samples(folder.path(), 32).unwrap();
    assert_eq!((read.list[0].name.as_str(), read.folder.as_path()), ("a.png", folder.path()));
    assert!(read.list[0].picture == *exact, "a picture of the right size is not touched");
    // Columns 25 to 65 of 90 remain: brightness 50 to 130.
    let row = &read.list[1].picture.data[..3 * 32];
    assert!((48..=54).contains(&row[0]) && (125..=130).contains(&row[3 * 31]), "{row:?}");
    let Masks::Given(given) = read_masks(folder.path(), &read).unwrap() else { panic!("given") };
    assert_eq!((given.masks.len(), given.by_name), (2, true));
    std::fs::write(folder.path().join("c.png"), "no").unwrap();
    crate::picture::write_png(&folder.path().join("d.png"), exact).unwrap();
    std::fs::write(folder.path().join("report.json"), "").unwrap();
    std::fs::write(folder.path().join("report.html"), "").unwrap();
    crate::picture::write_png(&folder.path().join("sheet.png"), exact).unwrap();
    // Masks stay with their pictures; the sheet is of a report.
    let read = read_samples(folder.path(), 64).unwrap();
    assert_eq!(read.list.iter().map(|sample| sample.place).collect::<Vec<_>>(), [0, 1, 3]);
    let others = [Sample { name: "other.png".into(), ..read.list[0].clone() }];
    let refused = read_masks(folder.path(), &all_of(&others)).unwrap_err().to_string();
    assert!(refused.contains("c.png"), "{refused}");
    // All three have 32 or 40 pixels a side.
    let mut black = |picture: &RgbPicture, _: &Mask| Ok(picture.clone());
    let fillers: &mut [(&str, &mut Filler)] = &mut [("black", &mut black)];
    let report = evaluate(&read, &Masks::Seed(1), fillers, None, 0, &mut |_, _| ()).unwrap();
    let (json, markdown) = (report.to_json(), report.to_markdown());
    for (field, count) in [("unreadable", 1), ("scaled_up", 3), ("unscored", 0)] {
        assert_eq!(json[field], count, "{field}");
    }
    let said = "(1 more unreadable; 3 with a side below 64 pixels, scaled up: easier to fill), ";
    assert!(markdown.starts_with("3 pictures of ") && markdown.contains(said), "{markdown}");
}

#[test]
fn masks_go_with_the_pictures_that_are_called_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let mask = |name: &str, hidden: u32| {
        let white = image::GrayImage::from_fn(4, 4, |x, y| {
            image::Luma([if 4 * y + x < hidden { 255 } else { 0 }])
        });
        white.save(folder.path().join(name)).unwrap();
    };
    (1..=10).for_each(|number| mask(&format!("{number}.png"), number));
    let all = samples(1);
    let sample = |name: &str, place| Sample { name: name.into(), place, ..all[0].clone() };
    let taken = |samples: &[Sample]| -> Vec<(String, usize)> {
        let masks = read_masks(folder.path(), &all_of(samples)).unwrap();
        assert!(masks.describe().contains(folder.path().to_str().unwrap()));
        let of = |(at, sample)| masks.for_sample(at, sample).unwrap().remove(0);
        let name = |(name, mask): (Option<String>, Mask)| (name.unwrap(), mask.hole_pixels());
        samples.iter().enumerate().map(of).map(name).collect()
    };
    let pixels = 32 * 32 / 16;
    let mask = |number: usize| (number.to_string(), number * pixels);
    let named = [sample("1.jpg", 0), sample("10.jpg", 1), sample("2.jpg", 4)];
    assert_eq!(taken(&named), [1, 10, 2].map(mask));
    // In the order of names, which is another; a picture that could not be read keeps its turn.
    assert_eq!(taken(&[sample("a.jpg", 0), sample("b.jpg", 2)]), [1, 2].map(mask));
    let some = all_of(&[sample("1.jpg", 0), sample("b.jpg", 2)]);
    let refused = read_masks(folder.path(), &some).unwrap_err().to_string();
    assert!(refused.contains("called as b.jpg, but 1 are"), "{refused}");
}
