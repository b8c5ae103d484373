//! CacheDataset (monai.data.dataset, MONAI 1.6.1): caches the results of the transforms before the first random one.
//!
//! Differences from MONAI:
//! - The cache is limited to the available memory, with a warning; MONAI runs out of memory.
//! - Integer-valued images (labels) are cached in one or two bytes per voxel.
//! - Workers are threads and share the cache.

use super::dataset::{Transforms, sample};
use crate::component::{Accepted, NotSupported, OneOrMany, Value};
use crate::contracts::{CaseContext, Dataset, Item, RunContext, Sample, Transform, TransformContext, apply_all};
use crate::error::Result;
use crate::formats::digest::FileDigests;
use crate::image::{Voxels, filled};
use crate::random::RngStates;
use crate::{bail, each_voxels, err, text};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

component! {
    /// Dataset that caches the results of the transforms before the first random one.
    pub static COMPONENT = dataset "CacheDataset" in "monai.data" / "dataset";

    pub struct CacheDatasetArgs {
        /// List of dicts, one per case: `[{'image': 'a.nii.gz', 'label': 'b.nii.gz'}, ...]`.
        #[no_effect_on_results]
        data: Vec<Value>,
        /// Transform or list of transforms to apply to each case.
        transform: Transforms = (),
        /// Maximum number of cases to cache.
        #[no_effect_on_results]
        cache_num: i64 = i64::MAX,
        /// Maximum fraction of the cases to cache, in [0, 1].
        #[no_effect_on_results]
        cache_rate: f64 = 1.0,
        /// Number of threads that fill the cache.
        #[no_effect_on_results]
        num_workers: Option<i64> = 1,
        /// Log the progress while the cache is filled.
        #[no_effect_on_results]
        progress: bool = true,
        /// No effect: random transforms never modify the cached data.
        copy_cache: Accepted = true,
        /// Store cached images in C order, whatever their memory order in the file.
        #[no_effect_on_results]
        as_contiguous: bool = true,
        /// Cache equal entries once; not supported.
        #[no_effect_on_results]
        hash_as_key: NotSupported = false,
        /// No effect: only used with `hash_as_key`.
        hash_func: Accepted = (),
        /// Fill the cache while cases are requested instead of in advance: True or "threads".
        #[no_effect_on_results]
        runtime_cache: OneOrMany<Value> = false,
    }

    effect: Reads,
    differs: [
        "the cache is limited to the available memory, with a warning",
        "images of integers from 0 to 65535 are cached in one or two bytes per voxel",
        "all workers share one cache",
    ],
    build: Cached::new,
}

struct Cached {
    data: Vec<Value>,
    /// The argument of the config, for seeding.
    given: Transforms,
    /// All transforms in order, without an outer Compose.
    steps: Vec<Arc<dyn Transform>>,
    /// Number of steps before the first random one.
    fixed: usize,
    contiguous: bool,
    /// Whether to log the progress of filling the cache.
    progress: bool,
    /// Number of threads that fill the cache before the first pass; `None` once it is filled, or with `runtime_cache`.
    to_fill: Mutex<Option<usize>>,
    /// Number of first cases that the cache may hold.
    kept: AtomicUsize,
    /// Bytes of all cached samples.
    held_bytes: AtomicU64,
    /// Whether a case did not fit into the cache.
    full: AtomicBool,
    /// Samples of the first cases after the fixed steps; `None` before they are loaded.
    cache: Vec<Mutex<Option<Vec<Sample>>>>,
}

impl Cached {
    fn new(args: CacheDatasetArgs) -> Result<Cached> {
        let lazy = match &args.runtime_cache {
            OneOrMany::One(Value::Bool(on)) => *on,
            OneOrMany::One(Value::None) => false,
            OneOrMany::One(Value::Str(kind)) if kind.contains("thread") => true,
            _ => bail!("argument `runtime_cache`: expected True, False or \"threads\""),
        };
        if args.cache_rate < 0.0 || args.cache_rate.is_nan() {
            bail!("`cache_rate` is {}, expected at least 0", args.cache_rate);
        }
        let rated = (args.data.len() as f64 * args.cache_rate) as usize;
        let wanted = rated.min(args.data.len()).min(usize::try_from(args.cache_num).unwrap_or(0));
        let given = args.transform;
        let steps: Vec<_> = given.steps.iter().flat_map(flat).collect();
        let fixed = steps.iter().position(|step| step.is_random()).unwrap_or(steps.len());
        let cache = (0..wanted).map(|_| Mutex::new(None)).collect();
        let to_fill = (!lazy && wanted > 0).then(|| args.num_workers.map_or(1, |n| n.max(1) as usize));
        Ok(Cached {
            data: args.data,
            given,
            steps,
            fixed,
            contiguous: args.as_contiguous,
            progress: args.progress,
            to_fill: Mutex::new(to_fill),
            kept: AtomicUsize::new(wanted),
            held_bytes: AtomicU64::new(0),
            full: AtomicBool::new(false),
            cache,
        })
    }

    /// Fills the cache with `workers` threads. The size of the first case determines how many fit. The digests of the files
    /// are those of the contents that are cached, whatever becomes of the files afterwards.
    fn fill(&self, workers: usize, run: &RunContext, digests: Option<&FileDigests>) -> Result<()> {
        let (progress, memory_bytes) = (self.progress, run.options.memory_bytes);
        let load = |index: usize| -> Result<Vec<Sample>> {
            let context = CaseContext { digests: digests.cloned(), ..CaseContext::in_run(run) };
            context.check()?;
            let mut cx = TransformContext { case: &context, writes: &mut vec![], rng: &mut RngStates::default() };
            crate::torch::guard(|| self.load(index, &mut cx))
                .map_err(|e| e.context(format_args!("case {index} of the dataset")))
        };
        let first = load(0)?;
        let case_bytes = bytes_of(&first).max(1);
        let wanted = self.cache.len();
        let fits = usize::try_from(memory_bytes / case_bytes).unwrap_or(usize::MAX).max(1).min(wanted);
        if progress {
            tracing::info!(
                "caching {wanted} of {}, about {}",
                text::count(self.data.len(), "case"),
                text::bytes(case_bytes * wanted as u64)
            );
        }
        if fits < wanted {
            tracing::warn!(
                "{wanted} cases need about {}, {} may be used: the first {fits} are cached, the others are read in every epoch",
                text::bytes(case_bytes * wanted as u64),
                text::bytes(memory_bytes)
            );
        }
        // The first case is cached whatever its size.
        self.keep(0, first, u64::MAX);
        let (next, done) = (AtomicUsize::new(1), AtomicUsize::new(1));
        let failed: Mutex<Option<crate::error::Error>> = Mutex::new(None);
        std::thread::scope(|scope| {
            for _ in 0..workers.min(fits) {
                scope.spawn(|| {
                    loop {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        if index >= fits || self.full.load(Ordering::Relaxed) || failed.lock().is_some() {
                            break;
                        }
                        match load(index) {
                            Ok(samples) => {
                                // This case may be larger than the first.
                                if !self.keep(index, samples, memory_bytes) {
                                    self.full.store(true, Ordering::Relaxed);
                                    break;
                                }
                                let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                                if progress && (done * 10 / fits > (done - 1) * 10 / fits) {
                                    tracing::info!("cached {done} of {fits} cases");
                                }
                            }
                            Err(error) => {
                                failed.lock().get_or_insert(error);
                                break;
                            }
                        }
                    }
                });
            }
        });
        if let Some(error) = failed.into_inner() {
            return Err(error);
        }
        if self.full.load(Ordering::Relaxed) {
            tracing::warn!(
                "the memory limit is reached after {} of {wanted} cases: the others are read in every epoch",
                done.into_inner()
            );
        }
        // Cases after the last cached one are not cached on access.
        let keep: Vec<bool> = self.cache.iter().map(|slot| slot.lock().is_some()).collect();
        let last = keep.iter().rposition(|kept| *kept).map_or(0, |at| at + 1);
        self.kept.store(last, Ordering::Relaxed);
        Ok(())
    }

    /// Caches case `index` unless it is cached; false if it does not fit into `limit_bytes` with the others.
    fn keep(&self, index: usize, samples: Vec<Sample>, limit_bytes: u64) -> bool {
        let mut slot = self.cache[index].lock();
        if slot.is_none() && self.reserve(bytes_of(&samples), limit_bytes) {
            *slot = Some(samples);
        }
        slot.is_some()
    }

    /// Adds `bytes` to those of the cache; false if they do not fit into `limit_bytes`.
    fn reserve(&self, bytes: u64, limit_bytes: u64) -> bool {
        let add = |held: u64| held.checked_add(bytes).filter(|held| *held <= limit_bytes);
        self.held_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).is_ok()
    }

    /// Case `index` after the fixed steps.
    fn load(&self, index: usize, cx: &mut TransformContext) -> Result<Vec<Sample>> {
        let mut samples = apply_all(&self.steps[..self.fixed], vec![self.sample(index)?], cx)?;
        for item in samples.iter_mut().flat_map(|sample| sample.items.values_mut()) {
            if let Item::Image(volume) = item {
                let mut own = volume.clone();
                if self.contiguous {
                    own = own.contiguous()?;
                }
                own.voxels = compact(own.voxels)?;
                *volume = own;
            }
        }
        Ok(samples)
    }
}

fn bytes_of(samples: &[Sample]) -> u64 {
    samples.iter().map(Sample::bytes).sum()
}

fn duplicates(samples: &[Sample]) -> Result<Vec<Sample>> {
    samples.iter().map(Sample::duplicate).collect()
}

/// The children of a Compose; any other transform itself.
fn flat(transform: &Arc<dyn Transform>) -> Vec<Arc<dyn Transform>> {
    if transform.is_chain() { transform.children().to_vec() } else { vec![transform.clone()] }
}

/// Stores integer values in 0..=255 as uint8, in 0..=65535 as uint16; other voxels are unchanged.
fn compact(voxels: Voxels) -> Result<Voxels> {
    use crate::image::Element;
    if voxels.dtype().size_bytes() == 1 || voxels.is_empty() {
        return Ok(voxels);
    }
    let largest = each_voxels!(&voxels, slice => slice.iter().try_fold(0.0f64, |largest, x| {
        let x = x.to_f64();
        // -0.0 is excluded: its sign would be lost.
        (x.fract() == 0.0 && !x.is_sign_negative() && x <= 65535.0).then_some(largest.max(x))
    }));
    fn narrow<A: Element, B: Element>(from: &[A]) -> Result<Voxels> {
        Ok(B::wrap(filled(from.len(), |out| {
            out.iter_mut().zip(from).for_each(|(out, x)| *out = B::from_f64(x.to_f64()))
        })?))
    }
    match largest {
        Some(largest) if largest <= 255.0 => each_voxels!(&voxels, slice => narrow::<_, u8>(slice)),
        Some(_) if voxels.dtype().size_bytes() > 2 => each_voxels!(&voxels, slice => narrow::<_, u16>(slice)),
        _ => Ok(voxels),
    }
}

impl Dataset for Cached {
    fn name(&self) -> &'static str {
        COMPONENT.name
    }
    fn len(&self) -> usize {
        self.data.len()
    }
    fn entry(&self, index: usize) -> Result<Value> {
        self.data
            .get(index)
            .cloned()
            .ok_or_else(|| err!("case index {index} is out of range for {} cases", self.data.len()))
    }
    fn transforms(&self) -> &[Arc<dyn Transform>] {
        &self.steps
    }
    fn prepare(&self, run: &RunContext, digests: Option<&FileDigests>) -> Result<()> {
        let workers = self.to_fill.lock().take();
        workers.map_or(Ok(()), |workers| self.fill(workers, run, digests).map_err(|error| error.context(self.name())))
    }
    fn sample(&self, index: usize) -> Result<Sample> {
        sample(&self.entry(index)?)
    }
    fn reads_files(&self) -> bool {
        false
    }
    fn seed(&self, seed: u32, rng: &mut RngStates) {
        self.given.seed(seed, rng);
    }
    fn get(&self, index: usize, cx: &mut TransformContext) -> Result<Vec<Sample>> {
        let fixed = match self.cache.get(index).filter(|_| index < self.kept.load(Ordering::Relaxed)) {
            Some(slot) => {
                // Locked while the case is read, so that no other worker reads it too.
                let mut slot = slot.lock();
                match &*slot {
                    Some(cached) => duplicates(cached)?,
                    None => {
                        let loaded = self.load(index, cx)?;
                        if self.reserve(bytes_of(&loaded), cx.case.budget_bytes) {
                            duplicates(slot.insert(loaded))?
                        } else {
                            if !self.full.swap(true, Ordering::Relaxed) {
                                tracing::warn!(
                                    "the memory limit is reached: cases that are not cached yet are read in every epoch"
                                );
                            }
                            loaded
                        }
                    }
                }
            }
            None => self.load(index, cx)?,
        };
        apply_all(&self.steps[self.fixed..], fixed, cx)
    }
}
