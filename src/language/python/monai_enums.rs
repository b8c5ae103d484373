//! `monai.utils.enums`: MONAI's enums of strings (MONAI 1.6.1).
//!
//! A member is its string: it compares, hashes and prints like one in MONAI as well. The table knows the member by the
//! string's identity, so that `.name` and `.value` work on it, and only on it. The classes themselves are only prefixes
//! here: they cannot be called, indexed or iterated over.

use super::common::Constants;
use crate::component::Value;
use std::sync::{Arc, LazyLock};

macro_rules! member {
    ($text:literal) => {
        || {
            static TEXT: LazyLock<Arc<str>> = LazyLock::new(|| $text.into());
            Value::Str(TEXT.clone())
        }
    };
}

macro_rules! enums {
    (exported { $($name:ident { $($member:ident = $text:literal),* $(,)? })* } others { $($other:ident { $($own:ident = $value:literal),* $(,)? })* }) => {
        /// Dotted names of members; the last part is the member's `.name`.
        pub const MEMBERS: Constants = &[
            $($(
                (concat!("monai.utils.", stringify!($name), ".", stringify!($member)), member!($text)),
                (concat!("monai.utils.enums.", stringify!($name), ".", stringify!($member)), member!($text)),
            )*)*
            $($((concat!("monai.utils.enums.", stringify!($other), ".", stringify!($own)), member!($value)),)*)*
        ];
    };
}

enums! {
    exported {
        NumpyPadMode {
            CONSTANT = "constant", EDGE = "edge", LINEAR_RAMP = "linear_ramp", MAXIMUM = "maximum", MEAN = "mean",
            MEDIAN = "median", MINIMUM = "minimum", REFLECT = "reflect", SYMMETRIC = "symmetric", WRAP = "wrap", EMPTY = "empty",
        }
        NdimageMode {
            REFLECT = "reflect", GRID_MIRROR = "grid-mirror", CONSTANT = "constant", GRID_CONSTANT = "grid-constant",
            NEAREST = "nearest", MIRROR = "mirror", GRID_WRAP = "grid-wrap", WRAP = "wrap",
        }
        GridSampleMode { NEAREST = "nearest", BILINEAR = "bilinear", BICUBIC = "bicubic" }
        SplineMode { ZERO = "0", ONE = "1", TWO = "2", THREE = "3", FOUR = "4", FIVE = "5" }
        InterpolateMode {
            NEAREST = "nearest", NEAREST_EXACT = "nearest-exact", LINEAR = "linear", BILINEAR = "bilinear",
            BICUBIC = "bicubic", TRILINEAR = "trilinear", AREA = "area",
        }
        UpsampleMode {
            DECONV = "deconv", DECONVGROUP = "deconvgroup", NONTRAINABLE = "nontrainable",
            PIXELSHUFFLE = "pixelshuffle",
        }
        DownsampleMode {
            CONV = "conv", CONVGROUP = "convgroup", PIXELUNSHUFFLE = "pixelunshuffle", MAXPOOL = "maxpool",
            AVGPOOL = "avgpool",
        }
        BlendMode { CONSTANT = "constant", GAUSSIAN = "gaussian" }
        PytorchPadMode { CONSTANT = "constant", REFLECT = "reflect", REPLICATE = "replicate", CIRCULAR = "circular" }
        GridSamplePadMode { ZEROS = "zeros", BORDER = "border", REFLECTION = "reflection" }
        Average { MACRO = "macro", WEIGHTED = "weighted", MICRO = "micro", NONE = "none" }
        MetricReduction {
            NONE = "none", MEAN = "mean", SUM = "sum", MEAN_BATCH = "mean_batch", SUM_BATCH = "sum_batch",
            MEAN_CHANNEL = "mean_channel", SUM_CHANNEL = "sum_channel",
        }
        LossReduction { NONE = "none", MEAN = "mean", SUM = "sum" }
        DiceCEReduction { MEAN = "mean", SUM = "sum" }
        Weight { SQUARE = "square", SIMPLE = "simple", UNIFORM = "uniform" }
        ChannelMatching { PAD = "pad", PROJECT = "project" }
        SkipMode { CAT = "cat", ADD = "add", MUL = "mul" }
        Method { SYMMETRIC = "symmetric", END = "end" }
        ForwardMode { TRAIN = "train", EVAL = "eval" }
        TraceKeys {
            CLASS_NAME = "class", ID = "id", ORIG_SIZE = "orig_size", EXTRA_INFO = "extra_info",
            DO_TRANSFORM = "do_transforms", KEY_SUFFIX = "_transforms", NONE = "none", TRACING = "tracing",
            STATUSES = "statuses", LAZY = "lazy",
        }
        TraceStatusKeys { PENDING_DURING_APPLY = "pending_during_apply" }
        CommonKeys { IMAGE = "image", LABEL = "label", PRED = "pred", LOSS = "loss", METADATA = "metadata" }
        GanKeys { REALS = "reals", FAKES = "fakes", LATENTS = "latents", GLOSS = "g_loss", DLOSS = "d_loss" }
        TransformBackends { TORCH = "torch", NUMPY = "numpy", CUPY = "cupy" }
        CompInitMode { DEFAULT = "default", CALLABLE = "callable", DEBUG = "debug" }
        JITMetadataKeys { NAME = "name", TIMESTAMP = "timestamp", VERSION = "version", DESCRIPTION = "description" }
        BoxModeName {
            XYXY = "xyxy", XYZXYZ = "xyzxyz", XXYY = "xxyy", XXYYZZ = "xxyyzz", XYXYZZ = "xyxyzz", XYWH = "xywh",
            XYZWHD = "xyzwhd", CCWH = "ccwh", CCCWHD = "cccwhd",
        }
        ProbMapKeys { LOCATION = "mask_location", SIZE = "mask_size", COUNT = "num_patches", NAME = "name" }
        GridPatchSort { RANDOM = "random", MIN = "min", MAX = "max" }
        PatchKeys { LOCATION = "location", SIZE = "size", COUNT = "count" }
        WSIPatchKeys { LOCATION = "location", SIZE = "size", COUNT = "count", LEVEL = "level", PATH = "path" }
        FastMRIKeys {
            KSPACE = "kspace", MASK = "mask", FILENAME = "filename", RECON = "reconstruction_rss",
            ACQUISITION = "acquisition", MAX = "max", NORM = "norm", PID = "patient_id",
        }
        SpaceKeys { RAS = "RAS", LPS = "LPS" }
        MetaKeys {
            PIXDIM = "pixdim", ORIGINAL_PIXDIM = "original_pixdim", AFFINE = "affine",
            ORIGINAL_AFFINE = "original_affine", SPATIAL_SHAPE = "spatial_shape", SPACE = "space",
            ORIGINAL_CHANNEL_DIM = "original_channel_dim", SAVED_TO = "saved_to",
        }
        ColorOrder { RGB = "RGB", BGR = "BGR" }
        EngineStatsKeys {
            RANK = "rank", CURRENT_ITERATION = "current_iteration", CURRENT_EPOCH = "current_epoch",
            TOTAL_EPOCHS = "total_epochs", TOTAL_ITERATIONS = "total_iterations",
            BEST_VALIDATION_EPOCH = "best_validation_epoch", BEST_VALIDATION_METRIC = "best_validation_metric",
        }
        HoVerNetMode { FAST = "FAST", ORIGINAL = "ORIGINAL" }
        HoVerNetBranch { HV = "horizontal_vertical", NP = "nucleus_prediction", NC = "type_prediction" }
        LazyAttr {
            SHAPE = "lazy_shape", AFFINE = "lazy_affine", PADDING_MODE = "lazy_padding_mode",
            INTERP_MODE = "lazy_interpolation_mode", DTYPE = "lazy_dtype", ALIGN_CORNERS = "lazy_align_corners",
            RESAMPLE_MODE = "lazy_resample_mode",
        }
        BundleProperty { DESC = "description", REQUIRED = "required" }
        BundlePropertyConfig { ID = "id", REF_ID = "refer_id" }
        AlgoKeys { ID = "identifier", ALGO = "algo_instance", IS_TRAINED = "is_trained", SCORE = "best_metric" }
        AdversarialKeys {
            REALS = "reals", REAL_LOGITS = "real_logits", FAKES = "fakes", FAKE_LOGITS = "fake_logits",
            RECONSTRUCTION_LOSS = "reconstruction_loss", GENERATOR_LOSS = "generator_loss",
            DISCRIMINATOR_LOSS = "discriminator_loss",
        }
        OrderingType { RASTER_SCAN = "raster_scan", S_CURVE = "s_curve", RANDOM = "random" }
        OrderingTransformations { ROTATE_90 = "rotate_90", TRANSPOSE = "transpose", REFLECT = "reflect" }
        IgniteInfo { OPT_IMPORT_VERSION = "0.4.11" }
    }
    others {
        DataStatsKeys {
            SUMMARY = "stats_summary", BY_CASE = "stats_by_cases", BY_CASE_IMAGE_PATH = "image_filepath",
            BY_CASE_LABEL_PATH = "label_filepath", IMAGE_STATS = "image_stats",
            FG_IMAGE_STATS = "image_foreground_stats", LABEL_STATS = "label_stats",
            IMAGE_HISTOGRAM = "image_histogram",
        }
        ImageStatsKeys {
            SHAPE = "shape", CHANNELS = "channels", CROPPED_SHAPE = "cropped_shape", SPACING = "spacing",
            SIZEMM = "sizemm", INTENSITY = "intensity", HISTOGRAM = "histogram",
        }
        LabelStatsKeys {
            LABEL_UID = "labels", PIXEL_PCT = "foreground_percentage", IMAGE_INTST = "image_intensity",
            LABEL = "label", LABEL_SHAPE = "shape", LABEL_NCOMP = "ncomponents",
        }
    }
}
