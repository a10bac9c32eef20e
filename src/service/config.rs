//! The configuration file, laid under what was typed.
//!
//! A flag goes before its environment variable, that before the file, that before the default.
//! clap knows the first two and the last; the file's values are therefore given to it as
//! defaults, after they were checked here, where the line of a mistake is still known. Reading
//! each setting from four places by hand would be the other way, and the way to forget one.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::{ArgMatches, CommandFactory, FromArgMatches};
use serde::de::{Deserialize, Deserializer, Error as _, SeqAccess, Visitor};

use super::args::{address, threads};
use super::{Cli, ServiceError, Size};
use crate::camera::{CameraFormat, MaskSpec, SourceSpec};
use crate::output::{HostName, SinkSpec};

/// Subcommands that read the file, beside the main job.
const READERS: [&str; 1] = ["doctor"];
/// Variables that name files, which may be called by any bytes.
const PATHS: [&str; 2] = ["LBAM_CONFIG", "LBAM_MODEL"];
/// Variables that are not those of one argument alone.
const OTHERS: [&str; 5] = ["LBAM_MASK", "LBAM_OUTPUT", "LBAM_HTTP_HOST", "LBAM_LOG", "LBAM_KERNEL"];
/// Between several values in one environment variable: commas stand within rectangles.
const SEPARATOR: char = ';';

impl Cli {
    /// Command line, environment and configuration file. Ends the program after `--help` and
    /// wrong usage, as clap does.
    ///
    /// # Errors
    /// [`ServiceError::Configuration`] for the file, [`ServiceError::Usage`] for the environment.
    pub fn read(words: impl Iterator<Item = OsString>) -> Result<Self, ServiceError> {
        Self::read_by(words, |command, words| Ok(command.get_matches_from(words)))
    }

    /// The same in a program that runs and is not to end.
    pub fn read_again(words: impl Iterator<Item = OsString>) -> Result<Self, ServiceError> {
        Self::read_by(words, |command, words| {
            let matches = command.try_get_matches_from(words);
            matches.map_err(|error| ServiceError::Usage(error.to_string()))
        })
    }

    fn read_by(
        words: impl Iterator<Item = OsString>,
        matches: fn(clap::Command, &[OsString]) -> Result<ArgMatches, ServiceError>,
    ) -> Result<Self, ServiceError> {
        check_variables(std::env::vars_os())?;
        let words: Vec<OsString> = words.collect();
        let is_empty = |name: &OsStr| std::env::var_os(name).is_some_and(|value| value.is_empty());
        let is_denied = |long: &str| words.iter().any(|word| *word == *format!("--no-{long}"));
        let command = || without_variables(Self::command(), is_empty, is_denied);
        let typed = matches(command(), &words)?;
        let reader = READERS.iter().find_map(|name| typed.subcommand_matches(name));
        let file = match reader.unwrap_or(&typed).try_get_one::<PathBuf>("config") {
            Ok(Some(path)) if reader.is_some() || typed.subcommand_name().is_none() => {
                Settings::read(path)?
            }
            _ => Settings::default(),
        };
        let mut values = file.values();
        listed::<MaskSpec>("mask", "LBAM_MASK", &mut values)?;
        listed::<SinkSpec>("output", "LBAM_OUTPUT", &mut values)?;
        listed::<HostName>("http_host", "LBAM_HTTP_HOST", &mut values)?;
        let matches = matches(under(command(), &values), &words)?;
        Self::from_arg_matches(&matches).map_err(|error| ServiceError::Usage(error.to_string()))
    }
}

/// What lies below flags and variables, by the arguments' names.
type Values = BTreeMap<&'static str, Vec<String>>;

fn under(command: clap::Command, values: &Values) -> clap::Command {
    let lay = |arg: clap::Arg| match values.get(arg.get_id().as_str()) {
        Some(values) => arg.default_values(values.clone()),
        None => arg,
    };
    let command = command.mut_args(lay);
    command.mut_subcommands(|sub| match READERS.contains(&sub.get_name()) {
        true => sub.mut_args(lay),
        false => sub,
    })
}

/// A variable that cannot be read must not be passed over: it may name what is to be hidden.
fn check_variables(
    variables: impl Iterator<Item = (OsString, OsString)>,
) -> Result<(), ServiceError> {
    for (name, value) in variables {
        let name = name.to_string_lossy();
        let is_ours = name.starts_with("LBAM_") && !PATHS.contains(&&*name);
        if is_ours && value.to_str().is_none() {
            let why = "its value is no text (UTF-8); write it anew, or unset it";
            return Err(ServiceError::Usage(format!("{name}: {why}")));
        }
    }
    Ok(())
}

/// Variables of this program's kind that nothing reads: a typing error in one may name what is to be
/// hidden.
pub(super) fn unread_variables() -> Vec<String> {
    unread(std::env::vars_os().map(|(name, _)| name))
}

fn unread(names: impl Iterator<Item = OsString>) -> Vec<String> {
    let command = Cli::command();
    let read = |name: &str| {
        let mut arguments = command.get_arguments();
        OTHERS.contains(&name) || arguments.any(|arg| arg.get_env() == Some(OsStr::new(name)))
    };
    let names = names.map(|name| name.to_string_lossy().into_owned());
    names.filter(|name| name.starts_with("LBAM_") && !read(name)).collect()
}

/// A variable that is empty is as good as unset: it must not go before the file, which may say
/// `fail-closed = true`. So is that of a flag whose opposite was typed, which clap would take for a
/// contradiction.
fn without_variables(
    command: clap::Command,
    is_empty: impl Fn(&OsStr) -> bool,
    is_denied: impl Fn(&str) -> bool,
) -> clap::Command {
    let unset = |arg: clap::Arg| {
        let denied = arg.get_long().is_some_and(&is_denied);
        match arg.get_env().is_some_and(|name| denied || is_empty(name)) {
            true => arg.env(None::<&'static str>),
            false => arg,
        }
    };
    command.mut_args(unset).mut_subcommands(|sub| sub.mut_args(unset))
}

/// A list in an environment variable, which clap cannot split without splitting words too.
fn listed<T: FromStr<Err = String>>(
    key: &'static str,
    variable: &str,
    values: &mut Values,
) -> Result<(), ServiceError> {
    let Ok(text) = std::env::var(variable) else { return Ok(()) };
    let list = split(variable, &text)?;
    for value in &list {
        value.parse::<T>().map_err(|why| ServiceError::Usage(format!("{variable}: {why}")))?;
    }
    // Empty is as good as unset: it must not take a mask away that the file gives.
    if !list.is_empty() {
        values.insert(key, list);
    }
    Ok(())
}

fn split(variable: &str, text: &str) -> Result<Vec<String>, ServiceError> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let list: Vec<String> = text.split(SEPARATOR).map(|value| value.trim().to_owned()).collect();
    // Most likely the rest was lost for want of quotes, and was to hide something.
    if list.iter().any(String::is_empty) {
        let why = format!("nothing stands on one side of a '{SEPARATOR}'");
        let mend = format!("remove it, or quote the whole: \"{variable}=...; ...\"");
        return Err(ServiceError::Usage(format!("{variable}: {why}; {mend}")));
    }
    Ok(list)
}

/// The file's keys: the flags' words.
#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct Settings {
    camera: Option<Text<SourceSpec>>,
    camera_format: Option<Text<CameraFormat>>,
    camera_size: Option<Text<Size>>,
    mask: Option<Texts<MaskSpec>>,
    output: Option<Texts<SinkSpec>>,
    model: Option<Text<PathBuf>>,
    http: Option<Text<Address>>,
    http_host: Option<Texts<HostName>>,
    threads: Option<Threads>,
    frames: Option<u64>,
    realtime: Option<bool>,
    wait: Option<bool>,
    fail_closed: Option<bool>,
    detail: Option<bool>,
}

impl Settings {
    fn read(path: &Path) -> Result<Self, ServiceError> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            ServiceError::Configuration(format!(
                "{}: the configuration cannot be read ({error}); name another with --config FILE",
                path.display()
            ))
        })?;
        // Saving was cut short: what was written there, masks most of all, is not known.
        if text.trim().is_empty() {
            return Err(ServiceError::Configuration(format!(
                "{}: the configuration is empty; write it anew (a comment will do for all defaults)",
                path.display()
            )));
        }
        toml::from_str(&text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start).min(text.len());
            let line = 1 + text.as_bytes()[..at].iter().filter(|&&byte| byte == b'\n').count();
            // toml's own report shows the line over several; one line is what logs want.
            let reason = error.message().lines().collect::<Vec<_>>().join(", ");
            ServiceError::Configuration(format!(
                "{}:{line}: {reason}; mend this line, or remove it for the default",
                path.display()
            ))
        })
    }

    fn values(self) -> Values {
        let one = |value: String| vec![value];
        let settings = [
            ("camera", self.camera.map(|text| one(text.0))),
            ("camera_format", self.camera_format.map(|text| one(text.0))),
            ("camera_size", self.camera_size.map(|text| one(text.0))),
            ("mask", self.mask.map(|texts| texts.0)),
            ("output", self.output.map(|texts| texts.0)),
            ("model", self.model.map(|text| one(text.0))),
            ("http", self.http.map(|text| one(text.0))),
            ("http_host", self.http_host.map(|texts| texts.0)),
            ("threads", self.threads.map(|threads| one(threads.0.to_string()))),
            ("frames", self.frames.map(|frames| one(frames.to_string()))),
            ("realtime", self.realtime.map(|yes| one(yes.to_string()))),
            ("wait", self.wait.map(|yes| one(yes.to_string()))),
            ("fail_closed", self.fail_closed.map(|yes| one(yes.to_string()))),
            ("detail", self.detail.map(|yes| one(yes.to_string()))),
        ];
        settings.into_iter().filter_map(|(key, values)| Some((key, values?))).collect()
    }
}

/// A text that is a `T`, checked and kept as it was written.
struct Text<T>(String, PhantomData<T>);

impl<'de, T: FromStr<Err: fmt::Display>> Deserialize<'de> for Text<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse::<T>().map_err(D::Error::custom)?;
        Ok(Self(text, PhantomData))
    }
}

/// One such text or a list of them.
struct Texts<T>(Vec<String>, PhantomData<T>);

impl<'de, T: FromStr<Err: fmt::Display>> Deserialize<'de> for Texts<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Texts(Vec::new(), PhantomData))
    }
}

impl<'de, T: FromStr<Err: fmt::Display>> Visitor<'de> for Texts<T> {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a text or a list of texts")
    }

    fn visit_str<E: serde::de::Error>(mut self, text: &str) -> Result<Self, E> {
        text.parse::<T>().map_err(E::custom)?;
        self.0.push(text.to_owned());
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<Self, A::Error> {
        while let Some(text) = list.next_element::<Text<T>>()? {
            self.0.push(text.0);
        }
        Ok(self)
    }
}

struct Address;

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        address(text).map(|_| Self)
    }
}

struct Threads(usize);

impl<'de> Deserialize<'de> for Threads {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let count = u64::deserialize(deserializer)?;
        threads(&count.to_string()).map(Self).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::LiveOptions;

    /// The file that is shipped: every key, each as a comment.
    const SHIPPED: &str = include_str!("../../cross/lbam-edge.toml");

    fn write(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    fn read(text: &str, words: &[&str]) -> Result<LiveOptions, ServiceError> {
        let file = write(text);
        let path = file.path().to_str().unwrap();
        let words = [&["lbam-edge", "--config", path], words].concat();
        Ok(Cli::read(words.iter().map(OsString::from))?.live.options())
    }

    /// The shipped file with every key in force. Comments begin with "# ", keys with "#".
    fn all_in_force() -> String {
        let uncomment = |line: &str| match line.strip_prefix('#') {
            Some(rest) if rest.starts_with(|c: char| c.is_ascii_lowercase()) => rest.to_owned(),
            _ => line.to_owned(),
        };
        SHIPPED.lines().map(uncomment).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn the_file_stands_below_the_words() {
        let text = "camera = 'test:64x48'\nmask = ['rect:1,2,3,4', 'rect:5,6,7,8']\n\
                    http = '127.0.0.1:9'\nrealtime = true\nfail-closed = true\nframes = 7\n\
                    wait = false\n";
        let options = read(text, &[]).unwrap();
        assert_eq!(options.camera.to_string(), "test:64x48");
        assert_eq!((options.masks.len(), options.frames), (2, Some(7)));
        assert_eq!(
            (options.realtime, options.wait, options.fail_closed),
            (Some(true), false, true)
        );
        let words = [
            "--camera=test:",
            "--mask=rect:1,1,1,1",
            "--no-realtime",
            "--no-fail-closed",
            "--wait",
        ];
        let options = read(text, &words).unwrap();
        assert_eq!(options.camera.to_string(), "test:640x480");
        assert_eq!((options.masks.len(), options.http.port()), (1, 9));
        assert_eq!(
            (options.realtime, options.wait, options.fail_closed),
            (Some(false), true, false)
        );
    }

    #[test]
    fn the_shipped_file_has_every_key_with_its_default() {
        let shipped: Settings = toml::from_str(SHIPPED).unwrap();
        let in_force: Vec<_> = shipped.values().into_iter().collect();
        let service = [("fail_closed", vec!["true".to_owned()])];
        assert_eq!(in_force, service, "the service's own default, and nothing else");

        let all: Settings = toml::from_str(&all_in_force()).unwrap();
        let keys = all.values();
        let defaults = LiveOptions::default();
        assert_eq!(keys.len(), 14, "{:?}", keys.keys());
        assert_eq!(keys["camera"], [defaults.camera.to_string()]);
        assert_eq!(keys["http"], [defaults.http.to_string()]);
        assert_eq!(keys["output"], ["http:"]);
        assert_eq!(keys["wait"], [defaults.wait.to_string()]);
        assert_eq!(keys["detail"], ["true"]);
        let command = Cli::command();
        for key in keys.keys() {
            let word = key.replace('_', "-");
            let variable = format!("LBAM_{}", key.to_uppercase());
            assert!(SHIPPED.contains(&variable), "{variable}");
            assert!(command.get_arguments().any(|arg| arg.get_long() == Some(&word)), "{word}");
        }
    }

    #[test]
    fn names_of_the_page_are_read_from_words_and_file() {
        let text = "http-host = ['a.example', 'b.example']\n";
        let hosts = |words: &[&str]| -> Vec<String> {
            let options = read(text, words).unwrap();
            options.http_hosts.iter().map(ToString::to_string).collect()
        };
        assert_eq!(hosts(&[]), ["a.example", "b.example"]);
        assert_eq!(hosts(&["--http-host=C.example"]), ["c.example"]);
    }

    #[test]
    fn an_empty_variable_does_not_go_before_the_file() {
        let empty = |name: &OsStr| name == "LBAM_FAIL_CLOSED";
        let command = without_variables(Cli::command(), empty, |long| long == "detail");
        for command in [&command, command.find_subcommand("doctor").unwrap()] {
            let is_read = |id: &str| {
                let mut args = command.get_arguments();
                args.any(|arg| arg.get_id().as_str() == id && arg.get_env().is_some())
            };
            assert!(!is_read("fail_closed") && is_read("wait"));
            // Nor does that of a flag whose opposite was typed.
            assert!(!is_read("detail"));
        }
    }

    #[test]
    fn a_list_with_nothing_in_a_place_was_cut_short() {
        assert_eq!(split("LBAM_MASK", " a ; b").unwrap(), ["a", "b"]);
        assert!(split("LBAM_MASK", "  ").unwrap().is_empty());
        for text in ["a;", ";a", "a;;b", ";"] {
            let error = split("LBAM_MASK", text).unwrap_err();
            assert!(error.exit_code() == 2 && error.to_string().contains("quote"), "{text}");
        }
    }

    #[test]
    fn an_empty_file_was_cut_short() {
        for text in ["", "\n \n"] {
            let error = read(text, &[]).unwrap_err();
            assert!(error.exit_code() == 78 && error.to_string().contains("empty"), "{error}");
        }
        read("# all as it is\n", &[]).unwrap();
    }

    #[test]
    fn what_nothing_reads_is_known() {
        let unread = |names: &[&str]| unread(names.iter().map(OsString::from));
        assert_eq!(
            unread(&["LBAM_MASKS", "HOME", "LBAM_FAILCLOSED"]),
            ["LBAM_MASKS", "LBAM_FAILCLOSED"]
        );
        let all = all_in_force();
        let keys: Settings = toml::from_str(&all).unwrap();
        let names = keys.values().into_keys().map(|key| format!("LBAM_{}", key.to_uppercase()));
        let names: Vec<String> = names.chain(["LBAM_LOG".into(), "LBAM_CONFIG".into()]).collect();
        assert!(unread(&names.iter().map(String::as_str).collect::<Vec<_>>()).is_empty());
    }

    #[test]
    #[cfg(unix)]
    fn a_variable_that_is_no_text_is_refused_by_name() {
        use std::os::unix::ffi::OsStringExt;
        let check = |name: &str| {
            let value = OsString::from_vec(vec![b'a', 0xff]);
            check_variables([(OsString::from(name), value)].into_iter())
        };
        for name in ["LBAM_MASK", "LBAM_FAIL_CLOSED"] {
            let error = check(name).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().starts_with(name), "{error}");
        }
        for name in ["LBAM_MODEL", "HOME"] {
            check(name).unwrap();
        }
    }

    #[test]
    fn mistakes_are_told_with_file_line_and_mend() {
        for (text, line, says) in [
            ("\ncammera = 'test:'\n", 2, "unknown field `cammera`"),
            ("camera = 3\n", 1, "expected a string"),
            ("camera = 'test:'\nthreads = 'all'\n", 2, "expected u64"),
            ("\n\nthreads = 0\n", 3, "1 to 256"),
            ("realtime = 'yes'\n", 1, "expected a boolean"),
            // Within a list, the line where it begins; the text tells which.
            ("# so\nmask = [\n  'rect:1,2,3,4',\n  'rect:1',\n]\n", 2, "`rect:1` is not"),
            ("mask = 3\n", 1, "a text or a list of texts"),
            ("output = 'a.mp4'\n", 1, "ffmpeg"),
            ("http = 'localhost'\n", 1, "127.0.0.1:8080"),
            ("http-host = 'http://a'\n", 1, "host name"),
            ("camera = 'test:\n", 1, "string"),
            ("camera = 'test:'\ncamera = 'test:'\n", 2, "duplicate key"),
        ] {
            let error = read(text, &[]).unwrap_err();
            let told = error.to_string();
            assert_eq!(error.exit_code(), 78, "{told}");
            assert!(
                told.contains(&format!(":{line}: ")) && told.contains(says),
                "{text:?}: {told}"
            );
            assert!(told.contains("mend") && told.lines().count() == 1, "{told}");
        }
        let words = ["lbam-edge", "--config", "/nowhere/at.toml"].map(OsString::from);
        let error = Cli::read(words.into_iter()).unwrap_err();
        assert!(error.exit_code() == 78 && error.to_string().contains("/nowhere/at.toml"));
    }
}
