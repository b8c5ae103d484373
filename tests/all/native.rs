//! The native kernels against plain libtorch operations in f64, and the allocator.

use segbundle_native::{self as native, Affine, Conv3, GroupNorm, LabelsMut, Moments};
use tch::{Device, Kind, Tensor};

const F32: (Kind, Device) = (Kind::Float, Device::Cpu);

/// Reproducible values without torch's global generator: a sine of the index, roughly normal in spread.
fn values(shape: &[i64], scale: f64) -> Tensor {
    let n = shape.iter().product::<i64>();
    ((Tensor::arange(n, (Kind::Double, Device::Cpu)) * 12.9898).sin() * 43758.5453)
        .frac()
        .reshape(shape)
        .to_kind(Kind::Float)
        * scale
}

fn difference(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.size(), b.size());
    if a.numel() == 0 {
        return 0.0;
    }
    (a.to_kind(Kind::Double) - b.to_kind(Kind::Double)).abs().max().double_value(&[])
}

/// f32 to the last digits, bf16 to its 8 bits (of values up to about 8).
fn tolerance(kind: Kind) -> f64 {
    if kind == Kind::Float { 4e-6 } else { 0.04 }
}

#[test]
fn group_norm_equals_float64() {
    // Channels that fill vectors, that do not, and one alone; a mean far from zero, where naive sums in f32 fail.
    for (shape, groups, kind) in [
        ([1, 32, 9, 8, 7], 8, Kind::Float),
        ([2, 24, 5, 6, 7], 3, Kind::Float),
        ([1, 7, 4, 5, 3], 7, Kind::Float),
        ([1, 1, 4, 4, 300], 1, Kind::Float),
        ([2, 32, 9, 8, 7], 8, Kind::BFloat16),
        ([1, 5, 3, 3, 3], 1, Kind::BFloat16),
    ] {
        let x = native::channels_last(&(values(&shape, 1.0) + 3.0).to_kind(kind)).unwrap();
        let c = shape[1];
        let (weight, bias) = (values(&[c], 1.0) + 1.5, values(&[c], 0.5));
        let affine = Affine { weight: Vec::try_from(&weight).unwrap(), bias: Vec::try_from(&bias).unwrap() };
        let double = |t: &Tensor| t.to_kind(Kind::Double);
        let exact =
            double(&x).contiguous().group_norm(groups, Some(&double(&weight)), Some(&double(&bias)), 1e-5, false);
        let moments = native::moments(&x).unwrap();
        let before = x.copy();
        for relu in [false, true] {
            let expected = if relu { exact.relu() } else { exact.shallow_clone() };
            let norm = GroupNorm { moments: &moments, groups: groups as usize, affine: &affine, eps: 1e-5 };
            let found = norm.apply(&x, relu).unwrap();
            assert!(native::is_channels_last(&found) && x.equal(&before));
            assert!(
                difference(&found, &expected) < tolerance(kind),
                "{shape:?} {kind:?}: {}",
                difference(&found, &expected)
            );
            let mut inplace = x.copy();
            norm.apply_(&mut inplace, relu).unwrap();
            assert!(inplace.equal(&found));
        }
    }
}

#[test]
fn residual_sum_has_the_moments_of_the_sum() {
    for kind in [Kind::Float, Kind::BFloat16] {
        for c in [32, 12, 3] {
            let shape = [2, c, 7, 5, 9];
            let mut x = native::channels_last(&values(&shape, 2.0).to_kind(kind)).unwrap().copy();
            let y = native::channels_last(&(values(&shape, 1.0) - 0.7).to_kind(kind)).unwrap();
            let expected = &x + &y;
            let moments = native::add_moments(&mut x, &y).unwrap();
            assert!(x.equal(&expected), "{kind:?} {c}");
            let affine = Affine { weight: vec![1.0; c as usize], bias: vec![0.0; c as usize] };
            let again = native::moments(&x).unwrap();
            let [a, b] = [moments, again].map(|moments| {
                GroupNorm { moments: &moments, groups: 1, affine: &affine, eps: 1e-5 }.apply(&x, false).unwrap()
            });
            assert!(a.equal(&b));
        }
    }
}

/// Even and odd sizes, one voxel, rows of tiles that are cut in parts, several items, channels that fill one vector or
/// many and a last narrow column, channels that fill narrower vectors only.
#[test]
fn convolution_equals_float64() {
    for (shape, k) in [
        ([1, 32, 8, 6, 52], 32),
        ([2, 16, 5, 7, 3], 32),
        ([1, 16, 1, 1, 1], 16),
        ([1, 48, 2, 3, 27], 16),
        ([1, 64, 6, 6, 6], 80),
        ([1, 256, 4, 3, 5], 256),
        ([2, 8, 5, 6, 31], 8),
        ([1, 24, 6, 3, 4], 40),
        ([1, 12, 4, 5, 9], 20),
        ([1, 4, 7, 2, 5], 4),
    ] {
        let c = shape[1];
        let x = native::channels_last(&values(&shape, 2.0)).unwrap();
        let weight = values(&[k, c, 3, 3, 3], (2.0 / (27 * c) as f64).sqrt());
        let Some(conv) = Conv3::new(&weight).unwrap() else { panic!("{c} and {k} channels fill vectors") };
        let affine = Affine {
            weight: Vec::try_from(&(values(&[c], 1.0) + 1.5)).unwrap(),
            bias: Vec::try_from(&values(&[c], 0.5)).unwrap(),
        };
        let moments = native::moments(&x).unwrap();
        let norm = GroupNorm { moments: &moments, groups: 4, affine: &affine, eps: 1e-5 };
        let input = norm.apply(&x, true).unwrap().to_kind(Kind::Double).contiguous();
        let expected = input.conv3d(&weight.to_kind(Kind::Double), None::<&Tensor>, 1, 1, 1, 1);
        let close = |found: &Tensor, expected: &Tensor| {
            assert!(native::is_channels_last(found));
            let largest = difference(found, expected);
            assert!(largest < 1e-5, "{shape:?} to {k}: {largest}");
        };
        let same = |moments: &Moments, of: &Tensor| {
            let affine = Affine { weight: vec![1.0; k as usize], bias: vec![0.0; k as usize] };
            let [a, b] = [moments, &native::moments(of).unwrap()]
                .map(|moments| GroupNorm { moments, groups: 1, affine: &affine, eps: 1e-5 }.apply(of, false).unwrap());
            assert!(difference(&a, &b) < 1e-5, "{shape:?} to {k}: {}", difference(&a, &b));
        };
        let (found, moments) = conv.forward(&x, &norm).unwrap();
        close(&found, &expected);
        same(&moments, &found);
        let mut sum = native::channels_last(&values(&found.size(), 1.0)).unwrap();
        let expected = expected + &sum;
        let moments = conv.forward_add(&x, &norm, &mut sum).unwrap();
        close(&sum, &expected);
        same(&moments, &sum);
    }
}

#[test]
fn upsampling_equals_torch_s_trilinear_doubling() {
    for (shape, kind) in [
        ([1, 32, 6, 5, 7], Kind::Float),
        ([2, 5, 3, 4, 2], Kind::Float),
        ([1, 8, 1, 1, 1], Kind::Float),
        ([1, 16, 4, 3, 5], Kind::BFloat16),
    ] {
        let [n, c, a, b, d] = shape;
        let x = native::channels_last(&values(&shape, 2.0).to_kind(kind)).unwrap();
        let skip = values(&[n, c, 2 * a, 2 * b, 2 * d], 1.0).to_kind(kind);
        let up =
            x.to_kind(Kind::Double).contiguous().upsample_trilinear3d_vec(None::<&[i64]>, false, &[2.0, 2.0, 2.0][..]);
        let expected = up + skip.to_kind(Kind::Double);
        let mut out = native::channels_last(&skip).unwrap().copy();
        let moments = native::upsample_add(&x, &mut out).unwrap();
        assert!(difference(&out, &expected) < tolerance(kind) / 2.0, "{shape:?}: {}", difference(&out, &expected));
        let affine = Affine { weight: vec![1.0; c as usize], bias: vec![0.0; c as usize] };
        let [p, q] = [moments, native::moments(&out).unwrap()].map(|moments| {
            GroupNorm { moments: &moments, groups: 1, affine: &affine, eps: 1e-5 }.apply(&out, false).unwrap()
        });
        assert!(difference(&p, &q) < tolerance(kind));
    }
}

#[test]
fn windows_are_blended_where_they_overlap_the_slab() {
    let (f, slab, window) = (20, [9, 8, 11], [6, 5, 7]);
    let map = values(&window, 1.0).abs() + 0.1;
    for kind in [Kind::Float, Kind::BFloat16] {
        let features = native::channels_last(&values(&[1, f, 6, 5, 7], 1.0).to_kind(kind)).unwrap();
        for at in [[0, 0, 0], [3, 3, 4], [-2, 5, 9], [8, -4, -6], [9, 0, 0], [0, -5, 0], [i64::MAX, 0, 0]] {
            // A slab inside a larger one: its lines are not adjacent.
            let whole = Tensor::ones([12, 10, 11, f], F32);
            let mut acc = whole.narrow(0, 2, 9).narrow(1, 1, 8);
            let mut total = Tensor::ones(slab, F32);
            native::blend(&mut acc, &mut total, &features, &map, at).unwrap();
            let (mut expected, mut weights) = (Tensor::ones([9, 8, 11, f], F32), Tensor::ones(slab, F32));
            let rows = features.to_kind(Kind::Float).permute([0, 2, 3, 4, 1]).squeeze_dim(0) * map.unsqueeze(3);
            let part = |t: &Tensor, from: bool| {
                (0..3).try_fold(t.shallow_clone(), |t, axis| {
                    let (start, end) = (at[axis].max(0), at[axis].saturating_add(window[axis]).min(slab[axis]));
                    let begin = if from { start - at[axis] } else { start };
                    (end > start).then(|| t.narrow(axis as i64, begin, end - start))
                })
            };
            if let (Some(mut to), Some(from)) = (part(&expected, false), part(&rows, true)) {
                to += from;
            }
            if let (Some(mut to), Some(from)) = (part(&weights, false), part(&map, true)) {
                to += from;
            }
            assert!(difference(&acc, &expected) < 1e-6 && difference(&total, &weights) == 0.0, "{at:?}");
            expected += 0.0;
            weights += 0.0;
            assert_eq!(whole.narrow(0, 0, 2).sum(Kind::Double).double_value(&[]), (2 * 10 * 11 * f) as f64);
        }
    }
}

fn labels(map: &[u8], shape: [i64; 3]) -> Tensor {
    Tensor::from_slice(map).reshape(shape)
}

#[test]
fn head_equals_torch_s_argmax_of_the_logits() {
    for (k, f, shape) in [(105, 32, [3, 4, 37]), (2, 8, [1, 5, 16]), (13, 5, [2, 2, 1]), (1, 3, [2, 2, 2])] {
        let [x, y, z] = shape;
        let acc = values(&[x, y, z, f], 3.0);
        let total = values(&shape, 1.0).abs() + 0.5;
        let (weight, bias) = (values(&[k, f], 1.0), values(&[k], 0.3));
        let exact =
            (&acc / total.unsqueeze(3)).to_kind(Kind::Double).matmul(&weight.to_kind(Kind::Double).tr()) + &bias;
        let exact = exact.permute([3, 0, 1, 2]);
        let values = native::head_logits(&acc, &total, &weight, Some(&bias)).unwrap();
        assert!(difference(&values, &exact) < 1e-5 * exact.abs().max().double_value(&[]).max(1.0));

        // Into a box of a larger map; what lies around stays.
        let (map, start) = ([x as usize + 2, y as usize + 1, z as usize + 3], [1, 1, 2]);
        let mut narrow = vec![200u8; map.iter().product()];
        native::head_argmax(&acc, &total, &weight, Some(&bias), LabelsMut::U8(&mut narrow), map, start).unwrap();
        let found = labels(&narrow, map.map(|n| n as i64));
        let inside = found.narrow(0, 1, x).narrow(1, 1, y).narrow(2, 2, z);
        assert!(inside.equal(&values.argmax(0, false).to_kind(Kind::Uint8)));
        assert_eq!(narrow.iter().filter(|&&label| label == 200).count(), narrow.len() - (x * y * z) as usize);

        let mut wide = vec![0u16; (x * y * z) as usize];
        native::head_argmax(
            &acc,
            &total,
            &weight,
            Some(&bias),
            LabelsMut::U16(&mut wide),
            [x, y, z].map(|n| n as usize),
            [0; 3],
        )
        .unwrap();
        let wide: Vec<i64> = wide.into_iter().map(i64::from).collect();
        assert!(Tensor::from_slice(&wide).reshape(shape).equal(&values.argmax(0, false)));
    }
}

#[test]
fn argmax_takes_the_first_of_equal_values_and_a_nan_before_all() {
    let (nan, inf) = (f32::NAN, f32::INFINITY);
    let columns = [
        [1.0, 1.0, 0.0, 1.0],
        [nan, 9.0, nan, 0.0],
        [0.0, inf, nan, inf],
        [-inf, -inf, -inf, -inf],
        [0.0, -0.0, 2.0, 2.0],
    ];
    // Repeated so that whole vectors and a rest occur.
    let x =
        Tensor::from_slice(&columns.repeat(53).concat()).reshape([265, 4]).tr().contiguous().reshape([4, 1, 1, 265]);
    let expected = x.argmax(0, false).to_kind(Kind::Uint8);
    let mut map = vec![9u8; 265];
    native::argmax(&x, LabelsMut::U8(&mut map), [1, 1, 265], [0; 3]).unwrap();
    assert!(labels(&map, [1, 1, 265]).equal(&expected));

    // The same through the head: features are the classes themselves.
    let acc = x.permute([1, 2, 3, 0]).contiguous().nan_to_num(7.0, 7.0, -7.0);
    let eye = Tensor::eye(4, F32);
    let mut map = vec![9u8; 265];
    native::head_argmax(
        &acc,
        &Tensor::ones([1, 1, 265], F32),
        &eye,
        None,
        LabelsMut::U8(&mut map),
        [1, 1, 265],
        [0; 3],
    )
    .unwrap();
    assert!(labels(&map, [1, 1, 265]).equal(&acc.argmax(3, false).to_kind(Kind::Uint8)));

    let many = values(&[300, 2, 3, 1100], 1.0);
    let mut map = vec![0u16; 6600];
    native::argmax(&many, LabelsMut::U16(&mut map), [2, 3, 1100], [0; 3]).unwrap();
    let found = Tensor::from_slice(&map.into_iter().map(i64::from).collect::<Vec<_>>()).reshape([2, 3, 1100]);
    assert!(found.equal(&many.argmax(0, false)));
}

#[test]
fn misfits_are_errors() {
    let x = native::channels_last(&values(&[1, 4, 3, 3, 3], 1.0)).unwrap();
    let affine = Affine { weight: vec![1.0; 4], bias: vec![0.0; 3] };
    let moments = native::moments(&x).unwrap();
    let norm = GroupNorm { moments: &moments, groups: 2, affine: &affine, eps: 1e-5 };
    assert!(norm.apply(&x, true).is_err(), "three biases for four channels");
    let affine = Affine { weight: vec![1.0; 4], bias: vec![0.0; 4] };
    let norm = GroupNorm { affine: &affine, ..norm };
    assert!(norm.apply(&x, true).is_ok());
    assert!(norm.apply(&x.narrow(2, 0, 2), true).is_err(), "other voxels");
    let weight = values(&[16, 16, 3, 3, 3], 0.1);
    let conv = Conv3::new(&weight).unwrap().unwrap();
    assert!(conv.forward(&x, &norm).is_err(), "other channels");
    assert!(Conv3::new(&weight.narrow(2, 0, 1)).is_err());
    assert!(Conv3::new(&values(&[16, 3, 3, 3, 3], 0.1)).unwrap().is_none(), "three channels fill no vector");
    assert!(native::moments(&values(&[1, 4, 3, 3, 3], 1.0)).is_err(), "default layout");
    assert!(native::moments(&x.to_kind(Kind::Double)).is_err());
    assert!(native::moments(&Tensor::zeros([1, 0, 3, 3, 3], F32)).is_err());
    assert!(native::add_moments(&mut x.copy(), &x.to_kind(Kind::BFloat16)).is_err());
    assert!(native::upsample_add(&x, &mut x.copy()).is_err());
    let (acc, total, weight) =
        (Tensor::ones([2, 2, 2, 4], F32), Tensor::ones([2, 2, 2], F32), Tensor::ones([300, 4], F32));
    let mut map = vec![0u8; 8];
    let error =
        native::head_argmax(&acc, &total, &weight, None, LabelsMut::U8(&mut map), [2, 2, 2], [0; 3]).unwrap_err();
    assert!(error.to_string().contains("expected 1 to 256 classes, found 300"), "{error}");
    let weight = weight.narrow(0, 0, 3);
    for (shape, start) in [([2, 2, 2], [0, 0, 1]), ([2, 2, 3], [0; 3]), ([2, 2, 2], [usize::MAX, 0, 0])] {
        assert!(native::head_argmax(&acc, &total, &weight, None, LabelsMut::U8(&mut map), shape, start).is_err());
    }
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let x = native::channels_last(&values(&[1, 32, 40, 40, 40], 1.0)).unwrap();
    let affine = Affine { weight: vec![1.0; 32], bias: vec![0.0; 32] };
    let conv = Conv3::new(&values(&[32, 32, 3, 3, 3], 0.1)).unwrap().unwrap();
    let run = || {
        let moments = native::moments(&x).unwrap();
        let (y, moments) =
            conv.forward(&x, &GroupNorm { moments: &moments, groups: 8, affine: &affine, eps: 1e-5 }).unwrap();
        GroupNorm { moments: &moments, groups: 8, affine: &affine, eps: 1e-5 }.apply(&y, true).unwrap()
    };
    let threads = tch::get_num_threads();
    let many = run();
    tch::set_num_threads(1);
    let one = run();
    tch::set_num_threads(threads);
    assert!(many.equal(&one));
}

#[test]
fn the_allocator_counts_reuses_and_refuses() {
    native::install_allocator();
    native::install_allocator();
    const MB: usize = 1 << 20;
    let big = Tensor::zeros([200 << 20], (Kind::Uint8, Device::Cpu));
    let here = big.data_ptr() as usize;
    assert_eq!(here % 64, 0);
    let memory = native::memory();
    assert!(memory.live >= 200 * MB && memory.peak >= memory.live && memory.held >= 200 * MB, "{memory:?}");
    drop(big);
    native::trim();
    assert!(Tensor::zeros([0], F32).numel() == 0);
    let small = Tensor::ones([3], F32);
    assert_eq!(small.data_ptr() as usize % 64, 0);

    // 2^37 bytes: more than the limit, whatever the machine has.
    native::set_limit(Some(1 << 36));
    let error = Tensor::f_empty([1 << 37], (Kind::Uint8, Device::Cpu)).unwrap_err().to_string();
    native::set_limit(None);
    assert!(error.contains("not enough memory: asked 137438953472 bytes"), "{error}");
}

/// Blocks of many sizes from many threads: no two overlap, each keeps what was written.
#[test]
fn blocks_of_the_allocator_do_not_overlap() {
    native::install_allocator();
    std::thread::scope(|scope| {
        for seed in 0..4u64 {
            scope.spawn(move || {
                let mut state = seed * 7919 + 1;
                let mut held: Vec<(Tensor, u8)> = vec![];
                for step in 0..400u64 {
                    state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                    let size = 1 + (state >> 33) as i64 % (6 << 20);
                    let mark = (step % 251) as u8;
                    held.push((Tensor::full([size], i64::from(mark), (Kind::Uint8, Device::Cpu)), mark));
                    if held.len() > 6 {
                        let (block, mark) = held.swap_remove((state >> 20) as usize % held.len());
                        let size = block.numel() as i64;
                        for at in [0, size / 2, size - 1] {
                            assert_eq!(block.int64_value(&[at]), i64::from(mark));
                        }
                    }
                }
            });
        }
    });
}

#[test]
fn autocast_ends_with_its_guard_also_after_a_panic() {
    let x = Tensor::ones([4, 4], F32);
    let product = || x.matmul(&x).kind();
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _guard = native::Autocast::new(Device::Cpu, Kind::BFloat16).unwrap();
        assert_eq!(product(), Kind::BFloat16);
        panic!("on purpose");
    }));
    assert!(result.is_err());
    assert_eq!(product(), Kind::Float);
    assert!(native::Autocast::new(Device::Cpu, Kind::Int).is_err());
}
