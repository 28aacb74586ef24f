//! The values of a recipe, declared once. [`Recipe`] is what a probe runs by, [`RecipeValues`] what
//! a file or the flags say of it; `cli` makes the flags from the same declaration.

use super::{Inference, Preset, TrainFeatures};
use crate::heads::Curve;
use serde::{Deserialize, Serialize};

/// Hands every value of a recipe to the macro `$make`, with what it is (the flag's help too):
/// `one` word of a type; `open`, the same but possibly left to the model; `many` words that make
/// one value. Brackets say how the flag is written.
macro_rules! recipe_values {
    ($make:ident) => {
        $make! {
            /// Iterations of training
            iterations: one(u64);
            /// Images per iteration
            batch_size: one(usize);
            /// AdamW: largest learning rate
            lr: one(f64);
            /// AdamW: decay of the gradient's running mean
            beta1: one(f64);
            /// AdamW: decay of the running mean of its square
            beta2: one(f64);
            /// AdamW: weight decay
            weight_decay: one(f64);
            /// Learning-rate curve
            curve: one(Curve);
            /// Iterations of warm-up
            warmup: one(u64);
            /// Share of the learning rate at the start of the warm-up
            warmup_factor: one(f64);
            /// Exponent of the poly curve
            power: one(f64);
            /// Seeds of heads and of the order of images; the metric is their mean
            seeds: many(u64 as Vec<u64>), [value_delimiter = ','];
            /// Features computed once, or fresh augmented crops
            features: one(TrainFeatures);
            /// Side of crops and windows, or of squashed images, in pixels
            resolution: open(i64), [alias = "crop"];
            /// Cached: side of the label maps of the loss
            label_size: one(i64);
            /// Cached: train images used, spread evenly (0: all)
            train_limit: one(usize);
            /// Live: long and short edge before the random ratio (mmseg's RandomResize)
            scale: many(usize as [usize; 2]), [num_args = 2, value_names = ["LONG", "SHORT"]];
            /// Live: range of the random ratio
            ratio: many(f64 as [f64; 2]), [num_args = 2, value_names = ["LOW", "HIGH"]];
            /// Live: largest share of one class in a crop
            cat_max_ratio: one(f64);
            /// Live: photometric distortion
            photometric: one(bool);
            /// How test images go through the network
            inference: open(Inference);
            /// Long and short edge of test images
            test_scale: many(usize as [usize; 2]), [num_args = 2, value_names = ["LONG", "SHORT"]];
            /// Slide: distance of windows (default: 2/3 of the resolution)
            stride: open(i64);
            /// Iterations between saved states
            checkpoint_every: one(u64);
            /// Iterations between looks at the val split, kept in the record (0: none)
            val_every: one(u64);
        }
    };
}

macro_rules! declare {
    ($($(#[$doc:meta])* $name:ident:
        $(one($one:ty))? $(open($open:ty))? $(many($many:ty as $whole:ty))?
        $(, [$($how:tt)*])?;)*) => {
        /// Every value that decides a figure. `None` values are settled by [`Recipe::settle`]
        /// from the model; a record carries the settled recipe.
        #[derive(Debug, Clone, PartialEq, Serialize)]
        pub struct Recipe {
            /// Where the values come from that nobody gave.
            pub preset: Preset,
            $($(#[$doc])* pub $name: $($one)? $(Option<$open>)? $($whole)?,)*
        }

        /// The values that a recipe file or the flags give.
        #[derive(Debug, Clone, Default, PartialEq, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct RecipeValues {
            /// The preset that the values are laid over.
            pub preset: Option<Preset>,
            $($(#[$doc])* pub $name: Option<$($one)? $($open)? $($whole)?>,)*
        }

        impl RecipeValues {
            /// These values, and `other`'s where these are silent.
            pub fn or(self, other: Self) -> Self {
                RecipeValues {
                    preset: self.preset.or(other.preset),
                    $($name: self.$name.or(other.$name),)*
                }
            }
        }

        impl Recipe {
            /// This recipe with what is given in place of its own.
            pub(super) fn with(mut self, values: RecipeValues) -> Self {
                $(if let Some(value) = values.$name {
                    self.$name = value.into();
                })*
                self
            }
        }
    };
}

recipe_values!(declare);

pub(crate) use recipe_values;
