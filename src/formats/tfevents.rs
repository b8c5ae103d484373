//! Reader and writer of TensorBoard's event files, with scalars as written by
//! `torch.utils.tensorboard.SummaryWriter` (torch 2.11).
//!
//! A file is a sequence of records: each is an `Event` message in protocol-buffer encoding, preceded by its length and
//! followed by checksums. The first event contains the version of the format. When a training resumes, its new file
//! contains the step from which readers hide the events of earlier files, which the training wrote after its last
//! checkpoint. Each call writes its records to the file without buffering.

use crate::env::host_name;
use crate::err;
use crate::error::Result;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// An event file that is open for appending.
pub struct EventWriter {
    path: PathBuf,
    file: File,
}

/// Content of an event besides time and step. Field numbers are those of TensorBoard's `event.proto` and
/// `summary.proto`.
enum Content<'a> {
    /// `file_version`, field 3.
    Version,
    /// `session_log`, field 7, with status START.
    SessionStart,
    /// `summary`, field 5, with one `simple_value`.
    Scalar(&'a str, f32),
}

impl EventWriter {
    /// Creates a new file in `folder`, which is created if missing. With `purge_step`, readers hide the events of other
    /// files from that step on.
    pub fn create(folder: &Path, purge_step: Option<i64>) -> Result<EventWriter> {
        std::fs::create_dir_all(folder).map_err(|error| err!("cannot create the folder: {error}").file(folder))?;
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let now = since_1970();
        let count = COUNTER.fetch_add(1, Ordering::Relaxed);
        let name = format!("events.out.tfevents.{:010}.{}.{}.{count}", now.as_secs(), host_name(), std::process::id());
        let path = folder.join(name);
        let file = File::create(&path).map_err(|error| err!("cannot write: {error}").file(&path))?;
        let mut writer = EventWriter { path, file };
        let time = now.as_secs_f64();
        let mut bytes = record(&event(time, 0, &Content::Version));
        if let Some(step) = purge_step {
            bytes.extend(record(&event(time, step, &Content::Version)));
            bytes.extend(record(&event(time, step, &Content::SessionStart)));
        }
        writer.append(&bytes)?;
        Ok(writer)
    }

    /// Path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends the values, each under its tag, with `step` and the current time.
    pub fn scalars<'a>(&mut self, step: i64, values: impl IntoIterator<Item = (&'a str, f32)>) -> Result<()> {
        let time = since_1970().as_secs_f64();
        let bytes: Vec<u8> = values
            .into_iter()
            .flat_map(|(tag, value)| record(&event(time, step, &Content::Scalar(tag, value))))
            .collect();
        self.append(&bytes)
    }

    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(|error| err!("cannot write: {error}").file(&self.path))
    }
}

/// Scalars of the event files in a folder.
#[derive(Debug, Default)]
pub struct Scalars {
    /// Steps and values by tag, in ascending order of steps.
    pub by_tag: BTreeMap<String, Vec<(i64, f64)>>,
    /// Files that end in a damaged or incomplete event. The events before it are in `by_tag`.
    pub damaged: Vec<PathBuf>,
}

/// Reads the event files in `folder`, in the order of their names, which begin with the second of their creation. Events that a later
/// file hides ([`EventWriter::create`]) are left out, and of several values of a tag at a step the last one is kept.
///
/// # Errors
/// The folder or a file cannot be read.
pub fn read_scalars(folder: &Path) -> Result<Scalars> {
    let cannot = |path: &Path, error: std::io::Error| err!("cannot read: {error}").file(path);
    let mut files = vec![];
    for entry in std::fs::read_dir(folder).map_err(|error| cannot(folder, error))? {
        let path = entry.map_err(|error| cannot(folder, error))?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("events.out.tfevents.")) {
            files.push(path);
        }
    }
    files.sort();
    let mut out = Scalars::default();
    let mut found: BTreeMap<String, BTreeMap<i64, f64>> = BTreeMap::new();
    for path in files {
        let bytes = std::fs::read(&path).map_err(|error| cannot(&path, error))?;
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let Some(event) = next_record(&mut rest).and_then(Event::parse) else {
                out.damaged.push(path);
                break;
            };
            if event.is_start {
                found.values_mut().for_each(|values| values.retain(|step, _| *step < event.step));
            }
            for (tag, value) in event.scalars {
                found.entry(tag).or_default().insert(event.step, value);
            }
        }
    }
    out.by_tag = found.into_iter().map(|(tag, values)| (tag, values.into_iter().collect())).collect();
    Ok(out)
}

/// Takes the next record off `rest`; `None` if it is incomplete or a checksum is wrong.
fn next_record<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, after) = rest.split_first_chunk::<8>()?;
    let (sum, after) = after.split_first_chunk::<4>()?;
    let (bytes, after) = after.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
    let (sum_of_bytes, after) = after.split_first_chunk::<4>()?;
    if *sum != masked_checksum(length) || *sum_of_bytes != masked_checksum(bytes) {
        return None;
    }
    *rest = after;
    Some(bytes)
}

/// What is read of an `Event`.
#[derive(Default)]
struct Event {
    step: i64,
    /// A session starts: readers hide what earlier files contain from this step on.
    is_start: bool,
    scalars: Vec<(String, f64)>,
}

impl Event {
    fn parse(bytes: &[u8]) -> Option<Event> {
        let mut event = Event::default();
        each_field(bytes, |number, field| {
            match (number, field) {
                (2, Field::Varint(step)) => event.step = step as i64,
                (5, Field::Bytes(summary)) => each_field(summary, |number, field| match (number, field) {
                    (1, Field::Bytes(value)) => {
                        event.scalars.extend(scalar(value)?);
                        Some(())
                    }
                    _ => Some(()),
                })?,
                (7, Field::Bytes(session)) => each_field(session, |number, field| {
                    event.is_start |= number == 1 && matches!(field, Field::Varint(1));
                    Some(())
                })?,
                _ => {}
            }
            Some(())
        })?;
        Some(event)
    }
}

/// Tag and `simple_value` of a summary's value; `Some(None)` for images, histograms and so on.
fn scalar(bytes: &[u8]) -> Option<Option<(String, f64)>> {
    let (mut tag, mut value) = (None, None);
    each_field(bytes, |number, field| {
        match (number, field) {
            (1, Field::Bytes(name)) => tag = Some(String::from_utf8_lossy(name).into_owned()),
            (2, Field::Fixed32(bits)) => value = Some(f64::from(f32::from_bits(bits))),
            _ => {}
        }
        Some(())
    })?;
    Some(tag.zip(value))
}

/// A field of a protocol-buffer message.
enum Field<'a> {
    Varint(u64),
    Fixed32(u32),
    Fixed64,
    Bytes(&'a [u8]),
}

/// Calls `each` with number and content of the fields of a message; `None` if the message is damaged.
fn each_field<'a>(mut bytes: &'a [u8], mut each: impl FnMut(u64, Field<'a>) -> Option<()>) -> Option<()> {
    while !bytes.is_empty() {
        let key = take_varint(&mut bytes)?;
        let field = match key & 7 {
            0 => Field::Varint(take_varint(&mut bytes)?),
            1 => {
                bytes = bytes.split_first_chunk::<8>()?.1;
                Field::Fixed64
            }
            2 => {
                let length = usize::try_from(take_varint(&mut bytes)?).ok()?;
                let (content, rest) = bytes.split_at_checked(length)?;
                bytes = rest;
                Field::Bytes(content)
            }
            5 => {
                let (bits, rest) = bytes.split_first_chunk::<4>()?;
                bytes = rest;
                Field::Fixed32(u32::from_le_bytes(*bits))
            }
            _ => return None,
        };
        each(key >> 3, field)?;
    }
    Some(())
}

fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Length (u64), its checksum, the bytes, their checksum; all little-endian.
fn record(bytes: &[u8]) -> Vec<u8> {
    let length = (bytes.len() as u64).to_le_bytes();
    [&length[..], &masked_checksum(&length), bytes, &masked_checksum(bytes)].concat()
}

/// CRC-32C, rotated and offset so that checksums of data that contain checksums remain useful.
fn masked_checksum(bytes: &[u8]) -> [u8; 4] {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

/// An `Event`: `wall_time` (field 1), `step` (field 2, omitted if 0), content.
fn event(wall_time: f64, step: i64, content: &Content) -> Vec<u8> {
    let mut out = vec![0x09];
    out.extend(wall_time.to_le_bytes());
    if step != 0 {
        out.push(0x10);
        varint(&mut out, step as u64);
    }
    match content {
        Content::Version => field(&mut out, 0x1a, b"brain.Event:2"),
        Content::SessionStart => field(&mut out, 0x3a, &[0x08, 1]),
        Content::Scalar(tag, number) => {
            let mut value = vec![];
            field(&mut value, 0x0a, tag.as_bytes());
            value.push(0x15);
            value.extend(number.to_le_bytes());
            let mut summary = vec![];
            field(&mut summary, 0x0a, &value);
            field(&mut out, 0x2a, &summary);
        }
    }
    out
}

/// A length-delimited field.
fn field(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag);
    varint(out, bytes.len() as u64);
    out.extend(bytes);
}

/// A varint: seven bits per byte, lowest first.
fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by tensorboard 2.21: `RecordWriter.write(Event(wall_time=…, step=…, …).SerializeToString())` for the same events.
    const GOLDEN: &str = concat!(
        "1800000000000000a37f4b220900001040fc54d9411a0d627261696e2e4576656e743a32338d2fe9",
        "1a00000000000000129bd82d0900006040fc54d94110071a0d627261696e2e4576656e743a32ec0410b8",
        "0f000000000000006d532b090900006040fc54d94110073a02080165b49f66",
        "1b000000000000001a0d9e130900008040fc54d94110ac022a0d0a0b0a044c6f737315cdcccc3ddf398335",
        "16000000000000004f61be28090000c040fc54d9412a0b0a090a026c72150000000007c7b028",
        "2100000000000000017becf6090000c040fc54d94110ffffffffffffffffff012a0b0a090a026c7215000020c09d266cea",
    );

    #[test]
    fn records_are_tensorboards_byte_for_byte() {
        let events = [
            event(1_700_000_000.25, 0, &Content::Version),
            event(1_700_000_001.5, 7, &Content::Version),
            event(1_700_000_001.5, 7, &Content::SessionStart),
            event(1_700_000_002.0, 300, &Content::Scalar("Loss", 0.1)),
            event(1_700_000_003.0, 0, &Content::Scalar("lr", 0.0)),
            event(1_700_000_003.0, -1, &Content::Scalar("lr", -2.5)),
        ];
        let hex: String = events.iter().flat_map(|event| record(event)).map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, GOLDEN);
    }

    #[test]
    fn a_file_has_its_name_and_begins_with_the_version() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = EventWriter::create(&folder.path().join("runs"), Some(5)).unwrap();
        writer.scalars(5, [("a", 1.0), ("b", 2.0)]).unwrap();
        let name = writer.path().file_name().unwrap().to_str().unwrap().to_owned();
        let rest = name.strip_prefix("events.out.tfevents.").unwrap();
        let (seconds, rest) = rest.split_at(10);
        assert!(seconds.parse::<u64>().unwrap() > 1_700_000_000, "{name}");
        let rest = rest.strip_prefix(&format!(".{}.{}.", host_name(), std::process::id())).unwrap();
        rest.parse::<u64>().unwrap();
        let bytes = std::fs::read(writer.path()).unwrap();
        // Version, version at the step, start, two scalars.
        assert_eq!(bytes.windows(13).filter(|part| *part == b"brain.Event:2").count(), 2);
        assert_eq!(bytes.len(), 5 * 16 + 24 + 26 + 15 + 2 * 23);
    }

    #[test]
    fn scalars_are_read_back_without_what_a_later_file_hides() {
        let folder = tempfile::tempdir().unwrap();
        let mut first = EventWriter::create(folder.path(), None).unwrap();
        for step in 1..=5 {
            first.scalars(step, [("loss", step as f32), ("accuracy", 0.5)]).unwrap();
        }
        let mut second = EventWriter::create(folder.path(), Some(4)).unwrap();
        second.scalars(4, [("loss", 40.0)]).unwrap();
        std::fs::write(folder.path().join("notes.txt"), "no events").unwrap();
        let scalars = read_scalars(folder.path()).unwrap();
        assert_eq!(scalars.by_tag["loss"], [(1, 1.0), (2, 2.0), (3, 3.0), (4, 40.0)]);
        assert_eq!(scalars.by_tag["accuracy"].len(), 3);
        assert!(scalars.damaged.is_empty());
        // A training that was killed while it wrote.
        let bytes = std::fs::read(second.path()).unwrap();
        std::fs::write(second.path(), &bytes[..bytes.len() - 3]).unwrap();
        let scalars = read_scalars(folder.path()).unwrap();
        assert_eq!((scalars.by_tag["loss"].len(), &scalars.damaged[..]), (3, &[second.path().to_owned()][..]));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(
            bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200),
            valid in proptest::bool::ANY,
        ) {
            let _ = next_record(&mut &bytes[..]);
            let _ = Event::parse(&bytes);
            if valid {
                let framed = record(&bytes);
                proptest::prop_assert_eq!(next_record(&mut &framed[..]), Some(&bytes[..]));
            }
        }
    }
}
