//! The sample data: bodies that are whole, ordered, connected, of plausible size, and not to be told by HU alone.

use segbundle::formats::nifti;
use segbundle::image::Grid;
use segbundle::tools::classes::{NAMES, id};
use segbundle::tools::phantom::{Case, Options, case, write_set};
use std::sync::OnceLock;

/// 6 mm: a case takes half a second.
fn coarse() -> Options {
    Options { size: [64, 52, 100], spacing_mm: 6.0, training: 8, test: 2, ..Options::default() }
}

/// Ten cases in a row show every view once.
fn cases() -> &'static [Case] {
    static CASES: OnceLock<Vec<Case>> = OnceLock::new();
    CASES.get_or_init(|| (0..10).map(|index| case(index, &coarse()).unwrap()).collect())
}

/// Cases 1 and 5 show the body from thigh to vertex.
const WHOLE: [usize; 2] = [1, 5];

fn world(grid: &Grid, at: usize) -> [f64; 3] {
    let [nx, ny, _] = grid.shape;
    let voxel = [at % nx, at / nx % ny, at / (nx * ny)].map(|n| n as f64);
    std::array::from_fn(|row| {
        let line = grid.affine.0[row];
        (0..3).map(|axis| line[axis] * voxel[axis]).sum::<f64>() + line[3]
    })
}

/// By class: voxels, sum of world coordinates, sum of HU.
struct Sums(Vec<(usize, [f64; 3], f64)>);

impl Sums {
    fn of(case: &Case) -> Sums {
        let mut sums = vec![(0, [0.0; 3], 0.0); 105];
        for (at, (&label, &hu)) in case.labels.iter().zip(&case.image).enumerate() {
            let (count, place, total) = &mut sums[usize::from(label)];
            *count += 1;
            let p = world(&case.grid, at);
            (0..3).for_each(|axis| place[axis] += p[axis]);
            *total += f64::from(hu);
        }
        Sums(sums)
    }
    fn of_name(&self, name: &str) -> &(usize, [f64; 3], f64) {
        &self.0[usize::from(id(name).unwrap())]
    }
    fn center(&self, name: &str) -> Option<[f64; 3]> {
        let (count, place, _) = self.of_name(name);
        (*count >= 4).then(|| place.map(|value| value / *count as f64))
    }
    fn hu(&self, name: &str) -> Option<f64> {
        let (count, _, total) = self.of_name(name);
        (*count >= 20).then(|| total / *count as f64)
    }
}

fn voxel_ml(grid: &Grid) -> f64 {
    grid.affine.spacing_mm().iter().product::<f64>() / 1000.0
}

#[test]
fn all_structures_occur_and_most_in_most_cases() {
    let mut occurs = [0; 105];
    for case in cases() {
        let sums = Sums::of(case);
        (1..105).for_each(|class| occurs[class] += usize::from(sums.0[class].0 > 0));
    }
    let never: Vec<&str> = (1..105).filter(|&class| occurs[class] == 0).map(|class| NAMES[class]).collect();
    assert!(never.is_empty(), "never: {never:?}");
    let in_most = (1..105).filter(|&class| occurs[class] >= 6).count();
    assert!(in_most >= 90, "{in_most} of 104 structures are in at least 6 of 10 cases");
}

#[test]
fn right_is_right_whatever_the_orientation() {
    let mut pairs = 0;
    for (index, case) in cases().iter().enumerate() {
        let sums = Sums::of(case);
        for right in NAMES.iter().filter(|name| name.contains("right")) {
            let left = right.replace("right", "left");
            // Chambers lie before one another as much as side by side; the left lung has no middle lobe.
            if right.starts_with("heart") || id(&left).is_none() {
                continue;
            }
            if let (Some(a), Some(b)) = (sums.center(right), sums.center(&left)) {
                assert!(a[0] > b[0] + 10.0, "case {index}: {right} at {a:?}, {left} at {b:?}");
                pairs += 1;
            }
        }
        if let (Some(liver), Some(spleen)) = (sums.center("liver"), sums.center("spleen")) {
            assert!(liver[0] > spleen[0] + 80.0, "case {index}: {liver:?} {spleen:?}");
        }
        if let Some(heart) = sums.center("heart_ventricle_left") {
            assert!(heart[0] < -10.0, "case {index}: {heart:?}");
        }
    }
    assert!(pairs > 200, "{pairs} pairs");
}

#[test]
fn vertebrae_and_ribs_are_in_order() {
    let first = usize::from(id("vertebrae_L5").unwrap());
    for index in WHOLE {
        let sums = Sums::of(&cases()[index]);
        let heights: Vec<f64> = (first..first + 24).map(|class| sums.center(NAMES[class]).unwrap()[2]).collect();
        assert!(heights.windows(2).all(|pair| pair[1] > pair[0] + 5.0), "case {index}: {heights:?}");
        for side in ["left", "right"] {
            let ribs: Vec<f64> =
                (1..=12).map(|number| sums.center(&format!("rib_{side}_{number}")).unwrap()[2]).collect();
            assert!(ribs.windows(2).all(|pair| pair[0] > pair[1] + 5.0), "case {index}, {side}: {ribs:?}");
        }
        let z = |name: &str| sums.center(name).unwrap()[2];
        let upwards = ["urinary_bladder", "kidney_right", "liver", "heart_myocardium", "aorta", "face", "brain"];
        assert!(
            upwards.windows(2).all(|pair| z(pair[0]) < z(pair[1]) || pair == ["heart_myocardium", "aorta"]),
            "case {index}"
        );
        assert!(z("sacrum") < z("vertebrae_L5") && z("femur_left") < z("hip_left"));
    }
}

/// Voxels of the largest part of a class that hangs together, corners included.
fn largest_part(case: &Case, class: u8) -> usize {
    let shape = case.grid.shape.map(|n| n as isize);
    let mut open: Vec<bool> = case.labels.iter().map(|&label| label == class).collect();
    let mut largest = 0;
    for start in 0..open.len() {
        if !open[start] {
            continue;
        }
        open[start] = false;
        let (mut todo, mut size) = (vec![start as isize], 0);
        while let Some(at) = todo.pop() {
            size += 1;
            let place = [at % shape[0], at / shape[0] % shape[1], at / (shape[0] * shape[1])];
            for step in 0..27 {
                let next: [isize; 3] = [place[0] + step % 3 - 1, place[1] + step / 3 % 3 - 1, place[2] + step / 9 - 1];
                if (0..3).all(|axis| (0..shape[axis]).contains(&next[axis])) {
                    let neighbor = (next[2] * shape[1] + next[1]) * shape[0] + next[0];
                    if std::mem::take(&mut open[neighbor as usize]) {
                        todo.push(neighbor);
                    }
                }
            }
        }
        largest = largest.max(size);
    }
    largest
}

#[test]
fn structures_hang_together() {
    // Thin parts break at 6 mm: the blade of a shoulder, a process of a vertebra.
    let options = Options { size: [96, 78, 150], spacing_mm: 4.0, ..coarse() };
    let case = case(WHOLE[0], &options).unwrap();
    let sums = Sums::of(&case);
    for class in 1..105u8 {
        let (all, part) = (sums.0[usize::from(class)].0, largest_part(&case, class));
        assert!(part as f64 >= 0.93 * all as f64, "{}: {part} of {all} voxels", NAMES[usize::from(class)]);
    }
}

/// Structures and the range of their volumes in ml, about half to twice the means of ICRP Publication 89.
const VOLUMES_ML: [(&str, &[&str], f64, f64); 11] = [
    ("liver", &["liver"], 1000.0, 2100.0),
    ("spleen", &["spleen"], 80.0, 320.0),
    ("kidneys", &["kidney_left", "kidney_right"], 200.0, 420.0),
    (
        "lungs",
        &[
            "lung_upper_lobe_left",
            "lung_lower_lobe_left",
            "lung_upper_lobe_right",
            "lung_middle_lobe_right",
            "lung_lower_lobe_right",
        ],
        2700.0,
        6500.0,
    ),
    (
        "heart",
        &[
            "heart_myocardium",
            "heart_atrium_left",
            "heart_ventricle_left",
            "heart_atrium_right",
            "heart_ventricle_right",
        ],
        400.0,
        850.0,
    ),
    ("pancreas", &["pancreas"], 50.0, 150.0),
    ("bladder", &["urinary_bladder"], 80.0, 350.0),
    ("brain", &["brain"], 1000.0, 1700.0),
    ("stomach", &["stomach"], 200.0, 600.0),
    ("aorta", &["aorta"], 120.0, 350.0),
    ("gallbladder", &["gallbladder"], 12.0, 60.0),
];

#[test]
fn volumes_are_those_of_adults() {
    for index in WHOLE {
        let (case, mut shown) = (&cases()[index], vec![]);
        let (sums, ml) = (Sums::of(case), voxel_ml(&case.grid));
        for (organ, names, least, most) in VOLUMES_ML {
            let volume = names.iter().map(|name| sums.of_name(name).0 as f64).sum::<f64>() * ml;
            shown.push(format!("{organ} {volume:.0} ml"));
            assert!((least..most).contains(&volume), "case {index}: {shown:?}");
        }
    }
}

#[test]
fn tissues_have_their_hu() {
    for (index, case) in cases().iter().enumerate() {
        let sums = Sums::of(case);
        let in_range = |name: &str, low: f64, high: f64| {
            if let Some(hu) = sums.hu(name) {
                assert!((low..high).contains(&hu), "case {index}: {name} has {hu:.0} HU");
            }
        };
        for (class, name) in NAMES.iter().enumerate().skip(1) {
            if name.starts_with("lung") && sums.0[class].0 > 300 {
                in_range(name, -880.0, -550.0);
            } else if name.starts_with("vertebrae") || name.starts_with("femur") || name.starts_with("hip") {
                in_range(name, 130.0, 800.0);
            } else if ["gluteus", "autochthon", "iliopsoas"].iter().any(|muscle| name.starts_with(muscle)) {
                in_range(name, 20.0, 95.0);
            }
        }
        in_range("liver", 20.0, 140.0);
        in_range("kidney_left", 10.0, 240.0);
        in_range("brain", 15.0, 70.0);
        in_range("urinary_bladder", -20.0, 40.0);
        in_range("trachea", -1000.0, -600.0);
    }
}

#[test]
fn hu_alone_does_not_tell_structures_apart() {
    // Fit on eight cases: the commonest label of each HU; score on the two others.
    let bin = |hu: i16| (i32::from(hu) + 1024).clamp(0, 4095) as usize;
    let mut counts = vec![[0u32; 105]; 4096];
    let (fit, rest) = cases().split_at(8);
    for case in fit {
        case.image.iter().zip(&case.labels).for_each(|(&hu, &label)| counts[bin(hu)][usize::from(label)] += 1);
    }
    let commonest: Vec<usize> =
        counts.iter().map(|row| (0..105).max_by_key(|&class| (row[class], 105 - class)).unwrap()).collect();
    let mut scores = vec![];
    for case in rest {
        let (mut both, mut sizes) = ([0.0; 105], [0.0; 105]);
        for (&hu, &label) in case.image.iter().zip(&case.labels) {
            let (guess, truth) = (commonest[bin(hu)], usize::from(label));
            sizes[guess] += 1.0;
            sizes[truth] += 1.0;
            if guess == truth {
                both[truth] += 2.0;
            }
        }
        let present: Vec<usize> = (1..105).filter(|&class| case.labels.contains(&(class as u8))).collect();
        scores.extend(present.iter().map(|&class| both[class] / sizes[class]));
    }
    let mean: f64 = scores.iter().sum::<f64>() / scores.len() as f64;
    assert!(mean < 0.2, "mean Dice {mean:.3} over {} structures", scores.len());
    println!("HU lookup: mean Dice {mean:.3} over {} structures", scores.len());
}

#[test]
fn the_same_seed_gives_the_same_bytes_with_any_number_of_threads() {
    let options = Options { size: [24, 20, 36], spacing_mm: 16.0, training: 2, test: 1, ..Options::default() };
    let set = |threads: usize, options: &Options| -> Vec<Vec<u8>> {
        let folder = tempfile::tempdir().unwrap();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let paths = pool.install(|| write_set(folder.path(), options)).unwrap();
        let names: Vec<String> =
            paths.iter().map(|path| path.strip_prefix(folder.path()).unwrap().display().to_string()).collect();
        assert_eq!(names, ["imagesTr/s0037.nii.gz", "imagesTr/s0038.nii.gz", "imagesTs/s0039.nii.gz"]);
        let labels = ["labelsTr/s0037.nii.gz", "labelsTr/s0038.nii.gz"].map(|name| folder.path().join(name));
        paths.iter().chain(&labels).map(|path| std::fs::read(path).unwrap()).collect()
    };
    let one = set(1, &options);
    assert!(one == set(3, &options));
    assert!(one != set(1, &Options { seed: 1, ..options }));
}

#[test]
fn files_hold_what_was_made_and_say_what_they_are() {
    use segbundle::image::Voxels;
    let options = Options { size: [24, 20, 36], spacing_mm: 16.0, training: 1, test: 1, ..Options::default() };
    let folder = tempfile::tempdir().unwrap();
    let paths = write_set(folder.path(), &options).unwrap();
    for (index, path) in paths.iter().enumerate() {
        let made = case(index, &options).unwrap();
        let read = nifti::read(path).unwrap();
        let Voxels::I16(voxels) = &read.voxels else { panic!("expected int16, found {:?}", read.voxels.dtype()) };
        assert_eq!(voxels[..], made.image[..]);
        assert_eq!(read.grid().shape, made.grid.shape);
        let furthest = (0..16)
            .map(|at| (read.affine.0[at / 4][at % 4] - made.grid.affine.0[at / 4][at % 4]).abs())
            .fold(0.0, f64::max);
        // Both are sforms in f32.
        assert!(furthest < 1e-6, "{furthest}");
        let mut header = vec![0; 348];
        std::io::Read::read_exact(
            &mut flate2::read::MultiGzDecoder::new(std::fs::File::open(path).unwrap()),
            &mut header,
        )
        .unwrap();
        let description = String::from_utf8_lossy(&header[148..228]).into_owned();
        assert!(description.contains("phantom") && description.contains("not patient data"), "{description}");
    }
    let labels = nifti::read(folder.path().join("labelsTr/s0037.nii.gz")).unwrap();
    let Voxels::U8(labels) = &labels.voxels else { panic!("expected uint8") };
    assert_eq!(labels[..], case(0, &options).unwrap().labels[..]);
}

#[test]
fn options_out_of_range_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    for options in [
        Options { size: [0, 40, 40], ..coarse() },
        Options { size: [48, 40, 100_000], ..coarse() },
        Options { spacing_mm: f64::NAN, ..coarse() },
        Options { training: usize::MAX, ..coarse() },
    ] {
        assert!(write_set(folder.path(), &options).is_err(), "{options:?}");
    }
}
