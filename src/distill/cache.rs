//! What the teachers said of fixed crops, kept on disk: every picture has a few crops, and each
//! teacher sees each of them once, whatever the number of passes and students.
//!
//! A folder per identity (teachers, data, crops, sizes) holds two files per teacher: records of one
//! size in fp16, by slot, and their CRC-32C, 0 where there is none yet. Records are written before
//! their checksums, so a process that is killed leaves none that is half.

use super::objective::Target;
use super::teacher::Teacher;
use crate::runtime::disk;
use crate::{Error, Result};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use tch::{Device, Kind, Tensor};

/// Bytes of a value.
const VALUE: usize = 2;

/// The outputs of all teachers.
pub struct Cache {
    folder: PathBuf,
    teachers: Vec<Outputs>,
}

/// Of one teacher.
struct Outputs {
    path: PathBuf,
    records: File,
    sums: File,
    /// CRC-32C by slot; 0: not there.
    known: Vec<AtomicU32>,
    /// D, and the map's tokens, channels and grid.
    summary: usize,
    map: (usize, usize),
    grid: (i64, i64),
}

impl Outputs {
    fn bytes(&self) -> usize {
        (self.summary + self.map.0 * self.map.1) * VALUE
    }
}

impl Cache {
    /// Opens or begins the cache of `identity` below `root`, for `slots` crops that the teachers
    /// see at `sizes`. Says how large it becomes.
    ///
    /// # Errors
    /// The disk has no room for it.
    pub fn open(
        root: &Path,
        identity: &str,
        teachers: &[Teacher],
        sizes: &[(i64, i64)],
        slots: usize,
    ) -> Result<Self> {
        let folder = root.join(&identity[..identity.len().min(32)]);
        std::fs::create_dir_all(&folder).map_err(|e| Error::file(&folder, e))?;
        let teachers = teachers.iter().zip(sizes);
        let opened = teachers.map(|(teacher, size)| Outputs::open(&folder, teacher, *size, slots));
        let cache = Cache {
            teachers: opened.collect::<Result<_>>()?,
            folder,
        };
        cache.check_room(slots)?;
        Ok(cache)
    }

    fn check_room(&self, slots: usize) -> Result<()> {
        let (mut size, mut missing) = (0u64, 0u64);
        for (number, teacher) in self.teachers.iter().enumerate() {
            let bytes = teacher.bytes() as u64;
            size += bytes * slots as u64;
            missing += bytes * self.missing(number) as u64;
        }
        let free = disk::free_bytes(&self.folder)?;
        let gib = |bytes: u64| bytes as f64 / (1u64 << 30) as f64;
        tracing::info!(
            "the teachers' outputs for {slots} crops take {:.2} GiB in {}, {:.2} GiB of which are still to be computed",
            gib(size),
            self.folder.display(),
            gib(missing)
        );
        match missing > free {
            true => Err(Error::file(
                &self.folder,
                format!(
                    "the cache needs {:.2} GiB more and the disk has {:.2}; name another folder, or fewer crops",
                    gib(missing),
                    gib(free)
                ),
            )),
            false => Ok(()),
        }
    }

    /// Whether `teacher` has said what it thinks of `slot`.
    pub fn has(&self, teacher: usize, slot: usize) -> bool {
        self.teachers[teacher].known[slot].load(Ordering::Acquire) != 0
    }

    /// Slots that `teacher` has yet to see.
    pub fn missing(&self, teacher: usize) -> usize {
        let sums = self.teachers[teacher].known.iter();
        sums.filter(|sum| sum.load(Ordering::Relaxed) == 0).count()
    }

    /// The target made of the records of `slots`.
    pub fn read(&self, teacher: usize, slots: &[usize]) -> Result<Target> {
        let outputs = &self.teachers[teacher];
        let bytes = outputs.bytes();
        let mut all = vec![0u8; bytes * slots.len()];
        for (slot, record) in slots.iter().zip(all.chunks_exact_mut(bytes)) {
            let offset = *slot as u64 * bytes as u64;
            let read = outputs.records.read_exact_at(record, offset);
            read.map_err(|e| Error::file(&outputs.path, e))?;
            if sum(record) != outputs.known[*slot].load(Ordering::Acquire) {
                return Err(Error::file(
                    &outputs.path,
                    format!("record {slot} is damaged; remove the folder, and it is made anew"),
                ));
            }
        }
        let rows = slots.len() as i64;
        let width = (outputs.summary + outputs.map.0 * outputs.map.1) as i64;
        let values = Tensor::f_from_data_size(&all, &[rows, width], Kind::Half)?;
        let summary = outputs.summary as i64;
        let (tokens, channels) = (outputs.map.0 as i64, outputs.map.1 as i64);
        Ok(Target {
            summary: Some(values.f_narrow(1, 0, summary)?),
            features: Some((
                values
                    .f_narrow(1, summary, width - summary)?
                    .f_reshape([rows, tokens, channels])?,
                outputs.grid,
            )),
        })
    }

    /// Keeps what `teacher` said of `slots`.
    ///
    /// # Errors
    /// A value is beyond fp16.
    pub fn write(&self, teacher: usize, slots: &[usize], target: &Target) -> Result<()> {
        let outputs = &self.teachers[teacher];
        let (Some(summary), Some((map, _))) = (&target.summary, &target.features) else {
            return Err(Error::model(
                "a cache keeps summaries and features, one is missing",
            ));
        };
        let half = |t: &Tensor| -> Result<Tensor> {
            let flat = t.f_flatten(1, -1)?.f_to_device(Device::Cpu)?;
            Ok(flat.f_to_kind(Kind::Half)?)
        };
        let values = Tensor::f_cat(&[half(summary)?, half(map)?], 1)?.f_contiguous()?;
        if !values.f_isfinite()?.f_all()?.f_int64_value(&[])?.eq(&1) {
            return Err(Error::file(
                &outputs.path,
                "the teacher's outputs reach beyond fp16; train without run.cache",
            ));
        }
        let bytes = outputs.bytes();
        let mut all = vec![0u8; bytes * slots.len()];
        values.f_copy_data_u8(&mut all, values.numel())?;
        let failed = |e: std::io::Error| Error::file(&outputs.path, e);
        for (slot, record) in slots.iter().zip(all.chunks_exact(bytes)) {
            let offset = *slot as u64 * bytes as u64;
            outputs
                .records
                .write_all_at(record, offset)
                .map_err(failed)?;
            let sum = sum(record);
            let at = *slot as u64 * 4;
            outputs
                .sums
                .write_all_at(&sum.to_le_bytes(), at)
                .map_err(failed)?;
            outputs.known[*slot].store(sum, Ordering::Release);
        }
        Ok(())
    }
}

impl Outputs {
    fn open(folder: &Path, teacher: &Teacher, size: (i64, i64), slots: usize) -> Result<Self> {
        let path = folder.join(format!("{}.records", teacher.name));
        let sums_path = folder.join(format!("{}.sums", teacher.name));
        let open = |path: &Path| {
            let mut options = File::options();
            let options = options.read(true).write(true).create(true).truncate(false);
            options.open(path).map_err(|e| Error::file(path, e))
        };
        let (records, sums) = (open(&path)?, open(&sums_path)?);
        let (tokens, grid) = teacher.tokens(size)?;
        let mut outputs = Outputs {
            records,
            sums,
            known: Vec::new(),
            summary: teacher.summary_width as usize,
            map: (tokens as usize, teacher.feature_width as usize),
            grid,
            path,
        };
        let failed = |e: std::io::Error| Error::file(&sums_path, e);
        outputs.sums.set_len(slots as u64 * 4).map_err(failed)?;
        outputs
            .records
            .set_len(slots as u64 * outputs.bytes() as u64)
            .map_err(failed)?;
        let mut known = vec![0u8; slots * 4];
        outputs.sums.read_exact_at(&mut known, 0).map_err(failed)?;
        let known = known.as_chunks::<4>().0.iter();
        outputs.known = known.map(|b| u32::from_le_bytes(*b).into()).collect();
        Ok(outputs)
    }
}

/// Of a record; never 0.
fn sum(record: &[u8]) -> u32 {
    crc32c::crc32c(record).max(1)
}
