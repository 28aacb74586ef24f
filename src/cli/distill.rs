//! `radio-eval distill`: a student trained from several teachers.

use super::Outcome;
use super::common::set_threads;
use super::numbers;
use super::resolution::Resolution;
use crate::distill::config::{
    AugmentConfig, DataConfig, DistillConfig, LossConfig, OptimiserConfig, RunConfig, Side,
    StageConfig, StudentConfig, TeacherConfig,
};
use crate::distill::run::{self, Options, replay};
use crate::distill::standardise::Standardise;
use crate::runtime::device::{self, default_threads};
use crate::runtime::{Precision, Rank};
use crate::{Error, Result};
use clap::Args;
use serde_json::{Map, json};
use std::io::Write;
use std::path::PathBuf;

/// Train a student from several frozen teachers (AM-RADIO)
///
/// From a configuration (bench-configs/mini-distill.toml is one), or in one line with --student,
/// --teachers and --data. The result, OUT/student, is a Hugging Face folder in upstream's layout
/// that every other command evaluates. Checkpoints lie in OUT: the same command goes on from the
/// last one, with the same numbers.
#[derive(Debug, Args)]
pub struct DistillArgs {
    /// TOML file that describes the run; flags below replace its values
    pub config: Option<PathBuf>,
    /// timm's name of a ViT, a registered E-RADIO, or a student of the zoo
    #[arg(long)]
    pub student: Option<String>,
    /// Zoo names or files, with commas
    #[arg(long, value_delimiter = ',')]
    pub teachers: Vec<String>,
    /// Unlabelled pictures: a catalogue name, folder, tar, pattern of shards, parquet (repeat for more)
    #[arg(long)]
    pub data: Vec<String>,
    /// Folder for checkpoints, metrics and the student
    #[arg(long, default_value = "results/distill")]
    pub out: PathBuf,
    /// Steps (of the only stage)
    #[arg(long)]
    pub steps: Option<u64>,
    /// Pictures of a step (of the only stage)
    #[arg(long, value_parser = numbers::count(numbers::MAX_BATCH))]
    pub batch_size: Option<usize>,
    /// Pixels that the student sees, S or HxW (of the only stage)
    #[arg(long)]
    pub resolution: Option<Resolution>,
    #[arg(long)]
    pub lr: Option<f64>,
    #[arg(long)]
    pub seed: Option<u64>,
    /// Of the student's passes, fp32 or bf16 (autocast); weights stay fp32
    #[arg(long)]
    pub precision: Option<Precision>,
    /// Pictures that may be replaced because they cannot be read
    #[arg(long)]
    pub skip_bad: Option<usize>,
    /// auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto")]
    pub device: String,
    /// Threads that decode and resize (default: one per core)
    #[arg(long, value_parser = numbers::count(numbers::MAX_THREADS))]
    pub workers: Option<usize>,
    /// Threads of each libtorch operator (default: libtorch's own choice)
    #[arg(long, value_parser = numbers::count(numbers::MAX_THREADS))]
    pub threads: Option<usize>,
    /// Measure memory, images/s and the duration of the run, and stop
    #[arg(long)]
    pub dry_run: bool,
    /// Only have the teachers see every crop once, into run.cache
    #[arg(long, conflicts_with_all = ["dry_run", "replay"])]
    pub cache_only: bool,
    /// Begin anew: take away what an earlier run left in --out
    #[arg(long)]
    pub restart: bool,
    /// Run the step in FILE again, which an earlier run wrote because its numbers were not finite
    #[arg(long, value_name = "FILE", conflicts_with_all = ["dry_run", "restart"])]
    pub replay: Option<PathBuf>,
}

pub fn run(args: &DistillArgs, progress: bool) -> anyhow::Result<Outcome> {
    set_threads(args.threads, Rank::SINGLE);
    let options = Options {
        config: config(args)?,
        out: args.out.clone(),
        device: device::open(device::parse_device(&args.device)?, false)?,
        workers: args
            .workers
            .unwrap_or_else(|| default_threads(Rank::SINGLE)),
        restart: args.restart,
        dry_run: args.dry_run,
        show: progress,
    };
    let mut out = std::io::stdout().lock();
    if let Some(file) = &args.replay {
        let found = replay::replay(options, file)?;
        writeln!(out, "{found:#}")?;
        return match found["finite"] == true {
            true => Ok(Outcome::Done),
            false => Ok(Outcome::OutOfTolerance),
        };
    }
    if args.cache_only {
        let crops = run::fill_cache(options)?;
        writeln!(out, "the teachers have seen {crops} crops")?;
        return Ok(Outcome::Done);
    }
    let finished = run::run(options)?;
    if let Some(estimate) = &finished.estimate {
        writeln!(out, "{estimate}")?;
    }
    if let Some(student) = &finished.student {
        writeln!(out, "student: {}", student.display())?;
    }
    if let Some(last) = &finished.last {
        writeln!(out, "{}", json!(last))?;
    }
    Ok(Outcome::Done)
}

/// The file's configuration with the flags' values, or one made of flags alone.
fn config(args: &DistillArgs) -> Result<DistillConfig> {
    let mut config = match &args.config {
        Some(path) => DistillConfig::open(path)?,
        None => one_line(args)?,
    };
    if args.config.is_some() {
        if let Some(student) = &args.student {
            config.student.model.clone_from(student);
        }
        if !args.teachers.is_empty() {
            return Err(Error::usage(
                "--teachers goes without a configuration, which lists its own",
            ));
        }
        if !args.data.is_empty() {
            config.data = data(args);
        }
    }
    stage_flags(args, &mut config)?;
    if let Some(lr) = args.lr {
        config.optimiser.lr = lr;
    }
    if let Some(seed) = args.seed {
        config.run.seed = seed;
    }
    if let Some(precision) = args.precision {
        config.run.precision = precision;
    }
    if let Some(skip_bad) = args.skip_bad {
        config.run.skip_bad = skip_bad;
    }
    config.check().map_err(|fault| {
        let named = args
            .config
            .as_ref()
            .map(|path| format!("{}: ", path.display()));
        Error::usage(format!("{}{fault}", named.unwrap_or_default()))
    })?;
    Ok(config)
}

/// Flags about the stage, of which there must be one only.
fn stage_flags(args: &DistillArgs, config: &mut DistillConfig) -> Result<()> {
    let given = args.steps.is_some() || args.batch_size.is_some() || args.resolution.is_some();
    if !given {
        return Ok(());
    }
    let [stage] = config.stages.as_mut_slice() else {
        return Err(Error::usage(
            "--steps, --batch-size and --resolution are for a run of one stage; change the stages in the file",
        ));
    };
    if !stage.partitions.is_empty() && (args.batch_size.is_some() || args.resolution.is_some()) {
        return Err(Error::usage(
            "--batch-size and --resolution are for a stage without partitions; change them in the file",
        ));
    }
    if let Some(steps) = args.steps {
        stage.steps = steps;
        stage.warmup = stage.warmup.min(steps / 2);
    }
    if let Some(batch) = args.batch_size {
        stage.batch = batch;
    }
    if let Some(size) = args.resolution {
        stage.resolution = Some(Side::Both(size.height, size.width));
    }
    Ok(())
}

fn data(args: &DistillArgs) -> Vec<DataConfig> {
    let data = args.data.iter();
    data.map(|path| DataConfig {
        path: path.clone(),
        weight: 1.0,
    })
    .collect()
}

/// What --student, --teachers and --data say, with defaults for the rest.
fn one_line(args: &DistillArgs) -> Result<DistillConfig> {
    /// Of the only stage: a short run at a small size, for trying out.
    const STEPS: u64 = 10_000;
    const BATCH: usize = 32;
    const SIDE: i64 = 224;
    const WARMUP: u64 = 500;
    let Some(student) = &args.student else {
        return Err(Error::usage(
            "name a configuration, or --student, --teachers and --data",
        ));
    };
    let teacher = |model: &String| TeacherConfig {
        model: model.clone(),
        weights: None,
        name: None,
        resolution: None,
        summary: None,
        summary_weight: match model.contains("sam") {
            // AM-RADIO: SAM has no summary worth learning.
            true => 0.0,
            false => 1.0,
        },
        feature_weight: 1.0,
        relation_weight: 0.0,
        summary_loss: Default::default(),
        dispersion: None,
        feature_loss: Default::default(),
        standardise: Standardise::None,
        precision: None,
        mean: None,
        std: None,
        batch: None,
        upsample: 1,
    };
    Ok(DistillConfig {
        student: StudentConfig {
            model: student.clone(),
            start: None,
            model_kwargs: Map::new(),
            cpe_max_size: None,
            register_multiple: None,
            spectral_reparam: false,
            vitdet_windows: Vec::new(),
            mlp_hidden_size: 1520,
            mlp_num_inner: 1,
        },
        teachers: args.teachers.iter().map(teacher).collect(),
        data: data(args),
        augment: AugmentConfig::default(),
        loss: LossConfig::default(),
        optimiser: OptimiserConfig::default(),
        stages: vec![StageConfig {
            steps: STEPS,
            batch: BATCH,
            resolution: Some(Side::Square(SIDE)),
            partitions: Vec::new(),
            lr: None,
            warmup: WARMUP,
            teachers: None,
        }],
        run: RunConfig::default(),
        evaluate: Vec::new(),
    })
}
