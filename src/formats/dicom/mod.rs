//! DICOM files and folders of slices, read as one volume with the voxel order and affine of MONAI's `ITKReader`
//! (`monai.data.image_reader`, 1.6.1, with ITK and GDCM): slices ascend along their normal, columns are X, rows are Y,
//! LPS is converted to RAS, values are rescaled (to HU for CT).
//!
//! Deliberate differences:
//! - Folders are searched recursively; ITK reads one level.
//! - Several series are an error that lists them (ITK reads the first one); `series` selects one. Localizers, color
//!   images and objects without pixel data are skipped with a log message, a single slice that does not fit its series
//!   with a warning.
//! - A series of several volumes (orientations, sizes, acquisitions at the same positions) is an error that numbers its
//!   parts; `series` selects one, as `4#2`.
//! - Missing slices, two different slices at the same position and a truncated file (or an empty `.dcm`) are errors,
//!   where ITK returns a wrong geometry. Slightly uneven slices and duplicate slices cause a warning. Files of other
//!   formats are skipped, with a warning if they may have been slices.
//! - With a tilted gantry, the affine is sheared and gives the true positions of the voxels; ITK ignores the tilt.
//! - Values are int16 or uint16 if that can represent all values that the header allows (stored bits, rescaled by
//!   integers), else float32. GDCM, too, chooses the type by the header; MONAI's PydicomReader returns rescaled values as
//!   float32. LoadImaged converts all of them to its `dtype`, float32 by default, so that the values are equal.
//!
//! dicom-rs reads the elements (`elements`). JPEG-LS is decoded in `jpeg_ls`, since the established library
//! requires CMake.

mod elements;
mod jpeg_ls;
mod pixels;
mod slice;
mod stack;

pub use elements::is_dicom;

use crate::digest::{self, FileDigests};
use crate::error::Result;
use crate::image::extensions::glob_expression;
use crate::image::{DType, Element, Volume, Voxels, filled};
use crate::raw::Axes;
use crate::text::count;
use crate::{bail, err};
use elements::{Elements, HeaderSource};
use parking_lot::Mutex;
use rayon::prelude::*;
use slice::{Content, Series, Slice, Stored};
use stack::Stack;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use tracing::{info, warn};

/// Maximum number of files in a folder, and depth of subfolders.
const MAX_FILES: usize = 200_000;
const MAX_DEPTH: usize = 12;

/// Reads the CT in a folder: its only series, or the one that `series` selects by SeriesInstanceUID or its beginning,
/// number or description; `#2` at the end selects the second of several volumes in a series. Voxels are `[1,X,Y,Z]`,
/// int16, uint16 or float32.
pub fn read_folder(folder: impl AsRef<Path>, series: Option<&str>) -> Result<Volume> {
    read_folder_hashed(folder, series, None)
}

/// Like [`read_folder`]; the digests of the slices' files are recorded in `digests`.
pub fn read_folder_hashed(
    folder: impl AsRef<Path>,
    series: Option<&str>,
    digests: Option<&FileDigests>,
) -> Result<Volume> {
    let folder = folder.as_ref();
    let mut notices = Notices::default();
    let read = series_in(folder, series, &mut notices).and_then(|image| image.read(digests));
    notices.log(folder);
    read.map_err(|error| error.file(folder))
}

/// Like [`read_folder`], but reads only the headers of the slices and returns a header-only volume
/// ([`Volume::is_header_only`]).
pub fn read_folder_header(folder: impl AsRef<Path>, series: Option<&str>) -> Result<Volume> {
    let folder = folder.as_ref();
    let mut notices = Notices::default();
    let image = series_in(folder, series, &mut notices);
    notices.log(folder);
    image.map(|image| image.volume).map_err(|error| error.file(folder))
}

fn series_in(folder: &Path, series: Option<&str>, notices: &mut Notices) -> Result<SliceImage> {
    let mut files = vec![];
    list(folder, MAX_DEPTH, &mut files)?;
    files.sort();
    let Found { slices, others, doubtful } = scan(&files)?;
    if slices.is_empty() {
        let what: Vec<String> = others.iter().map(|(what, count)| format!("{count} with {what}")).collect();
        let error = err!(
            "expected DICOM slices in the folder, found none in {} ({})",
            count(files.len(), "file"),
            if what.is_empty() { "no DICOM among them".into() } else { what.join(", ") }
        );
        return Err(match glob_expression(folder) {
            Some(expression) => error.hint(format!("list the files in the folder: {expression}")),
            None => error,
        });
    }
    notices.others = others;
    report_doubtful(&doubtful, files.len(), notices)?;
    SliceImage::new(choose(slices, series, notices)?, folder, notices)
}

/// What a reader skipped or accepted with a warning, to be logged.
#[derive(Default)]
struct Notices {
    /// DICOM files that are not slices, with the number of files of each kind.
    others: BTreeMap<&'static str, usize>,
    warnings: Vec<String>,
}

impl Notices {
    fn warn(&mut self, text: String) {
        self.warnings.push(text);
    }
    /// Logs what was not logged before: the headers of a file are read before its voxels, and in every epoch.
    fn log(&self, path: &Path) {
        static LOGGED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
        let (name, mut logged) = (path.display(), LOGGED.lock());
        for (what, count) in &self.others {
            let text = format!("{name}: left out {count} DICOM files ({what})");
            if logged.insert(text.clone()) {
                info!("{text}");
            }
        }
        for text in self.warnings.iter().map(|text| format!("{name}: {text}")) {
            if logged.insert(text.clone()) {
                warn!("{text}");
            }
        }
    }
}

/// Returns the files that [`read_folder`] reads, sorted by name: those that begin like DICOM files.
pub fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = vec![];
    list(folder, MAX_DEPTH, &mut files)?;
    files.sort();
    // An unreadable file is included, so that the reader reports it.
    files.retain(|path| start_of(path).map_or(true, |start| is_dicom(&start)));
    Ok(files)
}

/// Reads one DICOM file: a slice, or all frames of an enhanced CT.
pub fn read(path: impl AsRef<Path>) -> Result<Volume> {
    read_hashed(path, None)
}

/// Like [`read`]; the digest of the file is recorded in `digests`.
pub fn read_hashed(path: impl AsRef<Path>, digests: Option<&FileDigests>) -> Result<Volume> {
    let path = path.as_ref();
    let mut notices = Notices::default();
    let read = slices_of(path, &mut notices).and_then(|image| image.read(digests));
    notices.log(path);
    read.map_err(|error| error.file(path))
}

/// Like [`read`], but reads only the header and returns a header-only volume ([`Volume::is_header_only`]).
pub fn read_header(path: impl AsRef<Path>) -> Result<Volume> {
    let path = path.as_ref();
    let mut notices = Notices::default();
    let image = slices_of(path, &mut notices);
    notices.log(path);
    image.map(|image| image.volume).map_err(|error| error.file(path))
}

fn slices_of(path: &Path, notices: &mut Notices) -> Result<SliceImage> {
    match Content::of(&Elements::parse(HeaderSource::open(path)?)?, path)? {
        Content::Other(what) => bail!("expected a DICOM image with a position in space, found {what}"),
        Content::Slices(slices) => SliceImage::new(slices, path, notices),
    }
}

/// Parses arbitrary bytes as a DICOM file, decodes all complete slices, and returns the number of slices.
pub fn check_bytes(bytes: Vec<u8>) -> Result<usize> {
    let elements = Elements::parse(bytes)?;
    let Content::Slices(slices) = Content::of(&elements, Path::new("memory"))? else { return Ok(0) };
    for slice in slices.iter().filter(|slice| slice.whole) {
        pixels::frame(&elements, &slice.stored, slice.frame)?;
    }
    Ok(slices.len())
}

fn file_bytes(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| err!("cannot read: {error}").file(path))
}

fn list(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<()> {
    let Some(depth) = depth.checked_sub(1) else { bail!("expected at most {MAX_DEPTH} levels of folders") };
    let entries = std::fs::read_dir(folder).map_err(|error| err!("cannot read the folder: {error}").file(folder))?;
    for entry in entries {
        let path = entry.map_err(|error| err!("cannot read the folder: {error}").file(folder))?.path();
        let hidden = path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with('.'));
        if hidden {
            continue;
        }
        // A link to a folder could form a cycle.
        if path.is_dir() && !path.is_symlink() {
            list(&path, depth, files)?;
        } else if path.is_file() {
            files.push(path);
        }
        if files.len() > MAX_FILES {
            bail!("expected at most {MAX_FILES} files in the folder");
        }
    }
    Ok(())
}

/// Returns the first bytes of a file, which suffice to recognize DICOM.
fn start_of(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut start = Vec::with_capacity(160);
    File::open(path)?.take(160).read_to_end(&mut start)?;
    Ok(start)
}

/// Files of a folder by kind.
struct Found {
    slices: Vec<Slice>,
    /// Number of DICOM files of other kinds.
    others: BTreeMap<&'static str, usize>,
    /// Files that may have been slices.
    doubtful: Vec<(PathBuf, Doubt)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doubt {
    Empty,
    /// Begins with the preamble of a DICOM file and ends within it.
    CutOff,
    /// Neither DICOM nor text.
    Foreign,
}

impl Doubt {
    /// Classifies a file that does not begin like DICOM. Names of slices often have no extension, or are a UID, which
    /// ends in a number.
    fn of(path: &Path, start: &[u8]) -> Option<Doubt> {
        let bare = path.extension().is_none_or(|end| end.as_encoded_bytes().iter().all(u8::is_ascii_digit));
        let is_text = || start.iter().all(|&byte| byte >= b' ' || byte.is_ascii_whitespace());
        match start {
            _ if !bare => None,
            [] => Some(Doubt::Empty),
            _ if start.len() < 132 && start.iter().take(128).all(|&byte| byte == 0) => Some(Doubt::CutOff),
            _ => (!is_text()).then_some(Doubt::Foreign),
        }
    }
}

/// Returns an error for a truncated slice. Warns of other files that may have been slices, unless they are the majority
/// of the `count` files.
fn report_doubtful(doubtful: &[(PathBuf, Doubt)], count: usize, notices: &mut Notices) -> Result<()> {
    /// Number of files that the warning names.
    const NAMED: usize = 5;
    if doubtful.len() * 2 > count {
        return Ok(());
    }
    if let Some((path, _)) = doubtful.iter().find(|(_, doubt)| *doubt == Doubt::CutOff) {
        return Err(err!("expected a DICOM file, found the beginning of one: the file is truncated")
            .file(path)
            .hint("copy or download it again; if it is not a slice, remove it from the folder"));
    }
    let shown = |(path, doubt): &(PathBuf, Doubt)| {
        let what = if *doubt == Doubt::Empty { "empty" } else { "not DICOM" };
        format!("{} ({what})", path.file_name().unwrap_or_default().to_string_lossy())
    };
    let list: Vec<String> = doubtful.iter().take(NAMED).map(shown).collect();
    if !list.is_empty() {
        let more = if doubtful.len() > NAMED { format!(" and {} more", doubtful.len() - NAMED) } else { String::new() };
        notices.warn(format!("left out files that may have been slices: {}{more}", list.join(", ")));
    }
    Ok(())
}

/// Reads the headers of all files of a folder.
fn scan(files: &[PathBuf]) -> Result<Found> {
    let (others, doubtful) = (Mutex::new(BTreeMap::new()), Mutex::new(vec![]));
    let slices: Result<Vec<Vec<Slice>>> = files
        .par_iter()
        .map(|path| {
            let read = || {
                let start = start_of(path)?;
                if !is_dicom(&start) {
                    // A file with this extension is a slice that was truncated.
                    let called = path
                        .extension()
                        .is_some_and(|end| ["dcm", "dicom"].iter().any(|known| end.eq_ignore_ascii_case(known)));
                    if called {
                        bail!(
                            "expected a DICOM file, found {}",
                            if start.is_empty() { "an empty one" } else { "something else" }
                        );
                    }
                    doubtful.lock().extend(Doubt::of(path, &start).map(|doubt| (path.clone(), doubt)));
                    return Ok(vec![]);
                }
                match Content::of(&Elements::parse(HeaderSource::open(path)?)?, path)? {
                    Content::Slices(slices) => Ok(slices),
                    Content::Other(what) => {
                        *others.lock().entry(what).or_default() += 1;
                        Ok(vec![])
                    }
                }
            };
            read().map_err(|error: crate::error::Error| error.file(path))
        })
        .collect();
    let mut doubtful = doubtful.into_inner();
    doubtful.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(Found { slices: slices?.into_iter().flatten().collect(), others: others.into_inner(), doubtful })
}

/// Slices of one volume have equal keys: series, size, orientation and pixel spacing, the latter two to four decimals.
type Key = (String, [usize; 2], [i64; 8]);

fn key(slice: &Slice) -> Key {
    let round = |value: f64| (value * 1e4).round() as i64;
    let [a, b, c] = slice.along_row.map(round);
    let [d, e, f] = slice.along_column.map(round);
    let [x, y] = slice.spacing_mm.map(round);
    (slice.series.uid.clone(), [slice.stored.columns, slice.stored.rows], [a, b, c, d, e, f, x, y])
}

/// Slices of one volume, with the number of the part, from 1, if its series has several.
struct Part {
    slices: Vec<Slice>,
    number: Option<usize>,
}

impl Part {
    fn series(&self) -> &Series {
        &self.slices[0].series
    }
    /// "series 4 `Thorax 1.0`, part 2, CT, 397 slices of 512×512, UID 1.2.3".
    fn described(&self) -> String {
        let (series, Stored { columns, rows, .. }) = (self.series(), self.slices[0].stored);
        format!(
            "series {} `{}`,{} {}, {} of {columns}×{rows}, UID {}",
            series.number,
            series.description,
            self.number.map(|number| format!(" part {number},")).unwrap_or_default(),
            series.modality,
            count(self.slices.len(), "slice"),
            series.uid
        )
    }
}

/// Groups slices by volume, in the order of their files. Single slices in a series of many are skipped with a warning.
fn parts(slices: Vec<Slice>, notices: &mut Notices) -> Vec<Part> {
    /// Number of slices in a volume from which on a single other slice is skipped.
    const MANY: usize = 3;
    let mut groups: Vec<(Key, Vec<Slice>)> = vec![];
    for slice in slices {
        let key = key(&slice);
        // Orientations may differ in the last digit.
        let near = |other: &Key| {
            other.0 == key.0 && other.1 == key.1 && other.2.iter().zip(key.2).all(|(a, b)| (a - b).abs() <= 10)
        };
        match groups.iter_mut().find(|(other, _)| near(other)) {
            Some((_, group)) => group.push(slice),
            None => groups.push((key, vec![slice])),
        }
    }
    let mut groups: Vec<Vec<Slice>> = groups.into_iter().flat_map(|(_, group)| by_acquisition(group)).collect();
    let large: Vec<String> =
        groups.iter().filter(|group| group.len() >= MANY).map(|group| group[0].series.uid.clone()).collect();
    groups.retain(|group| match &group[..] {
        [lone] if large.contains(&lone.series.uid) && !lone.series.localizer => {
            notices.warn(format!(
                "left out a single slice that differs from the others of its series in orientation or size: {}",
                lone.file.display()
            ));
            false
        }
        _ => true,
    });
    let uids: Vec<String> = groups.iter().map(|group| group[0].series.uid.clone()).collect();
    let count = |uids: &[String], uid: &String| uids.iter().filter(|other| *other == uid).count();
    let numbered = groups.into_iter().enumerate().map(|(at, slices)| Part {
        slices,
        number: (count(&uids, &uids[at]) > 1).then(|| count(&uids[..=at], &uids[at])),
    });
    numbered.collect()
}

/// Returns one group per AcquisitionNumber if slices of several acquisitions have the same position, such as contrast
/// phases.
fn by_acquisition(group: Vec<Slice>) -> Vec<Vec<Slice>> {
    let normal = group[0].normal();
    let place = |slice: &Slice| (slice.height(normal) * 1e3).round() as i64;
    let mut seen: BTreeMap<i64, &str> = BTreeMap::new();
    let several = group.iter().any(|slice| {
        let acquisition = slice.acquisition.as_str();
        *seen.entry(place(slice)).or_insert(acquisition) != acquisition
    });
    let mut acquisitions: BTreeMap<&str, usize> = BTreeMap::new();
    group.iter().for_each(|slice| *acquisitions.entry(&slice.acquisition).or_default() += 1);
    // Single slices are duplicates, or scanner rotations that each have a number.
    if !several || acquisitions.values().any(|count| *count == 1) {
        return vec![group];
    }
    let mut groups: BTreeMap<String, Vec<Slice>> = BTreeMap::new();
    for slice in group {
        groups.entry(slice.acquisition.clone()).or_default().push(slice);
    }
    groups.into_values().collect()
}

/// Returns the parts of the series that `wanted` selects: by SeriesInstanceUID, else by number, else by description,
/// else by the beginning of the UID. In this order, a number is not taken for a UID, and a UID can be selected even if
/// it is the beginning of another one. `#2` at the end selects part 2.
fn named(parts: Vec<Part>, wanted: &str) -> Vec<Part> {
    let ways: [fn(&Series, &str) -> bool; 4] = [
        |series, wanted| series.uid == wanted,
        |series, wanted| series.number == wanted,
        |series, wanted| series.description == wanted,
        |series, wanted| series.uid.starts_with(wanted),
    ];
    let way = |name: &str| ways.into_iter().find(|way| parts.iter().any(|part| way(part.series(), name)));
    let (name, number, way) = match (way(wanted), wanted.rsplit_once('#')) {
        (None, Some((name, number))) => {
            (name, number.parse().ok(), way(name).filter(|_| number.parse::<usize>().is_ok()))
        }
        (way, _) => (wanted, None, way),
    };
    let chosen = |part: &Part| {
        way.is_some_and(|way| way(part.series(), name))
            && number.is_none_or(|number| part.number.unwrap_or(1) == number)
    };
    parts.into_iter().filter(chosen).collect()
}

fn choose(slices: Vec<Slice>, wanted: Option<&str>, notices: &mut Notices) -> Result<Vec<Slice>> {
    let mut parts = parts(slices, notices);
    let all: Vec<String> = parts.iter().map(Part::described).collect();
    if let Some(wanted) = wanted {
        parts = named(parts, wanted);
        if parts.is_empty() {
            return Err(err!("expected a series `{wanted}`, found {}:\n{}", all.len(), all.join("\n"))
                .hint("name a SeriesInstanceUID, and with #2 at its end the second part of that series"));
        }
    }
    if parts.iter().any(|part| !part.series().localizer) {
        parts.retain(|part| {
            if part.series().localizer {
                notices.warn(format!("left out a localizer: {}", part.described()));
            }
            !part.series().localizer
        });
    }
    match parts.pop() {
        Some(part) if parts.is_empty() => Ok(part.slices),
        last => {
            parts.extend(last);
            let one_series = parts.iter().all(|part| part.series().uid == parts[0].series().uid);
            let hint = if one_series {
                let number = &parts[0].series().number;
                let name = if number.is_empty() { &parts[0].series().uid } else { number };
                format!(
                    "select one of the parts (UID, number or description, #, part): series_name='{name}#1' of LoadImaged, or --series '{name}#1' of the commands; or put each into a folder of its own"
                )
            } else {
                "select one by its UID, number or description: series_name='…' of LoadImaged, or --series '…' of the commands; or put each into a folder of its own".to_owned()
            };
            let what = if one_series { "DICOM volume" } else { "DICOM series" };
            let mut list: Vec<String> = parts.iter().map(Part::described).collect();
            list.sort();
            Err(err!("expected one {what} in the folder, found {}:\n{}", list.len(), list.join("\n")).hint(hint))
        }
    }
}

/// The slices of an image and its header-only volume.
struct SliceImage {
    slices: Vec<Slice>,
    volume: Volume,
}

impl SliceImage {
    fn new(slices: Vec<Slice>, path: &Path, notices: &mut Notices) -> Result<SliceImage> {
        let Stack { slices, affine } = Stack::new(slices, notices)?;
        let Stored { columns, rows, .. } = slices[0].stored;
        if let Some(other) = slices.iter().find(|slice| (slice.stored.columns, slice.stored.rows) != (columns, rows)) {
            bail!(
                "expected frames of one size, found {columns}×{rows} and {}×{}",
                other.stored.columns,
                other.stored.rows
            );
        }
        if let Some(slice) = slices.iter().find(|slice| !slice.whole) {
            return Err(err!(
                "expected {columns}×{rows} voxels in {} frames, found fewer: the file is truncated",
                slice.stored.frames
            )
            .file(&*slice.file));
        }
        let axes = Axes { sizes: vec![columns, rows, slices.len()], spatial: vec![0, 1, 2], channel: None };
        let volume = axes.volume(dtype(&slices), affine, path)?;
        Ok(SliceImage { slices, volume })
    }

    /// Reads and decodes the slices; the digests of their files are recorded in `digests`.
    fn read(self, digests: Option<&FileDigests>) -> Result<Volume> {
        let SliceImage { slices, volume } = self;
        let voxels = match volume.voxels.dtype() {
            DType::I16 => decoded::<i16>(&slices, digests)?,
            DType::U16 => decoded::<u16>(&slices, digests)?,
            _ => decoded::<f32>(&slices, digests)?,
        };
        Ok(Volume { voxels, ..volume })
    }
}

/// Returns int16 or uint16 if it can represent all values of the stored bits after rescaling, else float32.
fn dtype(slices: &[Slice]) -> DType {
    let holds = |least: f64, most: f64| {
        slices.iter().all(|slice| slice.value_range().is_some_and(|range| range[0] >= least && range[1] <= most))
    };
    if holds(i16::MIN.into(), i16::MAX.into()) {
        DType::I16
    } else if holds(0.0, u16::MAX.into()) {
        DType::U16
    } else {
        DType::F32
    }
}

/// Returns the rescaled values of all slices.
fn decoded<T: Number>(slices: &[Slice], digests: Option<&FileDigests>) -> Result<Voxels> {
    let Stored { columns, rows, .. } = slices[0].stored;
    let plane = columns.saturating_mul(rows);
    let count = plane.checked_mul(slices.len()).ok_or_else(|| err!("expected a size that memory can hold"))?;
    let files = by_file(slices);
    let mut result = Ok(());
    let voxels = filled::<T>(count, |out| {
        let mut planes: Vec<Option<&mut [T]>> = out.chunks_mut(plane).map(Some).collect();
        let tasks: Vec<(&Slice, Vec<_>)> = files
            .iter()
            .map(|group| {
                let frames = group.iter().filter_map(|(at, slice)| Some((*slice, planes[*at].take()?)));
                (group[0].1, frames.collect::<Vec<(&Slice, &mut [T])>>())
            })
            .collect();
        result = tasks.into_par_iter().try_for_each(|(file, frames)| {
            let work = || {
                let bytes = file_bytes(&file.file)?;
                if let Some(digests) = digests {
                    digests.record(&file.file, digest::of_bytes(&bytes));
                }
                let elements = Elements::parse(bytes)?;
                for (slice, out) in frames {
                    let (slope, intercept) = slice.scaling;
                    for (out, number) in out.iter_mut().zip(pixels::frame(&elements, &slice.stored, slice.frame)?) {
                        let value = f64::from(number) * slope + intercept;
                        *out = T::of(value).ok_or_else(|| {
                            err!(
                                "expected voxels in the range of {} as the header says, found {value}",
                                T::DTYPE.name()
                            )
                        })?;
                    }
                }
                Ok(())
            };
            work().map_err(|error: crate::error::Error| error.file(&*file.file))
        });
    })?;
    result.map(|()| T::wrap(voxels))
}

/// Slices with their positions in the stack, grouped by file, since a file is read once for all its frames.
fn by_file(slices: &[Slice]) -> Vec<Vec<(usize, &Slice)>> {
    let mut files: BTreeMap<&Path, Vec<(usize, &Slice)>> = BTreeMap::new();
    for (at, slice) in slices.iter().enumerate() {
        files.entry(&slice.file).or_default().push((at, slice));
    }
    files.into_values().collect()
}

/// A type of rescaled values.
trait Number: Element {
    const DTYPE: DType;
    fn of(value: f64) -> Option<Self>;
}

impl Number for i16 {
    const DTYPE: DType = DType::I16;
    fn of(value: f64) -> Option<Self> {
        (value >= f64::from(i16::MIN) && value <= f64::from(i16::MAX)).then_some(value as i16)
    }
}

impl Number for u16 {
    const DTYPE: DType = DType::U16;
    fn of(value: f64) -> Option<Self> {
        (value >= 0.0 && value <= f64::from(u16::MAX)).then_some(value as u16)
    }
}

impl Number for f32 {
    const DTYPE: DType = DType::F32;
    fn of(value: f64) -> Option<Self> {
        (value as f32).is_finite().then_some(value as f32)
    }
}
