//! TensorBoard's event files, with scalars as written by `torch.utils.tensorboard.SummaryWriter` (torch 2.11).
//!
//! A file is a sequence of records: each is an `Event` message in protocol-buffer encoding, preceded by its length and
//! followed by checksums. The first event contains the version of the format. When a training resumes, its new file
//! contains the step from which readers hide the events of earlier files, which the training wrote after its last
//! checkpoint. Each call writes its records to the file without buffering.

use crate::env::host_name;
use crate::err;
use crate::error::Result;
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
}
