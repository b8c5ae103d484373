//! [`component!`]: declares a component. Names, arguments, documentation and build function of everything that a
//! `_target_` can name are declared here and nowhere else.

/// Declares a component: its MONAI names, its arguments and its build function.
///
/// ```ignore
/// component! {
///     /// Crop the center of an image.
///     pub static COMPONENT = dictionary "CenterSpatialCrop" in "monai.transforms" / "croppad.dictionary";
///
///     pub struct CenterSpatialCropArgs {
///         /// Keys of the images to crop.
///         keys: Keys,
///         /// Size of the crop in voxels; a non-positive value keeps the axis.
///         roi_size: OneOrMany<i64>,
///         /// Skip keys that a sample does not have.
///         allow_missing_keys: bool = false,
///         /// No effect: transforms are applied at once.
///         lazy: Accepted = false,
///     }
///
///     differs: ["…"],
///     build: CenterSpatialCrop::new,
/// }
/// ```
///
/// - The doc comment is what `segbundle components` prints; its first line is the summary.
/// - The family (`dictionary`, `transform`, `network`, `loss`, …) selects the handle under which a config holds
///   the component. `dictionary` derives the names `Spacingd`, `SpacingD` and `SpacingDict` from "Spacing".
/// - `in PACKAGE / MODULE`: the package that exports the class, and the modules below it that define it. The class
///   can be named by its short name or by its dotted path in each of them; `also "dice_ce"` adds names in all of them.
/// - The struct of arguments has the form of [`args!`](crate::args): in MONAI's order, with defaults.
///   `#[no_effect_on_results]` marks an argument that does not affect results: `--skip-existing` keeps existing results
///   when it changes.
/// - `effect: Acts` or `Reads`, if building the component has side effects or reads files.
/// - `differs` lists the deliberate differences from MONAI.
/// - `build` is a `fn(Args) -> Result<T>`, `build in context` a `fn(Args, &mut BuildContext) -> Result<T>`. Errors are
///   prefixed with the component's name.
macro_rules! component {
    (
        $(#[doc = $doc:literal])*
        $vis:vis static $static:ident = $family:ident $name:literal in $package:literal $(/ $module:literal)*
            $(also $($also:literal),+)?;

        $(#[$args_meta:meta])*
        $args_vis:vis struct $args:ident { $($fields:tt)* }

        $(effect: $effect:ident,)?
        $(differs: [$($difference:expr),* $(,)?],)?
        build $(in $context:ident)?: $build:expr $(,)?
    ) => {
        $crate::args! {
            $(#[$args_meta])*
            #[doc = concat!("Arguments of ", component!(@name $family $name), ".")]
            $args_vis struct $args { $($fields)* }
        }

        $(#[doc = $doc])*
        $vis static $static: $crate::component::Component = $crate::component::Component {
            name: component!(@name $family $name),
            path: concat!($package, ".", component!(@name $family $name)),
            modules: &[$(concat!($package, ".", $module)),*],
            also: component!(@also $family $name $(, $($also),+)?),
            doc: concat!("" $(, $doc, "\n")*),
            params: <$args as $crate::component::Declared>::PARAMS,
            differences: &[$($($difference),*)?],
            effect: component!(@effect $($effect)?),
            build: |args, _context| {
                const NAME: &str = component!(@name $family $name);
                let args = <$args as $crate::component::Declared>::parse(NAME, args)?;
                let built = component!(@build $args, $build, args, _context $(, $context)?);
                let built = built.map_err(|error| error.context(NAME))?;
                Ok(component!(@hold $family built))
            },
        };
    };
    (@name dictionary $name:literal) => { concat!($name, "d") };
    (@name $family:ident $name:literal) => { $name };
    (@also dictionary $name:literal) => { &[concat!($name, "D"), concat!($name, "Dict")] };
    (@also dictionary $name:literal $(, $also:literal)+) => {
        compile_error!("a dictionary transform has the names D and Dict only: `also` is not supported")
    };
    (@also $family:ident $name:literal $(, $also:literal)*) => { &[$($also),*] };
    (@effect) => { $crate::component::Effect::Pure };
    (@effect $effect:ident) => { $crate::component::Effect::$effect };
    (@build $args:ty, $build:expr, $given:ident, $context:ident) => {{
        let build: fn($args) -> $crate::error::Result<_> = $build;
        build($given)
    }};
    (@build $args:ty, $build:expr, $given:ident, $context:ident, context) => {{
        let build: fn($args, &mut $crate::component::BuildContext) -> $crate::error::Result<_> = $build;
        build($given, $context)
    }};
    // The handle under which a config holds the built component.
    (@hold value $built:ident) => { $built };
    (@hold dictionary $built:ident) => { component!(@hold transform $built) };
    (@hold transform $built:ident) => { component!(@object TransformHandle(std::sync::Arc::new($built))) };
    (@hold inferer $built:ident) => { component!(@object InfererHandle(std::sync::Arc::new($built))) };
    (@hold loss $built:ident) => { component!(@object LossHandle(std::sync::Arc::new($built))) };
    (@hold handler $built:ident) => { component!(@object HandlerHandle(std::sync::Arc::new($built))) };
    (@hold engine $built:ident) => { component!(@object EngineHandle(std::sync::Arc::new($built))) };
    (@hold dataset $built:ident) => { component!(@object DatasetHandle(std::sync::Arc::new($built))) };
    (@hold loader $built:ident) => { component!(@object LoaderHandle(std::sync::Arc::new($built))) };
    (@hold metric $built:ident) => { component!(@object MetricHandle($built)) };
    (@hold network $built:ident) => { component!(@object NetworkHandle(component!(@shared $built))) };
    (@hold optimizer $built:ident) => { component!(@object OptimizerHandle(component!(@shared $built))) };
    (@hold schedule $built:ident) => { component!(@object ScheduleHandle(component!(@shared $built))) };
    (@shared $built:ident) => { std::sync::Arc::new(parking_lot::Mutex::new($built)) };
    (@object $handle:ident($held:expr)) => {
        $crate::component::Value::object($crate::contracts::$handle($held))
    };
}
