//! Our side of `benches/dataloader.sh`: images per second of decode + resize + centre crop +
//! normalise to 224 px with two workers, over the folder given; prints one number.

use radio_eval::data::Source;
use radio_eval::data::loader::{LoaderOptions, load};
use radio_eval::data::transform::Transform;
use radio_eval::{Error, Result};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;
use tch::Tensor;

struct Folder(Vec<PathBuf>);

impl Source for Folder {
    fn describe(&self) -> String {
        "images".into()
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn key(&self, index: usize) -> &str {
        self.0[index].to_str().unwrap_or_default()
    }

    fn read(&self, index: usize) -> Result<Vec<u8>> {
        let path = &self.0[index];
        std::fs::read(path).map_err(|e| Error::file(path, e))
    }

    fn size(&self, _: usize) -> u64 {
        0
    }
}

/// One pass over the images, as torchvision's evaluation transform prepares them.
fn pass(source: &Arc<Folder>) -> Result<f64> {
    let options = LoaderOptions {
        batch_size: 64,
        workers: 2,
        ..LoaderOptions::default()
    };
    let mean = Tensor::from_slice(&[0.485f32, 0.456, 0.406]).view([3, 1, 1]);
    let std = Tensor::from_slice(&[0.229f32, 0.224, 0.225]).view([3, 1, 1]);
    let start = Instant::now();
    let mut count = 0;
    let indices = (0..source.len()).collect();
    for batch in load(source.clone(), indices, Transform::crop(256, 224), options) {
        // Image by image, so that the second operation finds its pixels in the cache.
        for mut image in batch?.pixels.f_unbind(0)? {
            let _ = image.f_subtract_(&mean)?.f_divide_(&std)?;
            count += 1;
        }
    }
    Ok(count as f64 / start.elapsed().as_secs_f64())
}

fn main() -> Result<()> {
    radio_eval::runtime::allocator::keep_memory();
    // `cargo bench` without the script has no images to load.
    let Some(folder) = std::env::var_os("DATALOADER_IMAGES").map(PathBuf::from) else {
        eprintln!("run benches/dataloader.sh, which makes the images and runs both sides");
        return Ok(());
    };
    tch::set_num_threads(1);
    let entries = std::fs::read_dir(&folder).map_err(|e| Error::file(&folder, e))?;
    let mut files: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
    files.sort();
    let source = Arc::new(Folder(files));
    pass(&source)?;
    let mut rates = [pass(&source)?, pass(&source)?, pass(&source)?];
    rates.sort_by(f64::total_cmp);
    println!("{:.1}", rates[1]);
    Ok(())
}
