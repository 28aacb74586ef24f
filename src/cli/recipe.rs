//! Flags of the linear probe's recipe, made from the one declaration of its values.

use crate::heads::Curve;
use crate::tasks::segmentation::recipe::{
    Inference, Preset, Recipe, RecipeValues, TrainFeatures, recipe_values,
};
use crate::{Error, Result};
use clap::Args;
use std::path::PathBuf;

/// Where the recipe comes from, and its values.
#[derive(Debug, Args)]
pub struct RecipeArgs {
    /// The recipe that every value comes from [default: the file's, else repo-head]
    #[arg(long, value_enum)]
    pub preset: Option<Preset>,
    /// Recipe values from a TOML file (names as in the record's options); flags come before it
    #[arg(long, value_name = "FILE")]
    pub recipe: Option<PathBuf>,
    #[command(flatten)]
    pub values: ValueArgs,
}

macro_rules! flags {
    ($($(#[$doc:meta])* $name:ident:
        $(one($one:ty))? $(open($open:ty))? $(many($many:ty as $whole:ty))?
        $(, [$($how:tt)*])?;)*) => {
        /// Values of the recipe; what is not given comes from --recipe, else from the preset.
        #[derive(Debug, Args)]
        #[command(next_help_heading = "Recipe")]
        pub struct ValueArgs {
            $($(#[$doc])* #[arg(long $(, $($how)*)?)]
            pub $name: Option<$($one)? $($open)? $(Vec<$many>)?>,)*
        }

        impl ValueArgs {
            fn values(&self) -> Result<RecipeValues> {
                Ok(RecipeValues {
                    preset: None,
                    $($name: match self.$name.clone() {
                        None => None,
                        Some(words) => Some(words.try_into().map_err(|_| {
                            Error::usage(concat!("--", stringify!($name), " takes another number of values"))
                        })?),
                    },)*
                })
            }
        }
    };
}

recipe_values!(flags);

impl RecipeArgs {
    /// Flags, then the file, then the preset.
    pub fn recipe(&self) -> Result<Recipe> {
        let file = match &self.recipe {
            Some(path) => RecipeValues::read(path)?,
            None => RecipeValues::default(),
        };
        let preset = self.preset.or(file.preset).unwrap_or(Preset::RepoHead);
        Recipe::new(preset, self.values.values()?.or(file))
    }
}
